"""Saving what can be saved of a LeRobot dataset whose recording crashed.

LeRobot closes its files when a session ends. One that was killed leaves, of version 3.0:

    data/*.parquet           all rows of saved episodes, without the footer that says where they are (see `footer`)
    meta/episodes/*.parquet  missing, or without its footer; the last episodes were in memory only
    videos/*.mp4             pictures of the episodes before the last; cut off if it was killed as one took the place of another
    tmp*/*.mp4, images/      pictures of an episode that was being saved or recorded, or of all that were to be encoded later
    meta/info.json           which may count fewer episodes than there are

Rows are saved before pictures, and pictures in the order of episodes, so that what the table of episodes no longer says is found by counting.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimicctl.conversion.lerobot.assembling import Assembly, Kept
from mimicctl.conversion.lerobot.episode_rows import Rows
from mimicctl.conversion.lerobot.features import COUNTED
from mimicctl.conversion.lerobot.folder import INFO, TASKS, LeRobotFolder
from mimicctl.conversion.lerobot.parquet import numbers, read_table, tasks_of
from mimicctl.conversion.lerobot.reader import decoded, embedded, numeric
from mimicctl.conversion.lerobot.replacing import put_in_place, refuse_stranger
from mimicctl.conversion.lerobot.salvaged_pictures import Gone, Pictures
from mimicctl.conversion.lerobot.sidecar import FOLDER, Sidecar
from mimicctl.conversion.lerobot.statistics import Colours, Stats, of_numbers
from mimicctl.dataset.committed_file import write_lock
from mimicctl.dataset.writer import is_no_space
from mimicctl.errors import RunFailed, UserError
from mimicctl.video import import_av

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Lost:
    """An episode that could not be saved, and why."""

    episode: int
    because: str


@dataclass(frozen=True)
class Salvage:
    """What was saved.

    Attributes:
        saved: number of each episode in the old dataset, in the order that they have in the new one.
        lost: episodes of the old one.
        encoded: episodes whose pictures, or some of them, were encoded from single images or anew; those of the others are as they were.
        notes: what else there is to know.
    """

    folder: Path
    saved: tuple[int, ...]
    frames: int
    lost: tuple[Lost, ...]
    encoded: tuple[int, ...]
    notes: tuple[str, ...]


def salvage(
    input_dir: str | Path, output_dir: str | Path, *, overwrite: bool = False, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Salvage:
    """Make a dataset of every episode that is whole. The damaged one is left as it is.

    An episode is whole if all its rows are there, and of each camera as many pictures, all of which can be decoded. Statistics are computed anew.

    Raises:
        UserError: the input is no LeRobot dataset of version 3.0, what it says of itself is gone, or the output exists. Nothing was written.
        RunFailed: nothing could be saved.
    """
    folder, target = _opened(Path(input_dir).expanduser().absolute()), Path(output_dir).expanduser().absolute()
    if target == folder.root or folder.root in target.parents:
        raise UserError("The saved episodes cannot go into the damaged dataset itself.", where=str(target), do="choose another --output-dir")
    if target.exists() and not overwrite:
        raise UserError("The folder exists already.", where=str(target), do="--overwrite replaces it; or choose another --output-dir")
    refuse_stranger(target)
    if folder.videos:
        import_av()
    work = target.with_name(f".{target.name}.salvage")
    with ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(write_lock(target))
            shutil.rmtree(work, ignore_errors=True)
            stack.callback(shutil.rmtree, work, ignore_errors=True)
            work.mkdir()
            made = _save(folder, work, target, on_progress)
            put_in_place(work / "dataset", target)
        except OSError as error:
            do = "free some space" if is_no_space(error) else "choose another --output-dir"
            raise RunFailed(f"The saved episodes cannot be written: {error.strerror or error}.", where=str(target), do=do) from None
    return made


def _opened(root: Path) -> LeRobotFolder:
    if root.is_file():
        raise UserError("This is a file, and not the folder of a LeRobot dataset.", where=str(root), do="mimicctl dataset repair saves demos of an HDF5 file")
    try:
        return LeRobotFolder(root)
    except UserError as error:
        if (root / "data").is_dir() and "JSON" in error.what:
            do = "put meta/info.json of a dataset that was recorded with the same settings there, and salvage again"
            raise UserError("What the dataset says of itself is lost.", where=str(root / INFO), do=do) from None
        raise


def _save(folder: LeRobotFolder, work: Path, target: Path, on_progress: Callable[[int, int], None]) -> Salvage:
    try:
        rows = Rows(folder.root, folder.features)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"The dataset has features of a kind that is not known here: {error}.", where=str(folder.root / INFO)) from None
    said = _said_of_episodes(folder.root)
    shortened = _shortened(rows, said)
    lengths = {number: episode.length for number, episode in rows.found.items() if number not in shortened}
    cameras = {name: Pictures(folder, name, lengths, said, work / "images") for name in folder.videos}
    lost, notes = {**_unseen(folder, said, rows), **rows.lost, **shortened}, list(rows.notes)
    tasks = _tasks(folder, rows, said, notes)
    saved: list[int] = []
    with _beside(folder.root, notes) as beside, Assembly(work / "dataset", folder.info, tasks, beside) as assembly:
        for i, (number, episode) in enumerate(rows.found.items()):
            on_progress(i, len(rows.found))
            if number in shortened:
                continue
            try:
                table = rows.read(episode)
                clips = {name: pictures.clip(number) for name, pictures in cameras.items()}
                seen = {name: cameras[name].statistics(clip, episode.length) for name, clip in clips.items()}
            except (Gone, ValueError) as error:
                lost[number] = str(error)
                continue
            stats = _statistics(folder, table) | {name: stats for name, stats in seen.items() if stats is not None}
            assembly.append(Kept(number, episode.length, tuple(tasks[task] for task in episode.tasks), clips, stats), table)
            saved.append(number)
        if not saved:
            why = f": {next(iter(lost.values()))}" if lost else ""
            raise RunFailed(f"Nothing can be saved: no episode is whole ({len(lost)} are known of){why}.", where=str(folder.root))
    on_progress(len(rows.found), len(rows.found))
    encoded = {*assembly.encoded, *(number for pictures in cameras.values() for number in pictures.encoded)}
    frames = sum(lengths[number] for number in saved)
    return Salvage(
        target, tuple(saved), frames, tuple(Lost(number, why) for number, why in sorted(lost.items())), tuple(sorted(encoded & {*saved})), tuple(notes)
    )


def _said_of_episodes(root: Path) -> dict[int, dict[str, Any]]:
    """Rows of the tables of episodes that can be read, by number."""
    found: dict[int, dict[str, Any]] = {}
    for path in sorted((root / "meta" / "episodes").glob("*/*.parquet")):
        with suppress(UserError, KeyError):
            found |= {int(row["episode_index"]): row for row in read_table(path, without="stats/").to_pylist()}
    return found


def _unseen(folder: LeRobotFolder, said: Mapping[int, Any], rows: Rows) -> dict[int, str]:
    """Episodes that something tells of, and of which there are no rows."""
    told = {*range(folder.info["total_episodes"]), *said}
    lost = dict.fromkeys(sorted(told - rows.found.keys()), "no data file has rows of it")
    for path in sorted((folder.root / "images").glob("*/episode-*")):
        number = path.name.removeprefix("episode-")
        if number.isdigit() and int(number) not in {*rows.found, *told}:
            pictures = sum(1 for _ in path.glob("frame-*"))
            lost.setdefault(int(number), f"it was being recorded: a camera has {pictures} pictures of it, and its numbers were in memory only")
    return lost


def _shortened(rows: Rows, said: Mapping[int, Mapping[str, Any]]) -> dict[int, str]:
    """Episodes that have not as many rows as the table of episodes says: a row group that is gone may have held the end of one that began before it."""
    expected = {number: row["length"] for number, row in said.items() if row.get("length") is not None}
    return {
        number: f"it has {episode.length} rows, and the table of episodes says {expected[number]}"
        for number, episode in rows.found.items()
        if episode.length != expected.get(number, episode.length)
    }


def _tasks(folder: LeRobotFolder, rows: Rows, said: Mapping[int, Mapping[str, Any]], notes: list[str]) -> list[str]:
    """Instructions by their number."""
    tasks: list[str] = []
    with suppress(UserError, ValueError):
        tasks = tasks_of(read_table(folder.root / TASKS, without="stats/"))
    needed = 1 + max((task for episode in rows.found.values() for task in episode.tasks), default=-1)
    if len(tasks) < needed:
        notes.append(f"{TASKS} is damaged; an instruction that no table of episodes has either is called by its number")
        tasks += [f"task {number}" for number in range(len(tasks), needed)]
        for number, row in said.items():
            if number in rows.found and len(rows.found[number].tasks) == len(row.get("tasks") or ()) == 1:
                tasks[rows.found[number].tasks[0]] = row["tasks"][0]
    return tasks


def _statistics(folder: LeRobotFolder, rows: pa.Table) -> dict[str, Stats]:
    found: dict[str, Stats] = {}
    for name in (*numeric(folder.features), *COUNTED):
        found[name] = of_numbers(numbers(rows[name].combine_chunks(), folder.features[name]["shape"]).reshape(len(rows), -1))
    for name in embedded(folder.features):
        colours = Colours()
        colours.add(decoded(rows[name].to_pylist()))
        found[name] = colours.stats()
    return found


@contextmanager
def _beside(root: Path, notes: list[str]) -> Iterator[Sidecar | None]:
    """What mimicctl keeps beside the dataset, if there is any that can be read."""
    try:
        sidecar = Sidecar(root)
    except UserError as error:
        notes.append(f"the folder {FOLDER} is left out: {error.what} ({error.where})")
        yield None
        return
    with sidecar:
        yield sidecar if len(sidecar) else None
