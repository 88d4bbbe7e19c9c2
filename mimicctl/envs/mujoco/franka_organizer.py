"""Reading snapshots of a Franka scene in which one thing is put into another: signals, success, observations.

All functions are pure and take any batch shape (..., K).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimicctl import poses
from mimicctl.envs.mujoco.franka import REST_SPEED, FrankaReader

REACH_DISTANCE = 0.09
"""Tool point to where the object is to be held [m]: the hand is above it, and the way down, which belongs to the grasp, is still before it."""
GRASP_DISTANCE = 0.025
"""The same with the gripper closed [m]."""
FLOOR_GAP = 0.01
"""Lower side of the object above the container's floor [m]: it stands or lies, and does not hang over the rim."""
UPRIGHT = np.cos(np.radians(5))
"""Of the container's z axis, at least."""


@dataclass(frozen=True)
class OrganizerReader(FrankaReader):
    """Of tasks with the goal `PutInto`."""

    def to_grip(self, rows: np.ndarray, name: str) -> np.ndarray:
        """(..., 3) from the tool point to where the object is to be held, in the env frame [m]."""
        grip = self.object_pose(rows, name) @ np.array([0.0, 0.0, self.task.object(name).held_at.height, 1.0])
        return grip[..., :3] - poses.position(self.eef_pose(rows))

    def lower_side(self, rows: np.ndarray, name: str) -> np.ndarray:
        """(...) height of the lowest point of an object's bounding box above the table [m]."""
        reach = np.abs(self.object_pose(rows, name)[..., 2, :3]) @ np.array(self.task.object(name).half_size)
        return self.object_position(rows, name)[..., 2] - reach

    # Signals and success ------------------------------------------------------------------------------

    def reached(self, rows: np.ndarray, name: str) -> np.ndarray:
        return np.linalg.norm(self.to_grip(rows, name), axis=-1) < REACH_DISTANCE

    def grasped(self, rows: np.ndarray, name: str) -> np.ndarray:
        """The fingers have stopped at the sides of the object, near where it is to be held."""
        near = np.linalg.norm(self.to_grip(rows, name), axis=-1) < GRASP_DISTANCE
        return near & self.fingers_at(rows, self.task.object(name).held_at.half_width)

    def signals(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        goal = self.task.goal
        grasped = self.grasped(rows, goal.object_name)
        return {
            "reach": self.reached(rows, goal.object_name),
            "grasp": grasped,
            "lift": grasped & (self.lower_side(rows, goal.object_name) >= goal.height),
        }

    def success(self, rows: np.ndarray) -> np.ndarray:
        """The middle of the object within the container's walls, its lower side on the floor, both at rest, the container upright, the gripper open."""
        goal = self.task.goal
        container = self.object_pose(rows, goal.container)
        offset = self.object_position(rows, goal.object_name) - poses.position(container)
        x, y = (np.abs(np.einsum("...i,...i->...", offset, container[..., :3, axis])) for axis in (0, 1))
        floor = container[..., 2, 3] + goal.inside[2]
        down = np.abs(self.lower_side(rows, goal.object_name) - floor) < FLOOR_GAP
        inside = (x < goal.inside[0]) & (y < goal.inside[1]) & down & (container[..., 2, 2] > UPRIGHT)
        speeds = [np.linalg.norm(self.object_velocity(rows, name)[..., :3], axis=-1) for name in (goal.object_name, goal.container)]
        return inside & self.gripper_open(rows) & np.all(np.less(speeds, REST_SPEED), axis=0)

    # What the file holds --------------------------------------------------------------------------------

    def observations(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Those of the arm, and of the objects: pose by pose under their own names, and together under the name that Isaac Lab's recipes know.

        In `object` the goal's two come first and then the others, poses and after them the ways from the tool point to each.
        """
        robot = self.robot_observations(rows)
        goal = self.task.goal
        first = (goal.object_name, goal.container)
        names = [*first, *(item.name for item in self.task.objects if item.name not in first)]
        positions = {name: self.object_position(rows, name) for name in names}
        quats = {name: self.object_quat(rows, name) for name in names}
        posed = [part for name in names for part in (positions[name], quats[name])]
        ways = [self.to_grip(rows, goal.object_name), *(positions[name] - robot["eef_pos"] for name in names[1:])]
        values = {
            **robot,
            **{f"{name}_pos": value for name, value in positions.items()},
            **{f"{name}_quat": value for name, value in quats.items()},
            "object": np.concatenate([*posed, *ways], axis=-1),
            "gripper_to_object_yaw": self.relative_yaws(rows, poses.rotation(self.eef_pose(rows)), [self.task.object(name) for name in names]),
        }
        return {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in values.items()}
