"""Whether long runs stay small, and parts of a run fit together: python benchmarks/scale.py [--full] [--parts memory merge ray]

- memory: the largest process of a run of N and of 4 N attempts (--full: 1,000 and 10,000), on one and on two workers.
- merge: N attempts in four shards; `merge --verify` beside a plain copy of the same files, each until it is on disk, in alternating order.
- ray: N attempts on a Ray cluster of two cores that is started for it, beside two worker processes, in alternating order, starting up included.

All runs of a part must have the same demonstrations, bit for bit, or it ends with an error.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mimicctl.dataset.merge import merge
from mimicctl.dataset.reader import Dataset
from mimicctl.shard import Shard

SEED = 2026
SHARDS = 4
ROUNDS = 3


def generate(output: Path, attempts: int, workers: int, *flags: str) -> tuple[float, float]:
    """Seconds of a run of its own, and the peak memory of its largest process [MB]."""
    command = [sys.executable, "-m", "mimicctl", "generate", "--trials", str(attempts), "--no-guarantee", "--workers", str(workers), "--seed", str(SEED)]
    began = time.perf_counter()
    child = subprocess.Popen([*command, "--output-file", str(output), "--overwrite", *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    if child_failed := os.waitstatus_to_exitcode(status):
        raise SystemExit(f"a run failed with exit code {child_failed}: {' '.join(command)}")
    return time.perf_counter() - began, used.ru_maxrss / 1000


def content(path: Path) -> str:
    with Dataset(path) as dataset:
        return f"{dataset.content_hash()} {json.dumps(dataset.attempts())}"


def require_equal(*paths: Path) -> None:
    if len({content(path) for path in paths}) > 1:
        raise SystemExit(f"not the same demonstrations: {', '.join(path.name for path in paths)}")


def memory(folder: Path, few: int, many: int) -> None:
    outputs: dict[int, list[Path]] = {few: [], many: []}
    for workers in (1, 2):
        peaks = {}
        for attempts in (few, many):
            output = folder / f"{attempts}-{workers}.hdf5"
            seconds, peaks[attempts] = generate(output, attempts, workers)
            outputs[attempts].append(output)
            print(f"{attempts:>6} attempts, {workers} workers: {peaks[attempts]:5.0f} MB, {attempts / seconds:5.1f} attempts/s", flush=True)
        print(f"        the long run takes {peaks[many] / peaks[few]:.2f} times the memory of the short one", flush=True)
    for paths in outputs.values():
        require_equal(*paths)
    print("        the same demonstrations on 1 and 2 workers")


def merging(folder: Path, attempts: int) -> None:
    shards = [Shard(i, SHARDS) for i in range(SHARDS)]
    for shard in shards:
        generate(folder / "parts.hdf5", attempts, 2, "--shard", str(shard))
    files = [shard.path(folder / "parts.hdf5") for shard in shards]
    whole, merged, copies = folder / "whole.hdf5", folder / "merged.hdf5", folder / "copies"
    generate(whole, attempts, 2)

    def copy() -> None:
        copies.mkdir()
        subprocess.run(["cp", *map(str, files), str(copies)], check=True)

    def join() -> None:
        merge(files, merged, verify=True)

    seconds: dict[str, list[float]] = {"copy": [], "join": []}
    for number in range(ROUNDS):
        for work in (copy, join) if number % 2 else (join, copy):
            shutil.rmtree(copies, ignore_errors=True)
            merged.unlink(missing_ok=True)
            os.sync()
            began = time.perf_counter()
            work()
            os.sync()
            seconds[work.__name__].append(time.perf_counter() - began)
            if work is join:
                require_equal(whole, merged)
    size = sum(path.stat().st_size for path in files)
    for name, times in seconds.items():
        print(f"{name:<6} {size / statistics.median(times) / 1e6:6.0f} MB/s   all: {', '.join(f'{t:.2f} s' for t in times)}")
    ratio = statistics.median(c / j for c, j in zip(seconds["copy"], seconds["join"], strict=True))
    print(
        f"        {SHARDS} shards, {size / 1e6:.0f} MB; merge --verify has {100 * ratio:.0f} % of the speed of cp; the merged file is that of one run",
        flush=True,
    )


def ray(folder: Path, attempts: int) -> None:
    outputs = {"pool": folder / "pool.hdf5", "ray": folder / "ray.hdf5"}
    seconds: dict[str, list[float]] = {"pool": [], "ray": []}
    for number in range(ROUNDS):
        for engine in ("pool", "ray") if number % 2 else ("ray", "pool"):
            seconds[engine].append(generate(outputs[engine], attempts, 2, "--engine", engine)[0])
        require_equal(*outputs.values())
    for engine, times in seconds.items():
        print(f"{engine:<6} {attempts / statistics.median(times):5.1f} attempts/s   all: {', '.join(f'{t:.1f} s' for t in times)}")
    ratio = statistics.median(p / r for p, r in zip(seconds["pool"], seconds["ray"], strict=True))
    print(f"        ray has {100 * ratio:.0f} % of the speed of the pool, and makes the same demonstrations", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="10,000 attempts")
    parser.add_argument("--attempts", type=int, default=250, help="N, without --full")
    parser.add_argument("--parts", nargs="+", choices=("memory", "merge", "ray"), default=["memory", "merge", "ray"])
    options = parser.parse_args()
    few, many = (1000, 10_000) if options.full else (options.attempts, 4 * options.attempts)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "memory" in options.parts:
            memory(folder, few, many)
        if "merge" in options.parts:
            merging(folder, many if options.full else few)
        if "ray" in options.parts:
            ray(folder, many if options.full else few)


if __name__ == "__main__":
    main()
