"""Pick a steering wheel off the table with the right hand of a humanoid and put it in a bin."""

from __future__ import annotations

from typing import Literal

from mimicctl.tasks.spec import ObjectSpec, Obstacle, PlaceIn, ResetRange, Subtask, TaskSpec, Wheel

G1_FINGERS = ("index", "index", "middle", "middle", "thumb", "thumb", "")
"""What the joints of a hand follow, tips first; the joint that swings the thumb aside stands still."""
GR1T2_FINGERS = ("index", "index", "middle", "middle", "ring", "ring", "pinky", "pinky", "thumb", "thumb", "thumb")
"""The same; this thumb swings under what it holds as it closes."""

_SHAPE = Wheel(radius=0.085, tube=0.011, dish=0.045, foot=0.028, height=0.09)
STEERING_WHEEL = ObjectSpec("object", "black", 2 * (_SHAPE.radius + _SHAPE.tube), 0.15, (0.10, 0.10, 0.10, 1.0), wheel=_SHAPE)

_HALF, _WALL, _HEIGHT = (0.15, 0.12), 0.005, 0.06
_BLUE = (0.12, 0.30, 0.55, 1.0)


def _bin(centre: tuple[float, float]) -> tuple[Obstacle, ...]:
    (x, y), (half_x, half_y) = centre, _HALF
    sides = {"far": (half_x, 0.0), "near": (-half_x, 0.0), "left": (0.0, half_y), "right": (0.0, -half_y)}
    walls = [
        Obstacle(f"bin_{name}", (x + dx, y + dy, _HEIGHT / 2), (_WALL if dx else half_x, _WALL if dy else half_y, _HEIGHT / 2), _BLUE)
        for name, (dx, dy) in sides.items()
    ]
    return (Obstacle("bin_floor", (x, y, 0.004), (half_x, half_y, 0.004), _BLUE), *walls)


_QUIET = {"action_noise": 0.003, "num_interpolation_steps": "auto"}


_Span = tuple[float, float]


def _pick_place(name: str, robot: Literal["g1", "gr1t2"], fingers: tuple[str, ...], x: _Span, y: _Span, centre: _Span) -> TaskSpec:
    """The task for a robot: its name in the id, what its fingers follow, and, which depends on how far it reaches, where the wheel may start and the bin is."""
    return TaskSpec(
        task_id=f"MuJoCo-PickPlace-{name}-Pink-IK-Abs-v0",
        description="Pick the steering wheel off the table and put it in the bin.",
        robot=robot,
        control="abs",
        control_hz=20.0,
        action_scale=1.0,
        home=(),
        objects=(STEERING_WHEEL,),
        reset=ResetRange(x=x, y=y, yaw=(-0.1, 0.5), min_separation=0.1, joint_noise=0.01),
        subtasks={
            "left": (Subtask("rest", None, None, **_QUIET),),
            "right": (
                Subtask("idle", None, "idle_right", **_QUIET),
                Subtask("grasp", "object", "grasp_right", (0, 4), selection_strategy="nearest_neighbor_object", **_QUIET),
                Subtask("place", None, None, **_QUIET),
            ),
        },
        goal=PlaceIn("object", "right", centre, _HALF, 0.13),
        obstacles=_bin(centre),
        hand_joints=len(fingers),
        fingers=fingers,
        obs_layout={"object": "vqvv"},
        horizon=500,
        source_demos=f"pick_place_{robot}.hdf5",
    )


PICK_PLACE_G1 = _pick_place("G1", "g1", G1_FINGERS, x=(0.36, 0.42), y=(-0.07, 0.05), centre=(0.36, -0.34))
PICK_PLACE_GR1T2 = _pick_place("GR1T2", "gr1t2", GR1T2_FINGERS, x=(0.40, 0.46), y=(-0.15, -0.01), centre=(0.40, -0.42))
