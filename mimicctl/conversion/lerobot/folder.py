"""A LeRobot dataset on disk, version 3.0: where its files are, and what they say. Nothing here changes it.

meta/info.json, meta/stats.json, meta/tasks.parquet
meta/episodes/chunk-000/file-000.parquet        an episode a row: length, which files, statistics
data/chunk-000/file-000.parquet                 a frame a row, several episodes a file
videos/<feature>/chunk-000/file-000.mp4         the same of pictures
mimicctl/                                       ours: what has no place in the others (see `sidecar`)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mimicctl.conversion.lerobot.parquet import damage_of, import_pyarrow, read_table, rows_of, tasks_of
from mimicctl.errors import UserError
from mimicctl.video import probe

VERSION = "v3.0"
FILES_A_CHUNK = 1000
INFO, STATISTICS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
NUMBERED = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA, EPISODES, VIDEOS = f"data/{NUMBERED}.parquet", f"meta/episodes/{NUMBERED}.parquet", "videos/{video_key}/" + f"{NUMBERED}.mp4"

_DAMAGED = "copy the dataset again, or make it again; mimicctl dataset salvage saves what is whole of a LeRobot session that was killed"


@dataclass(frozen=True)
class Clip:
    """Where the pictures of an episode are: a video, and the number of the first frame in it."""

    video: Path
    first: int


@dataclass(frozen=True)
class EpisodeEntry:
    """What `meta/episodes` says of an episode.

    Attributes:
        number: its index in the dataset.
        first: index of its first frame in the dataset.
        tasks: its instructions.
        data: file of its numbers.
        clips: of each video feature.
        files: numbers of the files that it is in, chunks counted on.
    """

    number: int
    length: int
    first: int
    tasks: tuple[str, ...]
    data: Path
    clips: dict[str, Clip]
    files: tuple[int, ...]


def picture_size(shape: Sequence[int]) -> tuple[int, int]:
    """(height, width) of pictures whose channels come first or last."""
    height, width = shape[1:] if shape[0] <= 4 < shape[2] else shape[:2]
    return height, width


class LeRobotFolder:
    """A dataset folder, opened for reading.

    Raises:
        UserError: it is none of version 3.0, or its tables cannot be read.
    """

    def __init__(self, root: str | Path) -> None:
        import_pyarrow()
        self.root = Path(root).expanduser().absolute()
        self.info = _read_info(self.root)
        self.fps: float = self.info["fps"]
        self.features: dict[str, dict[str, Any]] = self.info["features"]

    @property
    def videos(self) -> list[str]:
        """Features that are videos."""
        return [name for name, feature in self.features.items() if feature.get("dtype") == "video"]

    @cached_property
    def statistics(self) -> dict[str, Any]:
        path = self.root / STATISTICS
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            raise UserError("The statistics cannot be read.", where=str(path), do=_DAMAGED) from None

    @cached_property
    def tasks(self) -> list[str]:
        """Instructions, by their number."""
        path = self.root / TASKS
        try:
            return tasks_of(read_table(path, without="stats/"))
        except ValueError as error:
            raise UserError(f"This is no table of tasks: {error}.", where=str(path), do=_DAMAGED) from None

    @cached_property
    def episodes(self) -> tuple[EpisodeEntry, ...]:
        """All that the dataset counts, in order. Rows beyond are of a write that was cut off."""
        paths = sorted((self.root / "meta" / "episodes").glob("*/*.parquet"))
        if not paths:
            raise UserError("The dataset has no table of episodes.", where=str(self.root / "meta" / "episodes"), do=_DAMAGED)
        total, found = self.info["total_episodes"], []
        for path in paths:
            table = read_table(path, without="stats/")
            try:
                found += [self._entry(row) for row in table.to_pylist()]
            except KeyError as error:
                raise UserError(f"The table of episodes has no column {error}.", where=str(path), do=_DAMAGED) from None
        found = sorted((entry for entry in found if entry.number < total), key=lambda entry: entry.number)
        if [entry.number for entry in found] != list(range(total)):
            what = f"The dataset counts {total} episodes, and its table of episodes has {len(found)} of them."
            raise UserError(what, where=str(self.root), do=_DAMAGED)
        return tuple(found)

    def _entry(self, row: Mapping[str, Any]) -> EpisodeEntry:
        def place(prefix: str, template: str) -> tuple[Path, int]:
            chunk, file = int(row[f"{prefix}chunk_index"]), int(row[f"{prefix}file_index"])
            name = template.format(chunk_index=chunk, file_index=file, video_key=prefix.removeprefix("videos/").rstrip("/"))
            return self.root / name, chunk * self.info.get("chunks_size", FILES_A_CHUNK) + file

        data, number = place("data/", self.info["data_path"])
        clips, files = {}, [number, place("meta/episodes/", EPISODES)[1]] if "meta/episodes/chunk_index" in row else [number]
        for key in self.videos:
            video, number = place(f"videos/{key}/", self.info["video_path"])
            clips[key] = Clip(video, round(float(row[f"videos/{key}/from_timestamp"]) * self.fps))
            files.append(number)
        tasks = tuple(row.get("tasks") or ())
        return EpisodeEntry(int(row["episode_index"]), int(row["length"]), int(row["dataset_from_index"]), tasks, data, clips, tuple(files))

    def statistics_of_episodes(self) -> dict[int, dict[str, dict[str, Any]]]:
        """Number of each episode to feature to what `meta/episodes` has of it."""
        found: dict[int, dict[str, dict[str, Any]]] = {}
        for path in sorted((self.root / "meta" / "episodes").glob("*/*.parquet")):
            for row in read_table(path, without="videos/").to_pylist():
                parts = found.setdefault(int(row["episode_index"]), {})
                for name, value in row.items():
                    if name.startswith("stats/") and value is not None:
                        feature, key = name.removeprefix("stats/").rsplit("/", 1)
                        parts.setdefault(feature, {})[key] = value
        return found

    def damage(self) -> list[str]:
        """Files that are missing, were cut off or hold too little, each in a line with the episodes in it. All are opened, none is read through."""
        rows: dict[Path, list[EpisodeEntry]] = {}
        clips: dict[Path, list[tuple[EpisodeEntry, Clip]]] = {}
        for entry in self.episodes:
            rows.setdefault(entry.data, []).append(entry)
            for clip in entry.clips.values():
                clips.setdefault(clip.video, []).append((entry, clip))
        found = []
        for path, entries in rows.items():
            problem = damage_of(path)
            if not problem and (count := rows_of(path)) < (needed := sum(entry.length for entry in entries)):
                problem = f"has {count} frames, not {needed}"
            if problem:
                found.append(f"{path} {problem} (episodes {_span(entries)})")
        for path, shown in clips.items():
            needed = max(clip.first + entry.length for entry, clip in shown)
            if problem := _video_damage(path, needed):
                found.append(f"{path} {problem} (episodes {_span([entry for entry, _ in shown])})")
        return found


def _span(entries: Sequence[EpisodeEntry]) -> str:
    first, last = min(e.number for e in entries), max(e.number for e in entries)
    return f"{first}" if first == last else f"{first} to {last}"


def _video_damage(path: Path, needed: int) -> str:
    if not path.exists():
        return "is missing"
    try:
        frames = probe(path).frames
    except UserError:
        return "was cut off, or is no video"
    return "" if frames >= needed else f"has {frames} frames, not {needed}"


def _read_info(root: Path) -> dict[str, Any]:
    """`meta/info.json`, of which it is sure that it is of this version and has what is needed.

    Raises:
        UserError: as `LeRobotFolder`.
    """
    path = root / INFO
    if not root.is_dir():
        raise UserError("There is no such folder.", where=str(root), do="name the folder of a LeRobot dataset: the one that meta, data and videos are in")
    try:
        info = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError("The folder has no meta/info.json, so it is no LeRobot dataset.", where=str(root), do="name the folder that meta is in") from None
    except (OSError, ValueError):
        raise UserError("This is not readable JSON.", where=str(path), do=_DAMAGED) from None
    if not isinstance(info, dict):
        raise UserError("This is not a JSON object.", where=str(path), do=_DAMAGED)
    version = str(info.get("codebase_version", "of no version"))
    if version.startswith("v2.1"):
        script = f"python -m lerobot.scripts.convert_dataset_v21_to_v30 --repo-id=local/{root.name} --root={root} --push-to-hub=false"
        raise UserError("This is a LeRobot dataset of version 2.1; 3.0 is what is read here.", where=str(root), do=f"lerobot itself converts it: {script}")
    if version.startswith(("v1", "v2")):
        what = f"This is a LeRobot dataset of version {version.removeprefix('v')}; 3.0 is what is read here."
        raise UserError(what, where=str(root), do="bring it to 2.1 with the lerobot release that it was made with, then to 3.0 with convert_dataset_v21_to_v30")
    if not version.startswith("v3."):
        raise UserError(f"The dataset is {version}; 3.0 is what is read here.", where=str(path), do="update mimicctl, or convert the dataset with lerobot")
    info = {"data_path": DATA, "video_path": VIDEOS} | info
    kinds = {"features": dict, "fps": (int, float), "total_episodes": int, "total_frames": int}
    if wrong := [name for name, kind in kinds.items() if not isinstance(info.get(name), kind)]:
        raise UserError(f"It has no {', '.join(wrong)} as LeRobot writes it.", where=str(path), do=_DAMAGED)
    return info
