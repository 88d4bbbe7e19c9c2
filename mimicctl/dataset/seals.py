"""Seals: what each demo was when it was written, in a chain that shows where one was changed, taken out or put in.

`/mimicctl/seals` has a row a demo, in the order in which they were written. Demos are known by the sha256 of their arrays, so that one and the same
demo is recognised in every file it was merged into, and by its name in none. A chain without a key says that a file was changed, not that nobody
could have made a whole new one: whoever wants that keeps the head of the chain somewhere else (`mimicctl provenance manifest` prints it).
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from mimicctl.dataset.frames import Frames
from mimicctl.schema import LINEAGE_ATTR, SEALS_PATH

_ROW = np.dtype([("demo", "S16"), ("content", "V32"), ("parent", "V32"), ("attributes", "V32"), ("chain", "V32")])
"""Hashes as bytes; zeros stand for none."""

_NONE = "00" * 32
_ROWS_A_CHUNK = 8
_OF_LINEAGE = "lineage_sha256"
"""Attribute of the table of seals: hash of the lineage of the file as a whole."""


@dataclass(frozen=True)
class Seal:
    """A row.

    Attributes:
        demo: its name in the file.
        content: sha256 of its arrays (`demo_sha256`).
        parent: that of the one demo which it is an annotated, augmented, rendered or converted copy of; "" where there is none.
        attributes: sha256 of its attributes, lineage included.
        chain: sha256 of the row before and of all the above; "" where that is still to be found out.
    """

    demo: str
    content: str
    parent: str
    attributes: str
    chain: str = ""

    def chained(self, before: str) -> str:
        return hashlib.sha256("\n".join((before, self.demo, self.content, self.parent, self.attributes)).encode()).hexdigest()


# Hashes -------------------------------------------------------------------------------------------------------


def demo_sha256(demo: h5py.Group) -> str:
    """sha256 over path, type, shape and stored values of all arrays. Compressed chunks are taken as they are: nothing is decoded."""
    found: list[tuple[str, h5py.Dataset]] = []
    demo.visititems(lambda path, item: found.append((path, item)) if isinstance(item, h5py.Dataset) else None)
    return parts_sha256(found)


def parts_sha256(parts: Iterable[tuple[str, h5py.Dataset | Frames | np.ndarray]]) -> str:
    """The same of arrays that are about to be stored (images as `Frames`), by path."""
    digest = hashlib.sha256()
    for path, part in sorted(parts, key=lambda item: item[0]):
        if isinstance(part, Frames):
            _begin(digest, path, part.dtype, (len(part), *part.shape), compressed=True)
            for chunk in part.chunks:
                digest.update(chunk)
        elif isinstance(part, h5py.Dataset) and part.chunks and part.compression:
            _begin(digest, path, part.dtype, part.shape, compressed=True)
            for chunk in _stored_chunks(part):
                digest.update(chunk)
        else:
            value = part[()] if isinstance(part, h5py.Dataset) else part
            value = np.zeros(0) if isinstance(value, h5py.Empty) else np.asarray(value)
            _begin(digest, path, value.dtype, value.shape, compressed=False)
            # Strings of variable length are objects in memory: their values, not their addresses.
            digest.update(repr(value.tolist()).encode() if value.dtype.hasobject else np.ascontiguousarray(value).data)
    return digest.hexdigest()


def _begin(digest: Any, path: str, dtype: np.dtype, shape: tuple[int, ...], *, compressed: bool) -> None:
    digest.update(f"\n{path} {dtype.str} {shape} {'compressed' if compressed else 'plain'}\n".encode())


def _stored_chunks(array: h5py.Dataset) -> Iterable[bytes]:
    """In the order of their places; one that was never written is empty."""
    for place in itertools.product(*(range(0, size, step) for size, step in zip(array.shape, array.chunks, strict=True))):
        try:
            yield array.id.read_direct_chunk(place)[1]
        except (OSError, RuntimeError):  # h5py raises either
            yield b""


def attributes_sha256(demo: h5py.Group) -> str:
    """sha256 of a demo's attributes as JSON."""
    plain = {key: _plain(value) for key, value in demo.attrs.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.tolist() if hasattr(value, "tolist") else str(value)


# The table ----------------------------------------------------------------------------------------------------


def seals_of(file: h5py.File) -> tuple[Seal, ...]:
    """The rows as they stand there; none of a file without seals, or with a table of another make."""
    table = file.get(SEALS_PATH)
    if not isinstance(table, h5py.Dataset) or table.dtype.names != _ROW.names:
        return ()
    return tuple(Seal(name.decode(errors="replace"), *map(_hex, hashes)) for name, *hashes in table[()].tolist())


def add_seals(file: h5py.File, seals: Sequence[Seal]) -> None:
    """Append rows, each chained to the one before it."""
    table = _table(file)
    first = len(table)
    before = _hex(table[first - 1]["chain"].tobytes()) if first else ""
    rows = []
    for seal in seals:
        before = seal.chained(before)
        rows.append((seal.demo, *(bytes.fromhex(value or _NONE) for value in (seal.content, seal.parent, seal.attributes, before))))
    if rows:
        table.resize((first + len(rows),))
        table[first:] = np.array(rows, dtype=_ROW)


def seal_lineage(file: h5py.File) -> None:
    """Note the lineage of the file as a whole."""
    _table(file).attrs[_OF_LINEAGE] = _lineage_sha256(file)


def lineage_is_sealed(file: h5py.File) -> bool:
    """Whether the lineage of the file as a whole is the one that was noted."""
    table = file.get(SEALS_PATH)
    return table is not None and table.attrs.get(_OF_LINEAGE) == _lineage_sha256(file)


def replace_seals(file: h5py.File, seals: Sequence[Seal]) -> None:
    """A new table, chained anew."""
    if SEALS_PATH in file:
        del file[SEALS_PATH]
    add_seals(file, seals)
    seal_lineage(file)


def _hex(value: bytes) -> str:
    text = value.hex()
    return "" if text == _NONE else text


def _lineage_sha256(file: h5py.File) -> str:
    text = file["data"].attrs.get(LINEAGE_ATTR, "")
    return hashlib.sha256((text.decode(errors="replace") if isinstance(text, bytes) else str(text)).encode()).hexdigest()


def _table(file: h5py.File) -> h5py.Dataset:
    if SEALS_PATH not in file:
        file.create_dataset(SEALS_PATH, shape=(0,), maxshape=(None,), chunks=(_ROWS_A_CHUNK,), dtype=_ROW)
    return file[SEALS_PATH]
