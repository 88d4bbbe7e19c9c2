"""The Franka Panda as a MuJoCo spec: primitive collision shapes, servos, frames.

Kinematics, inertias and link capsules come from the URDF in `example-robot-data`. It models each link as
a cylinder with a sphere at both ends, which is a capsule and cheaper as one. Hand and fingers are boxes in
the dimensions of the URDF's own finger boxes: the capsule it gives the hand reaches into the grasp.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mimicctl.envs.mujoco.assets import read_urdf
from mimicctl.tasks.franka import POINTING_DOWN as POINTING_DOWN
from mimicctl.tasks.franka import TOOL_OFFSET as TOOL_OFFSET

if TYPE_CHECKING:
    import mujoco

ARM_JOINTS = tuple(f"panda_joint{i}" for i in range(1, 8))
FINGER_JOINTS = ("panda_finger_joint1", "panda_finger_joint2")
HAND_BODY = "panda_hand"
FINGER_BODIES = ("panda_leftfinger", "panda_rightfinger")

FINGER_OPEN = 0.04
"""One finger's travel [m]."""

IK_OFFSET = 0.107
"""From the hand frame to the point the relative controller moves, along the hand's z [m]."""

# Short of straight, where upper arm and forearm are in line. Beyond it the elbow bends the other way, for all of 0.4 rad: an arm that was pushed
# through there by a far target would come back on that side, and be stuck.
_ELBOW, _ELBOW_LIMIT = 3, -0.52

# Collision bits. A pair collides when one's type meets the other's affinity. Links of one arm never meet each other.
ROBOT_TYPE = 1
OBJECT_TYPE = 2
FIXTURE_TYPE = 4
_SECOND_ROBOT_TYPE = 8

# The first two links stand in the table's plane and cannot reach it.
_BASE_LINKS = ("panda_link0", "panda_link1")

# Stiffer than Isaac Lab's 400/80 and faster (their ratio is the servo's time constant, here 0.12 s): an eef that
# follows sooner has less of the last segment's error left when it reaches the next object.
_ARM_KP, _ARM_KV = 1000.0, 120.0
_ARM_FORCE = (87.0, 87.0, 87.0, 87.0, 36.0, 36.0, 36.0)
_FINGER_KP, _FINGER_KV, _FINGER_FORCE = 1000.0, 200.0, 40.0
_ARMATURE = 0.1

_HAND_BOX = ((0.0, 0.0, 0.030), (0.0316, 0.1025, 0.034))
# Centre and half-size in the left finger's frame; the right one mirrors y.
_FINGER_UPPER_BOX = ((0.0, 0.0159, 0.0180), (0.0110, 0.0075, 0.0180))
_FINGER_PAD_BOX = ((0.0, 0.00758, 0.04525), (0.00875, 0.0076, 0.00925))
_PAD_FRICTION = (1.5, 0.01, 0.0001)
_SOLREF = (0.01, 1.0)


def load_panda() -> mujoco.MjSpec:
    """A spec with joints, primitive geoms, gravity compensation and position servos; the base at the origin."""
    import mujoco

    spec = mujoco.MjSpec.from_string(read_urdf("panda_description/urdf/panda_collision.urdf", visuals=False))
    spec.modelname = "panda"
    for equality in list(spec.equalities):  # the fingers are driven one by one, so neither needs to follow
        spec.delete(equality)
    for body in spec.bodies[1:]:
        body.gravcomp = 1.0
        _replace_shapes(spec, body)
    _drive(spec)
    return spec


def load_pandas(bases: Mapping[str, tuple[float, float]]) -> mujoco.MjSpec:
    """A spec with an arm at each base (x, y) [m], two at most, which collide with one another; their names begin with the base's."""
    import mujoco

    spec = mujoco.MjSpec()
    for number, (name, (x, y)) in enumerate(bases.items()):
        arm = load_panda()
        for geom in arm.geoms if number else ():
            geom.contype, geom.conaffinity = _SECOND_ROBOT_TYPE, geom.conaffinity | ROBOT_TYPE
        spec.attach(arm, prefix=prefix_of(name), frame=spec.worldbody.add_frame(pos=[x, y, 0.0]))
    return spec


def servo_range(joint_range: np.ndarray) -> np.ndarray:
    """(7, 2) that servo targets keep to, of the arm's joints, whose own range is `joint_range` (7, 2) [rad]."""
    kept = joint_range.copy()
    kept[_ELBOW, 1] = _ELBOW_LIMIT
    return kept


def prefix_of(arm: str) -> str:
    """Of the names in the model of one arm of several."""
    return f"{arm}_"


def link_of(body: str) -> str:
    """Name of the link that a body is, whichever arm's; "" for a body that is none."""
    return body[body.index("panda_") :] if "panda_" in body else ""


def _replace_shapes(spec: mujoco.MjSpec, body: mujoco.MjsBody) -> None:
    import mujoco

    capsules = _capsules_of(body)
    for geom in list(body.geoms):
        spec.delete(geom)
    affinity = OBJECT_TYPE if body.name in _BASE_LINKS else OBJECT_TYPE | FIXTURE_TYPE
    common = {"contype": ROBOT_TYPE, "conaffinity": affinity, "solref": [*_SOLREF], "group": 3}
    box = mujoco.mjtGeom.mjGEOM_BOX
    if body.name == HAND_BODY:
        body.add_geom(name="hand_box", type=box, pos=_HAND_BOX[0], size=_HAND_BOX[1], **common)
    elif body.name in FINGER_BODIES:
        side = 1.0 if body.name == FINGER_BODIES[0] else -1.0
        for name, (centre, size) in (("upper", _FINGER_UPPER_BOX), ("pad", _FINGER_PAD_BOX)):
            geom = body.add_geom(name=f"{body.name}_{name}", type=box, pos=[centre[0], side * centre[1], centre[2]], size=size, **common)
            if name == "pad":
                geom.friction, geom.condim = _PAD_FRICTION, 4
    else:
        for i, (start, end, radius) in enumerate(capsules):
            body.add_geom(name=f"{body.name}_{i}", type=mujoco.mjtGeom.mjGEOM_CAPSULE, fromto=[*start, *end], size=[radius, 0, 0], **common)


def _capsules_of(body: mujoco.MjsBody) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """The URDF lists, for each capsule, a cylinder and then the spheres at its ends."""
    import mujoco

    spheres = [(np.array(g.pos), float(g.size[0])) for g in body.geoms if g.type == mujoco.mjtGeom.mjGEOM_SPHERE]
    return [(start, end, radius) for (start, radius), (end, _) in zip(spheres[::2], spheres[1::2], strict=True)]


def _drive(spec: mujoco.MjSpec) -> None:
    import mujoco

    joints = {joint.name: joint for joint in spec.joints}
    gains = [(name, _ARM_KP, _ARM_KV, force) for name, force in zip(ARM_JOINTS, _ARM_FORCE, strict=True)]
    gains += [(name, _FINGER_KP, _FINGER_KV, _FINGER_FORCE) for name in FINGER_JOINTS]
    for name, kp, kv, force in gains:
        joint = joints[name]
        joint.armature, joint.damping, joint.frictionloss = _ARMATURE, [0.0, 0.0, 0.0], 0.0
        actuator = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        actuator.set_to_position(kp=kp, kv=kv)
        actuator.forcerange, actuator.forcelimited = [-force, force], mujoco.mjtLimited.mjLIMITED_TRUE
