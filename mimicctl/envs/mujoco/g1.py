"""The Unitree G1 with three-fingered hands, and its arms for the inverse kinematics. The pelvis stands fixed; legs and waist are still."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.envs.mujoco.assets import read_urdf
from mimicctl.envs.mujoco.humanoid_body import HumanoidBody
from mimicctl.envs.mujoco.humanoid_model import Box, Servo, fit_humanoid

if TYPE_CHECKING:
    import mujoco

    from mimicctl.envs.mujoco.pink_ik import PinkIK

URDF = "g1_description/urdf/g1_29dof_with_hand_rev_1_0.urdf"

SIDES = ("left", "right")

_OF_AN_ARM = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow", "wrist_roll", "wrist_pitch", "wrist_yaw")

ARM_JOINTS = tuple(f"{side}_{name}_joint" for side in SIDES for name in _OF_AN_ARM)

PELVIS = (0.0, 0.0, 0.02)
"""Where its frame is in the env frame: forearms ahead, the hands are a hand's breadth above the table [m]."""

WRISTS = {side: f"{side}_wrist_yaw_link" for side in SIDES}
"""What an absolute target is for, as in Isaac Lab's tasks with this robot."""

_BENT = {"elbow": 0.2, "shoulder_roll": 0.2}
POSTURE = tuple((-1.0 if (side, name) == ("right", "shoulder_roll") else 1.0) * _BENT.get(name, 0.0) for side in SIDES for name in _OF_AN_ARM)
"""Of `ARM_JOINTS`: forearms ahead, upper arms a little off the body [rad]."""

_OF_A_HAND = ("index_1", "index_0", "middle_1", "middle_0", "thumb_2", "thumb_1", "thumb_0")

HAND_JOINTS = {side: tuple(f"{side}_hand_{name}_joint" for name in _OF_A_HAND) for side in SIDES}

# Isaac Lab's order of the hands' columns: joint by joint outwards, both hands in turn.
_OUTWARDS = (("index_0", "middle_0", "thumb_0"), ("index_1", "middle_1", "thumb_1"), ("thumb_2",))
_HAND_COLUMNS = tuple(f"{side}_hand_{name}_joint" for names in _OUTWARDS for side in SIDES for name in names)

# Angles of a right hand's joints; the left one mirrors all but the thumb's first [rad].
_OPEN, _CLOSED = (0.1, 0.1, 0.1, 0.1, 0.0, 0.5, 0.0), (1.6, 1.4, 1.6, 1.4, -1.2, -0.7, 0.0)
_MIRROR = {"left": (-1.0, -1.0, -1.0, -1.0, -1.0, -1.0, 1.0), "right": (1.0,) * 7}

# Of the links that may touch something, in the left link's frame.
_LEFT_BOXES: dict[str, Box] = {
    "elbow_link": ((0.035, 0.002, -0.008), (0.060, 0.028, 0.030)),
    "wrist_roll_link": ((0.028, 0.0, 0.0), (0.028, 0.026, 0.026)),
    "wrist_yaw_link": ((0.012, 0.003, 0.0), (0.028, 0.025, 0.028)),
    "hand_palm_link": ((0.0435, 0.003, 0.0), (0.0435, 0.016, 0.040)),
    "hand_thumb_1_link": ((0.001, -0.024, 0.0), (0.011, 0.026, 0.011)),
    "hand_thumb_2_link": ((0.0, -0.0225, 0.0), (0.008, 0.0290, 0.012)),
    "hand_middle_0_link": ((0.024, -0.001, 0.0), (0.026, 0.011, 0.011)),
    "hand_middle_1_link": ((0.0225, 0.0, 0.0), (0.0290, 0.008, 0.012)),
    "hand_index_0_link": ((0.024, -0.001, 0.0), (0.026, 0.011, 0.011)),
    "hand_index_1_link": ((0.0225, 0.0, 0.0), (0.0290, 0.008, 0.012)),
}
_BOXES: dict[str, Box] = {
    f"{side}_{link}": ((x, sign * y, z), half_size) for link, ((x, y, z), half_size) in _LEFT_BOXES.items() for side, sign in zip(SIDES, (1, -1), strict=True)
}

_ARM_FORCE = (50.0, 50.0, 50.0, 50.0, 25.0, 25.0, 25.0)
_SERVOS = {
    **{name: Servo(300.0, 30.0, force, 0.05) for name, force in zip(ARM_JOINTS, 2 * _ARM_FORCE, strict=True)},
    **{name: Servo(8.0, 0.6, 2.45, 0.002) for names in HAND_JOINTS.values() for name in names},
}


def load_g1(meshes: bool, legs: tuple[str, ...] = ()) -> mujoco.MjSpec:
    """A spec with the joints of arms and hands, boxes that collide, gravity compensation and position servos; the pelvis at `PELVIS`.

    Args:
        meshes: look like the robot, too. What collides is the same.
        legs: names of joints that are kept as well, without servos.
    """
    import mujoco

    spec = mujoco.MjSpec.from_string(read_urdf(URDF, visuals=meshes))
    spec.modelname = "g1"
    spec.compiler.discardvisual = False
    spec.body("pelvis").pos = PELVIS
    fit_humanoid(spec, _SERVOS, _BOXES, meshes=meshes, also=legs)
    return spec


def load_ik(wrists: Mapping[str, str] = WRISTS) -> PinkIK:
    """Both arms, or the one whose wrist is given; poses are in the pelvis' frame.

    Raises:
        UserError: the libraries of the extra `humanoid` are not installed.
    """
    from mimicctl.envs.mujoco.pink_ik import PinkIK

    chosen = {name: angle for name, angle in zip(ARM_JOINTS, POSTURE, strict=True) if name.split("_")[0] in wrists}
    return PinkIK(read_urdf(URDF, visuals=False), wrists, chosen)


G1 = HumanoidBody(
    arm_joints=ARM_JOINTS,
    hand_joints=HAND_JOINTS,
    hand_columns=_HAND_COLUMNS,
    open={side: np.array(_OPEN) * _MIRROR[side] for side in SIDES},
    closed={side: np.array(_CLOSED) * _MIRROR[side] for side in SIDES},
    wrists=WRISTS,
    wrist_quats={"left": (0.0, 0.0, 0.0, 1.0), "right": (-0.38, 0.0, 0.0, 0.92)},
    root=PELVIS,
    floor=PELVIS[2] - 0.793,
    load=load_g1,
    load_ik=load_ik,
)


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
