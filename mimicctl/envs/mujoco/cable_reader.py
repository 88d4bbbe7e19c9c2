"""Reading snapshots of a scene with a gripper on cables: where it is told to hang and where it is, signals, success, observations.

All functions are pure and take any batch shape (..., K).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from mimicctl import poses
from mimicctl.envs.mujoco import cable_robot
from mimicctl.envs.mujoco.reader import SceneReader
from mimicctl.envs.mujoco.scene import build_model, object_addresses
from mimicctl.tasks.franka import POINTING_DOWN
from mimicctl.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import mujoco

OPEN_FINGER = 0.038
"""Both fingers at least this far from closed count as open [m]."""
HELD_FINGER = 0.035
"""Both at most this far: they are closed on something [m]."""
HELD_DISTANCE = 0.045
"""Tool point to the middle of what is held [m]."""
REST_SPEED = 0.05
"""[m/s]"""

_DOWN = np.diag([1.0, -1.0, -1.0])
"""The eef's axes at yaw 0: z down, as those of the other grippers."""

_SWITCH = "articulation/robot/swing_cancellation"


@dataclass(frozen=True)
class CableLayout:
    """Where things are in the model's vectors.

    Attributes:
        joints: indices of `cable_robot.JOINTS` into qpos, and into qvel.
        objects: object name to (first qpos index, first qvel index) of its free joint.
    """

    joints: np.ndarray
    objects: dict[str, tuple[int, int]]


def cable_layout(model: mujoco.MjModel, task: TaskSpec) -> CableLayout:
    """Look the names up once."""
    return CableLayout(np.array([model.joint(name).qposadr[0] for name in cable_robot.JOINTS]), object_addresses(model, task))


@dataclass(frozen=True)
class CableReader(SceneReader):
    """Meaning of a snapshot row: qpos, qvel, last action, last control (7), and what the controller remembers (7, see `CableEnv`)."""

    layout: CableLayout

    @classmethod
    def of(cls, task: TaskSpec) -> Self:
        """For snapshots and states of the task's own model."""
        model = build_model(task)
        return cls(task, cable_layout(model, task), model.nq, model.nv)

    @property
    def width(self) -> int:
        return self.nq + self.nv + self.task.action_dim + 14

    def last_action(self, rows: np.ndarray) -> np.ndarray:
        return rows[..., -14 - self.task.action_dim : -14]

    def control(self, rows: np.ndarray) -> np.ndarray:
        """(..., 7) servo targets of the last step: cable lengths [m], wrist [rad], fingers [m]."""
        return rows[..., -14:-7]

    def memory(self, rows: np.ndarray) -> np.ndarray:
        """(..., 7), see `CableEnv`."""
        return rows[..., -7:]

    # The robot ----------------------------------------------------------------------------------------------

    def joints(self, rows: np.ndarray) -> np.ndarray:
        """(..., 8) in the order of `cable_robot.JOINTS`."""
        return self.qpos(rows)[..., self.layout.joints]

    def told(self, rows: np.ndarray) -> np.ndarray:
        """(..., 4, 4) pose of the tool point that the controller was told, in which it hangs when nothing swings."""
        memory = self.memory(rows)
        return _hanging(memory[..., :3], memory[..., 3])

    def below_carriage(self, rows: np.ndarray) -> np.ndarray:
        """(..., 3) where the tool point would be if the line hung straight down now [m]."""
        return self.joints(rows)[..., :3] - (0.0, 0.0, cable_robot.TOOL_OFFSET)

    def tool_pose(self, rows: np.ndarray) -> np.ndarray:
        """(..., 4, 4) pose of the tool point, swing and all."""
        joints = self.joints(rows)
        tilt = _tilt(joints[..., 3:5])
        straight = _hanging(np.zeros_like(joints[..., :3]), joints[..., 5])
        return poses.compose(tilt @ poses.rotation(straight), joints[..., :3] - cable_robot.TOOL_OFFSET * tilt[..., 2])

    def swing(self, rows: np.ndarray) -> np.ndarray:
        """(..., 3) how far the tool point has swung out [m]."""
        return poses.position(self.tool_pose(rows)) - self.below_carriage(rows)

    def swing_velocity(self, rows: np.ndarray) -> np.ndarray:
        """(..., 3) of `swing` [m/s]."""
        along_x, along_y = np.moveaxis(self.joints(rows)[..., 3:5], -1, 0)
        rate_x, rate_y = np.moveaxis(self.qvel(rows)[..., self.layout.joints[3:5]], -1, 0)
        # The z axis of the line is (sin b, -sin a cos b, cos a cos b) for swings a about x and b about y.
        sin_a, cos_a, sin_b, cos_b = np.sin(along_x), np.cos(along_x), np.sin(along_y), np.cos(along_y)
        axis = [cos_b * rate_y, sin_a * sin_b * rate_y - cos_a * cos_b * rate_x, -sin_a * cos_b * rate_x - cos_a * sin_b * rate_y]
        return -cable_robot.TOOL_OFFSET * np.stack(axis, axis=-1)

    def fingers(self, rows: np.ndarray) -> np.ndarray:
        """(..., 2) finger positions, 0 closed [m]."""
        return self.joints(rows)[..., 6:]

    # Signals and success ------------------------------------------------------------------------------

    def raised(self, rows: np.ndarray, name: str) -> np.ndarray:
        """(...) height of an object's middle above where it is when it stands on the table [m]."""
        return self.object_position(rows, name)[..., 2] - self.task.object(name).rest_height

    def held(self, rows: np.ndarray, name: str) -> np.ndarray:
        """Between closed fingers."""
        near = np.linalg.norm(self.object_position(rows, name) - poses.position(self.tool_pose(rows)), axis=-1) < HELD_DISTANCE
        return near & np.all(self.fingers(rows) < HELD_FINGER, axis=-1)

    def signals(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """`grasp`: the object held, as high above the table as the goal says."""
        goal = self.task.goal
        return {"grasp": self.held(rows, goal.object_name) & (self.raised(rows, goal.object_name) >= goal.height)}

    def success(self, rows: np.ndarray) -> np.ndarray:
        """The middle of the object inside the upright container and below its rim, at rest, the gripper open. How it lies there does not matter."""
        goal = self.task.goal
        container = self.object_pose(rows, goal.container)
        within = poses.inverse(container) @ self.object_pose(rows, goal.object_name)
        across, high = np.hypot(within[..., 0, 3], within[..., 1, 3]), within[..., 2, 3]
        inside = (across < goal.inside[0]) & (high > goal.inside[2]) & (high < -goal.inside[2]) & (container[..., 2, 2] > np.cos(np.radians(10)))
        speeds = [np.linalg.norm(self.object_velocity(rows, name)[..., :3], axis=-1) for name in (goal.object_name, goal.container)]
        return inside & np.all(self.fingers(rows) > OPEN_FINGER, axis=-1) & np.all(np.less(speeds, REST_SPEED), axis=0)

    # What the file holds --------------------------------------------------------------------------------

    def observations(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """`object`: both poses, and the ways to them from the tool point."""
        tool = self.tool_pose(rows)
        names = [self.task.goal.object_name, self.task.goal.container]
        posed = [part for name in names for part in (self.object_position(rows, name), self.object_quat(rows, name))]
        ways = [self.object_position(rows, name) - poses.position(tool) for name in names]
        velocity = self.qvel(rows)[..., self.layout.joints]
        values = {
            "actions": self.last_action(rows),
            "joint_pos": self.joints(rows),
            "joint_vel": velocity,
            "eef_pos": poses.position(tool),
            "eef_quat": poses.quat_beside(poses.quat_from_matrix(poses.rotation(tool)), POINTING_DOWN),
            "gripper_pos": self.fingers(rows) * (1.0, -1.0),
            "target_pos": poses.position(self.told(rows)),
            "swing": self.swing(rows),
            "swing_vel": self.swing_velocity(rows),
            "object": np.concatenate([*posed, *ways], axis=-1),
            "gripper_to_object_yaw": self.relative_yaws(rows, poses.rotation(tool), [self.task.object(name) for name in names]),
        }
        return {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in values.items()}

    def scene_state(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """With the switch of swing cancellation as it is, which replaying depends on."""
        batch = rows.shape[:-1]
        state = {
            "articulation/robot/root_pose": np.broadcast_to(np.array([0.0, 0, 0, 0, 0, 0, 1]), (*batch, 7)),
            "articulation/robot/root_velocity": np.zeros((*batch, 6)),
            "articulation/robot/joint_position": self.joints(rows),
            "articulation/robot/joint_velocity": self.qvel(rows)[..., self.layout.joints],
            _SWITCH: self.memory(rows)[..., -1:],
            **self.object_states(rows),
        }
        return {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in state.items()}

    # Back from the file ---------------------------------------------------------------------------------

    def qpos_of(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """(..., nq) from a recorded scene state. UserError: it is of another scene."""
        joints = self.state_entry(state, "articulation/robot/joint_position", len(self.layout.joints))
        qpos = np.zeros((*joints.shape[:-1], self.nq))
        qpos[..., self.layout.joints] = joints
        self.place_objects(state, qpos)
        return qpos

    def qvel_of(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """(nv,)"""
        qvel = np.zeros(self.nv)
        qvel[self.layout.joints] = self.state_entry(state, "articulation/robot/joint_velocity", len(self.layout.joints))
        self.move_objects(state, qvel)
        return qvel

    def switch_of(self, state: Mapping[str, np.ndarray]) -> bool:
        """Whether swing was cancelled in a recorded scene state."""
        return bool(self.state_entry(state, _SWITCH, 1)[..., 0] > 0.5)


def _hanging(place: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """(..., 4, 4) pose of a tool point at `place` (..., 3) that hangs straight down, turned by `yaw` (...)."""
    return poses.yaw_pose(place, yaw) @ poses.compose(_DOWN, np.zeros(3))


def _tilt(swing: np.ndarray) -> np.ndarray:
    """(..., 3, 3) of the line, from swings about x and then about y (..., 2)."""
    about = np.zeros((2, *swing.shape[:-1], 3))
    about[0, ..., 0], about[1, ..., 1] = swing[..., 0], swing[..., 1]
    return poses.matrix_from_rotvec(about[0]) @ poses.matrix_from_rotvec(about[1])
