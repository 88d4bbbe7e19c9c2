"""Reading snapshot rows of a humanoid at a table: wrists, hands, and what the file holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from mimicctl import poses
from mimicctl.envs.mujoco import humanoid_goals
from mimicctl.envs.mujoco.humanoid_body import HumanoidBody
from mimicctl.envs.mujoco.humanoids import BODIES
from mimicctl.envs.mujoco.reader import SceneReader
from mimicctl.envs.mujoco.scene import build_model, object_addresses
from mimicctl.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import mujoco

_POSE = 12
"""Columns of a wrist: position (3) and rotation (9)."""


@dataclass(frozen=True)
class HumanoidLayout:
    """Where things are in the model's vectors. All the robot's joints are hinges, in the order of their indices into qpos and qvel.

    Attributes:
        joints, ctrl: indices into qpos and into ctrl of `HumanoidBody.joints`.
        hands: eef to indices into qpos of its hand's joints.
        hand_columns: indices into qpos of `HumanoidBody.hand_columns`.
        wrists: eef to the body id of its wrist.
    """

    joints: np.ndarray
    ctrl: np.ndarray
    hands: dict[str, np.ndarray]
    hand_columns: np.ndarray
    wrists: dict[str, int]
    objects: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, model: mujoco.MjModel, task: TaskSpec, body: HumanoidBody, **more: np.ndarray) -> Self:
        """Look the names up once; `more` is what a robot that has more adds."""

        def qpos(names: Sequence[str]) -> np.ndarray:
            return np.array([model.joint(name).qposadr[0] for name in names])

        return cls(
            joints=qpos(body.joints),
            ctrl=np.array([model.actuator(name).id for name in body.joints]),
            hands={eef: qpos(names) for eef, names in body.hand_joints.items()},
            hand_columns=qpos(body.hand_columns),
            wrists={eef: model.body(name).id for eef, name in body.wrists.items()},
            objects=object_addresses(model, task),
            **more,
        )

    @property
    def state(self) -> np.ndarray:
        """Indices into qpos, and into qvel, of the robot's joints that are part of a scene's state."""
        return self.joints


@dataclass(frozen=True)
class HumanoidReader(SceneReader):
    """Meaning of a snapshot row: qpos, qvel, of each wrist position (3) and rotation (9), last action, servo targets of the last step, whether the arms were held.

    Attributes:
        resting: eef to where its wrist is in the posture that episodes begin about (3,), in the env frame [m].
    """

    kind_of_layout: ClassVar[type[HumanoidLayout]] = HumanoidLayout

    layout: HumanoidLayout
    body: HumanoidBody
    resting: Mapping[str, np.ndarray]

    @classmethod
    def of_states(cls, task: TaskSpec) -> Self:
        """For recorded states of the task's own model; where wrists rest, which signals ask for, takes inverse kinematics to know."""
        model, body = build_model(task), BODIES[task.robot]
        return cls(task, cls.kind_of_layout.of(model, task, body), model.nq, model.nv, body, resting={})

    @property
    def width(self) -> int:
        return self._first_action + self.task.action_dim + len(self.layout.joints) + 1

    @property
    def _first_action(self) -> int:
        return self.nq + self.nv + _POSE * len(self.layout.wrists)

    def wrist_columns(self, eef: str) -> slice:
        first = self.nq + self.nv + _POSE * list(self.layout.wrists).index(eef)
        return slice(first, first + _POSE)

    def eef_pose(self, rows: np.ndarray, eef: str) -> np.ndarray:
        """(..., 4, 4) pose of a wrist."""
        wrist = rows[..., self.wrist_columns(eef)]
        return poses.compose(wrist[..., 3:].reshape(*wrist.shape[:-1], 3, 3), wrist[..., :3])

    def last_action(self, rows: np.ndarray) -> np.ndarray:
        return rows[..., self._first_action : self._first_action + self.task.action_dim]

    def control(self, rows: np.ndarray) -> np.ndarray:
        """(..., J) servo targets of the last step, of `HumanoidBody.joints`."""
        return rows[..., -len(self.layout.joints) - 1 : -1]

    def held(self, rows: np.ndarray) -> np.ndarray:
        """(...) bool: the inverse kinematics found no step, and the arms stayed where they were."""
        return rows[..., -1] > 0

    def openness(self, rows: np.ndarray, eef: str) -> np.ndarray:
        """(...) 1 open to -1 closed."""
        return self.body.gripper(self.qpos(rows)[..., self.layout.hands[eef]], eef)[..., 0]

    def root_pose(self, rows: np.ndarray) -> np.ndarray:
        """(..., 4, 4) of what the arms are fixed to."""
        return np.broadcast_to(poses.compose(np.eye(3), np.array(self.body.root)), (*rows.shape[:-1], 4, 4))

    def signals(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return humanoid_goals.signals(self, rows)

    def success(self, rows: np.ndarray) -> np.ndarray:
        return humanoid_goals.success(self, rows)

    # What the file holds --------------------------------------------------------------------------------

    def observations(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Keys of Isaac Lab's humanoid tasks, and how fast the joints move; `object` has of each object its pose, then the way to it from each wrist."""
        qpos = self.qpos(rows)
        wrists = {eef: self.eef_pose(rows, eef) for eef in self.layout.wrists}
        parts = []
        for item in self.task.objects:
            position = self.object_position(rows, item.name)
            parts += [position, self.object_quat(rows, item.name), *(position - poses.position(wrist) for wrist in wrists.values())]
        values = {
            "actions": self.last_action(rows),
            "robot_joint_pos": qpos[..., self.layout.joints],
            "robot_joint_vel": self.qvel(rows)[..., self.layout.joints],
            "hand_joint_state": qpos[..., self.layout.hand_columns],
            "object": np.concatenate(parts, axis=-1),
        }
        for eef, wrist in wrists.items():
            values[f"{eef}_eef_pos"] = poses.position(wrist)
            values[f"{eef}_eef_quat"] = poses.quat_beside(poses.quat_from_matrix(poses.rotation(wrist)), self.body.wrist_quats[eef])
        return {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in values.items()}

    def scene_state(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        batch, root = rows.shape[:-1], self.root_pose(rows)
        state = {
            "articulation/robot/root_pose": np.concatenate([poses.position(root), poses.quat_from_matrix(poses.rotation(root))], axis=-1),
            "articulation/robot/root_velocity": np.zeros((*batch, 6)),
            "articulation/robot/joint_position": self.qpos(rows)[..., self.layout.state],
            "articulation/robot/joint_velocity": self.qvel(rows)[..., self.layout.state],
            **self.object_states(rows),
        }
        return {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in state.items()}

    # Back from the file ---------------------------------------------------------------------------------

    def qpos_of(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """(..., nq) from a recorded scene state. UserError: it is of another scene."""
        joints = self.state_entry(state, "articulation/robot/joint_position", len(self.layout.state))
        qpos = np.zeros((*joints.shape[:-1], self.nq))
        qpos[..., self.layout.state] = joints
        self.place_objects(state, qpos)
        return qpos

    def qvel_of(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """(nv,) from one row of it."""
        qvel = np.zeros(self.nv)
        qvel[self.layout.state] = self.state_entry(state, "articulation/robot/joint_velocity", len(self.layout.state))
        self.move_objects(state, qvel)
        return qvel
