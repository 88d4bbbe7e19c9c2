"""Camera-like data: a disc that moves over a textured table, seen in colour, segmentation, normals and depth, with the keys, types and ranges
of Isaac Lab's Cosmos task (stored normals are (n + 1) / 2, depth is metres with 0 for nothing, segmentation is RGBA)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mimicctl.dataset.writer import DatasetWriter
from mimicctl.schema import Episode
from tests.episodes import make_episode

TASK = "MuJoCo-Stack-Cube-Franka-IK-Rel-Visuomotor-Cosmos-v0"
SIM_ARGS = {"dt": 0.005, "decimation": 10}
DISC, TABLE = (255, 36, 66, 255), (255, 237, 218, 255)
"""Colours of Isaac Lab's segmentation: cube_2 and the table."""


def camera_episode(number: int = 0, steps: int = 12, size: tuple[int, int] = (40, 48), **changes: object) -> Episode:
    """An episode with pictures of (height, width) that tell number and step: the disc moves on, its brightness is the number's."""
    episode = make_episode(number, steps)
    height, width = size
    y, x = np.mgrid[0:height, 0:width]
    disc = np.stack([np.hypot(x - _centre(number, t, width), y - height / 2) < height / 5 for t in range(steps)])
    table = np.stack([x * 160 // width + 40, y * 160 // height + 40, (x + y) * 80 // (width + height) + 60], axis=-1).astype(np.uint8)
    colour = np.array([240 - 20 * (number % 8), 40, 30], np.uint8)
    normals = np.where(disc[..., None], np.array([0.75, 0.5, 0.9], np.float32), np.array([0.5, 0.5, 1.0], np.float32))
    episode.obs |= {
        "table_cam": np.where(disc[..., None], colour, table),
        "wrist_cam": np.where(disc[..., None], colour, table)[:, ::-1].copy(),
        "table_cam_segmentation": np.where(disc[..., None], np.array(DISC, np.uint8), np.array(TABLE, np.uint8)),
        "table_cam_normals": normals.astype(np.float32),
        "table_cam_depth": np.where(disc, 0.6, np.where(y < height // 4, 0.0, 0.9))[..., None].astype(np.float32),
    }
    episode.obs |= changes
    return episode


def _centre(number: int, step: int, width: int) -> float:
    return width * (0.5 + 0.3 * np.sin(step / 8 + number))


def camera_file(path: Path, demos: int = 3, **options) -> Path:
    """A dataset of camera episodes, each two steps longer than the last."""
    with DatasetWriter(path, task_id=TASK, lineage={"made_by": "test"}, env_args={"sim_args": SIM_ARGS}) as writer:
        for number in range(demos):
            writer.write(camera_episode(number, 12 + 2 * number, **options))
    return path
