"""A dataset without some of its demos: written anew, so that nothing of them is left in the file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from mimicctl.dataset.committed_file import write_lock
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.seals import attributes_sha256, demo_sha256, replace_seals, seals_of
from mimicctl.dataset.whole_file import refuse_full_disk
from mimicctl.dataset.writer import append_attempts
from mimicctl.errors import RunFailed
from mimicctl.provenance.lineages import inputs, table
from mimicctl.schema import ATTEMPTS_PATH, LINEAGE_ATTR, SEALS_PATH

_META_BLOCK = 1 << 16  # fewer, larger writes of metadata


@dataclass(frozen=True)
class Purge:
    """What is to go from a dataset.

    Attributes:
        demos: name to what it is known by.
        sources: names, in the log of attempts, of withdrawn demos that were sources; the lines that name them go too.
        records: entries about withdrawn demos in the lineage of the file.
        attempts: lines of the log.
    """

    path: Path
    demos: Mapping[str, str]
    sources: frozenset[str]
    records: int
    attempts: int

    @property
    def empty(self) -> bool:
        return not (self.demos or self.records or self.attempts)


def plan_purge(path: Path, withdrawn: Collection[str], demos: Mapping[str, str]) -> Purge:
    """What of a file has to do with withdrawn demos.

    Args:
        withdrawn: what they are known by.
        demos: of this file, name to what it is known by.
    """
    with Dataset(path, need_demos=False) as dataset:
        lineage = dataset.lineage
        sources = frozenset(name for entry in inputs(lineage) for name, known in table(entry).items() if known.get("sha256") in withdrawn)
        attempts = sum(_names_any(attempt, sources) for attempt in dataset.attempts()) if sources else 0
        return Purge(path, demos, sources, _forget(lineage, withdrawn, ""), attempts)


def _names_any(attempt: Mapping[str, Any], names: Collection[str]) -> bool:
    sources = attempt.get("sources") or []
    each = sources.values() if isinstance(sources, dict) else [sources]
    return any(name in names for one in each for name in one)


def _forget(lineage: Mapping[str, Any], withdrawn: Collection[str], record: str) -> int:
    """Reduce what the lineage of a file says of withdrawn demos to that they were. Returns how many entries that are."""
    count = 0
    for entry in inputs(lineage):
        for name, known in table(entry).items():
            if known.get("sha256") in withdrawn and "withdrawn" not in known:
                entry["demos"][name] = {"sha256": known["sha256"], "withdrawn": record}
                count += 1
        count += _forget(entry.get("lineage") or {}, withdrawn, record)
    return count


def carry_out(purge: Purge, withdrawn: Collection[str], record: str, at: str) -> None:
    """Write the file anew beside itself, compare what is to stay bit for bit, and put it in place of the old one.

    Args:
        record: name of the record of the withdrawal.
        at: when, for the lineage.

    Raises:
        UserError: another process is writing the file.
        RunFailed: it could not be written. The file is as it was.
    """
    path = purge.path
    partial = path.with_name(f".{path.name}.purge")
    with write_lock(path):
        refuse_full_disk(path, path.stat().st_size)
        try:
            with Dataset(path, need_demos=False) as dataset:
                steps = dataset.total - sum(dataset.length(name) for name in purge.demos)
                write_without(dataset, partial, purge, steps, withdrawn, record, at)
                _compare(dataset, partial, purge)
            shutil.copymode(path, partial)
            with open(partial, "rb") as written:
                os.fsync(written.fileno())
            os.replace(partial, path)
        except (OSError, RuntimeError) as error:  # h5py raises either
            reason = getattr(error, "strerror", None) or error
            raise RunFailed(f"The file could not be written anew: {reason}.", where=str(path), do="mimicctl dataset check; then withdraw again") from None
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def write_without(dataset: Dataset, target: Path, purge: Purge, steps: int, withdrawn: Collection[str], record: str, at: str) -> None:
    """Write the file anew.

    Args:
        steps: of all demos that stay.
    """
    entry = {"record": record, "at": at, "demos": dict(purge.demos)}
    with h5py.File(dataset.path, "r") as source, h5py.File(target, "w", meta_block_size=_META_BLOCK) as output:
        for key, value in source.attrs.items():
            output.attrs[key] = value
        for name in source:
            if name not in ("data", "mask", "mimicctl"):
                source.copy(name, output)
        data = output.create_group("data")
        for key, value in source["data"].attrs.items():
            if key != LINEAGE_ATTR:  # a text that is replaced stays in the file
                data.attrs[key] = value
        for name in source["data"]:
            if name not in purge.demos:
                h5py.h5o.copy(source["data"].id, name.encode(), data.id, name.encode())
        if "total" in data.attrs:
            data.attrs["total"] = steps
        _copy_masks(source, output, purge.demos)
        _copy_own(source, output, dataset, purge)
        lineage = dataset.lineage
        _forget(lineage, withdrawn, record)
        rows = seals_of(source)
        chain = {"chain_before": rows[-1].chain} if rows else {}
        earlier = lineage.get("withdrawn") if isinstance(lineage.get("withdrawn"), list) else []
        data.attrs[LINEAGE_ATTR] = json.dumps({**lineage, "withdrawn": [*earlier, {**entry, **chain}]})
        if rows:
            replace_seals(output, [row for row in rows if row.demo not in purge.demos])


def _copy_masks(source: h5py.File, output: h5py.File, gone: Collection[str]) -> None:
    if "mask" not in source:
        return
    if not isinstance(source["mask"], h5py.Group):
        source.copy("mask", output)
        return
    masks = output.create_group("mask")
    for key, names in source["mask"].items():
        listed = isinstance(names, h5py.Dataset) and names.ndim == 1
        left = [name for name in names[:] if (name.decode() if isinstance(name, bytes) else str(name)) not in gone] if listed else []
        if not listed or len(left) == len(names):
            source.copy(names, masks, key)
        elif left:
            masks.create_dataset(key, data=left, dtype=names.dtype)


def _copy_own(source: h5py.File, output: h5py.File, dataset: Dataset, purge: Purge) -> None:
    """What mimicctl keeps beside the demos; seals are made anew."""
    if "mimicctl" not in source:
        return
    own = output.require_group("mimicctl")
    for name in source["mimicctl"]:
        path = f"mimicctl/{name}"
        if path == ATTEMPTS_PATH and purge.attempts:
            append_attempts(output, [json.dumps(attempt) for attempt in dataset.attempts() if not _names_any(attempt, purge.sources)])
        elif path != SEALS_PATH:
            source.copy(path, own)


def _compare(dataset: Dataset, target: Path, purge: Purge) -> None:
    """RunFailed unless all demos that stay are the same in the new file, and those that go are not in it."""
    with Dataset(target, need_demos=False) as written:
        staying = [name for name in dataset.demos if name not in purge.demos]
        same = list(written.demos) == staying and all(
            demo_sha256(written.group(name)) == demo_sha256(dataset.group(name))
            and attributes_sha256(written.group(name)) == attributes_sha256(dataset.group(name))
            for name in staying
        )
    if not same:
        raise RunFailed("The new file does not hold what was to stay, so the old one was left in place.", where=str(dataset.path), do="mimicctl dataset check")
