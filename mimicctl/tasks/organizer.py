"""Tidy a desk with a Franka Panda: the ketchup bottle goes into the basket, past an orange juice carton and a box of cream cheese.

Subtasks and their numbers are those of the guide that the task comes from, which is on Isaac Lab; the things themselves are our own.
"""

from __future__ import annotations

import dataclasses
import math

from mimicctl.tasks.franka import HAND, HOME, SCENE_COLORS, TABLE_CAM, WRIST_CAM
from mimicctl.tasks.objects import Grip, Label, ObjectSpec, Part
from mimicctl.tasks.spec import PutInto, ResetRange, Subtask, TaskSpec

_RED, _WHITE, _DARK = (0.72, 0.05, 0.05), (0.96, 0.95, 0.92), (0.15, 0.12, 0.12)
_ORANGE, _GREEN, _BLUE, _SILVER = (0.95, 0.52, 0.06), (0.13, 0.50, 0.20), (0.10, 0.28, 0.62), (0.86, 0.88, 0.90)
_WICKER, _WILLOW = (0.62, 0.43, 0.22), (0.76, 0.57, 0.33)


def _opaque(colour: tuple[float, float, float]) -> tuple[float, float, float, float]:
    return (*colour, 1.0)


def _rounded(half: tuple[float, float, float], z: float, colour: tuple[float, float, float], *, solid: bool = True) -> tuple[Part, ...]:
    """A box whose narrow sides, at either end of y, are rounded: two flat faces to grip, proud of the ends by a hair so that jaws meet nothing else."""
    x, y, height = half
    radius = x - 0.0005
    ends = tuple(Part("cylinder", (0.0, side * (y - radius), z), (radius, radius, height), _opaque(colour), solid=solid) for side in (-1, 1))
    return (Part("box", (0.0, 0.0, z), (x, y - radius, height), _opaque(colour), solid=solid), *ends)


# A squeeze bottle, 12 cm high. The gripper takes it by its flat sides, under the shoulder; the palm has to stay clear of the cap, which is why that is low.
_KETCHUP = ObjectSpec(
    "ketchup",
    "ketchup bottle",
    edge=0.118,
    mass=0.15,
    rgba=_opaque(_RED),
    yaw_symmetry=2,
    parts=(
        *_rounded((0.019, 0.031, 0.0510), -0.0080, _RED),
        Part("frustum", (0.0, 0.0, 0.0465), (0.019, 0.030, 0.0035), _opaque(_RED), taper=0.6),
        Part("cylinder", (0.0, 0.0, 0.0530), (0.013, 0.013, 0.0030), _opaque(_WHITE)),
        Part("frustum", (0.0, 0.0, 0.0575), (0.010, 0.010, 0.0015), _opaque(_WHITE), taper=0.6),
        *_rounded((0.0192, 0.0312, 0.0240), -0.0180, _WHITE, solid=False),
    ),
    labels=tuple(Label((side * 0.0193, 0.0, -0.018), (0.016, 0.023), facing, _WHITE, _RED, ("KETCHUP",), _RED) for side, facing in ((1, "+x"), (-1, "-x"))),
    grip=Grip(height=0.027, half_width=0.019),
)

_JUICE = ObjectSpec(
    "orange_juice",
    "orange juice carton",
    edge=0.13,
    mass=0.25,
    rgba=_opaque(_ORANGE),
    parts=(
        Part("box", (0.0, 0.0, -0.0175), (0.031, 0.031, 0.0475), _opaque(_ORANGE)),
        Part("gable", (0.0, 0.0, 0.0425), (0.031, 0.031, 0.0125), _opaque(_WHITE)),
        Part("box", (0.0, 0.0, 0.0590), (0.0015, 0.031, 0.0060), _opaque(_WHITE)),
        Part("cylinder", (0.016, 0.0, 0.0470), (0.009, 0.009, 0.0060), _opaque(_GREEN), solid=False),
    ),
    labels=tuple(
        Label((*(0.0311 * part for part in side), -0.0175), (0.0295, 0.0450), facing, _WHITE, _GREEN, ("ORANGE", "JUICE"), _ORANGE)
        for side, facing in (((1, 0), "+x"), ((-1, 0), "-x"), ((0, 1), "+y"), ((0, -1), "-y"))
    ),
)

_CHEESE = ObjectSpec(
    "cream_cheese",
    "box of cream cheese",
    edge=0.10,
    mass=0.2,
    rgba=_opaque(_SILVER),
    yaw_symmetry=2,
    parts=(Part("box", (0.0, 0.0, 0.0), (0.032, 0.050, 0.015), _opaque(_SILVER)),),
    labels=(
        Label((0.0, 0.0, 0.0151), (0.046, 0.022), "+z", _BLUE, _WHITE, ("CREAM", "CHEESE")),
        Label((0.0321, 0.0, 0.0), (0.046, 0.011), "+x", _BLUE, _WHITE, ("CREAM CHEESE",)),
        Label((-0.0321, 0.0, 0.0), (0.046, 0.011), "-x", _BLUE, _WHITE, ("CREAM CHEESE",)),
    ),
)

_WALL, _RIM, _BASKET = 0.004, 0.070, (0.090, 0.110)
"""Thickness / 2, height and half-size of the basket's outside [m]."""
_STRIPS = 5


def _basket_parts() -> tuple[Part, ...]:
    """A floor and four walls; strips woven round them, and a rim, for the eye."""
    (x, y), half = _BASKET, _RIM / 2
    parts = [Part("box", (0.0, 0.0, _WALL - half), (x, y, _WALL), _opaque(_WICKER))]
    for side in (-1, 1):
        parts.append(Part("box", (side * (x - _WALL), 0.0, _WALL), (_WALL, y, half - _WALL), _opaque(_WICKER)))
        parts.append(Part("box", (0.0, side * (y - _WALL), _WALL), (x - 2 * _WALL, _WALL, half - _WALL), _opaque(_WICKER)))
    step = _RIM / (_STRIPS + 1)
    for row in range(_STRIPS):
        z = (row + 0.6) * step - half
        for along, (length, across) in enumerate(((y, x), (x, y))):
            count = 7 if along == 0 else 6
            for i in range(row % 2, count, 2):
                place, width = length * (2 * (i + 0.5) / count - 1), length / count
                for side in (-1, 1):
                    for outer in (across + 0.0010, across - 2 * _WALL - 0.0010):
                        centre, size = (side * outer, place), (0.0014, width)
                        if along:
                            centre, size = centre[::-1], size[::-1]
                        parts.append(Part("box", (*centre, z), (*size, 0.42 * step), _opaque(_WILLOW), solid=False))
    for side in (-1, 1):
        parts.append(Part("box", (side * (x - _WALL), 0.0, half - 0.004), (_WALL + 0.0022, y + 0.0022, 0.0041), _opaque(_WILLOW), solid=False))
        parts.append(Part("box", (0.0, side * (y - _WALL), half - 0.004), (x, _WALL + 0.0022, 0.0041), _opaque(_WILLOW), solid=False))
    return tuple(parts)


_BASKET_SPEC = ObjectSpec("basket", "wicker basket", edge=0.22, mass=0.5, rgba=_opaque(_WICKER), yaw_symmetry=2, parts=_basket_parts())

_INSIDE = (_BASKET[0] - 2 * _WALL, _BASKET[1] - 2 * _WALL, 2 * _WALL - _RIM / 2)

_OBJECTS = (_KETCHUP, _BASKET_SPEC, _JUICE, _CHEESE)


def _about(centre: float, half: float) -> tuple[float, float]:
    return round(centre - half, 3), round(centre + half, 3)


def _reset(half: float, yaw: float) -> ResetRange:
    """The bottle within `half` [m] and `yaw` [rad] of its place, the basket within 3 cm and 0.3 rad of its own, the others anywhere at all."""
    return ResetRange(
        x=(0.32, 0.68),
        y=(-0.35, 0.35),
        yaw=(-math.pi, math.pi),
        min_separation=0.19,
        joint_noise=0.02,
        x_of={"ketchup": _about(0.48, half), "basket": _about(0.50, 0.03)},
        y_of={"ketchup": _about(-0.14, half), "basket": _about(0.17, 0.03)},
        yaw_of={"ketchup": (-yaw, yaw), "basket": (-0.3, 0.3)},
    )


def _subtask(name: str, object_ref: str, signal: str | None, offsets: tuple[int, int]) -> Subtask:
    # The guide's noise of 0.03 is where nothing is touched; near contact it shakes the eef by more than the gripper leaves room for.
    return Subtask(
        name,
        object_ref,
        signal,
        offsets,
        start_signal=name,
        selection_strategy="nearest_neighbor_object",
        action_noise=0.03,
        contact_noise=0.005,
        num_interpolation_steps=5,
    )


_OBS_LAYOUT = {
    "eef_pos": "v",
    "eef_quat": "q",
    "gripper_pos": "..",
    "joint_vel": "." * 9,
    "object": "vq" * 4 + "v" * 4,
    "gripper_to_object_yaw": "." * 8,
    **{f"{item.name}_pos": "v" for item in _OBJECTS},
    **{f"{item.name}_quat": "q" for item in _OBJECTS},
}

DESKTOP_ORGANIZER_REL = TaskSpec(
    task_id="MuJoCo-Desktop-Organizer-Franka-IK-Rel-v0",
    description="Put the ketchup into the basket.",
    control="rel",
    control_hz=20.0,
    action_scale=0.5,
    home=HOME,
    objects=_OBJECTS,
    reset=_reset(0.05, 0.5),
    subtasks={
        "franka": (
            _subtask("reach", "ketchup", "reach", (3, 8)),
            _subtask("grasp", "ketchup", "grasp", (3, 8)),
            _subtask("lift", "ketchup", "lift", (3, 8)),
            _subtask("place", "basket", None, (0, 0)),
        )
    },
    goal=PutInto("ketchup", "basket", 0.10, _INSIDE),
    hand=HAND,
    obs_layout=_OBS_LAYOUT,
    source_demos="desktop_organizer_franka.hdf5",
)

DESKTOP_ORGANIZER_WIDE_REL = dataclasses.replace(
    DESKTOP_ORGANIZER_REL,
    task_id="MuJoCo-Desktop-Organizer-Wide-Franka-IK-Rel-v0",
    description="The same, the bottle anywhere on 24 x 24 cm, turned at will.",
    reset=_reset(0.12, math.pi / 2),
    sources_of=DESKTOP_ORGANIZER_REL.task_id,
)

DESKTOP_ORGANIZER_VISUOMOTOR = dataclasses.replace(
    DESKTOP_ORGANIZER_REL,
    task_id="MuJoCo-Desktop-Organizer-Franka-IK-Rel-Visuomotor-v0",
    description="The same, seen by a camera at the table and one at the wrist.",
    prompt_templates="desktop_organizer_prompts.json",
    cameras=(TABLE_CAM, WRIST_CAM),
    semantic_colors={
        "ketchup": (255, 36, 66),
        "basket": (140, 90, 40),
        "orange_juice": (255, 165, 0),
        "cream_cheese": (120, 230, 255),
        **SCENE_COLORS,
    },
)
