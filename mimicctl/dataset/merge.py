"""Many datasets to one. Stored chunks are copied as they are, compressed or not; nothing is decoded."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

import mimicctl
from mimicctl.dataset.merge_plan import MergePlan, Move, Source, plan_merge
from mimicctl.dataset.reader import Dataset, file_sha256
from mimicctl.dataset.whole_file import META_BLOCK, checked_whole_output, refuse_full_disk, whole_file
from mimicctl.dataset.writer import write_masks
from mimicctl.schema import FORMAT_VERSION, INTENDED_ACTIONS, LINEAGE_ATTR


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
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Merged:
    """Check, then write all demos of the inputs to one file, which appears when it is complete.

    Args:
        common_keys: where demos differ in the arrays they have, keep those that all of them have.
        on_progress: called with demos done and demos in all.

    Raises:
        UserError: the inputs do not fit together, or the output exists.
        RunFailed: it could not be written. The output is as it was.
    """
    target = checked_whole_output(inputs, output, overwrite=overwrite)
    plan = plan_merge(inputs, common_keys=common_keys)
    refuse_full_disk(target, sum(source.size for source in plan.sources))
    with whole_file(target, "Merging") as partial:
        _write(plan, partial, on_progress)
    return Merged(target, plan)


def _write(plan: MergePlan, path: Path, on_progress: Callable[[int, int], None]) -> None:
    first = plan.sources[0]
    with ExitStack() as stack:
        # Beside the copying, on another core.
        pool = ThreadPoolExecutor(1)
        stack.callback(pool.shutdown, cancel_futures=True)
        hashes = [pool.submit(file_sha256, source.path) for source in plan.sources]
        output = stack.enter_context(h5py.File(path, "w", meta_block_size=META_BLOCK))
        if first.format_version >= FORMAT_VERSION:
            output.attrs["format_version"] = first.format_version
        data = output.create_group("data")
        done = 0
        for i, moves in itertools.groupby(plan.moves, key=lambda move: move.source):
            with Dataset(plan.sources[i].path) as dataset:  # one at a time: each open file keeps caches of its own
                for move in moves:
                    _copy_demo(dataset, data, move, plan)
                    on_progress(done := done + 1, len(plan.moves))
        data.attrs["total"] = plan.steps
        data.attrs["env_args"] = json.dumps(first.env_args)
        data.attrs[LINEAGE_ATTR] = json.dumps(_lineage(plan, [h.result() for h in hashes]))
        if plan.masks:
            write_masks(output, plan.masks)


def _copy_demo(dataset: Dataset, data: h5py.Group, move: Move, plan: MergePlan) -> None:
    demo = dataset.group(move.demo)
    if plan.dropped_keys:
        copy = data.create_group(move.name)
        for key, value in demo.attrs.items():
            copy.attrs[key] = value
        for path in (*plan.keys, *({INTENDED_ACTIONS} & demo.keys())):
            folder, _, name = path.rpartition("/")
            demo.file.copy(demo[path], copy.require_group(folder) if folder else copy, name)
    else:
        demo.file.copy(demo, data, move.name)
        copy = data[move.name]
    lineage = dataset.demo_lineage(move.demo)
    before = {"merged_from": lineage["merged_from"]} if "merged_from" in lineage else {}
    copy.attrs[LINEAGE_ATTR] = json.dumps({**lineage, "merged_from": {"input": move.source, "demo": move.demo, **before}})


def _lineage(plan: MergePlan, hashes: Sequence[str]) -> dict[str, Any]:
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
