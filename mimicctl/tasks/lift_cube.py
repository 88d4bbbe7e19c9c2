"""Lift one cube off the table with a Franka Panda: the shortest task there is, for trying a device, a setting or a recipe.

The cube, the robot, where things start and how they are controlled are the stack's (`stack_cube`).
"""

from __future__ import annotations

from mimicctl.tasks.franka import HAND, HOME
from mimicctl.tasks.spec import Lift, ObjectSpec, ResetRange, Subtask, TaskSpec

_CUBE = ObjectSpec("cube", "red", 0.0406, 0.06, (0.85, 0.12, 0.14, 1.0), yaw_symmetry=4)

_RESET = ResetRange(x=(0.4, 0.6), y=(-0.20, 0.20), yaw=(-1.0, 1.0), min_separation=0.1, joint_noise=0.02)

_OBS_LAYOUT = {
    "eef_pos": "v",
    "eef_quat": "q",
    "gripper_pos": "..",
    "joint_vel": "." * 9,
    "object": "vqv",
    "cube_positions": "v",
    "cube_orientations": "q",
    "gripper_to_cube_yaw": "..",
}


def _lift(control: str, action_scale: float, noise: tuple[float, float], source_demos: str = "") -> TaskSpec:
    free, contact = noise
    common = {"selection_strategy": "nearest_neighbor_object", "action_noise": free, "contact_noise": contact, "apply_noise_during_interpolation": True}
    return TaskSpec(
        task_id=f"MuJoCo-Lift-Cube-Franka-IK-{control.capitalize()}-v0",
        description="Lift the red cube.",
        control=control,
        control_hz=20.0,
        action_scale=action_scale,
        home=HOME,
        objects=(_CUBE,),
        reset=_RESET,
        # Lifting is short: the stack's offsets of 10 to 20 steps would leave nothing of it.
        subtasks={
            "franka": (
                Subtask("grasp", "cube", "grasp_1", (2, 6), start_signal="grasp_1", **common),
                Subtask("lift", "cube", None, (0, 0), start_signal="lift_1", **common),
            )
        },
        goal=Lift("cube", 0.10),
        hand=HAND,
        obs_layout=_OBS_LAYOUT,
        horizon=300,
        source_demos=source_demos,
    )


LIFT_CUBE_REL = _lift("rel", action_scale=0.5, noise=(0.02, 0.005), source_demos="lift_cube_franka.hdf5")
LIFT_CUBE_ABS = _lift("abs", action_scale=1.0, noise=(0.01, 0.003))
