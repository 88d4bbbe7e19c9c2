"""A recording by the real lerobot that is killed: python -m tests.conversion.crashing_lerobot FOLDER EPISODES WHERE."""

from __future__ import annotations

import os
import signal
import sys

import numpy as np

FPS, FIRST = 20, 11
"""Frames per second, and steps of the first episode; each has one more than the last."""

_PICTURE = {"dtype": "video", "names": ["height", "width", "channels"]}
FEATURES = {
    "action": {"dtype": "float32", "shape": (7,), "names": [f"joint_{i}" for i in range(7)]},
    "observation.state": {"dtype": "float32", "shape": (3,), "names": ["x", "y", "z"]},
    "next.success": {"dtype": "bool", "shape": (1,), "names": None},
    "observation.images.front": {**_PICTURE, "shape": (64, 80, 3)},
    "observation.images.wrist": {**_PICTURE, "shape": (48, 64, 3)},
}


def frame(episode: int, step: int) -> dict[str, object]:
    """What is recorded at a step."""
    rng = np.random.default_rng((episode, step))
    return {
        "action": rng.normal(size=7).astype(np.float32),
        "observation.state": np.array([episode, step, 1], np.float32),
        "next.success": np.array([step == FIRST + episode - 1]),
        "observation.images.front": np.full((64, 80, 3), 20 * (episode % 10) + step, np.uint8),
        "observation.images.wrist": np.full((48, 64, 3), 255 - 20 * (episode % 10) - step, np.uint8),
    }


def die(*arguments: object, **named: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def record(root: str, episodes: int, where: str) -> None:
    """Until it is killed: while the last episode is recorded or saved, at a certain place, or after it was."""
    from lerobot.datasets import dataset_writer
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset.create("local/crashed", FPS, FEATURES, root=root, use_videos=True, streaming_encoding=where == "streaming")
    places = {
        "rows saved": (dataset_writer.DatasetWriter, "_save_episode_video"),
        "one camera encoded": (dataset_writer, "concatenate_video_files"),
        "pictures saved": (type(dataset.meta), "save_episode"),
        "streaming": (dataset_writer.DatasetWriter, "_save_episode_video"),
    }
    for episode in range(episodes):
        last = episode == episodes - 1
        if last and where in places:
            setattr(*places[where], die)
        for step in range(FIRST + episode):
            dataset.add_frame({**frame(episode, step), "task": f"Task {episode % 2}."})
            if last and where == "recording" and step == 5:
                die()
        dataset.save_episode(parallel_encoding=False)
    die()


if __name__ == "__main__":
    record(sys.argv[1], int(sys.argv[2]), sys.argv[3])
