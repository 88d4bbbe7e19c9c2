"""Augmented videos back to a dataset: for each video a copy of its demo in which one camera shows the video."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import mimicctl
from mimicctl.conversion.names import in_natural_order, parse_video_name
from mimicctl.dataset.reader import Dataset, file_sha256
from mimicctl.dataset.writer import DatasetWriter, checked_output, copy_demo, partial_path, refuse_existing
from mimicctl.errors import RunFailed, UserError, listed
from mimicctl.schema import LINEAGE_ATTR
from mimicctl.video import import_av, probe, read_frames

_GZIP_LEVEL = 2
_BY_PRODUCT = re.compile(r"(.*_)?(shaded_segmentation|segmentation|depth|normals)|.*_(control|mask)_(edge|vis|depth|seg)")
"""Names of control videos: ours, and those that Cosmos Transfer 2.5 leaves beside its result."""


@dataclass(frozen=True)
class Pair:
    """A video, the demo that it shows, and the size (width, height) of that demo's pictures."""

    video: Path
    demo: str
    frames: int
    size: tuple[int, int]


@dataclass(frozen=True)
class Augmented:
    """What a conversion made.

    Attributes:
        without: demos of the input that no video shows; they are not in the output.
        resumed_at: demos that an earlier run had made.
    """

    path: Path
    pairs: tuple[Pair, ...]
    without: tuple[str, ...]
    resumed_at: int


def read_videos(
    input_file: str | Path,
    videos_dir: str | Path,
    output_file: str | Path,
    *,
    camera: str = "table_cam",
    workers: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Augmented:
    """Write one demo for each `demo_<number>_*.mp4`, in natural order, with everything of its demo but the camera's pictures.

    Args:
        camera: key of `obs` that the videos show.
        workers: videos decoded at once; 0: one a core.

    Raises:
        UserError: videos and demos do not fit together, all of it listed, or the output exists. Nothing was written.
        RunFailed: a video could not be decoded whole. `resume` continues after the last good one.
    """
    import_av()
    path = checked_output(output_file)
    if not (resume or overwrite):
        refuse_existing(path)
    with ExitStack() as stack:
        dataset = stack.enter_context(Dataset(input_file))
        if path.exists() and path.samefile(dataset.path):
            raise UserError("The output is the input.", where=str(path), do="choose another --output-file")
        pairs = pair_videos(dataset, Path(videos_dir).expanduser().absolute(), camera)
        shown = {pair.demo for pair in pairs}
        without = tuple(name for name in dataset.demos if name not in shown)
        collected = partial_path(path)
        if path.exists() and not overwrite:
            _check_continued(path, pairs, camera, dataset, whole=True)
            return Augmented(path, pairs, without, len(pairs))
        if not resume:
            collected.unlink(missing_ok=True)
        elif collected.exists():
            _check_continued(collected, pairs, camera, dataset, whole=False)
        # The file is large: its hash is made beside the work.
        digest = _pool(stack, 1).submit(file_sha256, dataset.path)
        writer = stack.enter_context(_writer(collected, dataset))
        resumed_at = len(writer)
        _write(dataset, pairs, camera, writer, _pool(stack, workers or os.cpu_count() or 1), on_progress)
        writer.describe(_lineage(dataset, camera, digest.result()), _masks(dataset, pairs))
        writer.finish(path)
    return Augmented(path, pairs, without, resumed_at)


def _pool(stack: ExitStack, workers: int) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(workers)
    stack.callback(pool.shutdown, cancel_futures=True)
    return pool


def _writer(path: Path, dataset: Dataset) -> DatasetWriter:
    return DatasetWriter(path, task_id=dataset.task_id, lineage={}, env_args=dataset.env_args, format_version=dataset.format_version)


# Which video shows which demo ---------------------------------------------------------------------------


def pair_videos(dataset: Dataset, folder: Path, camera: str) -> tuple[Pair, ...]:
    """All videos of a folder in natural order, each with its demo.

    Raises:
        UserError: as `read_videos`.
    """
    if not folder.is_dir():
        raise UserError("There is no such folder.", where=str(folder), do="name the folder of the augmented videos with --videos-dir")
    videos = in_natural_order(path for path in folder.iterdir() if path.suffix.lower() == ".mp4" and not path.name.startswith("."))
    if not videos:
        raise UserError("There are no videos in this folder.", where=str(folder), do="name the folder of the augmented videos with --videos-dir")
    found = [_pair(dataset, video, camera) for video in videos]
    if problems := [problem for problem in found if isinstance(problem, str)]:
        what = f"{len(problems)} of {len(videos)} videos do not fit the dataset; nothing was written."
        raise UserError(what, where=listed(problems), do="keep the augmented videos in a folder of their own, named demo_<number>_*.mp4")
    return tuple(pair for pair in found if isinstance(pair, Pair))


def _pair(dataset: Dataset, video: Path, camera: str) -> Pair | str:
    """The pair, or what is wrong with it."""
    named = parse_video_name(video)
    if named is None:
        return f"{video}: the name does not begin with demo_<number>_"
    demo, rest = f"demo_{named[0]}", named[1]
    if demo not in dataset.demos:
        return f"{video}: there is no {demo} in {dataset.path.name}"
    group = dataset.group(demo)
    pictures = group.get(f"obs/{camera}")
    if not isinstance(pictures, h5py.Dataset) or pictures.ndim != 4:
        return f"{video}: {demo} of {dataset.path.name} has no pictures obs/{camera}"
    if rest != camera and (rest in group.get("obs", ()) or _BY_PRODUCT.fullmatch(rest)):
        return f"{video}: shows {rest}, not {camera}"
    try:
        facts = probe(video)
    except UserError as error:
        return f"{video}: {error.what[0].lower()}{error.what[1:-1]}"
    steps = dataset.length(demo)
    if facts.frames != steps:
        return f"{video}: {facts.frames} frames, and {demo} has {steps} steps"
    return Pair(video, demo, steps, (pictures.shape[2], pictures.shape[1]))


# Writing ------------------------------------------------------------------------------------------------


def _write(
    dataset: Dataset, pairs: Sequence[Pair], camera: str, writer: DatasetWriter, pool: ThreadPoolExecutor, on_progress: Callable[[int, int], None]
) -> None:
    todo = pairs[len(writer) :]
    for pair, chunks in zip(todo, _in_order(pool, _compressed_frames, todo), strict=True):
        on_progress(len(writer), len(pairs))
        writer.append(partial(_fill, dataset, pair, camera, chunks), pair.frames, parent=dataset.demo_sha256(pair.demo))
    on_progress(len(pairs), len(pairs))


def _in_order(pool: ThreadPoolExecutor, work: Callable[[Pair], Any], items: Sequence[Pair]) -> Iterator[Any]:
    """Results in the order of the items, with no more of them in memory than threads work on, and one."""
    waiting = deque(pool.submit(work, item) for item in items[: pool._max_workers + 1])
    for item in [*items[len(waiting) :], *[None] * len(waiting)]:
        result = waiting.popleft().result()
        if item is not None:
            waiting.append(pool.submit(work, item))
        yield result


def _compressed_frames(pair: Pair) -> list[bytes]:
    """A demo's pictures as they are stored: compressed here, in threads, where HDF5 would do it one at a time."""
    chunks = [zlib.compress(frame, _GZIP_LEVEL) for frame in read_frames(pair.video, pair.size)]
    if len(chunks) != pair.frames:
        what = f"The video breaks off: {len(chunks)} of {pair.frames} frames can be decoded."
        raise RunFailed(what, where=str(pair.video), do="make it again; --resume continues")
    return chunks


def _fill(dataset: Dataset, pair: Pair, camera: str, chunks: Sequence[bytes], target: h5py.Group) -> None:
    try:
        copy_demo(dataset.group(pair.demo), target, leave_out=(camera,))
    except RuntimeError:
        raise RunFailed("The demo cannot be copied: the file is damaged.", where=f"{pair.demo} of {dataset.path}", do="mimicctl dataset check") from None
    obs, shape = target["obs"], (pair.size[1], pair.size[0], 3)
    pictures = obs.create_dataset(camera, shape=(pair.frames, *shape), dtype=np.uint8, chunks=(1, *shape), compression="gzip", compression_opts=_GZIP_LEVEL)
    for i, chunk in enumerate(chunks):
        pictures.id.write_direct_chunk((i, 0, 0, 0), chunk)
    target.attrs[LINEAGE_ATTR] = json.dumps(_demo_lineage(dataset, pair, camera))


# Lineage ------------------------------------------------------------------------------------------------


def _demo_lineage(dataset: Dataset, pair: Pair, camera: str) -> dict[str, Any]:
    actions = np.ascontiguousarray(dataset.group(pair.demo)["actions"][()])
    return {
        "parent": {"demo": pair.demo, "actions_sha256": hashlib.sha256(actions.data).hexdigest(), **dataset.demo_lineage(pair.demo)},
        "augmented": {"camera": camera, "video": pair.video.name, "video_sha256": file_sha256(pair.video)},
    }


def _lineage(dataset: Dataset, camera: str, digest: str) -> dict[str, Any]:
    return {
        "made_by": "mimicctl convert mp4-to-hdf5",
        "version": mimicctl.__version__,
        "task": dataset.task_id,
        "camera": camera,
        "inputs": [{"file": dataset.path.name, "file_sha256": digest, "lineage": dataset.lineage}],
    }


def _masks(dataset: Dataset, pairs: Sequence[Pair]) -> dict[str, tuple[str, ...]]:
    """A demo is for training or validation as the one it was made from: they share the motion."""
    return {key: tuple(f"demo_{i}" for i, pair in enumerate(pairs) if pair.demo in names) for key, names in dataset.masks.items()}


def _check_continued(path: Path, pairs: Sequence[Pair], camera: str, dataset: Dataset, *, whole: bool) -> None:
    """UserError unless the demos of `path` are those that this conversion would make; or the first ones, if it need not be `whole`."""
    with Dataset(path, need_demos=False) as begun:
        fits = len(begun) == len(pairs) if whole else len(begun) <= len(pairs)
        for name, pair in zip(begun.demos, pairs, strict=False):
            fits = fits and begun.demo_lineage(name) == _demo_lineage(dataset, pair, camera)
        if not fits:
            raise UserError("The file was made from other demos or videos.", where=str(path), do="--overwrite makes it anew")
