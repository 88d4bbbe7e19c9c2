"""How fast `mimicctl merge` is beside a plain copy of the same files, and whether its memory stays flat.

    python benchmarks/merge.py [--files 10] [--gigabytes 1.0] [--rounds 3] [--folder DIR]

The files hold two cameras of 200 x 200, compressed frame by frame, and the states of the cube stack. A round copies all of them with `cp` and
merges them, in alternating order, each until it is on disk (sync). Needs twice the space of the files.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from write_episodes import make_episode

from mimicctl.dataset.writer import DatasetWriter

STEPS = 200
CAMERAS = ("table_cam", "wrist_cam")


def frames(rng: np.random.Generator) -> np.ndarray:
    """(STEPS, 200, 200, 3) uint8: a disc that moves over a shaded table with some camera noise."""
    y, x = np.mgrid[0:200, 0:200]
    table = rng.integers(0, 24, (200, 200, 3)) + np.stack([x // 2, y // 2, (x + y) // 4], axis=-1)
    out = np.repeat(table[None].astype(np.uint8), STEPS, axis=0)
    for t in range(STEPS):
        out[t, np.hypot(x - 100 - 50 * np.sin(t / 20), y - 100) < 30] = (200, 30, 40)
    return out


def make_file(path: Path, gigabytes: float, seed: int) -> None:
    """Compress the frames of one demo, and put the same chunks into each of the others."""
    rng = np.random.default_rng(seed)
    episode = make_episode(STEPS)
    episode.obs |= {camera: frames(rng) for camera in CAMERAS}
    with DatasetWriter(path, task_id="benchmark", lineage={}) as writer:
        writer.write(episode)
    with h5py.File(path, "r+", meta_block_size=1 << 20) as file:
        data = file["data"]
        for i in range(1, max(2, round(gigabytes * 1e9 / path.stat().st_size))):
            file.copy(data["demo_0"], data, f"demo_{i}")
            data[f"demo_{i}/actions"][...] = rng.uniform(-1, 1, (STEPS, 7))


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds of wall clock until all is on disk, and of processors; on a machine that others use the second is the steadier."""

    def processors() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    os.sync()
    start, used = time.perf_counter(), processors()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.sync()
    return time.perf_counter() - start, processors() - used


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        inputs = [Path(folder, f"{i}.hdf5") for i in range(options.files)]
        for i, path in enumerate(inputs):
            make_file(path, options.gigabytes, i)
        size = sum(path.stat().st_size for path in inputs)
        copies, merged = Path(folder, "copies"), Path(folder, "merged.hdf5")
        commands = {
            "cp": ["cp", *map(str, inputs), str(copies)],
            "merge": [sys.executable, "-m", "mimicctl", "merge", *map(str, inputs), "--output-file", str(merged)],
        }
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for number in range(options.rounds):
            for name in list(commands) if number % 2 else reversed(commands):
                copies.mkdir(exist_ok=True)
                seconds[name].append(timed(commands[name]))
                subprocess.run(["rm", "-rf", str(copies), str(merged)], check=True)
        for name, times in seconds.items():
            wall, used = (statistics.median(column) for column in zip(*times, strict=True))
            print(f"{name:<6} {wall:6.1f} s  {size / wall / 1e6:6.0f} MB/s  {used:6.1f} s of processors   all: {', '.join(f'{t:.1f}' for t, _ in times)}")
        ratio = statistics.median(c[0] / m[0] for c, m in zip(seconds["cp"], seconds["merge"], strict=True))
        print(f"{options.files} files, {size / 1e9:.2f} GB; merge has {100 * ratio:.0f} % of the speed of cp (median of rounds)")
        print(f"peak memory of merge: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000:.0f} MB")


if __name__ == "__main__":
    main()
