"""What the goals of humanoids' tasks ask for, and the signals that go with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.tasks.spec import PlaceIn

if TYPE_CHECKING:
    from mimicctl.envs.mujoco.humanoid_reader import HumanoidReader

_SET_OUT = 0.05
"""How far a wrist is from where it rests when its hand is idle no longer [m]."""
_LIFTED = 0.02
_AT_REST = (0.05, 0.5)
_HAND_OPEN = 0.7


def signals(reader: HumanoidReader, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Signal to (...) bool."""
    match reader.task.goal:
        case PlaceIn() as goal:
            return {f"idle_{goal.eef}": set_out(reader, rows, goal.eef), f"grasp_{goal.eef}": lifted(reader, rows, goal.object_name, goal.eef)}
    raise NotImplementedError(reader.task.goal)


def success(reader: HumanoidReader, rows: np.ndarray) -> np.ndarray:
    """(...) bool."""
    match reader.task.goal:
        case PlaceIn() as goal:
            inside = goal.inside(reader.object_position(rows, goal.object_name))
            return inside & at_rest(reader, rows, goal.object_name) & (reader.openness(rows, goal.eef) > _HAND_OPEN)
    raise NotImplementedError(reader.task.goal)


def set_out(reader: HumanoidReader, rows: np.ndarray, eef: str) -> np.ndarray:
    """(...) bool: the hand is not where it rests any more."""
    return np.linalg.norm(poses.position(reader.eef_pose(rows, eef)) - reader.resting[eef], axis=-1) > _SET_OUT


def lifted(reader: HumanoidReader, rows: np.ndarray, name: str, eef: str) -> np.ndarray:
    """(...) bool: the object is off the table and the hand is closed."""
    return (reader.object_position(rows, name)[..., 2] > reader.task.object(name).rest_height + _LIFTED) & (reader.openness(rows, eef) < 0)


def at_rest(reader: HumanoidReader, rows: np.ndarray, name: str) -> np.ndarray:
    """(...) bool."""
    velocity = reader.object_velocity(rows, name)
    return (np.linalg.norm(velocity[..., :3], axis=-1) < _AT_REST[0]) & (np.linalg.norm(velocity[..., 3:], axis=-1) < _AT_REST[1])
