"""Several Franka Pandas over one table with something they lift together, as a `MimicEnv`.

Actions are absolute: for each arm the position and quaternion (xyzw) of its hand in the env frame, and after all of these a gripper for each arm, which is
the order of Isaac Lab's two-armed humanoids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.envs.base import Snapshot
from mimicctl.envs.mujoco import panda
from mimicctl.envs.mujoco.franka import GRASP_WIDTH_TOLERANCE
from mimicctl.envs.mujoco.ik import step_within
from mimicctl.envs.mujoco.reader import SceneReader
from mimicctl.envs.mujoco.robot_env import RobotEnv
from mimicctl.envs.mujoco.scene import Layout, build_model, layout_of, object_addresses
from mimicctl.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import mujoco

GRASP_DISTANCE = 0.04
"""Tool point to the middle of the handle [m]: a bar is held anywhere between its posts."""

_JOINTS = 9
"""Of one arm and its fingers."""


@dataclass(frozen=True)
class DualLayout:
    """Where things are in the model's vectors: each arm's by eef name, and the objects'."""

    arms: dict[str, Layout]
    objects: dict[str, tuple[int, int]]


def dual_layout(model: mujoco.MjModel, task: TaskSpec) -> DualLayout:
    arms = {eef: layout_of(model, task, panda.prefix_of(eef)) for eef in task.eef_names}
    return DualLayout(arms, object_addresses(model, task))


@dataclass(frozen=True)
class TrayReader(SceneReader):
    """Meaning of a snapshot row: qpos, qvel, of each arm hand position (3) and rotation (9), last action, of each arm last control (9)."""

    layout: DualLayout

    @property
    def width(self) -> int:
        return self.nq + self.nv + (12 + _JOINTS) * len(self.layout.arms) + self.task.action_dim

    def hand_columns(self, eef: str) -> slice:
        """Of a row."""
        first = self.nq + self.nv + 12 * self._number(eef)
        return slice(first, first + 12)

    def _number(self, eef: str) -> int:
        return self.task.eef_names.index(eef)

    def hand_pose(self, rows: np.ndarray, eef: str) -> np.ndarray:
        """(..., 4, 4) pose of an arm's `panda_hand`."""
        hand = rows[..., self.hand_columns(eef)]
        return poses.compose(hand[..., 3:].reshape(*hand.shape[:-1], 3, 3), hand[..., :3])

    def eef_pose(self, rows: np.ndarray, eef: str) -> np.ndarray:
        """(..., 4, 4) pose of an arm's tool point."""
        return poses.along_z(self.hand_pose(rows, eef), panda.TOOL_OFFSET)

    def last_action(self, rows: np.ndarray) -> np.ndarray:
        start = self.nq + self.nv + 12 * len(self.layout.arms)
        return rows[..., start : start + self.task.action_dim]

    def control(self, rows: np.ndarray) -> np.ndarray:
        """(..., 9 n) servo targets of the last step: of each arm its joints, then its fingers."""
        return rows[..., -_JOINTS * len(self.layout.arms) :]

    def fingers(self, rows: np.ndarray, eef: str) -> np.ndarray:
        """(..., 2) finger positions of an arm, 0 closed to 0.04 open [m]."""
        return self.qpos(rows)[..., self.layout.arms[eef].finger_qpos]

    def joints(self, eef: str) -> np.ndarray:
        """(9,) indices into qpos and qvel: the arm, then the fingers."""
        return np.concatenate([self.layout.arms[eef].arm_qpos, self.layout.arms[eef].finger_qpos])

    # Signals and success ------------------------------------------------------------------------------

    def to_handle(self, rows: np.ndarray, eef: str) -> np.ndarray:
        """(..., 3) from the tool point to the middle of the arm's handle, in the env frame [m]."""
        goal = self.task.goal
        handle = self.object_pose(rows, goal.object_name) @ np.array([*goal.handles[eef], 1.0])
        return handle[..., :3] - poses.position(self.eef_pose(rows, eef))

    def grasped(self, rows: np.ndarray, eef: str) -> np.ndarray:
        """The handle is near the tool point, with the fingers stopped where its sides are."""
        near = np.linalg.norm(self.to_handle(rows, eef), axis=-1) < GRASP_DISTANCE
        return near & np.all(np.abs(self.fingers(rows, eef) - self.task.goal.half_width) < GRASP_WIDTH_TOLERANCE, axis=-1)

    def signals(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {f"grasp_{eef}": self.grasped(rows, eef) for eef in self.layout.arms}

    def success(self, rows: np.ndarray) -> np.ndarray:
        """Held by all, high enough and level."""
        goal = self.task.goal
        pose = self.object_pose(rows, goal.object_name)
        high = pose[..., 2, 3] - self.task.object(goal.object_name).rest_height >= goal.height
        level = pose[..., 2, 2] > np.cos(goal.tilt)
        return high & level & np.all([self.grasped(rows, eef) for eef in self.layout.arms], axis=0)

    # What the file holds --------------------------------------------------------------------------------

    def observations(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Keys and the order in `object` are those of Isaac Lab's two-armed tasks; but the ways in it are to the handles, since nobody grasps a tray's middle."""
        eefs = self.task.eef_names
        joints = np.concatenate([self.joints(eef) for eef in eefs])
        home = np.tile([*self.task.home, panda.FINGER_OPEN, panda.FINGER_OPEN], len(eefs))
        posed = [part for item in self.task.objects for part in (self.object_position(rows, item.name), self.object_quat(rows, item.name))]
        values = {
            "actions": self.last_action(rows),
            "joint_pos": self.qpos(rows)[..., joints] - home,
            "joint_vel": self.qvel(rows)[..., joints],
            "object": np.concatenate([*posed, *(self.to_handle(rows, eef) for eef in eefs)], axis=-1),
            "gripper_pos": np.concatenate([self.fingers(rows, eef) * (1.0, -1.0) for eef in eefs], axis=-1),
        }
        for eef in eefs:
            pose = self.eef_pose(rows, eef)
            values[f"{eef}_eef_pos"] = poses.position(pose)
            values[f"{eef}_eef_quat"] = poses.quat_beside(poses.quat_from_matrix(poses.rotation(pose)), panda.POINTING_DOWN)
        return {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in values.items()}

    def scene_state(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        batch, state = rows.shape[:-1], {}
        for eef, (x, y) in self.task.bases.items():
            joints = self.joints(eef)
            state[f"articulation/{eef}_robot/root_pose"] = np.broadcast_to(np.array([x, y, 0.0, 0, 0, 0, 1]), (*batch, 7))
            state[f"articulation/{eef}_robot/root_velocity"] = np.zeros((*batch, 6))
            state[f"articulation/{eef}_robot/joint_position"] = self.qpos(rows)[..., joints]
            state[f"articulation/{eef}_robot/joint_velocity"] = self.qvel(rows)[..., joints]
        state |= self.object_states(rows)
        return {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in state.items()}

    # Back from the file ---------------------------------------------------------------------------------

    def qpos_of(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """(..., nq) from a recorded scene state. UserError: it is of another scene."""
        joints = {eef: self.state_entry(state, f"articulation/{eef}_robot/joint_position", _JOINTS) for eef in self.layout.arms}
        qpos = np.zeros((*next(iter(joints.values())).shape[:-1], self.nq))
        for eef, values in joints.items():
            qpos[..., self.joints(eef)] = values
        self.place_objects(state, qpos)
        return qpos

    def qvel_of(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """(nv,)"""
        qvel = np.zeros(self.nv)
        for eef in self.layout.arms:
            qvel[self.joints(eef)] = self.state_entry(state, f"articulation/{eef}_robot/joint_velocity", _JOINTS)
        self.move_objects(state, qvel)
        return qvel


class DualFrankaEnv(RobotEnv):
    """See `MimicEnv` for the contract."""

    reader: TrayReader

    def __init__(self, task: TaskSpec, num_envs: int = 1) -> None:
        model = build_model(task)
        self.layout = dual_layout(model, task)
        self._servo_ranges = {eef: panda.servo_range(arm.arm_range).T for eef, arm in self.layout.arms.items()}
        self._jacobian = np.zeros((num_envs, len(task.eef_names), 6, model.nv))
        super().__init__(task, num_envs, model, TrayReader(task, self.layout, model.nq, model.nv))

    # Life of an env -------------------------------------------------------------------------------------

    def _place_robot(self, qpos: np.ndarray, rng: np.random.Generator) -> None:
        for arm in self.layout.arms.values():
            noisy = np.array(self.task.home) + self.task.reset.joint_noise * rng.standard_normal(7)
            qpos[arm.arm_qpos] = np.clip(noisy, *arm.arm_range.T)
            qpos[arm.finger_qpos] = panda.FINGER_OPEN

    def _hold_still(self, data: mujoco.MjData) -> None:
        for arm in self.layout.arms.values():
            data.ctrl[arm.arm_ctrl] = data.qpos[arm.arm_qpos]
            data.ctrl[arm.finger_ctrl] = panda.FINGER_OPEN

    def _servo_targets(self, ids: Sequence[int], actions: np.ndarray) -> np.ndarray:
        index = list(ids)
        rows = self._rows[index]
        targets, grippers = self._hand_targets(actions), self.gripper_actions(actions)
        controls = np.zeros((len(index), self.model.nu))
        for number, (eef, arm) in enumerate(self.layout.arms.items()):
            error = poses.delta_between(self.reader.hand_pose(rows, eef), targets[eef])
            now = self.reader.qpos(rows)[:, arm.arm_qpos]
            low, high = self._servo_ranges[eef]
            controls[:, arm.arm_ctrl] = now + step_within(self._jacobian[index, number][..., arm.arm_qpos], error, low - now, high - now)
            controls[:, arm.finger_ctrl] = np.where(grippers[eef] < 0, 0.0, panda.FINGER_OPEN)
        return controls

    def _hand_targets(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        """Eef name to the pose (..., 4, 4) that actions (..., A) want the hand in."""
        hands = {eef: actions[..., 7 * i : 7 * i + 7] for i, eef in enumerate(self.task.eef_names)}
        return {eef: poses.pose_from_quat(hand[..., :3], hand[..., 3:]) for eef, hand in hands.items()}

    def _look(self, env_id: int) -> None:
        """Bring kinematics up to the state and refresh the env's row."""
        model, data, row = self.model, self._data[env_id], self._rows[env_id]
        self._mujoco.mj_kinematics(model, data)
        self._mujoco.mj_comPos(model, data)
        self._find_jacobians(env_id)
        row[: model.nq], row[model.nq : model.nq + model.nv] = data.qpos, data.qvel
        control = self.reader.control(row).reshape(-1, _JOINTS)
        for number, (eef, arm) in enumerate(self.layout.arms.items()):
            hand = row[self.reader.hand_columns(eef)]
            hand[:3], hand[3:] = data.xpos[arm.hand_body], data.xmat[arm.hand_body]
            control[number, :7], control[number, 7:] = data.ctrl[arm.arm_ctrl], data.ctrl[arm.finger_ctrl]

    def _find_jacobians(self, env_id: int) -> None:
        for jacobian, arm in zip(self._jacobian[env_id], self.layout.arms.values(), strict=True):
            self._mujoco.mj_jacBody(self.model, self._data[env_id], jacobian[:3], jacobian[3:], arm.hand_body)

    def set_state(self, env_ids: Sequence[int], states: Sequence[tuple[mujoco.MjData, np.ndarray]]) -> None:
        super().set_state(env_ids, states)
        for env_id in env_ids:
            self._find_jacobians(env_id)

    # Reading snapshots ------------------------------------------------------------------------------------

    def eef_poses(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {eef: self.reader.eef_pose(snapshot, eef) for eef in self.layout.arms}

    def gripper_opening(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {eef: self.reader.fingers(snapshot, eef)[..., 0] for eef in self.layout.arms}

    # Actions ------------------------------------------------------------------------------------------------

    def command_to_action(self, snapshot: Snapshot, deltas: Mapping[str, np.ndarray], grippers: Mapping[str, float]) -> np.ndarray:
        now = self.eef_poses(snapshot)
        targets = {eef: poses.apply_delta(pose, self.task.command_scale * deltas[eef]) for eef, pose in now.items()}
        return self.target_poses_to_actions(now, targets, {eef: np.array([gripper]) for eef, gripper in grippers.items()})

    def target_poses_to_actions(
        self,
        eef_poses: Mapping[str, np.ndarray],
        targets: Mapping[str, np.ndarray],
        grippers: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        hands = [poses.along_z(targets[eef], -panda.TOOL_OFFSET) for eef in self.layout.arms]
        parts = [(poses.position(hand), poses.quat_beside(poses.quat_from_matrix(poses.rotation(hand)), panda.POINTING_DOWN)) for hand in hands]
        return np.concatenate([*(part for pair in parts for part in pair), *(grippers[eef] for eef in self.layout.arms)], axis=-1).astype(np.float32)

    def noisy_actions(self, actions: np.ndarray, noise: Mapping[str, np.ndarray]) -> np.ndarray:
        targets = {eef: poses.apply_delta(target, noise[eef]) for eef, target in self.actions_to_target_poses({}, actions).items()}
        return self.target_poses_to_actions({}, targets, self.gripper_actions(actions))

    def actions_to_target_poses(self, eef_poses: Mapping[str, np.ndarray], actions: np.ndarray) -> dict[str, np.ndarray]:
        hands = self._hand_targets(np.asarray(actions, dtype=np.float64))
        return {eef: poses.along_z(hand, panda.TOOL_OFFSET) for eef, hand in hands.items()}

    def gripper_actions(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        first = 7 * len(self.layout.arms)
        return {eef: actions[..., first + i : first + i + 1] for i, eef in enumerate(self.layout.arms)}

    # Recording ----------------------------------------------------------------------------------------------

    def _processed(self, actions: np.ndarray, after: Snapshot) -> np.ndarray:
        """The hand poses as they were asked for, then of each arm both finger targets."""
        control = self.reader.control(after).reshape(*after.shape[:-1], -1, _JOINTS)
        fingers = control[..., 7:].reshape(len(actions), -1).astype(np.float32)
        return np.concatenate([actions[:, : 7 * len(self.layout.arms)], fingers], axis=-1)
