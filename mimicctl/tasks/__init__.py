"""All tasks by id: those that come with mimicctl, and those of users and other packages (`discovery`)."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from collections.abc import Iterable
from pathlib import Path

from mimicctl.errors import UserError, listed
from mimicctl.tasks.discovery import Found, find_tasks
from mimicctl.tasks.drive import DRIVE_TIAGO
from mimicctl.tasks.exhaust_pipe import EXHAUST_PIPE_GR1T2
from mimicctl.tasks.lift_cube import LIFT_CUBE_ABS, LIFT_CUBE_REL
from mimicctl.tasks.lift_tray import LIFT_TRAY_ABS
from mimicctl.tasks.locomanipulation import PICK_PLACE_LOCOMANIPULATION_G1
from mimicctl.tasks.nut_pour import NUT_POUR_G1, NUT_POUR_G1_VISUOMOTOR, NUT_POUR_GR1T2, NUT_POUR_GR1T2_VISUOMOTOR
from mimicctl.tasks.organizer import DESKTOP_ORGANIZER_REL, DESKTOP_ORGANIZER_VISUOMOTOR, DESKTOP_ORGANIZER_WIDE_REL
from mimicctl.tasks.pick_place import PICK_PLACE_G1, PICK_PLACE_GR1T2
from mimicctl.tasks.spec import (
    Arrive,
    CameraSpec,
    Goal,
    Grip,
    HandBox,
    HandOver,
    IsaacLab,
    Label,
    Lift,
    LiftTogether,
    Modality,
    ObjectSpec,
    Obstacle,
    OwnSuccess,
    Part,
    PlaceIn,
    Pour,
    PutInto,
    RenderingMode,
    ResetRange,
    Stack,
    Subtask,
    SubtaskConstraint,
    TaskSpec,
    Tray,
    Wheel,
    objective,
)
from mimicctl.tasks.stack_cube import (
    STACK_CUBE_ABS,
    STACK_CUBE_BIN_REL,
    STACK_CUBE_BLUEPRINT,
    STACK_CUBE_D0_REL,
    STACK_CUBE_D1_REL,
    STACK_CUBE_INSTANCES_REL,
    STACK_CUBE_INSTANCES_VISUOMOTOR,
    STACK_CUBE_REL,
    STACK_CUBE_VISUOMOTOR,
    STACK_CUBE_VISUOMOTOR_COSMOS,
    STACK_CUBE_WALL_REL,
)
from mimicctl.tasks.stringman import PICK_STRINGMAN, PICK_STRINGMAN_VISUOMOTOR

__all__ = [
    "DEFAULT_TASK",
    "Arrive",
    "CameraSpec",
    "Goal",
    "Grip",
    "HandBox",
    "HandOver",
    "IsaacLab",
    "Label",
    "Lift",
    "LiftTogether",
    "Modality",
    "ObjectSpec",
    "Obstacle",
    "OwnSuccess",
    "Part",
    "PlaceIn",
    "Pour",
    "PutInto",
    "RenderingMode",
    "ResetRange",
    "Stack",
    "Subtask",
    "SubtaskConstraint",
    "TaskSpec",
    "Tray",
    "Wheel",
    "broken_tasks",
    "cancel_swing",
    "canonical_id",
    "family_of",
    "find_task",
    "list_tasks",
    "look_again",
    "look_in",
    "objective",
    "on_isaaclab",
    "origin_of",
    "run_isaaclab",
    "task_read_as",
    "told_of_tasks",
    "twin_of",
    "with_family",
]

_REGISTRY = {
    task.task_id: task
    for task in (
        STACK_CUBE_REL,
        STACK_CUBE_ABS,
        STACK_CUBE_VISUOMOTOR,
        STACK_CUBE_VISUOMOTOR_COSMOS,
        STACK_CUBE_BLUEPRINT,
        STACK_CUBE_D0_REL,
        STACK_CUBE_D1_REL,
        STACK_CUBE_WALL_REL,
        STACK_CUBE_BIN_REL,
        STACK_CUBE_INSTANCES_REL,
        STACK_CUBE_INSTANCES_VISUOMOTOR,
        LIFT_CUBE_REL,
        LIFT_CUBE_ABS,
        LIFT_TRAY_ABS,
        DESKTOP_ORGANIZER_REL,
        DESKTOP_ORGANIZER_WIDE_REL,
        DESKTOP_ORGANIZER_VISUOMOTOR,
        PICK_PLACE_G1,
        NUT_POUR_G1,
        NUT_POUR_G1_VISUOMOTOR,
        PICK_PLACE_GR1T2,
        NUT_POUR_GR1T2,
        NUT_POUR_GR1T2_VISUOMOTOR,
        EXHAUST_PIPE_GR1T2,
        PICK_PLACE_LOCOMANIPULATION_G1,
        DRIVE_TIAGO,
        PICK_STRINGMAN,
        PICK_STRINGMAN_VISUOMOTOR,
    )
}

DEFAULT_TASK = STACK_CUBE_REL.task_id


_paths: tuple[str, ...] = ()
"""Where task files are looked for, beside the folder `tasks`."""


def look_in(paths: Iterable[str]) -> None:
    """Look for task files in these files and folders too, from now on: the setting `tasks.paths`."""
    global _paths
    _paths = tuple(paths)


_isaaclab = IsaacLab(env_id="")
"""How tasks on Isaac Lab are run."""


def run_isaaclab(how: IsaacLab) -> None:
    """Run tasks on Isaac Lab so, from now on: the section `isaaclab` of the settings."""
    global _isaaclab
    _isaaclab = how


_swing_cancelled: bool | None = None


def cancel_swing(on: bool | None) -> None:
    """Damp the swing of grippers that hang, or do not, from now on; None: as their tasks say. The setting `swing_cancellation`."""
    global _swing_cancelled
    _swing_cancelled = on


def told_of_tasks() -> tuple[tuple[str, ...], bool | None]:
    """What `look_in` and `cancel_swing` were told; a worker process is told the same."""
    return _paths, _swing_cancelled


def list_tasks() -> tuple[TaskSpec, ...]:
    """All that can be used, those that come with mimicctl first."""
    return (*_REGISTRY.values(), *(each.task for each in _found().tasks.values()))


def broken_tasks() -> list[UserError]:
    """What is wrong with each task file, or entry point of another package, that has no part in `list_tasks`, or not all of it."""
    return [*_found().broken, *_found().clashes.values()]


def origin_of(task: TaskSpec) -> str:
    """Where a task comes from, for people: a file, an entry point, mimicctl, or Isaac Lab."""
    if task.isaaclab is not None:
        return f"Isaac Lab, {task.isaaclab.env_id}"
    return "mimicctl" if task.task_id in _REGISTRY else _found().tasks[task.task_id].origin


_loading = False
"""Whether task files are being read: what one asks for meanwhile can only be a task that comes with mimicctl."""


def _found() -> Found:
    return Found() if _loading else _found_from(_paths, Path.cwd())


@functools.cache
def _found_from(paths: tuple[str, ...], folder: Path) -> Found:
    global _loading
    _loading = True
    try:
        return find_tasks(paths, folder, _REGISTRY)
    finally:
        _loading = False


def look_again() -> None:
    """A task file was written: what was found before is not all there is."""
    _found_from.cache_clear()


def canonical_id(task_id: str) -> str:
    """The id without a `package:` prefix and without the `-Mimic` infix, which names the same task; of Isaac Lab's the one before 3.0."""
    name = task_id.rsplit(":", 1)[-1].replace("-Mimic", "")
    return f"Isaac-{name.removeprefix('IsaacContrib-').removesuffix('-v0')}-v0" if name.startswith("IsaacContrib-") else name


def on_isaaclab(task_id: str) -> bool:
    """Whether a task of that id runs on Isaac Lab."""
    return canonical_id(task_id).startswith("Isaac-")


def family_of(task_id: str) -> str:
    """A task without its backend, its cameras and its reset distribution (MimicGen's `-D0`, `-D1`): demonstrations of one of a family serve the others."""
    name = canonical_id(task_id).split("-", 1)[-1].removesuffix("-v0").removesuffix("-Cosmos").removesuffix("-Visuomotor").removesuffix("-Blueprint")
    return re.sub(r"-D\d(?=-|$)", "", name)


def with_family(task: TaskSpec) -> list[TaskSpec]:
    """The task, and then all of its family."""
    return [task, *(other for other in list_tasks() if family_of(other.task_id) == family_of(task.task_id))]


def twin_of(env_name: str) -> TaskSpec | None:
    """The task that demonstrations of an env are read as: the task itself, or the one on MuJoCo of the same name as one of Isaac Lab's, of either
    generation of their names. None if there is none: humanoids, which look along +y in Isaac Lab and along +x here, are nobody's twins.

    Raises:
        UserError: there is none, but there may be in a task file that is broken.
    """
    name = canonical_id(env_name)
    if on_isaaclab(name):
        task = _known(f"MuJoCo-{name.split('-', 1)[1].removesuffix('-v0')}-v0")
        return None if task is not None and task.is_humanoid else task
    task = _known(name)
    if task is None and name.startswith("MuJoCo-"):
        _blame_broken(name)
    return task


def task_read_as(env_name: str, task_id: str = "") -> TaskSpec:
    """The task `task_id`, or if none is given the twin of the env that demonstrations were recorded on.

    Raises:
        UserError: there is no such task, or no twin.
    """
    if task_id:
        return find_task(task_id)
    if not env_name:
        raise UserError("The file does not say which task it was recorded on.", do="give the --task (mimicctl tasks lists all)")
    return twin_of(env_name) or find_task(env_name)


def find_task(task_id: str) -> TaskSpec:
    """The task of that id.

    Raises:
        UserError: no such task; the message names the nearest ones, or the task files that are broken and may hold it.
    """
    name = canonical_id(task_id)
    if task := _known(name):
        return task
    if on_isaaclab(name):
        # What such a task is, its environment's config says.
        from mimicctl.envs.isaaclab.spec import read_task

        return read_task(name, _isaaclab)
    _blame_broken(name)
    near = difflib.get_close_matches(name, [task.task_id for task in list_tasks()], n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? (mimicctl tasks lists all)" if near else "mimicctl tasks lists all"
    raise UserError(f'There is no task "{task_id}".', do=hint)


def _known(name: str) -> TaskSpec | None:
    """The task with this canonical id, if it can be used."""
    found = _found().tasks.get(name) if name not in _REGISTRY else None
    task = found.task if found else _REGISTRY.get(name)
    if task is None or task.swing_cancellation is None or _swing_cancelled is None:
        return task
    return dataclasses.replace(task, swing_cancellation=_swing_cancelled)


def _blame_broken(name: str) -> None:
    """UserError if a task that is not known may be in a file that is broken."""
    found = _found()
    if name in found.clashes:
        raise found.clashes[name]
    if found.broken:
        first, *others = found.broken
        where = listed([first.where, *(f"{other.where}: {other.what}" for other in others)])
        raise UserError(f"There is no {name} among the tasks that can be read. {first.what}", where=where, do=first.do)
