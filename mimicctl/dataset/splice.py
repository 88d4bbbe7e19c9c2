"""HDF5 files put into another one as they are: their bytes are copied, and the addresses in them shifted.

HDF5 copies object by object, for a demonstration of states in 1.2 ms of processor time; this is as fast as copying a file.
What the demos hang from, the table of contents of their file, is left behind: HDF5 itself enters them in that of the new file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from mimicctl.dataset import carving
from mimicctl.dataset.layout import END_ADDRESS_AT, LINKS_AT
from mimicctl.dataset.outline import Inventory

_BLOCK = 1 << 20
_ALIGNED = 8
_LEAST_USED = 0.9
"""Share of the copied bytes that the demos need. A file of which less is wanted, or with many holes, is copied object by object, which leaves the rest behind."""


@dataclass(frozen=True)
class Part:
    """A file that can be spliced in.

    Attributes:
        demos: name to header.
        end: so many bytes of it are copied.
        addresses: where in it are addresses to be shifted, in order; none overlap.
        blanks: where in it 8 bytes are to be erased, so that nobody who looks for groups in the bytes finds those that are left behind.
    """

    path: Path
    demos: Mapping[str, int]
    end: int
    addresses: np.ndarray
    blanks: np.ndarray


def part_of(path: Path, inventory: Inventory | None, demos: Collection[str]) -> Part | None:
    """How to splice in these demos of a file; None if that cannot be done or is not worth it."""
    if inventory is None or not set(inventory.names).issuperset(demos):
        return None
    number = {name: i for i, name in enumerate(inventory.names)}
    places = [number[name] for name in demos]
    wanted = np.zeros(len(number), bool)
    wanted[places] = True
    kinds = [(alike, wanted[alike.which]) for alike in inventory.kinds]
    end = max(int(alike.ends[mine].max(initial=0)) for alike, mine in kinds)
    if sum(alike.used[mine].sum() for alike, mine in kinds) < _LEAST_USED * end:
        return None
    addresses = np.sort(np.concatenate([alike.addresses[mine[alike.owners]] for alike, mine in kinds]))
    if (np.diff(addresses) < 8).any():
        return None
    rest = [table[~mine].ravel() for alike, mine in kinds for table in (alike.groups, alike.nodes)]
    blanks = np.concatenate([np.zeros(1, np.int64), inventory.tables, *rest])
    headers = inventory.headers[places].tolist()
    return Part(path, dict(zip(demos, headers, strict=True)), end, addresses, blanks[blanks < end])


def append(path: Path, part: Part, on_progress: Callable[[float], None]) -> dict[str, int]:
    """Put a part at the end of an HDF5 file that nobody has open. Returns the new headers of its demos.

    Args:
        on_progress: called with the share of the bytes that is done.
    """
    with open(part.path, "rb", buffering=0) as source, open(path, "r+b", buffering=0) as output:
        start = -(-os.fstat(output.fileno()).st_size // _ALIGNED) * _ALIGNED
        output.seek(start)
        block, at = bytearray(_BLOCK), 0
        while at < part.end:
            first, last = np.searchsorted(part.addresses, (at, at + _BLOCK - 7))  # those that are whole in this block
            stop = min(at + _BLOCK, part.end)
            if last < len(part.addresses):
                stop = min(stop, int(part.addresses[last]))
            _fill(source, memoryview(block)[: stop - at])
            numbers = np.ndarray(_BLOCK - 7, "<i8", buffer=block, strides=(1,))
            numbers[part.addresses[first:last] - at] += start
            _write(output, memoryview(block)[: stop - at])
            at = stop
            on_progress(at / part.end)
        for blank in part.blanks.tolist():
            os.pwrite(output.fileno(), bytes(min(8, part.end - blank)), start + blank)
        os.pwrite(output.fileno(), (start + part.end).to_bytes(8, "little"), END_ADDRESS_AT)
    return {name: start + header for name, header in part.demos.items()}


def _fill(source, block: memoryview) -> None:
    while block:
        count = source.readinto(block)
        if not count:
            raise OSError(f"{source.name} became shorter")
        block = block[count:]


def _write(output, block: memoryview) -> None:
    while block:
        block = block[output.write(block) :]


def enter(data: h5py.Group, headers: Mapping[str, int]) -> None:
    """Enter objects of the file, by their headers, in a group. `count_links` has to follow when the file is closed."""
    for (name, _), reference in zip(headers.items(), carving.references(list(headers.values())), strict=True):
        h5py.h5o.link(h5py.h5r.dereference(reference, data.id), data.id, name.encode())


def count_links(path: Path, headers: Collection[int]) -> None:
    """Each of these objects has one name: HDF5 also counts the one that it had in its own file."""
    with open(path, "r+b", buffering=0) as file:
        for header in headers:
            os.pwrite(file.fileno(), (1).to_bytes(4, "little"), header + LINKS_AT)
