"""A task file to begin with: it runs as it is, and every knob in it says what it does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal

from mimicctl.errors import UserError
from mimicctl.tasks import list_tasks, look_again, origin_of
from mimicctl.tasks.discovery import FOLDER

Like = Literal["lift", "stack"]


@dataclass(frozen=True)
class Scaffold:
    """A file that was written.

    Attributes:
        task_id: of the task that it defines.
    """

    path: Path
    task_id: str


def write_scaffold(name: str, like: Like, folder: Path) -> Scaffold:
    """Write `tasks/<name>.py` into the working folder.

    Args:
        name: words of letters and digits, as "push_red" or "Push Red".

    Raises:
        UserError: the name has no words, or the file or the task is there already.
    """
    words = re.findall(r"[A-Za-z0-9]+", name)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9 _-]*", name) or "mimic" in name.lower():
        what = f'"{name}" cannot name a task.'
        raise UserError(what, do="use letters, digits, dashes and underscores, a letter first, and not Mimic, as in: mimicctl tasks new sort-cubes")
    title = "-".join(word[0].upper() + word[1:] for word in words)
    task_id = f"MuJoCo-{title}-Franka-IK-Rel-v0"
    if task := next((task for task in list_tasks() if task.task_id == task_id), None):
        raise UserError(f"There is a task {task_id} already, from {origin_of(task)}.", do="choose another name")
    path = folder / FOLDER / f"{'_'.join(word.lower() for word in words)}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = _FILE.substitute(_KINDS[like], task_id=task_id)
    try:
        # In one go, and never over another: the file is a person's work from now on.
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError("There is a task file of that name already.", where=str(path), do="choose another name, or move the file away") from None
    look_again()
    return Scaffold(path, task_id)


_FILE = Template('''\
"""$about"""

from mimicctl.tasks import $imports
from mimicctl.tasks.franka import HAND, HOME

# Cubes that lie free on the table: name, label (what people read), edge [m], mass [kg], colour (RGBA, 0 to 1). The jaw opens 8 cm.
# yaw_symmetry=4: after a quarter turn the cube looks the same, so a demonstration serves whichever face is nearest.
OBJECTS = (
$objects
)

# Where things start. x and y: ranges of the objects' centres [m]; x ahead of the robot's base, y to its left. It reaches well from x = 0.35 to 0.65
# and from y = -0.3 to 0.3. yaw [rad]. min_separation: least distance of any two centres [m]. joint_noise: of the arm about HOME [rad].
RESET = ResetRange(x=(0.4, 0.6), y=$y, yaw=(-1.0, 1.0), min_separation=0.1, joint_noise=0.02)

# How each subtask is generated; give a Subtask a field of its own where it is to differ.
COMMON = {
    # Of which source demonstration its segment is taken: "random", "nearest_neighbor_object" (where the object lay most alike), or
    # "nearest_neighbor_robot_distance" (where the hand was most alike); by chance among the nn_k best, where a metre counts pos_weight and a
    # radian rot_weight.
    "selection_strategy": "nearest_neighbor_object",
    "nn_k": 3,
    "pos_weight": 1.0,
    "rot_weight": 1.0,
    # Standard deviation of the noise on actions, in action units (1 is half a metre): in free motion, and while the gripper closes or opens.
    "action_noise": 0.02,
    "contact_noise": 0.005,
    "apply_noise_during_interpolation": True,
    # Steps from one segment to the next, and steps that the first target is held; `mimicctl generate --bridge straight` alone goes by the first.
    "num_interpolation_steps": 5,
    "num_fixed_steps": 0,
}

# What is done, in order. Each subtask is about one object (object_ref), which its segment moves with, and ends when a signal rises; the last one ends
# with the demonstration and has none. The goal decides which signals there are: $signals.
# term_offset_range: steps, both ends included, that the end is shifted by at random. The segment after it must be longer than that.
# start_signal="grasp_1" names the mark where its skill begins, for `generate --use-skillgen`; `annotate --annotate-subtask-start-signals` sets it.
SUBTASKS = (
$subtasks
)

TASK = TaskSpec(
    # The name of the task, for --task. Its pattern is MuJoCo-<Name>-v<number>.
    task_id="$task_id",
    description="$description",
    # "rel": actions move the hand by a bit; "abs": they say where it is to be (then with action_scale=1.0, and halve the noise).
    control="rel",
    action_scale=0.5,
    # Control steps a second: 20 is Isaac Lab's.
    control_hz=20.0,
    home=HOME,
    objects=OBJECTS,
    reset=RESET,
    # One end-effector, which is called franka.
    subtasks={"franka": SUBTASKS},
    # Success: $success
    goal=$goal,
    # Steps for which success must hold.
    success_hold_steps=10,
    # Steps after which an attempt has failed: $seconds seconds.
    horizon=$horizon,
    hand=HAND,
    # Cameras are CameraSpecs, as in cameras=(CameraSpec("table_cam", "", (1.0, 0.0, 0.4), (-0.612, -0.612, 0.354, 0.354), 200, 200),); none here.
    cameras=(),
    # What the columns of observations are: "v" vector, "q" quaternion, "." number. Training turns scenes about the base with it.
    obs_layout={
        "eef_pos": "v",
        "eef_quat": "q",
        "gripper_pos": "..",
        "joint_vel": "." * 9,
        # Of each object its pose; of each where it is from the tool point; of each two where they are from each other.
        "object": "vq" * len(OBJECTS) + "v" * len(OBJECTS) + "v" * (len(OBJECTS) * (len(OBJECTS) - 1) // 2),
        "cube_positions": "v" * len(OBJECTS),
        "cube_orientations": "q" * len(OBJECTS),
        "gripper_to_cube_yaw": ".." * len(OBJECTS),
    },
)
''')

_KINDS: dict[Like, dict[str, str]] = {
    "lift": {
        "about": "Lift a cube off the table.",
        "imports": "Lift, ObjectSpec, ResetRange, Subtask, TaskSpec",
        "objects": '    ObjectSpec("cube", "red", 0.0406, 0.06, (0.85, 0.12, 0.14, 1.0), yaw_symmetry=4),',
        "y": "(-0.20, 0.20)",
        "signals": "Lift has grasp_1, the gripper holds the object",
        "subtasks": '    Subtask("grasp", "cube", "grasp_1", (2, 6), **COMMON),\n    Subtask("lift", "cube", None, (0, 0), **COMMON),',
        "description": "Lift the red cube.",
        "success": "the gripper holds the object, its lower side at least so high above the table [m].",
        "goal": 'Lift("cube", height=0.10)',
        "horizon": "300",
        "seconds": "15",
    },
    "stack": {
        "about": "Stack three cubes.",
        "imports": "ObjectSpec, ResetRange, Stack, Subtask, TaskSpec",
        "objects": "\n".join(
            f'    ObjectSpec("{name}", "{label}", 0.0406, 0.06, {rgba}, yaw_symmetry=4),'
            for name, label, rgba in (
                ("cube_1", "blue", (0.11, 0.35, 0.85, 1.0)),
                ("cube_2", "red", (0.85, 0.12, 0.14, 1.0)),
                ("cube_3", "green", (0.1, 0.65, 0.25, 1.0)),
            )
        ),
        "y": "(-0.10, 0.10)",
        "signals": "Stack has grasp_1 and stack_1\n# (the middle cube is held, and stands on the lowest) and grasp_2 (the uppermost is held)",
        "subtasks": "\n".join(
            f"    Subtask({subtask}, **COMMON),"
            for subtask in (
                '"grasp red", "cube_2", "grasp_1", (10, 20)',
                '"stack red on blue", "cube_1", "stack_1", (10, 20)',
                '"grasp green", "cube_3", "grasp_2", (10, 20)',
                '"stack green on red", "cube_2", None, (0, 0)',
            )
        ),
        "description": "Stack the red cube on the blue one and the green cube on the red one.",
        "success": "three objects on one another, from bottom to top, at rest, with the gripper open.",
        "goal": 'Stack(("cube_1", "cube_2", "cube_3"))',
        "horizon": "600",
        "seconds": "30",
    },
}
