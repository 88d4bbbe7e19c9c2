"""What a teleoperation device is: something that turns raw input into commands, once per control step.

Most devices have axes: a key, a stick, a cap that is pushed. They are `AxisSource`s, and `driving.Driven` makes commands of what they say. A
device that knows poses, or decides by itself, is a `Device` of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np

AXES = ("x", "y", "z", "roll", "pitch", "yaw")
"""Along and about the axes of the base frame, +x ahead, +y left, +z up. A base on a floor takes x, y and yaw, in its own frame."""


class Event(Enum):
    """What an operator asks of the session, beside moving the arm."""

    START = "start"  # of the recording, where it waits for that
    SAVE = "save"  # this episode as it is
    RESET = "reset"  # discard this episode and start another
    SWITCH = "switch"  # swing cancellation on or off, of a gripper that hangs, before the recording begins
    QUIT = "quit"


@dataclass(frozen=True)
class Command:
    """One control step's worth of input.

    Attributes:
        delta: (6,) translation and rotation vector of the eef in the base frame, raw action units. For a base on a floor, velocities
            [m/s, rad/s] in its own frame.
        gripper: +1 open, -1 close; of a hand whose fingers are followed (H,), one number a joint.
        events: what else the operator asked for since the last command.
        others: the same for each eef of the task beside its first, by name; their events do not count.
        action: (A,) float32 for the env as it is, of a device that makes actions itself; the rest but the events does not count then.
        idle: nobody drives at this moment. The env stands still.
    """

    delta: np.ndarray
    gripper: float | np.ndarray
    events: tuple[Event, ...] = ()
    others: Mapping[str, Command] = field(default_factory=dict)
    action: np.ndarray | None = None
    idle: bool = False


@dataclass(frozen=True)
class Reading:
    """What an `AxisSource` says now.

    Attributes:
        axes: (6,) from -1 to 1 in the order of `AXES`, as they are held at this moment.
        toggles: how often the gripper was asked to change since the last reading.
        let_go: everything was asked to be let go of, and the gripper to be opened, before the toggles.
        events: what else was asked for since the last reading.
        gripper: +1 open, -1 close, for input that says where it is to be; None for input that asks for a change.
        at: when the latest input came, `time.monotonic()`; None before the first.
        note: what is wrong with the input, for whoever looks into it.
    """

    axes: np.ndarray
    toggles: int = 0
    let_go: bool = False
    events: tuple[Event, ...] = ()
    gripper: float | None = None
    at: float | None = None
    note: str = ""


@dataclass(frozen=True)
class OperatorView:
    """What an operator sees of the scene, env 0.

    Attributes:
        eef_pose: (4, 4), of the task's first eef.
        object_poses: name to (4, 4).
        gripper_opening: distance of one finger from closed [m].
        swung_to: (4, 4) where a gripper that hangs is now, while its eef is where it was told to hang; None: it is at its eef.
        held_success: consecutive steps success has held.
        others: the same as seen from each eef of the task beside its first, by name.
    """

    eef_pose: np.ndarray
    object_poses: dict[str, np.ndarray] = field(default_factory=dict)
    gripper_opening: float = 0.04
    swung_to: np.ndarray | None = None
    held_success: int = 0
    others: Mapping[str, OperatorView] = field(default_factory=dict)

    @property
    def gripper_pose(self) -> np.ndarray:
        """(4, 4) where one sees the gripper."""
        return self.eef_pose if self.swung_to is None else self.swung_to


class AxisSource(Protocol):
    """Input with axes. Methods are called from one thread, `read` between `start` and `close`."""

    name: str

    def start(self) -> None:
        """Open it. UserError with what to do if it cannot be opened."""

    def reset(self) -> None:
        """Forget what is held: a new episode begins."""

    def read(self) -> Reading:
        """The latest there is, at once. RunFailed with what to do once the device is gone."""

    def help(self) -> str:
        """The map of controls, for printing."""

    def close(self) -> None: ...


class Device(Protocol):
    """A source of commands. `name` goes into the lineage of what it records; `human` says who was driving.

    A device may have two things more: `facts()`, what is worth knowing of its input since `reset`, as JSON, for the lineage; and `state`, what an
    operator wants to know of it now.
    """

    name: str
    human: bool

    def start(self) -> None:
        """Open the device. UserError with what to do if it cannot be opened."""

    def reset(self) -> None:
        """Forget held keys and latched grippers: a new episode begins."""

    def command(self, view: OperatorView) -> Command: ...

    def help(self) -> str:
        """The map of controls, for printing."""

    def close(self) -> None: ...
