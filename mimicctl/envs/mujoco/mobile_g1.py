"""A Unitree G1 that goes from place to place: a planar base in place of legs that walk.

The pelvis stands on two slides and a hinge with velocity servos, limited to what such a robot's legs would give, and on a third slide that its hips' height
is set by. The legs bend with the height so that the feet stay flat on the floor, and glide: they are on skates. No walking is learned or simulated.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mimicctl.envs.mujoco import g1
from mimicctl.envs.mujoco.planar_base import put_on_base

if TYPE_CHECKING:
    import mujoco

BASE_JOINTS = ("base_x", "base_y", "base_yaw", "base_z")
"""Along x and y of the env frame, about z, and up from where hips are at `HIP_HEIGHT`."""

HIP_HEIGHT = 0.72
"""Of the pelvis above the floor, standing, as Isaac Lab has it [m]."""

HIP_RANGE = (0.64, 0.80)
"""[m] As low as the ankles bend with flat feet, and as high as the legs are long."""

FLOOR_Z = g1.PELVIS[2] - HIP_HEIGHT

MAX_SPEED = (0.8, 0.5, 1.0)
"""Ahead and sideways [m/s], turning [rad/s]: as fast as actions may ask."""

_OF_A_LEG = ("hip_pitch", "knee", "ankle_pitch")
LEG_JOINTS = tuple(f"{side}_{name}_joint" for side in g1.SIDES for name in _OF_A_LEG)

# Newtons (newton metres) per m/s (rad/s), and at most: 34 kg at 4 m/s^2, with a time constant of 0.09 s.
_SERVOS = ((400.0, 140.0), (400.0, 140.0), (25.0, 20.0))
_HIP_KP, _HIP_KV, _HIP_FORCE = 6000.0, 900.0, 400.0

# Thigh and shank; and the height of the pelvis on straight legs above the soles, and of those on their skates [m].
_THIGH, _SHANK, _STRAIGHT, _SKATE = 0.336, 0.300, 0.792, 0.03
_LEG_ARMATURE, _LEG_DAMPING = 0.05, 1.0

# What legs and hips are to all that they might run into, from the pelvis [m].
_HULL = ((0.0, 0.0, -0.30), (0.09, 0.17, 0.36))
_RUBBER = (0.16, 0.16, 0.17, 1.0)


def load_mobile_g1(meshes: bool) -> mujoco.MjSpec:
    """`g1.load_g1` on its base, looking along x."""
    spec = g1.load_g1(meshes, LEG_JOINTS)
    _drive(spec)
    _bend_legs(spec)
    if meshes:
        _put_on_skates(spec)
    return spec


MOBILE_G1 = replace(g1.G1, load=load_mobile_g1, floor=FLOOR_Z)


def leg_angles(hip_height: np.ndarray) -> np.ndarray:
    """(..., 3) of a leg's joints with its foot flat below the hip, of heights (...) [m]."""
    # The knee goes ahead as far as the thigh leans; the shank brings the ankle back below the hip.
    lean = np.linspace(0.0, 0.95, 400)
    back = np.arcsin(np.minimum(_THIGH / _SHANK * np.sin(lean), 1.0))
    heights = _STRAIGHT + _SKATE - _THIGH * (1 - np.cos(lean)) - _SHANK * (1 - np.cos(back))
    thigh, shank = (np.interp(np.asarray(hip_height), heights[::-1], angle[::-1]) for angle in (lean, back))
    return np.stack([-thigh, thigh + shank, -shank], axis=-1)


def _drive(spec: mujoco.MjSpec) -> None:
    import mujoco

    pelvis = spec.body("pelvis")
    put_on_base(spec, pelvis, BASE_JOINTS[:3], _SERVOS, _HULL)
    pelvis.add_joint(name="base_z", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=(0, 0, 1))
    hips = spec.add_actuator(name="base_z", target="base_z", trntype=mujoco.mjtTrn.mjTRN_JOINT)
    hips.set_to_position(kp=_HIP_KP, kv=_HIP_KV)
    hips.forcerange, hips.forcelimited = [-_HIP_FORCE, _HIP_FORCE], mujoco.mjtLimited.mjLIMITED_TRUE


def _bend_legs(spec: mujoco.MjSpec) -> None:
    """Tie the joints of both legs to the height of the hips, by polynomials of fourth degree."""
    import mujoco

    heights = np.linspace(*HIP_RANGE, 50)
    angles = leg_angles(heights)
    joints = {joint.name: joint for joint in spec.joints}
    for name in LEG_JOINTS:
        number = next(i for i, part in enumerate(_OF_A_LEG) if part in name)
        joint = joints[name]
        joint.armature, joint.damping, joint.frictionloss = _LEG_ARMATURE, [_LEG_DAMPING, 0.0, 0.0], 0.0
        joint.limited = mujoco.mjtLimited.mjLIMITED_FALSE
        tie = spec.add_equality(name=name, type=mujoco.mjtEq.mjEQ_JOINT, objtype=mujoco.mjtObj.mjOBJ_JOINT, name1=name, name2="base_z")
        tie.data[:5] = np.polynomial.polynomial.polyfit(heights - HIP_HEIGHT, angles[:, number], 4)


def _put_on_skates(spec: mujoco.MjSpec) -> None:
    """What says that it rolls: a plate and four wheels under each foot, for the eye."""
    import mujoco

    kinds, drawn = mujoco.mjtGeom, {"contype": 0, "conaffinity": 0, "mass": 0.0, "group": 1, "rgba": _RUBBER}
    for side in g1.SIDES:
        foot = spec.body(f"{side}_ankle_roll_link")
        foot.add_geom(name=f"robot/{side}_skate", type=kinds.mjGEOM_BOX, pos=[0.035, 0.0, -0.040], size=[0.11, 0.035, 0.005], **drawn)
        for number, (x, y) in enumerate((x, y) for x in (-0.05, 0.12) for y in (-0.03, 0.03)):
            ends = [x, y - 0.008, -0.050, x, y + 0.008, -0.050]
            foot.add_geom(name=f"robot/{side}_roller_{number}", type=kinds.mjGEOM_CYLINDER, fromto=ends, size=[0.015, 0, 0], **drawn)
