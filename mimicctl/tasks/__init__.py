"""All tasks by id: those that come with mimicctl, and those of users and other packages (`discovery`)."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable
from pathlib import Path

from mimicctl.errors import UserError
from mimicctl.tasks.discovery import FoundTask, find_tasks
from mimicctl.tasks.drive import DRIVE_TIAGO
from mimicctl.tasks.lift_cube import LIFT_CUBE_ABS, LIFT_CUBE_REL
from mimicctl.tasks.spec import Arrive, CameraSpec, Goal, HandBox, Lift, Modality, ObjectSpec, ResetRange, Stack, Subtask, TaskSpec
from mimicctl.tasks.stack_cube import STACK_CUBE_ABS, STACK_CUBE_REL, STACK_CUBE_VISUOMOTOR, STACK_CUBE_VISUOMOTOR_COSMOS

__all__ = [
    "DEFAULT_TASK",
    "Arrive",
    "CameraSpec",
    "Goal",
    "HandBox",
    "Lift",
    "Modality",
    "ObjectSpec",
    "ResetRange",
    "Stack",
    "Subtask",
    "TaskSpec",
    "canonical_id",
    "family_of",
    "find_task",
    "list_tasks",
    "look_in",
    "looked_in",
    "origin_of",
]

_REGISTRY = {
    task.task_id: task
    for task in (STACK_CUBE_REL, STACK_CUBE_ABS, STACK_CUBE_VISUOMOTOR, STACK_CUBE_VISUOMOTOR_COSMOS, LIFT_CUBE_REL, LIFT_CUBE_ABS, DRIVE_TIAGO)
}

DEFAULT_TASK = STACK_CUBE_REL.task_id


_paths: tuple[str, ...] = ()
"""Where task files are looked for, beside the folder `tasks`."""


def look_in(paths: Iterable[str]) -> None:
    """Look for task files in these files and folders too, from now on: the setting `tasks.paths`."""
    global _paths
    _paths = tuple(paths)


def looked_in() -> tuple[str, ...]:
    """What `look_in` was told; a worker process is told the same."""
    return _paths


def list_tasks() -> tuple[TaskSpec, ...]:
    """All of them, those that come with mimicctl first.

    Raises:
        UserError: a task file is broken.
    """
    return (*_REGISTRY.values(), *(found.task for found in _found().values()))


def origin_of(task: TaskSpec) -> str:
    """Where a task comes from, for people: a file, an entry point, or mimicctl."""
    return "mimicctl" if task.task_id in _REGISTRY else _found()[task.task_id].origin


_loading = False
"""Whether task files are being read: what one asks for meanwhile can only be a task that comes with mimicctl."""


def _found() -> dict[str, FoundTask]:
    return {} if _loading else _found_from(_paths, Path.cwd())


@functools.cache
def _found_from(paths: tuple[str, ...], folder: Path) -> dict[str, FoundTask]:
    global _loading
    _loading = True
    try:
        return find_tasks(paths, folder, _REGISTRY)
    finally:
        _loading = False


def canonical_id(task_id: str) -> str:
    """The id without a `package:` prefix and without the `-Mimic` infix, which names the same task."""
    return task_id.rsplit(":", 1)[-1].replace("-Mimic", "")


def family_of(task_id: str) -> str:
    """A task without its backend and its cameras: demonstrations of one of a family serve the others."""
    return canonical_id(task_id).split("-", 1)[-1].removesuffix("-v0").removesuffix("-Cosmos").removesuffix("-Visuomotor")


def find_task(task_id: str) -> TaskSpec:
    """The task of that id.

    Raises:
        UserError: no such task; the message names the nearest ones. Or it does not come with mimicctl, and a task file is broken.
    """
    name = canonical_id(task_id)
    if name in _REGISTRY:
        return _REGISTRY[name]
    found = _found()
    if name in found:
        return found[name].task
    if name.startswith(("Isaac-", "IsaacContrib-")):
        twin = "MuJoCo-" + name.split("-", 1)[1].removesuffix("-v0") + "-v0"
        hint = f"--task {twin} is the same task on MuJoCo" if twin in _REGISTRY else "see mimicctl tasks"
        raise UserError(f'"{task_id}" runs on Isaac Lab, and this version of mimicctl has the MuJoCo backend only.', do=hint)
    near = difflib.get_close_matches(name, [*_REGISTRY, *found], n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? (mimicctl tasks lists all)" if near else "mimicctl tasks lists all"
    raise UserError(f'There is no task "{task_id}".', do=hint)
