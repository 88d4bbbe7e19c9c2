"""Generating a dataset: source demonstrations in, demonstrations and a log of every attempt out."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import mimicctl
from mimicctl.config import GenerateSettings, RenderSettings
from mimicctl.crew import Activity
from mimicctl.dataset.frames import Frames
from mimicctl.dataset.masks import without_discarded
from mimicctl.dataset.reader import Dataset, demo_number
from mimicctl.dataset.resume import find_unfinished
from mimicctl.dataset.writer import DatasetWriter, checked_output, partial_path
from mimicctl.envs import assets_of, make_env, physics_of, require_planner, require_renderer, worker_processes
from mimicctl.envs.base import MakeEnv, MimicEnv
from mimicctl.envs.conditions import changes, conditions_of
from mimicctl.errors import UserError
from mimicctl.generation.balance import preferences, round_of
from mimicctl.generation.foreign import source_episodes
from mimicctl.generation.ledger import Ledger
from mimicctl.generation.overrides import settings_for, with_overrides
from mimicctl.generation.report import GenerationReport, summarise
from mimicctl.generation.scheduler import results_in_order
from mimicctl.generation.segments import Bridge
from mimicctl.generation.source import SourcePool, Sources, load_pool
from mimicctl.generation.status import StatusFile
from mimicctl.generation.trial import TrialResult, TrialSettings
from mimicctl.rendering.replay import drawing_settings, positions_of
from mimicctl.rendering.workers import Drawing, frames_in_order
from mimicctl.shard import Shard
from mimicctl.tasks import TaskSpec, find_task
from mimicctl.tasks.fingerprint import KEY, fingerprint
from mimicctl.tasks.spec import BODY

_MAY_BE_UNSAID = ("max_eef_speed", "balance", "use_skillgen", "use_navigation_controller")


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


def numbers_of(settings: GenerateSettings) -> range:
    """The trials that a run may make: without end where it goes on until enough have succeeded.

    Raises:
        UserError: a shard that goes on until enough have succeeded, which it cannot know.
    """
    shard = Shard.parse(settings.shard or "0/1")
    if settings.attempts is not None and not (settings.shard and settings.guarantee):
        raise UserError(
            "--attempts says how many attempts the shards of a run make together.", do="give --shard too; without shards --no-guarantee counts attempts"
        )
    if not settings.guarantee:
        return shard.numbers(settings.trials)
    if not settings.shard:
        return shard.numbers(sys.maxsize)
    if settings.attempts is None:
        raise UserError(
            "A shard cannot know when all of them together have enough successes.",
            do=f"say how many attempts they make together, some more than --trials: --attempts {settings.trials * 11 // 10}",
        )
    if settings.attempts < settings.trials:
        raise UserError(f"{settings.attempts} attempts cannot make {settings.trials} successes.", do="give more --attempts, or fewer --trials")
    return shard.numbers(settings.attempts)


def goal_of(settings: GenerateSettings) -> tuple[str, int]:
    """What the run counts, "attempts" or "successes", and up to how many."""
    return ("successes", settings.trials) if settings.guarantee and not settings.shard else ("attempts", len(numbers_of(settings)))


def generate(
    task_id: str,
    seed: int,
    settings: GenerateSettings,
    input_file: Path | None,
    *,
    growing: Sources | None = None,
    envs: MakeEnv = make_env,
    rendering: RenderSettings | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda attempts, successes: None,
    on_event: Callable[[str], None] = lambda text: None,
) -> Generated:
    """Run trials until the wanted number is there; commit each success as soon as all trials before it are decided.

    The demos of the output, and their order, depend on task, seed, settings and source demonstrations alone: not on
    `num_envs`, `workers`, `engine`, on what was lost on the way, or on how often the run was interrupted. Where the task has cameras, successes
    are drawn from their recorded states when they are found; failures that are kept have no images.

    Args:
        input_file: annotated source demonstrations; None for the bundled ones.
        growing: sources that are still being recorded, instead of those of a file.
        envs: what makes those in which trials run in this process.
        rendering: how cameras draw, if the task has any; None for the defaults.
        resume: continue an interrupted run.
        overwrite: replace an existing output.
        on_progress: called with attempts and successes so far.
        on_event: called with a sentence when something went wrong that the run gets over.

    Raises:
        UserError: the input does not fit, or the output exists.
        RunFailed: the cap on failures was reached, or processes died again and again. What was made so far is kept, and can be resumed.
    """
    rendering = rendering or RenderSettings()
    settings = settings_for(find_task(task_id), settings)
    task, sources, output, lineage = _checked(task_id, seed, settings, input_file, growing, rendering, on_event)
    numbers, partial = numbers_of(settings), partial_path(output)
    done = _attempts_so_far(partial) if find_unfinished(output, lineage, resume=resume, overwrite=overwrite) else []
    if settings.shard:
        # Not compared above: a shard may be continued with more of either.
        lineage["wanted"] = {"trials": settings.trials, "attempts": settings.attempts or settings.trials}
    if sources.grows:
        lineage["inputs"] = [sources.described()]
    trial_settings = _of_every_trial(task, seed, settings)
    failed_path = output.with_name(f"{output.stem}_failed{output.suffix}") if settings.keep_failed else None
    run = Ledger(settings.max_failures, goal_of(settings), done, on_progress)
    workers = worker_processes(task, settings.workers)
    activity = Activity(begun=len(done), on_event=on_event)
    status_path = Path(settings.status_file).expanduser().absolute() if settings.status_file else None
    try:
        with StatusFile(status_path, lambda: run.status(activity, partial if partial.exists() else output)), ExitStack() as stack:
            writer = stack.enter_context(DatasetWriter(partial, task_id=task.task_id, lineage=lineage, env_args={"sim_args": sources.sim_args}))
            failed = _failed_writer(stack, failed_path, task, lineage, fresh=not done)
            if not run.complete():
                results = _results(sources, trial_settings, numbers, settings, rendering, done, workers, activity, envs)
                with closing(results):
                    for result, frames in results:
                        run.take(result, frames, writer, failed, sources.sha256_of)
                        if run.complete():
                            break
            run.commit_rest(writer)
            demos = len(writer)
            writer.finish(output)
            if failed is not None:
                failed.finish(failed_path)
    except (KeyboardInterrupt, SystemExit):
        if partial.exists():
            on_event(_what_is_kept(partial))
        raise
    report = summarise(task, run.attempts)
    return Generated(output, failed_path, demos, report, resumed_at=len(done))


def begin(task_id: str, seed: int, settings: GenerateSettings, growing: Sources, rendering: RenderSettings, *, resume: bool, overwrite: bool) -> Path:
    """Refuse what `generate` would refuse, and leave a file, perhaps without demos yet, with which it goes on when asked to resume. Returns that file.

    Raises:
        UserError: as `generate`.
    """
    settings = settings_for(find_task(task_id), settings)
    task, sources, output, lineage = _checked(task_id, seed, settings, None, growing, rendering)
    partial = partial_path(output)
    if not find_unfinished(output, lineage, resume=resume, overwrite=overwrite):
        DatasetWriter(partial, task_id=task.task_id, lineage=lineage, env_args={"sim_args": sources.sim_args}).close()
    return partial


def _checked(
    task_id: str,
    seed: int,
    settings: GenerateSettings,
    input_file: Path | None,
    growing: Sources | None,
    rendering: RenderSettings,
    on_event: Callable[[str], None] = lambda text: None,
) -> tuple[TaskSpec, Sources, Path, dict[str, Any]]:
    """Task, sources, output and lineage of a run that nothing speaks against so far."""
    task = with_overrides(find_task(task_id), settings)
    _refuse_misfits(task, settings)
    numbers_of(settings)
    output = checked_output(settings.output_file)
    if settings.shard:
        output = Shard.parse(settings.shard).path(output)
    sources = _load_source(task, input_file or bundled_source(task), settings, on_event) if growing is None else growing
    lineage = _lineage(task, seed, settings, sources)
    if task.cameras:
        require_renderer(task)
        lineage["render"] = drawing_settings(rendering)
    return task, sources, output, lineage


def _refuse_misfits(task: TaskSpec, settings: GenerateSettings) -> None:
    """UserError for settings that do not go with one another, or with the task."""
    if settings.balance and settings.shard:
        raise UserError("A shard does not know what the others have made, so it cannot balance.", where="--balance", do="leave out --balance or --shard")
    if settings.address and settings.engine != "ray":
        raise UserError("--address is that of a Ray cluster.", do="give --engine ray too")
    if settings.use_skillgen and not task.names_starts:
        what = f"{task.task_id} does not name its start signals, by which use_skillgen goes."
        raise UserError(what, where="--use-skillgen", do="leave it out, or give each of its subtasks a start_signal")
    if settings.use_navigation_controller and BODY not in task.subtasks:
        what = f'{task.task_id} has no end-effector called "{BODY}", whose subtasks take the robot from place to place.'
        raise UserError(what, where="generate.use_navigation_controller", do="leave it out")
    if settings.bridge_shape == "plan":
        require_planner(task)


def _of_every_trial(task: TaskSpec, seed: int, settings: GenerateSettings) -> TrialSettings:
    return TrialSettings(
        task=task,
        seed=seed,
        bridge=Bridge(settings.bridge_shape, settings.arch_height, settings.bridge_step),
        select_src_per_subtask=settings.select_src_per_subtask,
        select_src_per_arm=settings.select_src_per_arm,
        transform_first_robot_pose=settings.transform_first_robot_pose,
        interpolate_from_last_target_pose=settings.interpolate_from_last_target_pose,
        use_navigation_controller=settings.use_navigation_controller,
        max_eef_speed=settings.max_eef_speed,
        keep_failed=settings.keep_failed,
    )


@dataclass(frozen=True)
class _OfFile:
    """Sources that a file holds, the same for every trial."""

    pool: SourcePool
    description: dict[str, Any]
    sim_args: dict[str, Any]
    grows: bool = False
    made_by: str = "mimicctl generate"

    def at(self, trial: int) -> tuple[SourcePool, int]:
        return self.pool, sys.maxsize

    def described(self) -> dict[str, Any]:
        return self.description

    def sha256_of(self, name: str) -> str:
        return self.description["demos"][name]["sha256"]


def _load_source(task: TaskSpec, path: Path, settings: GenerateSettings, on_event: Callable[[str], None]) -> _OfFile:
    """The demos of a file that are not discarded. What they were recorded under, if that is not so now, is an event."""
    with Dataset(path) as dataset:
        names = without_discarded(dataset)
        if not names:
            raise UserError("All source demonstrations are discarded.", where=str(path), do="keep some of them (mimicctl web), or give another file")
        # As many as the trials have: Isaac Lab then goes on with the same ones.
        env = make_env(task, settings.num_envs)
        try:
            require_navigation(env, task, settings)
            episodes = source_episodes(dataset, task, names, settings.names)
            pool = load_pool(task, episodes, env.gripper_actions, str(path), use_skillgen=settings.use_skillgen)
            sim_args = env.sim_args
            if changed := changes(conditions_of(dataset.env_args), sim_args):
                on_event(f"{path}: {changed}.")
        finally:
            env.close()
        described = describe_sources(dataset, names)
        if len(names) < len(dataset):
            described["discarded"] = sorted(set(dataset.demos) - set(names), key=demo_number)
        return _OfFile(pool, described, sim_args)


def describe_sources(dataset: Dataset, names: Sequence[str]) -> dict[str, Any]:
    """A file of source demos for the lineage: generated demos then carry what is known of those they are made of, wherever they are taken."""
    known = {}
    for name in names:
        sha256 = dataset.demo_sha256(name)
        seal = dataset.seals.get(name)
        parent = {"parent": seal.parent} if seal and seal.parent and seal.content == sha256 else {}
        known[name] = {"sha256": sha256, **parent, "lineage": dataset.demo_lineage(name)}
    return {"file": dataset.path.name, "sha256": dataset.content_hash(), "lineage": dataset.lineage, "demos": known}


def require_navigation(env: MimicEnv, task: TaskSpec, settings: GenerateSettings) -> None:
    """UserError if a navigation controller is to be kept with, and the env has none."""
    if settings.use_navigation_controller and not hasattr(env, "navigation"):
        what = f"The env of {task.task_id} does not say how its robot gets from place to place."
        raise UserError(what, where="generate.use_navigation_controller", do="leave it out")


def _lineage(task: TaskSpec, seed: int, settings: GenerateSettings, sources: Sources) -> dict[str, Any]:
    """Where the file comes from; equal for two runs exactly if their demos are."""
    how_much = {"trials", "max_failures", "keep_failed", "shard", "attempts"}
    where = {"input_file", "output_file", "status_file", "num_envs", "workers", "engine", "address"}
    # Said only where they change something, so that runs from before there were such settings can be continued.
    decisive = {key: value for key, value in settings.model_dump(exclude=how_much | where).items() if key not in _MAY_BE_UNSAID or value}
    decisive["bridge"] = settings.bridge_shape
    return {
        "made_by": sources.made_by,
        "version": mimicctl.__version__,
        "physics": physics_of(task),
        "task": task.task_id,
        KEY: fingerprint(task),
        "assets": assets_of(task),
        "seed": seed,
        "settings": decisive,
        "subtasks": {eef: [dataclasses.asdict(s) for s in subtasks] for eef, subtasks in task.subtasks.items()},
        **({"constraints": [dataclasses.asdict(c) for c in task.constraints]} if task.constraints else {}),
        **({} if sources.grows else {"inputs": [sources.described()]}),
        **({"shard": settings.shard} if settings.shard else {}),
    }


def _attempts_so_far(partial: Path) -> list[dict[str, Any]]:
    with Dataset(partial, need_demos=False) as dataset:
        return dataset.attempts()


def _what_is_kept(partial: Path) -> str:
    """What an interrupted run says, once everything is closed."""
    with Dataset(partial, need_demos=False) as dataset:
        return f"{len(dataset)} demonstrations are kept in {partial}; --resume continues."


def _results(
    sources: Sources,
    trial_settings: TrialSettings,
    numbers: range,
    settings: GenerateSettings,
    rendering: RenderSettings,
    done: list[dict[str, Any]],
    workers: int,
    activity: Activity,
    envs: MakeEnv,
) -> Iterator[tuple[TrialResult, dict[str, Frames]]]:
    """Results and images of the trials after those `done`, in order, piece by piece: the trials of a piece have the same pool, and are of one round if the
    run is balanced. All of a piece is there before the next one is waited for. Close the iterator to stop.
    """
    task, attempts = trial_settings.task, list(done)
    while numbers[len(attempts) :]:
        pool, end = sources.at(len(attempts))
        of_piece = trial_settings
        if settings.balance:
            first, end_of_round = round_of(len(attempts))
            preferred = preferences(task, [demo.name for demo in pool.demos], attempts[:first], end_of_round - first)
            of_piece, end = dataclasses.replace(trial_settings, preferences=preferred), min(end, end_of_round)
        results = results_in_order(pool, of_piece, numbers[len(attempts) : end], settings, workers, activity, envs)
        seen = _with_images(results, task, rendering, workers) if task.cameras else ((result, {}) for result in results)
        with closing(results), closing(seen):
            for result, frames in seen:
                result = dataclasses.replace(result, pool=len(pool)) if sources.grows else result
                attempts.append(result.record())
                yield result, frames


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
