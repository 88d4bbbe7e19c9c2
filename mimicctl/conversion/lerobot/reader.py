"""Episodes of a LeRobot dataset, one after the other: their numbers from Parquet, their pictures from videos."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mimicctl.conversion.lerobot.features import COUNTED
from mimicctl.conversion.lerobot.folder import Clip, EpisodeEntry, LeRobotFolder
from mimicctl.conversion.lerobot.parquet import batches, numbers
from mimicctl.errors import RunFailed
from mimicctl.video import read_frames

_NUMBERS = ("bool", "float", "int", "uint")


def numeric(features: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Features that are numbers, without those that every dataset has."""
    return [name for name, feature in features.items() if name not in COUNTED and str(feature.get("dtype", "")).startswith(_NUMBERS)]


def embedded(features: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Features whose pictures are in the tables, each an encoded file."""
    return [name for name, feature in features.items() if feature.get("dtype") == "image"]


def left_out(features: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Features that an HDF5 dataset has no place for: texts, language."""
    kept = {*numeric(features), *embedded(features), *COUNTED}
    return [name for name, feature in features.items() if name not in kept and feature.get("dtype") != "video"]


def read_episodes(folder: LeRobotFolder, first: int = 0) -> Iterator[tuple[EpisodeEntry, dict[str, np.ndarray]]]:
    """Each episode from number `first` on with its columns: (T, ...) numbers, (T, H, W, 3) uint8 for pictures in the tables. One is in memory at a time.

    Raises:
        RunFailed: a file cannot be read, or has not what the table of episodes says.
    """
    entries = folder.episodes[first:]
    for path in dict.fromkeys(entry.data for entry in entries):
        inside = [entry for entry in entries if entry.data == path]
        yield from _in_file(path, inside, folder.features)


def _in_file(path: Path, entries: Sequence[EpisodeEntry], features: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[EpisodeEntry, dict[str, np.ndarray]]]:
    shapes = {name: features[name]["shape"] for name in numeric(features)}
    pictures = embedded(features)
    waiting = {entry.number: entry for entry in entries}
    rows: dict[str, list[np.ndarray]] = {}
    have = current = -1
    try:
        for batch in batches(path, [*shapes, *pictures, "episode_index"]):
            episodes = numbers(batch.column("episode_index"), (1,))
            values = {name: numbers(batch.column(name), shape) for name, shape in shapes.items()}
            values |= {name: decoded(batch.column(name).to_pylist()) for name in pictures}
            for start, stop in _runs(episodes):
                if episodes[start] != current:
                    current, have, rows = int(episodes[start]), 0, {name: [] for name in values}
                if current not in waiting:
                    continue
                for name, value in values.items():
                    rows[name].append(value[start:stop])
                have += stop - start
                if have >= waiting[current].length:
                    entry = waiting.pop(current)
                    yield entry, {name: np.concatenate(parts)[: entry.length] for name, parts in rows.items()}
    except (OSError, ValueError, KeyError) as error:
        raise RunFailed(f"The file cannot be read: {error}.", where=str(path), do="copy the dataset again; --resume continues") from None
    if waiting:
        what = f"The frames of episode {min(waiting)} are not all there."
        raise RunFailed(what, where=str(path), do="copy the dataset again, or make it again; --resume continues")


def _runs(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where equal numbers stand together: start and end of each run."""
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    yield from itertools.pairwise(edges)


def decoded(files: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Pictures from the bytes of PNG files."""
    from PIL import Image

    if any(file is None or not file.get("bytes") for file in files):
        raise ValueError("it names picture files instead of holding them")
    return np.stack([np.asarray(Image.open(io.BytesIO(file["bytes"])).convert("RGB")) for file in files])


class Clips:
    """Pictures of one camera. Episodes that follow each other in a video are read on; for others it is opened again.

    Args:
        size: (width, height).
        fps: frames per second.
    """

    def __init__(self, size: tuple[int, int], fps: float) -> None:
        self._size, self._fps = size, fps
        self._next: Clip | None = None
        self._frames: Iterator[np.ndarray] = iter(())

    def read(self, clip: Clip, length: int) -> Iterator[np.ndarray]:
        """The frames (H, W, 3) of an episode.

        Raises:
            RunFailed: the video ends before they do.
        """
        if clip != self._next:
            self._frames = read_frames(clip.video, self._size, clip.first / self._fps)
        for i in range(length):
            frame = next(self._frames, None)
            if frame is None:
                what = f"The video breaks off after {clip.first + i} frames, where {clip.first + length} are needed."
                raise RunFailed(what, where=str(clip.video), do="copy the dataset again, or make it again; --resume continues")
            yield frame
        self._next = Clip(clip.video, clip.first + length)
