"""Fourier's GR-1 (GR1T2) with its five-fingered hands, from the wheel `robosuite`. The pelvis stands fixed; legs, waist and head are still.

Names of links and joints, and the signs of the fingers' angles, are Isaac Lab's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from mimicctl.envs.mujoco.assets import gr1_files
from mimicctl.envs.mujoco.humanoid_body import HumanoidBody
from mimicctl.envs.mujoco.humanoid_model import Box, Servo, fit_humanoid

if TYPE_CHECKING:
    from pathlib import Path

    import mujoco

    from mimicctl.envs.mujoco.pink_ik import PinkIK

SIDES = {"left": "L", "right": "R"}
"""Side to how names of its fingers begin."""

_OF_AN_ARM = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow_pitch", "wrist_yaw", "wrist_roll", "wrist_pitch")
ARM_JOINTS = tuple(f"{side}_{name}_joint" for side in SIDES for name in _OF_AN_ARM)

PELVIS = (0.0, 0.0, -0.055)
"""Where its frame is in the env frame: as high as in Isaac Lab's tasks [m]."""

WRISTS = {side: f"{side}_hand_pitch_link" for side in SIDES}

_BENT = {"shoulder_roll": 0.1, "elbow_pitch": -2.0}
POSTURE = tuple((-1.0 if (side, name) == ("right", "shoulder_roll") else 1.0) * _BENT.get(name, 0.0) for side in SIDES for name in _OF_AN_ARM)
"""Of `ARM_JOINTS`: forearms ahead and a little up, upper arms a little off the body [rad]."""

_FINGERS = ("index", "middle", "ring", "pinky")
_BONES = ("intermediate", "proximal")
_THUMB = ("thumb_proximal_yaw", "thumb_proximal_pitch", "thumb_distal")
_OF_A_HAND = (*(f"{finger}_{bone}" for finger in _FINGERS for bone in _BONES), *_THUMB)
HAND_JOINTS = {side: tuple(f"{letter}_{name}_joint" for name in _OF_A_HAND) for side, letter in SIDES.items()}

# Isaac Lab's order of the hands' columns: joint by joint outwards, both hands in turn, the fingers by the alphabet.
_OUTWARDS = (
    ("index_proximal", "middle_proximal", "pinky_proximal", "ring_proximal", "thumb_proximal_yaw"),
    ("index_intermediate", "middle_intermediate", "pinky_intermediate", "ring_intermediate", "thumb_proximal_pitch"),
    ("thumb_distal",),
)
_HAND_COLUMNS = tuple(f"{letter}_{name}_joint" for names in _OUTWARDS for letter in SIDES.values() for name in names)

# Of `_OF_A_HAND`, of either hand [rad]: the thumb stands off, and goes against the fingers.
_OPEN = (*(4 * (0.0, 0.0)), -0.2, 0.0, 0.0)
_CLOSED = (*(4 * (-1.4, -1.3)), -1.4, 0.8, 0.8)

_FINGER_BOXES: dict[str, Box] = {
    **{f"{finger}_proximal": ((0.009, 0.002, 0.0), (0.026, 0.011, 0.008)) for finger in _FINGERS},
    "index_intermediate": ((0.019, 0.003, 0.0), (0.025, 0.009, 0.007)),
    "middle_intermediate": ((0.023, 0.005, 0.0), (0.029, 0.009, 0.007)),
    "ring_intermediate": ((0.019, 0.003, 0.0), (0.025, 0.009, 0.007)),
    "pinky_intermediate": ((0.016, 0.002, 0.0), (0.022, 0.009, 0.007)),
    "thumb_proximal": ((0.032, 0.001, 0.0), (0.036, 0.014, 0.011)),
    "thumb_distal": ((0.016, -0.003, 0.0), (0.020, 0.010, 0.010)),
}
_BOXES: dict[str, Box] = {
    **{f"{letter}_{name}_link": box for letter in SIDES.values() for name, box in _FINGER_BOXES.items()},
    **{f"{side}_hand_yaw_link": ((0.0, 0.0, -0.105), (0.034, 0.035, 0.105)) for side in SIDES},
    **{f"{side}_{side[0]}_palm": ((0.0, 0.0, -0.050), (0.037, 0.021, 0.048)) for side in SIDES},
}

_ARM_FORCE = (50.0, 50.0, 50.0, 50.0, 25.0, 25.0, 25.0)
_SERVOS = {
    **{name: Servo(300.0, 30.0, force, 0.05) for name, force in zip(ARM_JOINTS, 2 * _ARM_FORCE, strict=True)},
    **{name: Servo(8.0, 0.6, 2.45, 0.002) for names in HAND_JOINTS.values() for name in names},
}
# The hands come with a mass of 0.1 kg for whatever collides, 1.2 kg a hand: half a kilogram is more like it [kg, kg m^2].
_BONE_MASS, _BONE_INERTIA = 0.04, (2e-5, 2e-5, 2e-5)
_HAND_RGBA = (0.13, 0.13, 0.14, 1.0)


def load_gr1(meshes: bool) -> mujoco.MjSpec:
    """A spec with the joints of arms and hands, boxes that collide, gravity compensation and position servos; the pelvis at `PELVIS`.

    Args:
        meshes: look like the robot, too. What collides is the same.

    Raises:
        UserError: the robot's model is not installed.
    """
    import mujoco

    files = gr1_files()
    spec = mujoco.MjSpec.from_file(str(files["body"]))
    spec.modelname = "gr1t2"
    for part in (*spec.actuators, *spec.excludes, *spec.cameras, *spec.sites, *spec.textures, spec.material("body"), spec.material("grid")):
        spec.delete(part)
    spec.material("Purple").rgba = spec.material("LightGrey").rgba
    for body in spec.bodies:
        body.name = _longer(body.name, "link")
    pelvis = spec.body("base")
    pelvis.name, pelvis.pos = "pelvis", PELVIS
    for joint in spec.joints:
        joint.name = _longer(joint.name, "joint")
    for side in SIDES:
        spec.body(f"{side}_eef").add_frame().attach_body(_hand(files[side], side), f"{side}_", "")
    for part in (*spec.bodies, *spec.joints):
        part.name = re.sub("^(left|right)_(?=[LR]_)", "", part.name)
    fit_humanoid(spec, _SERVOS, _BOXES, meshes=meshes)
    return spec


def _longer(name: str, kind: str) -> str:
    """As Isaac Lab has the name of a joint or link on one side of the body."""
    return re.sub("^([lr])_(.*)", lambda found: f"{'left' if found[1] == 'l' else 'right'}_{found[2]}_{kind}", name)


def _hand(path: Path, side: str) -> mujoco.MjsBody:
    import mujoco

    hand = mujoco.MjSpec.from_file(str(path))
    for part in (*hand.actuators, *hand.sensors, *hand.sites, hand.body("eef")):
        hand.delete(part)
    for material in hand.materials:
        material.rgba = _HAND_RGBA
    for body in hand.bodies:
        if body.geoms:
            body.mass, body.inertia, body.explicitinertial = _BONE_MASS, _BONE_INERTIA, True
    for joint in hand.joints:
        # All of them close towards positive angles here; of Isaac Lab's, and the real robot's, these two alone.
        if not joint.name.endswith(("_thumb_proximal_pitch_joint", "_thumb_distal_joint")):
            joint.axis, joint.range = -joint.axis, -joint.range[::-1]
    return hand.body(f"{side}_hand")


def load_ik() -> PinkIK:
    """Both arms; poses are in the pelvis' frame.

    Raises:
        UserError: the libraries of the extra `humanoid` are not installed, or the robot's model is not.
    """
    from mimicctl.envs.mujoco.pink_ik import PinkIK

    spec = load_gr1(meshes=False)
    spec.body("pelvis").pos = (0.0, 0.0, 0.0)
    spec.compile()
    return PinkIK(spec.to_xml(), WRISTS, dict(zip(ARM_JOINTS, POSTURE, strict=True)))


GR1T2 = HumanoidBody(
    arm_joints=ARM_JOINTS,
    hand_joints=HAND_JOINTS,
    hand_columns=_HAND_COLUMNS,
    open={side: np.array(_OPEN) for side in SIDES},
    closed={side: np.array(_CLOSED) for side in SIDES},
    wrists=WRISTS,
    # Fingers ahead; the right palm, which turns from inwards to down, half-way.
    wrist_quats={"left": (0.0, -0.71, 0.0, 0.71), "right": (-0.27, -0.65, 0.27, 0.65)},
    root=PELVIS,
    floor=PELVIS[2] - 0.953,
    load=load_gr1,
    load_ik=load_ik,
)
