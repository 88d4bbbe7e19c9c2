"""A Franka Panda over a table, as a `MimicEnv`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.envs.base import Snapshot
from mimicctl.envs.mujoco import panda
from mimicctl.envs.mujoco.franka import FrankaReader
from mimicctl.envs.mujoco.franka_readers import reader_class
from mimicctl.envs.mujoco.ik import step_within
from mimicctl.envs.mujoco.robot_env import RobotEnv
from mimicctl.envs.mujoco.scene import build_model, layout_of
from mimicctl.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import mujoco

_EEF = "franka"


class MujocoEnv(RobotEnv):
    """See `MimicEnv` for the contract."""

    reader: FrankaReader

    def __init__(self, task: TaskSpec, num_envs: int = 1) -> None:
        model = build_model(task)
        self.layout = layout_of(model, task)
        self._servo_range = panda.servo_range(self.layout.arm_range)
        self._jacobian = np.zeros((num_envs, 6, model.nv))
        super().__init__(task, num_envs, model, reader_class(task)(task, self.layout, model.nq, model.nv))

    # Life of an env -------------------------------------------------------------------------------------

    def _place_robot(self, qpos: np.ndarray, rng: np.random.Generator) -> None:
        noisy = np.array(self.task.home) + self.task.reset.joint_noise * rng.standard_normal(7)
        qpos[self.layout.arm_qpos] = np.clip(noisy, *self.layout.arm_range.T)
        qpos[self.layout.finger_qpos] = panda.FINGER_OPEN

    def _hold_still(self, data: mujoco.MjData) -> None:
        data.ctrl[self.layout.arm_ctrl] = data.qpos[self.layout.arm_qpos]
        data.ctrl[self.layout.finger_ctrl] = panda.FINGER_OPEN

    def _servo_targets(self, ids: Sequence[int], actions: np.ndarray) -> np.ndarray:
        index = list(ids)
        rows = self._rows[index]
        offset = panda.IK_OFFSET if self.task.control == "rel" else 0.0
        if self.task.control == "rel":
            error = self.task.action_scale * actions[:, :6]
        else:
            target = poses.pose_from_quat(actions[:, :3], actions[:, 3:7])
            error = poses.delta_between(self.reader.hand_pose(rows), target)
        arm_now = self.reader.qpos(rows)[:, self.layout.arm_qpos]
        low, high = self._servo_range.T
        arm = arm_now + step_within(self._point_jacobian(index, rows, offset), error, low - arm_now, high - arm_now)
        fingers = np.where(actions[:, -1:] < 0, 0.0, panda.FINGER_OPEN)
        return np.concatenate([arm, fingers, fingers], axis=1)

    def _point_jacobian(self, index: list[int], rows: np.ndarray, offset: float) -> np.ndarray:
        """(n, 6, 7) Jacobian of the point `offset` metres along the hand's z axis."""
        jacobian = self._jacobian[index][..., :7]
        start = self.reader.nq + self.reader.nv
        x, y, z = (offset * rows[:, start + 5 : start + 12 : 3]).T[:, :, None]
        wx, wy, wz = jacobian[:, 3], jacobian[:, 4], jacobian[:, 5]
        # A point on the body moves with v + w x r.
        jacobian[:, 0] += wy * z - wz * y
        jacobian[:, 1] += wz * x - wx * z
        jacobian[:, 2] += wx * y - wy * x
        return jacobian

    def _look(self, env_id: int) -> None:
        """Bring kinematics up to the state and refresh the env's row."""
        model, data, row = self.model, self._data[env_id], self._rows[env_id]
        self._mujoco.mj_kinematics(model, data)
        self._mujoco.mj_comPos(model, data)
        hand = self.layout.hand_body
        jacobian = self._jacobian[env_id]
        self._mujoco.mj_jacBody(model, data, jacobian[:3], jacobian[3:], hand)
        nq, nv = model.nq, model.nv
        row[:nq] = data.qpos
        row[nq : nq + nv] = data.qvel
        row[nq + nv : nq + nv + 3] = data.xpos[hand]
        row[nq + nv + 3 : nq + nv + 12] = data.xmat[hand]
        row[-9:] = data.ctrl

    def set_state(self, env_ids: Sequence[int], states: Sequence[tuple[mujoco.MjData, np.ndarray]]) -> None:
        super().set_state(env_ids, states)
        for env_id in env_ids:
            jacobian = self._jacobian[env_id]
            self._mujoco.mj_jacBody(self.model, self._data[env_id], jacobian[:3], jacobian[3:], self.layout.hand_body)

    # Reading snapshots ------------------------------------------------------------------------------------

    def eef_poses(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {_EEF: self.reader.eef_pose(snapshot)}

    def gripper_opening(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {_EEF: self.reader.fingers(snapshot)[..., 0]}

    # Actions ------------------------------------------------------------------------------------------------

    def command_to_action(self, snapshot: Snapshot, deltas: Mapping[str, np.ndarray], grippers: Mapping[str, float]) -> np.ndarray:
        # A relative action is scaled by the controller; an absolute one names the place itself.
        scale = 1.0 if self.task.control == "rel" else self.task.command_scale
        target = poses.apply_delta(self.reader.eef_pose(snapshot), scale * deltas[_EEF])
        return self.target_poses_to_actions({_EEF: self.reader.eef_pose(snapshot)}, {_EEF: target}, {_EEF: np.array([grippers[_EEF]])})

    def target_poses_to_actions(
        self,
        eef_poses: Mapping[str, np.ndarray],
        targets: Mapping[str, np.ndarray],
        grippers: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        if self.task.control == "rel":
            arm = np.clip(poses.delta_between(eef_poses[_EEF], targets[_EEF]), -1.0, 1.0)
        else:
            hand = poses.along_z(targets[_EEF], -panda.TOOL_OFFSET)
            quat = poses.quat_beside(poses.quat_from_matrix(poses.rotation(hand)), panda.POINTING_DOWN)
            arm = np.concatenate([poses.position(hand), quat], axis=-1)
        return np.concatenate([arm, grippers[_EEF]], axis=-1).astype(np.float32)

    def noisy_actions(self, actions: np.ndarray, noise: Mapping[str, np.ndarray]) -> np.ndarray:
        if self.task.control == "rel":
            noisy = actions.copy()
            noisy[..., :6] = np.clip(actions[..., :6] + noise[_EEF], -1.0, 1.0)
            return noisy
        target = poses.apply_delta(self.actions_to_target_poses({}, actions)[_EEF], noise[_EEF])
        return self.target_poses_to_actions({}, {_EEF: target}, self.gripper_actions(actions))

    def actions_to_target_poses(self, eef_poses: Mapping[str, np.ndarray], actions: np.ndarray) -> dict[str, np.ndarray]:
        actions = np.asarray(actions, dtype=np.float64)
        if self.task.control == "rel":
            return {_EEF: poses.apply_delta(eef_poses[_EEF], actions[..., :6])}
        return {_EEF: poses.along_z(poses.pose_from_quat(actions[..., :3], actions[..., 3:7]), panda.TOOL_OFFSET)}

    def gripper_actions(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        return {_EEF: actions[..., -1:]}

    # Recording ----------------------------------------------------------------------------------------------

    def _processed(self, actions: np.ndarray, after: Snapshot) -> np.ndarray:
        """Isaac Lab's: the scaled arm command, then both finger targets."""
        arm = actions[:, :-1] * np.float32(self.task.action_scale)
        return np.concatenate([arm, self.reader.control(after)[:, 7:].astype(np.float32)], axis=-1)
