"""What a checkpoint says of itself, and the mark of one whose data was withdrawn: without torch, and without running anything that is in the file.

A .pth file is a zip archive. The mark is one more file in it, which torch passes over: weights stay as they are, and the mark goes where the
checkpoint goes.
"""

from __future__ import annotations

import collections
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mimicctl.errors import UserError

_MARK = "mimicctl_tainted.json"

SAFETENSORS = ".safetensors"

BESIDE = "mimicctl.json"
"""Beside the weights of a policy that LeRobot trained: what a checkpoint of our own has in itself."""

REST = "mimicctl.checkpoint"
"""Key of a safetensors file's notes under which a checkpoint keeps all that is no tensor, as JSON."""

_NOTES = "__metadata__"


class _Nothing:
    """Stands for tensors, and for whatever else a pickle names."""

    def __init__(self, *arguments: object, **named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __call__(self, *arguments: object, **named: object) -> _Nothing:
        return self

    def append(self, item: object) -> None:
        pass

    def extend(self, items: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass


class _Reader(pickle.Unpickler):
    """Plain values come out as they are; of everything else nothing is imported or called."""

    def find_class(self, module: str, name: str) -> Any:
        return collections.OrderedDict if (module, name) == ("collections", "OrderedDict") else _Nothing

    def persistent_load(self, pid: object) -> Any:
        return _Nothing()


def facts_of(path: Path) -> dict[str, Any]:
    """What `train` wrote of itself into a checkpoint; {} for one of another program, or what is none."""
    beside = path.with_name(BESIDE)
    try:
        if path.suffix == SAFETENSORS and beside.is_file():
            contents = {"mimicctl": json.loads(beside.read_text())}
        elif path.suffix == SAFETENSORS:
            contents = json.loads(_header_of(path)[_NOTES][REST])
        else:
            with zipfile.ZipFile(path) as archive:
                name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                contents = _Reader(io.BytesIO(archive.read(name))).load()
        facts = contents.get("mimicctl")
    except Exception:  # of a file that may hold anything
        return {}
    return facts if isinstance(facts, dict) else {}


def demos_in(facts: Mapping[str, Any]) -> frozenset[str] | None:
    """sha256 of the demos that went into a checkpoint; None if it does not say."""
    dataset = facts.get("dataset")
    demos = dataset.get("demos") if isinstance(dataset, dict) else None
    if not isinstance(demos, dict):
        return None
    return frozenset(str(sha256) for part in demos.values() if isinstance(part, list) for sha256 in part)


def taint_of(path: Path) -> dict[str, Any] | None:
    """Why a checkpoint is not to be used, or the one in a folder of LeRobot's; None of one that may be."""
    if path.is_dir():
        path = path / "model.safetensors"
    try:
        if path.suffix == SAFETENSORS:
            mark = _header_of(path).get(_NOTES, {}).get(_MARK)
            return None if mark is None else json.loads(mark)
        with zipfile.ZipFile(path) as archive:
            marks = [name for name in archive.namelist() if name.endswith(_MARK)]
            return json.loads(archive.read(marks[-1])) if marks else None
    except (OSError, zipfile.BadZipFile):
        return None
    except ValueError:
        return {"why": "its mark cannot be read"}


def taint(path: Path, mark: Mapping[str, Any]) -> None:
    """Put the mark into a checkpoint; all else in it stays as it is.

    Raises:
        OSError, ValueError, zipfile.BadZipFile: it cannot be read or written; it is as it was.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        shutil.copy2(path, partial)
        if path.suffix == SAFETENSORS:
            _note(path, partial, mark)
        else:
            with zipfile.ZipFile(partial, "a") as archive:
                folder = archive.namelist()[0].partition("/")[0]
                archive.writestr(f"{folder}/{_MARK}", json.dumps(mark))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _header_of(path: Path) -> dict[str, Any]:
    """Of a safetensors file: what its tensors are called and where they lie, and notes. Its length, 8 bytes, comes before it."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(min(length, path.stat().st_size)))


def _note(source: Path, target: Path, mark: Mapping[str, Any]) -> None:
    """Write a safetensors file anew with the mark among its notes. Places of tensors count from the end of the header."""
    header = _header_of(source)
    header.setdefault(_NOTES, {})[_MARK] = json.dumps(mark)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(source, "rb") as old, open(target, "wb") as new:
        old.seek(8 + int.from_bytes(old.read(8), "little"))
        new.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(old, new)


def refuse_tainted(paths: Iterable[Path], allowed: bool = False) -> None:
    """UserError if data that one of the checkpoints was made from has been withdrawn, unless that is to be overlooked."""
    for path in paths:
        mark = None if allowed else taint_of(path)
        if mark is not None:
            retrain = f"retrain it ({mark['retrain']})" if mark.get("retrain") else "retrain it on what is left"
            raise UserError(
                f"Demonstrations that this was trained on have been withdrawn ({mark.get('why', 'for a reason that was not noted')}).",
                where=str(path),
                do=f"{retrain}, or --allow-tainted",
            )
