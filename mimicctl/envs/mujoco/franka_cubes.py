"""Reading snapshots of a Franka scene with cubes: poses, contacts, signals, success, observations, scene state.

All functions are pure and take any batch shape (..., K). Keys, shapes, frames and thresholds are Isaac Lab's
stack task; where its tests are loose these are strict, and the docstring says how. One observation is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimicctl import poses
from mimicctl.envs.mujoco import panda
from mimicctl.envs.mujoco.franka import REST_SPEED, FrankaReader
from mimicctl.tasks.spec import Lift, Stack

GRASP_DISTANCE = 0.06
"""Object centre to eef [m]."""
STACK_XY, SUCCESS_XY = 0.05, 0.04
HEIGHT_TOLERANCE = 0.005


@dataclass(frozen=True)
class CubesReader(FrankaReader):
    """Of tasks that lift or stack cubes."""

    # Signals and success ------------------------------------------------------------------------------

    def grasped(self, rows: np.ndarray, name: str) -> np.ndarray:
        """Near the tool point, with the fingers stopped where the object's faces are.

        Isaac Lab accepts any finger 5 mm off open, so there a closing gripper beside the cube counts.
        """
        start = self.nq + self.nv
        hand, tool_axis = rows[..., start : start + 3], rows[..., start + 5 : start + 12 : 3]
        eef = hand + panda.TOOL_OFFSET * tool_axis
        near = np.linalg.norm(self.object_position(rows, name) - eef, axis=-1) < GRASP_DISTANCE
        half = self.task.object(name).edge / 2
        return near & self.fingers_at(rows, half)

    def stacked(self, rows: np.ndarray, upper: str, lower: str, xy: float = STACK_XY) -> np.ndarray:
        """Upper on lower and the gripper open. The height test has two sides and knows up from down, unlike Isaac Lab's."""
        offset = self.object_position(rows, upper) - self.object_position(rows, lower)
        edge = (self.task.object(upper).edge + self.task.object(lower).edge) / 2
        aligned = np.linalg.norm(offset[..., :2], axis=-1) < xy
        return aligned & (np.abs(offset[..., 2] - edge) < HEIGHT_TOLERANCE) & self.gripper_open(rows)

    def lifted(self, rows: np.ndarray, name: str, height: float) -> np.ndarray:
        """Grasped, with its centre `height` and half an edge above the table."""
        return self.grasped(rows, name) & (self.object_position(rows, name)[..., 2] - self.task.object(name).edge / 2 >= height)

    def signals(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        match self.task.goal:
            case Stack((bottom, middle, top)):
                return {
                    "grasp_1": self.grasped(rows, middle),
                    "stack_1": self.stacked(rows, middle, bottom),
                    "grasp_2": self.grasped(rows, top),
                }
            case Lift(name):
                return {"grasp_1": self.grasped(rows, name)}

    def success(self, rows: np.ndarray) -> np.ndarray:
        match self.task.goal:
            case Stack(order):
                return self._stack_stands(rows, *order)
            case Lift(name, height):
                return self.lifted(rows, name, height)

    def _stack_stands(self, rows: np.ndarray, bottom: str, middle: str, top: str) -> np.ndarray:
        """Both stacks within 4 cm, gripper open, every cube slower than 5 cm/s."""
        # Most steps end here: the hand is full.
        if not np.any(gripper_open := self.gripper_open(rows)):
            return gripper_open
        stacked = self.stacked(rows, middle, bottom, SUCCESS_XY) & self.stacked(rows, top, middle, SUCCESS_XY)
        if not np.any(stacked):
            return stacked
        velocities = np.stack([self.object_velocity(rows, name)[..., :3] for name in (bottom, middle, top)], axis=-2)
        return stacked & np.all(np.linalg.norm(velocities, axis=-1) < REST_SPEED, axis=-1)

    # What the file holds --------------------------------------------------------------------------------

    def observations(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        # Nobody moves what cubes are stacked in.
        containers = {container for container, _ in self.task.reset.inside.values()}
        cubes = [item for item in self.task.objects if item.name not in containers]
        names = [item.name for item in cubes]
        eef = self.eef_pose(rows)
        eef_pos = poses.position(eef)
        positions = [self.object_position(rows, name) for name in names]
        quats = [self.object_quat(rows, name) for name in names]
        # Neighbours first, as Isaac Lab has them: 1 - 2, 2 - 3, 1 - 3.
        apart = [positions[i] - positions[i + step] for step in range(1, len(names)) for i in range(len(names) - step)]
        relative = [*(p - eef_pos for p in positions), *apart]
        posed = [part for pair in zip(positions, quats, strict=True) for part in pair]
        values = {
            **self.robot_observations(rows),
            "object": np.concatenate([*posed, *relative], axis=-1),
            "cube_positions": np.concatenate(positions, axis=-1),
            "cube_orientations": np.concatenate(quats, axis=-1),
            "gripper_to_cube_yaw": self.relative_yaws(rows, poses.rotation(eef), cubes),
        }
        return {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in values.items()}
