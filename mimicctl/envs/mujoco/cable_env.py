"""A gripper on four cables over a table, as a `MimicEnv`. Its eef is where the gripper was told to hang.

Actions are relative: where to hang next, the turn of the wrist, and the fingers. The line below the carriage swings by itself, so a gripper that was
moved comes to rest some time after it has arrived. The eef leaves the swing out: who steers by what swings drives the swing.

Swing cancellation is a switch of the controller. Where it is on, the carriage goes after the gripper, at a speed in proportion to how far that has swung
out: of the pendulum's equation x'' = -w^2 (x - c), with c' = g (x - c) that is x - c damped by g. From rest to rest the way that it makes is none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.envs.base import Snapshot
from mimicctl.envs.mujoco import cable_robot
from mimicctl.envs.mujoco.cable_reader import CableReader, cable_layout
from mimicctl.envs.mujoco.robot_env import RobotEnv
from mimicctl.envs.mujoco.scene import build_model
from mimicctl.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import mujoco

_EEF = "gripper"

_REACH = np.array([(0.15, 0.80), (-0.42, 0.42), (0.008, 0.50), cable_robot.WRIST_RANGE])
"""Of x, y, z of the tool point [m], and yaw [rad]: short of the frame, and of the table."""
_MAX_SPEED = np.array([0.6, 0.6, 0.6, 3.0])
"""[m/s, rad/s]"""
_SLACK = 0.05
"""[m] By how much more line than it takes a gripper is let down, at most."""
_MOVES = [0, 1, 2, 5]
"""Of a twist (6): what the robot can do."""
_CHASE = 4.0
"""[1/s] Speed of the carriage by how far the gripper has swung out, where swing is cancelled."""


class CableEnv(RobotEnv):
    """See `MimicEnv` for the contract.

    The controller remembers 7 numbers: where the tool point is to hang (x, y, z, yaw), how far the carriage is off for the sake of the swing (x, y), and
    whether swing is cancelled (1 or 0), which a start state takes from the task, and a recorded one from the record.
    """

    reader: CableReader

    def __init__(self, task: TaskSpec, num_envs: int = 1) -> None:
        model = build_model(task)
        self.layout = cable_layout(model, task)
        super().__init__(task, num_envs, model, CableReader(task, self.layout, model.nq, model.nv))

    def reset_to(self, env_ids: Sequence[int], states: Sequence[Mapping[str, np.ndarray]]) -> None:
        super().reset_to(env_ids, states)
        for env_id, state in zip(env_ids, states, strict=True):
            self._switch(env_id, self.reader.switch_of({key: np.asarray(value).reshape(-1) for key, value in state.items()}))

    def switch_swing_cancellation(self) -> None:
        """On if it was off, and off if it was on, from now on."""
        self.task = dataclasses.replace(self.task, swing_cancellation=not self.task.swing_cancellation)
        for env_id in range(self.num_envs):
            self._switch(env_id, self.task.swing_cancellation)

    def _switch(self, env_id: int, on: bool) -> None:
        self._data[env_id].userdata[-1] = float(on)
        self._look(env_id)

    def _place_robot(self, qpos: np.ndarray, rng: np.random.Generator) -> None:
        x, y, z, yaw = np.array(self.task.home) + self.task.reset.joint_noise * rng.standard_normal(4)
        carriage = (x, y, z + cable_robot.TOOL_OFFSET)
        qpos[self.layout.joints] = (*carriage, 0.0, 0.0, yaw, cable_robot.FINGER_OPEN, cable_robot.FINGER_OPEN)

    def _hold_still(self, data: mujoco.MjData) -> None:
        joints = data.qpos[self.layout.joints]
        data.userdata[:4] = (*joints[:2], joints[2] - cable_robot.TOOL_OFFSET, joints[5])
        data.userdata[4:6], data.userdata[6] = 0.0, bool(self.task.swing_cancellation)
        data.ctrl[:] = (*cable_robot.cable_lengths(joints[:3]), joints[5], cable_robot.FINGER_OPEN, cable_robot.FINGER_OPEN)
        # Winches do not jump: what they were told is what they are still on the way to.
        data.act[:] = data.ctrl[: len(data.act)]

    def _servo_targets(self, ids: Sequence[int], actions: np.ndarray) -> np.ndarray:
        rows, step = self._rows[list(ids)], 1 / self.task.control_hz
        memory, swing = self.reader.memory(rows), self.reader.swing(rows)[:, :2]
        asked = np.clip(self.task.action_scale * actions[:, _MOVES], -step * _MAX_SPEED, step * _MAX_SPEED)
        place = np.clip(memory[:, :4] + asked, *_REACH.T)
        # What stands on something is not let down any further.
        place[:, 2] = np.maximum(place[:, 2], self.reader.below_carriage(rows)[:, 2] - _SLACK)
        chased = memory[:, 6:] * (memory[:, 4:6] + step * _CHASE * swing)
        for row, env_id in enumerate(ids):
            self._data[env_id].userdata[:6] = (*place[row], *chased[row])
        carriage = place[:, :3] + (0.0, 0.0, cable_robot.TOOL_OFFSET)
        carriage[:, :2] += chased
        fingers = np.where(actions[:, -1:] < 0, 0.0, cable_robot.FINGER_OPEN)
        return np.concatenate([cable_robot.cable_lengths(carriage), place[:, 3:], fingers, fingers], axis=1)

    def _look(self, env_id: int) -> None:
        data, row = self._data[env_id], self._rows[env_id]
        nq, nv = self.model.nq, self.model.nv
        row[:nq], row[nq : nq + nv] = data.qpos, data.qvel
        row[-14:-7], row[-7:] = data.ctrl, data.userdata

    # Reading snapshots ------------------------------------------------------------------------------------

    def eef_poses(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {_EEF: self.reader.told(snapshot)}

    def swung_to(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {_EEF: self.reader.tool_pose(snapshot)}

    def gripper_opening(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {_EEF: self.reader.fingers(snapshot)[..., 0]}

    # Actions ------------------------------------------------------------------------------------------------

    def command_to_action(self, snapshot: Snapshot, deltas: Mapping[str, np.ndarray], grippers: Mapping[str, float]) -> np.ndarray:
        return np.append(np.clip(_possible(deltas[_EEF]), -1.0, 1.0), grippers[_EEF]).astype(np.float32)

    def target_poses_to_actions(
        self,
        eef_poses: Mapping[str, np.ndarray],
        targets: Mapping[str, np.ndarray],
        grippers: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        moved = np.clip(_possible(poses.delta_between(eef_poses[_EEF], targets[_EEF])), -1.0, 1.0)
        return np.concatenate([moved, grippers[_EEF]], axis=-1).astype(np.float32)

    def noisy_actions(self, actions: np.ndarray, noise: Mapping[str, np.ndarray]) -> np.ndarray:
        noisy = actions.copy()
        noisy[..., :6] = np.clip(actions[..., :6] + _possible(noise[_EEF]), -1.0, 1.0)
        return noisy

    def actions_to_target_poses(self, eef_poses: Mapping[str, np.ndarray], actions: np.ndarray) -> dict[str, np.ndarray]:
        return {_EEF: poses.apply_delta(eef_poses[_EEF], _possible(np.asarray(actions, dtype=np.float64)[..., :6]))}

    def gripper_actions(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        return {_EEF: actions[..., -1:]}

    # Recording ----------------------------------------------------------------------------------------------

    def _processed(self, actions: np.ndarray, after: Snapshot) -> np.ndarray:
        """What the servos were told: lengths of the cables, wrist, fingers."""
        return self.reader.control(after).astype(np.float32)


def _possible(twist: np.ndarray) -> np.ndarray:
    """(..., 6) without what the robot cannot do: tilt."""
    return np.where(np.isin(np.arange(6), _MOVES), twist, 0.0)
