"""What a humanoid's task asks for, read from snapshots: signals and success by goal.

All functions are pure and take any batch shape (..., K).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mimicctl.tasks.spec import PlaceIn, Pour, TaskSpec

if TYPE_CHECKING:
    from mimicctl.envs.mujoco.humanoid import HumanoidReader

_LIFTED = 0.02
_AT_REST = (0.05, 0.5)
_HAND_OPEN = 0.7


def watched(task: TaskSpec) -> tuple[str, ...]:
    """Objects that observations tell about: those that are moved, or that something is brought to and that may start anywhere."""
    match task.goal:
        case PlaceIn(name):
            return (name,)
        case Pour(contents, beaker, bowl, _, scale):
            return (contents, beaker, bowl, scale)
    raise AssertionError(task.goal)  # no other goal is a humanoid's


def signals(reader: HumanoidReader, rows: np.ndarray) -> dict[str, np.ndarray]:
    match reader.task.goal:
        case PlaceIn(name, eef):
            return {f"grasp_{eef}": _held(reader, rows, name, eef)}
        case Pour(_, beaker, bowl) as goal:
            held = _held(reader, rows, bowl, "right")
            # The right hand's turn comes with the nut, or when it takes the bowl before.
            return {"grasp_left": _held(reader, rows, beaker, "left"), "idle_right": _poured(reader, rows, goal) | held, "grasp_right": held}
    raise AssertionError(reader.task.goal)


def success(reader: HumanoidReader, rows: np.ndarray) -> np.ndarray:
    match reader.task.goal:
        case PlaceIn(name, eef) as goal:
            position, velocity = reader.object_position(rows, name), reader.object_velocity(rows, name)
            inside = np.all(np.abs(position[..., :2] - goal.centre) < goal.half_size, axis=-1) & (position[..., 2] < goal.height)
            still = (np.linalg.norm(velocity[..., :3], axis=-1) < _AT_REST[0]) & (np.linalg.norm(velocity[..., 3:], axis=-1) < _AT_REST[1])
            return inside & still & _open(reader, rows, eef)
        case Pour() as goal:
            in_bin = _within(_foot(reader, rows, goal.beaker) - _foot(reader, rows, goal.bin), goal.in_bin)
            on_scale = _within(_foot(reader, rows, goal.bowl) - _foot(reader, rows, goal.scale), goal.on_scale)
            return _poured(reader, rows, goal) & in_bin & on_scale & _open(reader, rows, "left") & _open(reader, rows, "right")
    raise AssertionError(reader.task.goal)


def _poured(reader: HumanoidReader, rows: np.ndarray, goal: Pour) -> np.ndarray:
    return _within(reader.object_position(rows, goal.contents) - _foot(reader, rows, goal.bowl), goal.in_bowl)


def _within(gap: np.ndarray, limits: tuple[float, float, float]) -> np.ndarray:
    """Whether a gap (..., 3) is small enough; downwards it may be of any size."""
    x, y, z = np.moveaxis(gap, -1, 0)
    return (np.abs(x) < limits[0]) & (np.abs(y) < limits[1]) & (z < limits[2])


def _foot(reader: HumanoidReader, rows: np.ndarray, name: str) -> np.ndarray:
    """(..., 3) the middle of an object's base [m]."""
    return (reader.object_pose(rows, name) @ np.array([0.0, 0.0, -reader.task.object(name).rest_height, 1.0]))[..., :3]


def _held(reader: HumanoidReader, rows: np.ndarray, name: str, eef: str) -> np.ndarray:
    """Lifted, by a hand that is more closed than open."""
    lifted = reader.object_position(rows, name)[..., 2] > reader.task.object(name).rest_height + _LIFTED
    return lifted & (reader.openness(rows, eef) < 0)


def _open(reader: HumanoidReader, rows: np.ndarray, eef: str) -> np.ndarray:
    return reader.openness(rows, eef) > _HAND_OPEN
