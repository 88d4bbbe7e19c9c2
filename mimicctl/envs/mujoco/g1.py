"""The Unitree G1 with three-fingered hands: its names, and its arms for the inverse kinematics. The pelvis stands fixed; legs and waist are still."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.envs.mujoco.assets import read_urdf

if TYPE_CHECKING:
    from mimicctl.envs.mujoco.pink_ik import PinkIK

URDF = "g1_description/urdf/g1_29dof_with_hand_rev_1_0.urdf"

SIDES = ("left", "right")

_OF_AN_ARM = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow", "wrist_roll", "wrist_pitch", "wrist_yaw")

ARM_JOINTS = tuple(f"{side}_{name}_joint" for side in SIDES for name in _OF_AN_ARM)

WRISTS = {side: f"{side}_wrist_yaw_link" for side in SIDES}
"""What an absolute target is for, as in Isaac Lab's tasks with this robot."""

_BENT = {"elbow": 0.2, "shoulder_roll": 0.2}
POSTURE = tuple((-1.0 if (side, name) == ("right", "shoulder_roll") else 1.0) * _BENT.get(name, 0.0) for side in SIDES for name in _OF_AN_ARM)
"""Of `ARM_JOINTS`: forearms ahead, upper arms a little off the body [rad]."""


def load_ik(wrists: Mapping[str, str] = WRISTS) -> PinkIK:
    """Both arms, or the one whose wrist is given; poses are in the pelvis' frame.

    Raises:
        UserError: the libraries of the extra `humanoid` are not installed.
    """
    from mimicctl.envs.mujoco.pink_ik import PinkIK

    chosen = {name: angle for name, angle in zip(ARM_JOINTS, POSTURE, strict=True) if name.split("_")[0] in wrists}
    return PinkIK(read_urdf(URDF, visuals=False), wrists, chosen)


def check_ik() -> str:
    """Bring both wrists from the posture to poses that are known to be in reach, and say how near they came.

    Raises:
        ArithmeticError: not near enough.
    """
    ik = load_ik()
    start = ik.posture[None]
    targets = ik.eef_poses(np.clip(start + 0.3 * np.resize((1.0, -1.0, 1.0), start.shape), *ik.joint_range.T))
    joints, _ = ik.solve(start, targets, steps=10)
    reached = ik.eef_poses(joints)
    errors = np.stack([poses.delta_between(reached[eef], target)[0] for eef, target in targets.items()])
    metres, degrees = np.linalg.norm(errors[:, :3], axis=1).max(), np.degrees(np.linalg.norm(errors[:, 3:], axis=1).max())
    found = f"both wrists of a humanoid to {1e3 * metres:.2f} mm and {degrees:.2f} degrees"
    if metres > 1e-3 or degrees > 0.5:
        raise ArithmeticError(f"{found}; asked for 1 mm and 0.5 degrees")
    return found
