"""What the goals of humanoids' tasks ask for, and the signals that go with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.errors import UserError
from mimicctl.tasks.spec import HandOver, PlaceIn, Pour, TaskSpec

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
        case Pour(_, beaker, bowl):
            grasps = {"grasp_left": lifted(reader, rows, beaker, "left"), "grasp_right": lifted(reader, rows, bowl, "right")}
            return grasps | {"idle_right": set_out(reader, rows, "right")}
        case HandOver() as goal:
            return {f"idle_{goal.taker}_1": set_out(reader, rows, goal.taker)}
    raise _unknown(reader.task)


def success(reader: HumanoidReader, rows: np.ndarray) -> np.ndarray:
    """(...) bool."""
    match reader.task.goal:
        case PlaceIn() as goal:
            inside = goal.inside(reader.object_position(rows, goal.object_name))
            return inside & at_rest(reader, rows, goal.object_name) & (reader.openness(rows, goal.eef) > _HAND_OPEN)
        case Pour() as goal:
            in_bowl = reader.object_position(rows, goal.contents) - base(reader, rows, goal.bowl)
            in_bin = base(reader, rows, goal.beaker) - base(reader, rows, goal.bin)
            on_scale = base(reader, rows, goal.bowl) - base(reader, rows, goal.scale)
            put = within(in_bowl, goal.in_bowl) & within(in_bin, goal.in_bin) & within(on_scale, goal.on_scale)
            return put & _let_go(reader, rows)
        case HandOver() as goal:
            return goal.inside(reader.object_position(rows, goal.object_name) - base(reader, rows, goal.bin)) & _let_go(reader, rows)
    raise _unknown(reader.task)


def _let_go(reader: HumanoidReader, rows: np.ndarray) -> np.ndarray:
    """(...) bool: both hands are open."""
    return (reader.openness(rows, "left") > _HAND_OPEN) & (reader.openness(rows, "right") > _HAND_OPEN)


def _unknown(task: TaskSpec) -> UserError:
    what = f"{task.task_id} asks for {type(task.goal).__name__}, and no humanoid that stands still has signals for that."
    return UserError(what, where="its goal", do="give it PlaceIn, Pour or HandOver")


def base(reader: HumanoidReader, rows: np.ndarray, name: str) -> np.ndarray:
    """(..., 3) the middle of an object's base [m]."""
    return (reader.object_pose(rows, name) @ np.array([0.0, 0.0, -reader.task.object(name).rest_height, 1.0]))[..., :3]


def within(gap: np.ndarray, limits: tuple[float, float, float]) -> np.ndarray:
    """(...) bool: a gap (..., 3) is small enough, in x and y to either side; as in Isaac Lab it may go down any distance [m]."""
    x, y, z = np.moveaxis(gap, -1, 0)
    return (np.abs(x) < limits[0]) & (np.abs(y) < limits[1]) & (z < limits[2])


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
