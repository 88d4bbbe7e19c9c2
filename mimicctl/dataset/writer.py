"""Writing datasets, one committed episode after the other."""

from __future__ import annotations

import errno
import functools
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mimicctl.dataset.committed_file import CommittedFile
from mimicctl.dataset.frames import Frames, write_frames
from mimicctl.dataset.reader import Dataset, demo_number, is_demo_name, json_object, open_hdf5
from mimicctl.dataset.seals import Seal, add_seals, attributes_sha256, demo_sha256, parts_sha256, seal_lineage, seals_of
from mimicctl.errors import RunFailed, UserError
from mimicctl.schema import ATTEMPTS_PATH, FORMAT_VERSION, GYM_ENV_TYPE, LINEAGE_ATTR, Episode

_SUFFIXES = (".hdf5", ".h5")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_META_BLOCK = 65536  # fewer, larger writes of metadata


def checked_output(path: str | Path) -> Path:
    """An absolute path that a dataset may be written to; its folder is made.

    Raises:
        UserError: a suffix of another format, a folder in the way, or no permission.
    """
    path = Path(path).expanduser().absolute()
    if path.suffix not in _SUFFIXES:
        raise UserError(f'A dataset is an HDF5 file; "{path.name}" should end in .hdf5.', where=str(path), do="add the suffix")
    if path.is_dir():
        raise UserError("There is a folder of that name.", where=str(path), do="choose another --output-file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder: {error.strerror}.", where=str(path.parent), do="choose another --output-file") from None
    if not os.access(path.parent, os.W_OK):
        raise UserError("No permission to write in this folder.", where=str(path.parent), do="choose another --output-file")
    return path


def refuse_existing(path: Path, *, resumable: bool = True) -> None:
    """UserError if `path` exists: it takes a decision to go on with it (where that is possible) or to replace it."""
    if path.exists():
        do = "--resume continues it, --overwrite replaces it" if resumable else "--overwrite replaces it, or choose another --output-file"
        raise UserError("The file exists already.", where=str(path), do=do)


def partial_path(path: Path) -> Path:
    """Where a batch command collects its output until it is complete."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def is_no_space(error: OSError) -> bool:
    """Whether the disk, or one's share of it, is full. HDF5 passes the system's error number on in its text only."""
    return error.errno in _NO_SPACE or any(f"errno = {number}" in str(error) for number in _NO_SPACE)


class DatasetWriter:
    """Appends episodes to a file; each is committed, for good, before `write` returns.

    Use it as a context manager. The file is created by the first commit, which the constructor makes. A write that
    fails or is interrupted closes the writer: the file keeps what was committed before.

    Args:
        path: the file; an existing one is continued.
        task_id: written to `env_args` of a new file.
        lineage: of the file as a whole, JSON-able; replaces that of an existing one.
        env_args: more for `env_args` of a new file.
        format_version: of the quaternions that will be written; that of an existing file must be the same.
        durable: survive power cuts too, at the price of a disk sync an episode.

    Attributes:
        sha256s: name of each demo that has a seal to what it is known by in lineages.

    Raises:
        UserError: the file cannot be written, or an existing one is not a dataset of this format.
    """

    def __init__(
        self,
        path: Path,
        *,
        task_id: str,
        lineage: Mapping[str, Any],
        env_args: Mapping[str, Any] | None = None,
        format_version: int = FORMAT_VERSION,
        durable: bool = False,
    ) -> None:
        existed = path.exists()
        if existed:
            _refuse_unfit(path, format_version)
        self.path = path
        self._raw = CommittedFile(path, durable=durable)
        self._file: h5py.File | None = None
        with self._committing():
            self._file = h5py.File(self._raw, "r+" if existed else "w", meta_block_size=_META_BLOCK)
            if not existed:
                if format_version:
                    self._file.attrs["format_version"] = format_version
                data = self._file.create_group("data")
                data.attrs["total"] = 0
                data.attrs["env_args"] = json.dumps({"env_name": task_id, "type": GYM_ENV_TYPE, **(env_args or {})})
            self._data = self._file["data"]
            self._data.attrs[LINEAGE_ATTR] = json.dumps(lineage)
            seal_lineage(self._file)
            self.sha256s = {seal.demo: seal.content for seal in seals_of(self._file)}
            self._next = 1 + max((demo_number(name) for name in self._data if is_demo_name(name)), default=-1)
            self._count = len(self._data)
            self._total = _steps_of(self._data)

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __len__(self) -> int:
        """Committed demos."""
        return self._count

    @property
    def env_args(self) -> dict[str, Any]:
        """`env_args` of the file."""
        return json_object(self._data.attrs["env_args"])

    def write(
        self,
        episode: Episode,
        attempts: Sequence[str] = (),
        frames: Mapping[str, Frames] | None = None,
        *,
        parent: str = "",
        env_args: Mapping[str, Any] | None = None,
    ) -> str:
        """Append an episode, its images, and in the same commit lines of the attempts log. Returns the demo's name.

        Args:
            frames: more observations, by key: images that are compressed already.
            parent: sha256 of the demo that it is a copy of, with something more or else; "" for none.
            env_args: those of the file from now on; None: as they are.

        Raises:
            RunFailed: no space is left. What was committed before stays.
        """
        if not len(episode):
            raise ValueError("an episode without steps is not written")

        parts = [(path, _as_stored(array)) for path, array in leaves(episode)]
        parts += [(f"obs/{key}", images) for key, images in (frames or {}).items()]

        def fill(group: h5py.Group) -> None:
            for path, part in parts:
                write_part(group, path, part)
            group.attrs["num_samples"] = len(episode)
            group.attrs["success"] = bool(episode.success)
            if episode.seed is not None:
                group.attrs["seed"] = episode.seed
            group.attrs[LINEAGE_ATTR] = json.dumps(episode.lineage)
            if env_args is not None:
                self._data.attrs["env_args"] = json.dumps(env_args)

        # From memory, which is quicker than from the file.
        return self._append(fill, len(episode), attempts, parent, lambda group: parts_sha256(parts))

    def append(self, fill: Callable[[h5py.Group], None], steps: int, attempts: Sequence[str] = (), *, name: str = "", parent: str = "") -> str:
        """Append a demo of `steps` control steps whose arrays and attributes `fill` writes into its empty group. Otherwise as `write`.

        Args:
            name: that no demo of the file has; "" for the next number.
        """
        return self._append(fill, steps, attempts, parent, demo_sha256, name)

    def _append(
        self, fill: Callable[[h5py.Group], None], steps: int, attempts: Sequence[str], parent: str, hash_of: Callable[[h5py.Group], str], name: str = ""
    ) -> str:
        name = name or f"demo_{self._next}"
        with self._committing():
            group = self._data.create_group(name)
            fill(group)
            self._seal(name, group, hash_of(group), parent)
            self._data.attrs["total"] = self._total + steps
            append_attempts(self._file, attempts)
        self._next, self._count, self._total = max(self._next, demo_number(name) + 1), self._count + 1, self._total + steps
        return name

    def describe(self, lineage: Mapping[str, Any], masks: Mapping[str, Sequence[str]]) -> None:
        """Replace the lineage of the file, set masks (filter key to demo names), and commit."""
        with self._committing():
            self._data.attrs[LINEAGE_ATTR] = json.dumps(lineage)
            seal_lineage(self._file)
            if masks:
                write_masks(self._file, masks)

    def write_copy(self, dataset: Dataset, name: str, frames: Mapping[str, Frames], leave_out: Collection[str]) -> None:
        """Append demo `name` of another file under the same name, without the arrays `leave_out` and with the observations `frames`."""
        with self._committing():
            group = self._data.create_group(name)
            for path, array in dataset.arrays(name, leave_out=leave_out):
                write_array(group, path, dataset.as_xyzw(path, array))
            for key, images in frames.items():
                write_frames(group, f"obs/{key}", images)
            group.attrs.update(dataset.attributes(name))
            self._seal(name, group, demo_sha256(group), dataset.demo_sha256(name))
            length = dataset.length(name)
            self._data.attrs["total"] = self._total + length
        self._next, self._count, self._total = max(self._next, demo_number(name) + 1), self._count + 1, self._total + length

    def write_extras(self, dataset: Dataset) -> None:
        """Take over another file's masks and its log of attempts, once."""
        with self._committing():
            if dataset.masks:
                write_masks(self._file, dataset.masks)
            if ATTEMPTS_PATH not in self._file:
                append_attempts(self._file, [json.dumps(attempt) for attempt in dataset.attempts()])

    def log_attempts(self, lines: Sequence[str]) -> None:
        """Append lines to the attempts log and commit."""
        with self._committing():
            append_attempts(self._file, lines)

    def _seal(self, name: str, group: h5py.Group, content: str, parent: str) -> None:
        add_seals(self._file, [Seal(name, content, parent if parent != content else "", attributes_sha256(group))])
        self.sha256s[name] = content

    @contextmanager
    def _committing(self) -> Iterator[None]:
        """Commit what the block wrote. If anything goes wrong no later commit may publish half of it, so there is none."""
        try:
            yield
            self._file.flush()
            self._raw.commit()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError) and is_no_space(error):
                raise RunFailed("No space is left for the next episode.", where=str(self.path), do="free some; what was committed before is kept") from None
            raise

    def close(self) -> None:
        """Harmless when closed already."""
        # HDF5 writes once more on closing, into the working copy, which then goes: the last commit stands.
        self._raw.discard()
        try:
            if self._file is not None:
                self._file.close()
        finally:
            self._raw.close()

    def finish(self, target: Path) -> None:
        """Close, and move the file to `target`, replacing what is there."""
        self.close()
        os.replace(self.path, target)


def _refuse_unfit(path: Path, format_version: int) -> None:
    """UserError unless `path` is a dataset that can be continued: with the same order of quaternions."""
    with open_hdf5(path) as file:
        if not isinstance(file.get("data"), h5py.Group):
            raise UserError('The file has no group "data", so no demonstration can be added to it.', where=str(path), do="choose another --output-file")
        if file.attrs.get("format_version", 0) != format_version:
            raise UserError(
                "The file is of an older format, with quaternions in another order; new demos would not fit the old ones.",
                where=str(path),
                do="choose another --output-file",
            )


def _steps_of(data: h5py.Group) -> int:
    """Control steps of all demos."""
    return sum(len(demo["actions"]) for demo in data.values() if "actions" in demo)


def leaves(episode: Episode) -> list[tuple[str, np.ndarray]]:
    """Every array of an episode with its path below the demo's group."""
    found = [("actions", episode.actions), ("processed_actions", episode.processed_actions), ("intended_actions", episode.intended_actions)]
    for prefix, arrays in (
        ("obs", episode.obs),
        ("states", episode.states),
        ("initial_state", episode.initial_state),
        ("obs/datagen_info", episode.datagen_info),
    ):
        found += [(f"{prefix}/{path}", array) for path, array in arrays.items()]
    return [(path, array) for path, array in found if array.size]


def _as_stored(array: np.ndarray) -> np.ndarray | Frames:
    """Images are compressed frame by frame; numbers are not, since noise in the last bits does not compress."""
    return Frames.of(array) if array.ndim == 4 or (array.dtype == np.uint8 and array.ndim == 3) else array


def write_array(group: h5py.Group, path: str, array: np.ndarray) -> None:
    """Store an array as `path` below `group`, its parents made as needed."""
    write_part(group, path, _as_stored(array))


def write_part(group: h5py.Group, path: str, array: np.ndarray | Frames) -> None:
    """The same of images that are compressed already."""
    if isinstance(array, Frames):
        write_frames(group, path, array)
        return
    # h5py's own create_dataset takes several times as long as the writing.
    array = np.ascontiguousarray(array)
    space = h5py.h5s.create_simple(array.shape)
    kind = h5py.h5t.py_create(array.dtype, logical=True)
    dataset = h5py.h5d.create(group.id, path.encode(), kind, space, lcpl=_make_parents(path.isascii()))
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, array)


def copy_demo(demo: h5py.Group, target: h5py.Group, *, leave_out: Collection[str]) -> None:
    """Everything of a demo but the observations `leave_out`, as it is stored: nothing is decompressed.

    Args:
        target: the empty group of the copy.

    Raises:
        RuntimeError: the demo's file is damaged.
    """
    for key, value in demo.attrs.items():
        target.attrs[key] = value
    for key in demo:
        if key != "obs":
            demo.file.copy(demo[key], target, key)
    if "obs" in demo:
        obs = target.create_group("obs")
        for key, value in demo["obs"].attrs.items():
            obs.attrs[key] = value
        for key in demo["obs"]:
            if key not in leave_out:
                demo.file.copy(demo[f"obs/{key}"], obs, key)


def append_attempts(file: h5py.File, lines: Sequence[str]) -> None:
    """Append to the log of attempts."""
    if not lines:
        return
    if ATTEMPTS_PATH not in file:
        file.create_dataset(ATTEMPTS_PATH, shape=(0,), maxshape=(None,), chunks=(256,), dtype=h5py.string_dtype())
    log = file[ATTEMPTS_PATH]
    first = len(log)
    log.resize((first + len(lines),))
    log[first:] = list(lines)


def write_masks(file: h5py.File, masks: Mapping[str, Sequence[str]]) -> None:
    """Set filter keys, byte strings as robomimic writes them; one without demos is removed."""
    if "mask" in file and not isinstance(file["mask"], h5py.Group):
        del file["mask"]
    group = file.require_group("mask")
    for key, names in masks.items():
        if key in group:
            del group[key]
        if names:
            group.create_dataset(key, data=np.array([n.encode() for n in names], dtype="S"))


@functools.cache
def _make_parents(ascii_name: bool) -> h5py.h5p.PropLCID:
    properties = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    properties.set_create_intermediate_group(True)
    # A name said to be UTF-8 turns the group into one of the newer kind, which is neither carved out of damaged files nor spliced into others.
    properties.set_char_encoding(h5py.h5t.CSET_ASCII if ascii_name else h5py.h5t.CSET_UTF8)
    return properties
