"""Pour a nut out of a beaker into a bowl, drop the beaker in a bin, and put the bowl on a scale, with both hands of a humanoid.

Names, subtasks and thresholds are those of Isaac Lab's task of that name; the things themselves are our own, and stand as near to one another as the arms
of the robot that does it ask for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mimicctl.tasks.franka import SCENE_COLORS
from mimicctl.tasks.objects import RGBA, ObjectSpec, Part, open_box
from mimicctl.tasks.pick_place import G1_FINGERS, GR1T2_FINGERS
from mimicctl.tasks.spec import CameraSpec, Pour, ResetRange, Subtask, TaskSpec

_RED: RGBA = (0.80, 0.09, 0.08, 1.0)
_YELLOW: RGBA = (0.95, 0.77, 0.10, 1.0)
_GREEN: RGBA = (0.16, 0.55, 0.25, 1.0)
_BLUE: RGBA = (0.12, 0.33, 0.72, 1.0)
_WHITE: RGBA = (0.93, 0.93, 0.92, 1.0)
_STEEL: RGBA = (0.78, 0.79, 0.80, 1.0)

# Round as they are, they have no equal turns: what is done with one of them reaches to the next, and a turn about it would miss that.
_NUT = ObjectSpec(
    "factory_nut",
    "nut",
    edge=0.0268,
    mass=0.05,
    rgba=_GREEN,
    friction=0.15,
    parts=(Part("shell", (0.0, 0.0, 0.0), (0.0134, 0.0134, 0.0065), _GREEN, wall=0.0060, sides=6),),
)


def _vessel(radius: float, height: float, wall: float, floor: float, taper: float, sides: int, rgba: RGBA) -> tuple[Part, ...]:
    """A round wall on a round floor; `radius` is that of the wider end."""
    inside = radius / max(1.0, taper) - wall
    return (
        Part("shell", (0.0, 0.0, 0.0), (radius, radius, height / 2), rgba, taper=taper, wall=wall, sides=sides),
        Part("cylinder", (0.0, 0.0, (floor - height) / 2), (inside + 0.5 * wall, inside + 0.5 * wall, floor / 2), rgba),
    )


_BEAKER_RADIUS, _BEAKER_HEIGHT, _BEAKER_FLOOR = 0.031, 0.115, 0.006
_BEAKER = ObjectSpec(
    "sorting_beaker",
    "red beaker",
    edge=_BEAKER_HEIGHT,
    mass=0.10,
    rgba=_RED,
    friction=0.15,
    parts=_vessel(_BEAKER_RADIUS, _BEAKER_HEIGHT, 0.004, _BEAKER_FLOOR, 1.0, 16, _RED),
)

_BOWL_RADIUS, _BOWL_HEIGHT = 0.066, 0.055
_BOWL = ObjectSpec(
    "sorting_bowl",
    "yellow bowl",
    edge=2 * _BOWL_RADIUS,
    mass=0.12,
    rgba=_YELLOW,
    friction=0.5,
    parts=_vessel(_BOWL_RADIUS, _BOWL_HEIGHT, 0.005, 0.005, 1.7, 20, _YELLOW),
)

_SCALE = ObjectSpec(
    "sorting_scale",
    "white scale",
    edge=0.17,
    mass=0.8,
    rgba=_WHITE,
    friction=0.8,
    parts=(
        Part("box", (0.0, 0.0, -0.004), (0.085, 0.065, 0.006), _WHITE),
        Part("cylinder", (0.018, 0.0, 0.006), (0.060, 0.060, 0.004), _STEEL),
        Part("box", (-0.066, 0.0, 0.0025), (0.012, 0.030, 0.0008), (0.10, 0.12, 0.12, 1.0), solid=False),
    ),
)

_BIN_WALL, _BIN_HALF = 0.003, (0.110, 0.080, 0.030)
"""Half the thickness of the bin's walls and floor, and half of its outside [m]."""

_BIN = ObjectSpec("black_sorting_bin", "blue bin", edge=0.23, mass=1.0, rgba=_BLUE, parts=open_box(_BIN_HALF, _BIN_WALL, _BLUE))

_OBJECTS = (_BEAKER, _NUT, _BOWL, _SCALE, _BIN)


@dataclass(frozen=True)
class Places:
    """Where things stand, in the middle of where they may start (x, y) [m]: what depends on how far a robot reaches."""

    beaker: tuple[float, float]
    bowl: tuple[float, float]
    scale: tuple[float, float]
    bin: tuple[float, float]


_SPREAD = 0.01


def _reset(places: Places) -> ResetRange:
    """Isaac Lab's: all but the bin within a centimetre, the nut in the beaker."""
    about = {"sorting_beaker": (places.beaker, _SPREAD), "sorting_bowl": (places.bowl, _SPREAD), "sorting_scale": (places.scale, _SPREAD)}
    about["black_sorting_bin"] = (places.bin, 0.0)
    spans = {name: tuple((round(centre - spread, 4), round(centre + spread, 4)) for centre in place) for name, (place, spread) in about.items()}
    return ResetRange(
        x=(0.0, 1.0),
        y=(-0.6, 0.6),
        yaw=(0.0, 0.0),
        min_separation=0.1,
        joint_noise=0.01,
        x_of={name: x for name, (x, _) in spans.items()},
        y_of={name: y for name, (_, y) in spans.items()},
        inside={"factory_nut": ("sorting_beaker", _BEAKER_FLOOR)},
    )


def _subtask(name: str, object_ref: str, signal: str | None, steps: int) -> Subtask:
    # Noise and steps are Isaac Lab's.
    return Subtask(name, object_ref, signal, (0, 0), selection_strategy="nearest_neighbor_object", action_noise=0.003, num_interpolation_steps=steps)


def nut_pour(task_id: str, robot: str, places: Places, **robots_own: Any) -> TaskSpec:
    """The task for a robot, whose eefs are "left" and "right".

    Args:
        robots_own: fields of the spec that depend on the robot.
    """
    return TaskSpec(
        task_id=task_id,
        description="Pour the nut into the bowl, drop the beaker in the bin, and put the bowl on the scale.",
        robot=robot,
        control="abs",
        control_hz=20.0,
        action_scale=1.0,
        objects=_OBJECTS,
        reset=_reset(places),
        subtasks={
            "left": (
                _subtask("grasp the beaker", "sorting_beaker", "grasp_left", 5),
                _subtask("pour, and drop the beaker in the bin", "sorting_bowl", None, 5),
            ),
            "right": (
                _subtask("wait", "sorting_bowl", "idle_right", 5),
                _subtask("grasp the bowl", "sorting_bowl", "grasp_right", 3),
                _subtask("put the bowl on the scale", "sorting_scale", None, 3),
            ),
        },
        goal=Pour(
            "factory_nut",
            "sorting_beaker",
            "sorting_bowl",
            "black_sorting_bin",
            "sorting_scale",
            in_bowl=(0.050, 0.050, 0.019),
            in_bin=(0.12, 0.08, 0.07),
            on_scale=(0.055, 0.055, 0.025),
        ),
        # One source for a whole trial, as Isaac Lab has it: so the hands keep the time that they kept.
        generation={"select_src_per_subtask": False},
        obs_layout={"object": len(_OBJECTS) * "vqvv"},
        **robots_own,
    )


NUT_POUR_G1 = nut_pour(
    "MuJoCo-NutPour-G1-Pink-IK-Abs-v0",
    "g1",
    Places(beaker=(0.35, 0.11), bowl=(0.36, -0.04), scale=(0.35, -0.24), bin=(0.30, 0.335)),
    # The forearms a little up: the fingers begin above bin and scale.
    home=(0.0, 0.2, 0.0, -0.1, 0.0, 0.0, 0.0, 0.0, -0.2, 0.0, -0.1, 0.0, 0.0, 0.0),
    hand_joints=len(G1_FINGERS),
    fingers=G1_FINGERS,
    horizon=700,
    source_demos="nut_pour_g1.hdf5",
)

NUT_POUR_GR1T2 = nut_pour(
    "MuJoCo-NutPour-GR1T2-Pink-IK-Abs-v0",
    "gr1t2",
    # Isaac Lab's within 7 cm: the left forearm keeps off the bin, and the right hand reaches over the scale.
    Places(beaker=(0.450, 0.110), bowl=(0.430, -0.050), scale=(0.510, -0.240), bin=(0.420, 0.370)),
    home=(),
    hand_joints=len(GR1T2_FINGERS),
    fingers=GR1T2_FINGERS,
    horizon=700,
    source_demos="nut_pour_gr1t2.hdf5",
)

# Where a G1 has its own, in the head, looking down at the table; 87 degrees wide, as that is, to see bin and scale. Isaac Lab's name and size.
_POV = CameraSpec("robot_pov_cam", "", (0.06, 0.0, 0.49), (-0.66858, 0.66858, -0.23021, 0.23021), 160, 256, focal_length=11.04)

# Isaac Lab's, which has +y where +x is ahead here.
_POV_GR1T2 = CameraSpec("robot_pov_cam", "", (0.12, 0.0, 0.69), (-0.69304, 0.69304, -0.14035, 0.14035), 160, 256, focal_length=18.15)


def _visuomotor(task: TaskSpec, camera: CameraSpec) -> TaskSpec:
    """The task, seen by a camera in the head."""
    return replace(
        task,
        task_id=task.task_id.replace("-v0", "-Visuomotor-v0"),
        description="The same, seen by a camera in the head.",
        cameras=(camera,),
        prompt_templates="nut_pour_prompts.json",
        semantic_colors={
            "factory_nut": (55, 255, 139),
            "sorting_beaker": (255, 36, 66),
            "sorting_bowl": (255, 200, 0),
            "sorting_scale": (240, 240, 240),
            "black_sorting_bin": (0, 90, 255),
            **SCENE_COLORS,
        },
    )


NUT_POUR_G1_VISUOMOTOR = _visuomotor(NUT_POUR_G1, _POV)
NUT_POUR_GR1T2_VISUOMOTOR = _visuomotor(NUT_POUR_GR1T2, _POV_GR1T2)
