"""The source pool: annotated demonstrations, cut into subtask segments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from mimicctl import poses
from mimicctl.errors import UserError
from mimicctl.schema import Episode
from mimicctl.tasks import Subtask, TaskSpec

_STILL = 5e-4
"""[m] A control step that moves the eef less is one in which it stands."""
_SKILL_REACH = 0.10
"""[m] From a grasp or a release, within which what the hand does belongs to it."""


@dataclass(frozen=True)
class SourceDemo:
    """One annotated demonstration, as the generator sees it.

    Attributes:
        name: "demo_3".
        eef_poses, target_poses: eef name to (T, 4, 4), measured and commanded.
        gripper_actions: eef name to (T, G).
        object_poses: object name to (T, 4, 4).
        ends: eef name to the step after the last one of each subtask, before offsets.
        skills: eef name to the step at which, in each subtask, the part begins that needs its relation to the object, None: not marked;
            empty: none is.
    """

    name: str
    eef_poses: dict[str, np.ndarray]
    target_poses: dict[str, np.ndarray]
    gripper_actions: dict[str, np.ndarray]
    object_poses: dict[str, np.ndarray]
    ends: dict[str, tuple[int, ...]]
    skills: dict[str, tuple[int | None, ...]] = field(default_factory=dict)

    def skill_start(self, eef: str, number: int, start: int, end: int) -> int:
        """The step in [start, end) from which a planned way need not go further: where the file marks it, else where the hand last comes
        within reach of where its gripper first changes."""
        marked = self.skills[eef][number] if self.skills else None
        if marked is not None:
            return min(max(marked, start), end - 1)
        grippers = np.sign(self.gripper_actions[eef][start:end])
        changes = np.flatnonzero(np.any(np.diff(grippers, axis=0) != 0, axis=-1))
        if not len(changes):
            return start
        change = start + int(changes[0]) + 1
        track = poses.position(self.eef_poses[eef][start : change + 1])
        away = np.flatnonzero(np.linalg.norm(track - track[-1], axis=-1) > _SKILL_REACH)
        return start + int(away[-1]) + 1 if len(away) else start

    def usual_step(self, eef: str) -> float:
        """Median distance of a control step [m] over those in which the eef moves."""
        steps = np.linalg.norm(np.diff(poses.position(self.eef_poses[eef]), axis=0), axis=-1)
        moving = steps[steps > _STILL]
        return float(np.median(moving)) if len(moving) else np.inf


@dataclass(frozen=True)
class SourcePool:
    demos: tuple[SourceDemo, ...]

    def __len__(self) -> int:
        return len(self.demos)

    def draw_bounds(self, task: TaskSpec, rng: np.random.Generator) -> list[dict[str, list[int]]]:
        """Of every demo, per eef, where its first subtask begins and each subtask ends, with this trial's random offsets."""
        drawn = []
        for demo in self.demos:
            bounds = {}
            for eef, subtasks in task.subtasks.items():
                offsets = [int(rng.integers(s.term_offset_range[0], s.term_offset_range[1] + 1)) for s in subtasks]
                low, high = subtasks[0].first_subtask_start_offset_range
                start = int(rng.integers(low, high + 1))
                bounds[eef] = [start, *(end + offset for end, offset in zip(demo.ends[eef], offsets, strict=True))]
            drawn.append(bounds)
        return drawn


class Sources(Protocol):
    """Where the trials of a run have their source demos from.

    Attributes:
        grows: later trials may have more of them.
        made_by: the command that the lineage names.
        sim_args: the env's timing.
    """

    grows: bool
    made_by: str
    sim_args: dict[str, Any]

    def at(self, trial: int) -> tuple[SourcePool, int]:
        """The pool of a trial, and the first trial after it that may have another. May wait for it."""

    def described(self) -> dict[str, Any]:
        """The file they are in, for the lineage."""


def load_pool(task: TaskSpec, demos: Iterable[tuple[str, Episode]], gripper_of, origin: str) -> SourcePool:
    """Cut annotated episodes into segments.

    Args:
        demos: (name, annotated episode) pairs.
        gripper_of: `MimicEnv.gripper_actions`.
        origin: the file, for messages.

    Raises:
        UserError: a demo is not annotated, a signal is missing, or its segments are too short for the offsets.
    """
    return SourcePool(tuple(_source_demo(task, name, episode, gripper_of, origin) for name, episode in demos))


def _source_demo(task: TaskSpec, name: str, episode: Episode, gripper_of, origin: str) -> SourceDemo:
    info = episode.datagen_info
    where = f"{name} of {origin}"

    def poses_at(group: str, key: str) -> np.ndarray:
        path = f"{group}/{key}"
        if path not in info:
            raise UserError(
                f"{name} has no {path} under obs/datagen_info: it is not annotated for {task.task_id}.",
                where=where,
                do="annotate it first: mimicctl annotate --auto --input-file FILE",
            )
        value = np.asarray(info[path], dtype=np.float64)
        if value.shape != (len(episode), 4, 4) or not np.all(np.isfinite(value)):
            raise UserError(f"{path} is not a finite ({len(episode)}, 4, 4) array of poses.", where=where, do="annotate the recording again")
        # The file keeps float32, which is not quite orthonormal.
        return poses.pose_from_quat(value[:, :3, 3], poses.quat_from_matrix(value[:, :3, :3]))

    return SourceDemo(
        name=name,
        eef_poses={eef: poses_at("eef_pose", eef) for eef in task.eef_names},
        target_poses={eef: poses_at("target_eef_pose", eef) for eef in task.eef_names},
        gripper_actions={eef: np.asarray(value, dtype=np.float64) for eef, value in gripper_of(episode.actions).items()},
        object_poses={item.name: poses_at("object_pose", item.name) for item in task.objects},
        ends={eef: subtask_ends(subtasks, info, len(episode), where) for eef, subtasks in task.subtasks.items()},
        skills={eef: tuple(_skill_mark(subtask, info) for subtask in subtasks) for eef, subtasks in task.subtasks.items()},
    )


def _skill_mark(subtask: Subtask, info: dict[str, np.ndarray]) -> int | None:
    signal = info.get(f"subtask_start_signals/{subtask.start_signal}")
    return None if signal is None else first_rise(signal)


def first_rise(signal: np.ndarray) -> int | None:
    """Index of the first step at which a signal is true after being false; None if it never rises."""
    signal = np.asarray(signal, dtype=bool).reshape(-1)
    rises = np.flatnonzero(~signal[:-1] & signal[1:])
    return int(rises[0]) + 1 if len(rises) else None


def subtask_ends(subtasks: tuple[Subtask, ...], info: dict[str, np.ndarray], length: int, where: str) -> tuple[int, ...]:
    """Where each subtask ends: one past the first true step of its signal, the last one at the end of the demo.

    Raises:
        UserError: a signal is absent, never rises, or leaves a segment that the largest offsets would empty.
    """
    ends = []
    for subtask in subtasks[:-1]:
        signal = info.get(f"subtask_term_signals/{subtask.term_signal}")
        rise = None if signal is None else first_rise(signal)
        if rise is None:
            state = "is not in the file" if signal is None else "never goes from false to true"
            raise UserError(
                f'The signal "{subtask.term_signal}" that ends "{subtask.name}" {state}.',
                where=where,
                do="annotate the demo again, or leave it out",
            )
        ends.append(rise + 1)
    ends.append(length)
    low_high = [s.term_offset_range for s in subtasks]
    for i in range(len(ends)):
        start = ends[i - 1] + low_high[i - 1][1] if i else subtasks[0].first_subtask_start_offset_range[1]
        if start >= ends[i] + low_high[i][0]:
            raise UserError(
                f'"{subtasks[i].name}" is too short: it could begin at step {start} and end at step {ends[i] + low_high[i][0]}.',
                where=where,
                do=f"record it more slowly, or narrow {'term_offset_range of the subtask before it' if i else 'its first_subtask_start_offset_range'}",
            )
    return tuple(ends)
