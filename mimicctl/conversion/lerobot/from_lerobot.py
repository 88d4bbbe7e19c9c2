"""A LeRobot dataset to HDF5: what was converted here comes back as it was (pictures within what the video kept), others with what they have."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import mimicctl
from mimicctl.conversion.lerobot.features import ACTION, IMAGES
from mimicctl.conversion.lerobot.folder import EPISODES, INFO, EpisodeEntry, LeRobotFolder, picture_size
from mimicctl.conversion.lerobot.reader import Clips, left_out, read_episodes
from mimicctl.conversion.lerobot.sidecar import Origin, Sidecar, action_digest, copy_without
from mimicctl.dataset.frames import Frames, compressed, write_frames
from mimicctl.dataset.reader import Dataset, json_object, whole_number
from mimicctl.dataset.writer import DatasetWriter, checked_output, partial_path, refuse_existing, write_array
from mimicctl.errors import RunFailed, UserError, listed
from mimicctl.schema import ATTEMPTS_PATH, FORMAT_VERSION, LINEAGE_ATTR
from mimicctl.tasks import find_task
from mimicctl.video import import_av

_OBSERVATION = "observation."
_ELSEWHERE = {ACTION: "actions", "next.reward": "rewards", "next.done": "dones"}
"""Features that are no observations; others go by their own name."""


@dataclass(frozen=True)
class Imported:
    """What a conversion made.

    Attributes:
        without: episodes of which the sidecar has nothing, or something else: they have what LeRobot keeps.
        left_out: features that there is no place for.
        resumed_at: demos that an earlier run had made.
    """

    path: Path
    demos: int
    without: int
    left_out: tuple[str, ...]
    resumed_at: int


def from_lerobot(
    input_dir: str | Path,
    output_file: str | Path,
    *,
    task_id: str = "",
    resume: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Imported:
    """Write each episode as a demo, one in memory at a time.

    Args:
        task_id: what the file is to say it was recorded on, where the dataset does not know.

    Raises:
        UserError: it is no dataset of version 3.0, files of it are damaged, all of them listed, or the output exists. Nothing was written.
        RunFailed: an episode could not be read. `resume` continues after the last good one.
    """
    path = checked_output(output_file)
    if not (resume or overwrite):
        refuse_existing(path)
    folder = LeRobotFolder(input_dir)
    if folder.videos:
        import_av()
    if not folder.episodes:
        raise UserError("The dataset has no episodes.", where=str(folder.root), do="record some first")
    if problems := folder.damage():
        do = f"of a LeRobot session that was killed, mimicctl dataset salvage {folder.root} saves what is whole; others are copied again, or made again"
        raise UserError(f"{len(problems)} files of the dataset are damaged; nothing was written.", where=listed(problems), do=do)
    if ACTION not in folder.features:
        raise UserError("The dataset has no feature action, and a demonstration needs its actions.", where=str(folder.root / INFO))
    cameras = {name: Clips(size, folder.fps) for name, size in _sizes(folder)}
    with ExitStack() as stack:
        sidecar = stack.enter_context(Sidecar(folder.root))
        plan = _plan(folder, sidecar, task_id)
        collected = partial_path(path)
        if overwrite or not resume:
            collected.unlink(missing_ok=True)
        elif (begun := path if path.exists() else collected).exists():
            _check_continued(begun, plan)
            begun.rename(collected)
        writer = stack.enter_context(
            DatasetWriter(collected, task_id=plan.task_id, lineage=plan.lineage, env_args=plan.env_args, format_version=plan.format_version)
        )
        resumed_at = len(writer)
        pool = stack.enter_context(ThreadPoolExecutor(max(1, len(cameras))))
        without = _write(folder, sidecar, plan, writer, cameras, pool, on_progress)
        _write_extras(sidecar, plan, writer)
        writer.finish(path)
    return Imported(path, len(folder.episodes), without, tuple(left_out(folder.features)), resumed_at)


# What is written ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """What the file says as a whole.

    Attributes:
        names: of the demos, by episode.
        origins: of the episodes, as far as it is known.
        masks: filter key to names of demos.
    """

    task_id: str
    env_args: dict[str, Any]
    format_version: int
    lineage: dict[str, Any]
    names: tuple[str, ...]
    origins: tuple[Origin | None, ...]
    masks: dict[str, tuple[str, ...]]


def _plan(folder: LeRobotFolder, sidecar: Sidecar, task_id: str) -> _Plan:
    origins = sidecar.origins(len(folder.episodes))
    names = [origin.demo if origin else "" for origin in origins]
    if max(Counter(names).values()) > 1 or "" in names:
        names = [f"demo_{number}" for number in range(len(names))]
    sources = [_said(file) for file in sidecar.sources]
    env_args = sources[0]["env_args"] if sources else {"sim_args": {"dt": 1 / folder.fps, "decimation": 1}}
    named = find_task(task_id).task_id if task_id else ""
    if task_id and sources and env_args.get("env_name") not in ("", named):
        what = f"The dataset was recorded on {env_args.get('env_name')}, not on {named}."
        raise UserError(what, where=str(folder.root), do="leave out --task")
    masks: dict[str, list[str]] = {}
    for name, origin in zip(names, origins, strict=True):
        if origin:
            for key, members in sources[origin.source]["masks"].items():
                if origin.demo in members:
                    masks.setdefault(key, []).append(name)
    lineage = {
        "made_by": "mimicctl convert lerobot-to-hdf5",
        "version": mimicctl.__version__,
        "task": env_args.get("env_name", "") or named,
        "inputs": [{"file": folder.root.name, "lerobot_sha256": _digest(folder), "lineage": source["lineage"]} for source in sources or [{"lineage": {}}]],
    }
    version = sources[0]["format_version"] if sources else FORMAT_VERSION
    return _Plan(named, env_args, version, lineage, tuple(names), tuple(origins), {key: tuple(members) for key, members in masks.items()})


def _said(file: h5py.File) -> dict[str, Any]:
    """What a source file says beside its demos."""
    attributes = file["data"].attrs
    masks = {key: {name.decode() for name in value[:]} for key, value in file.get("mask", {}).items()}
    found = {"env_args": json_object(attributes.get("env_args")), "lineage": json_object(attributes.get(LINEAGE_ATTR)), "masks": masks}
    return found | {"format_version": whole_number(file.attrs.get("format_version", 0)) or 0}


def _digest(folder: LeRobotFolder) -> str:
    """Of what names every episode: a dataset that was changed or continued has another."""
    digest = hashlib.sha256()
    for path in [folder.root / INFO, *sorted((folder.root / EPISODES.split("/chunk")[0]).glob("*/*.parquet"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _check_continued(path: Path, plan: _Plan) -> None:
    with Dataset(path, need_demos=False) as begun:
        if begun.lineage.get("inputs") != plan.lineage["inputs"]:
            raise UserError("The file was made from another dataset, or from this one before it changed.", where=str(path), do="--overwrite makes it anew")


def _write(
    folder: LeRobotFolder,
    sidecar: Sidecar,
    plan: _Plan,
    writer: DatasetWriter,
    cameras: Mapping[str, Clips],
    pool: ThreadPoolExecutor,
    on_progress: Callable[[int, int], None],
) -> int:
    """All episodes that are not there yet. Returns of how many the sidecar has nothing that fits."""
    parts, total = sidecar.features(), len(folder.episodes)
    without = sum(origin is None for origin in plan.origins[: len(writer)])
    for entry, columns in read_episodes(folder, len(writer)):
        on_progress(entry.number, total)
        origin = plan.origins[entry.number]
        fits = origin is not None and origin.action_sha256 == action_digest(columns[ACTION])
        without += not fits
        # Decoded and compressed a camera a thread.
        pictures = dict(zip(cameras, pool.map(partial(_frames, entry, cameras), cameras), strict=True))
        fill = partial(_fill, folder, entry, columns, pictures, parts, sidecar.demo(entry.number) if fits else None, origin if fits else None)
        writer.append(fill, entry.length, name=plan.names[entry.number], parent=origin.sha256 if fits else "")
    on_progress(total, total)
    return without


def _sizes(folder: LeRobotFolder) -> Iterator[tuple[str, tuple[int, int]]]:
    """Features that are videos, with (width, height).

    Raises:
        UserError: one holds no colours.
    """
    for name in folder.videos:
        feature, where = folder.features[name], str(folder.root / INFO)
        if (feature.get("info") or {}).get("is_depth_map"):
            raise UserError(f"{name} is a video of depth, which is not read yet.", where=where, do="remove the feature with lerobot-edit-dataset")
        shape = list(feature["shape"])
        if len(shape) != 3:
            raise UserError(f"{name} has the shape {shape}, which is not that of pictures.", where=where)
        height, width = picture_size(shape)
        yield name, (width, height)


def _frames(entry: EpisodeEntry, cameras: Mapping[str, Clips], name: str) -> Frames:
    chunks, shape = [], (0,)
    for frame in cameras[name].read(entry.clips[name], entry.length):
        shape = frame.shape
        chunks.append(compressed(frame))
    return Frames(shape, np.dtype(np.uint8), tuple(chunks))


def _fill(
    folder: LeRobotFolder,
    entry: EpisodeEntry,
    columns: Mapping[str, np.ndarray],
    pictures: Mapping[str, Frames],
    parts: Mapping[str, Sequence[Sequence[Any]]],
    rest: h5py.Group | None,
    origin: Origin | None,
    target: h5py.Group,
) -> None:
    if rest is not None:
        try:
            copy_without(rest, target, ())
        except RuntimeError:
            where = f"episode {entry.number} in {rest.file.filename}"
            raise RunFailed("What lies beside the dataset cannot be copied: the file is damaged.", where=where, do="copy the dataset again") from None
    arrays: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        if name == ACTION and origin:
            arrays[origin.action] = _matrix(values)
        elif origin and name in parts:
            arrays |= _taken_apart(_matrix(values), parts[name])
        else:
            arrays[_place(name)] = _matrix(values) if name == ACTION else values
    for path, array in arrays.items():
        # What is not float32 is in the sidecar as it was.
        if path not in target:
            write_array(target, path, array)
    for name, frames in pictures.items():
        write_frames(target, f"obs/{name.removeprefix(IMAGES) if name.startswith(IMAGES) else name.removeprefix(_OBSERVATION)}", frames)
    if rest is None:
        target.attrs["num_samples"] = entry.length
        said = {"dataset": folder.root.name, "episode": entry.number, "tasks": list(entry.tasks), "robot_type": folder.info.get("robot_type")}
        if "next.success" in columns:
            target.attrs["success"] = bool(columns["next.success"][-1])
        target.attrs[LINEAGE_ATTR] = json.dumps({"lerobot": said})


def _matrix(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)


def _taken_apart(values: np.ndarray, parts: Sequence[Sequence[Any]]) -> dict[str, np.ndarray]:
    """The observations that a feature was put together from."""
    found, start = {}, 0
    for key, shape in parts:
        width = int(np.prod(shape))
        found[f"obs/{key}"] = values[:, start : start + width].reshape(len(values), *shape)
        start += width
    return found


def _place(name: str) -> str:
    """Path of a feature in a demo."""
    if name.startswith(_OBSERVATION):
        return f"obs/{name.removeprefix(IMAGES).removeprefix(_OBSERVATION)}"
    return _ELSEWHERE.get(name, name)


def _write_extras(sidecar: Sidecar, plan: _Plan, writer: DatasetWriter) -> None:
    """Masks, and the log of attempts of the one file that there was."""
    logs = [file[ATTEMPTS_PATH][:] for file in sidecar.sources if ATTEMPTS_PATH in file]
    with Dataset(writer.path, need_demos=False) as written:
        wanted = len(sidecar.sources) == 1 and logs and not written.attempts()
    if wanted:
        writer.log_attempts([line.decode() for line in logs[0]])
    writer.describe(plan.lineage, plan.masks)
