"""A humanoid behind a table as a `MimicEnv`: both arms by Pink, its hands joint by joint. What it is to do is the task's.

Actions are Isaac Lab's: position and quaternion (xyzw) of the left wrist and of the right one in the env frame, then the joints of both hands in the order of
`HumanoidBody.hand_columns`, which has them in turn. A hand's gripper part is its own joints, where Isaac Lab cuts those columns in the middle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.envs.base import Snapshot
from mimicctl.envs.mujoco.humanoid_reader import HumanoidReader
from mimicctl.envs.mujoco.humanoids import BODIES
from mimicctl.envs.mujoco.robot_env import RobotEnv
from mimicctl.envs.mujoco.scene import build_model
from mimicctl.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import mujoco

_PROGRAMS = 2
"""Of the inverse kinematics a control step."""
_WRIST = 7
"""Columns of a wrist in an action."""


class HumanoidEnv(RobotEnv):
    """See `MimicEnv` for the contract."""

    reader: HumanoidReader
    kind_of_reader = HumanoidReader

    def __init__(self, task: TaskSpec, num_envs: int = 1) -> None:
        self.body = BODIES[task.robot]
        self._ik = self.body.load_ik()
        model = build_model(task)
        self.layout = self.kind_of_reader.kind_of_layout.of(model, task, self.body)
        self._arms = len(self.body.arm_joints)
        self._hand_columns = {eef: _WRIST * len(self.body.wrists) + self.body.columns_of(eef) for eef in self.body.wrists}
        self._ranges = np.array([model.joint(name).range for name in self.body.joints])
        self._home = self._arms_at_rest(task)
        resting = {eef: poses.position(pose)[0] + self.body.root for eef, pose in self._ik.eef_poses(self._home[None]).items()}
        super().__init__(task, num_envs, model, self.kind_of_reader(task, self.layout, model.nq, model.nv, self.body, resting))

    def _arms_at_rest(self, task: TaskSpec) -> np.ndarray:
        """(J,) where episodes begin about [rad]."""
        return np.array(task.home or self._ik.posture)

    # Life of an env -------------------------------------------------------------------------------------

    def _place_robot(self, qpos: np.ndarray, rng: np.random.Generator) -> None:
        noisy = self._home + self.task.reset.joint_noise * rng.standard_normal(self._arms)
        qpos[self.layout.joints[: self._arms]] = np.clip(noisy, *self._ik.joint_range.T)
        for eef, joints in self.layout.hands.items():
            qpos[joints] = self.body.open[eef]

    def _start(self, env_id: int, qpos: np.ndarray, qvel: np.ndarray) -> None:
        self._rows[env_id, -1] = 0.0  # nothing has been solved yet
        super()._start(env_id, qpos, qvel)

    def _hold_still(self, data: mujoco.MjData) -> None:
        data.ctrl[self.layout.ctrl] = data.qpos[self.layout.joints]

    def _servo_targets(self, ids: Sequence[int], actions: np.ndarray) -> np.ndarray:
        rows = self._rows[list(ids)]
        from_root = poses.inverse(self.reader.root_pose(rows))
        targets = {eef: from_root @ pose for eef, pose in self._wrist_targets(actions).items()}
        # From where the servos were told to be: what they lag behind is not asked for twice.
        arms, held = self._ik.solve(self.reader.control(rows)[:, : self._arms], targets, _PROGRAMS)
        self._rows[list(ids), -1] = held
        joints = np.concatenate([arms, *(actions[:, columns] for columns in self._hand_columns.values())], axis=-1)
        controls = np.zeros((len(rows), self.model.nu))
        controls[:, self.layout.ctrl] = np.clip(joints, *self._ranges.T)
        return controls

    def _look(self, env_id: int) -> None:
        model, data, row = self.model, self._data[env_id], self._rows[env_id]
        self._mujoco.mj_kinematics(model, data)
        row[: model.nq], row[model.nq : model.nq + model.nv] = data.qpos, data.qvel
        for eef, body in self.layout.wrists.items():
            wrist = row[self.reader.wrist_columns(eef)]
            wrist[:3], wrist[3:] = data.xpos[body], data.xmat[body]
        self.reader.control(row)[:] = data.ctrl[self.layout.ctrl]

    # Reading snapshots ------------------------------------------------------------------------------------

    def eef_poses(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {eef: self.reader.eef_pose(snapshot, eef) for eef in self.body.wrists}

    def gripper_opening(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {eef: 0.02 * (1 + self.reader.openness(snapshot, eef)) for eef in self.body.wrists}

    def held(self, snapshot: Snapshot) -> np.ndarray:
        return self.reader.held(snapshot)

    # Actions ------------------------------------------------------------------------------------------------

    def command_to_action(self, snapshot: Snapshot, deltas: Mapping[str, np.ndarray], grippers: Mapping[str, float | np.ndarray]) -> np.ndarray:
        now = self.eef_poses(snapshot)
        targets = {eef: poses.apply_delta(pose, self.task.command_scale * deltas[eef]) for eef, pose in now.items()}
        return self.target_poses_to_actions(now, targets, {eef: np.atleast_1d(gripper) for eef, gripper in grippers.items()})

    def target_poses_to_actions(self, eef_poses: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray], grippers: Mapping[str, np.ndarray]) -> np.ndarray:
        actions = np.zeros((*next(iter(targets.values())).shape[:-2], self.task.action_dim), dtype=np.float32)
        self._send_wrists(actions, targets)
        for eef, columns in self._hand_columns.items():
            actions[..., columns] = self.body.hand_angles(np.asarray(grippers[eef]), eef)
        return actions

    def noisy_actions(self, actions: np.ndarray, noise: Mapping[str, np.ndarray]) -> np.ndarray:
        noisy = np.array(actions, dtype=np.float32)
        self._send_wrists(noisy, {eef: poses.apply_delta(target, noise[eef]) for eef, target in self._wrist_targets(actions).items()})
        return noisy

    def actions_to_target_poses(self, eef_poses: Mapping[str, np.ndarray], actions: np.ndarray) -> dict[str, np.ndarray]:
        return self._wrist_targets(actions)

    def _send_wrists(self, actions: np.ndarray, targets: Mapping[str, np.ndarray]) -> None:
        """Write their part of `actions` (..., A)."""
        for number, eef in enumerate(self.body.wrists):
            quat = poses.quat_beside(poses.quat_from_matrix(poses.rotation(targets[eef])), self.body.wrist_quats[eef])
            actions[..., _WRIST * number : _WRIST * number + _WRIST] = np.concatenate([poses.position(targets[eef]), quat], axis=-1)

    def _wrist_targets(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        """Eef name to (..., 4, 4), the inverse."""
        actions = np.asarray(actions, dtype=np.float64)
        wrists = {eef: actions[..., _WRIST * i : _WRIST * i + _WRIST] for i, eef in enumerate(self.body.wrists)}
        # A zero quaternion is no pose; the inverse kinematics hold the arms then.
        with np.errstate(invalid="ignore"):
            return {eef: poses.pose_from_quat(wrist[..., :3], wrist[..., 3:]) for eef, wrist in wrists.items()}

    def gripper_actions(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        return {eef: self.body.gripper(np.asarray(actions)[..., columns], eef) for eef, columns in self._hand_columns.items()}

    # Recording ----------------------------------------------------------------------------------------------

    def _processed(self, actions: np.ndarray, after: Snapshot) -> np.ndarray:
        """The joints of arms and hands as their servos were told."""
        return self.reader.control(after).astype(np.float32)
