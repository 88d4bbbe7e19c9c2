"""Looking for bytes of demonstrations in files of any kind."""

from __future__ import annotations

import mmap
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from mimicctl.conversion.lerobot.folder import Clip, LeRobotFolder
from mimicctl.conversion.lerobot.splicing import stored_pictures
from mimicctl.dataset.reader import Dataset
from mimicctl.provenance.graph import Graph

_LENGTH = 64
"""Bytes that are looked for."""

_LEAST_VARIED = 12
"""Different values in them: what a hand at rest does is the same in many demos."""

_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Search:
    """Bytes that are in the stored arrays of withdrawn demos, and in no other demo that lies beside them.

    Attributes:
        patterns: by their first 8 bytes as a number.
    """

    patterns: dict[int, tuple[bytes, ...]]

    @classmethod
    def of(cls, graph: Graph, withdrawn: Collection[str]) -> Search:
        """To be made while the demos are still there."""
        wanted: set[bytes] = set()
        others: set[bytes] = set()
        for file in graph.workspace.datasets:
            with Dataset(file.path, need_demos=False) as dataset:
                for demo in file.demos:
                    (wanted if demo.sha256 in withdrawn else others).update(_telling(dataset.group(demo.name)))
        for folder in {file.path for file in graph.workspace.exports if any(demo.sha256 in withdrawn for demo in file.demos)}:
            going = {demo.name for file in graph.workspace.exports if file.path == folder for demo in file.demos if demo.sha256 in withdrawn}
            for episode, stretch in _filmed(LeRobotFolder(folder)):
                (wanted if episode in going else others).add(stretch)
        wanted = {pattern for pattern in wanted if len(pattern) == _LENGTH and len(set(pattern)) >= _LEAST_VARIED}
        patterns: dict[int, list[bytes]] = {}
        for pattern in sorted(wanted - others):
            patterns.setdefault(int.from_bytes(pattern[:8], "little"), []).append(pattern)
        return cls({first: tuple(found) for first, found in patterns.items()})

    def files_with_rests(self, paths: Iterable[Path]) -> list[Path]:
        """Files that hold any of it. Copies that were compressed anew are not recognised, and what may not be read is passed over."""
        found = []
        for path in paths:
            with suppress(FileNotFoundError, PermissionError):  # gone since it was listed; or told of as unseen
                if self.patterns and path.stat().st_size >= _LENGTH and self._is_in(path):
                    found.append(path)
        return found

    def _is_in(self, path: Path) -> bool:
        firsts = np.array(sorted(self.patterns), dtype=np.uint64)
        # By two bytes first, which leaves few places to look at closely.
        begins = np.zeros(1 << 16, dtype=bool)
        begins[(firsts & 0xFFFF).astype(int)] = True
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for start in range(0, len(content) - _LENGTH + 1, _AT_ONCE):
                block = content[start : start + _AT_ONCE + _LENGTH]
                pairs, words = (np.ndarray(len(block) - 7, kind, buffer=block, strides=(1,)) for kind in ("<u2", "<u8"))
                places = np.flatnonzero(begins[pairs])
                for place in places[np.isin(words[places], firsts)].tolist():
                    if block[place : place + _LENGTH] in self.patterns[int(words[place])]:
                        return True
        return False


def _telling(demo: h5py.Group) -> set[bytes]:
    """From the middle of its actions and of each of its images, as they are stored."""
    found = set()
    observed = demo.get("obs", {}).values()
    for array in (demo.get("actions"), *(array for array in observed if isinstance(array, h5py.Dataset) and array.ndim == 4)):
        if isinstance(array, h5py.Dataset) and array.size:
            raw = _middle_chunk(array) if array.chunks else np.ascontiguousarray(array[()]).tobytes()
            found.add(raw[len(raw) // 2 :][:_LENGTH])
    return found


def _filmed(folder: LeRobotFolder) -> Iterator[tuple[str, bytes]]:
    """Name of each episode of a LeRobot dataset, with bytes from the middle of what is stored of the picture in its middle."""
    for entry in folder.episodes:
        for clip in entry.clips.values():
            for picture in stored_pictures(Clip(clip.video, clip.first + entry.length // 2), 1, folder.fps):
                yield f"episode_{entry.number}", picture[len(picture) // 2 :][:_LENGTH]


def _middle_chunk(array: h5py.Dataset) -> bytes:
    try:
        return array.id.read_direct_chunk(tuple(size // 2 // step * step for size, step in zip(array.shape, array.chunks, strict=True)))[1]
    except (OSError, RuntimeError):  # it was never written
        return b""
