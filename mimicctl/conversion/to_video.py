"""Camera arrays of a dataset to videos, one for each demo and key: planned whole, then made several at a time."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

import mimicctl
from mimicctl.conversion.encodings import DEFAULT_KEYS, encoder, sources
from mimicctl.conversion.names import video_name
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.writer import is_no_space
from mimicctl.errors import RunFailed, UserError, listed
from mimicctl.video import VideoWriter, hidden_partial, import_av, probe

_FRAMES_AT_ONCE = 16
_POLL = 0.25


@dataclass(frozen=True)
class VideoFormat:
    """Width and height in pixels, frames per second."""

    width: int = 1280
    height: int = 704
    rate: int = 30


@dataclass(frozen=True)
class VideoJob:
    """A video to make: one key of one demo."""

    demo: str
    key: str
    path: Path
    frames: int
    comment: str


@dataclass(frozen=True)
class VideoPlan:
    """What is to be made.

    Attributes:
        jobs: videos that are not there yet.
        kept: videos that an earlier run made.
        absent: of the usual keys, those that the dataset does not have.
    """

    jobs: tuple[VideoJob, ...]
    kept: tuple[VideoJob, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True)
class MadeVideos:
    """What a conversion made."""

    folder: Path
    plan: VideoPlan

    @property
    def size(self) -> int:
        """Bytes of all videos of the plan."""
        return sum(job.path.stat().st_size for job in (*self.plan.jobs, *self.plan.kept))


def make_videos(
    input_file: str | Path,
    output_dir: str | Path,
    *,
    keys: Sequence[str] = (),
    demo: int | None = None,
    form: VideoFormat = VideoFormat(),
    workers: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[int, int, int], None] = lambda videos, frames, of: None,
) -> MadeVideos:
    """Write `<demo>_<key>.mp4` for each demo and key. Memory does not grow with the number or the length of the demos.

    Args:
        keys: keys of `obs`, and `..._shaded_segmentation`; none: the usual ones that the dataset has.
        demo: number of the only demo to convert.
        workers: videos at once; 0: one a core.
        on_progress: called with videos done, frames done and frames in all.

    Raises:
        UserError: something does not fit, all of it listed, or there are videos already. Nothing was written.
        RunFailed: a video could not be made. The finished ones stay.
    """
    import_av()
    folder = Path(output_dir).expanduser().absolute()
    with Dataset(input_file) as dataset:
        plan = plan_videos(dataset, folder, keys=keys, demo=demo, form=form, resume=resume, overwrite=overwrite)
        _make_folder(folder)
        _run(dataset, plan, form, workers or os.cpu_count() or 1, on_progress)
    return MadeVideos(folder, plan)


def plan_videos(dataset: Dataset, folder: Path, *, keys: Sequence[str], demo: int | None, form: VideoFormat, resume: bool, overwrite: bool) -> VideoPlan:
    """Compare what is wanted with what is there.

    Raises:
        UserError: as `make_videos`.
    """
    if form.width % 2 or form.height % 2:
        raise UserError(f"A video of {form.width} x {form.height} cannot be made.", where="video size", do="give an even width and height")
    demos = dataset.demos if demo is None else (f"demo_{demo}",)
    dataset.group(demos[0])
    wanted = tuple(dict.fromkeys(keys)) or tuple(k for k in DEFAULT_KEYS if all(f"obs/{s}" in dataset.group(demos[0]) for s in sources(k)))
    if not wanted:
        raise UserError(
            "The dataset has none of the usual camera keys.", where=str(dataset.path), do=f"name keys with --input-keys; {_cameras(dataset, demos[0])}"
        )
    problems = [f"{name} of {dataset.path}: {problem}" for name in demos for key in wanted for problem in _unfit(dataset.group(name), key)]
    if problems:
        raise UserError(
            "Not every demo can be converted; nothing was written.", where=listed(problems), do=f"--input-keys with fewer keys; {_cameras(dataset, demos[0])}"
        )
    jobs = [_job(dataset, name, key, folder) for name in demos for key in wanted]
    present = [job for job in jobs if job.path.exists()]
    if present and not (resume or overwrite):
        do = "--resume makes those that are missing, --overwrite replaces them"
        raise UserError(f"{len(present)} of {len(jobs)} videos exist already.", where=str(present[0].path), do=do)
    kept = tuple(present) if resume and not overwrite else ()
    if strangers := [f"{job.path}: {why}" for job in kept if (why := _strange(job, form))]:
        raise UserError(
            "Videos are there that this conversion would not make.", where=listed(strangers), do="--overwrite replaces them, or choose another --output-dir"
        )
    absent = () if keys else tuple(key for key in DEFAULT_KEYS if key not in wanted)
    return VideoPlan(tuple(job for job in jobs if job not in kept), kept, absent)


def _cameras(dataset: Dataset, demo: str) -> str:
    found = [key for key, item in dataset.group(demo).get("obs", {}).items() if isinstance(item, h5py.Dataset) and item.ndim >= 3]
    return f"it has {', '.join(found)}" if found else "it has no pictures at all (record or generate with cameras)"


def _unfit(demo: h5py.Group, key: str) -> Iterator[str]:
    """What keeps a key of a demo from being converted."""
    steps = len(demo["actions"]) if "actions" in demo else 0
    arrays = []
    for source in sources(key):
        array = demo.get(f"obs/{source}")
        if not isinstance(array, h5py.Dataset):
            yield f"no obs/{source}" + (f", which {key} is made of" if source != key else "")
        elif array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[-1] not in (1, 3, 4)) or array.dtype.kind not in "uif":
            yield f"obs/{source} is {array.shape} {array.dtype}, not pictures"
        elif len(array) != steps or not steps:
            yield f"obs/{source} has {len(array)} frames, and there are {steps} steps"
        else:
            arrays.append(array)
    if len(arrays) != len(sources(key)):
        return
    if len({array.shape[1:3] for array in arrays}) > 1:
        yield f"{' and '.join(f'obs/{s}' for s in sources(key))} differ in size"
        return
    try:
        encoder(key)(*(array[:1] for array in arrays))
    except UserError as error:
        yield f"obs/{key}: {error.what}"
    except (OSError, RuntimeError):  # h5py raises either
        yield f"obs/{key} cannot be read: the file is damaged"


def _job(dataset: Dataset, demo: str, key: str, folder: Path) -> VideoJob:
    actions = np.ascontiguousarray(dataset.group(demo)["actions"][()])
    comment = {
        "made_by": "mimicctl convert hdf5-to-mp4",
        "version": mimicctl.__version__,
        "dataset": dataset.path.name,
        "demo": demo,
        "sha256": dataset.demo_sha256(demo),
        "key": key,
        "actions_sha256": hashlib.sha256(actions.data).hexdigest(),
    }
    return VideoJob(demo, key, folder / video_name(demo, key), len(actions), json.dumps(comment))


def _strange(job: VideoJob, form: VideoFormat) -> str:
    """Why a video that is there is not the one that the job would make; "" if it is."""
    try:
        facts = probe(job.path)
        said, wanted = json.loads(facts.comment or "{}"), json.loads(job.comment)
    except (UserError, ValueError):
        return "not made by mimicctl"
    if any(said.get(what) != wanted[what] for what in ("demo", "key", "actions_sha256")):
        return f"not of {job.demo} of this dataset"
    if (facts.width, facts.height, round(facts.rate)) != (form.width, form.height, form.rate):
        return f"{facts.width} x {facts.height} at {facts.rate:g} frames per second"
    return "" if facts.frames == job.frames else f"{facts.frames} frames, not {job.frames}"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder: {error.strerror}.", where=str(folder), do="choose another --output-dir") from None


def _run(dataset: Dataset, plan: VideoPlan, form: VideoFormat, workers: int, on_progress: Callable[[int, int, int], None]) -> None:
    """Threads, not processes: FFmpeg does the work, and needs no lock of Python's for it."""
    counter, stop = _Counter(), threading.Event()
    total = sum(job.frames for job in plan.jobs)
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(_make, dataset, job, form, counter, stop) for job in plan.jobs]
        try:
            _watch(futures, lambda done: on_progress(done, counter.value, total))
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    on_progress(len(plan.jobs), total, total)


class _Counter:
    """Frames done, counted by several threads."""

    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self.value += count


def _watch(futures: Sequence[Future], on_progress: Callable[[int], None]) -> None:
    """Wait for all; the first that fails ends it."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=_POLL, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        on_progress(len(futures) - len(pending))


def _make(dataset: Dataset, job: VideoJob, form: VideoFormat, counter: _Counter, stop: threading.Event) -> None:
    where = f"{job.key} of {job.demo}, {dataset.path}"
    try:
        hidden_partial(job.path).unlink(missing_ok=True)
        with VideoWriter(job.path, (form.width, form.height), form.rate, job.comment) as writer:
            for pictures in _pictures(dataset.group(job.demo), job):
                for picture in pictures:
                    if stop.is_set():
                        raise InterruptedError
                    writer.write(picture)
                counter.add(len(pictures))
        if (found := probe(job.path).frames) != job.frames:
            raise RunFailed(f"The video has {found} frames, and the demo {job.frames} steps.", where=where, do="--overwrite makes it again")
    except (InterruptedError, RunFailed):
        raise
    except UserError as error:
        raise RunFailed(error.what, where=where, do=error.do) from None
    except OSError as error:
        do = "free some space; --resume continues" if is_no_space(error) else "mimicctl dataset check tells whether the dataset is whole; --resume continues"
        raise RunFailed(f"The video cannot be made: {error.strerror or error}.", where=where, do=do) from None


def _pictures(demo: h5py.Group, job: VideoJob) -> Iterator[np.ndarray]:
    """Blocks of uint8 pictures. They follow the stored chunks, each of which is read and decompressed once."""
    encode, arrays = encoder(job.key), [demo[f"obs/{source}"] for source in sources(job.key)]
    chunk = max(array.chunks[0] if array.chunks else 1 for array in arrays)
    block = -(-_FRAMES_AT_ONCE // chunk) * chunk
    for start in range(0, job.frames, block):
        yield encode(*(array[start : start + block] for array in arrays))
