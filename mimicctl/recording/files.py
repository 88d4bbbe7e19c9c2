"""The file a recording session writes to: new, continued, or replaced."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mimicctl
from mimicctl.config import RunConfig
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.writer import DatasetWriter, checked_output, partial_path, refuse_existing
from mimicctl.envs import assets_of
from mimicctl.envs.base import MimicEnv
from mimicctl.envs.conditions import changes, conditions_of, joined
from mimicctl.errors import UserError, listed
from mimicctl.schema import FORMAT_VERSION, Episode
from mimicctl.tasks import canonical_id, find_task
from mimicctl.tasks.fingerprint import KEY, fingerprint


@dataclass
class RecordingFile:
    """An open recording.

    Attributes:
        path: where the demos end up.
        writer: for what is saved.
        failed: for what was recorded and not saved; None if that is not kept.
        saved: demos it already holds.
        next_attempt: number of the next attempt, so that a continued session meets new start states.
    """

    path: Path
    writer: DatasetWriter
    failed: DatasetWriter | None
    saved: int
    next_attempt: int


@contextmanager
def recording_file(
    config: RunConfig, env: MimicEnv, *, resume: bool, overwrite: bool, on_event: Callable[[str], None] = lambda text: None
) -> Iterator[RecordingFile]:
    """Open the output of `config.record`; each episode is on disk when written.

    With `overwrite` the old file stays until the session has ended with at least one demonstration.

    Args:
        on_event: called with a sentence if a file that is continued was recorded under other conditions.

    Raises:
        UserError: the file exists and neither `resume` nor `overwrite` was asked for, or it is of another task or format.
    """
    path = checked_output(config.record.output_file)
    sim_args = env.sim_args
    paths = [path, *([path.with_name(f"{path.stem}_failed{path.suffix}")] if config.record.save_failed else [])]
    there = [_what_is_there(each, env, on_event) if resume and each.exists() else (0, 0) for each in paths]
    if not (resume or overwrite):
        for each in paths:
            refuse_existing(each)
    with ExitStack() as stack:
        writers = [stack.enter_context(_writing(each, config, sim_args, replacing=overwrite and not resume and each.exists())) for each in paths]
        yield RecordingFile(path, writers[0], writers[1] if len(writers) > 1 else None, there[0][0], max(attempt for _, attempt in there))


class _RecordingWriter(DatasetWriter):
    """Keeps what the file says of conditions to what its demos were recorded under: the switch may be another one than when it was begun."""

    def write(self, episode: Episode, *args: Any, **kwargs: Any) -> str:
        return super().write(episode, *args, env_args=joined(self.env_args, episode.lineage, first=not len(self)), **kwargs)


@contextmanager
def _writing(path: Path, config: RunConfig, sim_args: dict[str, float], *, replacing: bool) -> Iterator[DatasetWriter]:
    """A writer whose file is gone afterwards if it has nothing in it."""
    target = partial_path(path) if replacing else path
    if replacing:
        target.unlink(missing_ok=True)
    task = find_task(config.task)
    lineage = {
        "made_by": "mimicctl record",
        "version": mimicctl.__version__,
        "task": task.task_id,
        KEY: fingerprint(task),
        "seed": config.seed,
        "assets": assets_of(task),
        **(_said_of(target) if target.exists() else {}),
    }
    with _RecordingWriter(target, task_id=task.task_id, lineage=lineage, env_args={"sim_args": sim_args}, durable=True) as writer:
        try:
            yield writer
        finally:
            recorded = len(writer)
            if replacing and recorded:
                writer.finish(path)
            elif not recorded:
                writer.close()
                target.unlink()


def _differences(dataset: Dataset, env: MimicEnv) -> list[str]:
    """What keeps demonstrations of `env` from being added, each as `what it has, not what is recorded`."""
    found = [] if dataset.format_version == FORMAT_VERSION else [f"format_version {dataset.format_version}, not {FORMAT_VERSION}"]
    if dataset.control_hz and not math.isclose(dataset.control_hz, env.task.control_hz, rel_tol=1e-3):
        found.append(f"{dataset.control_hz:g} control steps a second, not {env.task.control_hz:g}")
    if not dataset.demos:
        return found
    has, snapshot = dataset.episode(dataset.demos[0]), env.snapshot([0])
    if (width := has.actions.shape[1]) != env.task.action_dim:
        found.append(f"actions of {width} numbers, not {env.task.action_dim}")
    for group, theirs, ours in (("", has.obs, env.observations(snapshot)), ("states/", has.states, env.scene_state(snapshot))):
        for key in dict.fromkeys([*ours, *theirs]):
            shapes = [f"{group}{key} of shape {value[key].shape[1:]}" if key in value else f"no {group}{key}" for value in (theirs, ours)]
            if shapes[0] != shapes[1]:
                found.append(", not ".join(shapes))
    return found


def _said_of(path: Path) -> dict[str, Any]:
    """What people added to the lineage of a recording (`mimicctl provenance`)."""
    with Dataset(path, need_demos=False) as dataset:
        return {key: dataset.lineage[key] for key in ("terms", "amended", "withdrawn") if key in dataset.lineage}


def _what_is_there(path: Path, env: MimicEnv, on_event: Callable[[str], None]) -> tuple[int, int]:
    with Dataset(path, need_demos=False) as dataset:
        if canonical_id(dataset.task_id) != canonical_id(env.task.task_id):
            raise UserError(f"The file holds demonstrations of another task, {dataset.task_id}.", where=str(path), do="choose another --output-file")
        if problems := _differences(dataset, env):
            do = "choose another --output-file; mimicctl dataset convert-dialect turns one format into another"
            raise UserError("The file is of another format; nothing was added.", where=listed([str(path), *problems]), do=do)
        if changed := changes(conditions_of(dataset.env_args), env.sim_args):
            on_event(f"{path}: {changed}. What is recorded now is added all the same, and each demonstration says what it was recorded under.")
        attempts = [dataset.demo_lineage(name).get("attempt", -1) for name in dataset.demos]
        return len(dataset), 1 + max(attempts, default=-1)
