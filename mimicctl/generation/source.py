"""The source pool: annotated demonstrations, cut into subtask segments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from mimicctl import poses
from mimicctl.errors import UserError
from mimicctl.schema import Episode
from mimicctl.tasks import Subtask, TaskSpec
from mimicctl.tasks.spec import BODY

_STILL = 5e-4
"""[m] A control step that moves the eef less is one in which it stands."""


@dataclass(frozen=True)
class SourceDemo:
    """One annotated demonstration, as the generator sees it.

    Attributes:
        name: "demo_3".
        eef_poses, target_poses: eef name to (T, 4, 4), measured and commanded.
        gripper_actions: eef name to (T, G).
        object_poses: object name to (T, 4, 4).
        ends: eef name to the step after the last one of each subtask, before offsets.
        starts: eef name to the step at which each subtask begins, before offsets; empty: where the one before it ended.
    """

    name: str
    eef_poses: dict[str, np.ndarray]
    target_poses: dict[str, np.ndarray]
    gripper_actions: dict[str, np.ndarray]
    object_poses: dict[str, np.ndarray]
    ends: dict[str, tuple[int, ...]]
    starts: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def path(self, eef: str, start: int, end: int) -> np.ndarray:
        """Measured poses (end - start + 1, 4, 4) at the steps from `start` on, and after the last; where the demo ends with it, that of before."""
        return self.eef_poses[eef][np.minimum(np.arange(start, end + 1), len(self.eef_poses[eef]) - 1)]

    def reference_pose(self, name: str | None, step: int) -> np.ndarray:
        """(4, 4) of what a segment that begins at `step` is about: an object, the robot's body, or, for None, the origin, as if it stayed where it was."""
        if name is None:
            return np.eye(4)
        return (self.eef_poses if name == BODY else self.object_poses)[name][step]

    def seen_from(self, body: str, eef: str) -> SourceDemo:
        """The same with the poses of `eef` in the frame of the eef `body` at each step."""
        back = poses.inverse(self.eef_poses[body])
        measured, targets = (back @ of_all[eef] for of_all in (self.eef_poses, self.target_poses))
        return replace(self, eef_poses=self.eef_poses | {eef: measured}, target_poses=self.target_poses | {eef: targets})

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

    def draw_bounds(self, task: TaskSpec, rng: np.random.Generator) -> list[dict[str, list[tuple[int, int]]]]:
        """Of every demo, per eef, the steps [start, end) of each subtask, with this trial's random offsets."""

        def drawn(span: tuple[int, int]) -> int:
            return int(rng.integers(span[0], span[1] + 1))

        bounds = []
        for demo in self.demos:
            of_demo = {}
            for eef, subtasks in task.subtasks.items():
                ends = [end + drawn(s.term_offset_range) for end, s in zip(demo.ends[eef], subtasks, strict=True)]
                first = drawn(subtasks[0].first_subtask_start_offset_range)
                if demo.starts:
                    starts = [start + drawn(s.start_offset_range) for start, s in zip(demo.starts[eef], subtasks, strict=True)]
                    starts[0] += first
                else:
                    starts = [first, *ends[:-1]]
                of_demo[eef] = list(zip(starts, ends, strict=True))
            bounds.append(of_demo)
        return bounds


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
        """The file they are in, for the lineage, with what is known of each demo."""

    def sha256_of(self, name: str) -> str:
        """By which a source demo is known in lineages."""


def load_pool(task: TaskSpec, demos: Iterable[tuple[str, Episode]], gripper_of, origin: str, *, use_skillgen: bool = False) -> SourcePool:
    """Cut annotated episodes into segments.

    Args:
        demos: (name, annotated episode) pairs.
        gripper_of: `MimicEnv.gripper_actions`.
        origin: the file, for messages.
        use_skillgen: segments begin at their start signals, not where the ones before them end.

    Raises:
        UserError: a demo is not annotated, a signal is missing, or its segments are too short for the offsets.
    """
    return SourcePool(tuple(_source_demo(task, name, episode, gripper_of, origin, use_skillgen) for name, episode in demos))


def _source_demo(task: TaskSpec, name: str, episode: Episode, gripper_of, origin: str, use_skillgen: bool) -> SourceDemo:
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

    ends = {eef: subtask_ends(subtasks, info, len(episode), where) for eef, subtasks in task.subtasks.items()}
    return SourceDemo(
        name=name,
        eef_poses={eef: poses_at("eef_pose", eef) for eef in task.eef_names},
        target_poses={eef: poses_at("target_eef_pose", eef) for eef in task.eef_names},
        gripper_actions={eef: np.asarray(value, dtype=np.float64) for eef, value in gripper_of(episode.actions).items()},
        object_poses={item.name: poses_at("object_pose", item.name) for item in task.objects},
        ends=ends,
        starts={eef: subtask_starts(subtasks, ends[eef], info, where) for eef, subtasks in task.subtasks.items()} if use_skillgen else {},
    )


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
        path, said = f"subtask_term_signals/{subtask.term_signal}", f'signal "{subtask.term_signal}" that ends "{subtask.name}"'
        ends.append(_rise(info, path, said, where, "annotate the demo again, or leave it out") + 1)
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


def subtask_starts(subtasks: tuple[Subtask, ...], ends: tuple[int, ...], info: dict[str, np.ndarray], where: str) -> tuple[int, ...]:
    """Where the skill of each subtask begins: at the first true step of its start signal.

    Args:
        ends: of `subtask_ends`.

    Raises:
        UserError: a start signal is absent or never rises, or there are offsets that empty a segment or let it begin before the last one has ended.
    """
    starts = []
    free, before = 0, "the demonstration begins"
    for i, (subtask, end) in enumerate(zip(subtasks, ends, strict=True)):
        path, said = f"subtask_start_signals/{subtask.start_signal}", f'start signal "{subtask.start_signal}" of "{subtask.name}"'
        do = "mark where subtasks start: mimicctl annotate --annotate-subtask-start-signals, with --auto, --manual or --web"
        start = _rise(info, path, said, where, do)
        low, high = np.add(subtask.start_offset_range, subtask.first_subtask_start_offset_range if i == 0 else 0)
        if start + low < free:
            raise UserError(
                f'"{subtask.name}" could begin at step {start + low}, before {before}, at step {free}.',
                where=where,
                do=f"narrow {'term_offset_range of the subtask before it, or ' if i else ''}its start_offset_range, or mark its start later",
            )
        if start + high >= end + subtask.term_offset_range[0]:
            raise UserError(
                f'"{subtask.name}" is too short: it could begin at step {start + high} and end at step {end + subtask.term_offset_range[0]}.',
                where=where,
                do="mark its start earlier, or narrow its start_offset_range",
            )
        starts.append(start)
        free, before = end + subtask.term_offset_range[1], f'the latest end of "{subtask.name}"'
    return tuple(starts)


def _rise(info: dict[str, np.ndarray], path: str, said: str, where: str, do: str) -> int:
    signal = info.get(path)
    rise = None if signal is None else first_rise(signal)
    if rise is None:
        raise UserError(f"The {said} {'is not in the file' if signal is None else 'never goes from false to true'}.", where=where, do=do)
    return rise
