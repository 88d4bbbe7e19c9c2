"""A gripper that hangs from four winches, as a MuJoCo spec: a frame, cables, a carriage where they meet, and a line below it that swings.

The cables are spatial tendons from pulleys at the corners of the frame to the carriage; each winch is a servo of its tendon's length that can pull and
not push. The line is a rod on a universal joint, so it cannot go slack; what it can push with is the weight above it. Below it a wrist turns two fingers
about the line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mimicctl.envs.mujoco.panda import FIXTURE_TYPE, OBJECT_TYPE, ROBOT_TYPE

if TYPE_CHECKING:
    import mujoco

PULLEYS = tuple((x, y, 1.15) for x in (-0.05, 0.95) for y in (-0.62, 0.62))
"""Where the cables leave the corners of the frame, env frame [m]."""

TOOL_OFFSET = 0.44
"""From the carriage down to the point between the fingertips [m]."""

FINGER_OPEN = 0.045
"""One finger's travel [m]."""

CARRIAGE_JOINTS = ("carriage_x", "carriage_y", "carriage_z")
SWING_JOINTS = ("swing_x", "swing_y")
WRIST_JOINT = "wrist"
FINGER_JOINTS = ("left_finger", "right_finger")
JOINTS = (*CARRIAGE_JOINTS, *SWING_JOINTS, WRIST_JOINT, *FINGER_JOINTS)
WRIST_RANGE = (-2.6, 2.6)
"""[rad]"""

_CARRIAGE_MASS, _GRIPPER_MASS, _FINGER_MASS = 0.30, 0.50, 0.05
# A winch: stiff enough that the carriage sags by a millimetre, and its speed smoothed over a twentieth of a second.
_CABLE_KP, _CABLE_KV, _CABLE_PULL, _WINCH_TIME = 10000.0, 150.0, 120.0, 0.05
_WRIST_KP, _WRIST_KV, _FINGER_KP, _FINGER_KV, _FINGER_FORCE = 6.0, 0.4, 600.0, 60.0, 12.0
# A line in air: it would swing for half a minute.
_SWING_DAMPING = 0.006
_SWING_RANGE = 1.0
_FINGER_BOX = (0.011, 0.005, 0.030)
_PAD_FRICTION = (1.6, 0.02, 0.0005)

_POST, _RAIL = 0.016, 0.012
_DARK, _STEEL, _ORANGE, _RUBBER = (0.20, 0.21, 0.23, 1.0), (0.62, 0.64, 0.66, 1.0), (0.93, 0.45, 0.10, 1.0), (0.13, 0.13, 0.14, 1.0)
_CABLE_RGBA = (0.10, 0.10, 0.12, 1.0)


def load_cable_robot() -> mujoco.MjSpec:
    """Frame, winches, carriage and gripper. Names of what is drawn begin with "robot/"."""
    import mujoco

    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    # What the controller remembers is kept with the physics' state, and copied with it; see `cable_env`.
    spec.nuserdata = 7
    _add_frame(spec.worldbody)
    carriage = spec.worldbody.add_body(name="carriage")
    for name, axis in zip(CARRIAGE_JOINTS, np.eye(3), strict=True):
        carriage.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=axis, damping=[0.5, 0, 0])
    shapes, passing = mujoco.mjtGeom, {"contype": 0, "conaffinity": 0}
    carriage.add_geom(name="robot/carriage", type=shapes.mjGEOM_CYLINDER, size=[0.032, 0.014, 0], mass=_CARRIAGE_MASS, rgba=_ORANGE, **passing)
    carriage.add_site(name="carriage", pos=[0, 0, 0])
    _add_cables(spec)
    line = carriage.add_body(name="line")
    for name, axis in zip(SWING_JOINTS, np.eye(3), strict=False):
        line.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=axis, range=[-_SWING_RANGE, _SWING_RANGE], damping=[_SWING_DAMPING, 0, 0])
    rod = {"type": shapes.mjGEOM_CAPSULE, "fromto": [0, 0, 0, 0, 0, -0.30], "size": [0.0035, 0, 0]}
    line.add_geom(name="robot/line", mass=0.005, rgba=_CABLE_RGBA, **rod, **passing)
    _add_gripper(spec, line)
    return spec


def _add_frame(world: mujoco.MjsBody) -> None:
    """Posts on the table, rails between their tops, and a pulley at each corner: for the eye, the robot never meets them."""
    import mujoco

    seen = {"contype": 0, "conaffinity": 0}
    box, cylinder = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER
    (x0, y0, top), (x1, y1, _) = PULLEYS[0], PULLEYS[-1]
    high = top + 0.03
    for i, (x, y, z) in enumerate(PULLEYS):
        out = [x + np.sign(x - 0.45) * 0.03, y + np.sign(y) * 0.03]
        world.add_geom(name=f"robot/post_{i}", type=box, pos=[*out, high / 2], size=[_POST, _POST, high / 2], rgba=_STEEL, **seen)
        world.add_geom(name=f"robot/winch_{i}", type=cylinder, pos=[*out, z], size=[0.030, 0.028, 0], rgba=_ORANGE, **seen)
        world.add_site(name=f"pulley_{i}", pos=[x, y, z])
    for i, y in enumerate((y0 - 0.03, y1 + 0.03)):
        world.add_geom(name=f"robot/rail_x{i}", type=box, pos=[(x0 + x1) / 2, y, high], size=[(x1 - x0) / 2 + 0.046, _RAIL, _RAIL], rgba=_STEEL, **seen)
    for i, x in enumerate((x0 - 0.03, x1 + 0.03)):
        world.add_geom(name=f"robot/rail_y{i}", type=box, pos=[x, 0, high], size=[_RAIL, y1 + 0.046, _RAIL], rgba=_STEEL, **seen)


def _add_cables(spec: mujoco.MjSpec) -> None:
    import mujoco

    for i in range(len(PULLEYS)):
        cable = spec.add_tendon(name=f"cable_{i}", width=0.0022, rgba=_CABLE_RGBA)
        cable.wrap_site(f"pulley_{i}")
        cable.wrap_site("carriage")
        winch = spec.add_actuator(name=f"winch_{i}", target=f"cable_{i}", trntype=mujoco.mjtTrn.mjTRN_TENDON)
        winch.set_to_position(kp=_CABLE_KP, kv=_CABLE_KV, timeconst=_WINCH_TIME)
        winch.forcerange, winch.forcelimited = [-_CABLE_PULL, 0.0], mujoco.mjtLimited.mjLIMITED_TRUE


def _add_gripper(spec: mujoco.MjSpec, line: mujoco.MjsBody) -> None:
    import mujoco

    shapes = mujoco.mjtGeom
    touching = {"contype": ROBOT_TYPE, "conaffinity": OBJECT_TYPE | FIXTURE_TYPE, "solref": [0.01, 1.0]}
    gripper = line.add_body(name="gripper", pos=[0, 0, -0.30])
    gripper.add_joint(name=WRIST_JOINT, type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1], range=WRIST_RANGE, armature=0.002)
    gripper.add_geom(name="robot/motor", type=shapes.mjGEOM_CYLINDER, pos=[0, 0, -0.02], size=[0.028, 0.025, 0], mass=0.25, rgba=_ORANGE, **touching)
    gripper.add_geom(
        name="robot/palm", type=shapes.mjGEOM_BOX, pos=[0, 0, -0.060], size=[0.022, 0.062, 0.016], mass=_GRIPPER_MASS - 0.25, rgba=_DARK, **touching
    )
    kinds = mujoco.mjtJoint
    for name, side in zip(FINGER_JOINTS, (1, -1), strict=True):
        # Closed, the pads touch; the tool point is between them, 12 mm above their lower ends.
        finger = gripper.add_body(name=name, pos=[0, side * _FINGER_BOX[1], -0.14 + _FINGER_BOX[2] - 0.012])
        finger.add_joint(name=name, type=kinds.mjJNT_SLIDE, axis=[0, side, 0], range=[0, FINGER_OPEN], armature=0.05)
        finger.add_geom(name=f"robot/{name}_stem", type=shapes.mjGEOM_BOX, pos=[0, 0, 0.040], size=[0.009, 0.004, 0.012], mass=0.01, rgba=_DARK, **touching)
        pad = finger.add_geom(name=f"robot/{name}_pad", type=shapes.mjGEOM_BOX, size=_FINGER_BOX, mass=_FINGER_MASS - 0.01, rgba=_RUBBER, **touching)
        pad.friction, pad.condim = _PAD_FRICTION, 4
    # One motor for both.
    spec.add_equality(type=mujoco.mjtEq.mjEQ_JOINT, objtype=mujoco.mjtObj.mjOBJ_JOINT, name1=FINGER_JOINTS[1], name2=FINGER_JOINTS[0], data=[0, 1] + [0] * 10)
    for name, kp, kv, force in ((WRIST_JOINT, _WRIST_KP, _WRIST_KV, 3.0), *((name, _FINGER_KP, _FINGER_KV, _FINGER_FORCE) for name in FINGER_JOINTS)):
        servo = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.set_to_position(kp=kp, kv=kv)
        servo.forcerange, servo.forcelimited = [-force, force], mujoco.mjtLimited.mjLIMITED_TRUE


def cable_lengths(carriage: np.ndarray) -> np.ndarray:
    """(..., 4) lengths of the cables [m] with the carriage at (..., 3)."""
    return np.linalg.norm(carriage[..., None, :] - np.array(PULLEYS), axis=-1)
