"""Pick up a rolled pair of socks and drop it into a laundry basket, with a gripper that hangs from four cables and swings.

After Stringman, a robot that hangs in a room by winches in its corners; here the frame stands over a table.
"""

from __future__ import annotations

import dataclasses
import math

from mimicctl.tasks.franka import SCENE_COLORS
from mimicctl.tasks.objects import ObjectSpec, Part
from mimicctl.tasks.spec import CameraSpec, HandBox, PutInto, ResetRange, Subtask, TaskSpec

_BLUE, _CUFF, _DARK = (0.16, 0.30, 0.62, 1.0), (0.94, 0.94, 0.90, 1.0), (0.11, 0.21, 0.45, 1.0)
_WHITE, _RIM_RGBA = (0.88, 0.88, 0.84, 1.0), (0.30, 0.60, 0.55, 1.0)

# A bun 9 cm long, its foot flattened so that it stays where it is put.
_SOCKS = ObjectSpec(
    "socks",
    "socks",
    edge=0.09,
    mass=0.06,
    rgba=_BLUE,
    yaw_symmetry=2,
    friction=1.2,
    parts=(
        Part("ellipsoid", (0.0, 0.0, 0.0), (0.029, 0.045, 0.027), _BLUE),
        Part("box", (0.0, 0.0, -0.0240), (0.017, 0.027, 0.0030), _DARK),
        Part("ellipsoid", (0.0, 0.020, 0.001), (0.0285, 0.012, 0.0275), _CUFF, solid=False),
        Part("ellipsoid", (0.0, -0.024, 0.001), (0.0265, 0.006, 0.0250), _DARK, solid=False),
    ),
)

_RADIUS, _HIGH, _WALL = 0.105, 0.090, 0.006

_BASKET = ObjectSpec(
    "basket",
    "basket",
    edge=2 * _RADIUS,
    mass=0.6,
    rgba=_WHITE,
    yaw_symmetry=16,
    parts=(
        Part("shell", (0.0, 0.0, 0.0), (_RADIUS, _RADIUS, _HIGH / 2), _WHITE, taper=1.2, wall=_WALL),
        Part("cylinder", (0.0, 0.0, 0.004 - _HIGH / 2), (0.084, 0.084, 0.004), _WHITE),
        Part("shell", (0.0, 0.0, _HIGH / 2 - 0.006), (_RADIUS + 0.003, _RADIUS + 0.003, 0.006), _RIM_RGBA, wall=0.011, solid=False),
    ),
)

_NOISE = {"action_noise": 0.02, "contact_noise": 0.005, "apply_noise_during_interpolation": True, "selection_strategy": "nearest_neighbor_object"}

PICK_STRINGMAN = TaskSpec(
    task_id="MuJoCo-Pick-Stringman-v0",
    description="Pick up the socks and drop them into the basket, with a gripper that hangs from four cables.",
    robot="cable_robot",
    control="rel",
    control_hz=20.0,
    action_scale=0.25,
    home=(0.45, -0.02, 0.24, 0.0),
    objects=(_SOCKS, _BASKET),
    reset=ResetRange(
        x=(0.34, 0.62),
        y=(-0.22, 0.26),
        yaw=(-math.pi, math.pi),
        min_separation=0.17,
        joint_noise=0.01,
        y_of={"socks": (-0.22, 0.02), "basket": (0.17, 0.26)},
        x_of={"basket": (0.40, 0.56)},
        # About square to the jaw.
        yaw_of={"socks": (0.8, 2.4)},
    ),
    subtasks={
        "gripper": (
            Subtask("grasp", "socks", "grasp", (0, 4), start_signal="grasp", **_NOISE),
            Subtask("place", "basket", None, (0, 0), start_signal="place", **_NOISE),
        )
    },
    goal=PutInto("socks", "basket", 0.03, (_RADIUS, _RADIUS, 0.008 - _HIGH / 2)),
    # Palm and motor above the tool point, and the open fingers.
    hand=(HandBox((0.0, 0.0, -0.10), (0.030, 0.062, 0.045)), HandBox((0.0, 0.0, -0.018), (0.011, 0.056, 0.030))),
    obs_layout={
        "eef_pos": "v",
        "eef_quat": "q",
        "gripper_pos": "..",
        "target_pos": "v",
        "swing": "v",
        "swing_vel": "v",
        # The carriage, then the swings with the wrist, each as the components of a vector, and the fingers.
        "joint_vel": "vv..",
        "object": "vqvqvv",
        "gripper_to_object_yaw": "....",
    },
    horizon=600,
    source_demos="pick_stringman.hdf5",
    swing_cancellation=True,
)

GRIPPER_CAM = CameraSpec("gripper_cam", "gripper", (0.10, 0.0, -0.03), (-0.67082, -0.67082, 0.22361, 0.22361), 200, 200, clip=(0.02, 2.0))
"""On the palm, looking down past the fingers: the one camera that such a robot records."""

PICK_STRINGMAN_VISUOMOTOR = dataclasses.replace(
    PICK_STRINGMAN,
    task_id="MuJoCo-Pick-Stringman-Visuomotor-v0",
    description="The same, seen by the camera of the gripper.",
    prompt_templates="pick_stringman_prompts.json",
    cameras=(GRIPPER_CAM,),
    semantic_colors={"socks": (40, 80, 255), "basket": (140, 230, 200), **SCENE_COLORS},
)
