"""Memory and processor time of `mimicctl convert hdf5-to-lerobot` and the way back, for few demos and for many.

    pip install -e ".[lerobot]"
    python benchmarks/lerobot.py [--dataset FILE] [--demos 100 1000] [--image-demos 10 100] [--image-size 84] [--folder DIR]

States are the demos of FILE (mimicctl generate --trials 1000), the first of them for the smaller numbers; pictures are two synthetic cameras, 200 steps a demo.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import h5py
import numpy as np

from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.writer import DatasetWriter
from tests.cameras import SIM_ARGS, TASK, camera_episode

_STEPS = 200


def first_demos(source: Path, path: Path, demos: int) -> int:
    """Mark the first demos of a copy; returns their frames."""
    path.write_bytes(source.read_bytes())
    with Dataset(path) as dataset:
        names = dataset.demos[:demos]
        frames = sum(dataset.length(name) for name in names)
    with h5py.File(path, "r+") as file:
        file.require_group("mask").create_dataset("first", data=np.array(names, dtype="S"))
    return frames


def pictures(path: Path, demos: int, size: int) -> int:
    with DatasetWriter(path, task_id=TASK, lineage={}, env_args={"sim_args": SIM_ARGS}) as writer:
        for number in range(demos):
            writer.write(camera_episode(number, _STEPS, size=(size, size)))
    return demos * _STEPS


def measured(*arguments: str) -> tuple[float, float]:
    """Peak memory [MB] and processor time [s] of a command."""
    process = subprocess.Popen([sys.executable, "-m", "mimicctl", "convert", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"mimicctl convert {' '.join(arguments)} failed:\n{said}")
    return used.ru_maxrss / 1024, used.ru_utime + used.ru_stime


def show(what: str, demos: int, frames: int, source: Path, folder: Path, *options: str) -> None:
    there = measured("hdf5-to-lerobot", "--input-file", str(source), "--output-dir", str(folder), *options)
    back = measured("lerobot-to-hdf5", "--input-dir", str(folder), "--output-file", str(folder.with_name(f"{folder.name}_back.hdf5")))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    print(f"| {what} | {demos} | {frames} | {size:.0f} MB | {there[0]:.0f} MB | {there[1]:.1f} s | {back[0]:.0f} MB | {back[1]:.1f} s |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--demos", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--image-demos", type=int, nargs="*", default=[10, 100])
    parser.add_argument("--image-size", type=int, default=84)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    print("| what | demos | frames | LeRobot dataset | there: memory | processor | back: memory | processor |\n|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        for demos in options.demos if options.dataset else []:
            source = Path(scratch) / f"states_{demos}.hdf5"
            frames = first_demos(options.dataset, source, demos)
            show("states", demos, frames, source, Path(scratch) / f"states_{demos}", "--filter-key", "first")
        for demos in options.image_demos:
            source = Path(scratch) / f"pictures_{demos}.hdf5"
            frames = pictures(source, demos, options.image_size)
            show(f"two cameras, {options.image_size} x {options.image_size}", demos, frames, source, Path(scratch) / f"pictures_{demos}")


if __name__ == "__main__":
    main()
