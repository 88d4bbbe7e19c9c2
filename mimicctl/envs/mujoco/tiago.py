"""The TIAGo Pro as a MuJoCo spec: a base that is driven, and a robot on it that stands still with folded arms.

Of the robots in `example-robot-data` it is the one that SE(2) commands fit: its four mecanum wheels take it ahead, sideways and round. The
older TIAGo has a differential base, which cannot go sideways, and meshes that MuJoCo does not read.

The wheels do not roll here. The base stands on two slides and a hinge, with a velocity servo each, limited to what the
motors of such a base give: it picks up speed, and it does not push what is heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mimicctl.envs.mujoco.assets import read_urdf
from mimicctl.envs.mujoco.planar_base import put_on_base

if TYPE_CHECKING:
    import mujoco

BASE_JOINTS = ("base_x", "base_y", "base_yaw")
"""Along x and y of the env frame, and about z."""

MAX_SPEED = (1.0, 1.0, 1.0)
"""Ahead and sideways [m/s], turning [rad/s]: as fast as actions may ask."""

_BODY = "base_footprint"
# Newtons (newton metres) per m/s (rad/s), and at most. 61 kg reach their speed with a time constant of 0.15 s or, from further off, at 2 m/s^2.
_SERVOS = ((400.0, 120.0), (400.0, 120.0), (30.0, 12.0))

# What the base is to all that it might run into: the box about its hull and wheels, off the floor.
_HULL = ((0.0, 0.0, 0.155), (0.3585, 0.2485, 0.145))

# Folded in front of the chest, inside the outline of the base [rad].
_FOLDED = {"left": (2.70, -2.38, 2.16, -2.44, -0.02, -1.14, -0.99), "right": (-2.54, -2.23, -2.39, -2.44, 0.28, -1.20, 0.52)}
_COLUMN = ((-0.03, 0.0, 0.60), (0.10, 0.14, 0.30))
_LIMB_RADIUS, _LIMB_LEAST = 0.05, 0.03
_GREY, _DARK = (0.85, 0.86, 0.88, 1.0), (0.30, 0.30, 0.32, 1.0)


def load_tiago(*, meshes: bool) -> mujoco.MjSpec:
    """A spec with the base's joints and servos; its footprint's centre at the origin, looking along x.

    Args:
        meshes: look like the robot, instead of like boxes and capsules. What collides is the same.
    """
    import mujoco

    spec = mujoco.MjSpec.from_string(read_urdf("tiago_pro_description/robots/tiago_pro.urdf", visuals=meshes))
    spec.modelname = "tiago_pro"
    # MuJoCo drops shapes that collide with nothing when it reads a URDF.
    spec.compiler.discardvisual = False
    for equality in list(spec.equalities):
        spec.delete(equality)
    _stiffen(spec)
    for body in spec.bodies[1:]:
        body.gravcomp = 1.0
        _keep_shapes(spec, body, meshes)
    if not meshes:
        for mesh in list(spec.meshes):
            spec.delete(mesh)
        _sketch(spec)
    put_on_base(spec, spec.body(_BODY), BASE_JOINTS, _SERVOS, _HULL)
    return spec


def _stiffen(spec: mujoco.MjSpec) -> None:
    """Arms folded, everything else as it is, and no joint left."""
    folded = {f"arm_{side}_{i}_joint": angle for side, angles in _FOLDED.items() for i, angle in enumerate(angles, start=1)}
    for joint in list(spec.joints):
        body, half = joint.parent, folded.get(joint.name, 0.0) / 2
        turn = np.array([np.cos(half), *np.sin(half) * np.array(joint.axis)])
        body.quat = _product(np.array(body.quat), turn)
        spec.delete(joint)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of quaternions wxyz."""
    vector = a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])
    return np.array([a[0] * b[0] - a[1:] @ b[1:], *vector])


def _keep_shapes(spec: mujoco.MjSpec, body: mujoco.MjsBody, meshes: bool) -> None:
    """Either what the URDF draws, or those of its collision shapes that are no meshes; to look at, not to touch."""
    import mujoco

    for number, geom in enumerate(list(body.geoms)):
        is_mesh, is_visual = geom.type == mujoco.mjtGeom.mjGEOM_MESH, geom.contype == 0
        if is_visual != meshes or (is_mesh and not meshes):
            spec.delete(geom)
            continue
        geom.name = f"robot/{body.name}_{number}"
        geom.contype = geom.conaffinity = 0
        geom.mass, geom.group = 0.0, 3 if not meshes else 0


def _sketch(spec: mujoco.MjSpec) -> None:
    """The rest of the robot in strokes: a column, a head, and a capsule from each joint of an arm to the next."""
    import mujoco

    shape = {"contype": 0, "conaffinity": 0, "mass": 0.0, "group": 3}
    kinds = mujoco.mjtGeom
    spec.body(_BODY).add_geom(name="robot/column", type=kinds.mjGEOM_BOX, pos=_COLUMN[0], size=_COLUMN[1], rgba=_GREY, **shape)
    spec.body("head_2_link").add_geom(name="robot/head", type=kinds.mjGEOM_SPHERE, pos=[0.03, 0.08, 0.0], size=[0.10, 0, 0], rgba=_DARK, **shape)
    for body in [body for body in spec.bodies if body.name.startswith("arm_") and body.parent.name.startswith("arm_")]:
        if np.linalg.norm(body.pos) > _LIMB_LEAST:
            ends = [0.0, 0.0, 0.0, *body.pos]
            body.parent.add_geom(name=f"robot/to_{body.name}", type=kinds.mjGEOM_CAPSULE, fromto=ends, size=[_LIMB_RADIUS, 0, 0], rgba=_GREY, **shape)
