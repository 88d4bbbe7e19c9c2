"""Writing a LeRobot dataset, some hundred episodes at a time.

A batch of episodes goes into one file of each kind (data, table of episodes, a video a camera, sidecar), all of the same number. They get their names
when all of them are complete, and count from the moment at which `meta/info.json` is replaced. What a killed process leaves beyond that is written over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mimicctl.conversion.lerobot import statistics
from mimicctl.conversion.lerobot.features import ACTION, COUNTED, IMAGES, Layout, action_array
from mimicctl.conversion.lerobot.folder import DATA, EPISODES, FILES_A_CHUNK, INFO, STATISTICS, TASKS, VERSION, VIDEOS, LeRobotFolder
from mimicctl.conversion.lerobot.parquet import column, episodes_table, tasks_table
from mimicctl.conversion.lerobot.sidecar import FEATURES, FOLDER, Origin, action_digest, rest_path, write_rest
from mimicctl.dataset.reader import Dataset
from mimicctl.video import VideoWriter

EPISODES_A_FILE = 100
DATA_FILE, VIDEO_FILE = 100, 200
"""Megabytes beyond which a file is not continued."""

_FRAMES_AT_ONCE = 16


class LeRobotWriter:
    """Appends episodes to a dataset folder. A context manager: an exception leaves what was committed before.

    Args:
        root: the folder; one with episodes is continued.
        known: what is there already; None for a new one.
    """

    def __init__(self, root: Path, layout: Layout, known: LeRobotFolder | None) -> None:
        self._root, self._layout = root, layout
        self._info = known.info if known else _new_info(layout)
        self._statistics = {name: {key: np.asarray(value) for key, value in part.items()} for name, part in known.statistics.items()} if known else {}
        self._tasks = known.tasks if known else []
        self._next_file = 1 + max((number for entry in known.episodes for number in entry.files), default=-1) if known else 0
        self._batch: _Batch | None = None
        self._pool = ThreadPoolExecutor(max(1, len(layout.cameras)))

    def __enter__(self) -> LeRobotWriter:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        try:
            if kind is None:
                self.commit()
            elif self._batch:
                self._batch.discard()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def append(self, dataset: Dataset, name: str, instruction: str, source: int, identity: str) -> None:
        """Add a demo as the next episode.

        Raises:
            ValueError: it has numbers that are not finite.
        """
        if instruction not in self._tasks:
            self._tasks = [*self._tasks, instruction]
        if self._batch is None:
            self._batch = _Batch(self._root, self._layout, self._next_file, self._info["total_episodes"], self._info["total_frames"])
        seal = dataset.seals.get(name)
        sha256, parent = (seal.content, seal.parent) if seal else (dataset.demo_sha256(name), "")
        origin = partial(Origin, source, name, identity=identity, sha256=sha256, parent=parent)
        self._batch.add(dataset.group(name), name, self._tasks.index(instruction), instruction, origin, self._pool)
        if self._batch.full():
            self.commit()

    def commit(self) -> None:
        """Make what was added since the last time part of the dataset."""
        batch, self._batch = self._batch, None
        if batch is None:
            return
        rows = batch.finish()
        self._next_file += 1
        self._statistics = statistics.all_together([*([self._statistics] if self._statistics else []), *batch.statistics])
        self._info |= {
            "total_episodes": self._info["total_episodes"] + len(rows),
            "total_frames": self._info["total_frames"] + sum(row["length"] for row in rows),
            "total_tasks": len(self._tasks),
        }
        self._info["splits"] = {"train": f"0:{self._info['total_episodes']}"}
        import pyarrow.parquet as pq

        (self._root / FOLDER).mkdir(exist_ok=True)
        _replace(self._root / FEATURES, json.dumps({"format": 1, **self._layout.as_json()}, indent=1))
        plain = {name: {key: value.tolist() for key, value in part.items()} for name, part in self._statistics.items()}
        _replace(self._root / STATISTICS, json.dumps(plain, indent=1))
        with _finished(self._root / TASKS) as hidden:
            pq.write_table(tasks_table(self._tasks), hidden)
        _replace(self._root / INFO, json.dumps(self._info, indent=1))


def _new_info(layout: Layout) -> dict[str, Any]:
    return {
        "codebase_version": VERSION,
        "robot_type": layout.robot,
        "fps": layout.fps,
        "total_episodes": 0,
        "total_frames": 0,
        "total_tasks": 0,
        "chunks_size": FILES_A_CHUNK,
        "data_files_size_in_mb": DATA_FILE,
        "video_files_size_in_mb": VIDEO_FILE,
        "splits": {},
        "data_path": DATA,
        "video_path": VIDEOS if layout.cameras else None,
        "features": layout.features(),
    }


class _Batch:
    """The files of some episodes, while they are written under hidden names."""

    def __init__(self, root: Path, layout: Layout, file: int, first_episode: int, first_frame: int) -> None:
        self._layout, self._episode, self._frame = layout, first_episode, first_frame
        self._place = {"chunk_index": file // FILES_A_CHUNK, "file_index": file % FILES_A_CHUNK}
        self._data, self._table = root / DATA.format(**self._place), root / EPISODES.format(**self._place)
        self._rest = rest_path(root, file)
        self._rows: list[dict[str, Any]] = []
        self.statistics: list[dict[str, dict[str, np.ndarray]]] = []
        self._bytes, self._seconds = 0, 0.0
        self._stack = ExitStack()
        self._videos: dict[str, VideoWriter] = {}
        for path in (self._data, self._table, self._rest):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._demos = self._stack.enter_context(h5py.File(_hidden(self._rest), "w")).create_group("data")
            for key, (height, width) in layout.cameras.items():
                path = root / VIDEOS.format(video_key=IMAGES + key, **self._place)
                path.parent.mkdir(parents=True, exist_ok=True)
                # A policy asks for single frames: every other one can be had without those before it.
                self._videos[key] = self._stack.enter_context(VideoWriter(path, (width, height), layout.fps, keyframe_every=2))
        except BaseException:
            self.discard()
            raise
        self._parquet: Any = None

    def add(self, demo: h5py.Group, name: str, task: int, instruction: str, origin: Callable[..., Origin], pool: ThreadPoolExecutor) -> None:
        action = demo[action_array(demo)]
        columns = {ACTION: _as_float32(action[()], f"{name}/{action_array(demo)}")}
        exact = {action_array(demo)} if action.dtype == np.float32 else set()
        for feature, parts in self._layout.vectors.items():
            arrays = [demo[f"obs/{part.key}"] for part in parts]
            exact |= {f"obs/{part.key}" for part, array in zip(parts, arrays, strict=True) if array.dtype == np.float32}
            flat = [_as_float32(array[()], f"{name}/obs/{part.key}").reshape(len(array), -1) for part, array in zip(parts, arrays, strict=True)]
            columns[feature] = np.concatenate(flat, axis=1)
        steps, number = len(action), self._episode + len(self._rows)
        counted = np.arange(steps)
        values = (counted / self._layout.fps, counted, np.full(steps, number), counted + self._frame, np.full(steps, task))
        columns |= {key: np.asarray(value, dtype) for (key, dtype), value in zip(COUNTED.items(), values, strict=True)}
        self._write(columns)

        keys = list(self._layout.cameras)
        seen = list(pool.map(lambda key: _write_pictures(demo[f"obs/{key}"], self._videos[key]), keys))
        stats = {key: statistics.of_numbers(value.reshape(steps, -1)) for key, value in columns.items()}
        stats |= {IMAGES + key: colours.stats() for key, colours in zip(keys, seen, strict=True)}

        held = exact | {f"obs/{key}" for key in keys}
        write_rest(demo, self._demos, number, held, origin(action=action_array(demo), action_sha256=action_digest(columns[ACTION])))
        self._rows.append(self._row(number, steps, instruction, stats))
        self.statistics.append(stats)
        self._frame, self._seconds = self._frame + steps, self._seconds + steps / self._layout.fps

    def _write(self, columns: Mapping[str, np.ndarray]) -> None:
        """As a row group of its own."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        # A vector of one number is a number in LeRobot's tables.
        table = pa.table({key: column(value[:, 0] if value.ndim == 2 and value.shape[1] == 1 else value) for key, value in columns.items()})
        if self._parquet is None:
            self._parquet = self._stack.enter_context(pq.ParquetWriter(_hidden(self._data), table.schema, compression="snappy", write_page_checksum=True))
        self._parquet.write_table(table)
        self._bytes += table.nbytes

    def _row(self, number: int, steps: int, instruction: str, stats: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
        row: dict[str, Any] = {"episode_index": number, "tasks": [instruction], "length": steps}
        row |= {f"data/{key}": value for key, value in self._place.items()}
        row |= {"dataset_from_index": self._frame, "dataset_to_index": self._frame + steps}
        for key in self._layout.cameras:
            row |= {f"videos/{IMAGES}{key}/{part}": value for part, value in self._place.items()}
            row |= {f"videos/{IMAGES}{key}/from_timestamp": self._seconds, f"videos/{IMAGES}{key}/to_timestamp": self._seconds + steps / self._layout.fps}
        row |= {f"stats/{feature}/{key}": value for feature, part in stats.items() for key, value in part.items()}
        return row | {f"meta/episodes/{key}": value for key, value in self._place.items()}

    def full(self) -> bool:
        megabyte = 1 << 20
        return (
            len(self._rows) >= EPISODES_A_FILE
            or self._bytes >= DATA_FILE * megabyte
            or any(video.written() >= VIDEO_FILE * megabyte for video in self._videos.values())
        )

    def finish(self) -> list[dict[str, Any]]:
        """Close the files and give them their names. Returns the rows of the table of episodes."""
        import pyarrow.parquet as pq

        try:
            self._stack.close()
            pq.write_table(episodes_table(self._rows), _hidden(self._table))
        except BaseException:
            self.discard()
            raise
        for path in (self._rest, self._data, self._table):
            os.replace(_hidden(path), path)
        return self._rows

    def discard(self) -> None:
        self._stack.__exit__(InterruptedError, InterruptedError(), None)
        for path in (self._rest, self._data, self._table):
            _hidden(path).unlink(missing_ok=True)


def _as_float32(values: np.ndarray, what: str) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ValueError(f"{what} has numbers that are not finite")
    return values.astype(np.float32, copy=False)


def _write_pictures(array: h5py.Dataset, video: VideoWriter) -> statistics.Colours:
    """As an episode that can be taken out of the video again: nothing of it depends on those before it."""
    colours, first = statistics.Colours(), True
    for pictures in _blocks(array):
        colours.add(pictures)
        for picture in pictures:
            video.write(picture, by_itself=first)
            first = False
    return colours


def _blocks(array: h5py.Dataset) -> Iterator[np.ndarray]:
    """They follow the stored chunks, each of which is read and decompressed once."""
    chunk = array.chunks[0] if array.chunks else 1
    block = -(-_FRAMES_AT_ONCE // chunk) * chunk
    for start in range(0, len(array), block):
        yield array[start : start + block]


def _hidden(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


@contextmanager
def _finished(path: Path) -> Iterator[Path]:
    """A hidden path to write to, which becomes `path` at the end of the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    yield _hidden(path)
    os.replace(_hidden(path), path)


def _replace(path: Path, text: str) -> None:
    with _finished(path) as hidden:
        hidden.write_text(text + "\n")
