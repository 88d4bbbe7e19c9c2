"""What robots have in common that a planar base takes from place to place: slides, a hinge and a hull."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mimicctl.envs.mujoco.panda import FIXTURE_TYPE, OBJECT_TYPE, ROBOT_TYPE

if TYPE_CHECKING:
    import mujoco

_HULL_FRICTION = (0.2, 0.005, 0.0001)

Box = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Centre and half-size, in the frame of a body [m]."""


def put_on_base(spec: mujoco.MjSpec, body: mujoco.MjsBody, joints: Sequence[str], servos: Sequence[tuple[float, float]], hull: Box) -> None:
    """Joints along x and y and about z, in this order, with a velocity servo each; and an unseen box that runs into things.

    Args:
        servos: gain, in newtons (newton metres) per m/s (rad/s), and the largest force.
    """
    import mujoco

    body.add_geom(
        name="hull",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=hull[0],
        size=hull[1],
        contype=ROBOT_TYPE,
        conaffinity=OBJECT_TYPE | FIXTURE_TYPE,
        friction=_HULL_FRICTION,
        mass=0.0,
        rgba=[0.0, 0.0, 0.0, 0.0],
        group=4,
    )
    slide, hinge = mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE
    axes = ((slide, (1, 0, 0)), (slide, (0, 1, 0)), (hinge, (0, 0, 1)))
    for name, (kind, axis), (gain, force) in zip(joints, axes, servos, strict=True):
        body.add_joint(name=name, type=kind, axis=axis)
        servo = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.set_to_velocity(kv=gain)
        servo.forcerange, servo.forcelimited = [-force, force], mujoco.mjtLimited.mjLIMITED_TRUE
