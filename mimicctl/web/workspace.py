"""The datasets that the web app shows, and what is said of them and of their demos.

A browser names a file by its number. The number stands for the same path as long as the server runs, so nothing but the files of the
workspace can be asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mimicctl.dataset.committed_file import is_being_written
from mimicctl.dataset.contact_sheet import image_keys
from mimicctl.dataset.masks import DISCARDED, KEPT
from mimicctl.dataset.reader import Dataset, whole_number
from mimicctl.errors import UserError

_SUFFIXES = (".hdf5", ".h5")
_MOST_FILES = 500
"""Found in folders; more are no list to choose from."""

T = TypeVar("T")


@dataclass(frozen=True)
class FileSummary:
    """A file of the workspace.

    Attributes:
        version: changes whenever the file does.
        problem, do: why it cannot be shown, and what to do about it; "" if it can.
        cameras: image keys of its first demo.
        being_written: by another process, now.
    """

    number: int
    name: str
    path: str
    size: int = 0
    modified: float = 0.0
    version: str = ""
    problem: str = ""
    do: str = ""
    task: str = ""
    demos: int = 0
    made_by: str = ""
    cameras: tuple[str, ...] = ()
    kept: int = 0
    discarded: int = 0
    being_written: bool = False


@dataclass(frozen=True)
class DemoSummary:
    """A demo of a file.

    Attributes:
        source: where it comes from, in a few words.
        seconds: None if the file does not say how fast it goes.
        mark: "kept", "discarded" or "".
    """

    name: str
    steps: int
    seconds: float | None
    success: bool
    source: str
    annotated: bool
    seed: int | None
    mark: str


class Workspace:
    """Files, and those found in folders each time one looks.

    Args:
        given: datasets and folders.

    Raises:
        UserError: one of them is not there.
    """

    def __init__(self, given: Sequence[Path]) -> None:
        self._given = [Path(path).expanduser().absolute() for path in given]
        for path in self._given:
            if not path.exists():
                raise UserError("There is no such file or folder.", where=str(path), do="check the path, or make it first (mimicctl record)")
        self._paths: list[Path] = []
        self._known: dict[tuple[str, int], tuple[str, Any]] = {}
        self._lock = threading.Lock()

    @classmethod
    def of_folder(cls, folder: Path) -> Workspace:
        """What is found in `folder`, which may appear later."""
        workspace = cls(())
        workspace._given = [folder.absolute()]
        return workspace

    def files(self) -> list[FileSummary]:
        """All files; broken ones too, with the reason."""
        return [self.file(number) for number in map(self.number_of, self._present())]

    def _present(self) -> Iterator[Path]:
        for path in self._given:
            if path.is_dir():
                found = (each for each in sorted(path.rglob("*")) if each.suffix in _SUFFIXES and not _hidden(each.relative_to(path)) and each.is_file())
                yield from (each for each, _ in zip(found, range(_MOST_FILES), strict=False))
            elif path.exists():
                yield path

    def number_of(self, path: Path) -> int:
        """Of a file that is to be shown."""
        with self._lock:
            if path not in self._paths:
                self._paths.append(path)
            return self._paths.index(path)

    def path(self, number: int) -> Path:
        """
        Raises:
            UserError: there is no such file.
        """
        if not 0 <= number < len(self._paths):
            raise UserError("There is no such file in this workspace.", do="go back to the list of files")
        return self._paths[number]

    def file(self, number: int) -> FileSummary:
        path = self.path(number)
        folder = next((given for given in self._given if given.is_dir() and path.is_relative_to(given)), path.parent)
        named = {"number": number, "name": str(path.relative_to(folder)), "path": str(path)}
        try:
            version, stat = version_of(path), path.stat()
            named |= {"size": stat.st_size, "modified": stat.st_mtime, "version": version, "being_written": is_being_written(path)}
            return FileSummary(**named, **self.cached("file", number, lambda: _describe(path)))
        except UserError as error:
            return FileSummary(**named, problem=error.what, do=error.do)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            # What a damaged file makes h5py say has many forms, none of which may hide the other files.
            return FileSummary(**named, problem=f"The file cannot be read: {error}", do=f"mimicctl dataset repair {path}")

    def demos(self, number: int) -> list[DemoSummary]:
        """
        Raises:
            UserError: the file cannot be read.
        """
        return self.cached("demos", number, lambda: list(_demos(self.path(number))))

    def cached(self, what: str, number: int, read: Callable[[], T]) -> T:
        """What `read` finds in a file, read again only when the file has changed."""
        version = version_of(self.path(number))
        before = self._known.get((what, number))
        if before is not None and before[0] == version:
            return before[1]
        found = read()
        self._known[what, number] = (version, found)
        return found


def version_of(path: Path) -> str:
    """
    Raises:
        UserError: the file is gone.
    """
    try:
        stat = path.stat()
    except OSError:
        raise UserError("The file is not there any more.", where=str(path), do="go back to the list of files") from None
    return f"{stat.st_mtime_ns:x}-{stat.st_ino:x}-{stat.st_size:x}"


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _describe(path: Path) -> dict[str, Any]:
    with Dataset(path, need_demos=False) as dataset:
        return {
            "task": dataset.task_id,
            "demos": len(dataset),
            "made_by": str(dataset.lineage.get("made_by", "")),
            "cameras": tuple(image_keys(dataset.group(dataset.demos[0]))) if dataset.demos else (),
            "kept": len(dataset.masks.get(KEPT, ())),
            "discarded": len(dataset.masks.get(DISCARDED, ())),
        }


def _demos(path: Path) -> Iterator[DemoSummary]:
    with Dataset(path, need_demos=False) as dataset:
        marks = {name: key for key in (KEPT, DISCARDED) for name in dataset.masks.get(key, ())}
        rate = dataset.control_hz
        for name in dataset.demos:
            attributes, steps = dataset.attributes(name), dataset.length(name)
            yield DemoSummary(
                name=name,
                steps=steps,
                seconds=round(steps / rate, 2) if rate else None,
                success=bool(attributes.get("success", False)),
                source=source_text(dataset.demo_lineage(name)),
                annotated="obs/datagen_info/subtask_term_signals" in dataset.group(name),
                seed=whole_number(attributes.get("seed")),
                mark=marks.get(name, ""),
            )


def source_text(lineage: dict[str, Any]) -> str:
    """Where a demo comes from, in a few words; "" if it does not say."""
    parent = lineage.get("parent")
    if isinstance(parent, dict):
        return ", ".join(part for part in (f"from {parent.get('demo', 'another demo')}", source_text(parent)) if part)
    if "trial" in lineage:
        sources = lineage.get("sources")
        if isinstance(sources, dict):  # of each end-effector, where there are several
            sources = [name for names in sources.values() for name in names]
        return f"trial {lineage['trial']}" + (f" from {', '.join(dict.fromkeys(map(str, sources)))}" if isinstance(sources, list) and sources else "")
    if "device" in lineage:
        who = str(lineage.get("operator") or "")
        device = str(lineage["device"])
        return f"by {device}" if who in ("", device) else f"by {device}, {who}"
    return str(lineage.get("made_by", ""))
