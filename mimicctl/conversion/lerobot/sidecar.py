"""What a demo has beyond a LeRobot dataset's features, kept in the folder `mimicctl` of that dataset. LeRobot looks past it.

mimicctl/features.json                  which observations are in which feature
mimicctl/source-000.hdf5                a dataset file that was converted, without its demos: attributes, masks, log of attempts
mimicctl/chunk-000/file-000.hdf5        data/demo_<episode>: all arrays of the demos of data/chunk-000/file-000.parquet that are in no feature,
                                        and all attributes; as `mimicctl_episode` a JSON attribute, see `Origin`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mimicctl.conversion.lerobot.folder import FILES_A_CHUNK, NUMBERED
from mimicctl.dataset.reader import Dataset, demo_number, is_demo_name, json_object, open_hdf5
from mimicctl.errors import UserError
from mimicctl.schema import LINEAGE_ATTR

FOLDER = "mimicctl"
FOLDERS = ("meta", "data", "videos", FOLDER)
"""All that a dataset consists of, with what lies beside it."""

FEATURES = f"{FOLDER}/features.json"
REST = f"{FOLDER}/{NUMBERED}.hdf5"
_ORIGIN_ATTR = "mimicctl_episode"


@dataclass(frozen=True)
class Origin:
    """Where an episode came from.

    Attributes:
        source: number of the file, as in `source-000.hdf5`.
        demo: its name there.
        action: the array that is the action feature.
        action_sha256: of the feature's values; an episode with others is not the one that the sidecar is of.
        identity: the same demo of the same recording has the same, whatever its file is called by now.
        sha256, parent: of the demo, as its seal had them (see `mimicctl.dataset.seals`); "" of one that was converted before they were noted.
    """

    source: int
    demo: str
    action: str
    action_sha256: str
    identity: str
    sha256: str = ""
    parent: str = ""


def source_path(root: Path, number: int) -> Path:
    return root / FOLDER / f"source-{number:03d}.hdf5"


def sources_of(root: Path) -> list[Path]:
    return sorted((root / FOLDER).glob("source-*.hdf5"))


def rest_path(root: Path, number: int) -> Path:
    return root / REST.format(chunk_index=number // FILES_A_CHUNK, file_index=number % FILES_A_CHUNK)


def identity_of(dataset: Dataset, name: str) -> str:
    """By name, lineage and actions. Demos without lineage are told apart by the name of their file."""
    demo = dataset.group(name)
    lineage = str(demo.attrs.get(LINEAGE_ATTR, "")) or dataset.path.name
    return hashlib.sha256(f"{name} {lineage} ".encode() + np.ascontiguousarray(demo["actions"][()]).tobytes()).hexdigest()


def action_digest(action: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(action, np.float32).data).hexdigest()


def write_source(dataset: Dataset, path: Path) -> None:
    """A copy of the file without its demos."""
    with h5py.File(path, "w") as copy:
        file = dataset.group(dataset.demos[0]).file
        copy.attrs.update(dict(file.attrs))
        for key in file:
            if key != "data":
                file.copy(key, copy, key)
        data = copy.create_group("data")
        data.attrs.update(dict(file["data"].attrs))


def write_rest(demo: h5py.Group, data: h5py.Group, number: int, held: Collection[str], origin: Origin) -> None:
    """Everything of a demo whose path is not among `held`, as it is stored: nothing is decompressed.

    Args:
        data: group that the demo's copy goes into.
        number: of the episode.
    """
    target = data.create_group(f"demo_{number}")
    copy_without(demo, target, held)
    target.attrs[_ORIGIN_ATTR] = json.dumps(asdict(origin))


def copy_without(group: h5py.Group, target: h5py.Group, held: Collection[str]) -> None:
    """Copy attributes and members of a group into an empty one, but for the paths `held`."""
    for key, value in group.attrs.items():
        if key != _ORIGIN_ATTR:
            target.attrs[key] = value
    for key, item in group.items():
        if key in held:
            continue
        if isinstance(item, h5py.Group):
            copy_without(item, target.create_group(key), {path.removeprefix(f"{key}/") for path in held if path.startswith(f"{key}/")})
        elif item.dtype.hasobject:
            group.file.copy(item, target, key)
        else:
            _copy_array(item, target, key)


def _copy_array(array: h5py.Dataset, target: h5py.Group, key: str) -> None:
    """As HDF5's own copying does, which keeps some kilobytes for each array for as long as the process lives."""
    source = array.id
    copy = h5py.h5d.create(target.id, key.encode(), source.get_type(), source.get_space(), dcpl=source.get_create_plist())
    if array.chunks:
        for i in range(source.get_num_chunks()):
            place = source.get_chunk_info(i).chunk_offset
            left_out_filters, chunk = source.read_direct_chunk(place)
            copy.write_direct_chunk(place, chunk, left_out_filters)
    elif array.size:
        copy.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(array[()]))
    for name, value in array.attrs.items():
        target[key].attrs[name] = value


class Sidecar:
    """What lies beside a dataset, if anything does. A context manager.

    Raises:
        UserError: a file of it cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self.root, self._stack = root, ExitStack()
        self._files: dict[int, Path] = {}
        self._open: tuple[Path, h5py.File] | None = None  # one at a time: HDF5 remembers of each what it has seen in it
        try:
            for path in sorted((root / FOLDER).glob("chunk-*/file-*.hdf5")):
                with open_hdf5(path) as file:
                    self._files |= {demo_number(name): path for name in file["data"] if is_demo_name(name)}
            self._sources = [self._stack.enter_context(open_hdf5(path)) for path in sources_of(root)]
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Sidecar:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._open:
            self._open[1].close()
        self._stack.close()

    def __len__(self) -> int:
        """Episodes that it has something of."""
        return len(self._files)

    def features(self) -> dict[str, Any]:
        """What is in `features.json`; {} without it."""
        path = self.root / FEATURES
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            raise UserError(
                "This is not readable JSON.", where=str(path), do="copy the dataset again; without the folder mimicctl it is read as LeRobot's"
            ) from None

    def demos(self) -> Iterator[h5py.Group]:
        """All that it has something of, in order of the episodes."""
        return (self._group(number) for number in sorted(self._files))

    def demo(self, number: int) -> h5py.Group | None:
        """What there is of an episode, to be read before another one is asked for; None if there is nothing."""
        return self._group(number) if number in self._files else None

    def _group(self, number: int) -> h5py.Group:
        path = self._files[number]
        if self._open is None or self._open[0] != path:
            if self._open:
                self._open[1].close()
            self._open = path, open_hdf5(path)
        return self._open[1][f"data/demo_{number}"]

    def origin(self, number: int) -> Origin | None:
        """Of an episode; None if nothing is known of it.

        Raises:
            UserError: what is said of it is not what is known here.
        """
        demo = self.demo(number)
        facts = json_object(demo.attrs.get(_ORIGIN_ATTR)) if demo is not None else {}
        try:
            return Origin(**facts) if facts and facts["source"] < len(self._sources) else None
        except (KeyError, TypeError):
            where, do = f"demo_{number} of {self._files[number]}", "use the version of mimicctl that converted the dataset, or a later one"
            raise UserError(f"The attribute {_ORIGIN_ATTR} is not as this version of mimicctl writes it.", where=where, do=do) from None

    def origins(self, episodes: int) -> list[Origin | None]:
        return [self.origin(number) for number in range(episodes)]

    @property
    def sources(self) -> list[h5py.File]:
        """The files that episodes came from, without their demos."""
        return self._sources
