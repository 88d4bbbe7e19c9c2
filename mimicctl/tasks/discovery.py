"""Tasks that do not come with mimicctl: Python files of a user's own, and entry points of other packages.

A task file says `TASK = TaskSpec(...)`, or `TASKS = (TaskSpec(...), ...)`. Files of the folder `tasks` of the working folder are found by
themselves, but for those whose names begin with an underscore and those that never mention mimicctl; others by the setting `tasks.paths`. Another
package adds tasks by entry points in the group `mimicctl.tasks`, which name a `TaskSpec` or several.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.util
import re
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, get_type_hints

from mimicctl.errors import UserError
from mimicctl.tasks.spec import TaskSpec

GROUP = "mimicctl.tasks"
"""Of entry points by which other packages add tasks."""

FOLDER = "tasks"
"""Of the working folder; its task files need no setting."""

_ID = re.compile(r"MuJoCo-[A-Za-z0-9]+(-[A-Za-z0-9]+)*-v\d+")


@dataclass(frozen=True)
class FoundTask:
    """A task and where it was found, for people.

    Attributes:
        where: its definition.
    """

    task: TaskSpec
    origin: str
    where: str


@dataclass
class Found:
    """What there is beside the tasks that come with mimicctl.

    Attributes:
        tasks: by task id.
        broken: what is wrong with each file or entry point whose tasks are therefore unknown; the message has file and line.
        clashes: task id to what is wrong, where two tasks claim it. Neither of them is in `tasks`.
    """

    tasks: dict[str, FoundTask] = field(default_factory=dict)
    broken: list[UserError] = field(default_factory=list)
    clashes: dict[str, UserError] = field(default_factory=dict)


def find_tasks(paths: Iterable[str], folder: Path, taken: Iterable[str]) -> Found:
    """All tasks there are beside those that come with mimicctl. What is broken keeps nothing else from being found.

    Args:
        paths: files and folders of the setting `tasks.paths`, relative to `folder`.
        folder: the working folder.
        taken: ids of the tasks that come with mimicctl.
    """
    origins = dict.fromkeys(taken, "mimicctl itself")
    found = Found()
    for source in (*_task_files(paths, folder), *entry_points(group=GROUP)):
        try:
            tasks = _tasks_of_entry_point(source) if isinstance(source, EntryPoint) else _tasks_of_file(source, folder)
        except UserError as error:
            found.broken.append(error)
            continue
        for each in tasks:
            task_id = each.task.task_id
            if task_id in origins:
                what, do = f"{task_id} is there already: in {origins[task_id]}.", "give one of the two another task_id"
                found.clashes[task_id] = UserError(what, where=each.where, do=do)
            origins[task_id] = each.origin
            found.tasks[task_id] = each
    found.tasks = {task_id: each for task_id, each in found.tasks.items() if task_id not in found.clashes}
    return found


def _tasks_of_entry_point(point: EntryPoint) -> list[FoundTask]:
    where = f"entry point {point.name} = {point.value}"
    try:
        value = point.load()
    except (Exception, SystemExit) as error:
        # Whatever somebody else's code does; it is named, so that its author is asked and not we.
        do = "mend or remove that package"
        raise UserError(f"The tasks of another package cannot be loaded ({type(error).__name__}: {error}).", where=where, do=do) from error
    return [FoundTask(task, f"entry point {point.value}", where) for task in _checked(value, point.value, where)]


def _task_files(paths: Iterable[str], folder: Path) -> list[Path]:
    """Each once, in a fixed order; those that are named even where there is no such file."""
    files = list(_files_in(folder / FOLDER))
    for text in paths:
        path = folder / Path(text).expanduser()
        files += _files_in(path) if path.is_dir() else [path]
    return list(dict.fromkeys(path.resolve() for path in files))


def _files_in(folder: Path) -> Iterator[Path]:
    """Task files of a folder, which may be somebody else's: nothing is run that has nothing to do with mimicctl."""
    if folder.is_dir():
        for path in sorted(folder.glob("*.py")):
            # Editors put hidden files beside those that are open.
            if path.is_file() and not path.name.startswith(("_", ".")) and _mentions_us(path):
                yield path


def _mentions_us(path: Path) -> bool:
    try:
        return b"mimicctl" in path.read_bytes()
    except OSError:
        return True  # whoever reads it next says what is wrong


def _tasks_of_file(path: Path, folder: Path) -> list[FoundTask]:
    origin = str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
    if not path.is_file():
        raise UserError("There is no such task file or folder.", where=f"tasks.paths: {origin}", do="mend the path, or take it out of the settings")
    try:
        lines = _definitions(ast.parse(path.read_bytes(), str(path)))
        module = _run(path)
    except SyntaxError as error:
        raise _broken(path, error.lineno, f"it is not Python: {error.msg}") from error
    except (Exception, SystemExit) as error:
        what = error.what if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        raise _broken(path, _line_of(error, path), what) from error
    if not lines:
        raise _broken(path, None, "it defines neither TASK nor TASKS", "write TASK = TaskSpec(...); a helper's name may begin with an underscore")
    places = {name: f"{path}, line {line}" for name, line in lines.items()}
    return [FoundTask(task, origin, where) for name, where in places.items() for task in _checked(getattr(module, name), name, where)]


def _definitions(tree: ast.Module) -> dict[str, int]:
    """Which of TASK and TASKS a file defines, and in which line."""
    lines = {}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        lines |= {target.id: node.lineno for target in targets if isinstance(target, ast.Name) and target.id in ("TASK", "TASKS")}
    return lines


def _run(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"mimicctl_task_file_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _line_of(error: BaseException, path: Path) -> int | None:
    """The last line of the file that the exception came through."""
    return next((frame.lineno for frame in reversed(traceback.extract_tb(error.__traceback__)) if frame.filename == str(path)), None)


def _broken(path: Path, line: int | None, what: str, do: str = "mend the file, or move it out of the way") -> UserError:
    return UserError(f"The task file {path.name} is broken: {what.rstrip('.')}.", where=f"{path}, line {line}" if line else str(path), do=do)


def _checked(value: Any, name: str, where: str) -> tuple[TaskSpec, ...]:
    """The tasks that a name stands for, once every field is of its type."""
    tasks = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    for task in tasks:
        # Of a class that a file defines a worker process would know nothing.
        if type(task) is not TaskSpec:
            raise UserError(f"{name} is a {type(task).__name__}, not a TaskSpec.", where=where, do="write TASK = TaskSpec(...)")
        if problem := _ill_typed(task):
            raise UserError(f"{name} is no task: {problem}.", where=where, do="docs/tasks.md has what each field takes")
        if not isinstance(task.task_id, str) or not _ID.fullmatch(task.task_id) or "-Mimic" in task.task_id:
            what = f'{name} has the task_id "{task.task_id}", which names no task on MuJoCo.'
            raise UserError(what, where=where, do="write MuJoCo-<Name>-v0, with letters, digits and dashes, and without -Mimic, which is read over")
    return tasks


def _ill_typed(value: Any, path: str = "") -> str:
    """The first field of a dataclass, or of one inside it, that holds something else than it should; "" if none does."""
    from pydantic import ValidationError

    for name, kind in get_type_hints(type(value)).items():
        inner = getattr(value, name)
        try:
            _adapter(kind).validate_python(inner, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            place = "".join(f"[{part}]" for part in first["loc"] if isinstance(part, int))
            given = f"a {type(first['input']).__name__}" if dataclasses.is_dataclass(first["input"]) else repr(first["input"])
            return f"{path}{name}{place} cannot be {given} ({first['msg'][:1].lower()}{first['msg'][1:]})"
        for place, part in _parts_of(inner):
            if problem := _ill_typed(part, f"{path}{name}{place}."):
                return problem
    return ""


@functools.cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _parts_of(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Dataclasses in a field, however deep in tuples and dictionaries, and where."""
    if dataclasses.is_dataclass(value):
        yield place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _parts_of(inner, f"{place}[{key!r}]")
    elif isinstance(value, tuple):
        for i, inner in enumerate(value):
            yield from _parts_of(inner, f"{place}[{i}]")
