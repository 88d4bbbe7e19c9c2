"""What models of humanoids have in common: the joints of arms and hands on position servos, boxes that collide, and no weight to carry."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mimicctl.envs.mujoco.panda import FIXTURE_TYPE, OBJECT_TYPE, ROBOT_TYPE

if TYPE_CHECKING:
    import mujoco

_GRIP = (1.5, 0.01, 0.0001)
_SOLREF = (0.01, 1.0)

Box = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Centre and half-size, in the frame of a link [m]."""


@dataclass(frozen=True)
class Servo:
    """Of one joint: stiffness [N m/rad], damping [N m s/rad], largest torque [N m], and armature [kg m^2]."""

    kp: float
    kv: float
    force: float
    armature: float


def fit_humanoid(spec: mujoco.MjSpec, servos: Mapping[str, Servo], boxes: Mapping[str, Box], *, meshes: bool, also: Collection[str] = ()) -> None:
    """Leave the joints that servos drive, and those named in `also`; the boxes about links, and, if `meshes`, those that show what the robot looks like."""
    import mujoco

    for joint in list(spec.joints):
        if joint.name not in servos and joint.name not in also:
            spec.delete(joint)
    for body in spec.bodies:
        body.gravcomp = 1.0
        for geom in list(body.geoms):
            if meshes and geom.type == mujoco.mjtGeom.mjGEOM_MESH and geom.contype == 0:
                geom.group, geom.mass = 1, 0.0
            else:
                spec.delete(geom)
        if body.name in boxes:
            _box(body, *boxes[body.name])
    shown = {geom.meshname for geom in spec.geoms}
    for mesh in list(spec.meshes):
        if mesh.name not in shown:
            spec.delete(mesh)
    joints = {joint.name: joint for joint in spec.joints}
    for name, servo in servos.items():
        _drive(spec, joints[name], servo)


def _box(body: mujoco.MjsBody, centre: tuple[float, float, float], size: tuple[float, float, float]) -> None:
    import mujoco

    body.add_geom(
        name=f"{body.name}_box",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=centre,
        size=size,
        contype=ROBOT_TYPE,
        conaffinity=OBJECT_TYPE | FIXTURE_TYPE,
        friction=_GRIP,
        condim=4,
        solref=_SOLREF,
        mass=0.0,
        group=3,
    )


def _drive(spec: mujoco.MjSpec, joint: mujoco.MjsJoint, servo: Servo) -> None:
    import mujoco

    joint.armature, joint.damping, joint.frictionloss = servo.armature, [0.0, 0.0, 0.0], 0.0
    joint.actfrclimited = mujoco.mjtLimited.mjLIMITED_FALSE
    actuator = spec.add_actuator(name=joint.name, target=joint.name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    actuator.set_to_position(kp=servo.kp, kv=servo.kv)
    actuator.ctrllimited = mujoco.mjtLimited.mjLIMITED_FALSE
    actuator.forcerange, actuator.forcelimited = [-servo.force, servo.force], mujoco.mjtLimited.mjLIMITED_TRUE
