"""Whether a hand that follows a path would run into something: the check that a person makes at a glance."""

from __future__ import annotations

import numpy as np

from mimicctl import poses
from mimicctl.tasks import TaskSpec

_MARGIN = 0.014
"""[m] Room left for tracking error and noise."""


def in_hand(task: TaskSpec, object_poses: dict[str, np.ndarray], eef_pose: np.ndarray) -> str | None:
    """Name of the object nearest the tool point, if that lies within it."""
    distance = {name: float(np.linalg.norm(poses.position(pose) - poses.position(eef_pose))) for name, pose in object_poses.items()}
    nearest = min(distance, key=distance.__getitem__)
    return nearest if distance[nearest] < task.object(nearest).edge / 2 else None


def obstacles(task: TaskSpec, object_poses: dict[str, np.ndarray], apart_from: tuple[str | None, ...]) -> list[tuple[np.ndarray, float]]:
    """Centre (3,) and edge [m] of the objects a hand must keep clear of."""
    return [(poses.position(pose), task.object(name).edge) for name, pose in object_poses.items() if name not in apart_from]


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
    return not any(np.any(np.all(np.abs(seen_from_hand - np.array(box.centre)) < np.array(box.half_size) + reach, axis=-1)) for box in task.hand)
