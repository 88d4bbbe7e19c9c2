"""A source pool that grows with each recorded demonstration: the file it is in, and which trial draws from how much of it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mimicctl
from mimicctl.annotation.auto import DemoAnnotation, annotate_demo
from mimicctl.annotation.output import AnnotationOutput
from mimicctl.config import GenerateSettings, RenderSettings
from mimicctl.dataset.masks import without_discarded
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.resume import find_unfinished
from mimicctl.dataset.writer import DatasetWriter, checked_output, partial_path
from mimicctl.envs import make_env
from mimicctl.envs.base import MakeEnv, MimicEnv
from mimicctl.errors import RunFailed, UserError
from mimicctl.generation import engine
from mimicctl.generation.foreign import source_episodes
from mimicctl.generation.overrides import with_overrides
from mimicctl.generation.source import SourceDemo, SourcePool, load_pool
from mimicctl.schema import Episode
from mimicctl.tasks import TaskSpec, find_task

_MADE_BY = "mimicctl record --generate"

_BEFORE_COMPLETE = 2
"""One over the share of the wanted trials that are made before the pool is complete. With more of them the demos recorded first, from which they are
made, would dominate: of ten, the first one supplies a fifth of the segments with one half, nearly a third with all."""


@dataclass(frozen=True)
class Growth:
    """How many demos the pool of each trial has: settled beforehand, so that nothing depends on when a demonstration was finished.

    The trials of the first half are shared out evenly over the sizes that the pool has on its way; all others draw from the complete pool.

    Attributes:
        seeds: demos that are there before anything is recorded.
        recorded: demonstrations that are to be recorded.
        trials: goal of the run.
    """

    seeds: int
    recorded: int
    trials: int

    def size_at(self, trial: int) -> int:
        """Demos that the pool of a trial has."""
        return next(size for size in range(max(self.seeds, 1), self.seeds + self.recorded + 1) if trial < self.end_of(size))

    def end_of(self, size: int) -> int:
        """The first trial whose pool is larger."""
        first, complete = max(self.seeds, 1), self.seeds + self.recorded
        if size >= complete:
            return sys.maxsize
        return self.trials // _BEFORE_COMPLETE * (size - first + 1) // (complete - first)


@dataclass(frozen=True)
class GrowingRun:
    """A recording and the generation that goes with it, for whichever process works on it.

    Attributes:
        settings: of the generation; `input_file` has demos for the pool to begin with.
        recording: where the recording ends up.
        wanted: demonstrations to record.
    """

    task_id: str
    seed: int
    settings: GenerateSettings
    rendering: RenderSettings
    recording: Path
    wanted: int

    @property
    def task(self) -> TaskSpec:
        return with_overrides(find_task(self.task_id), self.settings)

    @property
    def pool_file(self) -> Path:
        """Where the source pool ends up."""
        output = checked_output(self.settings.output_file)
        return output.with_name(f"{output.stem}_sources{output.suffix}")


def begin(run: GrowingRun, *, envs: MakeEnv = make_env, resume: bool, overwrite: bool) -> None:
    """Refuse what cannot work before anybody records anything, and leave the files that the run goes on with: of the pool, and of what is generated.

    Raises:
        UserError: settings that do not fit; the demos to begin with are no sources for the task; or a file exists, and what to do about it was not said.
    """
    _refuse_misfits(run)
    continued = _begin_pool(run, envs, resume=resume, overwrite=overwrite)
    try:
        with GrowingPool(run, envs, complete=False) as pool:
            engine.begin(run.task_id, run.seed, run.settings, pool, run.rendering, resume=resume, overwrite=overwrite)
    except BaseException:
        if not continued:
            partial_path(run.pool_file).unlink()
        raise


def _refuse_misfits(run: GrowingRun) -> None:
    if not run.wanted:
        what = "How much is generated while you record goes by how many demonstrations there will be."
        raise UserError(what, where="--generate --num-demos 0", do="say how many: --num-demos 10")
    if run.settings.shard or run.settings.engine != "pool":
        what = "What is generated beside a recording is generated on this machine, in one piece."
        raise UserError(what, where="--generate with generate.shard or generate.engine", do="record first, then mimicctl annotate and generate")
    if run.recording in (checked_output(run.settings.output_file), run.pool_file):
        raise UserError("Recorded and generated demonstrations go to files of their own.", where=str(run.recording), do="choose another --output-file")


def _begin_pool(run: GrowingRun, envs: MakeEnv, *, resume: bool, overwrite: bool) -> bool:
    """Whether there was a pool to go on with."""
    task, seeds, sha256s, inputs = run.task, [], {}, []
    if run.settings.input_file:
        with Dataset(run.settings.input_file) as dataset, closing(envs(task, 1)) as env:
            seeds = list(source_episodes(dataset, task, without_discarded(dataset), run.settings.names))
            load_pool(task, seeds, env.gripper_actions, str(dataset.path), use_skillgen=run.settings.use_skillgen)
            sha256s = {name: dataset.demo_sha256(name) for name, _ in seeds}
            inputs = [{"file": dataset.path.name, "sha256": dataset.content_hash(), "lineage": dataset.lineage}]
    lineage = {
        "made_by": _MADE_BY,
        "version": mimicctl.__version__,
        "task": task.task_id,
        "recording": run.recording.name,
        "inputs": inputs,
        "seeds": len(seeds),
    }
    partial = partial_path(run.pool_file)
    if continued := find_unfinished(run.pool_file, lineage, resume=resume, overwrite=overwrite):
        with Dataset(partial, need_demos=False) as dataset:
            lineage = dataset.lineage
    with DatasetWriter(partial, task_id=task.task_id, lineage=lineage) as writer:
        for name, episode in seeds[len(writer) :]:
            episode.lineage = {"parent": {"demo": name, **episode.lineage}}
            writer.write(episode, parent=sha256s[name])
    return continued


class GrowingPool:
    """The sources of a run while they are recorded: a file of annotated demos which only ever becomes longer. A context manager.

    One thread may wait at `at` while another takes demos in.

    Attributes:
        left_out: name of a recorded demo to why it is no source.
        waits: a trial waits for the next demo.
    """

    grows, made_by = True, _MADE_BY

    def __init__(self, run: GrowingRun, envs: MakeEnv = make_env, *, complete: bool, on_change: Callable[[], None] = lambda: None) -> None:
        """
        Args:
            envs: what makes those in which demos are replayed.
            complete: nothing more will be recorded. What is there already can still be taken in before the first trial.
            on_change: called when the attributes or the length have changed.
        """
        self.run, self.waits = run, False
        self._task, self._envs, self._complete, self._on_change = run.task, envs, complete, on_change
        self._path = partial_path(run.pool_file)
        self._changed, self._closed = threading.Condition(), False
        with closing(envs(self._task, 1)) as env, Dataset(self._path, need_demos=False) as dataset:
            engine.require_navigation(env, self._task, run.settings)
            self.sim_args = env.sim_args
            self._lineage = dataset.lineage
            self.left_out: dict[str, str] = self._lineage.setdefault("left_out", {})
            self._taken = {dataset.demo_lineage(name)["parent"]["demo"] for name in dataset.demos[self._lineage["seeds"] :]}
            self._demos = self._cut(env, dataset.episodes())
        self._writer = DatasetWriter(self._path, task_id=self._task.task_id, lineage=self._lineage)

    def __enter__(self) -> GrowingPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Harmless when closed already."""
        with self._changed:
            self._closed = True
            self._writer.close()
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._demos)

    def finish(self) -> Path:
        """Close, and move the file to where it ends up."""
        self.close()
        self._writer.finish(self.run.pool_file)
        return self.run.pool_file

    # Whoever has recorded something ------------------------------------------------------------------------------

    def take_in(self, recording: Path) -> Iterator[DemoAnnotation]:
        """Annotate the demos of a recording that were not seen before; those that can be sources join, in their order. `written_as` is their name here."""
        if not recording.exists():
            return
        with Dataset(recording, need_demos=False) as dataset:
            new = [name for name in without_discarded(dataset) if name not in self._taken and name not in self.left_out]
        for name in new:
            with Dataset(recording) as dataset:  # not kept open: the writer of a recording copies what is being read
                episode, sha256 = dataset.episode(name), dataset.demo_sha256(name)
            with closing(self._envs(self._task, 1)) as env:
                found, annotated = annotate_demo(env, self._task, name, episode, starts=self.run.settings.use_skillgen)
                with self._changed:
                    if self._closed:
                        return
                    found = self._join(env, found, episode, annotated, sha256)
                    self._changed.notify_all()
            self._on_change()
            yield found

    def _join(self, env: MimicEnv, found: DemoAnnotation, recorded: Episode, annotated: Episode | None, sha256: str) -> DemoAnnotation:
        if annotated is None:
            self.left_out[found.name] = found.problem
            self._writer.describe(self._lineage, {})
            return found
        written_as = AnnotationOutput(self._path, self._writer).write(found.name, recorded, annotated, sha256)
        # As it is in the file, which has fewer digits: a trial that is repeated from there is the same.
        with Dataset(self._path) as dataset:
            self._demos += self._cut(env, [(written_as, dataset.episode(written_as))])
        self._taken.add(found.name)
        return DemoAnnotation(found.name, written_as, found.replayed, found.rises, "")

    def _cut(self, env: MimicEnv, demos: Iterable[tuple[str, Episode]]) -> list[SourceDemo]:
        return list(load_pool(self._task, demos, env.gripper_actions, str(self._path), use_skillgen=self.run.settings.use_skillgen).demos)

    # The run, as `Sources` ------------------------------------------------------------------------------------------

    def at(self, trial: int) -> tuple[SourcePool, int]:
        """
        Raises:
            RunFailed: the pool is complete, and empty.
            SystemExit: it was closed, so what it is waited for never comes.
        """
        with self._changed:
            growth = Growth(self._lineage["seeds"], max(self.run.wanted, len(self._taken) + len(self.left_out)), self.run.settings.trials)
            size = growth.size_at(trial)
            while len(self._demos) < size and not self._complete:
                if self._closed:
                    raise SystemExit
                self._wait()
            if not self._demos:
                raise self._nothing_to_draw_from()
            end = growth.end_of(size) if size <= len(self._demos) else sys.maxsize
            return SourcePool(tuple(self._demos[:size])), end

    def _wait(self) -> None:
        self.waits = True
        self._on_change()
        try:
            self._changed.wait()
        finally:
            self.waits = False
            self._on_change()

    def _nothing_to_draw_from(self) -> RunFailed:
        if not self.left_out:
            return RunFailed("No demonstration was recorded, so nothing can be generated.", where=str(self.run.recording), do="record some: --resume")
        name, problem = next(iter(self.left_out.items()))
        return RunFailed(
            f"None of the {len(self.left_out)} recorded demonstrations can be a source, so nothing can be generated. The recording is kept.",
            where=f"{name} of {self.run.recording}: {problem}",
            do="mark their subtasks by hand (mimicctl annotate --web, then generate), or record more: --resume --num-demos N",
        )

    def described(self) -> dict[str, Any]:
        with Dataset(self._path, need_demos=False) as dataset:
            return {**engine.describe_sources(dataset, dataset.demos), "file": self.run.pool_file.name}

    def sha256_of(self, name: str) -> str:
        return self._writer.sha256s[name]


def discard_unused(run: GrowingRun) -> None:
    """Remove what `begin` left if no trial was made: the pool can be made again from the recording."""
    generated = partial_path(checked_output(run.settings.output_file))
    if not generated.exists():
        return
    with Dataset(generated, need_demos=False) as dataset:
        unused = not dataset.attempts()
    if unused:
        generated.unlink()
        partial_path(run.pool_file).unlink(missing_ok=True)
