"""Many datasets to one. What is stored is copied as it is, compressed or not; nothing is decoded."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import h5py

import mimicctl
from mimicctl.dataset.merge_plan import MergePlan, Move, Source, plan_merge, require_unchanged
from mimicctl.dataset.reader import Dataset, file_sha256
from mimicctl.dataset.seals import Seal, attributes_sha256, demo_sha256, replace_seals
from mimicctl.dataset.shards import plan_shards
from mimicctl.dataset.splice import append, count_links, enter, part_of
from mimicctl.dataset.whole_file import META_BLOCK, checked_whole_output, refuse_full_disk, whole_file
from mimicctl.dataset.writer import append_attempts, write_masks
from mimicctl.schema import FORMAT_VERSION, INTENDED_ACTIONS, LINEAGE_ATTR

_MOST_HASHING = 4
"""Files whose sha256 is found out at a time, if there are cores for it: one core takes 1.8 GB/s."""


@dataclass(frozen=True)
class Merged:
    """What a merge made."""

    path: Path
    plan: MergePlan


def merge(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    common_keys: bool = False,
    verify: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Merged:
    """Check, then write all demos of the inputs to one file, which appears when it is complete.

    Args:
        common_keys: where demos differ in the arrays they have, keep those that all of them have.
        verify: the inputs are the shards of one run; if they are all there and complete, write the file that the run in one piece would have made.
        on_progress: called with demos done and demos in all.

    Raises:
        UserError: the inputs do not fit together, or the output exists.
        RunFailed: it could not be written, or the shards of a run have too few successes. The output is as it was.
    """
    target = checked_whole_output(inputs, output, overwrite=overwrite)
    with _hashing(inputs) as hashes:
        plan = plan_shards(inputs) if verify else plan_merge(inputs, common_keys=common_keys)
        refuse_full_disk(target, sum(source.size for source in plan.sources))
        with whole_file(target, "Merging") as partial:
            _write(plan, hashes, partial, on_progress)
    return Merged(target, plan)


@contextmanager
def _hashing(paths: Sequence[str | Path]) -> Iterator[list[Future[str]]]:
    """sha256 of each file, found out on another core while the block looks into them and copies. If the block fails they are given up."""
    given_up = Event()
    with ThreadPoolExecutor(min(len(paths) or 1, _MOST_HASHING, max(1, (os.cpu_count() or 1) - 1))) as pool:
        try:
            yield [pool.submit(file_sha256, Path(path).expanduser(), given_up.is_set) for path in paths]
        finally:
            given_up.set()
            pool.shutdown(cancel_futures=True)


def _write(plan: MergePlan, hashes: Sequence[Future[str]], path: Path, on_progress: Callable[[int, int], None]) -> None:
    first, done = plan.sources[0], 0

    def advance(demos: float) -> None:
        on_progress(round(done + demos), len(plan.moves))

    with h5py.File(path, "w") as output:
        if first.format_version >= FORMAT_VERSION:
            output.attrs["format_version"] = first.format_version
        output.create_group("data")
    spliced: dict[str, int] = {}
    for source, moves in _by_source(plan):
        origin = plan.sources[source]
        part = None if plan.dropped_keys else part_of(origin.path, origin.inventory, [move.demo for move in moves])
        if part:
            headers = append(path, part, lambda share, moves=moves: advance(share * len(moves)))
            spliced |= {move.name: headers[move.demo] for move in moves}
            done += len(moves)
    require_unchanged(plan.sources)  # what was found in them before leads to other places now
    with h5py.File(path, "r+", meta_block_size=META_BLOCK) as output:
        data = output["data"]
        enter(data, spliced)
        for source, moves in _by_source(plan):
            if moves[0].name in spliced:
                continue
            with Dataset(plan.sources[source].path) as dataset:
                for move in moves:
                    _copy_demo(dataset, data, move, plan)
                    done += 1
                    advance(0)
        if not plan.run:  # else they are demos of the run, wherever their shard was made
            for move in plan.moves:
                _tell_origin(data[move.name], plan.sources[move.source].demos[move.demo].lineage, move)
        data.attrs["total"] = plan.steps
        data.attrs["env_args"] = json.dumps(first.env_args)
        data.attrs[LINEAGE_ATTR] = json.dumps(_lineage(plan, [h.result() for h in hashes]))
        replace_seals(output, list(_seals(plan, data)))
        if plan.run:
            append_attempts(output, plan.run.attempts)
        if plan.masks:
            write_masks(output, plan.masks)
    count_links(path, spliced.values())
    require_unchanged(plan.sources)


def _by_source(plan: MergePlan) -> list[tuple[int, list[Move]]]:
    moves: dict[int, list[Move]] = defaultdict(list)
    for move in plan.moves:
        moves[move.source].append(move)
    return sorted(moves.items())


def _copy_demo(dataset: Dataset, data: h5py.Group, move: Move, plan: MergePlan) -> None:
    demo = dataset.group(move.demo)
    if not plan.dropped_keys:
        h5py.h5o.copy(demo.parent.id, move.demo.encode(), data.id, move.name.encode())
        return
    copy = data.create_group(move.name)
    for key, value in demo.attrs.items():
        copy.attrs[key] = value
    for path in (*plan.keys, *({INTENDED_ACTIONS} & demo.keys())):
        folder, _, name = path.rpartition("/")
        demo.file.copy(demo[path], _group_of(folder, demo, copy), name)


def _group_of(path: str, demo: h5py.Group, copy: h5py.Group) -> h5py.Group:
    """A group of the copy ("" is the copy itself), with the attributes that it has in the demo."""
    if path and path not in copy:
        above, _, name = path.rpartition("/")
        group = _group_of(above, demo, copy).create_group(name)
        for key, value in demo[path].attrs.items():
            group.attrs[key] = value
    return copy[path] if path else copy


def _seals(plan: MergePlan, data: h5py.Group) -> Iterator[Seal]:
    """Those that the demos had, with what has changed of them. A demo without one gets none: nobody knows what it was when it was written."""
    for move in plan.moves:
        seal = plan.sources[move.source].seals.get(move.demo)
        if seal is None:
            continue
        content, parent = (demo_sha256(data[move.name]), seal.content) if plan.dropped_keys else (seal.content, seal.parent)
        if content == parent:  # it had none of the keys that were dropped
            parent = seal.parent
        yield Seal(move.name, content, parent, seal.attributes if plan.run else attributes_sha256(data[move.name]))


def _tell_origin(copy: h5py.Group, lineage: dict[str, Any], move: Move) -> None:
    before = {"merged_from": lineage["merged_from"]} if "merged_from" in lineage else {}
    copy.attrs[LINEAGE_ATTR] = json.dumps({**lineage, "merged_from": {"input": move.source, "demo": move.demo, **before}})


def _lineage(plan: MergePlan, hashes: Sequence[str]) -> dict[str, Any]:
    if plan.run:
        shards = [{"shard": source.lineage["shard"], "file_sha256": digest} for source, digest in zip(plan.sources, hashes, strict=True)]
        return {**plan.run.lineage, "shards": shards}

    def entry(source: Source, digest: str) -> dict[str, Any]:
        return {"file": source.path.name, "file_sha256": digest, "task": source.task_id, "lineage": source.lineage}

    return {
        "made_by": "mimicctl merge",
        "version": mimicctl.__version__,
        "task": plan.sources[0].task_id,
        "inputs": [entry(source, digest) for source, digest in zip(plan.sources, hashes, strict=True)],
        "left_out": [{"input": d.source, "demo": d.demo, "same_as": {"input": d.same_as[0], "demo": d.same_as[1]}} for d in plan.duplicates],
        "dropped_keys": list(plan.dropped_keys),
    }
