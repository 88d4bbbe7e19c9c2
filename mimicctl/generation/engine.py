"""Generating a dataset: source demonstrations in, demonstrations and a log of every attempt out."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import mimicctl
from mimicctl.config import GenerateSettings, RenderSettings
from mimicctl.dataset.frames import Frames
from mimicctl.dataset.masks import without_discarded
from mimicctl.dataset.reader import Dataset, demo_number
from mimicctl.dataset.resume import find_unfinished
from mimicctl.dataset.writer import DatasetWriter, checked_output, partial_path
from mimicctl.envs import make_env, require_planner
from mimicctl.errors import RunFailed, UserError
from mimicctl.generation.overrides import with_overrides
from mimicctl.generation.report import GenerationReport, summarise
from mimicctl.generation.scheduler import results_in_order
from mimicctl.generation.segments import Bridge
from mimicctl.generation.source import SourcePool, load_pool
from mimicctl.generation.trial import TrialResult, TrialSettings
from mimicctl.rendering.replay import drawing_settings, positions_of
from mimicctl.rendering.workers import Drawing, check_opengl, frames_in_order
from mimicctl.tasks import TaskSpec, canonical_id, family_of, find_task


@dataclass(frozen=True)
class Generated:
    """What a run made.

    Attributes:
        path: the finished file.
        failed_path: the file of failed trials, if they were kept.
        demos: demonstrations in `path`.
        resumed_at: number of attempts that a previous run had made; 0 for a fresh one.
    """

    path: Path
    failed_path: Path | None
    demos: int
    report: GenerationReport
    resumed_at: int


def bundled_source(task: TaskSpec) -> Path:
    """The annotated demonstrations that come with the package.

    Raises:
        UserError: there are none for this task.
    """
    path = Path(str(resources.files(mimicctl) / "data" / task.source_demos))
    if not task.source_demos or not path.is_file():
        raise UserError(f"No source demonstrations come with {task.task_id}.", do="record and annotate some, then give --input-file")
    return path


def generate(
    task_id: str,
    seed: int,
    settings: GenerateSettings,
    input_file: Path | None,
    *,
    rendering: RenderSettings | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda attempts, successes: None,
) -> Generated:
    """Run trials until the wanted number is there; commit each success as soon as all trials before it are decided.

    The demos of the output, and their order, depend on task, seed, settings and source demonstrations alone: not on
    `num_envs`, `workers`, or on how often the run was interrupted. Where the task has cameras, successes are drawn from their recorded
    states when they are found; failures that are kept have no images.

    Args:
        input_file: annotated source demonstrations; None for the bundled ones.
        rendering: how cameras draw, if the task has any; None for the defaults.
        resume: continue an interrupted run.
        overwrite: replace an existing output.
        on_progress: called with attempts and successes so far.

    Raises:
        UserError: the input does not fit, or the output exists.
        RunFailed: the cap on failures was reached. What was made so far is kept, and can be resumed.
    """
    task, rendering = with_overrides(find_task(task_id), settings), rendering or RenderSettings()
    if settings.bridge == "plan":
        require_planner(task)
    output = checked_output(settings.output_file)
    partial = partial_path(output)
    source = input_file or bundled_source(task)
    pool, described, sim_args = _load_source(task, source)
    lineage = _lineage(task, seed, settings, described)
    if task.cameras:
        check_opengl()
        lineage["render"] = drawing_settings(rendering)
    done = _attempts_so_far(partial) if find_unfinished(output, lineage, resume=resume, overwrite=overwrite) else []
    trial_settings = TrialSettings(
        task=task,
        seed=seed,
        bridge=Bridge(settings.bridge, settings.arch_height, settings.bridge_step),
        select_src_per_subtask=settings.select_src_per_subtask,
        select_src_per_arm=settings.select_src_per_arm,
        transform_first_robot_pose=settings.transform_first_robot_pose,
        interpolate_from_last_target_pose=settings.interpolate_from_last_target_pose,
        keep_failed=settings.keep_failed,
    )
    failed_path = output.with_name(f"{output.stem}_failed{output.suffix}") if settings.keep_failed else None
    run = _Run(settings, done, on_progress)
    workers = settings.workers or os.cpu_count() or 1
    with ExitStack() as stack:
        writer = stack.enter_context(DatasetWriter(partial, task_id=task.task_id, lineage=lineage, env_args={"sim_args": sim_args}))
        failed = _failed_writer(stack, failed_path, task, lineage, fresh=not done)
        if not run.complete():
            results = results_in_order(
                pool,
                trial_settings,
                first=len(done),
                last=None if settings.guarantee else settings.trials,
                num_envs=settings.num_envs,
                workers=workers,
            )
            seen = _with_images(results, task, rendering, workers) if task.cameras else ((result, {}) for result in results)
            with closing(results), closing(seen):
                for result, frames in seen:
                    run.take(result, frames, writer, failed)
                    if run.complete():
                        break
        run.commit_rest(writer)
        demos = len(writer)
        writer.finish(output)
        if failed is not None:
            failed.finish(failed_path)
    report = summarise(task, run.attempts)
    return Generated(output, failed_path, demos, report, resumed_at=len(done))


class _Run:
    """Counts, the attempts log, and what is not committed yet."""

    def __init__(self, settings: GenerateSettings, done: list[dict[str, Any]], on_progress: Callable[[int, int], None]) -> None:
        self.attempts = list(done)
        self.successes = sum(attempt["success"] for attempt in done)
        self._settings, self._on_progress = settings, on_progress
        self._uncommitted: list[str] = []
        on_progress(len(self.attempts), self.successes)

    def complete(self) -> bool:
        return (self.successes if self._settings.guarantee else len(self.attempts)) >= self._settings.trials

    def take(self, result: TrialResult, frames: dict[str, Frames], writer: DatasetWriter, failed: DatasetWriter | None) -> None:
        record = result.record()
        self.attempts.append(record)
        self.successes += result.success
        self._uncommitted.append(json.dumps(record))
        if result.episode is not None:
            result.episode.lineage = {"trial": result.index, "sources": record["sources"]}
        if result.success:
            writer.write(result.episode, self._uncommitted, frames)
            self._uncommitted = []
        elif failed is not None:
            failed.write(result.episode)
            self.commit_rest(writer)
        self._on_progress(len(self.attempts), self.successes)
        self._check_failures(writer)

    def commit_rest(self, writer: DatasetWriter) -> None:
        if self._uncommitted:
            writer.log_attempts(self._uncommitted)
            self._uncommitted = []

    def _check_failures(self, writer: DatasetWriter) -> None:
        failures = len(self.attempts) - self.successes
        cap = self._settings.max_failures
        if cap is not None and failures >= cap and not self.complete():
            self.commit_rest(writer)
            raise RunFailed(
                f"{failures} attempts failed, the most that --max-failures allows; {self.successes} demonstrations were made.",
                where=str(writer.path),
                do="see what failed with mimicctl dataset info, then --resume with a higher --max-failures",
            )


def _load_source(task: TaskSpec, path: Path) -> tuple[SourcePool, dict[str, Any], dict[str, Any]]:
    """The demos of a file that are not discarded, the file for the lineage, and the env's timing."""
    with Dataset(path) as dataset:
        recorded_on = canonical_id(dataset.task_id)
        if recorded_on and family_of(recorded_on) not in {family_of(name) for name in (task.task_id, task.sources_of) if name}:
            raise UserError(
                f"The source demonstrations are of another task, {dataset.task_id}.",
                where=str(path),
                do=f"give --task {recorded_on}, or demonstrations of {task.task_id}",
            )
        names = without_discarded(dataset)
        if not names:
            raise UserError("All source demonstrations are discarded.", where=str(path), do="keep some of them (mimicctl web), or give another file")
        env = make_env(task)
        try:
            pool = load_pool(task, ((name, dataset.episode(name)) for name in names), env.gripper_actions, str(path))
            sim_args = env.sim_args
        finally:
            env.close()
        described = {"file": path.name, "sha256": dataset.content_hash()}
        if len(names) < len(dataset):
            described["discarded"] = sorted(set(dataset.demos) - set(names), key=demo_number)
        return pool, described, sim_args


def _lineage(task: TaskSpec, seed: int, settings: GenerateSettings, source: dict[str, Any]) -> dict[str, Any]:
    """Where the file comes from; equal for two runs exactly if their demos are."""
    decisive = settings.model_dump(exclude={"input_file", "output_file", "num_envs", "workers", "trials", "max_failures", "keep_failed"})
    return {
        "made_by": "mimicctl generate",
        "version": mimicctl.__version__,
        "task": task.task_id,
        "seed": seed,
        "settings": decisive,
        "subtasks": {eef: [dataclasses.asdict(s) for s in subtasks] for eef, subtasks in task.subtasks.items()},
        **({"constraints": [dataclasses.asdict(c) for c in task.constraints]} if task.constraints else {}),
        "inputs": [source],
    }


def _attempts_so_far(partial: Path) -> list[dict[str, Any]]:
    with Dataset(partial, need_demos=False) as dataset:
        return dataset.attempts()


def _with_images(results: Iterator[TrialResult], task: TaskSpec, rendering: RenderSettings, workers: int) -> Iterator[tuple[TrialResult, dict[str, Frames]]]:
    """Each result with the images of its episode if it is a success, and in the same order."""
    positions = positions_of(task)
    scenes = ((result, positions(result.episode) if result.success else None) for result in results)
    return frames_in_order(scenes, Drawing(task, rendering.rendering_mode, rendering.image_size), workers)


def _failed_writer(stack: ExitStack, failed_path: Path | None, task: TaskSpec, lineage: dict[str, Any], *, fresh: bool) -> DatasetWriter | None:
    if failed_path is None:
        return None
    partial = partial_path(failed_path)
    if fresh:
        partial.unlink(missing_ok=True)
    return stack.enter_context(DatasetWriter(partial, task_id=task.task_id, lineage=lineage))
