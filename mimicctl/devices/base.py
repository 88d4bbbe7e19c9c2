"""What a teleoperation device is: something that turns raw input into commands, once per control step."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np


class Event(Enum):
    """What an operator asks of the session, beside moving the arm."""

    RESET = "reset"  # discard this episode and start another
    QUIT = "quit"


@dataclass(frozen=True)
class Command:
    """One control step's worth of input.

    Attributes:
        delta: (6,) translation and rotation vector of the eef in the base frame, raw action units.
        gripper: +1 open, -1 close.
        events: what else the operator asked for since the last command.
    """

    delta: np.ndarray
    gripper: float
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class OperatorView:
    """What an operator sees of the scene, env 0.

    Attributes:
        eef_pose: (4, 4).
        object_poses: name to (4, 4).
        gripper_opening: distance of one finger from closed [m].
        held_success: consecutive steps success has held.
    """

    eef_pose: np.ndarray
    object_poses: dict[str, np.ndarray] = field(default_factory=dict)
    gripper_opening: float = 0.04
    held_success: int = 0


class Device(Protocol):
    """A source of commands. `name` goes into the lineage of what it records; `human` says who was driving."""

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
