"""Saving what can be saved of a file that was cut off."""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py

from mimicctl.dataset.writer import checked_output, refuse_existing
from mimicctl.errors import RunFailed, UserError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Salvaged:
    """A demo of the damaged file, and why it is lost, if it is ("")."""

    name: str
    lost_because: str


def repair(path: str | Path, output: str | Path, *, overwrite: bool = False) -> list[Salvaged]:
    """Copy every demo that is whole to a new file. The damaged one is left as it is.

    Raises:
        UserError: the input is no HDF5 file at all, or the output exists.
        RunFailed: nothing could be saved; nothing was written.
    """
    path, target = Path(path).expanduser().absolute(), checked_output(output)
    _refuse_unfit(path)
    if not overwrite:
        refuse_existing(target)
    partial = target.with_name(f".{target.name}.repair")
    with tempfile.TemporaryDirectory(prefix="mimicctl-repair-", dir=target.parent) as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        survived = copy.stat().st_size
        _extend_to_recorded_end(copy)
        try:
            with h5py.File(copy, "r", locking=False) as damaged, h5py.File(partial, "w") as saved:
                found = _salvage(damaged, saved, survived)
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            partial.unlink(missing_ok=True)
            raise RunFailed(f"Nothing can be saved: the table of contents is gone ({_brief(error)}).", where=str(path)) from None
    if not any(not demo.lost_because for demo in found):
        partial.unlink()
        raise RunFailed("Nothing can be saved: no demo is whole.", where=str(path))
    partial.replace(target)
    return found


def _refuse_unfit(path: Path) -> None:
    if not path.is_file():
        raise UserError("There is no such file.", where=str(path), do="check the path")
    with open(path, "rb") as file:
        if file.read(8) != _SIGNATURE:
            raise UserError("This is not an HDF5 file, or its first bytes are gone.", where=str(path), do="check the path")


def _extend_to_recorded_end(copy: Path) -> None:
    """HDF5 refuses a file shorter than its superblock says; zeros at the end let it open, and are never taken for data."""
    with open(copy, "r+b") as file:
        head = file.read(96)
        version = head[8] if len(head) > 8 else 255
        # Offset of "end of file address" in superblock versions 0, 1 and 2, 3, with 8-byte addresses.
        offset = {0: 40, 1: 44, 2: 28, 3: 28}.get(version)
        if offset is None or len(head) < offset + 8:
            return
        end = struct.unpack_from("<Q", head, offset)[0]
        if copy.stat().st_size < end < 1 << 50:
            file.truncate(end)


def _salvage(damaged: h5py.File, saved: h5py.File, survived: int) -> list[Salvaged]:
    for key, value in damaged.attrs.items():
        saved.attrs[key] = value
    source, target = damaged["data"], saved.create_group("data")
    for key, value in source.attrs.items():
        target.attrs[key] = value
    found, total = [], 0
    names = [n for n in source if n.startswith("demo_") and n[5:].isdigit()]
    for name in sorted(names, key=lambda n: int(n[5:])):
        reason = _reason_lost(lambda name=name: _check_whole(source[name], survived))
        if not reason:
            reason = _reason_lost(lambda name=name: source.copy(name, target, name=name))
            if reason and name in target:
                del target[name]
        if not reason:
            total += int(target[name].attrs["num_samples"])
        found.append(Salvaged(name, reason))
    target.attrs["total"] = total
    return found


def _reason_lost(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        return _brief(error)
    return ""


def _check_whole(demo: h5py.Group, survived: int) -> None:
    """ValueError unless every array of the demo lies within the bytes that survived and agrees on the length."""
    arrays: list[h5py.Dataset] = []
    demo.visititems(lambda path, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
    if "actions" not in demo or "num_samples" not in demo.attrs:
        raise ValueError("it was being written when the file was cut off")
    if len(demo["actions"]) != int(demo.attrs["num_samples"]):
        raise ValueError("actions and num_samples disagree")
    for array in arrays:
        if _end_of(array) > survived:
            raise ValueError(f"{array.name.split('/', 3)[-1]} lies beyond the cut")
        array[()]


def _end_of(array: h5py.Dataset) -> int:
    """Address just behind the last byte that an array is stored in."""
    if array.chunks is None:
        offset = array.id.get_offset()
        return 0 if offset is None else offset + array.id.get_storage_size()
    chunks = [array.id.get_chunk_info(i) for i in range(array.id.get_num_chunks())]
    return max((chunk.byte_offset + chunk.size for chunk in chunks), default=0)


def _brief(error: Exception) -> str:
    text = str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__
    return text[:120]
