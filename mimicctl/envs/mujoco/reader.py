"""Reading snapshot rows of any scene: the physics' vectors, and the objects that lie free in it.

All functions are pure and take any batch shape (..., K).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mimicctl import poses
from mimicctl.errors import UserError
from mimicctl.tasks.spec import ObjectSpec, TaskSpec


class HasObjects(Protocol):
    """Where things are in the model's vectors."""

    @property
    def objects(self) -> dict[str, tuple[int, int]]:
        """Name of an object, or of each of its instances, to (first qpos index, first qvel index) of its free joint."""


@dataclass(frozen=True)
class SceneReader:
    """Every row begins with qpos and qvel; what follows them, and what it means for robot and task, the robot's own reader says.

    Attributes:
        nq, nv: sizes of the physics' vectors.
    """

    task: TaskSpec
    layout: HasObjects
    nq: int
    nv: int

    def qpos(self, rows: np.ndarray) -> np.ndarray:
        return rows[..., : self.nq]

    def qvel(self, rows: np.ndarray) -> np.ndarray:
        return rows[..., self.nq : self.nq + self.nv]

    def object_position(self, rows: np.ndarray, name: str) -> np.ndarray:
        return self._in_focus(rows, name, self.body_position)

    def object_quat(self, rows: np.ndarray, name: str) -> np.ndarray:
        return self._in_focus(rows, name, self.body_quat)

    def object_pose(self, rows: np.ndarray, name: str) -> np.ndarray:
        return poses.pose_from_quat(self.object_position(rows, name), self.object_quat(rows, name))

    def object_velocity(self, rows: np.ndarray, name: str) -> np.ndarray:
        """(..., 6) as `body_velocity`."""
        return self._in_focus(rows, name, self.body_velocity)

    def instance_in_focus(self, rows: np.ndarray, name: str) -> np.ndarray:
        """(...) number of the instance that an object is. The others stand on their shelf, higher than anything can get here."""
        heights = [self.body_position(rows, body.name)[..., 2] for body in self.task.object(name).bodies]
        return np.argmin(np.stack(heights, axis=-1), axis=-1)

    def _in_focus(self, rows: np.ndarray, name: str, read: Callable[[np.ndarray, str], np.ndarray]) -> np.ndarray:
        """What `read` tells of an object's body, or of that of its instances which is in focus."""
        if name in self.layout.objects:
            return read(rows, name)
        each = np.stack([read(rows, body.name) for body in self.task.object(name).bodies], axis=-2)
        return np.take_along_axis(each, self.instance_in_focus(rows, name)[..., None, None], axis=-2)[..., 0, :]

    def body_position(self, rows: np.ndarray, name: str) -> np.ndarray:
        first = self.layout.objects[name][0]
        return self.qpos(rows)[..., first : first + 3]

    def body_quat(self, rows: np.ndarray, name: str) -> np.ndarray:
        first = self.layout.objects[name][0]
        return poses.xyzw_from_wxyz(self.qpos(rows)[..., first + 3 : first + 7])

    def body_velocity(self, rows: np.ndarray, name: str) -> np.ndarray:
        """(..., 6) linear, angular, both in the world frame (MuJoCo keeps the angular part in the body's)."""
        first = self.layout.objects[name][1]
        velocity = self.qvel(rows)[..., first : first + 6]
        turn = poses.matrix_from_quat(self.body_quat(rows, name))
        return np.concatenate([velocity[..., :3], (turn @ velocity[..., 3:, None])[..., 0]], axis=-1)

    def relative_yaws(self, rows: np.ndarray, eef_rotation: np.ndarray, items: Sequence[ObjectSpec]) -> np.ndarray:
        """(..., 2 n): cosine and sine of each of n objects' yaw in the eef frame, times the number of its equal faces, so that what looks alike reads alike.

        The turn that a grasp needs. Isaac Lab leaves it to the policy to find it in the two quaternions; few networks do.
        """
        turned = [(poses.matrix_from_quat(self.object_quat(rows, item.name)), item.yaw_symmetry) for item in items]
        return np.concatenate([poses.relative_yaw(eef_rotation, rotation, symmetry) for rotation, symmetry in turned], axis=-1)

    def object_states(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """State path to (..., D) of every object; of one of instances, of each: who reads them sees which one is in focus."""
        state = {}
        for body in self.task.bodies:
            pose = np.concatenate([self.body_position(rows, body.name), self.body_quat(rows, body.name)], axis=-1)
            state[f"rigid_object/{body.name}/root_pose"] = pose
            state[f"rigid_object/{body.name}/root_velocity"] = self.body_velocity(rows, body.name)
        return state

    # Back from the file ---------------------------------------------------------------------------------

    def place_objects(self, state: Mapping[str, np.ndarray], qpos: np.ndarray) -> None:
        """Write the objects' poses of a recorded scene state into qpos (..., nq).

        Raises:
            UserError: the state is of another scene.
        """
        for name, (first, _) in self.layout.objects.items():
            pose = self.state_entry(state, f"rigid_object/{name}/root_pose", 7)
            qpos[..., first : first + 3], qpos[..., first + 3 : first + 7] = pose[..., :3], poses.wxyz_from_xyzw(pose[..., 3:])

    def move_objects(self, state: Mapping[str, np.ndarray], qvel: np.ndarray) -> None:
        """The same of their velocities and qvel (nv,)."""
        for name, (_, first) in self.layout.objects.items():
            pose = self.state_entry(state, f"rigid_object/{name}/root_pose", 7)
            velocity = self.state_entry(state, f"rigid_object/{name}/root_velocity", 6)
            qvel[first : first + 3] = velocity[:3]
            qvel[first + 3 : first + 6] = poses.matrix_from_quat(pose[3:]).T @ velocity[3:]

    def state_entry(self, state: Mapping[str, np.ndarray], key: str, size: int) -> np.ndarray:
        """(..., size) float64."""
        value = np.asarray(state.get(key, ()), dtype=np.float64)
        if value.shape[-1:] != (size,):
            raise UserError(
                f"The recorded state does not fit {self.task.task_id}: {key} has {value.shape[-1]} numbers, not {size}.",
                where=key,
                do="use the dataset with the task it was recorded on",
            )
        return value
