"""A new dataset folder from episodes of one that is there: rows and pictures as they are, numbered anew. For what is kept of a dataset when others of it go."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from mimicctl.conversion.lerobot import statistics
from mimicctl.conversion.lerobot.folder import DATA, EPISODES, FILES_A_CHUNK, INFO, STATISTICS, TASKS, VIDEOS, Clip, picture_size
from mimicctl.conversion.lerobot.parquet import episodes_table, tasks_table
from mimicctl.conversion.lerobot.sidecar import FEATURES, Origin, Sidecar, rest_path, sources_of, write_rest
from mimicctl.conversion.lerobot.splicing import Splice, begins_by_itself
from mimicctl.conversion.lerobot.writer import DATA_FILE, EPISODES_A_FILE, VIDEO_FILE
from mimicctl.video import VideoWriter, read_frames

if TYPE_CHECKING:
    import pyarrow as pa

_SCRATCH = ".scratch"


@dataclass(frozen=True)
class Kept:
    """An episode that becomes part of a new dataset.

    Attributes:
        number: its index where it was.
        tasks: its instructions.
        clips: of each video feature.
        statistics: of each feature, as the table of episodes has them.
    """

    number: int
    length: int
    tasks: tuple[str, ...]
    clips: Mapping[str, Clip]
    statistics: Mapping[str, statistics.Stats]


class Assembly:
    """Writes a dataset into an empty folder. A context manager; what an exception in its block leaves is no dataset.

    Args:
        root: the folder, which nobody looks into before it is complete.
        info: of the old dataset.
        tasks: all instructions of the old dataset, by their number.
        sidecar: what lies beside the old dataset, which goes along with its episodes.

    Attributes:
        encoded: episodes some of whose pictures had to be encoded anew, since they depended on pictures before them.
    """

    def __init__(self, root: Path, info: Mapping[str, Any], tasks: Sequence[str], sidecar: Sidecar | None) -> None:
        self._root, self._info, self._tasks, self._sidecar = root, info, tasks, sidecar
        self._sizes = {name: picture_size(feature["shape"]) for name, feature in info["features"].items() if feature.get("dtype") == "video"}
        self._part: _Part | None = None
        self._parts = self._episodes = self._frames = 0
        self._statistics: list[dict[str, dict[str, np.ndarray]]] = []
        self.encoded: list[int] = []

    def __enter__(self) -> Assembly:
        self._root.mkdir(parents=True)
        return self

    def append(self, episode: Kept, rows: pa.Table) -> None:
        """Add an episode.

        Args:
            rows: of its table, of which the counters alone are changed.
        """
        import pyarrow as pa

        episode = replace(episode, clips={name: self._standing_alone(name, clip, episode) for name, clip in episode.clips.items()})
        counters = {"episode_index": np.full(episode.length, self._episodes), "index": np.arange(self._frames, self._frames + episode.length)}
        for name, values in counters.items():
            rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(values, pa.int64()))
        rows = rows.replace_schema_metadata(None)
        if self._part is None or not self._part.takes(episode, rows):
            self._close_part()
            self._part = _Part(self._root, self._parts, float(self._info["fps"]))
            self._parts += 1
        self._part.add(episode, rows, self._episodes, self._frames)
        if self._sidecar is not None and (origin := self._sidecar.origin(episode.number)) is not None:
            self._part.put_beside(self._sidecar.demo(episode.number), self._episodes, origin)
        self._statistics.append({name: dict(part) for name, part in episode.statistics.items()})
        self._episodes, self._frames = self._episodes + 1, self._frames + episode.length

    def _standing_alone(self, name: str, clip: Clip, episode: Kept) -> Clip:
        """The clip, or a copy of it that depends on nothing before it."""
        fps = float(self._info["fps"])
        if begins_by_itself(clip, fps):
            return clip
        if episode.number not in self.encoded:
            self.encoded.append(episode.number)
        path = self._root / _SCRATCH / f"{name}_{episode.number}.mp4"
        path.parent.mkdir(exist_ok=True)
        height, width = self._sizes[name]
        frames = read_frames(clip.video, (width, height), clip.first / fps)
        with VideoWriter(path, (width, height), round(fps), keyframe_every=2) as video:
            for _, frame in zip(range(episode.length), frames, strict=False):
                video.write(frame)
        return Clip(path, 0)

    def _close_part(self) -> None:
        if self._part is not None:
            self._part.close()
            self._part = None
            shutil.rmtree(self._root / _SCRATCH, ignore_errors=True)

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is not None:
            if self._part is not None:
                self._part.discard()
            return
        import pyarrow.parquet as pq

        self._close_part()
        totals = {"total_episodes": self._episodes, "total_frames": self._frames, "total_tasks": len(self._tasks)}
        info = {**self._info, **totals, "splits": {"train": f"0:{self._episodes}"}, "chunks_size": FILES_A_CHUNK}
        info |= {"data_path": DATA, "video_path": VIDEOS if self._sizes else None}
        plain = {name: {key: value.tolist() for key, value in part.items()} for name, part in statistics.all_together(self._statistics).items()}
        _write_json(self._root / STATISTICS, plain)
        pq.write_table(tasks_table(self._tasks), self._root / TASKS)
        if self._sidecar is not None and len(self._sidecar):
            _copy_sources(self._sidecar, self._root)
        _write_json(self._root / INFO, info)


class _Part:
    """Files of the episodes that are together in one of each kind."""

    def __init__(self, root: Path, number: int, fps: float) -> None:
        self._root, self._number, self._fps = root, number, fps
        self._place = {"chunk_index": number // FILES_A_CHUNK, "file_index": number % FILES_A_CHUNK}
        self._stack = ExitStack()
        self._rows: list[dict[str, Any]] = []
        self._videos: dict[str, Splice] = {}
        self._parquet: Any = None
        self._alike: tuple[Any, ...] = ()
        self._beside: h5py.Group | None = None
        self._bytes = self._frames = 0

    def takes(self, episode: Kept, rows: pa.Table) -> bool:
        """Whether an episode can be in the same files as those that are."""
        megabyte = 1 << 20
        return (
            len(self._rows) < EPISODES_A_FILE
            and self._bytes < DATA_FILE * megabyte
            and all(video.written() < VIDEO_FILE * megabyte for video in self._videos.values())
            and _alike(episode, rows) == self._alike
            and all(self._videos[name].takes(clip) for name, clip in episode.clips.items())
        )

    def add(self, episode: Kept, rows: pa.Table, number: int, first: int) -> None:
        import pyarrow.parquet as pq

        if self._parquet is None:
            self._alike = _alike(episode, rows)
            path = _made(self._root / DATA.format(**self._place))
            self._parquet = self._stack.enter_context(pq.ParquetWriter(path, rows.schema, compression="snappy", write_page_checksum=True))
            for name in episode.clips:
                self._videos[name] = self._stack.enter_context(Splice(_made(self._root / VIDEOS.format(video_key=name, **self._place)), self._fps))
        self._parquet.write_table(rows)
        self._bytes += rows.nbytes
        row: dict[str, Any] = {"episode_index": number, "tasks": list(episode.tasks), "length": episode.length}
        row |= {f"data/{key}": value for key, value in self._place.items()}
        row |= {"dataset_from_index": first, "dataset_to_index": first + episode.length}
        for name, clip in episode.clips.items():
            row |= {f"videos/{name}/{key}": value for key, value in self._place.items()}
            row |= {f"videos/{name}/from_timestamp": self._frames / self._fps, f"videos/{name}/to_timestamp": (self._frames + episode.length) / self._fps}
            self._videos[name].append(clip, episode.length)
        row |= {f"stats/{feature}/{key}": np.asarray(value) for feature, part in episode.statistics.items() for key, value in part.items()}
        self._rows.append(row | {f"meta/episodes/{key}": value for key, value in self._place.items()})
        self._frames += episode.length

    def put_beside(self, demo: h5py.Group, number: int, origin: Origin) -> None:
        if self._beside is None:
            self._beside = self._stack.enter_context(h5py.File(_made(rest_path(self._root, self._number)), "w")).create_group("data")
        write_rest(demo, self._beside, number, (), origin)

    def close(self) -> None:
        import pyarrow.parquet as pq

        self._stack.close()
        pq.write_table(episodes_table(self._rows), _made(self._root / EPISODES.format(**self._place)))

    def discard(self) -> None:
        with suppress(InterruptedError):
            self._stack.__exit__(InterruptedError, InterruptedError(), None)


def _alike(episode: Kept, rows: pa.Table) -> tuple[Any, ...]:
    """What has to be the same of episodes whose rows are in one file."""
    return rows.schema, tuple(episode.clips), tuple((feature, *part) for feature, part in episode.statistics.items())


def _made(path: Path) -> Path:
    """The path, in a folder that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_json(path: Path, value: Any) -> None:
    _made(path).write_text(json.dumps(value, indent=1) + "\n")


def _copy_sources(sidecar: Sidecar, root: Path) -> None:
    (root / FEATURES).parent.mkdir(exist_ok=True)
    for path in (sidecar.root / FEATURES, *sources_of(sidecar.root)):
        if path.exists():
            shutil.copyfile(path, root / FEATURES.split("/")[0] / path.name)
