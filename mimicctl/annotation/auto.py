"""Annotation by replay: what the env's own subtask signals say about a recorded demonstration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimicctl import poses
from mimicctl.annotation.manual import refuse_nameless_starts
from mimicctl.annotation.output import annotation_output
from mimicctl.dataset.dialect import refuse_without_poses
from mimicctl.dataset.masks import without_discarded
from mimicctl.dataset.reader import Dataset
from mimicctl.envs import make_env
from mimicctl.envs.base import MimicEnv, held_for
from mimicctl.envs.replay import by_actions, by_states
from mimicctl.errors import RunFailed, UserError
from mimicctl.generation.source import first_rise, subtask_ends, subtask_starts
from mimicctl.schema import Episode
from mimicctl.tasks import Subtask, TaskSpec, task_read_as

WAS_DISCARDED = "it is in mask/discarded of the recording"
"""A problem that is none: somebody decided so."""

_SKILL_REACH = 0.10
"""[m] From a grasp or a release, within which what the hand does belongs to it."""


@dataclass(frozen=True)
class DemoAnnotation:
    """What was found in one demonstration.

    Attributes:
        name: in the input.
        written_as: in the output; "" if it was left out.
        replayed: "actions" or "states".
        rises: signal to the step it first becomes true; None if it never does.
        problem: why it was left out; "" if it was not.
    """

    name: str
    written_as: str
    replayed: str
    rises: dict[str, int | None]
    problem: str


def annotate_auto(
    input_file: Path,
    output_file: str,
    *,
    task_id: str = "",
    starts: bool = False,
    strict: bool = False,
    overwrite: bool = False,
    on_demo: Callable[[DemoAnnotation], None] = lambda annotation: None,
) -> tuple[Path, list[DemoAnnotation]]:
    """Replay each demo of `input_file` and write those whose signals come in order to `output_file`.

    Args:
        task_id: "" to take the file's word for it.
        starts: mark where each subtask starts too (`start_signals`).
        strict: fail, and write nothing, if any demo cannot be annotated.

    Raises:
        UserError: the input is no recording of a known task, or one that does not name its start signals, or the output exists.
        RunFailed: `strict` and a demo failed, or none could be annotated.
    """
    with Dataset(input_file) as dataset:
        task = task_read_as(dataset.task_id, task_id)
        refuse_unreplayable(dataset, task)
        if starts:
            refuse_nameless_starts(task)
        env = make_env(task)
        found: list[DemoAnnotation] = []
        wanted = without_discarded(dataset)
        with annotation_output(dataset, task, env.sim_args, output_file, "auto", overwrite=overwrite) as output:
            for name, episode in dataset.episodes():
                if name in wanted:
                    annotation, annotated = annotate_demo(env, task, name, episode, starts=starts)
                else:
                    annotation, annotated = DemoAnnotation(name, "", "-", dict.fromkeys(task.term_signals), WAS_DISCARDED), None
                if annotated is not None:
                    annotation = dataclasses.replace(annotation, written_as=output.write(name, episode, annotated, dataset.demo_sha256(name)))
                found.append(annotation)
                on_demo(annotation)
            _refuse_unusable(found, strict)
        env.close()
    return output.path, found


def _refuse_unusable(found: list[DemoAnnotation], strict: bool) -> None:
    left_out = [a for a in found if a.problem and a.problem != WAS_DISCARDED]
    if not any(a.written_as for a in found) or (strict and left_out):
        raise RunFailed(
            f"{len(left_out)} of {len(found)} demonstrations could not be annotated; nothing was written.",
            where=f"{(left_out or found)[0].name}: {(left_out or found)[0].problem}",
            do="mark them by hand (mimicctl annotate --manual), or record them again",
        )


def refuse_unreplayable(dataset: Dataset, task: TaskSpec) -> None:
    """UserError unless the demos have what a replay needs."""
    refuse_without_poses(dataset)
    first = dataset.episode(dataset.demos[0])
    if not first.initial_state:
        raise UserError("The demonstrations have no initial_state, so they cannot be replayed.", where=str(dataset.path), do="record them again")
    if first.actions.shape[1] != task.action_dim:
        raise UserError(
            f"The actions have {first.actions.shape[1]} numbers; {task.task_id} takes {task.action_dim}.",
            where=str(dataset.path),
            do="give the task the demonstrations were recorded on: --task ID",
        )


def annotate_demo(env: MimicEnv, task: TaskSpec, name: str, episode: Episode, *, starts: bool = False) -> tuple[DemoAnnotation, Episode | None]:
    """Replay a recorded demo: what was found in it, and the annotated demo, None if it cannot be annotated.

    Args:
        starts: mark where each subtask starts too.
    """
    replayed, snapshots = replay(env, episode)
    annotated = env.episode(snapshots, episode.actions, with_datagen_info=True)
    annotated.success = True
    rises = rises_of(env, task, snapshots)
    problem = ""
    if not ends_in_success(env, snapshots):
        problem = "it does not end in success when replayed"
    else:
        try:
            grippers = env.gripper_actions(episode.actions)
            for eef, subtasks in task.subtasks.items():
                ends = subtask_ends(subtasks, annotated.datagen_info, len(annotated), name)
                if starts:
                    annotated.datagen_info |= start_signals(subtasks, ends, annotated.datagen_info[f"eef_pose/{eef}"], grippers[eef])
                    subtask_starts(subtasks, ends, annotated.datagen_info, name)
        except UserError as error:
            problem = error.what
    return DemoAnnotation(name, "", replayed, rises, problem), None if problem else annotated


def start_signals(subtasks: tuple[Subtask, ...], ends: tuple[int, ...], eef_poses: np.ndarray, grippers: np.ndarray) -> dict[str, np.ndarray]:
    """Where the skill of each subtask begins: where the hand last comes within 10 cm of where its gripper first changes, but not before the
    subtask before it has ended, with the largest offset. A subtask in which the gripper does not change is all skill.

    Args:
        ends: steps after the last one of each subtask.
        eef_poses: (T, 4, 4).
        grippers: (T, G) actions.

    Returns:
        Path in the datagen info to (T,) bool.
    """
    signals, free = {}, 0
    for subtask, end in zip(subtasks, ends, strict=True):
        first = max(1, free - subtask.start_offset_range[0])  # a signal that is true at the first step never rises
        start = first + _skill_start(eef_poses[first:end], grippers[first:end])
        signals[f"subtask_start_signals/{subtask.start_signal}"] = np.arange(len(eef_poses)) >= start
        free = end + subtask.term_offset_range[1]
    return signals


def _skill_start(eef_poses: np.ndarray, grippers: np.ndarray) -> int:
    changes = np.flatnonzero(np.any(np.diff(np.sign(grippers), axis=0) != 0, axis=-1))
    if not len(changes):
        return 0
    track = poses.position(eef_poses[: changes[0] + 2])
    away = np.flatnonzero(np.linalg.norm(track - track[-1], axis=-1) > _SKILL_REACH)
    return int(away[-1]) + 1 if len(away) else 0


def rises_of(env: MimicEnv, task: TaskSpec, snapshots: np.ndarray) -> dict[str, int | None]:
    """Signal to the step at whose start it first becomes true, by the env; None if it never does, or the env does not know it. `snapshots` (T + 1, K)."""
    signals = env.signals(snapshots[:-1])
    return {s: first_rise(signals[s]) if s in signals else None for s in task.term_signals}


def replay(env: MimicEnv, episode: Episode) -> tuple[str, np.ndarray]:
    """Snapshots (T + 1, K) of a recorded episode: by its actions, or, if these do not lead to success again, by its states."""
    snapshots = np.stack(list(by_actions(env, episode)))
    if ends_in_success(env, snapshots) or not episode.states:
        return "actions", snapshots
    return "states", np.stack(list(by_states(env, episode)))


def ends_in_success(env: MimicEnv, snapshots: np.ndarray) -> bool:
    return held_for(env.success(snapshots)) > 0
