"""Annotation by replay: what the env's own subtask signals say about a recorded demonstration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimicctl.annotation.output import annotation_output
from mimicctl.dataset.dialect import refuse_without_poses
from mimicctl.dataset.masks import without_discarded
from mimicctl.dataset.reader import Dataset
from mimicctl.envs import make_env
from mimicctl.envs.base import MimicEnv, held_for
from mimicctl.envs.replay import by_actions, by_states
from mimicctl.errors import RunFailed, UserError
from mimicctl.generation.source import first_rise, subtask_ends
from mimicctl.schema import Episode
from mimicctl.tasks import TaskSpec, task_read_as

WAS_DISCARDED = "it is in mask/discarded of the recording"
"""A problem that is none: somebody decided so."""


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
    strict: bool = False,
    overwrite: bool = False,
    on_demo: Callable[[DemoAnnotation], None] = lambda annotation: None,
) -> tuple[Path, list[DemoAnnotation]]:
    """Replay each demo of `input_file` and write those whose signals come in order to `output_file`.

    Args:
        task_id: "" to take the file's word for it.
        strict: fail, and write nothing, if any demo cannot be annotated.

    Raises:
        UserError: the input is no recording of a known task, or the output exists.
        RunFailed: `strict` and a demo failed, or none could be annotated.
    """
    with Dataset(input_file) as dataset:
        task = task_read_as(dataset.task_id, task_id)
        refuse_unreplayable(dataset, task)
        env = make_env(task)
        found: list[DemoAnnotation] = []
        wanted = without_discarded(dataset)
        with annotation_output(dataset, task, env.sim_args, output_file, "auto", overwrite=overwrite) as output:
            for name, episode in dataset.episodes():
                if name in wanted:
                    annotation, annotated = annotate_demo(env, task, name, episode)
                else:
                    annotation, annotated = DemoAnnotation(name, "", "-", dict.fromkeys(task.term_signals), WAS_DISCARDED), None
                if annotated is not None:
                    annotation = dataclasses.replace(annotation, written_as=output.write(name, episode, annotated))
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


def annotate_demo(env: MimicEnv, task: TaskSpec, name: str, episode: Episode) -> tuple[DemoAnnotation, Episode | None]:
    """Replay a recorded demo: what was found in it, and the annotated demo, None if it cannot be annotated."""
    replayed, snapshots = replay(env, episode)
    annotated = env.episode(snapshots, episode.actions, with_datagen_info=True)
    annotated.success = True
    rises = rises_of(env, task, snapshots)
    problem = ""
    if not ends_in_success(env, snapshots):
        problem = "it does not end in success when replayed"
    else:
        try:
            for subtasks in task.subtasks.values():
                subtask_ends(subtasks, annotated.datagen_info, len(annotated), name)
        except UserError as error:
            problem = error.what
    return DemoAnnotation(name, "", replayed, rises, problem), None if problem else annotated


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
