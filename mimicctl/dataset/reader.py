"""Reading datasets: ours, Isaac Lab's of both generations, MimicGen's and robomimic's, one episode at a time."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mimicctl.dataset.dialect import ASIDE, Dialect, recognise, to_isaaclab3
from mimicctl.dataset.seals import Seal, demo_sha256, seals_of
from mimicctl.errors import UserError
from mimicctl.schema import ATTEMPTS_PATH, LINEAGE_ATTR, Episode

_TRIES = 5  # at opening a file that is being replaced
_HASHED_AT_ONCE = 1 << 23  # large: another thread may need Python's lock for long between two blocks


def open_hdf5(path: str | Path) -> h5py.File:
    """Open for reading, or say in plain words why not."""
    path = Path(path).expanduser()
    where = str(path.absolute())
    if not path.exists():
        raise UserError("There is no such file.", where=where, do="check the path, or make it first (mimicctl record, annotate, generate)")
    if path.is_dir():
        raise UserError("This is a folder, not a dataset file.", where=where, do="name the .hdf5 file in it")
    try:
        with open(path, "rb") as probe:
            empty = not probe.read(1)
    except PermissionError:
        raise UserError("No permission to read this file.", where=where, do=f"chmod u+r {path}") from None
    if empty:
        raise UserError("The file is empty.", where=where, do="record or generate it again")
    try:
        return _open_when_free(path)
    except OSError as error:
        if "truncated" in str(error):
            raise UserError("The file was cut off: it ends before its data does.", where=where, do=f"mimicctl dataset repair {path}") from None
        if "unable to lock" in str(error) or "Resource temporarily" in str(error):
            raise UserError("Another process has this file open for writing.", where=where, do="wait for it to finish") from None
        raise UserError("This is not a readable HDF5 file.", where=where, do=f"mimicctl dataset repair {path} saves what can be saved") from None


def _open_when_free(path: Path) -> h5py.File:
    """A writer that publishes a new version holds the old one for an instant: look again."""
    for _ in range(_TRIES - 1):
        try:
            return h5py.File(path, "r")
        except OSError as error:
            if "unable to lock" not in str(error):
                raise
            time.sleep(0.02)
    return h5py.File(path, "r")


def is_demo_name(name: str) -> bool:
    return name.startswith("demo_") and name[5:].isascii() and name[5:].isdigit()


def demo_number(name: str) -> int:
    return int(name.removeprefix("demo_"))


class Dataset:
    """A dataset file, open for reading. A context manager.

    Args:
        path: the file.
        need_demos: refuse a file without any.

    Raises:
        UserError: the file cannot be read, or is not a dataset.
    """

    def __init__(self, path: str | Path, *, need_demos: bool = True) -> None:
        self.path = Path(path).expanduser().absolute()
        self._file = open_hdf5(path)
        try:
            data = self._file.get("data")
            if not isinstance(data, h5py.Group):
                keys = ", ".join(sorted(self._file)[:5]) or "nothing"
                raise UserError(
                    f'The file has no group "data" (it has {keys}), so it is not a demonstration dataset.',
                    where=str(self.path),
                    do="give a file that mimicctl, Isaac Lab or robomimic wrote",
                )
            self._data = data
            names = [n for n in data if is_demo_name(n) and _is_group(data, n)]
            self.demos = tuple(sorted(names, key=demo_number))
            if need_demos and not self.demos:
                raise UserError("The dataset has no demonstrations.", where=str(self.path), do="record some first (mimicctl record)")
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Dataset:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Harmless when closed already."""
        self._file.close()

    def __len__(self) -> int:
        return len(self.demos)

    # The file ---------------------------------------------------------------------------------------------

    @cached_property
    def env_args(self) -> dict[str, Any]:
        text = self._data.attrs.get("env_args", "{}")
        try:
            value = json.loads(text)
        except (TypeError, ValueError):
            value = None
        if not isinstance(value, dict):
            raise UserError("The attribute env_args of data is not a JSON object.", where=str(self.path), do="write it again with the tool it came from")
        return value

    @property
    def task_id(self) -> str:
        """Env name that the file says it was recorded on; "" if it does not."""
        return str(self.env_args.get("env_name", ""))

    @property
    def control_hz(self) -> float | None:
        """Control rate [Hz] by the env's time step and decimation; None if the file does not say."""
        timing = self.env_args.get("sim_args")
        try:
            return 1 / (float(timing["dt"]) * float(timing["decimation"]))
        except (TypeError, ValueError, KeyError, ZeroDivisionError):
            return None

    @property
    def format_version(self) -> int:
        version = whole_number(self._file.attrs.get("format_version", 0))
        if version is None:
            raise UserError("The attribute format_version is not a number.", where=str(self.path), do="write it again with the tool it came from")
        return version

    @cached_property
    def dialect(self) -> Dialect:
        """Whose conventions the file follows. One whose env_args are damaged can still be looked into."""
        env_args = json_object(self._data.attrs.get("env_args"))
        return recognise(self._file, self._data[self.demos[0]] if self.demos else None, env_args, self.format_version)

    @property
    def lengths(self) -> dict[str, int]:
        """Control steps of each demo."""
        return {name: self.length(name) for name in self.demos}

    @property
    def total(self) -> int:
        """Control steps of all demos, counted: the attribute of that name may be wrong or missing."""
        return sum(self.lengths.values())

    @cached_property
    def masks(self) -> dict[str, tuple[str, ...]]:
        """Filter key to demo names."""
        group = self._file.get("mask")
        if not isinstance(group, h5py.Group):
            return {}
        keys = {key: value for key, value in group.items() if isinstance(value, h5py.Dataset) and value.ndim == 1}
        return {key: tuple(_text(n) for n in value[:]) for key, value in keys.items()}

    @property
    def lineage(self) -> dict[str, Any]:
        return json_object(self._data.attrs.get(LINEAGE_ATTR))

    @cached_property
    def log(self) -> tuple[str, ...]:
        """Lines of the log of a generation run, failed attempts included; none of other files."""
        log = self._file.get(ATTEMPTS_PATH)
        return () if log is None else tuple(map(_text, log[:]))

    def attempts(self) -> list[dict[str, Any]]:
        """The log of a generation run, line by line."""
        try:
            lines = [json.loads(line) for line in self.log]
        except (TypeError, ValueError):
            lines = [None]
        if all(isinstance(line, dict) for line in lines):
            return lines
        raise UserError(f"The log of attempts ({ATTEMPTS_PATH}) is damaged.", where=str(self.path), do="generate the file again")

    def content_hash(self) -> str:
        """sha256 over names, shapes and values of everything in the demos, whatever the HDF5 layout."""
        digest = hashlib.sha256()
        for name in self.demos:
            digest.update(name.encode())
            for path, array in self.arrays(name):
                digest.update(f"{path}{array.dtype.str}{array.shape}".encode())
                # Strings of variable length are objects in memory: their values, not their addresses.
                digest.update(repr(array.tolist()).encode() if array.dtype.hasobject else np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @cached_property
    def seals(self) -> dict[str, Seal]:
        """Demo to the last seal of that name; demos that other programs wrote have none."""
        return {seal.demo: seal for seal in seals_of(self._file)}

    # One demo -----------------------------------------------------------------------------------------------

    def group(self, name: str) -> h5py.Group:
        if name not in self._data:
            raise UserError(f"There is no {name}.", where=str(self.path), do=f"it has {self.demos[0]} to {self.demos[-1]}" if self.demos else "")
        return self._data[name]

    def arrays(self, name: str, only: tuple[str, ...] = ("",), leave_out: Collection[str] = ()) -> Iterator[tuple[str, np.ndarray]]:
        """Every dataset of a demo whose path begins with one of `only` and is not left out, by path, in a fixed order."""
        found: list[str] = []
        group = self.group(name)
        group.visititems(lambda path, item: found.append(path) if isinstance(item, h5py.Dataset) else None)
        for path in sorted(path for path in set(found) - set(leave_out) if path.startswith(only)):
            value = group[path][()]
            yield path, np.zeros(0) if isinstance(value, h5py.Empty) else np.asarray(value)

    def as_xyzw(self, path: str, array: np.ndarray) -> np.ndarray:
        """An array of an Isaac Lab file with its quaternions as they are in files of this format version; those of other files are left as they are."""
        if self.dialect.kind != "isaaclab2":
            return array
        return to_isaaclab3({path: array}, self.dialect, str(self.path))[path.removeprefix(ASIDE)]

    def attributes(self, name: str) -> dict[str, Any]:
        return dict(self.group(name).attrs)

    def demo_lineage(self, name: str) -> dict[str, Any]:
        return json_object(self.group(name).attrs.get(LINEAGE_ATTR))

    def demo_sha256(self, name: str) -> str:
        """By which a demo is known in lineages: of its arrays as they are, whatever a seal says."""
        return demo_sha256(self.group(name))

    def length(self, name: str) -> int:
        """Control steps, from the actions themselves."""
        actions = self.group(name).get("actions")
        return len(actions) if isinstance(actions, h5py.Dataset) and actions.shape else 0

    def episode(self, name: str, only: tuple[str, ...] = ("",)) -> Episode:
        """Load a demo, or those parts of it whose paths begin with one of `only`, in the conventions of Isaac Lab 3, whatever those of the file are: quaternions
        xyzw, +1 opens the gripper, annotation under `datagen_info`. Term signals come out as (T,) bool.

        Raises:
            UserError: the demo has no actions, or cannot be read.
        """
        where = f"{name} of {self.path}"
        try:
            # MimicGen's targets and actions are read with the help of other arrays.
            arrays = dict(self.arrays(name, ("",) if self.dialect.kind == "mimicgen" else (*only, *(ASIDE + path for path in only))))
        except OSError:
            raise UserError("The demo cannot be read: the file is damaged.", where=where, do=f"mimicctl dataset repair {self.path}") from None
        if "actions" not in arrays or arrays["actions"].ndim != 2:
            raise UserError("The demo has no (T, A) array of actions.", where=where, do="record it again, or leave it out")
        arrays = to_isaaclab3(arrays, self.dialect, where)

        def below(prefix: str) -> dict[str, np.ndarray]:
            return {path[len(prefix) :]: array for path, array in arrays.items() if path.startswith(prefix)}

        observed = below("obs/")
        info = {path[len("datagen_info/") :]: observed.pop(path) for path in list(observed) if path.startswith("datagen_info/")}
        attributes = self.attributes(name)
        return Episode(
            actions=arrays["actions"],
            processed_actions=arrays.get("processed_actions", np.zeros((0, 0), np.float32)),
            intended_actions=arrays.get("intended_actions", np.zeros((0, 0), np.float32)),
            obs=observed,
            states=below("states/"),
            initial_state=below("initial_state/"),
            datagen_info={path: _signal(array) if "_signals/" in path else array for path, array in info.items()},
            success=bool(attributes.get("success", False)),
            seed=whole_number(attributes.get("seed")),
            lineage=self.demo_lineage(name),
        )

    def episodes(self) -> Iterator[tuple[str, Episode]]:
        """Every demo in natural order, one in memory at a time."""
        for name in self.demos:
            yield name, self.episode(name)


def _is_group(parent: h5py.Group, name: str) -> bool:
    """Without opening it, which takes ten times as long."""
    try:
        return h5py.h5o.get_info(parent.id, name.encode()).type == h5py.h5o.TYPE_GROUP
    except (KeyError, RuntimeError):  # a link to nothing
        return False


def _signal(array: np.ndarray) -> np.ndarray:
    return np.asarray(array).reshape(-1).astype(bool)


def whole_number(value: Any) -> int | None:
    """An attribute as an int; None if it is missing or something else."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def file_sha256(path: Path, given_up: Callable[[], bool] = lambda: False) -> str:
    """sha256 of a file's bytes, if it is not given up before."""
    digest, block = hashlib.sha256(), bytearray(min(_HASHED_AT_ONCE, path.stat().st_size + 1))
    with open(path, "rb", buffering=0) as file:
        while not given_up() and (count := file.readinto(block)):
            digest.update(memoryview(block)[:count])
    return digest.hexdigest()


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def json_object(text: Any) -> dict[str, Any]:
    """An attribute that is a JSON object; {} if it is missing or something else."""
    if text is None:
        return {}
    try:
        value = json.loads(_text(text))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
