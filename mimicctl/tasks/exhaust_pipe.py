"""Pick up an exhaust pipe with one hand of a humanoid, hand it over to the other, and put it in a bin.

Names, subtasks, places, ranges and thresholds are those of Isaac Lab's task of that name, which has +y where +x is ahead here; the things themselves are our own.
"""

from __future__ import annotations

from mimicctl.tasks.objects import RGBA, ObjectSpec, Part, open_box, rod
from mimicctl.tasks.pick_place import GR1T2_FINGERS
from mimicctl.tasks.spec import HandOver, ResetRange, Subtask, TaskSpec

_STEEL: RGBA = (0.62, 0.65, 0.70, 1.0)
_PAINT: RGBA = (0.13, 0.30, 0.62, 1.0)
_DARK: RGBA = (0.09, 0.09, 0.10, 1.0)
_BLUE: RGBA = (0.12, 0.33, 0.72, 1.0)
_BLACK: RGBA = (0.13, 0.13, 0.14, 1.0)

_TUBE, _HALF, _FLANGE = 0.019, 0.155, 0.045
"""Radius of the pipe's tubes, and half of how high it stands and of how wide its foot is [m]."""
_HANDLE, _BEND = 0.083, 0.020
"""From the pipe's middle to that of either straight tube: along it, and aside, to the side of the hand that holds it [m]."""


def _pipe_parts() -> tuple[Part, ...]:
    """It stands on the flange that bolts it to a manifold; a muffler, oval, where the pipe bends, parts the hands; it ends in a tip of steel."""
    x, y, z, cone = 0.027, 0.037, 0.018, 0.006
    tip = 0.013
    bolts = [(sx * 0.034, _BEND + sy * 0.034, 0.012 - _HALF) for sx in (-1, 1) for sy in (-1, 1)]
    return (
        Part("box", (0.0, _BEND, 0.005 - _HALF), (_FLANGE, _FLANGE, 0.005), _STEEL),
        rod((0.0, _BEND, _TUBE - _HALF), (0.0, _BEND, -0.044), _TUBE, _PAINT),
        rod((0.0, _BEND, -0.044), (0.0, 0.0, -z), _TUBE, _PAINT),
        Part("frustum", (0.0, 0.0, -z - cone), (x, y, cone), _PAINT, taper=1.5),
        Part("frustum", (0.0, 0.0, 0.0), (x, y, z), _PAINT),
        Part("frustum", (0.0, 0.0, z + cone), (x, y, cone), _PAINT, taper=1 / 1.5),
        rod((0.0, 0.0, z), (0.0, -_BEND, 0.044), _TUBE, _PAINT),
        rod((0.0, -_BEND, 0.044), (0.0, -_BEND, _HALF - 2 * tip), _TUBE, _PAINT),
        Part("shell", (0.0, -_BEND, _HALF - tip), (0.022, 0.022, tip), _STEEL, wall=0.004),
        Part("cylinder", (0.0, -_BEND, _HALF - tip - 0.001), (0.0185, 0.0185, tip - 0.003), _DARK, solid=False),
        *(Part("cylinder", bolt, (0.006, 0.006, 0.004), _DARK, solid=False) for bolt in bolts),
        *(Part("frustum", (0.0, 0.0, side * z), (x + 0.001, y + 0.001, 0.003), _STEEL, solid=False) for side in (-1, 1)),
    )


_PIPE = ObjectSpec("blue_exhaust_pipe", "exhaust pipe", edge=2 * _HALF, mass=0.25, rgba=_PAINT, parts=_pipe_parts())

_BIN_HALF, _BIN_WALL = (0.205, 0.113, 0.030), 0.003
"""Half of a bin's outside, and half the thickness of its walls and floor [m]."""


def _bin(name: str, label: str, rgba: RGBA) -> ObjectSpec:
    return ObjectSpec(name, label, edge=2 * _BIN_HALF[0], mass=1.5, rgba=rgba, parts=open_box(_BIN_HALF, _BIN_WALL, rgba))


_OBJECTS = (_PIPE, _bin("blue_sorting_bin", "blue bin", _BLUE), _bin("black_sorting_bin", "black bin", _BLACK))

_QUIET = {"selection_strategy": "nearest_neighbor_object", "action_noise": 0.003, "num_interpolation_steps": 5}

EXHAUST_PIPE_GR1T2 = TaskSpec(
    task_id="MuJoCo-ExhaustPipe-GR1T2-Pink-IK-Abs-v0",
    description="Pick up the exhaust pipe with the left hand, hand it over to the right one, and put it in the blue bin.",
    robot="gr1t2",
    control="abs",
    control_hz=20.0,
    action_scale=1.0,
    home=(),
    objects=_OBJECTS,
    reset=ResetRange(
        x=(0.30, 0.39),
        y=(-0.4013, 0.059),
        yaw=(0.0, 0.0),
        min_separation=0.1,
        joint_noise=0.01,
        x_of={"blue_exhaust_pipe": (0.30, 0.32), "blue_sorting_bin": (0.39, 0.39), "black_sorting_bin": (0.39, 0.39)},
        y_of={"blue_exhaust_pipe": (0.039, 0.059), "blue_sorting_bin": (-0.1661, -0.1661), "black_sorting_bin": (-0.4013, -0.4013)},
    ),
    subtasks={
        "left": (Subtask("pick up the pipe and hand it over", "blue_exhaust_pipe", None, **_QUIET),),
        "right": (
            Subtask("wait", "blue_exhaust_pipe", "idle_right_1", **_QUIET),
            Subtask("take the pipe and put it in the bin", "blue_exhaust_pipe", None, **_QUIET),
        ),
    },
    goal=HandOver(
        "blue_exhaust_pipe",
        "blue_sorting_bin",
        handles={"left": (0.0, _BEND, -_HANDLE), "right": (0.0, -_BEND, _HANDLE)},
        half_width=_TUBE,
        in_bin=((-0.090, 0.200), (-0.085, 0.085), 0.070),
    ),
    hand_joints=len(GR1T2_FINGERS),
    fingers=GR1T2_FINGERS,
    obs_layout={"object": len(_OBJECTS) * "vqvv"},
    horizon=600,
    source_demos="exhaust_pipe_gr1t2.hdf5",
    # One source for a whole trial, as Isaac Lab has it: so the hands keep the time that they kept.
    generation={"select_src_per_subtask": False},
)
