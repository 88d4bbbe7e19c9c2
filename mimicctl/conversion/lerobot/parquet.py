"""Parquet files, by way of pyarrow: opening them with a plain word about what is wrong, and columns to arrays and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_MAGIC = b"PAR1"
_ROWS_AT_ONCE = 512


def import_pyarrow() -> ModuleType:
    try:
        import pyarrow
    except ImportError:
        raise UserError("LeRobot datasets need pyarrow, which is not installed.", do='pip install "mimicctl[lerobot]"') from None
    return pyarrow


def damage_of(path: Path) -> str:
    """What is wrong with a Parquet file; "" if it can be opened. Its values are not read."""
    import pyarrow.parquet as pq

    if not path.exists():
        return "is missing"
    with open(path, "rb") as file:
        head = file.read(len(_MAGIC))
        file.seek(max(0, path.stat().st_size - len(_MAGIC)))
        tail = file.read()
    if head == _MAGIC and tail != _MAGIC:
        return "was cut off: it has no footer"
    try:
        pq.read_metadata(path)
    except (OSError, ValueError):
        return "is not a readable Parquet file"
    return ""


def rows_of(path: Path) -> int:
    import pyarrow.parquet as pq

    return pq.read_metadata(path).num_rows


def read_table(path: Path, *, without: str) -> pa.Table:
    """A small table, without the columns whose names begin with `without`.

    Raises:
        UserError: it cannot be read.
    """
    import pyarrow.parquet as pq

    if problem := damage_of(path):
        raise UserError(f"The file {problem}.", where=str(path), do="copy the dataset again, or make it again")
    names = [name for name in dict.fromkeys(pq.read_schema(path).names) if not name.startswith(without)]
    try:
        return pq.ParquetFile(path).read(columns=names)
    except (OSError, ValueError):
        raise UserError("The file cannot be read: it is damaged.", where=str(path), do="copy the dataset again, or make it again") from None


def batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Rows of a file in order, a few hundred in memory at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        yield from file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=list(columns))


def column(values: np.ndarray) -> pa.Array:
    """(T,) or (T, D) numbers, or strings, as a column."""
    import pyarrow as pa

    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])


def numbers(array: pa.Array, shape: Sequence[int]) -> np.ndarray:
    """A column of numbers, or of lists of them however deep, as (T, *shape); a single number a row as (T,)."""
    import pyarrow.types as types

    rows = len(array)
    if array.null_count:
        raise ValueError("it has rows without a value")
    while types.is_list(array.type) or types.is_large_list(array.type) or types.is_fixed_size_list(array.type):
        array = array.flatten()
    flat = array.to_numpy(zero_copy_only=False)
    return flat if tuple(shape) == (1,) and len(flat) == rows else flat.reshape(rows, *shape)


def tasks_table(tasks: Sequence[str]) -> pa.Table:
    """LeRobot's `tasks.parquet`: a pandas frame whose index is the task and whose column is its number. pandas knows the index by this metadata."""
    import pyarrow as pa

    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})

    def described(name: str, kind: str, dtype: str) -> dict[str, Any]:
        return {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": dtype, "metadata": None}

    frame = {
        "index_columns": ["task"],
        "column_indexes": [{**described("", "unicode", "object"), "name": None, "field_name": None, "metadata": {"encoding": "UTF-8"}}],
        "columns": [described("task_index", "int64", "int64"), described("task", "unicode", "object")],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    return table.replace_schema_metadata({"pandas": json.dumps(frame)})


def tasks_of(table: pa.Table) -> list[str]:
    """The other way round, in order of their numbers."""
    names = next((name for name in ("task", "__index_level_0__") if name in table.column_names), None)
    if names is None or "task_index" not in table.column_names:
        raise ValueError("it has no columns task and task_index")
    found = dict(zip(table["task_index"].to_pylist(), table[names].to_pylist(), strict=True))
    return [str(found.get(i, "")) for i in range(max(found, default=-1) + 1)]


def episodes_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """`meta/episodes`: what is known of each episode, statistics among it."""
    import pyarrow as pa

    kinds = {int: pa.int64(), float: pa.float64()}

    def kind(name: str, value: Any) -> pa.DataType:
        if name == "tasks":
            return pa.list_(pa.string())
        if isinstance(value, np.ndarray):
            inner = pa.int64() if name.endswith("/count") else pa.float64()
            for _ in range(value.ndim):
                inner = pa.list_(inner)
            return inner
        return kinds[type(value)]

    def plain(value: Any) -> Any:
        return value.tolist() if isinstance(value, np.ndarray) else value

    return pa.table({name: pa.array([plain(row[name]) for row in rows], kind(name, value)) for name, value in rows[0].items()})
