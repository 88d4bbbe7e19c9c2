"""Finding groups in the raw bytes of an HDF5 file whose table of contents is damaged.

Groups of the classic kind, the only one that h5py, Isaac Lab, robomimic and mimicctl write unless told otherwise, have an object
header of which all but the member count and the addresses is known beforehand, so they can be found without the tree that leads to
them. Their names are elsewhere: symbol table nodes ("SNOD") pair the address of a member with an offset into the group's heap of names.

Source: HDF5 File Format Specification 3.0, sections II (superblock), III.B to III.D (groups), IV.A.1 (object headers).
"""

from __future__ import annotations

import io
import mmap
import os
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_END_ADDRESS_AT = {0: 40, 1: 44, 2: 28, 3: 28}  # superblock version to where its end-of-file address is, with 8-byte addresses
# Version 1, messages (any number), one link, 24 bytes of messages, the first of which is the symbol table (0x11) or goes on elsewhere (0x10).
_GROUP_HEADER = re.compile(rb"\x01\x00..\x01\0\0\0\x18\0\0\0\0\0\0\0[\x10\x11]\0\x10\0", re.DOTALL)
_NODE, _HEAP = re.compile(rb"SNOD\x01"), b"HEAP"
_ENTRY = struct.Struct("<QQII16s")  # offset of the name in the heap, address, cache type, reserved, scratch
_HAS_HEAP = 1  # cache type: the scratch space holds the addresses of a group's tree and heap


def recorded_end(path: Path) -> int:
    """Size that the superblock says the file has; 0 if it does not say."""
    with open(path, "rb") as file:
        head = file.read(96)
    offset = _END_ADDRESS_AT.get(head[8] if len(head) > 8 else 255)
    if offset is None or len(head) < offset + 8:
        return 0
    return struct.unpack_from("<Q", head, offset)[0]


class FilledFile(io.RawIOBase):
    """A file, read-only, that seems to go on after its end, up to `end`, with bytes of one value."""

    def __init__(self, path: Path, end: int, fill: int) -> None:
        self._file = open(path, "rb", buffering=0)
        self._size = max(end, os.fstat(self._file.fileno()).st_size)
        self._fill = bytes([fill])
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer) -> int:
        wanted = len(buffer)
        data = os.pread(self._file.fileno(), wanted, self._position)
        buffer[: len(data)] = data
        buffer[len(data) : wanted] = self._fill * (wanted - len(data))
        self._position += wanted
        return wanted

    def close(self) -> None:
        self._file.close()
        super().close()


def group_addresses(path: Path) -> list[int]:
    """Addresses of what looks like a group, in the order of the file."""
    with _mapped(path) as content:
        return [match.start() for match in _GROUP_HEADER.finditer(content)]


def names_of_members(path: Path, group: int) -> dict[int, str]:
    """Address of every member of the group at address `group` to its name, as far as both have survived."""
    with _mapped(path) as content:
        entries = list(_entries(content))
        heap = next((struct.unpack("<QQ", scratch)[1] for _, address, cache, scratch in entries if address == group and cache == _HAS_HEAP), None)
        if heap is None or content[heap : heap + 4] != _HEAP or heap + 32 > len(content):
            return {}
        size, _, segment = struct.unpack_from("<QQQ", content, heap + 8)
        names = content[segment : segment + size]
    return {address: _name_at(names, offset) for offset, address, _, _ in entries}


def _entries(content: mmap.mmap) -> Iterator[tuple[int, int, int, bytes]]:
    """Name offset, address, cache type and scratch of every symbol table entry."""
    for match in _NODE.finditer(content):
        head = content[match.start() : match.start() + 8]
        count = struct.unpack_from("<H", head.ljust(8, b"\0"), 6)[0]
        body = content[match.start() + 8 : match.start() + 8 + count * _ENTRY.size]
        for at in range(0, len(body) - _ENTRY.size + 1, _ENTRY.size):
            name, address, cache, _, scratch = _ENTRY.unpack_from(body, at)
            yield name, address, cache, scratch


def _name_at(names: bytes, offset: int) -> str:
    name, end, _ = names[offset : offset + 256].partition(b"\0")
    return name.decode(errors="replace") if end else ""


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def references(addresses: Sequence[int]) -> list[h5py.Reference]:
    """Object references to the objects at these addresses, of whichever file they are used on.

    h5py opens objects by name or by reference. On disk a reference is the object's address, so a file in memory whose
    references are overwritten with addresses yields the wanted ones.
    """
    image, offset = _stored(np.full(len(addresses), h5py.Reference(), h5py.ref_dtype))
    image.seek(offset)
    image.write(np.array(addresses, "<u8").tobytes())
    with h5py.File(image, "r") as file:
        return list(file["references"][()])


def addresses(references: Sequence[h5py.Reference]) -> list[int]:
    """Inverse of `references`."""
    image, offset = _stored(np.array(references, h5py.ref_dtype))
    return np.frombuffer(image.getvalue(), "<u8", count=len(references), offset=offset).tolist()


def _stored(values: np.ndarray) -> tuple[io.BytesIO, int]:
    """A file in memory that holds references, and where in it they are."""
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        stored = file.create_dataset("references", data=values, dtype=h5py.ref_dtype)
        file.flush()
        return image, stored.id.get_offset() or 0
