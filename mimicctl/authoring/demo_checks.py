"""Checks of demonstrations of a task, and of how the scripted operator fares. Each gives what it saw, or raises `Wrong`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mimicctl.annotation.auto import ends_in_success, refuse_unreplayable, rises_of
from mimicctl.authoring.attempts import Attempt
from mimicctl.authoring.wrong import Wrong
from mimicctl.dataset.reader import Dataset
from mimicctl.envs.base import MimicEnv
from mimicctl.envs.replay import by_actions, divergence
from mimicctl.errors import UserError
from mimicctl.generation.diagnosis import diagnose
from mimicctl.generation.source import subtask_ends
from mimicctl.statistics import rate_text, wilson_interval
from mimicctl.tasks import TaskSpec

_NEEDED = 0.95
"""Share of start states that the scripted operator masters; less is a fault if it is surely less."""

Demos = Sequence[tuple[Attempt, np.ndarray]]
"""Each with the snapshots (T + 1, K) of its replay."""


def attempts_in(path: Path, task: TaskSpec) -> Iterator[Attempt]:
    """The demonstrations of a file. UserError: they are not of the task."""
    with Dataset(path) as dataset:
        refuse_unreplayable(dataset, task)
        for name, episode in dataset.episodes():
            yield Attempt(name, episode, "saved", saved=True)


def operator(env: MimicEnv, attempts: Sequence[Attempt]) -> str:
    """How often the operator succeeds, and what became of the first attempt that failed."""
    failed = [attempt for attempt in attempts if not attempt.saved]
    rate = f"masters {rate_text(len(attempts) - len(failed), len(attempts))} of start states"
    if not failed:
        return rate
    snapshots = np.stack(list(by_actions(env, failed[0].episode)))
    reason = diagnose(env, snapshots, env.task, success=False).reason
    placed = [f"{name} at {pose[0, 3]:.2f}, {pose[1, 3]:.2f}" for name, pose in env.object_poses(snapshots[0]).items()]
    rate += f"; {failed[0].name} {failed[0].outcome}: {reason} ({'; '.join(placed)})"
    if wilson_interval(len(attempts) - len(failed), len(attempts))[1] < _NEEDED:
        raise Wrong(rate, "draw reset.x, reset.y or yaw in, ask less of the goal, or raise horizon; --resets N tries more")
    return rate


def _success(env: MimicEnv, demos: Demos) -> str:
    if bad := [attempt.name for attempt, snapshots in demos if not ends_in_success(env, snapshots)]:
        raise Wrong(f"replayed, {', '.join(bad)} does not end in success", "record it again on the task as it is now")
    return f"{len(demos)} demonstrations end in it"


def _order(env: MimicEnv, demos: Demos) -> str:
    seen = ""
    for attempt, snapshots in demos:
        rises = rises_of(env, env.task, snapshots)
        for subtasks in env.task.subtasks.values():
            steps = [(s.term_signal, rises[s.term_signal]) for s in subtasks if s.term_signal]
            for name, step in steps:
                if step is None:
                    raise Wrong(f"{name} never rises in {attempt.name}", "end the subtask with a signal that rises in a demonstration that succeeds")
            for (before, early), (after, late) in itertools.pairwise(steps):
                if late <= early:
                    what = f"{after} rises at step {late} of {attempt.name}, {before} at {early}"
                    raise Wrong(what, "put the subtasks in the order in which their signals rise")
            seen = seen or ", ".join(f"{name} at step {step}" for name, step in steps)
    return f"in all {len(demos)}, as in {demos[0][0].name}: {seen}" if seen else "none to rise"


def _offsets(env: MimicEnv, demos: Demos) -> str:
    rooms = []
    for attempt, snapshots in demos:
        info = env.episode(snapshots, attempt.episode.actions, with_datagen_info=True).datagen_info
        for subtasks in env.task.subtasks.values():
            try:
                ends = subtask_ends(subtasks, info, len(attempt.episode), attempt.name)
            except UserError as error:
                do = 'make term_offset_range of the subtask before it smaller, or move slower (-o record.speed="slow")'
                raise Wrong(f"{attempt.name}: {error.what.rstrip('.')}", do) from None
            rooms += [later - end - s.term_offset_range[1] for s, end, later in zip(subtasks, ends, ends[1:], strict=False)]
    return f"at the widest offset a segment keeps at least {min(rooms)} steps" if rooms else "there are no boundaries to shift"


def _replay(env: MimicEnv, demos: Demos) -> str:
    for attempt, snapshots in demos:
        apart = divergence(env, attempt.episode, snapshots, tolerance=0.0)
        if apart.step is not None:
            what = f"{attempt.name}, played again, leaves its recording at step {apart.step} in {apart.what} (at most {apart.worst:.2g} off)"
            raise Wrong(what, "a step may depend on the state and the action alone; record again if the task has changed since")
    return f"{len(demos)} demonstrations played again, bit for bit"


OF_DEMOS: tuple[tuple[str, Callable[[MimicEnv, Demos], str]], ...] = (
    ("success", _success),
    ("signals in order", _order),
    ("offsets", _offsets),
    ("replay", _replay),
)
