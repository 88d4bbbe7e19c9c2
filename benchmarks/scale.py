"""Whether long runs stay small, and parts of a run fit together: python benchmarks/scale.py [--full] [--parts memory merge ray] [--folder DIR]

- memory: the memory of a run of N and of 4 N attempts (--full: 1,000 and 10,000), on one and on two workers; parent and workers apart.
- merge: N attempts in four shards (--full: 10,000), or the shards of another run (--shards FILES, without a run in one piece to compare with); `merge --verify`
  beside a plain copy of the same files, each until it is on disk, in alternating order.
- ray: N attempts on a Ray cluster of two cores that is started for it, beside two worker processes, in alternating order; starting up apart, and included.

All runs of a part must have the same demonstrations, bit for bit, or it ends with an error. Every figure is printed when it is there. With --folder the
runs of `memory` and `merge` are kept there and not made again, so that parts can be repeated at another time, or on another disk (copy the shards).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mimicctl.dataset.merge import merge
from mimicctl.dataset.reader import Dataset
from mimicctl.shard import Shard

SEED = 2026
SHARDS = 4
MERGE_ROUNDS = 7
RAY_ROUNDS = 3
STARTING = 2
"""Attempts of a run that is little more than starting up."""


@dataclass
class Cost:
    """What a run took: seconds, and peak memory [MB] of the process that was started, of the largest of its workers, and of all of them at a time."""

    seconds: float = 0.0
    parent: float = 0.0
    worker: float = 0.0
    together: float = 0.0

    def __str__(self) -> str:
        worker = f", largest worker {self.worker:.0f} MB" if self.worker else ""
        return f"{self.seconds:.1f} s, parent {self.parent:.0f} MB{worker}, all together {self.together:.0f} MB"


def generate(output: Path, attempts: int, workers: int, *flags: str) -> Cost:
    """A run of its own; with no worker processes the trials are done in the parent."""
    command = [sys.executable, "-m", "mimicctl", "generate", "--trials", str(attempts), "--no-guarantee", "--workers", str(workers), "--seed", str(SEED)]
    cost, began = Cost(), time.perf_counter()
    child = subprocess.Popen([*command, "--output-file", str(output), "--overwrite", *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    before: set[int] = set()
    while child.poll() is None:
        before = watch(child.pid, cost, before)
        time.sleep(0.2)
    cost.seconds = time.perf_counter() - began
    if child.returncode:
        raise SystemExit(f"a run failed with exit code {child.returncode}: {' '.join(command)}")
    return cost


def watch(parent: int, cost: Cost, before: set[int]) -> set[int]:
    """Take the memory of a process and of those that it started, by what the kernel says of their peaks and of now. Returns the latter processes.

    Args:
        before: those that there were the last time. One that has only just begun may still be a fork that shares its parent's memory.
    """
    started = set(children(parent))
    memory = {pid: found for pid in (parent, *(started & before)) if (found := peak_and_present(pid))}
    cost.parent = max(cost.parent, memory.get(parent, (0, 0))[0])
    cost.worker = max([cost.worker, *(peak for pid, (peak, _) in memory.items() if pid != parent)])
    cost.together = max(cost.together, sum(present for _, present in memory.values()))
    return started


def children(parent: int) -> list[int]:
    try:
        found = [int(pid) for task in Path(f"/proc/{parent}/task").iterdir() for pid in (task / "children").read_text().split()]
    except OSError:  # it has ended
        return []
    return [*found, *(pid for child in found for pid in children(child))]


def peak_and_present(pid: int) -> tuple[float, float] | None:
    """Largest and present resident memory of a process [MB]."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    sizes = [re.search(rf"{key}:\s+(\d+) kB", status) for key in ("VmHWM", "VmRSS")]
    return tuple(int(size[1]) / 1000 for size in sizes) if all(sizes) else None


def content(path: Path) -> str:
    with Dataset(path) as dataset:
        return f"{dataset.content_hash()} {json.dumps(dataset.attempts())}"


def require_equal(*paths: Path) -> None:
    if len({content(path) for path in paths}) > 1:
        raise SystemExit(f"not the same demonstrations: {', '.join(path.name for path in paths)}")


def memory(folder: Path, few: int, many: int) -> None:
    outputs: dict[int, list[Path]] = {few: [], many: []}
    for workers in (1, 2):
        costs = {}
        for attempts in (few, many):
            output = folder / f"{attempts}-{workers}.hdf5"
            costs[attempts] = generate(output, attempts, workers)
            outputs[attempts].append(output)
            print(f"{attempts:>6} attempts, {workers} workers: {attempts / costs[attempts].seconds:5.1f} attempts/s, {costs[attempts]}", flush=True)
        kinds = [key for key in ("parent", "worker", "together") if getattr(costs[few], key)]
        ratios = (f"{key} {getattr(costs[many], key) / getattr(costs[few], key):.2f}" for key in kinds)
        print(f"        the long run takes so many times the memory of the short one: {', '.join(ratios)}", flush=True)
    for paths in outputs.values():
        require_equal(*paths)
    print("        the same demonstrations on 1 and 2 workers", flush=True)


def shards_and_whole(folder: Path, attempts: int) -> tuple[list[Path], Path]:
    """The shards of a run, and the run in one piece; made if they are not there."""
    shards = [Shard(i, SHARDS) for i in range(SHARDS)]
    for shard in shards:
        if not shard.path(folder / f"{attempts}.hdf5").exists():
            print(f"shard {shard}: {generate(folder / f'{attempts}.hdf5', attempts, 2, '--shard', str(shard))}", flush=True)
    whole = folder / f"{attempts}-2.hdf5"  # that of `memory`
    if not whole.exists():
        print(f"in one piece: {generate(whole, attempts, 2)}", flush=True)
    return [shard.path(folder / f"{attempts}.hdf5") for shard in shards], whole


def processors() -> float:
    """Processor time of this process and of those it waited for [s]."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def merging(folder: Path, files: list[Path], whole: Path | None) -> None:
    merged, copies = folder / "merged.hdf5", folder / "copies"

    def copy() -> None:
        copies.mkdir()
        subprocess.run(["cp", *map(str, files), str(copies)], check=True)

    def join() -> None:
        merge(files, merged, verify=True)

    def timed(work: Callable[[], None]) -> tuple[float, float]:
        shutil.rmtree(copies, ignore_errors=True)
        merged.unlink(missing_ok=True)
        os.sync()
        began, used = time.perf_counter(), processors()
        work()
        for path in (merged, *copies.glob("*")):
            if path.exists():
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
        return time.perf_counter() - began, processors() - used

    size = sum(path.stat().st_size for path in files)
    taken: dict[str, list[tuple[float, float]]] = {"copy": [], "join": []}
    for number in range(-1, MERGE_ROUNDS):  # the first round only warms up
        for work in (copy, join) if number % 2 else (join, copy):
            seconds, used = timed(work)
            if number >= 0:
                taken[work.__name__].append((seconds, used))
                print(f"{work.__name__}: {seconds:.2f} s, {size / seconds / 1e6:.0f} MB/s; {used:.2f} s of processors", flush=True)
    join()
    if whole:
        require_equal(whole, merged)
    with Dataset(merged) as dataset:
        demos = len(dataset)
    ratio = statistics.median(c / j for (c, _), (j, _) in zip(taken["copy"], taken["join"], strict=True))
    used = {name: statistics.median(cpu for _, cpu in times) for name, times in taken.items()}
    print(
        f"        {len(files)} shards, {demos} demos, {size / 1e6:.0f} MB; merge --verify has {100 * ratio:.0f} % of the speed of cp (median of {MERGE_ROUNDS} pairs); "
        f"processors {used['join']:.2f} s, {1e3 * used['join'] / demos:.2f} ms a demo, cp {used['copy']:.2f} s{'; the merged file is that of one run' if whole else ''}",
        flush=True,
    )


def ray(folder: Path, attempts: int) -> None:
    outputs = {"pool": folder / "pool.hdf5", "ray": folder / "ray.hdf5"}
    start: dict[str, list[float]] = {"pool": [], "ray": []}
    seconds: dict[str, list[float]] = {"pool": [], "ray": []}
    for number in range(RAY_ROUNDS):
        for engine in ("pool", "ray") if number % 2 else ("ray", "pool"):
            start[engine].append(generate(outputs[engine], STARTING, 2, "--engine", engine).seconds)
            cost = generate(outputs[engine], attempts, 2, "--engine", engine)
            seconds[engine].append(cost.seconds)
            print(f"{engine}: {cost}, {attempts / cost.seconds:.1f} attempts/s; {STARTING} attempts alone {start[engine][-1]:.1f} s", flush=True)
        require_equal(*outputs.values())
    whole = statistics.median(p / r for p, r in zip(seconds["pool"], seconds["ray"], strict=True))
    beyond = {engine: [long - short for long, short in zip(seconds[engine], start[engine], strict=True)] for engine in seconds}
    apart = statistics.median(p / r for p, r in zip(beyond["pool"], beyond["ray"], strict=True))
    print(
        f"        ray has {100 * whole:.0f} % of the speed of the pool, {100 * apart:.0f} % without starting up, and makes the same demonstrations", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="10,000 attempts")
    parser.add_argument("--attempts", type=int, default=250, help="N, without --full")
    parser.add_argument("--parts", nargs="+", choices=("memory", "merge", "ray"), default=["memory", "merge", "ray"])
    parser.add_argument("--shards", nargs="+", type=Path, help="merge: these")
    parser.add_argument("--folder", type=Path, help="where to work and to keep the runs (10,000 attempts take 2 GB, and merging three times that)")
    options = parser.parse_args()
    few, many = (1000, 10_000) if options.full else (options.attempts, 4 * options.attempts)
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        if "memory" in options.parts:
            memory(folder, few, many)
        if "merge" in options.parts:
            merging(folder, *((options.shards, None) if options.shards else shards_and_whole(folder, many if options.full else few)))
        if "ray" in options.parts:
            ray(folder, many if options.full else few)


if __name__ == "__main__":
    main()
