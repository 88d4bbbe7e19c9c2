"""Parquet files that were never closed. Their pages lie there, one after the other, each with its size; what is missing is the footer, which says what they are.

A writer puts a footer behind them when it is closed, and LeRobot closes its files at the end of a session. Here one is made for the row groups that are all
there, and put behind them in memory: the file itself stays as it is.
"""

from __future__ import annotations

import io
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl.conversion.lerobot.thrift import I32, I64, LIST, STRUCT, Struct, Value, read_struct, write_struct

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_MAGIC = b"PAR1"
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_SNAPPY = 1


def schema_of(features: Mapping[str, Mapping[str, Any]]) -> tuple[pa.Schema, list[int]]:
    """Columns as LeRobot writes them, and of each of their leaves how many values make a row.

    Raises:
        ValueError: a feature is of a kind that is not known.
    """
    import pyarrow as pa

    fields, widths = [], []
    for name, feature in features.items():
        dtype, shape = feature["dtype"], tuple(feature.get("shape") or (1,))
        if dtype == "video":
            continue
        if dtype == "image":
            fields.append(pa.field(name, pa.struct([("bytes", pa.binary()), ("path", pa.string())])))
            widths += [1, 1]
            continue
        kind = pa.type_for_alias(dtype)
        for _ in shape if shape != (1,) else ():
            kind = pa.list_(kind)
        fields.append(pa.field(name, kind))
        widths.append(int(np.prod(shape)))
    return pa.schema(fields), widths


def without_footer(path: Path, schema: pa.Schema, widths: Sequence[int]) -> tuple[pq.ParquetFile, int]:
    """A file that was cut off, with all row groups that are whole, and how many bytes at its end are not. There may be none.

    Args:
        widths: of each leaf of the schema, how many values make a row.

    Raises:
        ValueError: it is no Parquet file at all.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open(path, "rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError("its first bytes are gone")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            groups = list(_row_groups(data, len(_MAGIC), widths))
    footer, leaves = _template(schema)
    footer[3] = Value(I64, sum(group.rows for group in groups))
    footer[4] = Value(LIST, (STRUCT, [_described(group, leaves) for group in groups]))
    text = write_struct(footer)
    end = groups[-1].end if groups else len(_MAGIC)
    file = pq.ParquetFile(pa.PythonFile(_Ended(path, end, text + len(text).to_bytes(4, "little") + _MAGIC), mode="r"))
    return file, path.stat().st_size - end


# Finding pages ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Page:
    kind: int
    start: int
    end: int
    values: int
    unpacked: int


@dataclass(frozen=True)
class _Chunk:
    """Pages of one column of a row group."""

    pages: tuple[_Page, ...]

    @property
    def data(self) -> tuple[_Page, ...]:
        return self.pages[self.pages[0].kind == _DICTIONARY :]


@dataclass(frozen=True)
class _RowGroup:
    rows: int
    chunks: tuple[_Chunk, ...]

    @property
    def end(self) -> int:
        return self.chunks[-1].pages[-1].end


def _row_groups(data: mmap.mmap, at: int, widths: Sequence[int]) -> Iterator[_RowGroup]:
    while (group := _row_group(data, at, widths)) is not None:
        yield group
        at = group.end


def _row_group(data: mmap.mmap, at: int, widths: Sequence[int]) -> _RowGroup | None:
    """The one that begins at `at`; None if it is not all there.

    Nothing says where a column ends but the next one's beginning, so that the first column is tried with one page, then with two, until all the others have as many
    rows.
    """
    values = 0
    for page in _pages(data, at):
        values += 0 if page.kind == _DICTIONARY else page.values
        rows, rest = divmod(values, widths[0])
        if rows and not rest and (group := _of_rows(data, at, rows, widths)) is not None:
            return group
        if page.kind == _DICTIONARY and page.start != at:
            break
    return None


def _of_rows(data: mmap.mmap, at: int, rows: int, widths: Sequence[int]) -> _RowGroup | None:
    chunks = []
    for width in widths:
        taken, left = [], rows * width
        for page in _pages(data, at):
            if page.kind == _DICTIONARY and taken:
                return None
            taken.append(page)
            left -= 0 if page.kind == _DICTIONARY else page.values
            if left <= 0:
                break
        if left:
            return None
        chunks.append(_Chunk(tuple(taken)))
        at = taken[-1].end
    return _RowGroup(rows, tuple(chunks))


def _pages(data: mmap.mmap, at: int) -> Iterator[_Page]:
    """From `at` on, as far as they are whole."""
    while at < len(data):
        try:
            header, body = read_struct(data, at)
            kind, end = header[1].value, body + header[3].value
            if kind not in (_DATA, _DICTIONARY, _DATA_V2) or end > len(data) or end < body:
                return
            about = header[{_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}[kind]].value
            yield _Page(kind, at, end, about[1].value, header[2].value + body - at)
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        at = end


# Describing them --------------------------------------------------------------------------------------


def _template(schema: pa.Schema) -> tuple[Struct, list[Struct]]:
    """Footer of a file of that schema, and what it says of each leaf."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    row = pa.table([pa.nulls(1, field.type) for field in schema], schema=schema)
    pq.write_table(row, buffer, compression="snappy", store_schema=False)
    content = buffer.getvalue()
    length = int.from_bytes(content[-8:-4], "little")
    footer, _ = read_struct(content, len(content) - 8 - length)
    columns = footer[4].value[1][0][1].value[1]
    return footer, [column[3].value for column in columns]


def _described(group: _RowGroup, leaves: Sequence[Struct]) -> Struct:
    columns = [_column(chunk, leaf) for chunk, leaf in zip(group.chunks, leaves, strict=True)]
    size = sum(column[3].value[6].value for column in columns)
    return {1: Value(LIST, (STRUCT, columns)), 2: Value(I64, size), 3: Value(I64, group.rows)}


def _column(chunk: _Chunk, leaf: Struct) -> Struct:
    first, last = chunk.pages[0], chunk.pages[-1]
    about: Struct = {number: leaf[number] for number in (1, 2, 3)}  # type, encodings, path
    about |= {
        4: Value(I32, _SNAPPY),
        5: Value(I64, sum(page.values for page in chunk.data)),
        6: Value(I64, sum(page.unpacked for page in chunk.pages)),
        7: Value(I64, last.end - first.start),
        9: Value(I64, chunk.data[0].start),
    }
    if first.kind == _DICTIONARY:
        about[11] = Value(I64, first.start)
    return {2: Value(I64, 0), 3: Value(STRUCT, about)}


class _Ended(io.RawIOBase):
    """A file up to a place, with other bytes behind that."""

    def __init__(self, path: Path, end: int, tail: bytes) -> None:
        self._file, self._end, self._tail, self._at = open(path, "rb"), end, tail, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end + len(self._tail)}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        size = self._end + len(self._tail) - self._at if size is None or size < 0 else size
        self._file.seek(self._at)
        found = self._file.read(max(0, min(size, self._end - self._at)))
        behind = max(0, self._at - self._end)
        found += self._tail[behind : behind + size - len(found)] if self._at + size > self._end else b""
        self._at += len(found)
        return found

    def close(self) -> None:
        self._file.close()
        super().close()
