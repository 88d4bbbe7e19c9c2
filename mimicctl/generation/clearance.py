"""How much room a hand has on a path: what a person takes in at a glance."""

from __future__ import annotations

import numpy as np

from mimicctl import poses
from mimicctl.tasks import TaskSpec


def in_hand(task: TaskSpec, object_poses: dict[str, np.ndarray], eef_pose: np.ndarray) -> str | None:
    """Name of the object nearest the tool point, if that lies within it."""
    distance = {name: float(np.linalg.norm(poses.position(pose) - poses.position(eef_pose))) for name, pose in object_poses.items()}
    nearest = min(distance, key=distance.__getitem__)
    return nearest if distance[nearest] < task.object(nearest).edge / 2 else None


def clearances(task: TaskSpec, path: np.ndarray, moves: np.ndarray, centres: np.ndarray, half_sizes: np.ndarray) -> np.ndarray:
    """Smallest gap [m] between the hand's boxes and the obstacles on each of several moved copies of a path.

    Negative where they would meet. Obstacles are taken as upright boxes with the hand upright above them, their corners
    rounded off: a cube reaches 0.6 edges sideways, between its face and its corner, and half an edge up. One that is
    longer than it is wide is taken to be as wide as it is long.

    Args:
        path: (T, 4, 4) eef poses.
        moves: (K, 4, 4); copy k of the path is `moves[k] @ path`.
        centres, half_sizes: (n, 3) of the obstacles.

    Returns:
        (K,), infinite without obstacles or a hand.
    """
    if not len(centres) or not task.hand:
        return np.full(len(moves), np.inf)
    sideways = 0.6 * 2 * half_sizes[:, :2].max(axis=-1)
    reach = np.stack([sideways, sideways, half_sizes[:, 2]], axis=-1)
    # Moving the few obstacles back is cheaper than moving the path K times.
    back = poses.inverse(moves)
    centres = np.einsum("kij,nj->kni", poses.rotation(back), centres) + poses.position(back)[:, None]
    away = centres[:, None] - poses.position(path)[:, None]
    seen_from_hand = np.einsum("tji,ktnj->ktni", poses.rotation(path), away)
    # Upright boxes are apart if they are apart along one axis.
    gaps = [np.max(np.abs(seen_from_hand - np.array(box.centre)) - np.array(box.half_size) - reach, axis=-1) for box in task.hand]
    return np.min(gaps, axis=(0, 2, 3))
