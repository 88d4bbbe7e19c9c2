"""What lies where in an HDF5 file, read from its bytes for thousands of objects at a time.

HDF5 opens objects one by one, at 20 us each and more, and a demonstration of states has fifty of them in 200 kB. Here numpy follows all of them at
once. Only the classic kind of file is known, the one that h5py, Isaac Lab, robomimic and mimicctl write unless told otherwise; whatever else is met
raises `Unfamiliar`, and HDF5 itself has to see to that file.

Source: HDF5 File Format Specification 3.0, sections II.A (superblock), III.A.1, III.B to III.E (B-trees, symbol tables, heaps), IV.A (object headers).
"""

from __future__ import annotations

import functools
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mimicctl.dataset.carving import SIGNATURE

END_ADDRESS_AT = 40
"""Where the superblock says how long the file is."""

LINKS_AT = 4
"""In an object header, the number of links to it: 4 bytes."""

# After the signature: versions (all 0), 8 bytes for addresses and for lengths, the sizes of symbol table nodes and trees (4 and 16).
_SUPERBLOCK = SIGNATURE + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + np.array([4, 16], "<u2").tobytes()
_ROOT_AT = 64
_TREE_SIZE, _NODE_SIZE = 24 + 32 * 8 + 33 * 8, 8 + 2 * 4 * 40
_CHUNK_TREE_ENTRIES = 2 * 32
_DEEPEST = 32  # groups in groups; a ring of links would have no end

_SPACE, _TYPE, _LAYOUT, _ATTRIBUTE, _CONTINUED, _MEMBERS = 0x1, 0x3, 0x8, 0xC, 0x10, 0x11
_WITHOUT_ADDRESS = (0x0, _SPACE, _TYPE, 0x4, 0x5, 0xB, 0xD, 0xE, 0x12)  # nothing, fill values, filters, comment, dates
_MOST_TEXTS = 4096  # an attribute has at most 64 kB
_PLAIN = (0, 1, 2, 3, 4, 5, 8)  # classes of types whose values hold no addresses: numbers, strings of fixed length, enumerations
_STRING, _VARIABLE = 3, 9


class Unfamiliar(Exception):
    """The file has something in it that is not known here, or is damaged."""


class Content:
    """The bytes of a file, not loaded but mapped. A context manager."""

    def __init__(self, path: Path) -> None:
        with open(path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._numbers: dict[str, np.ndarray] = {}

    def __enter__(self) -> Content:
        return self

    def __exit__(self, *exception: object) -> None:
        self._numbers.clear()
        self._map.close()

    def numbers(self, at: np.ndarray, kind: str) -> np.ndarray:
        """The numbers that begin at the bytes `at`, int64. An address that is not defined comes out as -1.

        Args:
            kind: "u1", "u2", "u4", or "i8" for addresses and lengths.
        """
        if kind not in self._numbers:
            size = np.dtype(kind).itemsize
            self._numbers[kind] = np.ndarray(max(0, len(self._map) - size + 1), f"<{kind}", buffer=self._map, strides=(1,))
        every = self._numbers[kind]
        if at.size and (at.min() < 0 or at.max() >= len(every)):
            raise Unfamiliar("an address beyond the end")
        return every[at].astype(np.int64)

    def number(self, at: int, kind: str) -> int:
        return int(self.numbers(np.array([at]), kind)[0])

    def cut(self, start: int, end: int) -> bytes:
        return self._map[start:end]

    def names(self, at: np.ndarray) -> list[str]:
        """Texts that end with a zero."""
        content, find = self._map, self._map.find
        return [content[start : find(b"\0", start)].decode(errors="replace") for start in at.tolist()]

    def require(self, at: np.ndarray, signature: bytes) -> None:
        if (self.numbers(at, "u4") != int.from_bytes(signature, "little")).any():
            raise Unfamiliar(f"no {signature.decode()} where one should be")

    def release(self) -> None:
        """Give the memory of what was read back to the system; the bytes can be read again."""
        self._map.madvise(mmap.MADV_DONTNEED)


@dataclass
class Survey:
    """What there is below some objects, them included.

    Attributes:
        addresses: places of all the addresses by which they hang together, each 8 bytes.
        groups: where the headers of groups begin.
        nodes: where their symbol table nodes do.
        end: of the last byte that they need.
        used: bytes that they need.
        arrays: all datasets: below which of the objects (by its index), path, shape and dtype.
        attributes: of each of the surveyed objects, strings and single numbers.
    """

    addresses: list[np.ndarray] = field(default_factory=list)
    groups: list[np.ndarray] = field(default_factory=list)
    nodes: list[np.ndarray] = field(default_factory=list)
    end: int = 0
    used: int = 0
    arrays: list[tuple[int, str, tuple[int, ...], np.dtype]] = field(default_factory=list)
    attributes: list[dict[str, Any]] = field(default_factory=list)

    def needs(self, start: np.ndarray, size: np.ndarray | int) -> None:
        size = np.broadcast_to(size, start.shape)[start > 0]
        start = start[start > 0]
        if start.size:
            self.end = max(self.end, int((start + size).max()))
            self.used += int(size.sum())


@dataclass(frozen=True)
class _Messages:
    """What object headers say. Row by row: which object, what kind of message, where it begins, and its size."""

    owner: np.ndarray
    kind: np.ndarray
    at: np.ndarray
    size: np.ndarray

    def of(self, kind: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.kind == kind
        return self.owner[chosen], self.at[chosen]


def root_of(content: Content) -> int:
    """Header of the root group.

    Raises:
        Unfamiliar: another kind of file.
    """
    if content.cut(0, len(_SUPERBLOCK)) != _SUPERBLOCK or content.number(24, "i8") != 0 or content.number(48, "i8") != -1:
        raise Unfamiliar("another superblock")
    return content.number(_ROOT_AT, "i8")


def members(content: Content, group: int) -> tuple[dict[str, int], Survey]:
    """Names of what is in a group, with their headers, and a survey of the group alone.

    Raises:
        Unfamiliar: something that is not known.
    """
    found, headers = Survey(), np.array([group])
    owner, at = _messages(content, headers, found).of(_MEMBERS)
    if not owner.size:
        raise Unfamiliar("a group of the newer kind")
    found.groups.append(headers)
    _, names, below = _entries(content, owner, at, found)
    return dict(zip(content.names(names), below.tolist(), strict=True)), found


def survey(content: Content, roots: Sequence[int], *, described: bool = True) -> Survey:
    """Follow everything below the objects whose headers are at `roots`.

    Args:
        described: say what is found. Else `arrays` and `attributes` stay empty, and it takes a third of the time.

    Raises:
        Unfamiliar: something that is not known.
    """
    found = Survey(attributes=[{} for _ in roots])
    objects, root, paths = np.array(roots, np.int64), np.arange(len(roots)), [""] * len(roots)
    for depth in range(_DEEPEST):
        if not objects.size:
            return found
        messages = _messages(content, objects, found)
        known = np.isin(messages.kind, (*_WITHOUT_ADDRESS, _LAYOUT, _ATTRIBUTE, _CONTINUED, _MEMBERS))
        if not known.all():
            raise Unfamiliar(f"message {messages.kind[~known][0]:#x}")
        _attributes(content, messages, found, described=described and depth == 0)
        _arrays(content, messages, found)
        if described:
            _describe(content, messages, root, paths, found)
        owner, at = messages.of(_MEMBERS)
        found.groups.append(objects[owner])
        group, names, headers = _entries(content, np.arange(len(at)), at, found)
        if described:
            paths = [f"{paths[g]}{name}/" for g, name in zip(owner[group].tolist(), content.names(names), strict=True)]
        objects, root = headers, root[owner[group]]
    raise Unfamiliar("groups without end")


def _messages(content: Content, headers: np.ndarray, found: Survey) -> _Messages:
    if (content.numbers(headers, "u1") != 1).any():
        raise Unfamiliar("an object header of another version")
    if (content.numbers(headers + LINKS_AT, "u4") != 1).any():
        raise Unfamiliar("an object that has several names")
    parts: list[tuple[np.ndarray, ...]] = []
    size = content.numbers(headers + 8, "u4")
    found.needs(headers, size + 16)
    owner, at, end = np.arange(len(headers)), headers + 16, headers + 16 + size
    rounds = int(content.numbers(headers + 2, "u2").max(initial=0))  # as many as messages
    while at.size:
        if (rounds := rounds - 1) < 0:
            raise Unfamiliar("more messages than there should be")
        kind, size = content.numbers(at, "u2"), content.numbers(at + 2, "u2")
        if (content.numbers(at + 4, "u1") & 2).any():
            raise Unfamiliar("a shared message")
        parts.append((owner, kind, at + 8, size))
        elsewhere = at[kind == _CONTINUED] + 8
        start, length = content.numbers(elsewhere, "i8"), content.numbers(elsewhere + 8, "i8")
        found.addresses.append(elsewhere)
        found.needs(start, length)
        goes_on = at + 8 + size + 8 <= end
        owner = np.concatenate([owner[goes_on], owner[kind == _CONTINUED]])
        at, end = np.concatenate([(at + 8 + size)[goes_on], start]), np.concatenate([end[goes_on], start + length])
    return _Messages(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _entries(content: Content, owner: np.ndarray, at: np.ndarray, found: Survey) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Members of groups whose symbol table messages are at `at`: of whom, where the name is, and the header."""
    tree, heap = content.numbers(at, "i8"), content.numbers(at + 8, "i8")
    content.require(heap, b"HEAP")
    segments = content.numbers(heap + 24, "i8")
    found.addresses += [at, at + 8, heap + 24]
    found.needs(heap, 32)
    found.needs(segments, content.numbers(heap + 8, "i8"))
    which, nodes = _leaves(content, tree, np.full(len(tree), 8), 0, _TREE_SIZE, found)
    content.require(nodes, b"SNOD")
    found.needs(nodes, _NODE_SIZE)
    found.nodes.append(nodes)
    place, entries = _repeated(nodes + 8, 40, content.numbers(nodes + 6, "u2"))
    cached = content.numbers(entries + 16, "u4")
    if (cached > 1).any():
        raise Unfamiliar("a symbolic link")
    found.addresses += [entries + 8, entries[cached == 1] + 24, entries[cached == 1] + 32]
    which = which[place]
    return owner[which], segments[which] + content.numbers(entries, "i8"), content.numbers(entries + 8, "i8")


def _leaves(content: Content, trees: np.ndarray, key_size: np.ndarray, kind: int, size: np.ndarray | int, found: Survey) -> tuple[np.ndarray, np.ndarray]:
    """What B-trees lead to: which tree, and the address. Of chunks (kind 1) `found` learns their sizes."""
    which, size = np.arange(len(trees)), np.broadcast_to(size, trees.shape)
    above = np.full(len(trees), 256)
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    while trees.size:
        content.require(trees, b"TREE")
        if (content.numbers(trees + 4, "u1") != kind).any():
            raise Unfamiliar("a tree of something else")
        found.needs(trees, size[which])
        for at in (trees + 8, trees + 16):  # its neighbours
            found.addresses.append(at[content.numbers(at, "i8") != -1])
        level, used = content.numbers(trees + 5, "u1"), content.numbers(trees + 6, "u2")
        if (level >= above).any():
            raise Unfamiliar("a tree that does not end")
        node, keys = _repeated(trees + 24, key_size[which] + 8, used)
        below = keys + key_size[which][node]
        found.addresses.append(below)
        addresses, lowest = content.numbers(below, "i8"), level[node] == 0
        if kind == 1:
            found.needs(addresses[lowest], content.numbers(keys[lowest], "u4"))
        parts.append((which[node][lowest], addresses[lowest]))
        trees, which, above = addresses[~lowest], which[node][~lowest], level[node][~lowest]
    return (np.concatenate([w for w, _ in parts]), np.concatenate([a for _, a in parts])) if parts else (which, trees)


def _repeated(starts: np.ndarray, step: np.ndarray | int, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """start, start + step, ... as often as `counts` says: which start, and the place."""
    which = np.repeat(np.arange(len(starts)), counts)
    number = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    return which, starts[which] + number * np.broadcast_to(step, starts.shape)[which]


# Datasets -----------------------------------------------------------------------------------------------


def _arrays(content: Content, messages: _Messages, found: Survey) -> None:
    """Where the values of datasets are."""
    _, at = messages.of(_LAYOUT)
    version, kind = content.numbers(at, "u1"), content.numbers(at + 1, "u1")
    if (version != 3).any() or (kind > 2).any():
        raise Unfamiliar("a layout of another version")
    whole = at[kind == 1] + 2
    start = content.numbers(whole, "i8")
    found.addresses.append(whole[start != -1])
    found.needs(start, content.numbers(whole + 8, "i8"))
    chunked = at[kind == 2] + 2
    trees, key_size = content.numbers(chunked + 1, "i8"), 8 + 8 * content.numbers(chunked, "u1")
    found.addresses.append(chunked[trees != -1] + 1)
    key_size, trees = key_size[trees != -1], trees[trees != -1]
    _leaves(content, trees, key_size, 1, 24 + _CHUNK_TREE_ENTRIES * (key_size + 8) + key_size, found)

    types = messages.at[messages.kind == _TYPE]
    if len(types) != len(at) or not np.isin(content.numbers(types, "u1") & 15, _PLAIN).all():
        raise Unfamiliar("values that hold addresses")


def _describe(content: Content, messages: _Messages, root: np.ndarray, paths: list[str], found: Survey) -> None:
    owner, spaces = messages.of(_SPACE)
    owner, spaces = np.sort(owner), spaces[np.argsort(owner)]
    types = np.flatnonzero(messages.kind == _TYPE)
    types = types[np.argsort(messages.owner[types])]
    if not np.array_equal(owner, messages.owner[types]):
        raise Unfamiliar("a dataset without a type, or with two")
    starts, ends = messages.at[types].tolist(), (messages.at + messages.size)[types].tolist()
    rank, sizes = _dimensions(content, spaces)
    found.arrays += zip(
        root[owner].tolist(),
        [paths[i][:-1] for i in owner.tolist()],
        [tuple(size[:r]) for size, r in zip(sizes.tolist(), rank.tolist(), strict=True)],
        [_dtype(content.cut(start, end)) for start, end in zip(starts, ends, strict=True)],
        strict=True,
    )


def _dimensions(content: Content, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many axes dataspaces have, and how long these are: (N,) and (N, most axes), with ones where there is no axis."""
    version, rank = content.numbers(at, "u1"), content.numbers(at + 1, "u1")
    if ((version != 1) & (version != 2)).any():
        raise Unfamiliar("a dataspace of another version")
    first, sizes = at + np.where(version == 1, 8, 4), np.ones((len(at), int(rank.max(initial=0))), np.int64)
    for axis in range(sizes.shape[1]):
        sizes[rank > axis, axis] = content.numbers(first[rank > axis] + 8 * axis, "i8")
    return rank, sizes


@functools.lru_cache(256)
def _dtype(message: bytes) -> np.dtype:
    try:
        return np.dtype(h5py.h5t.decode(bytes([_TYPE, 0]) + message).dtype)
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        raise Unfamiliar("a type that numpy does not have") from None


# Attributes ---------------------------------------------------------------------------------------------


def _attributes(content: Content, messages: _Messages, found: Survey, *, described: bool) -> None:
    owner, at = messages.of(_ATTRIBUTE)
    version = content.numbers(at, "u1")
    if not np.isin(version, (1, 2, 3)).all() or (content.numbers(at + 1, "u1")[version > 1] != 0).any():
        raise Unfamiliar("an attribute of another version")

    def end(start: np.ndarray, size: np.ndarray) -> np.ndarray:
        return start + np.where(version == 1, -(-size // 8) * 8, size)

    name = at + np.where(version == 3, 9, 8)
    kind = end(name, content.numbers(at + 2, "u2"))
    space = end(kind, kind_size := content.numbers(at + 4, "u2"))
    data = end(space, content.numbers(at + 6, "u2"))
    kind_class = content.numbers(kind, "u1") & 15
    variable = kind_class == _VARIABLE
    if not np.isin(kind_class[~variable], _PLAIN).all() or not np.isin(content.numbers(kind[variable] + 8, "u1") & 15, _PLAIN).all():
        raise Unfamiliar("an attribute that holds addresses")
    empty = (content.numbers(space, "u1") == 2) & (content.numbers(space + 3, "u1") == 2)
    count = np.where(empty, 0, _dimensions(content, space)[1].prod(axis=1))
    if (count[variable] > _MOST_TEXTS).any():
        raise Unfamiliar("an attribute of very many texts")
    _, collections = _repeated(data[variable] + 4, 16, count[variable])
    start = content.numbers(collections, "i8")
    found.addresses.append(collections[start > 0])
    start = np.unique(start[start > 0])
    content.require(start, b"GCOL")
    found.needs(start, content.numbers(start + 8, "i8"))
    if described:
        single = (count == 1).tolist()
        rows = zip(owner.tolist(), single, content.names(name), kind.tolist(), (kind + kind_size).tolist(), data.tolist(), variable.tolist(), strict=True)
        texts = _Texts(content)
        for i, one, key, kind_at, kind_end, data_at, is_variable in rows:
            if one:
                found.attributes[i][key] = texts.at(data_at) if is_variable else _value(content, content.cut(kind_at, kind_end), data_at)


def _value(content: Content, kind: bytes, at: int) -> Any:
    dtype = _dtype(kind)
    return np.frombuffer(content.cut(at, at + dtype.itemsize), dtype)[0]


class _Texts:
    """Strings of any length, which are kept together in collections."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._collections: dict[int, dict[int, int]] = {}

    def at(self, place: int) -> str:
        length, collection, index = np.frombuffer(self._content.cut(place, place + 16), np.dtype([("n", "<u4"), ("at", "<i8"), ("i", "<u4")]))[0].tolist()
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
        head = np.dtype([("i", "<u2"), ("links", "<u2"), ("reserved", "<u4"), ("size", "<i8")])
        at, end = collection + 16, collection + self._content.number(collection + 8, "i8")
        while at + head.itemsize <= end:
            index, _, _, size = np.frombuffer(self._content.cut(at, at + head.itemsize), head)[0].tolist()
            if index == 0 or size < 0:  # the rest is free
                return
            yield index, at + head.itemsize
            at += head.itemsize + -(-size // 8) * 8
