"""Saving what can be saved of a file that was cut off.

What is lost is found by reading the file twice, with the missing bytes filled in two different ways: whatever depends on one
of them, be it data, a name or a structure of HDF5's own, fails or comes out differently. What comes out the same is whole.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mimicctl.dataset import carving
from mimicctl.dataset.reader import demo_number, is_demo_name
from mimicctl.dataset.writer import checked_output, refuse_existing
from mimicctl.errors import RunFailed, UserError

_FILLINGS = (0x00, 0xFF)
_DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError, UnicodeDecodeError)
"""What h5py raises on nonsense."""


@dataclass(frozen=True)
class Salvaged:
    """A demo of the damaged file, and why it is lost, if it is ("")."""

    name: str
    lost_because: str


@dataclass(frozen=True)
class Salvage:
    """What a repair found.

    Attributes:
        demos: in their order; those that the table of contents no longer tells of are not among them if it is damaged.
        contents_damaged: demos had to be searched for. Ones deleted from the file earlier can be among them.
        renumbered: names of some are lost, and those are numbered as they lie in the file, after the others.
    """

    demos: list[Salvaged]
    contents_damaged: bool
    renumbered: bool

    @property
    def saved(self) -> list[str]:
        return [demo.name for demo in self.demos if not demo.lost_because]


@dataclass(frozen=True)
class _Candidate:
    name: str
    address: int


@dataclass(frozen=True)
class _Reading:
    """One reading of the file: attributes of root and `data`, and address of each demo to its digest, or to why it has none."""

    root: dict[str, Any]
    data: dict[str, Any]
    digests: dict[int, str]
    errors: dict[int, str]


def repair(path: str | Path, output: str | Path, *, overwrite: bool = False) -> Salvage:
    """Copy every demo that is whole, with its attributes, to a new file. The damaged one is left as it is.

    Masks and the attempts log are not copied: they tell of demos that may be lost.

    Raises:
        UserError: the input is no HDF5 file at all, or the output exists.
        RunFailed: nothing could be saved; nothing was written.
    """
    path, target = Path(path).expanduser().absolute(), checked_output(output)
    _refuse_unfit(path)
    if target.exists() and target.samefile(path):
        raise UserError("The saved demos cannot go to the damaged file itself.", where=str(path), do="choose another --output-file")
    if not overwrite:
        refuse_existing(target)
    end = carving.recorded_end(path)
    fillings = _FILLINGS if end > path.stat().st_size else _FILLINGS[:1]
    try:
        candidates, damaged, renumbered = _find_demos(path, end, fillings)
        readings = [_read(path, end, fill, candidates) for fill in fillings]
    except _DAMAGE:
        raise RunFailed("Nothing can be saved: the beginning of the file, which leads to all else, is damaged.", where=str(path)) from None
    if any(reading.root != readings[0].root for reading in readings):
        raise RunFailed("Nothing can be saved: what the file says about itself is lost.", where=str(path))
    demos = [Salvaged(c.name, _why_lost(c, readings)) for c in candidates]
    whole = [c for c, demo in zip(candidates, demos, strict=True) if not demo.lost_because]
    if not whole:
        raise RunFailed(f"Nothing can be saved: no demo is whole ({len(demos)} were found).", where=str(path))
    _save(path, end, whole, readings, target)
    return Salvage(demos, damaged, renumbered)


def _refuse_unfit(path: Path) -> None:
    if not path.is_file():
        what = "This is a folder, not a dataset file." if path.is_dir() else "There is no such file."
        raise UserError(what, where=str(path), do="check the path")
    try:
        with open(path, "rb") as file:
            head = file.read(len(carving.SIGNATURE))
    except OSError as error:
        raise UserError(f"Cannot read this file: {error.strerror}.", where=str(path), do=f"chmod u+r {path}") from None
    if head != carving.SIGNATURE:
        raise UserError("This is not an HDF5 file, or its first bytes are gone.", where=str(path), do="check the path")


def _open(path: Path, end: int, fill: int) -> h5py.File:
    return h5py.File(carving.FilledFile(path, end, fill), "r")


# Where the demos are ------------------------------------------------------------------------------------


def _find_demos(path: Path, end: int, fillings: tuple[int, ...]) -> tuple[list[_Candidate], bool, bool]:
    """The demos, whether they had to be searched for, and whether that left some without names."""
    listings = [_listed(path, end, fill) for fill in fillings]
    if listings[0] is not None and all(listing == listings[0] for listing in listings):
        return listings[0], False, False
    found = _searched(path, end)
    named, nameless = [c for c in found if c.name], [c for c in found if not c.name]
    first = 1 + max((demo_number(c.name) for c in named), default=-1)
    # Written one after the other, they lie in the order of their numbers.
    renamed = [_Candidate(f"demo_{first + i}", c.address) for i, c in enumerate(nameless)]
    return sorted(named, key=lambda c: demo_number(c.name)) + renamed, True, bool(renamed)


def _listed(path: Path, end: int, fill: int) -> list[_Candidate] | None:
    """Demos by the table of contents; None if it cannot be read."""
    with _open(path, end, fill) as file:
        data = file["data"]
        try:
            names = sorted((name for name in data if is_demo_name(name)), key=demo_number)
            references = [h5py.h5r.create(data.id, name.encode(), h5py.h5r.OBJECT) for name in names]
            return [_Candidate(name, address) for name, address in zip(names, carving.addresses(references), strict=True)]
        except _DAMAGE:
            return None


def _searched(path: Path, end: int) -> list[_Candidate]:
    """Demos by what they look like: groups with actions and a number of steps. Without a name where that is lost."""
    addresses = carving.group_addresses(path)
    with _open(path, end, _FILLINGS[0]) as file:
        names = carving.names_of_members(path, carving.addresses([file["data"].ref])[0])
        demos = [a for a, ref in zip(addresses, carving.references(addresses), strict=True) if _looks_like_a_demo(file, ref)]
    return [_Candidate(names[a] if is_demo_name(names.get(a, "")) else "", a) for a in demos]


def _looks_like_a_demo(file: h5py.File, reference: h5py.Reference) -> bool:
    try:
        group = file[reference]
        return isinstance(group, h5py.Group) and "num_samples" in group.attrs and "actions" in group
    except _DAMAGE:
        return False


# Whether they are whole ---------------------------------------------------------------------------------


def _read(path: Path, end: int, fill: int, candidates: list[_Candidate]) -> _Reading:
    digests, errors = {}, {}
    with _open(path, end, fill) as file:
        reading = _Reading(_attributes(file), _attributes(file["data"]), digests, errors)
        for candidate, demo in _groups(file, candidates):
            try:
                if demo is None:
                    raise KeyError("its group is unreadable")
                digests[candidate.address] = _digest(demo)
            except _DAMAGE as error:
                errors[candidate.address] = _brief(error)
    return reading


def _groups(file: h5py.File, candidates: list[_Candidate]) -> Iterator[tuple[_Candidate, h5py.Group | None]]:
    for candidate, reference in zip(candidates, carving.references([c.address for c in candidates]), strict=True):
        try:
            yield candidate, file[reference]
        except _DAMAGE:
            yield candidate, None


def _attributes(item: h5py.Group) -> dict[str, Any]:
    """Attributes that can be read."""
    found = {}
    for name in item.attrs:
        try:
            value = item.attrs[name]
        except _DAMAGE:
            continue
        found[name] = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
    return found


def _digest(demo: h5py.Group) -> str:
    """sha256 of all that is in a demo.

    Raises:
        ValueError: it was not finished.
    """
    digest = hashlib.sha256()
    _add_attributes(digest, demo)
    steps = demo.attrs.get("num_samples")
    if steps is None or len(demo["actions"]) != int(steps):
        raise ValueError("it was being written")
    items: list[tuple[str, h5py.Group | h5py.Dataset]] = []
    demo.visititems(lambda path, item: items.append((path, item)))
    for path, item in items:
        if not isinstance(path, str):
            raise ValueError("its names are damaged")
        digest.update(path.encode())
        _add_attributes(digest, item)
        if isinstance(item, h5py.Dataset):
            _refuse_unallocated(path, item)
            values = np.ascontiguousarray(item[()])
            digest.update(f"{values.dtype}{values.shape}".encode())
            digest.update(values.data if values.size else b"")
    return digest.hexdigest()


def _add_attributes(digest: hashlib._Hash, item: h5py.Group | h5py.Dataset) -> None:
    for name in sorted(item.attrs):
        value = item.attrs[name]
        digest.update(f"{name}={value.tolist() if isinstance(value, np.ndarray) else value!r}".encode())


def _refuse_unallocated(path: str, array: h5py.Dataset) -> None:
    """HDF5 reads zeros where nothing was ever written; the writer was killed before it came to that."""
    if array.size == 0 or array.id.get_create_plist().get_layout() == h5py.h5d.COMPACT:
        return
    if array.chunks is None:
        written = array.id.get_offset() is not None
    else:
        written = array.id.get_num_chunks() == math.prod(-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True))
    if not written:
        raise ValueError(f"{path} was being written")


def _why_lost(candidate: _Candidate, readings: list[_Reading]) -> str:
    if len(readings) == 1:
        return readings[0].errors.get(candidate.address, "")
    if not all(candidate.address in reading.digests for reading in readings):
        return "part of it lies beyond the cut"
    return "" if len({reading.digests[candidate.address] for reading in readings}) == 1 else "part of it lies beyond the cut"


# Saving -----------------------------------------------------------------------------------------------


def _save(path: Path, end: int, whole: list[_Candidate], readings: list[_Reading], target: Path) -> None:
    partial = target.with_name(f".{target.name}.repair")
    try:
        with _open(path, end, _FILLINGS[0]) as damaged, h5py.File(partial, "w") as saved:
            for key, value in readings[0].root.items():
                saved.attrs[key] = value
            data, total = saved.create_group("data"), 0
            for key, value in readings[0].data.items():
                if all(reading.data.get(key) == value for reading in readings):
                    data.attrs[key] = value
            for candidate, demo in _groups(damaged, whole):
                _copy(demo, data.create_group(candidate.name))
                total += int(demo.attrs["num_samples"])
            data.attrs["total"] = total
        partial.replace(target)
    except OSError as error:
        raise RunFailed(f"Cannot write the saved demos: {_brief(error)}.", where=str(target), do="make room, or choose another --output-file") from None
    finally:
        partial.unlink(missing_ok=True)


def _copy(demo: h5py.Group, target: h5py.Group) -> None:
    """Array by array: HDF5's own copying follows raw structures, and crashes on damaged ones."""
    items: list[tuple[str, h5py.Group | h5py.Dataset]] = [("/", demo)]
    demo.visititems(lambda path, item: items.append((path, item)))
    for path, item in items:
        if isinstance(item, h5py.Dataset):
            layout = {"chunks": item.chunks, "compression": item.compression, "compression_opts": item.compression_opts}
            copy = target.create_dataset(path, data=item[()], dtype=item.dtype, **layout)
        else:
            copy = target if item is demo else target.require_group(path)
        for key, value in item.attrs.items():
            copy.attrs[key] = value


def _brief(error: BaseException) -> str:
    text = str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__
    return text[:120]
