"""The bytes of an HDF5 file, taken from many places at a time."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_KINDS = {kind: np.dtype(f"<{kind}") for kind in ("u1", "u2", "u4", "i8")}


class Unfamiliar(Exception):
    """The file has something in it that is not known here, or is damaged."""


class Content:
    """A file, not loaded but mapped. A context manager."""

    def __init__(self, path: Path) -> None:
        with open(path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.size = len(self._map)

    def __enter__(self) -> Content:
        return self

    def __exit__(self, *exception: object) -> None:
        self._map.close()

    def rows(self, at: np.ndarray, size: int) -> np.ndarray:
        """The `size` bytes (one at least) that begin at each of the places `at`: (N, size)."""
        if size > self.size or (at.size and (at.min() < 0 or at.max() > self.size - size)):
            raise Unfamiliar("an address beyond the end")
        every = np.ndarray(self.size - size + 1, f"V{size}", buffer=self._map, strides=(1,))
        return every[at].view("u1").reshape(len(at), size)

    def numbers(self, at: np.ndarray, kind: str) -> np.ndarray:
        """The numbers that begin there, (N,) int64. An address that is not defined comes out as -1.

        Args:
            kind: "u1", "u2", "u4", or "i8" for addresses and lengths.
        """
        return _column(self.rows(at, _KINDS[kind].itemsize), 0, _KINDS[kind]).astype(np.int64)

    def number(self, at: int, kind: str) -> int:
        return int(self.numbers(np.array([at]), kind)[0])

    def unpack(self, form: struct.Struct, at: int) -> tuple[int, ...]:
        if not 0 <= at <= self.size - form.size:
            raise Unfamiliar("an address beyond the end")
        return form.unpack_from(self._map, at)

    def cut(self, start: int, end: int) -> bytes:
        return self._map[start:end]

    def require(self, at: np.ndarray, signature: bytes) -> None:
        if (self.numbers(at, "u4") != int.from_bytes(signature, "little")).any():
            raise Unfamiliar(f"no {signature.decode()} where one should be")

    def release(self) -> None:
        """Give the memory of what was read back to the system; the bytes can be read again."""
        self._map.madvise(mmap.MADV_DONTNEED)


class Block:
    """A stretch of bytes that each of N objects has somewhere, read as the one of the first object is; it is noted what the others have to have in common with it.

    Attributes:
        at: where it begins, (N,).
        size: in bytes.
    """

    def __init__(self, at: np.ndarray, rows: np.ndarray, fixed: np.ndarray | None = None) -> None:
        self.at, self.size = at, rows.shape[1]
        self._rows = rows
        self._first = rows[0].tobytes()
        self._fixed = np.zeros(self.size, bool) if fixed is None else fixed

    def part(self, start: int, end: int) -> Block:
        self._require(start, end)
        return Block(self.at + start, self._rows[:, start:end], self._fixed[start:end])

    def same(self, start: int, end: int) -> bytes:
        """Bytes that are the same in all of them."""
        self._require(start, end)
        self._fixed[start:end] = True
        return self._first[start:end]

    def number(self, at: int, kind: str) -> int:
        """A number that is."""
        return int.from_bytes(self.same(at, at + _KINDS[kind].itemsize), "little", signed=kind[0] == "i")

    def text(self, at: int) -> str:
        """A text that is, and ends with a zero."""
        end = self._first.find(b"\0", max(at, 0))
        if end < 0:
            raise Unfamiliar("a text that does not end")
        return self.same(at, end + 1)[:-1].decode(errors="replace")

    def numbers(self, at: int, kind: str) -> np.ndarray:
        """A number that each has its own of, (N,) int64."""
        return self.values(at, _KINDS[kind]).astype(np.int64, copy=False)

    def values(self, at: int, dtype: np.dtype) -> np.ndarray:
        """A value that each has its own of, (N,)."""
        self._require(at, at + dtype.itemsize)
        return _column(self._rows, at, dtype)

    def agreeing(self) -> np.ndarray:
        """Which of the objects have what has to be the same, (N,) bool."""
        words = "u8" if self.size % 8 == 0 else "u1"
        differing = self._rows.view(words) ^ self._rows[:1].view(words)
        return ~(differing & (self._fixed * np.uint8(255)).view(words)).any(axis=1)

    def _require(self, start: int, end: int) -> None:
        if not 0 <= start <= end <= self.size:
            raise Unfamiliar("something that ends too early")


def _column(rows: np.ndarray, at: int, dtype: np.dtype) -> np.ndarray:
    return rows[:, at : at + dtype.itemsize].view(dtype)[:, 0]


class Texts:
    """Strings of any length, which are kept together in collections."""

    _PLACE, _HEAD = struct.Struct("<IqI"), struct.Struct("<HHIq")

    def __init__(self, content: Content) -> None:
        self._content = content
        self._collections: dict[int, dict[int, int]] = {}

    def at(self, place: int) -> str:
        """The string that is referred to there."""
        length, collection, index = self._content.unpack(self._PLACE, place)
        if collection <= 0 or not length:
            return ""
        if collection not in self._collections:
            self._collections[collection] = dict(self._objects(collection))
        try:
            start = self._collections[collection][index]
        except KeyError:
            raise Unfamiliar("a string that is not there") from None
        return self._content.cut(start, start + length).decode(errors="replace")

    def _objects(self, collection: int) -> Iterator[tuple[int, int]]:
        """Number and place of each string of a collection."""
        at, end = collection + 16, collection + self._content.number(collection + 8, "i8")
        while at + self._HEAD.size <= end:
            index, _, _, size = self._content.unpack(self._HEAD, at)
            if index == 0 or size < 0:  # the rest is free
                return
            yield index, at + self._HEAD.size
            at += self._HEAD.size + -(-size // 8) * 8
