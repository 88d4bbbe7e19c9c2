"""What a committed episode costs: time and size per episode, and the share of the commit itself.

    python benchmarks/write_episodes.py [--episodes 300] [--steps 250] [--durable]

Episodes are state-only, 31 arrays and about 200 kB each. Prints the median and the slowest 1 % per episode, all in (HDF5, working copy,
rename), and as a yardstick the same arrays written by plain h5py without any protection, with one flush an episode.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from mimicctl.dataset.writer import DatasetWriter, leaves
from mimicctl.schema import Episode


def make_episode(steps: int) -> Episode:
    """The arrays of the cube stack, filled with noise."""
    rng = np.random.default_rng(0)

    def arrays(widths: dict[str, int], length: int) -> dict[str, np.ndarray]:
        return {key: rng.normal(size=(length, width)).astype(np.float32) for key, width in widths.items()}

    robot = {"root_pose": 7, "root_velocity": 6, "joint_position": 9, "joint_velocity": 9}
    scene = {f"articulation/robot/{key}": width for key, width in robot.items()}
    scene |= {f"rigid_object/cube_{i}/{key}": width for i in (1, 2, 3) for key, width in (("root_pose", 7), ("root_velocity", 6))}
    seen = {"actions": 7, "joint_pos": 9, "joint_vel": 9, "object": 39, "cube_positions": 9, "cube_orientations": 12}
    seen |= {"eef_pos": 3, "eef_quat": 4, "gripper_pos": 2}
    return Episode(
        actions=rng.uniform(-1, 1, (steps, 7)).astype(np.float32),
        processed_actions=rng.normal(size=(steps, 8)).astype(np.float32),
        obs=arrays(seen, steps),
        states=arrays(scene, steps),
        initial_state=arrays(scene, 1),
        success=True,
        seed=1,
        lineage={"trial": 1, "sources": [{"demo": "demo_1", "subtask": i} for i in range(4)]},
    )


def time_committed(path: Path, episode: Episode, count: int, durable: bool) -> np.ndarray:
    """Seconds of each write, commit included."""
    seconds = []
    with DatasetWriter(path, task_id="benchmark", lineage={}, durable=durable) as writer:
        for _ in range(count):
            start = time.perf_counter()
            writer.write(episode, ["{}"])
            seconds.append(time.perf_counter() - start)
    return np.array(seconds)


def time_plain(path: Path, episode: Episode, count: int) -> np.ndarray:
    seconds = []
    with h5py.File(path, "w") as file:
        for i in range(count):
            start = time.perf_counter()
            group = file.create_group(f"data/demo_{i}")
            for key, array in leaves(episode):
                group.create_dataset(key, data=array)
            file.flush()
            seconds.append(time.perf_counter() - start)
    return np.array(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=300)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--durable", action="store_true", help="sync to disk, as record does")
    options = parser.parse_args()
    episode = make_episode(options.steps)
    arrays = leaves(episode)
    size = sum(array.nbytes for _, array in arrays)
    print(f"{len(arrays)} arrays, {size / 1000:.0f} kB an episode, {options.episodes} episodes")
    with tempfile.TemporaryDirectory() as folder:
        committed, plain = Path(folder) / "committed.hdf5", Path(folder) / "plain.hdf5"
        report("committed", time_committed(committed, episode, options.episodes, options.durable), committed)
        report("plain h5py", time_plain(plain, episode, options.episodes), plain)


def report(label: str, seconds: np.ndarray, path: Path) -> None:
    median, slow = 1000 * np.median(seconds), 1000 * np.quantile(seconds, 0.99)
    per_episode = path.stat().st_size / len(seconds) / 1000
    print(f"{label:>10}: median {median:.2f} ms, 99 % within {slow:.2f} ms, {per_episode:.0f} kB on disk an episode")


if __name__ == "__main__":
    main()
