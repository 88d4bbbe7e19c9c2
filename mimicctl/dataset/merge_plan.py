"""What a merge would do, and everything that speaks against it: found out before a byte is written."""

from __future__ import annotations

import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mimicctl.dataset.outline import Inventory, Keys, Outline, inventory_of, outlines
from mimicctl.dataset.reader import Dataset, demo_number, whole_number
from mimicctl.dataset.seals import Seal
from mimicctl.errors import UserError, listed
from mimicctl.schema import FORMAT_VERSION, INTENDED_ACTIONS
from mimicctl.tasks import canonical_id

_SPLIT = {"train", "valid"}
_COMPARED_AT_ONCE = 1 << 22
"""Bytes of an array that are compared in one go."""


@dataclass(frozen=True)
class Source:
    """A file to merge.

    Attributes:
        version: changes when the file is written to, or another one takes its place.
        inventory: None of a file that only HDF5 can read.
        demos: in natural order.
        seals: of those demos that have one.
    """

    path: Path
    size: int
    version: tuple[int, ...]
    inventory: Inventory | None
    demos: dict[str, Outline]
    task_id: str
    control_hz: float | None
    format_version: int
    env_args: dict[str, Any]
    masks: dict[str, tuple[str, ...]]
    lineage: dict[str, Any]
    seals: dict[str, Seal]

    @property
    def lengths(self) -> dict[str, int]:
        """Control steps of each demo."""
        return {name: demo.steps for name, demo in self.demos.items()}


@dataclass(frozen=True)
class Move:
    """A demo of a source (by its index) and what it will be called."""

    source: int
    demo: str
    name: str


@dataclass(frozen=True)
class Duplicate:
    """A demo that is left out, since another one (source and name) is equal in every array."""

    source: int
    demo: str
    same_as: tuple[int, str]


@dataclass(frozen=True)
class MergedRun:
    """The run that files are the shards of.

    Attributes:
        lineage: what its file would have.
        attempts: lines of its log.
        to_spare: successes beyond those that it was to make.
    """

    lineage: dict[str, Any]
    attempts: tuple[str, ...]
    to_spare: int


@dataclass(frozen=True)
class MergePlan:
    """What will be written.

    Attributes:
        moves: in the order of the output: files as given, demos in natural order; shards of a run: in the order of its trials.
        keys: arrays that the merged demos have.
        dropped_keys: arrays that some demos lack, left out of all of them (only if that was asked for).
        masks: filter key to names in the output.
        run: what the sources are the shards of; None for files that have nothing to do with each other.
    """

    sources: tuple[Source, ...]
    moves: tuple[Move, ...]
    duplicates: tuple[Duplicate, ...]
    keys: Keys
    dropped_keys: tuple[str, ...]
    masks: dict[str, tuple[str, ...]]
    run: MergedRun | None = None

    @property
    def steps(self) -> int:
        """Control steps of the merged demos."""
        return sum(self.sources[move.source].demos[move.demo].steps for move in self.moves)


def plan_merge(paths: Sequence[str | Path], *, common_keys: bool = False) -> MergePlan:
    """Read names, shapes and attributes of all inputs, compare them, and find demos that are there twice.

    Args:
        common_keys: where demos differ in the arrays they have, keep those that all of them have.

    Raises:
        UserError: a file cannot be read, or the files do not fit together; every reason is listed.
    """
    if len(paths) < 2:
        raise UserError("It takes two files to merge.", do="mimicctl merge A.hdf5 B.hdf5 --output-file C.hdf5")
    with ExitStack() as stack:
        datasets = [stack.enter_context(Dataset(path)) for path in paths]
        sources = tuple(map(source_of, datasets))
        found = require_fitting(sources, common_keys=common_keys)
        try:
            duplicates = tuple(_duplicates(datasets, found.common))
        except (OSError, RuntimeError):  # h5py raises either
            do = "mimicctl dataset check FILE tells which, dataset repair saves what is whole"
            raise UserError("One of the files is damaged: not all of its arrays can be read.", where=listed([str(s.path) for s in sources]), do=do) from None
    moves = tuple(_numbered(sources, duplicates))
    return MergePlan(sources, moves, duplicates, found.common, found.partial, masks_of(sources, moves))


def require_fitting(sources: Sequence[Source], *, common_keys: bool) -> Comparison:
    """The arrays that the demos of the files have.

    Raises:
        UserError: they do not fit together.
    """
    found = _compare_keys(sources, dict(_kinds(sources)))
    problems = [*_disagreements(sources), *_unsound(sources), *found.clashing]
    if problems or (found.missing and not common_keys):
        raise _refusal(problems + found.missing, solved_by_common_keys=not problems)
    return found


def source_of(dataset: Dataset) -> Source:
    """What a file says of itself and of its demos."""
    status, inventory = dataset.path.stat(), inventory_of(dataset.path)
    return Source(
        path=dataset.path,
        size=status.st_size,
        version=_version(status),
        inventory=inventory,
        demos=outlines(dataset, inventory),
        task_id=dataset.task_id,
        control_hz=dataset.control_hz,
        format_version=dataset.format_version,
        env_args=dataset.env_args,
        masks=dataset.masks,
        lineage=dataset.lineage,
        seals=dataset.seals,
    )


def require_unchanged(sources: Sequence[Source]) -> None:
    """OSError if one of the files is no longer the one that was looked into."""
    for source in sources:
        if _version(source.path.stat()) != source.version:
            raise OSError(f"{source.path} was changed meanwhile")


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


# What speaks against it ---------------------------------------------------------------------------------


def _refusal(problems: list[str], *, solved_by_common_keys: bool) -> UserError:
    what = "One thing speaks" if len(problems) == 1 else f"{len(problems)} things speak"
    do = "--common-keys keeps the arrays that all demos have" if solved_by_common_keys else "merge files of one task, rate and format; leave the others out"
    return UserError(f"{what} against merging these files; nothing was written.", where=listed(problems), do=do)


def _disagreements(sources: Sequence[Source]) -> Iterator[str]:
    """Files against the first one, and masks that would leave demos out of training without a word."""
    first = sources[0]
    for i, source in enumerate(sources):
        if any(other.path.samefile(source.path) for other in sources[:i]):
            yield f"{source.path}: given twice"
        if source.task_id and first.task_id and canonical_id(source.task_id) != canonical_id(first.task_id):
            yield f"{source.path}: task {source.task_id}, but {first.task_id} in {first.path.name}"
        if source.control_hz and first.control_hz and not math.isclose(source.control_hz, first.control_hz, rel_tol=1e-3):
            yield f"{source.path}: {source.control_hz:g} Hz, but {first.control_hz:g} Hz in {first.path.name}"
        if source.format_version != first.format_version:
            yield f"{source.path}: quaternions are {_order(source)}, but {_order(first)} in {first.path.name} (mimicctl dataset convert-dialect turns them)"
        if not _SPLIT & source.masks.keys() and any(_SPLIT & other.masks.keys() for other in sources):
            yield f"{source.path}: no mask/train and mask/valid, as others have, so its demos would not be trained on (mimicctl dataset split writes them)"


def _order(source: Source) -> str:
    return "xyzw" if source.format_version >= FORMAT_VERSION else "wxyz"


def _unsound(sources: Sequence[Source]) -> Iterator[str]:
    for source in sources:
        for name, demo in source.demos.items():
            said = whole_number(demo.attributes.get("num_samples"))
            if not demo.steps or said != demo.steps:
                yield f"{name} of {source.path}: {demo.steps} actions, and num_samples says {'nothing' if said is None else said}"
        absent = {n for names in source.masks.values() for n in names} - source.demos.keys()
        if absent:
            yield f"{source.path}: masks name {len(absent)} demos that are not there, for instance {sorted(absent)[0]}"


def _kinds(sources: Sequence[Source]) -> Iterator[tuple[tuple[int, str], Keys]]:
    """Keys of each demo, but signals are signals, be they (T,), (T, 1) or (1, T). Intended actions are left out: recorded demos have none, and need none."""
    compared: dict[int, Keys] = {}  # demos alike share theirs
    for i, source in enumerate(sources):
        for name, demo in source.demos.items():
            if id(demo.keys) not in compared:
                kinds = {path: ((), dtype) if "_signals/" in path else (shape, dtype) for path, (shape, dtype) in demo.keys.items()}
                kinds.pop(INTENDED_ACTIONS, None)
                compared[id(demo.keys)] = kinds
            yield (i, name), compared[id(demo.keys)]


@dataclass(frozen=True)
class Comparison:
    """Arrays that all demos have, those that only some have, and in words what is missing and what is there in another shape or type."""

    common: Keys
    partial: tuple[str, ...]
    missing: list[str]
    clashing: list[str]


def _compare_keys(sources: Sequence[Source], keys: Mapping[tuple[int, str], Keys]) -> Comparison:
    """All demos against the first. Those of a file that differ in the same way are told of once."""
    (first, reference), *_ = keys.items()
    where = f"{first[1]} of {sources[first[0]].path.name}"
    different = list({id(other): other for other in keys.values()}.values())
    common = {path: kind for path, kind in reference.items() if all(path in other for other in different)}
    missing: dict[tuple[int, str], list[str]] = defaultdict(list)
    clashing: dict[tuple[int, str], list[str]] = defaultdict(list)
    for (i, name), other in keys.items():
        if other == reference:
            continue
        for path in sorted(reference.keys() ^ other.keys()):
            missing[i, f"no {path}, which {where} has" if path in reference else f"{path}, which {where} does not have"].append(name)
        for path in common:
            if other[path] != reference[path]:
                clashing[i, f"{path} is {_kind(other[path])}, but {_kind(reference[path])} in {where}"].append(name)

    def told(found: Mapping[tuple[int, str], list[str]]) -> list[str]:
        return [f"{_some(names)} of {sources[i].path}: {text}" for (i, text), names in found.items()]

    everything = {path for other in different for path in other}
    return Comparison(common, tuple(sorted(everything - common.keys())), told(missing), told(clashing))


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _kind(key: tuple[tuple[int, ...], str]) -> str:
    return f"(T{''.join(f', {n}' for n in key[0])}) {key[1]}"


# Demos that are there twice -----------------------------------------------------------------------------


def _duplicates(datasets: Sequence[Dataset], keys: Keys) -> Iterator[Duplicate]:
    """Demos equal to an earlier one. Only those with the same actions are looked at closely."""
    alike: dict[bytes, list[tuple[int, str]]] = defaultdict(list)
    for i, dataset in enumerate(datasets):
        for name in dataset.demos:
            demo = dataset.group(name)
            earlier = alike[hashlib.sha256(np.ascontiguousarray(demo["actions"][()]).data).digest()]
            same = next((other for other in earlier if _equal(demo, datasets[other[0]].group(other[1]), keys)), None)
            if same is None:
                earlier.append((i, name))
            else:
                yield Duplicate(i, name, same)


def _equal(a: h5py.Group, b: h5py.Group, keys: Keys) -> bool:
    """Whether all arrays are. Large ones first: augmented demos differ in the pictures, and in their first frames already."""
    paths = sorted(keys, key=lambda path: a[path].nbytes, reverse=True)
    return all(_equal_arrays(a[path], b[path]) for path in paths)


def _equal_arrays(a: h5py.Dataset, b: h5py.Dataset) -> bool:
    if a.shape != b.shape:
        return False
    if not a.shape:
        return bool(np.array_equal(a[()], b[()]))
    rows = max(1, _COMPARED_AT_ONCE * a.shape[0] // max(a.nbytes, 1))
    return all(_same_bits(a[at : at + rows], b[at : at + rows]) for at in range(0, a.shape[0], rows))


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Bit by bit, so that NaN equals itself."""
    return np.array_equal(a, b) if a.dtype.hasobject else a.tobytes() == b.tobytes()


# What becomes of the rest -------------------------------------------------------------------------------


def _numbered(sources: Sequence[Source], duplicates: Sequence[Duplicate]) -> Iterator[Move]:
    left_out = {(d.source, d.demo) for d in duplicates}
    kept = [(i, demo) for i, source in enumerate(sources) for demo in source.lengths if (i, demo) not in left_out]
    return (Move(i, demo, f"demo_{number}") for number, (i, demo) in enumerate(kept))


def masks_of(sources: Sequence[Source], moves: Sequence[Move]) -> dict[str, tuple[str, ...]]:
    """Filter keys of all files, with the new names. What a duplicate was in, the demo that stands for it is not put in as well."""
    names = {(move.source, move.demo): move.name for move in moves}
    masks: dict[str, list[str]] = defaultdict(list)
    for i, source in enumerate(sources):
        for key, demos in source.masks.items():
            masks[key] += [names[i, demo] for demo in sorted(demos, key=demo_number) if (i, demo) in names]
    return {key: tuple(demos) for key, demos in masks.items()}
