"""What lies in a folder: datasets, LeRobot datasets that were made of them, training runs, checkpoints, videos, and what says nothing of where it comes from."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimicctl.conversion.lerobot.folder import INFO
from mimicctl.conversion.lerobot.sidecar import Sidecar
from mimicctl.dataset.outline import inventory_of, outlines
from mimicctl.dataset.reader import Dataset, file_sha256, json_object
from mimicctl.errors import UserError
from mimicctl.provenance.checkpoints import SAFETENSORS, demos_in, facts_of
from mimicctl.provenance.lineages import is_untraceable
from mimicctl.schema import LINEAGE_ATTR

DATASETS, CHECKPOINTS, VIDEOS = (".hdf5", ".h5"), (".pth", SAFETENSORS), (".mp4",)
_MAY_HOLD_DATA = {
    *(".pt", ".ckpt", ".onnx", ".pkl", ".npz", ".npy", ".parquet", ".arrow", ".csv"),
    *(".zip", ".tar", ".gz", ".tgz", ".zst", ".xz", ".7z", ".bag", ".db3", ".mcap", ".avi", ".mkv", ".webm", ".gif", ".png", ".jpg"),
    *(".working", ".old", ".partial"),
}
"""Suffixes of files that could have been made from demonstrations, and are not understood here."""
_COMMENT = re.compile(rb'\{"made_by": "mimicctl [^{}\x00-\x1f]*\}')
"""As `convert hdf5-to-mp4` leaves it in its videos."""


@dataclass(frozen=True)
class DemoEntry:
    """A demo where it lies.

    Attributes:
        sha256: by which it is known: as its seal says, or of its arrays where it has none.
        parent: see `Seal`.
    """

    name: str
    sha256: str
    parent: str
    lineage: Mapping[str, Any]
    sealed: bool


@dataclass(frozen=True)
class DatasetFile:
    """A dataset, with the lineage of the file as a whole."""

    path: Path
    lineage: Mapping[str, Any]
    demos: tuple[DemoEntry, ...]


@dataclass(frozen=True)
class CheckpointFile:
    """A file of weights, or of a run to be continued.

    Attributes:
        demos: sha256 of what it was trained on.
        dataset: path of the file that they were read from, at that time.
        run: folder of the run that it lies in; None for one by itself.
    """

    path: Path
    demos: frozenset[str]
    dataset: str
    run: Path | None


@dataclass(frozen=True)
class Run:
    """Folder of a training run.

    Attributes:
        facts: its lineage.json.
        derived: what it holds beside its checkpoints and was made from them or from the data: normalisation, evaluations, films.
    """

    folder: Path
    facts: Mapping[str, Any]
    demos: frozenset[str]
    derived: tuple[Path, ...]


@dataclass(frozen=True)
class VideoFile:
    """A video of a demo.

    Attributes:
        sha256: by which the demo is known; "" if the video does not say.
        file_sha256: of the video, by which demos know the one that their pictures are from.
    """

    path: Path
    sha256: str
    file_sha256: str


@dataclass
class Workspace:
    """What was found below a folder.

    Attributes:
        exports: LeRobot datasets that were converted here, whose demos are called episode_0 and so on; one for each file that episodes were converted from.
        unseen: file to why it cannot be told what it was made from.
    """

    folder: Path
    datasets: list[DatasetFile] = field(default_factory=list)
    exports: list[DatasetFile] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    checkpoints: list[CheckpointFile] = field(default_factory=list)
    videos: list[VideoFile] = field(default_factory=list)
    unseen: dict[Path, str] = field(default_factory=dict)

    def named(self, path: Path) -> str:
        """A path as it is shown."""
        return os.path.relpath(path, self.folder)


def scan(folder: str | Path, on_file: Callable[[Path], None] = lambda path: None) -> Workspace:
    """Look through a folder and all below it. Links are not followed.

    Args:
        on_file: called with each file before it is read.

    Raises:
        UserError: there is no such folder.
    """
    root = Path(folder).expanduser().absolute()
    if not root.is_dir():
        raise UserError("There is no such folder.", where=str(root), do="give the folder in which datasets and runs lie as --workspace")
    found = Workspace(root)
    paths = sorted(_files(found))
    exports = [path.parents[1] for path in paths if path.parts[-2:] == ("meta", "info.json") and _is_lerobot(path)]
    for path in paths:
        if path.name == "lineage.json" and ((path.parent / "config.json").is_file() or (path.parent / "lerobot").is_dir()):
            _take_run(found, path)
    for folder in exports:
        on_file(folder)
        _take_export(found, folder)
    for path in paths:
        if any(folder in path.parents for folder in exports):
            continue
        on_file(path)
        run = next((run for run in found.runs if run.folder in path.parents), None)
        if path.suffix in DATASETS:
            _take_dataset(found, path)
        elif path.suffix in CHECKPOINTS:
            _take_checkpoint(found, path, run)
        elif run is not None:
            continue  # what else a run holds is known by its place
        elif path.suffix in VIDEOS:
            found.videos.append(_video(path))
        elif path.suffix.lower() in _MAY_HOLD_DATA:
            found.unseen[path] = f"{path.suffix} files do not say what they were made from"
    shown = {str(made.get("video_sha256")) for file in found.datasets for demo in file.demos if isinstance(made := demo.lineage.get("augmented"), dict)}
    for video in found.videos:
        if not video.sha256 and video.file_sha256 not in shown:
            found.unseen[video.path] = "the video does not say which demonstration it shows"
    return found


def read_dataset(path: Path) -> DatasetFile:
    """
    Raises:
        UserError: it cannot be read.
    """
    with Dataset(path, need_demos=False) as dataset:
        entries = []
        for name, outline in outlines(dataset, inventory_of(dataset.path)).items():
            seal = dataset.seals.get(name)
            sha256, parent = (seal.content, seal.parent) if seal else (dataset.demo_sha256(name), "")
            entries.append(DemoEntry(name, sha256, parent, outline.lineage, seal is not None))
        return DatasetFile(dataset.path, dataset.lineage, tuple(entries))


def _is_lerobot(info: Path) -> bool:
    try:
        facts = json.loads(info.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(facts, dict) and "codebase_version" in facts and isinstance(facts.get("total_episodes"), int)


def _take_export(found: Workspace, folder: Path) -> None:
    episodes = json.loads((folder / INFO).read_text())["total_episodes"]
    try:
        with Sidecar(folder) as sidecar:
            lineages = [json_object(source["data"].attrs.get(LINEAGE_ATTR)) for source in sidecar.sources]
            entries: list[list[DemoEntry]] = [[] for _ in lineages]
            blind = []
            for number in range(episodes):
                origin = sidecar.origin(number)
                if origin is None or not origin.sha256:
                    blind.append(f"episode_{number}")
                    continue
                lineage = json_object(sidecar.demo(number).attrs.get(LINEAGE_ATTR))
                entries[origin.source].append(DemoEntry(f"episode_{number}", origin.sha256, origin.parent, lineage, sealed=False))
    except UserError as error:
        found.unseen[folder] = error.what
        return
    except (OSError, RuntimeError, KeyError):  # h5py raises any of them
        found.unseen[folder] = "What lies beside the LeRobot dataset is damaged."
        return
    found.exports += [DatasetFile(folder, lineage, tuple(demos)) for lineage, demos in zip(lineages, entries, strict=True)]
    if blind:
        found.unseen[folder] = f"{_some(blind)} of the LeRobot dataset, of which nothing says what demonstration it is"


def _files(found: Workspace) -> Iterator[Path]:
    def unreadable(path: Path) -> None:
        found.unseen[path] = "no permission to read it"

    for folder, folders, names in os.walk(found.folder, onerror=lambda error: unreadable(Path(error.filename))):
        folders[:] = sorted(name for name in folders if name not in (".git", "__pycache__"))
        for name in [*folders, *names]:
            path = Path(folder, name)
            if path.is_symlink() and not path.resolve().is_relative_to(found.folder):
                found.unseen[path] = f"a link to {path.resolve()}, which is outside of the folder"
            elif path.is_file() and not path.is_symlink():
                if os.access(path, os.R_OK):
                    yield path
                else:
                    unreadable(path)


def _take_dataset(found: Workspace, path: Path) -> None:
    try:
        taken = read_dataset(path)
    except UserError as error:
        found.unseen[path] = error.what
        return
    except (OSError, RuntimeError):  # h5py raises either
        found.unseen[path] = "The file is damaged."
        return
    found.datasets.append(taken)
    blind = [demo.name for demo in taken.demos if is_untraceable(demo.lineage, demo.parent)]
    silent = [demo.name for demo in taken.demos if not demo.lineage]
    if blind:
        found.unseen[path] = f"{_some(blind)} made from others that are known by name only"
    elif silent:
        found.unseen[path] = f"{_some(silent)} without lineage: who recorded them, or what they were made from, nobody noted (mimicctl provenance set)"


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _take_run(found: Workspace, path: Path) -> None:
    try:
        facts = json.loads(path.read_text())
    except (OSError, ValueError):
        facts = {}
    folder, demos = path.parent, demos_in(facts) if isinstance(facts, dict) else None
    if demos is None:
        found.unseen[folder] = "the run does not say which demonstrations it was trained on"
    patterns = ("logs/normalization_params.txt", "evaluation.*", "videos/**/*.mp4", "robust/*")
    derived = tuple(sorted(p for pattern in patterns for p in folder.glob(pattern) if p.is_file()))
    found.runs.append(Run(folder, facts if isinstance(facts, dict) else {}, demos or frozenset(), derived))


def _take_checkpoint(found: Workspace, path: Path, run: Run | None) -> None:
    facts = facts_of(path)
    demos = demos_in(facts)
    if demos is None and run is None:
        found.unseen[path] = "the checkpoint does not say which demonstrations it was trained on"
    # What is to be continued says nothing of its own; its run does.
    trained_on = (demos or frozenset()) | (run.demos if run else frozenset())
    dataset = (facts or (run.facts if run else {})).get("dataset")
    file = str(dataset.get("file", "")) if isinstance(dataset, dict) else ""
    found.checkpoints.append(CheckpointFile(path, trained_on, file, run.folder if run else None))


def _video(path: Path) -> VideoFile:
    """By what its writer left in it, which lies there as plain text."""
    said: Mapping[str, Any] = {}
    with open(path, "rb") as file, contextlib.suppress(ValueError), mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if match := _COMMENT.search(content):
            said = json.loads(match.group())
    return VideoFile(path, str(said.get("sha256", "")), file_sha256(path))
