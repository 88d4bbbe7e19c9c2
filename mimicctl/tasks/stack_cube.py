"""Stack three cubes, blue, red, green from the bottom, with a Franka Panda.

Numbers are Isaac Lab's `Stack-Cube-Franka-IK-Rel` and `-IK-Abs` (2.3 and 3.0 agree on them), with one
cube edge throughout: theirs spawns at half of 40.6 mm and stacks at 46.8 mm.
"""

from __future__ import annotations

import dataclasses
import math

from mimicctl.tasks.franka import HAND, HOME, SCENE_COLORS, TABLE_CAM, WRIST_CAM
from mimicctl.tasks.spec import CameraSpec, ObjectSpec, Obstacle, Part, ResetRange, Stack, Subtask, TaskSpec

_EDGE = 0.0406
_MASS = 0.06
_COLOURS = {"blue": (0.11, 0.35, 0.85, 1.0), "red": (0.85, 0.12, 0.14, 1.0), "green": (0.10, 0.65, 0.25, 1.0), "yellow": (0.93, 0.76, 0.10, 1.0)}


def _cube(name: str, colour: str) -> ObjectSpec:
    return ObjectSpec(name, colour, _EDGE, _MASS, _COLOURS[colour], yaw_symmetry=4)


_OBJECTS = (_cube("cube_1", "blue"), _cube("cube_2", "red"), _cube("cube_3", "green"))

_RESET = ResetRange(x=(0.4, 0.6), y=(-0.10, 0.10), yaw=(-1.0, 1.0), min_separation=0.1, joint_noise=0.02)

# Joint positions are left out: turning the scene changes the first of them.
_OBS_LAYOUT = {
    "eef_pos": "v",
    "eef_quat": "q",
    "gripper_pos": "..",
    "joint_vel": "." * 9,
    "object": "vqvqvq" + "v" * 6,
    "cube_positions": "vvv",
    "cube_orientations": "qqq",
    "gripper_to_cube_yaw": "." * 6,
}


def _subtasks(noise: tuple[float, float], bottom: str = "blue", middle: str = "red", top: str = "green") -> dict[str, tuple[Subtask, ...]]:
    free, contact = noise
    common = {"selection_strategy": "nearest_neighbor_object", "action_noise": free, "contact_noise": contact, "apply_noise_during_interpolation": True}
    offsets = (10, 20)
    return {
        "franka": (
            Subtask(f"grasp {middle}", "cube_2", "grasp_1", offsets, start_signal="grasp_1", **common),
            Subtask(f"stack {middle} on {bottom}", "cube_1", "stack_1", offsets, start_signal="stack_1", **common),
            Subtask(f"grasp {top}", "cube_3", "grasp_2", offsets, start_signal="grasp_2", **common),
            Subtask(f"stack {top} on {middle}", "cube_2", None, (0, 0), start_signal="stack_2", **common),
        )
    }


def _stack(control: str, action_scale: float, noise: tuple[float, float], source_demos: str = "") -> TaskSpec:
    return TaskSpec(
        task_id=f"MuJoCo-Stack-Cube-Franka-IK-{control.capitalize()}-v0",
        description="Stack the red cube on the blue one and the green cube on the red one.",
        control=control,
        control_hz=20.0,
        action_scale=action_scale,
        home=HOME,
        objects=_OBJECTS,
        reset=_RESET,
        subtasks=_subtasks(noise),
        goal=Stack(("cube_1", "cube_2", "cube_3")),
        hand=HAND,
        obs_layout=_OBS_LAYOUT,
        source_demos=source_demos,
        prompt_templates="stack_cube_prompts.json",
    )


# Action noise in free motion, and near contact. Isaac Lab has 0.03 and 0.01 everywhere but on the bridge; there 0.03 shakes the
# eef by about a centimetre (an action unit is half a metre of target) and topples stacks. benchmarks/README.md has the rates.
_NOISE = (0.02, 0.005)
STACK_CUBE_REL = _stack("rel", action_scale=0.5, noise=_NOISE, source_demos="stack_cube_franka.hdf5")
STACK_CUBE_ABS = _stack("abs", action_scale=1.0, noise=(0.01, 0.003))


def _mimicgen(name: str, half: float) -> TaskSpec:
    """The stack, its cubes put down as MimicGen's StackThree has them: as near to one another as circles about them allow, and turned at will.

    Args:
        half: of the side of the square that the centres lie in [m]. It is as far in front of the arm as theirs.
    """
    return dataclasses.replace(
        STACK_CUBE_REL,
        task_id=f"MuJoCo-Stack-Cube-{name}-Franka-IK-Rel-v0",
        description=f"The same from anywhere on {200 * half:.0f} x {200 * half:.0f} cm, turned at will, MimicGen's {name}.",
        reset=ResetRange(
            x=(round(0.56 - half, 2), round(0.56 + half, 2)),
            y=(-half, half),
            yaw=(-math.pi, math.pi),
            min_separation=math.sqrt(2) * _EDGE,
            joint_noise=_RESET.joint_noise,
        ),
    )


STACK_CUBE_D0_REL = _mimicgen("D0", 0.10)
STACK_CUBE_D1_REL = _mimicgen("D1", 0.20)

# Higher than an arch rises, and near enough that the hand has to come down beside it.
_WALL = Obstacle("wall", centre=(0.52, 0.0, 0.11), half_size=(0.22, 0.01, 0.11), rgba=(0.62, 0.62, 0.66, 1.0))

STACK_CUBE_WALL_REL = dataclasses.replace(
    STACK_CUBE_REL,
    task_id="MuJoCo-Stack-Cube-Wall-Franka-IK-Rel-v0",
    description="The same with a wall between the blue cube and the others.",
    obstacles=(_WALL,),
    sources_of=STACK_CUBE_REL.task_id,
    reset=ResetRange(
        x=(0.4, 0.58),
        y=(-0.34, 0.27),
        yaw=(-1.0, 1.0),
        min_separation=0.1,
        joint_noise=0.02,
        # Nearer to the wall, the forearm runs into it before the hand is down.
        y_of={"cube_1": (0.17, 0.27), "cube_2": (-0.34, -0.19), "cube_3": (-0.34, -0.19)},
    ),
    horizon=900,
)

_BIN_WALL, _BIN_HALF = 0.002, (0.09, 0.07, 0.025)
"""Half the thickness of the bin's walls and floor, and half of its outside [m]."""


def _bin_parts() -> tuple[Part, ...]:
    """A floor and four walls of blue plastic, with a lip round the top for the eye."""
    (x, y, z), wall, rgba = _BIN_HALF, _BIN_WALL, (0.36, 0.60, 0.86, 1.0)
    parts = [Part("box", (0.0, 0.0, wall - z), (x, y, wall), rgba)]
    for side in (-1, 1):
        parts.append(Part("box", (side * (x - wall), 0.0, wall), (wall, y, z - wall), rgba))
        parts.append(Part("box", (0.0, side * (y - wall), wall), (x - 2 * wall, wall, z - wall), rgba))
        parts.append(Part("box", (side * x, 0.0, z - 0.003), (0.004, y + 0.004, 0.0031), (0.22, 0.46, 0.74, 1.0), solid=False))
        parts.append(Part("box", (0.0, side * y, z - 0.003), (x, 0.004, 0.0031), (0.22, 0.46, 0.74, 1.0), solid=False))
    return tuple(parts)


_BIN = ObjectSpec("bin", "blue bin", edge=0.18, mass=1.0, rgba=(0.36, 0.60, 0.86, 1.0), yaw_symmetry=2, parts=_bin_parts())

# Isaac Lab's ranges; the subtasks are the stack's, since its own, without offsets and bridges, are for planned ones.
STACK_CUBE_BIN_REL = dataclasses.replace(
    STACK_CUBE_REL,
    task_id="MuJoCo-Stack-Cube-Bin-Franka-IK-Rel-v0",
    description="The same in a bin, in which the blue cube stands.",
    objects=(_BIN, *_OBJECTS),
    reset=ResetRange(
        x=(0.4, 0.70),
        y=(-0.18, 0.18),
        yaw=(-1.0, 1.0),
        min_separation=0.1,
        joint_noise=0.02,
        x_of={"bin": (0.4, 0.4), "cube_2": (0.65, 0.70), "cube_3": (0.65, 0.70)},
        y_of={"bin": (0.0, 0.0)},
        yaw_of={"bin": (0.0, 0.0), "cube_1": (0.0, 0.0)},
        inside={"cube_1": ("bin", 2 * _BIN_WALL)},
    ),
    source_demos="stack_cube_bin_franka.hdf5",
)


def _one_of(name: str, place: str, *colours: str) -> ObjectSpec:
    """A cube that is of one of these colours, and is called by its place in the stack."""
    instances = tuple(_cube(f"{name}/{colour}", colour) for colour in colours)
    return dataclasses.replace(instances[0], name=name, label=place, instances=instances)


# Isaac Lab's instances. Two cubes may be of one colour: which is which, where they are says, not how they look.
STACK_CUBE_INSTANCES_REL = dataclasses.replace(
    STACK_CUBE_REL,
    task_id="MuJoCo-Stack-Cube-Instance-Randomize-Franka-IK-Rel-v0",
    description="Stack three cubes that are of other colours each time.",
    objects=(_one_of("cube_1", "bottom", "blue", "red"), _one_of("cube_2", "middle", "red", "yellow"), _one_of("cube_3", "top", "yellow", "green")),
    subtasks=_subtasks(_NOISE, "bottom", "middle", "top"),
    sources_of=STACK_CUBE_REL.task_id,
    prompt_templates="",
)

# Isaac Lab's mapping.
_SEMANTIC_COLORS = {"cube_1": (120, 230, 255), "cube_2": (255, 36, 66), "cube_3": (55, 255, 139), **SCENE_COLORS}

STACK_CUBE_VISUOMOTOR = dataclasses.replace(
    STACK_CUBE_REL,
    task_id="MuJoCo-Stack-Cube-Franka-IK-Rel-Visuomotor-v0",
    description="The same, seen by a camera at the table and one at the wrist.",
    cameras=(TABLE_CAM, WRIST_CAM),
    semantic_colors=_SEMANTIC_COLORS,
)
STACK_CUBE_INSTANCES_VISUOMOTOR = dataclasses.replace(
    STACK_CUBE_INSTANCES_REL,
    task_id="MuJoCo-Stack-Cube-Instance-Randomize-Franka-IK-Rel-Visuomotor-v0",
    description="The same, seen by a camera at the table and one at the wrist.",
    cameras=STACK_CUBE_VISUOMOTOR.cameras,
    semantic_colors=_SEMANTIC_COLORS,
)
STACK_CUBE_VISUOMOTOR_COSMOS = dataclasses.replace(
    STACK_CUBE_VISUOMOTOR,
    task_id="MuJoCo-Stack-Cube-Franka-IK-Rel-Visuomotor-Cosmos-v0",
    description="The same, the camera at the table with segmentation, normals and depth too.",
    cameras=(dataclasses.replace(TABLE_CAM, modalities=("rgb", "segmentation", "normals", "depth")), WRIST_CAM),
)

# Two cameras of 704 x 1280 pixels that see shapes without colours, to be painted by a video model; Isaac Lab writes their images to PNGs, and not into the dataset.
_BLUEPRINT_CAM = CameraSpec("table_cam", "", (1.0, 0.0, 0.33), (0.5963, 0.5963, -0.3799, -0.3799), 704, 1280, ("normals", "segmentation"), clip=(0.1, 1e5))
_BLUEPRINT_HIGH_CAM = dataclasses.replace(
    _BLUEPRINT_CAM, name="table_high_cam", position=(1.4, 1.8, 1.2), quat=(0.2025, 0.8185, -0.5192, -0.1393), clip=(1.5, 1e5)
)
STACK_CUBE_BLUEPRINT = dataclasses.replace(
    STACK_CUBE_REL,
    task_id="MuJoCo-Stack-Cube-Franka-IK-Rel-Blueprint-v0",
    description="The same, normals and segmentation seen by two large cameras.",
    cameras=(_BLUEPRINT_CAM, _BLUEPRINT_HIGH_CAM),
    semantic_colors={
        "cube_1": (255, 36, 66),
        "cube_2": (255, 184, 48),
        "cube_3": (55, 255, 139),
        "table": (255, 237, 218),
        "ground": (100, 100, 100),
        "robot": (125, 125, 125),
        "background": (10, 10, 10),
    },
)
