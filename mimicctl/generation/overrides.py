"""The task as one run wants it: with the run's changes to subtasks and constraints."""

from __future__ import annotations

import dataclasses
from typing import Any

from mimicctl.config import GenerateSettings
from mimicctl.errors import UserError
from mimicctl.generation.schedule import rehearse
from mimicctl.tasks import Subtask, SubtaskConstraint, TaskSpec


def settings_for(task: TaskSpec, settings: GenerateSettings) -> GenerateSettings:
    """`settings`, with what the task asks for where nobody has set anything: not in a file, a variable or a flag."""
    return settings.model_copy(update={name: value for name, value in task.generation.items() if name not in settings.model_fields_set})


def with_overrides(task: TaskSpec, settings: GenerateSettings) -> TaskSpec:
    """The task with `settings.subtasks` and `settings.constraints` put in.

    Raises:
        UserError: they are about what the task does not have, or make no sense together.
    """
    _refuse_idle_starts(settings)
    changed = dataclasses.replace(task, subtasks=_subtasks(task, settings.subtasks), constraints=_constraints(task, settings))
    for eef, subtasks in changed.subtasks.items():
        _check_subtasks(changed, eef, subtasks)
    rehearse(changed)
    return changed


def _refuse_idle_starts(settings: GenerateSettings) -> None:
    for eef, changes in settings.subtasks.items():
        for i, change in enumerate(changes):
            if "start_offset_range" in change and not settings.use_skillgen:
                raise UserError(
                    "start_offset_range is about start signals, by which only use_skillgen goes.",
                    where=f"generate.subtasks.{eef}[{i}]",
                    do="give --use-skillgen too; first_subtask_start_offset_range shifts the first segment without it",
                )


def _subtasks(task: TaskSpec, overrides: dict[str, list[dict[str, Any]]]) -> dict[str, tuple[Subtask, ...]]:
    subtasks = dict(task.subtasks)
    for eef, changes in overrides.items():
        if eef not in subtasks or len(changes) > len(subtasks[eef]):
            known = ", ".join(f"{name} (0 to {len(value) - 1})" for name, value in task.subtasks.items())
            raise UserError(f'{task.task_id} has no such subtask of "{eef}".', where="generate.subtasks", do=f"it has {known}")
        changes = [*changes, *({} for _ in subtasks[eef][len(changes) :])]
        subtasks[eef] = tuple(dataclasses.replace(s, **_tupled(c)) for s, c in zip(subtasks[eef], changes, strict=True))
    return subtasks


def _constraints(task: TaskSpec, settings: GenerateSettings) -> tuple[SubtaskConstraint, ...]:
    """The task's own, each with the run's changes, and those that the run adds."""
    if settings.ignore_constraints:
        return ()
    changed = list(task.constraints)
    for i, change in enumerate(settings.constraints):
        if i < len(changed):
            changed[i] = dataclasses.replace(changed[i], **_tupled(change))
            continue
        missing = {"eef_subtask_constraint_tuple", "constraint_type"} - change.keys()
        if missing:
            raise UserError(
                f"A new constraint needs {' and '.join(sorted(missing))}; {task.task_id} comes with {len(task.constraints)}.",
                where=f"generate.constraints[{i}]",
                do="""write, for instance, {eef_subtask_constraint_tuple = [["left", 0], ["right", 1]], constraint_type = "sequential"}""",
            )
        changed.append(SubtaskConstraint(**_tupled(change)))
    return tuple(changed)


def _check_subtasks(task: TaskSpec, eef: str, subtasks: tuple[Subtask, ...]) -> None:
    for i, subtask in enumerate(subtasks):
        where = f"subtask {i} of {eef}, {subtask.name}"
        known = task.references(eef)
        if subtask.object_ref is not None and subtask.object_ref not in known:
            raise UserError(f'There is no object "{subtask.object_ref}".', where=where, do=f"object_ref is one of {', '.join(known)}, or none")
        if subtask.object_ref is None and subtask.selection_strategy != "random":
            raise UserError(f"Without an object_ref nothing is near: {subtask.selection_strategy} has nothing to go by.", where=where, do="select at random")
        if i and subtask.first_subtask_start_offset_range != (0, 0):
            raise UserError("Only the first subtask has a first_subtask_start_offset_range.", where=where, do="set it for subtask 0")
    if subtasks[-1].term_offset_range != (0, 0):
        raise UserError("The last subtask ends where the demonstration does.", where=f"term_offset_range of {eef}", do="leave it at [0, 0]")


def _tupled(change: dict[str, Any]) -> dict[str, Any]:
    return {key: _tuple(value) for key, value in change.items()}


def _tuple(value: Any) -> Any:
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value
