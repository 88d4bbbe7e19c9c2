"""Drive a TIAGo Pro to a mark on the floor and stand on it, past two crates: the task of SE(2) devices.

The base goes ahead, sideways and turns, all at once, as Isaac Lab's SE(2) devices ask (vx, vy, wz).
"""

from __future__ import annotations

import math

from mimicctl.tasks.spec import Arrive, HandBox, ObjectSpec, ResetRange, Subtask, TaskSpec

_CRATE = {"edge": 0.4, "mass": 80.0, "rgba": (0.72, 0.53, 0.30, 1.0), "yaw_symmetry": 4}

_DISTANCE = 0.15

DRIVE_TIAGO = TaskSpec(
    task_id="MuJoCo-Drive-Tiago-v0",
    description="Drive to the green mark, past the crates, and stand on it, looking along its arrow.",
    robot="tiago",
    control="velocity",
    control_hz=20.0,
    action_scale=1.0,
    home=(0.0, 0.0, 0.0),
    objects=(
        ObjectSpec("goal", "green", 2 * _DISTANCE, 0.0, (0.10, 0.65, 0.25, 0.6)),
        ObjectSpec("crate_1", "crate 1", **_CRATE),
        ObjectSpec("crate_2", "crate 2", **_CRATE),
    ),
    # The base is 0.87 m from corner to corner: it gets round any crate, and to a mark beside one.
    reset=ResetRange(x=(1.1, 3.1), y=(-1.5, 1.5), yaw=(-math.pi / 2, math.pi / 2), min_separation=1.0, joint_noise=0.05),
    subtasks={"base": (Subtask("drive to the mark", "goal", None, selection_strategy="nearest_neighbor_robot_distance", action_noise=0.05),)},
    goal=Arrive("goal", _DISTANCE, math.radians(15)),
    hand=(HandBox((0.0, 0.0, 0.15), (0.36, 0.25, 0.15)),),
    horizon=600,
)
