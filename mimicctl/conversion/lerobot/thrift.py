"""Apache Thrift's compact protocol, of which Parquet's footers and page headers are made: structs to plain values and back, whatever their fields mean.

A struct is {number of the field: Value}. Sizes and kinds are as in the specification of the protocol; maps, which Parquet has none of, are refused.
"""

from __future__ import annotations

from typing import Any, NamedTuple

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
_DEEPEST = 32


class Value(NamedTuple):
    """A value and its kind. That of a list is (kind of its members, members)."""

    kind: int
    value: Any


Struct = dict[int, Value]


def read_struct(data: bytes | memoryview, start: int = 0) -> tuple[Struct, int]:
    """The struct that begins at `start`, and where it ends.

    Raises:
        ValueError: there is none.
    """
    reader = _Reader(data, start)
    try:
        return reader.struct(0), reader.at
    except IndexError:
        raise ValueError("it breaks off") from None


def write_struct(struct: Struct) -> bytes:
    out, last = bytearray(), 0
    for number, (kind, value) in sorted(struct.items()):
        if not 0 < number - last < 16:
            out += bytes([kind]) + _varint(_zigzag(number))
        else:
            out.append((number - last) << 4 | kind)
        last = number
        out += b"" if kind in (TRUE, FALSE) else _written(kind, value)
    return bytes(out) + b"\0"


class _Reader:
    def __init__(self, data: bytes | memoryview, at: int) -> None:
        self._data, self.at = data, at

    def struct(self, depth: int) -> Struct:
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        found: Struct = {}
        last = 0
        while head := self._byte():
            kind, step = head & 15, head >> 4
            last = last + step if step else self._signed()
            if not TRUE <= kind <= STRUCT or last in found:
                raise ValueError("it is no struct")
            found[last] = Value(kind, kind == TRUE if kind in (TRUE, FALSE) else self._value(kind, depth))
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (TRUE, FALSE, BYTE):  # booleans in lists have a byte each
            return self._byte()
        if kind in (I16, I32, I64):
            return self._signed()
        if kind == DOUBLE:
            return self._bytes(8)
        if kind == BINARY:
            return self._bytes(self._varint())
        if kind in (LIST, SET):
            head = self._byte()
            count, inner = head >> 4, head & 15
            count = self._varint() if count == 15 else count
            if count > len(self._data) - self.at:
                raise ValueError("it breaks off")
            return inner, [self._value(inner, depth + 1) for _ in range(count)]
        if kind == STRUCT:
            return self.struct(depth + 1)
        raise ValueError("it has a value of an unknown kind")

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _bytes(self, count: int) -> bytes:
        if count > len(self._data) - self.at:
            raise ValueError("it breaks off")
        self.at += count
        return bytes(self._data[self.at - count : self.at])

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("it has a number that is too long")

    def _signed(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)


def _written(kind: int, value: Any) -> bytes:
    if kind in (TRUE, FALSE, BYTE):
        return bytes([value])
    if kind in (I16, I32, I64):
        return _varint(_zigzag(value))
    if kind == DOUBLE:
        return value
    if kind == BINARY:
        return _varint(len(value)) + value
    if kind in (LIST, SET):
        inner, members = value
        head = bytes([len(members) << 4 | inner]) if len(members) < 15 else bytes([0xF0 | inner]) + _varint(len(members))
        return head + b"".join(_written(inner, member) for member in members)
    if kind == STRUCT:
        return write_struct(value)
    raise ValueError(f"values of kind {kind} are not written")


def _zigzag(value: int) -> int:
    return value << 1 ^ value >> 63


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
