"""Reading snapshots of a Franka scene with cubes: poses, contacts, signals, success, observations, scene state.

All functions are pure and take any batch shape (..., K). Keys, shapes, frames and thresholds are Isaac Lab's
stack task; where its tests are loose these are strict, and the docstring says how. One observation is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mimicctl import poses
from mimicctl.envs.mujoco import panda
from mimicctl.envs.mujoco.reader import SceneReader
from mimicctl.envs.mujoco.scene import Layout, build_model, layout_of
from mimicctl.tasks.spec import Lift, Stack, TaskSpec

GRASP_DISTANCE = 0.06
"""Object centre to eef [m]."""
GRASP_WIDTH_TOLERANCE = 0.004
"""Finger position to half the object's edge [m]."""
STACK_XY, SUCCESS_XY = 0.05, 0.04
HEIGHT_TOLERANCE = 0.005
OPEN_FINGER = 0.035
"""Both fingers at least this far from closed count as open [m]. Isaac Lab asks for 1e-4 of fully open, which real servos miss."""
REST_SPEED = 0.05
"""[m/s]"""


@dataclass(frozen=True)
class CubesReader(SceneReader):
    """Meaning of a snapshot row: qpos, qvel, hand position (3), hand rotation (9), last action, last control."""

    layout: Layout

    @classmethod
    def of(cls, task: TaskSpec) -> CubesReader:
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
        return along_z(self.hand_pose(rows), panda.TOOL_OFFSET)

    def fingers(self, rows: np.ndarray) -> np.ndarray:
        """(..., 2) finger positions, 0 closed to 0.04 open [m]."""
        return self.qpos(rows)[..., self.layout.finger_qpos]

    # Signals and success ------------------------------------------------------------------------------

    def gripper_open(self, rows: np.ndarray) -> np.ndarray:
        return np.all(self.fingers(rows) > OPEN_FINGER, axis=-1)

    def grasped(self, rows: np.ndarray, name: str) -> np.ndarray:
        """Near the tool point, with the fingers stopped where the object's faces are.

        Isaac Lab accepts any finger 5 mm off open, so there a closing gripper beside the cube counts.
        """
        start = self.nq + self.nv
        hand, tool_axis = rows[..., start : start + 3], rows[..., start + 5 : start + 12 : 3]
        eef = hand + panda.TOOL_OFFSET * tool_axis
        near = np.linalg.norm(self.object_position(rows, name) - eef, axis=-1) < GRASP_DISTANCE
        half = self.task.object(name).edge / 2
        held = np.all(np.abs(self.fingers(rows) - half) < GRASP_WIDTH_TOLERANCE, axis=-1)
        return near & held

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
        first = [self.layout.objects[name][1] for name in (bottom, middle, top)]
        velocities = np.stack([self.qvel(rows)[..., i : i + 3] for i in first], axis=-2)
        return stacked & np.all(np.linalg.norm(velocities, axis=-1) < REST_SPEED, axis=-1)

    # What the file holds --------------------------------------------------------------------------------

    def observations(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        names = [item.name for item in self.task.objects]
        eef = self.eef_pose(rows)
        eef_pos = poses.position(eef)
        positions = [self.object_position(rows, name) for name in names]
        quats = [self.object_quat(rows, name) for name in names]
        # Neighbours first, as Isaac Lab has them: 1 - 2, 2 - 3, 1 - 3.
        apart = [positions[i] - positions[i + step] for step in range(1, len(names)) for i in range(len(names) - step)]
        relative = [*(p - eef_pos for p in positions), *apart]
        posed = [part for pair in zip(positions, quats, strict=True) for part in pair]
        fingers = self.fingers(rows)
        home = np.array([*self.task.home, panda.FINGER_OPEN, panda.FINGER_OPEN])
        joints = np.concatenate([self.layout.arm_qpos, self.layout.finger_qpos])
        values = {
            "actions": self.last_action(rows),
            "joint_pos": self.qpos(rows)[..., joints] - home,
            "joint_vel": self.qvel(rows)[..., joints],
            "object": np.concatenate([*posed, *relative], axis=-1),
            "cube_positions": np.concatenate(positions, axis=-1),
            "cube_orientations": np.concatenate(quats, axis=-1),
            "gripper_to_cube_yaw": self.relative_yaws(poses.rotation(eef), quats),
            "eef_pos": eef_pos,
            "eef_quat": poses.quat_beside(poses.quat_from_matrix(poses.rotation(eef)), panda.POINTING_DOWN),
            "gripper_pos": fingers * (1.0, -1.0),
        }
        return {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in values.items()}

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


def along_z(pose: np.ndarray, distance: float) -> np.ndarray:
    """Pose (..., 4, 4) shifted along its own z axis [m]."""
    moved = np.array(pose)
    moved[..., :3, 3] += distance * pose[..., :3, 2]
    return moved
