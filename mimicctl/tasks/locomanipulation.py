"""Fetch a steering wheel from one table with a humanoid that goes from place to place, and put it into a bin on another."""

from __future__ import annotations

import math

from mimicctl.tasks.pick_place import STEERING_WHEEL
from mimicctl.tasks.spec import BODY, ObjectSpec, Obstacle, Part, PutInto, ResetRange, Subtask, SubtaskConstraint, TaskSpec

_BLUE = (0.12, 0.30, 0.55, 1.0)
_HALF, _WALL = (0.16, 0.13, 0.03), 0.005


def _bin_parts() -> tuple[Part, ...]:
    x, y, z = _HALF
    walls = [((side * (x - _WALL), 0.0, 0.0), (_WALL, y, z)) for side in (1, -1)] + [((0.0, side * (y - _WALL), 0.0), (x, _WALL, z)) for side in (1, -1)]
    return tuple(Part("box", centre, half, _BLUE) for centre, half in (((0.0, 0.0, _WALL - z), (x, y, _WALL)), *walls))


_BIN = ObjectSpec("bin", "blue bin", 2 * _HALF[0], 3.0, _BLUE, parts=_bin_parts())

SECOND_TABLE = ((-0.25, -1.62), (0.60, 0.35), -0.05)
"""Where its middle is (x, y), half its length and width, and how high its top is [m]."""


def _second_table() -> tuple[Obstacle, ...]:
    (x, y), (half_x, half_y), top = SECOND_TABLE
    return (Obstacle("second_table", (x, y, top - 0.325), (half_x, half_y, 0.325), (0.72, 0.60, 0.45, 1.0)),)


_QUIET = {"action_noise": 0.003, "num_interpolation_steps": "auto"}
_GOING = {"action_noise": 0.03, "num_interpolation_steps": "auto", "selection_strategy": "nearest_neighbor_robot_distance"}
_NEAREST = {"selection_strategy": "nearest_neighbor_object"}

PICK_PLACE_LOCOMANIPULATION_G1 = TaskSpec(
    task_id="MuJoCo-PickPlace-Locomanipulation-G1-Abs-v0",
    description="Fetch the steering wheel from the table and put it into the bin on the other table.",
    robot="mobile_g1",
    control="abs",
    control_hz=20.0,
    action_scale=1.0,
    home=(-0.60, 0.05, 0.0),
    objects=(STEERING_WHEEL, _BIN),
    reset=ResetRange(
        x=(-0.35, 0.38),
        y=(-1.48, 0.12),
        yaw=(-math.pi / 2 - 0.2, 0.2),
        min_separation=0.1,
        joint_noise=0.01,
        x_of={"object": (0.32, 0.38), "bin": (-0.35, -0.15)},
        y_of={"object": (-0.12, 0.12), "bin": (-1.48, -1.42)},
        yaw_of={"object": (-0.2, 0.2), "bin": (-math.pi / 2 - 0.2, -math.pi / 2 + 0.2)},
        z_of={"bin": SECOND_TABLE[2]},
        base_noise=0.05,
    ),
    # Of subtasks with the same number the body's chooses the source.
    subtasks={
        "body": (
            Subtask("go to the wheel", "object", "at_object", **_GOING),
            Subtask("stand by it", "object", "object_lifted", **_GOING),
            Subtask("go to the bin", "bin", "at_bin", **_GOING),
            Subtask("stand by it", "bin", None, **_GOING),
        ),
        "left": (Subtask("idle", BODY, None, **_QUIET),),
        "right": (
            Subtask("idle", BODY, "idle_right", **_QUIET),
            Subtask("grasp", "object", "grasp_right", (0, 4), **_NEAREST, **_QUIET),
            Subtask("carry", BODY, "carry_right", **_QUIET),
            Subtask("place", "bin", None, **_NEAREST, **_QUIET),
        ),
    },
    constraints=(
        SubtaskConstraint((("body", 0), ("right", 1)), "sequential"),
        SubtaskConstraint((("right", 1), ("body", 2)), "sequential"),
        SubtaskConstraint((("body", 2), ("right", 3)), "sequential"),
    ),
    goal=PutInto("object", "bin", 0.02, (_HALF[0] - 2 * _WALL, _HALF[1] - 2 * _WALL, 2 * _WALL - _HALF[2])),
    obstacles=_second_table(),
    hand_joints=7,
    obs_layout={"object": "vqvv"},
    source_demos="pick_place_locomanipulation_g1.hdf5",
    # As for Isaac Lab's humanoids: what is placed lies in the hand as it was grasped.
    generation={"select_src_per_subtask": False},
    horizon=900,
)
