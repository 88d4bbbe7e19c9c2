"""A LeRobot dataset without some of its episodes: made anew from the others, so that nothing of those that go is left in it."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mimicctl.conversion.lerobot.assembling import Assembly, Kept
from mimicctl.conversion.lerobot.episode_rows import FoundRows, Rows
from mimicctl.conversion.lerobot.folder import EpisodeEntry, LeRobotFolder
from mimicctl.conversion.lerobot.parquet import import_pyarrow
from mimicctl.conversion.lerobot.replacing import put_in_place
from mimicctl.conversion.lerobot.sidecar import FOLDERS, Sidecar, source_path
from mimicctl.conversion.lerobot.splicing import begins_by_itself, stored_pictures
from mimicctl.dataset.committed_file import write_lock
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.seals import attributes_sha256, demo_sha256
from mimicctl.errors import RunFailed, UserError
from mimicctl.provenance.purge import Purge, plan_purge, write_without
from mimicctl.provenance.workspace import DatasetFile
from mimicctl.video import import_av

_COUNTERS = ("episode_index", "index")
_PICTURES = "images"
"""Where LeRobot keeps pictures of an episode until they are encoded, and after a crash."""


@dataclass(frozen=True)
class ExportPurge:
    """What is to go from a LeRobot dataset.

    Attributes:
        demos: episode, as episode_3, to what its demo is known by.
        sources: what is to go from the files beside it that tell what it was converted from, by their numbers.
        encoded: episodes that stay, some of whose pictures depend on those of one that goes, so that they are decoded and encoded again.
    """

    path: Path
    demos: Mapping[str, str]
    sources: Mapping[int, Purge]
    encoded: tuple[int, ...]

    @property
    def records(self) -> int:
        return sum(purge.records for purge in self.sources.values())

    @property
    def attempts(self) -> int:
        return sum(purge.attempts for purge in self.sources.values())

    @property
    def empty(self) -> bool:
        return not self.demos and all(purge.empty for purge in self.sources.values())


def plan_export_purge(path: Path, files: Sequence[DatasetFile], withdrawn: Collection[str]) -> ExportPurge:
    """What of a LeRobot dataset has to do with withdrawn demos.

    Args:
        files: of the workspace, that tell of its episodes.

    Raises:
        UserError: episodes are to go, and what is needed to write the dataset anew is not installed; or it is damaged.
    """
    demos = {demo.name: demo.sha256 for file in files for demo in file.demos if demo.sha256 in withdrawn}
    with Sidecar(path) as sidecar:
        names: dict[int, dict[str, str]] = {number: {} for number in range(len(sidecar.sources))}
        for episode, sha256 in demos.items():
            origin = sidecar.origin(_number(episode))
            names[origin.source][origin.demo] = sha256
    sources = {number: plan_purge(source_path(path, number), withdrawn, gone) for number, gone in names.items()}
    encoded: list[int] = []
    if demos:
        import_pyarrow()
        folder = LeRobotFolder(path)
        if folder.videos:
            import_av()
        problems = folder.damage()
        try:
            encoded = [e.number for e in _staying(folder, demos) if not all(begins_by_itself(clip, folder.fps) for clip in e.clips.values())]
        except (OSError, ValueError) as error:  # of PyAV
            problems.append(str(error))
        if problems:
            do = "mimicctl dataset salvage makes a sound one of what is whole; move the damaged one away, or remove it"
            raise UserError(f"The LeRobot dataset is damaged: {problems[0]}.", where=str(path), do=do)
    return ExportPurge(path, demos, sources, tuple(encoded))


def carry_out_export(purge: ExportPurge, withdrawn: Collection[str], record: str, at: str) -> None:
    """Write the dataset anew beside itself, compare what is to stay bit for bit, and put it in place of the old one. One that nothing is left of is removed.

    Raises:
        UserError: another process is writing the dataset.
        RunFailed: it could not be written. It is as it was.
    """
    path = purge.path
    work = path.with_name(f".{path.name}.purge")
    with write_lock(path):
        shutil.rmtree(work, ignore_errors=True)
        try:
            folder = LeRobotFolder(path)
            staying = _staying(folder, purge.demos)
            if not staying:
                _remove(path)
                return
            _write(folder, staying, purge, withdrawn, record, at, work)
            _compare(folder, staying, purge, work)
            going = shutil.ignore_patterns(*(f"episode-{_number(name):06d}" for name in purge.demos))
            for item in sorted(path.iterdir()):
                if item.is_dir() and item.name not in FOLDERS:
                    shutil.copytree(item, work / item.name, ignore=going if item.name == _PICTURES else None)
                elif item.is_file():
                    shutil.copy2(item, work / item.name)
            put_in_place(work, path)
        except (OSError, ValueError, RuntimeError) as error:  # h5py raises the last, pyarrow and PyAV the others
            reason = getattr(error, "strerror", None) or error
            raise RunFailed(f"The LeRobot dataset could not be written anew: {reason}.", where=str(path), do="mend that, then withdraw again") from None
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _number(episode: str) -> int:
    return int(episode.removeprefix("episode_"))


def _staying(folder: LeRobotFolder, gone: Collection[str]) -> list[EpisodeEntry]:
    return [entry for entry in folder.episodes if f"episode_{entry.number}" not in gone]


def _remove(path: Path) -> None:
    for name in (*FOLDERS, _PICTURES):
        if (path / name).exists():
            shutil.rmtree(path / name)
    if not any(path.iterdir()):
        path.rmdir()


def _write(folder: LeRobotFolder, staying: Sequence[EpisodeEntry], purge: ExportPurge, withdrawn: Collection[str], record: str, at: str, work: Path) -> None:
    rows, statistics = Rows(folder.root, folder.features), folder.statistics_of_episodes()
    with Sidecar(folder.root) as sidecar, Assembly(work, folder.info, folder.tasks, sidecar) as assembly:
        for entry in staying:
            kept = Kept(entry.number, entry.length, entry.tasks, entry.clips, statistics.get(entry.number, {}))
            assembly.append(kept, rows.read(_found(rows, entry)))
    steps: Counter[int] = Counter()
    with Sidecar(folder.root) as sidecar:
        for entry in staying:
            if (origin := sidecar.origin(entry.number)) is not None:
                steps[origin.source] += entry.length
    for number, of_source in purge.sources.items():
        if of_source.empty:
            continue
        path = source_path(work, number)
        with Dataset(source_path(folder.root, number), need_demos=False) as source:
            write_without(source, path.with_name(f".{path.name}"), of_source, steps[number], withdrawn, record, at)
        os.replace(path.with_name(f".{path.name}"), path)


def _found(rows: Rows, entry: EpisodeEntry) -> FoundRows:
    found = rows.found.get(entry.number)
    if found is None or found.length != entry.length:
        raise ValueError(rows.lost.get(entry.number) or f"the rows of episode {entry.number} are not those that the table of episodes says")
    return found


def _compare(folder: LeRobotFolder, staying: Sequence[EpisodeEntry], purge: ExportPurge, work: Path) -> None:
    """ValueError unless all episodes that stay are the same in the new dataset, but for their numbers, and there are no others."""
    written = LeRobotFolder(work)
    if problems := written.damage():
        raise ValueError(problems[0])
    before, after = Rows(folder.root, folder.features), Rows(work, written.features)
    with Sidecar(folder.root) as beside, Sidecar(work) as new_beside:
        for old, new in zip(staying, written.episodes, strict=True):
            tables = before.read(_found(before, old)), after.read(_found(after, new))
            same = tables[0].drop_columns(_COUNTERS).equals(tables[1].drop_columns(_COUNTERS)) and old.tasks == new.tasks
            if old.number not in purge.encoded:
                pictures = ([stored_pictures(clip, e.length, folder.fps) for _, clip in sorted(e.clips.items())] for e in (old, new))
                same = same and next(pictures) == next(pictures)
            if (demo := beside.demo(old.number)) is not None:
                copy = new_beside.demo(new.number)
                same = same and copy is not None and demo_sha256(demo) == demo_sha256(copy) and attributes_sha256(demo) == attributes_sha256(copy)
            if not same:
                raise ValueError(f"the new one does not hold episode {old.number} as it was")
