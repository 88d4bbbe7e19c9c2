"""Whether a hand that follows a path would run into something: the check that a person makes at a glance."""

from __future__ import annotations

import numpy as np

from mimicctl import poses
from mimicctl.tasks import TaskSpec

_MARGIN = 0.008
"""[m] Room left for tracking error and noise."""


def obstacles(task: TaskSpec, object_poses: dict[str, np.ndarray], eef_pose: np.ndarray, object_ref: str) -> list[tuple[np.ndarray, float]]:
    """Centre (3,) and edge [m] of the objects a segment about `object_ref` must keep clear of; what is in the hand is none."""
    kept = []
    for name, pose in object_poses.items():
        edge = task.object(name).edge
        in_hand = np.linalg.norm(poses.position(pose) - poses.position(eef_pose)) < edge
        if name != object_ref and not in_hand:
            kept.append((poses.position(pose), edge))
    return kept


def is_clear(task: TaskSpec, path: np.ndarray, obstacles: list[tuple[np.ndarray, float]]) -> bool:
    """Whether none of the hand's boxes meets an obstacle at any pose of `path` (T, 4, 4).

    Obstacles are taken as upright boxes with the hand upright above them, their corners rounded off: a cube
    reaches 0.6 edges sideways, between its face and its corner, and half an edge up.
    """
    if not obstacles:
        return True
    centres = np.stack([centre for centre, _ in obstacles])
    edges = np.array([edge for _, edge in obstacles])
    reach = np.stack([0.6 * edges, 0.6 * edges, 0.5 * edges], axis=-1) + _MARGIN
    seen_from_hand = np.einsum("tji,tnj->tni", poses.rotation(path), centres - poses.position(path)[:, None])
    return not any(
        np.any(np.all(np.abs(seen_from_hand - np.array(box.centre)) < np.array(box.half_size) + reach, axis=-1)) for box in task.hand
    )
