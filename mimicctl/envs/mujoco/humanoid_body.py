"""What a humanoid is to its env, as data: which joints are arms and hands, what open and closed hands are, where it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import mujoco

    from mimicctl.envs.mujoco.pink_ik import PinkIK


@dataclass(frozen=True)
class HumanoidBody:
    """Two arms that are brought to poses of their wrists, and two hands that are driven joint by joint.

    Attributes:
        arm_joints: of both arms, in the order of the inverse kinematics.
        hand_joints: eef to the joints of its hand, that first which goes farthest when the hand closes: it stands for the whole hand where a gripper has one number.
        hand_columns: all hand joints, in the order of actions and of `hand_joint_state`.
        open, closed: eef to the angles of `hand_joints` when the hand is ready to go round something, and when it holds on [rad].
        wrists: eef to the link that targets are for.
        wrist_quats: eef to the quaternion (xyzw) on whose side those of its wrist are.
        root: where the frame of the root link is in the env frame, which has the table's top at z = 0 [m].
        floor: height of its soles in the env frame [m].
        load: the model, its root link there, with meshes or without.
        load_ik: poses are in the root link's frame.
    """

    arm_joints: tuple[str, ...]
    hand_joints: Mapping[str, tuple[str, ...]]
    hand_columns: tuple[str, ...]
    open: Mapping[str, np.ndarray]
    closed: Mapping[str, np.ndarray]
    wrists: Mapping[str, str]
    wrist_quats: Mapping[str, tuple[float, float, float, float]]
    root: tuple[float, float, float]
    floor: float
    load: Callable[[bool], mujoco.MjSpec]
    load_ik: Callable[[], PinkIK]

    @property
    def joints(self) -> tuple[str, ...]:
        """All that move: arms, left hand, right hand."""
        return (*self.arm_joints, *(name for names in self.hand_joints.values() for name in names))

    def columns_of(self, eef: str) -> np.ndarray:
        """Where the joints of a hand are among the hand columns of an action."""
        return np.array([self.hand_columns.index(name) for name in self.hand_joints[eef]])

    def gripper(self, angles: np.ndarray, eef: str) -> np.ndarray:
        """(..., H) angles of a hand as grippers have them: 1 open to -1 closed."""
        open_, span = self.open[eef], self._span(eef)
        return 1 - 2 * (np.asarray(angles) - open_) / span

    def hand_angles(self, gripper: np.ndarray, eef: str) -> np.ndarray:
        """(..., H) [rad]: the inverse of `gripper`; a single number (..., 1) moves all joints that differ between open and closed alike."""
        open_, closed = self.open[eef], self.closed[eef]
        if gripper.shape[-1] == 1:
            return open_ + (1 - gripper) / 2 * (closed - open_)
        return open_ + (1 - gripper) / 2 * self._span(eef)

    def _span(self, eef: str) -> np.ndarray:
        """(H,) from open to closed; of a joint that is the same in both 2 rad, so that its angle is kept too."""
        way = self.closed[eef] - self.open[eef]
        return np.where(way == 0, -2.0, way)
