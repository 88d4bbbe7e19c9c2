"""A mobile base on a floor, as a `MimicEnv`. Its eef is the base itself, and it has no gripper.

Actions are velocities in the base's own frame: ahead, to its left [m/s], and the turn to its left [rad/s].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.envs.base import Snapshot
from mimicctl.envs.mujoco.floor import FloorLayout, build_floor_spec, floor_layout
from mimicctl.envs.mujoco.reader import SceneReader
from mimicctl.envs.mujoco.robot_env import RobotEnv
from mimicctl.envs.mujoco.tiago import MAX_SPEED
from mimicctl.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import mujoco

_EEF = "base"

STANDING = (0.03, 0.05)
"""[m/s], [rad/s] A base that is slower stands."""

AHEAD = 0.25
"""[s] The target of an action is where it would take the base in this time; and a target is approached at the speed that would reach it in this time."""

PLANE = (0, 1, 5)
"""Of a twist (6): what a base can do."""


@dataclass(frozen=True)
class BaseReader(SceneReader):
    """Meaning of a snapshot row: qpos, qvel, last action, last control."""

    layout: FloorLayout

    @property
    def width(self) -> int:
        return self.nq + self.nv + 6

    def last_action(self, rows: np.ndarray) -> np.ndarray:
        return rows[..., -6:-3]

    def control(self, rows: np.ndarray) -> np.ndarray:
        """(..., 3) servo targets of the last step, in the env frame."""
        return rows[..., -3:]

    def base(self, rows: np.ndarray) -> np.ndarray:
        """(..., 3) x, y [m] and yaw [rad], not wrapped."""
        return self.qpos(rows)[..., self.layout.base_qpos]

    def base_pose(self, rows: np.ndarray) -> np.ndarray:
        """(..., 4, 4)"""
        x, y, yaw = np.moveaxis(self.base(rows), -1, 0)
        return poses.yaw_pose(np.stack([x, y, np.zeros_like(x)], axis=-1), yaw)

    def velocity(self, rows: np.ndarray) -> np.ndarray:
        """(..., 3) ahead and to the left [m/s], and turning [rad/s]."""
        return rotated(self.qvel(rows)[..., self.layout.base_qpos], -self.base(rows)[..., 2])

    # Signals and success ------------------------------------------------------------------------------

    def signals(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """None: to arrive is all there is to do."""
        return {}

    def success(self, rows: np.ndarray) -> np.ndarray:
        goal, velocity = self.task.goal, self.velocity(rows)
        standing = (np.linalg.norm(velocity[..., :2], axis=-1) < STANDING[0]) & (np.abs(velocity[..., 2]) < STANDING[1])
        away = poses.inverse(self.base_pose(rows)) @ self.object_pose(rows, goal.mark)
        angle = np.abs(np.arctan2(away[..., 1, 0], away[..., 0, 0]))
        return standing & (np.hypot(away[..., 0, 3], away[..., 1, 3]) < goal.distance) & (angle < goal.angle)

    # What the file holds --------------------------------------------------------------------------------

    def observations(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """`object` is what a policy needs and no more: of each object its x and y in the base's frame, and then the cosine and sine of its yaw there."""
        base = self.base_pose(rows)
        names = [item.name for item in self.task.objects]
        away = [(poses.inverse(base) @ self.object_pose(rows, name))[..., :2, 3] for name in names]
        values = {
            "actions": self.last_action(rows),
            "eef_pos": poses.position(base),
            "eef_quat": poses.quat_from_matrix(poses.rotation(base)),
            "base_velocity": self.velocity(rows),
            "object": np.concatenate([*away, self.relative_yaws(rows, poses.rotation(base), self.task.objects)], axis=-1),
        }
        return {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in values.items()}

    def scene_state(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        batch = rows.shape[:-1]
        state = {
            "articulation/robot/root_pose": np.broadcast_to(np.array([0.0, 0, 0, 0, 0, 0, 1]), (*batch, 7)),
            "articulation/robot/root_velocity": np.zeros((*batch, 6)),
            "articulation/robot/joint_position": self.base(rows),
            "articulation/robot/joint_velocity": self.qvel(rows)[..., self.layout.base_qpos],
            **self.object_states(rows),
        }
        return {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in state.items()}

    # Back from the file ---------------------------------------------------------------------------------

    def qpos_of(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """(..., nq) from a recorded scene state. UserError: it is of another scene."""
        joints = self.state_entry(state, "articulation/robot/joint_position", 3)
        qpos = np.zeros((*joints.shape[:-1], self.nq))
        qpos[..., self.layout.base_qpos] = joints
        self.place_objects(state, qpos)
        return qpos

    def qvel_of(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """(nv,)"""
        qvel = np.zeros(self.nv)
        qvel[self.layout.base_qpos] = self.state_entry(state, "articulation/robot/joint_velocity", 3)
        self.move_objects(state, qvel)
        return qvel


class DriveEnv(RobotEnv):
    """See `MimicEnv` for the contract."""

    reader: BaseReader

    def __init__(self, task: TaskSpec, num_envs: int = 1) -> None:
        model = build_floor_spec(task).compile()
        self.layout = floor_layout(model, task)
        super().__init__(task, num_envs, model, BaseReader(task, self.layout, model.nq, model.nv))

    def _place_robot(self, qpos: np.ndarray, rng: np.random.Generator) -> None:
        qpos[self.layout.base_qpos] = np.array(self.task.home) + self.task.reset.joint_noise * rng.standard_normal(3)

    def _hold_still(self, data: mujoco.MjData) -> None:
        data.ctrl[:] = 0.0

    def _servo_targets(self, ids: Sequence[int], actions: np.ndarray) -> np.ndarray:
        return rotated(within_limits(actions), self.reader.base(self._rows[list(ids)])[:, 2])

    def _look(self, env_id: int) -> None:
        data, row = self._data[env_id], self._rows[env_id]
        nq, nv = self.model.nq, self.model.nv
        row[:nq], row[nq : nq + nv] = data.qpos, data.qvel
        row[-3:] = data.ctrl

    # Reading snapshots ------------------------------------------------------------------------------------

    def eef_poses(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {_EEF: self.reader.base_pose(snapshot)}

    def gripper_opening(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {_EEF: np.zeros(snapshot.shape[:-1])}

    # Actions ------------------------------------------------------------------------------------------------

    def command_to_action(self, snapshot: Snapshot, deltas: Mapping[str, np.ndarray], grippers: Mapping[str, float]) -> np.ndarray:
        return within_limits(np.asarray(deltas[_EEF])[..., PLANE]).astype(np.float32)

    def target_poses_to_actions(
        self,
        eef_poses: Mapping[str, np.ndarray],
        targets: Mapping[str, np.ndarray],
        grippers: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        away = poses.inverse(eef_poses[_EEF]) @ targets[_EEF]
        turn = np.arctan2(away[..., 1, 0], away[..., 0, 0])
        return within_limits(np.concatenate([away[..., :2, 3], turn[..., None]], axis=-1) / AHEAD).astype(np.float32)

    def noisy_actions(self, actions: np.ndarray, noise: Mapping[str, np.ndarray]) -> np.ndarray:
        return within_limits(actions + noise[_EEF][..., PLANE]).astype(np.float32)

    def actions_to_target_poses(self, eef_poses: Mapping[str, np.ndarray], actions: np.ndarray) -> dict[str, np.ndarray]:
        step = AHEAD * np.asarray(actions, dtype=np.float64)
        ahead = poses.yaw_pose(np.concatenate([step[..., :2], np.zeros_like(step[..., :1])], axis=-1), step[..., 2])
        return {_EEF: eef_poses[_EEF] @ ahead}

    def gripper_actions(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        return {_EEF: actions[..., :0]}

    # Recording ----------------------------------------------------------------------------------------------

    def _processed(self, actions: np.ndarray, after: Snapshot) -> np.ndarray:
        """What the servos were told, in the env frame."""
        return self.reader.control(after).astype(np.float32)


def rotated(planar: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """(..., 3) of x, y and a turn, with x and y turned by `angle` (...) [rad]."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y, turn = np.moveaxis(planar, -1, 0)
    return np.stack([cos * x - sin * y, sin * x + cos * y, turn], axis=-1)


def within_limits(velocity: np.ndarray) -> np.ndarray:
    """(..., 3), each no faster than the base can."""
    return np.clip(velocity, -np.array(MAX_SPEED), MAX_SPEED)
