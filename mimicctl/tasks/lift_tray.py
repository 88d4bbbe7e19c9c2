"""Lift a tray by its two handles with two Franka Pandas that stand side by side, and hold it level: the task of two-arm demonstrations.

Arms, grippers and control are those of `lift_cube`; what is said of the arms is in the one frame that they share.
"""

from __future__ import annotations

import math

from mimicctl.tasks.franka import HAND, HOME
from mimicctl.tasks.spec import LiftTogether, ObjectSpec, ResetRange, Subtask, SubtaskConstraint, TaskSpec, Tray

_SHAPE = Tray(half_size=(0.11, 0.16, 0.005), rim=0.03, handle=(0.185, 0.065), bar=(0.055, 0.011, 0.009))
_TRAY = ObjectSpec("tray", "blue", 2 * (_SHAPE.handle[0] + _SHAPE.bar[1]), 0.3, (0.13, 0.30, 0.55, 1.0), tray=_SHAPE)

_Y, _Z = _SHAPE.handle


def _subtasks(eef: str) -> tuple[Subtask, ...]:
    # As of the absolute lift of a cube; the hand that moves one handle pushes the other, so noise in contact is less.
    common = {"selection_strategy": "nearest_neighbor_object", "action_noise": 0.01, "contact_noise": 0.002, "apply_noise_during_interpolation": True}
    return (
        Subtask("grasp", "tray", f"grasp_{eef}", (2, 6), start_signal=f"grasp_{eef}", **common),
        Subtask("lift", "tray", None, (0, 0), start_signal=f"lift_{eef}", **common),
    )


# One hand that goes up before the other tilts the tray, and pulls it out of its grip.
_LIFT_TOGETHER = SubtaskConstraint((("left", 1), ("right", 1)), "coordination", coordination_scheme="transform", coordination_synchronize_start=True)

LIFT_TRAY_ABS = TaskSpec(
    task_id="MuJoCo-Lift-Tray-Dual-Franka-IK-Abs-v0",
    description="Lift the tray by both handles and hold it level.",
    robot="dual_franka",
    bases={"left": (0.0, 0.30), "right": (0.0, -0.30)},
    control="abs",
    control_hz=20.0,
    action_scale=1.0,
    home=HOME,
    objects=(_TRAY,),
    reset=ResetRange(x=(0.42, 0.58), y=(-0.06, 0.06), yaw=(-0.35, 0.35), min_separation=0.1, joint_noise=0.02),
    subtasks={"left": _subtasks("left"), "right": _subtasks("right")},
    constraints=(_LIFT_TOGETHER,),
    goal=LiftTogether("tray", 0.10, math.radians(5), {"left": (0.0, _Y, _Z), "right": (0.0, -_Y, _Z)}, _SHAPE.bar[1]),
    hand=HAND,
    horizon=400,
    source_demos="lift_tray_dual_franka.hdf5",
)
