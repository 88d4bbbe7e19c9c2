"""What lies where in an HDF5 file, found out for hundreds of objects at a time.

HDF5 opens objects one by one, at 20 us each and more, and a demonstration of states has fifty of them in 200 kB. Demonstrations are mostly built alike:
the same groups, arrays and attributes, made in the same order, only elsewhere in the file. So the first one is read as one would read any, and all others
go along in step: each block is taken from all of them at once. Those that turn out to have something else where they should agree are surveyed again,
led by the first one of them.

Only the classic kind of file is known, the one that h5py, Isaac Lab, robomimic and mimicctl write unless told otherwise; whatever else is met raises
`Unfamiliar`, and HDF5 itself has to see to that file.

Source: HDF5 File Format Specification 3.0, sections II.A (superblock), III.A.1, III.B to III.E (B-trees, symbol tables, heaps), IV.A (object headers).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import h5py
import numpy as np

from mimicctl.dataset.carving import SIGNATURE
from mimicctl.dataset.content import Block, Content, Texts, Unfamiliar

_AT_ONCE = 512
"""Objects that are surveyed in one go: more of them take more memory, and hardly less time."""

END_ADDRESS_AT = 40
"""Where the superblock says how long the file is."""

LINKS_AT = 4
"""In an object header, the number of links to it: 4 bytes."""

# After the signature: versions (all 0), 8 bytes for addresses and for lengths, the sizes of symbol table nodes and trees (4 and 16).
_SUPERBLOCK = SIGNATURE + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + np.array([4, 16], "<u2").tobytes()
_ROOT_AT = 64
_TREE_ENTRIES, _CHUNK_TREE_ENTRIES, _NODE_ENTRIES = 2 * 16, 2 * 32, 2 * 4
_TREE_SIZE, _NODE_SIZE = 24 + _TREE_ENTRIES * 16 + 8, 8 + _NODE_ENTRIES * 40
_ENTRIES_AT, _ENTRY = range(8, _NODE_SIZE, 40), ((0, "i8"), (8, "i8"), (16, "u4"))  # in a node; in an entry: its name, its header, what is cached
_DEEPEST = 32  # groups in groups; a ring of links would have no end

_SPACE, _TYPE, _LAYOUT, _ATTRIBUTE, _CONTINUED, _MEMBERS = 0x1, 0x3, 0x8, 0xC, 0x10, 0x11
_WITHOUT_ADDRESS = (0x0, 0x4, 0x5, 0xB, 0xD, 0xE, 0x12)  # nothing, fill values, filters, comment, dates
_MOST_TEXTS = 4096  # an attribute has at most 64 kB
_PLAIN = (0, 1, 2, 3, 4, 5, 8)  # classes of types whose values hold no addresses: numbers, strings of fixed length, enumerations
_VARIABLE = 9
_NOWHERE = -1  # an address that is not defined, as a signed number


class Array(NamedTuple):
    """A dataset that each of N objects has: its path below them, its type, and its shape in each, (N, axes)."""

    path: str
    dtype: np.dtype
    shapes: np.ndarray


@dataclass(frozen=True)
class Alike:
    """N objects that are built alike, and all that is below them.

    Attributes:
        which: of the objects that were surveyed, by index, (N,).
        addresses: places of all the addresses by which they hang together, each 8 bytes; (A,).
        owners: which of the N has the address, (A,).
        groups: where the headers of groups begin, (N, groups).
        nodes: where their symbol table nodes do, (N, nodes).
        ends: end of the last byte that each needs, (N,).
        used: bytes that each needs, (N,). Those that it shares with others are shared out.
        arrays: their datasets.
        attributes: of each of them, strings and single numbers.
    """

    which: np.ndarray
    addresses: np.ndarray
    owners: np.ndarray
    groups: np.ndarray
    nodes: np.ndarray
    ends: np.ndarray
    used: np.ndarray
    arrays: list[Array]
    attributes: list[dict[str, Any]]


def root_of(content: Content) -> int:
    """Header of the root group.

    Raises:
        Unfamiliar: another kind of file.
    """
    if content.cut(0, len(_SUPERBLOCK)) != _SUPERBLOCK or content.number(24, "i8") != 0 or content.number(48, "i8") != _NOWHERE:
        raise Unfamiliar("another superblock")
    return content.number(_ROOT_AT, "i8")


def members(content: Content, group: int) -> tuple[dict[str, int], np.ndarray]:
    """Names of what is in a group, with their headers, and where the group itself has its header and its symbol table nodes.

    Raises:
        Unfamiliar: something that is not known.
    """
    table = _Walk(content, headers := np.array([group], np.int64)).through(headers, "")
    if table is None:
        raise Unfamiliar("a group of the newer kind")
    nodes, found = np.concatenate([np.zeros(0, np.int64), *table.nodes]), {}
    if nodes.size:  # thousands of demos: here the nodes are what is gone through in step
        content.require(nodes, b"SNOD")
        rows = Block(nodes, content.rows(nodes, _NODE_SIZE))
        there = np.arange(_NODE_ENTRIES) < rows.numbers(6, "u2")[:, None]
        starts, below, cached = (np.stack([rows.numbers(at + place, kind) for at in _ENTRIES_AT], axis=1)[there] for place, kind in _ENTRY)
        if (cached > 1).any():
            raise Unfamiliar("a symbolic link")
        found = dict(zip(map(table.names.text, starts.tolist()), below.tolist(), strict=True))
    return found, np.concatenate([headers, nodes])


def survey(content: Content, roots: Sequence[int]) -> Iterator[Alike]:
    """Follow everything below the objects whose headers are at `roots`.

    Raises:
        Unfamiliar: something that is not known.
    """
    headers = np.array(roots, np.int64)
    for first in range(0, len(headers), _AT_ONCE):
        left = np.arange(first, min(first + _AT_ONCE, len(headers)))
        while left.size:
            walk = _Walk(content, headers[left])
            walk.everything(headers[left], "")
            yield (alike := walk.result(left))
            left = np.setdiff1d(left, alike.which)
        content.release()


class _Table(NamedTuple):
    """What a group has its members in: their names, and its symbol table nodes."""

    names: Block
    nodes: list[np.ndarray]


class _Walk:
    """The way through N objects in step, led by the first one. Whatever is given and returned as an array has one row for each of them.

    An object that is not like the first one may lead anywhere from there on. What is found of it is left out in the end.
    """

    def __init__(self, content: Content, headers: np.ndarray) -> None:
        self._content = content
        self._alike = np.ones(len(headers), bool)
        self._unread = content.size
        self._blocks: list[Block] = []
        self._arrays: list[Array] = []
        self._values: dict[str, np.ndarray] = {}
        self._texts: dict[str, np.ndarray] = {}
        # Places, and sizes of what is there.
        self._addresses: list[np.ndarray] = []
        self._groups: list[np.ndarray] = []
        self._nodes: list[np.ndarray] = []
        self._stored: list[tuple[np.ndarray, np.ndarray]] = []
        self._collections: list[np.ndarray] = []
        self._chunk_trees: list[tuple[np.ndarray, int]] = []

    def _block(self, at: np.ndarray, size: int, signature: bytes = b"") -> Block:
        """A block of every object, which begins with the signature."""
        self._unread -= size
        if size <= 0 or self._unread < 0:
            raise Unfamiliar("a block of no size, or more of them than fit the file")
        self._alike &= (at >= 0) & (at <= self._content.size - size)
        block = Block(at, self._content.rows(np.where(self._alike, at, at[0]), size))
        if block.same(0, len(signature)) != signature:
            raise Unfamiliar(f"no {signature.decode()} where one should be")
        self._blocks.append(block)
        return block

    def _address(self, block: Block, at: int) -> np.ndarray:
        """The addresses at a place of a block. Either all objects have one there, or none has."""
        found = block.numbers(at, "i8")
        if found[0] == _NOWHERE:
            block.same(at, at + 8)
        else:
            self._alike &= found != _NOWHERE
            self._addresses.append(block.at + at)
        return found

    # Objects ----------------------------------------------------------------------------------------------

    def everything(self, headers: np.ndarray, path: str, depth: int = 0) -> None:
        """Objects and what is below them.

        Args:
            path: "" for those that are surveyed, else from there, with a slash at the end.
        """
        if depth == _DEEPEST:
            raise Unfamiliar("groups without end")
        table = self.through(headers, path)
        for node in table.nodes if table else ():
            for start, below in self._entries(node):
                self.everything(below, f"{path}{table.names.text(start)}/", depth + 1)

    def through(self, headers: np.ndarray, path: str) -> _Table | None:
        """Objects alone. Returns what groups have their members in; None for what is no group."""
        table, parts = None, {}
        for kind, message in self._messages(headers):
            if kind == _ATTRIBUTE:
                self._attribute(message, described=not path)
            elif kind == _MEMBERS and table is None:
                self._groups.append(headers)
                table = self._table(message)
            elif kind in (_SPACE, _TYPE, _LAYOUT) and kind not in parts:
                parts[kind] = message
            elif kind not in (*_WITHOUT_ADDRESS, _CONTINUED):
                raise Unfamiliar(f"message {kind:#x}")
        if parts:
            if table or len(parts) < 3:
                raise Unfamiliar("neither a group nor a dataset")
            self._array(path[:-1], parts[_SPACE], parts[_TYPE], parts[_LAYOUT])
        return table

    def _messages(self, headers: np.ndarray) -> Iterator[tuple[int, Block]]:
        """Kind of each message, and what it says."""
        head = self._block(headers, 16)
        most = head.number(2, "u2")
        if head.number(0, "u1") != 1:
            raise Unfamiliar("an object header of another version")
        if head.number(LINKS_AT, "u4") != 1:
            raise Unfamiliar("an object that has several names")
        blocks = [self._block(headers + 16, head.number(8, "u4"))]
        for block in blocks:
            at = 0
            while at + 8 <= block.size:
                kind, length = block.number(at, "u2"), block.number(at + 2, "u2")
                if block.number(at + 4, "u1") & 2:
                    raise Unfamiliar("a shared message")
                if (most := most - 1) < 0:
                    raise Unfamiliar("more messages than there should be")
                message = block.part(at + 8, at + 8 + length)
                if kind == _CONTINUED:
                    blocks.append(self._block(self._address(message, 0), message.number(8, "i8")))
                yield kind, message
                at += 8 + length

    # Groups -----------------------------------------------------------------------------------------------

    def _table(self, message: Block) -> _Table:
        tree, heap = self._address(message, 0), self._block(self._address(message, 8), 32, b"HEAP")
        names = self._block(self._address(heap, 24), heap.number(8, "i8"))
        return _Table(names, list(self._nodes_below(tree, 256)))

    def _nodes_below(self, at: np.ndarray, above: int) -> Iterator[np.ndarray]:
        tree = self._block(at, _TREE_SIZE, b"TREE")
        kind, level, used = tree.number(4, "u1"), tree.number(5, "u1"), tree.number(6, "u2")
        if kind != 0 or level >= above or used > _TREE_ENTRIES:
            raise Unfamiliar("a tree of something else, or one that does not end")
        for place in (8, 16):  # its neighbours
            self._address(tree, place)
        for place in range(32, 32 + 16 * used, 16):
            below = self._address(tree, place)
            if level:
                yield from self._nodes_below(below, level)
            else:
                yield below

    def _entries(self, at: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Where in the heap of the group the names begin, and the headers."""
        node = self._block(at, _NODE_SIZE, b"SNOD")
        self._nodes.append(at)
        used = node.number(6, "u2")
        if used > _NODE_ENTRIES:
            raise Unfamiliar("a node of more entries than it has room for")
        for place in _ENTRIES_AT[:used]:
            cached = node.number(place + 16, "u4")
            if cached > 1:
                raise Unfamiliar("a symbolic link")
            if cached:  # the tree and the heap of a group
                self._address(node, place + 24)
                self._address(node, place + 32)
            yield node.number(place, "i8"), self._address(node, place + 8)

    # Datasets and attributes ------------------------------------------------------------------------------

    def _array(self, path: str, space: Block, kind: Block, layout: Block) -> None:
        if kind.number(0, "u1") & 15 not in _PLAIN:
            raise Unfamiliar("values that hold addresses")
        self._arrays.append(Array(path, _dtype(kind.same(0, kind.size)), _shapes(space)))
        version, where = layout.number(0, "u1"), layout.number(1, "u1")
        if version != 3 or where > 2:
            raise Unfamiliar("a layout of another version")
        if where == 1:
            self._stored.append((self._address(layout, 2), layout.numbers(10, "i8")))
        elif where == 2:
            self._chunk_trees.append((self._address(layout, 3), 8 + 8 * layout.number(2, "u1")))

    def _attribute(self, message: Block, *, described: bool) -> None:
        version = message.number(0, "u1")
        if version not in (1, 2, 3) or (version > 1 and message.number(1, "u1")):
            raise Unfamiliar("an attribute of another version")
        sizes = [message.number(place, "u2") for place in (2, 4, 6)]  # of its name, its type and its dataspace
        padded = (-(-size // 8) * 8 if version == 1 else size for size in sizes)
        name, kind, space, data = itertools.accumulate(padded, initial=9 if version == 3 else 8)
        kind_class = message.number(kind, "u1") & 15
        variable = kind_class == _VARIABLE
        if (message.number(kind + 8, "u1") & 15 if variable else kind_class) not in _PLAIN:
            raise Unfamiliar("an attribute that holds addresses")
        extent = message.part(space, data).same(0, data - space)
        empty = extent[0] == 2 and extent[3] == 2
        count = 0 if empty else math.prod(_shapes(message.part(space, data))[0].tolist())
        if variable:
            if not 0 <= count <= _MOST_TEXTS:
                raise Unfamiliar("an attribute of very many texts")
            for place in range(data, data + 16 * count, 16):
                collection = message.numbers(place + 4, "i8")
                self._alike &= (collection > 0) == (collection[0] > 0)
                if collection[0] > 0:
                    self._addresses.append(message.at + place + 4)
                    self._collections.append(collection)
        if described and count == 1:
            key = message.text(name)
            if variable:
                self._texts[key] = message.at + data
            else:
                self._values[key] = message.values(data, _dtype(message.same(kind, kind + sizes[1])))

    # What was found ---------------------------------------------------------------------------------------

    def result(self, which: np.ndarray) -> Alike:
        """Of those that are like the first one.

        Args:
            which: index of each of the objects.
        """
        for block in self._blocks:
            self._alike &= block.agreeing()
        alike, content = np.flatnonzero(self._alike), self._content

        def those(places: Sequence[np.ndarray]) -> np.ndarray:
            """(N, number of places)"""
            return np.stack([place[alike] for place in places], axis=1) if places else np.zeros((len(alike), 0), np.int64)

        ends, used = np.zeros(len(alike), np.int64), np.zeros(len(alike))
        for start, size in [*((block.at, block.size) for block in self._blocks), *self._stored]:
            size = np.where(start > 0, size, 0)[alike]  # what is nowhere was never allocated
            np.maximum(ends, start[alike] + size, out=ends)
            used += size
        collections, place, count = np.unique(those(self._collections), return_inverse=True, return_counts=True)
        content.require(collections, b"GCOL")
        size, place = content.numbers(collections + 8, "i8"), place.reshape(len(alike), -1)
        np.maximum(ends, (collections + size)[place].max(axis=1, initial=0), out=ends)
        used += (size / count)[place].sum(axis=1)
        addresses = those(self._addresses)
        found = [(addresses.ravel(), np.repeat(np.arange(len(alike)), addresses.shape[1]))]
        for trees, key_size in self._chunk_trees:
            for places, owner, start, size, needing in _chunks(content, trees[alike], key_size):
                found.append((places, owner))
                np.maximum.at(ends, needing, start + size)
                np.add.at(used, needing, size)
        texts = Texts(content)
        attributes = {key: list(values[alike]) for key, values in self._values.items()}
        attributes |= {key: [texts.at(place) for place in places[alike].tolist()] for key, places in self._texts.items()}
        return Alike(
            which[alike],
            *map(np.concatenate, zip(*found, strict=True)),
            groups=those(self._groups),
            nodes=those(self._nodes),
            ends=ends,
            used=used,
            arrays=[Array(path, dtype, shapes[alike]) for path, dtype, shapes in self._arrays],
            attributes=[{key: values[i] for key, values in attributes.items()} for i in range(len(alike))],
        )


def _shapes(space: Block) -> np.ndarray:
    """(N, axes)"""
    version, axes = space.number(0, "u1"), space.number(1, "u1")
    if version not in (1, 2):
        raise Unfamiliar("a dataspace of another version")
    first = 8 if version == 1 else 4
    sizes = [space.numbers(first + 8 * axis, "i8") for axis in range(axes)]
    return np.stack(sizes, axis=1) if sizes else np.zeros((len(space.at), 0), np.int64)


def _chunks(content: Content, trees: np.ndarray, key_size: int) -> Iterator[tuple[np.ndarray, ...]]:
    """B-trees of chunks, level by level: how many chunks there are differs from array to array.

    Yields:
        places of addresses, and whose they are; where nodes and chunks begin, their sizes, and whose they are.
    """
    entry_size = key_size + 8
    node_size = 24 + _CHUNK_TREE_ENTRIES * entry_size + key_size
    owner = np.flatnonzero(trees != _NOWHERE)
    trees, above = trees[owner], np.full(len(owner), 256)
    while trees.size:
        if len(trees) * node_size > content.size:
            raise Unfamiliar("more of a tree than fits the file")
        content.require(trees, b"TREE")
        kind, level, used = content.numbers(trees + 4, "u1"), content.numbers(trees + 5, "u1"), content.numbers(trees + 6, "u2")
        if (kind != 1).any() or (level >= above).any() or (used > _CHUNK_TREE_ENTRIES).any():
            raise Unfamiliar("a tree of something else, or one that does not end")
        neighbours = np.concatenate([trees + 8, trees + 16])
        there = content.numbers(neighbours, "i8") != _NOWHERE
        node = np.repeat(np.arange(len(trees)), used)
        number = np.arange(len(node)) - np.repeat(np.cumsum(used) - used, used)
        keys = trees[node] + 24 + number * entry_size
        below, lowest = content.numbers(keys + key_size, "i8"), level[node] == 0
        yield (
            np.concatenate([neighbours[there], keys + key_size]),
            np.concatenate([np.tile(owner, 2)[there], owner[node]]),
            np.concatenate([trees, below[lowest]]),
            np.concatenate([np.full(len(trees), node_size), content.numbers(keys[lowest], "u4")]),
            np.concatenate([owner, owner[node][lowest]]),
        )
        trees, owner, above = below[~lowest], owner[node][~lowest], level[node][~lowest]


@functools.lru_cache(256)
def _dtype(message: bytes) -> np.dtype:
    try:
        return np.dtype(h5py.h5t.decode(bytes([_TYPE, 0]) + message).dtype)
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        raise Unfamiliar("a type that numpy does not have") from None
