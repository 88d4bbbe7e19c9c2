"""A Unitree G1 behind a table as a `MimicEnv`: both arms by Pink, its hands joint by joint.

Actions are Isaac Lab's: position and quaternion (xyzw) of the left wrist and of the right one in the env frame, then the joints of the left hand and of the right one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.envs.base import Snapshot
from mimicctl.envs.mujoco import g1
from mimicctl.envs.mujoco.reader import SceneReader
from mimicctl.envs.mujoco.robot_env import RobotEnv
from mimicctl.envs.mujoco.scene import build_model, object_addresses
from mimicctl.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import mujoco

_HAND = len(g1.HAND_JOINTS["left"])
_ARMS = len(g1.ARM_JOINTS)
_PROGRAMS = 2
"""Of the inverse kinematics a control step."""
_LIFTED = 0.02
_AT_REST = (0.05, 0.5)
_BESIDE = {"left": (0.0, 0.0, 0.0, 1.0), "right": (-0.38, 0.0, 0.0, 0.92)}


@dataclass(frozen=True)
class HumanoidLayout:
    """Where things are in the model's vectors. All the robot's joints are hinges, in the order of their indices into qpos and qvel."""

    arms: np.ndarray
    hands: dict[str, np.ndarray]
    arm_ctrl: np.ndarray
    hand_ctrl: dict[str, np.ndarray]
    wrists: dict[str, int]
    objects: dict[str, tuple[int, int]]

    @property
    def joints(self) -> np.ndarray:
        """(28,) arms, left hand, right hand."""
        return np.concatenate([self.arms, *self.hands.values()])

    @property
    def state(self) -> np.ndarray:
        """All that are part of a scene's state."""
        return self.joints


def humanoid_layout(model: mujoco.MjModel, task: TaskSpec) -> HumanoidLayout:
    def qpos(names: Sequence[str]) -> np.ndarray:
        return np.array([model.joint(name).qposadr[0] for name in names])

    def ctrl(names: Sequence[str]) -> np.ndarray:
        return np.array([model.actuator(name).id for name in names])

    return HumanoidLayout(
        arms=qpos(g1.ARM_JOINTS),
        hands={side: qpos(names) for side, names in g1.HAND_JOINTS.items()},
        arm_ctrl=ctrl(g1.ARM_JOINTS),
        hand_ctrl={side: ctrl(names) for side, names in g1.HAND_JOINTS.items()},
        wrists={side: model.body(name).id for side, name in g1.WRISTS.items()},
        objects=object_addresses(model, task),
    )


@dataclass(frozen=True)
class HumanoidReader(SceneReader):
    """Meaning of a snapshot row: qpos, qvel, of each wrist position (3) and rotation (9), last action, servo targets of the last step, whether the arms were held."""

    layout: HumanoidLayout

    @property
    def width(self) -> int:
        return self.nq + self.nv + 24 + self.task.action_dim + _ARMS + 2 * _HAND + 1

    def wrist_columns(self, eef: str) -> slice:
        first = self.nq + self.nv + 12 * g1.SIDES.index(eef)
        return slice(first, first + 12)

    def eef_pose(self, rows: np.ndarray, eef: str) -> np.ndarray:
        """(..., 4, 4) pose of a wrist."""
        wrist = rows[..., self.wrist_columns(eef)]
        return poses.compose(wrist[..., 3:].reshape(*wrist.shape[:-1], 3, 3), wrist[..., :3])

    def last_action(self, rows: np.ndarray) -> np.ndarray:
        start = self.nq + self.nv + 24
        return rows[..., start : start + self.task.action_dim]

    def control(self, rows: np.ndarray) -> np.ndarray:
        """(..., 28) servo targets of the last step: arms, left hand, right hand."""
        return rows[..., -_ARMS - 2 * _HAND - 1 : -1]

    def held(self, rows: np.ndarray) -> np.ndarray:
        """(...) bool: the inverse kinematics found no step, and the arms stayed where they were."""
        return rows[..., -1] > 0

    def openness(self, rows: np.ndarray, eef: str) -> np.ndarray:
        """(...) 1 open to -1 closed."""
        return normalised(self.qpos(rows)[..., self.layout.hands[eef]], eef)[..., 0]

    def pelvis_pose(self, rows: np.ndarray) -> np.ndarray:
        """(..., 4, 4) of what the arms are fixed to."""
        return np.broadcast_to(poses.compose(np.eye(3), np.array(g1.PELVIS)), (*rows.shape[:-1], 4, 4))

    # Signals and success ------------------------------------------------------------------------------

    def signals(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        goal = self.task.goal
        lifted = self.object_position(rows, goal.object_name)[..., 2] > self.task.object(goal.object_name).rest_height + _LIFTED
        return {f"grasp_{goal.eef}": lifted & (self.openness(rows, goal.eef) < 0)}

    def success(self, rows: np.ndarray) -> np.ndarray:
        goal = self.task.goal
        position = self.object_position(rows, goal.object_name)
        inside = np.all(np.abs(position[..., :2] - goal.centre) < goal.half_size, axis=-1) & (position[..., 2] < goal.height)
        return inside & self.at_rest(rows, goal.object_name) & (self.openness(rows, goal.eef) > 0.7)

    def at_rest(self, rows: np.ndarray, name: str) -> np.ndarray:
        """(...) bool: an object is."""
        velocity = self.object_velocity(rows, name)
        return (np.linalg.norm(velocity[..., :3], axis=-1) < _AT_REST[0]) & (np.linalg.norm(velocity[..., 3:], axis=-1) < _AT_REST[1])

    # What the file holds --------------------------------------------------------------------------------

    def observations(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Keys of Isaac Lab's humanoid tasks."""
        item = self.task.goal.object_name
        wrists = {eef: self.eef_pose(rows, eef) for eef in g1.SIDES}
        position = self.object_position(rows, item)
        ways = [position - poses.position(wrist) for wrist in wrists.values()]
        values = {
            "actions": self.last_action(rows),
            "robot_joint_pos": self.qpos(rows)[..., self.layout.joints],
            "hand_joint_state": self.qpos(rows)[..., np.concatenate([*self.layout.hands.values()])],
            "object": np.concatenate([position, self.object_quat(rows, item), *ways], axis=-1),
        }
        for eef, wrist in wrists.items():
            values[f"{eef}_eef_pos"] = poses.position(wrist)
            values[f"{eef}_eef_quat"] = poses.quat_beside(poses.quat_from_matrix(poses.rotation(wrist)), _BESIDE[eef])
        return {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in values.items()}

    def scene_state(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        batch = rows.shape[:-1]
        state = {
            "articulation/robot/root_pose": np.broadcast_to(np.array([*g1.PELVIS, 0, 0, 0, 1.0]), (*batch, 7)),
            "articulation/robot/root_velocity": np.zeros((*batch, 6)),
            "articulation/robot/joint_position": self.qpos(rows)[..., self.layout.state],
            "articulation/robot/joint_velocity": self.qvel(rows)[..., self.layout.state],
            **self.object_states(rows),
        }
        return {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in state.items()}

    def qpos_of(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        joints = self.state_entry(state, "articulation/robot/joint_position", len(self.layout.state))
        qpos = np.zeros((*joints.shape[:-1], self.nq))
        qpos[..., self.layout.state] = joints
        self.place_objects(state, qpos)
        return qpos

    def qvel_of(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        qvel = np.zeros(self.nv)
        qvel[self.layout.state] = self.state_entry(state, "articulation/robot/joint_velocity", len(self.layout.state))
        self.move_objects(state, qvel)
        return qvel


def normalised(angles: np.ndarray, side: str) -> np.ndarray:
    """(..., 7) angles of a hand as grippers have them, 1 open and -1 closed; the last joint, the tip of the index finger, which goes farthest, comes first."""
    open_, closed = g1.OPEN[side], g1.CLOSED[side]
    span = np.where(closed == open_, -2.0, closed - open_)
    return (1 - 2 * (np.asarray(angles) - open_) / span)[..., ::-1]


def hand_angles(grippers: np.ndarray, side: str) -> np.ndarray:
    """(..., 7) [rad]: the inverse of `normalised`; of a single number (..., 1) all joints alike."""
    open_, closed = g1.OPEN[side], g1.CLOSED[side]
    if grippers.shape[-1] == 1:
        return open_ + (1 - grippers) / 2 * (closed - open_)
    span = np.where(closed == open_, -2.0, closed - open_)
    return open_ + (1 - grippers[..., ::-1]) / 2 * span


def _wrist_part(targets: Mapping[str, np.ndarray]) -> np.ndarray:
    """(..., 14) of an action."""
    parts = []
    for eef in g1.SIDES:
        quat = poses.quat_beside(poses.quat_from_matrix(poses.rotation(targets[eef])), _BESIDE[eef])
        parts += [poses.position(targets[eef]), quat]
    return np.concatenate(parts, axis=-1)


class HumanoidEnv(RobotEnv):
    """See `MimicEnv` for the contract."""

    reader: HumanoidReader

    def __init__(self, task: TaskSpec, num_envs: int = 1) -> None:
        model = build_model(task)
        self._ik = g1.load_ik()
        self._hand_range = {side: np.array([model.joint(name).range for name in names]).T for side, names in g1.HAND_JOINTS.items()}
        reader = self._reader(model, task)
        self.layout = reader.layout
        super().__init__(task, num_envs, model, reader)

    @staticmethod
    def _reader(model: mujoco.MjModel, task: TaskSpec) -> HumanoidReader:
        return HumanoidReader(task, humanoid_layout(model, task), model.nq, model.nv)

    # Life of an env -------------------------------------------------------------------------------------

    def _place_robot(self, qpos: np.ndarray, rng: np.random.Generator) -> None:
        noisy = self._ik.posture + self.task.reset.joint_noise * rng.standard_normal(_ARMS)
        qpos[self.layout.arms] = np.clip(noisy, *self._ik.joint_range.T)
        for side, joints in self.layout.hands.items():
            qpos[joints] = g1.OPEN[side]

    def _hold_still(self, data: mujoco.MjData) -> None:
        data.ctrl[self.layout.arm_ctrl] = data.qpos[self.layout.arms]
        for side, ctrl in self.layout.hand_ctrl.items():
            data.ctrl[ctrl] = data.qpos[self.layout.hands[side]]

    def _servo_targets(self, ids: Sequence[int], actions: np.ndarray) -> np.ndarray:
        rows = self._rows[list(ids)]
        from_pelvis = poses.inverse(self.reader.pelvis_pose(rows))
        targets = {eef: from_pelvis @ pose for eef, pose in self._wrist_targets(actions).items()}
        # From where the servos were told to be: what they lag behind is not asked for twice.
        arms, held = self._ik.solve(self.reader.control(rows)[:, :_ARMS], targets, _PROGRAMS)
        self._rows[list(ids), -1] = held
        controls = np.zeros((len(rows), self.model.nu))
        controls[:, self.layout.arm_ctrl] = arms
        for number, (side, ctrl) in enumerate(self.layout.hand_ctrl.items()):
            controls[:, ctrl] = np.clip(self._hand_part(actions, number), *self._hand_range[side])
        return controls

    def _look(self, env_id: int) -> None:
        model, data, row = self.model, self._data[env_id], self._rows[env_id]
        self._mujoco.mj_kinematics(model, data)
        row[: model.nq], row[model.nq : model.nq + model.nv] = data.qpos, data.qvel
        for eef, body in self.layout.wrists.items():
            wrist = row[self.reader.wrist_columns(eef)]
            wrist[:3], wrist[3:] = data.xpos[body], data.xmat[body]
        self.reader.control(row)[:] = data.ctrl[np.concatenate([self.layout.arm_ctrl, *self.layout.hand_ctrl.values()])]

    # Reading snapshots ------------------------------------------------------------------------------------

    def eef_poses(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {eef: self.reader.eef_pose(snapshot, eef) for eef in g1.SIDES}

    def gripper_opening(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {eef: 0.02 * (1 + self.reader.openness(snapshot, eef)) for eef in g1.SIDES}

    # Actions ------------------------------------------------------------------------------------------------

    def command_to_action(self, snapshot: Snapshot, deltas: Mapping[str, np.ndarray], grippers: Mapping[str, float]) -> np.ndarray:
        now = self.eef_poses(snapshot)
        targets = {eef: poses.apply_delta(pose, self.task.command_scale * deltas[eef]) for eef, pose in now.items()}
        return self.target_poses_to_actions(now, targets, {eef: np.array([gripper]) for eef, gripper in grippers.items()})

    def target_poses_to_actions(self, eef_poses: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray], grippers: Mapping[str, np.ndarray]) -> np.ndarray:
        hands = [hand_angles(np.asarray(grippers[eef]), eef) for eef in g1.SIDES]
        return np.concatenate([_wrist_part(targets), *hands], axis=-1).astype(np.float32)

    def noisy_actions(self, actions: np.ndarray, noise: Mapping[str, np.ndarray]) -> np.ndarray:
        targets = {eef: poses.apply_delta(target, noise[eef]) for eef, target in self._wrist_targets(actions).items()}
        return np.concatenate([_wrist_part(targets), actions[..., 14:]], axis=-1).astype(np.float32)

    def actions_to_target_poses(self, eef_poses: Mapping[str, np.ndarray], actions: np.ndarray) -> dict[str, np.ndarray]:
        return self._wrist_targets(actions)

    def _wrist_targets(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        """Eef name to (..., 4, 4) in the env frame."""
        actions = np.asarray(actions, dtype=np.float64)
        hands = {eef: actions[..., 7 * i : 7 * i + 7] for i, eef in enumerate(g1.SIDES)}
        # A zero quaternion is no pose; the inverse kinematics hold the arms then.
        with np.errstate(invalid="ignore"):
            return {eef: poses.pose_from_quat(hand[..., :3], hand[..., 3:]) for eef, hand in hands.items()}

    def gripper_actions(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        return {eef: normalised(self._hand_part(actions, i), eef) for i, eef in enumerate(g1.SIDES)}

    def _hand_part(self, actions: np.ndarray, number: int) -> np.ndarray:
        return actions[..., 14 + _HAND * number : 14 + _HAND * (number + 1)]

    # Recording ----------------------------------------------------------------------------------------------

    def _processed(self, actions: np.ndarray, after: Snapshot) -> np.ndarray:
        """The joints of arms and hands as their servos were told."""
        return self.reader.control(after).astype(np.float32)
