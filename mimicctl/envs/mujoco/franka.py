"""Reading snapshots of a scene with one Franka Panda: what is the arm's in them, whatever the task.

All functions are pure and take any batch shape (..., K). Keys, shapes and frames are Isaac Lab's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from mimicctl import poses
from mimicctl.envs.mujoco import panda
from mimicctl.envs.mujoco.reader import SceneReader
from mimicctl.envs.mujoco.scene import Layout, build_model, layout_of
from mimicctl.tasks.spec import TaskSpec

OPEN_FINGER = 0.035
"""Both fingers at least this far from closed count as open [m]. Isaac Lab asks for 1e-4 of fully open, which real servos miss."""
GRASP_WIDTH_TOLERANCE = 0.004
"""Finger position to where an object's sides are [m]."""
REST_SPEED = 0.05
"""[m/s]"""


@dataclass(frozen=True)
class FrankaReader(SceneReader, ABC):
    """Meaning of a snapshot row: qpos, qvel, hand position (3), hand rotation (9), last action, last control."""

    layout: Layout

    @classmethod
    def of(cls, task: TaskSpec) -> Self:
        """For snapshots and states of the task's own model."""
        model = build_model(task)
        return cls(task, layout_of(model, task), model.nq, model.nv)

    @property
    def width(self) -> int:
        return self.nq + self.nv + 12 + self.task.action_dim + 9

    def hand_pose(self, rows: np.ndarray) -> np.ndarray:
        """(..., 4, 4) pose of `panda_hand`."""
        start = self.nq + self.nv
        matrix = rows[..., start + 3 : start + 12]
        return poses.compose(matrix.reshape(*matrix.shape[:-1], 3, 3), rows[..., start : start + 3])

    def last_action(self, rows: np.ndarray) -> np.ndarray:
        start = self.nq + self.nv + 12
        return rows[..., start : start + self.task.action_dim]

    def control(self, rows: np.ndarray) -> np.ndarray:
        """(..., 9) servo targets of the last step: arm, then fingers."""
        return rows[..., -9:]

    def eef_pose(self, rows: np.ndarray) -> np.ndarray:
        """(..., 4, 4) pose of the tool point."""
        return poses.along_z(self.hand_pose(rows), panda.TOOL_OFFSET)

    def fingers(self, rows: np.ndarray) -> np.ndarray:
        """(..., 2) finger positions, 0 closed to 0.04 open [m]."""
        return self.qpos(rows)[..., self.layout.finger_qpos]

    # The task's own -----------------------------------------------------------------------------------------

    @abstractmethod
    def signals(self, rows: np.ndarray) -> dict[str, np.ndarray]: ...

    @abstractmethod
    def success(self, rows: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def observations(self, rows: np.ndarray) -> dict[str, np.ndarray]: ...

    # The gripper --------------------------------------------------------------------------------------------

    def gripper_open(self, rows: np.ndarray) -> np.ndarray:
        return np.all(self.fingers(rows) > OPEN_FINGER, axis=-1)

    def fingers_at(self, rows: np.ndarray, half_width: float) -> np.ndarray:
        """Whether both fingers have stopped that far from closed [m]."""
        return np.all(np.abs(self.fingers(rows) - half_width) < GRASP_WIDTH_TOLERANCE, axis=-1)

    # What the file holds --------------------------------------------------------------------------------

    def robot_observations(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """What is observed of the arm itself, float64."""
        eef = self.eef_pose(rows)
        home = np.array([*self.task.home, panda.FINGER_OPEN, panda.FINGER_OPEN])
        joints = np.concatenate([self.layout.arm_qpos, self.layout.finger_qpos])
        return {
            "actions": self.last_action(rows),
            "joint_pos": self.qpos(rows)[..., joints] - home,
            "joint_vel": self.qvel(rows)[..., joints],
            "eef_pos": poses.position(eef),
            "eef_quat": poses.quat_beside(poses.quat_from_matrix(poses.rotation(eef)), panda.POINTING_DOWN),
            "gripper_pos": self.fingers(rows) * (1.0, -1.0),
        }

    def scene_state(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        joints = np.concatenate([self.layout.arm_qpos, self.layout.finger_qpos])
        batch = rows.shape[:-1]
        base = np.broadcast_to(np.array([0.0, 0, 0, 0, 0, 0, 1]), (*batch, 7))
        state = {
            "articulation/robot/root_pose": base,
            "articulation/robot/root_velocity": np.zeros((*batch, 6)),
            "articulation/robot/joint_position": self.qpos(rows)[..., joints],
            "articulation/robot/joint_velocity": self.qvel(rows)[..., joints],
        }
        state |= self.object_states(rows)
        return {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in state.items()}

    # Back from the file ---------------------------------------------------------------------------------

    def qpos_of(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """(..., nq) from a recorded scene state, the inverse of `scene_state` for positions.

        Raises:
            UserError: the state is of another scene.
        """
        joints = self.state_entry(state, "articulation/robot/joint_position", 9)
        qpos = np.zeros((*joints.shape[:-1], self.nq))
        qpos[..., np.concatenate([self.layout.arm_qpos, self.layout.finger_qpos])] = joints
        self.place_objects(state, qpos)
        return qpos

    def qvel_of(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """(nv,), of velocities."""
        qvel = np.zeros(self.nv)
        qvel[np.concatenate([self.layout.arm_qpos, self.layout.finger_qpos])] = self.state_entry(state, "articulation/robot/joint_velocity", 9)
        self.move_objects(state, qvel)
        return qvel
