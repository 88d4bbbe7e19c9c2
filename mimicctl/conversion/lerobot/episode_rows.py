"""Rows of episodes, found in the data files alone, which may have a footer or, after a crash, none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl.conversion.lerobot.footer import schema_of, without_footer
from mimicctl.conversion.lerobot.parquet import column, damage_of, numbers

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_DAMAGE = (OSError, ValueError, KeyError)
"""What reading a damaged file raises; pyarrow's errors are among them."""


@dataclass(frozen=True)
class FoundRows:
    """An episode of which all rows are there.

    Attributes:
        groups: numbers of the row groups of the file that they are in.
        tasks: numbers of its instructions.
    """

    number: int
    length: int
    file: Path
    groups: tuple[int, ...]
    tasks: tuple[int, ...]


class Rows:
    """
    Args:
        features: of the dataset.

    Attributes:
        found: episodes that are whole, in order.
        lost: episode to why it is not.
        notes: files and parts of files that cannot be read.

    Raises:
        ValueError: a feature is of a kind that is not known.
    """

    def __init__(self, root: Path, features: Mapping[str, Mapping[str, Any]]) -> None:
        self._root, self._features = root, features
        self._schema, self._widths = schema_of(features)
        self._open: tuple[Path, pq.ParquetFile] | None = None  # one at a time: finding the rows of one without a footer takes a while
        self.lost: dict[int, str] = {}
        self.notes: list[str] = []
        found: dict[int, FoundRows] = {}
        for path in sorted((root / "data").glob("*/*.parquet")):
            for episode in self._in_file(path):
                if episode.number in found:
                    self.lost[episode.number] = "two data files have rows of it"
                found[episode.number] = episode
        self.found = {number: found[number] for number in sorted(found) if number not in self.lost}

    def _in_file(self, path: Path) -> Iterator[FoundRows]:
        named = path.relative_to(self._root)
        groups: dict[int, list[int]] = {}
        counted: dict[int, list[np.ndarray]] = {}
        try:
            file = self._opened(path)
        except _DAMAGE as error:
            self.notes.append(f"{named} cannot be read: {brief(error)}")
            return
        for group in range(file.num_row_groups):
            try:
                rows = file.read_row_group(group)
                episodes, *counters = (numbers(rows[name].combine_chunks(), (1,)) for name in ("episode_index", "frame_index", "task_index"))
            except _DAMAGE as error:
                self.notes.append(f"row group {group} of {named} cannot be read: {brief(error)}")
                continue
            for number in np.unique(episodes).tolist():
                groups.setdefault(number, []).append(group)
                counted.setdefault(number, []).append(np.stack(counters)[:, episodes == number])
        for number, parts in counted.items():
            frames, tasks = np.concatenate(parts, axis=1)
            if np.array_equal(frames, np.arange(len(frames))):
                yield FoundRows(number, len(frames), path, tuple(groups[number]), tuple(dict.fromkeys(tasks.tolist())))
            else:
                self.lost[number] = "some of its rows are missing"

    def _opened(self, path: Path) -> pq.ParquetFile:
        import pyarrow.parquet as pq

        if self._open is None or self._open[0] != path:
            if not damage_of(path):
                file, rest = pq.ParquetFile(path, page_checksum_verification=True), 0
            else:
                file, rest = without_footer(path, self._schema, self._widths)
            if rest:
                note = f"{path.relative_to(self._root)} was cut off: {file.num_row_groups} row groups are whole, and {rest} bytes behind them are part of one"
                self.notes += [note] if note not in self.notes else []
            self._open = path, file
        return self._open[1]

    def read(self, episode: FoundRows) -> pa.Table:
        """Of one episode, in the types that LeRobot gives them.

        Raises:
            ValueError: they cannot be read after all.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        try:
            rows = self._opened(episode.file).read_row_groups(list(episode.groups))
            rows = rows.filter(pc.equal(rows["episode_index"], episode.number))
            return pa.table({name: self._as_lerobot(name, rows[name].combine_chunks()) for name in self._schema.names})
        except _DAMAGE as error:
            raise ValueError(f"its rows cannot be read: {brief(error)}") from None

    def _as_lerobot(self, name: str, array: pa.Array) -> pa.Array:
        shape = tuple(self._features[name].get("shape") or (1,))
        is_vector = len(shape) == 1 and shape != (1,) and self._features[name]["dtype"] != "string"
        return column(numbers(array, shape)) if is_vector else array


def brief(error: BaseException) -> str:
    text = str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__
    return text[:120]
