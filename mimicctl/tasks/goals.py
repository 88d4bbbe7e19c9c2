"""What success asks for, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stack:
    """Objects on one another and at rest, with the gripper open.

    Attributes:
        order: their names from bottom to top.
    """

    order: tuple[str, str, str]

    @property
    def text(self) -> str:
        return f"stacked {' < '.join(self.order)}, gripper open, at rest"


@dataclass(frozen=True)
class Lift:
    """One object in the gripper, off the table.

    Attributes:
        object_name: what is lifted.
        height: of its lower side above the table, at least [m].
    """

    object_name: str
    height: float

    @property
    def text(self) -> str:
        return f"{self.object_name} held at least {100 * self.height:g} cm above the table"


@dataclass(frozen=True)
class PutInto:
    """One object inside another, upright one, let go and at rest.

    Attributes:
        object_name: what is put.
        container: into what.
        height: of the object's lower side above the table that counts as lifted, at least [m].
        inside: half-size of the room in the container: its walls in x and y, and z of its floor, in the container's frame [m].
    """

    object_name: str
    container: str
    height: float
    inside: tuple[float, float, float]

    @property
    def text(self) -> str:
        return f"{self.object_name} on the floor of the upright {self.container}, gripper open, at rest"


@dataclass(frozen=True)
class LiftTogether:
    """One object, held by every eef at its own handle, off the table and level.

    Attributes:
        object_name: what is lifted.
        height: of its origin above where that is when it stands on the table, at least [m].
        tilt: from level, at most [rad].
        handles: eef name to the middle of its handle, in the object's frame [m].
        half_width: of a handle, which is how far from closed a finger that holds it is [m].
    """

    object_name: str
    height: float
    tilt: float
    handles: dict[str, tuple[float, float, float]]
    half_width: float

    @property
    def text(self) -> str:
        held = f"{self.object_name} held by {' and '.join(self.handles)} at least {100 * self.height:g} cm above the table"
        return f"{held}, tilted by less than {math.degrees(self.tilt):.0f} degrees"


@dataclass(frozen=True)
class Arrive:
    """A mobile base that stands on a mark and looks along it.

    Attributes:
        mark: object name.
        distance: between the two at most [m].
        angle: between their headings at most [rad].
    """

    mark: str
    distance: float
    angle: float

    @property
    def text(self) -> str:
        return f"the base stands within {100 * self.distance:g} cm and {math.degrees(self.angle):.0f} degrees of {self.mark}"


@dataclass(frozen=True)
class PlaceIn:
    """One object at rest in a bin that stands fixed, with the hand open.

    Attributes:
        object_name: what is placed.
        eef: whose hand places it.
        centre, half_size: of the bin's inside (x, y) [m].
        height: of the object's origin above the table, at most [m].
    """

    object_name: str
    eef: str
    centre: tuple[float, float]
    half_size: tuple[float, float]
    height: float

    @property
    def text(self) -> str:
        return f"{self.object_name} at rest in the bin, {self.eef} hand open"

    def inside(self, position: Any) -> Any:
        """(...) bool: whether an object at `position` (..., 3), an array, is in the bin."""
        (x, y), (half_x, half_y) = self.centre, self.half_size
        return (abs(position[..., 0] - x) < half_x) & (abs(position[..., 1] - y) < half_y) & (position[..., 2] < self.height)


@dataclass(frozen=True)
class Pour:
    """What was in a beaker lies in a bowl, the beaker in a bin and the bowl on a scale, with the hands open.

    Attributes:
        contents, beaker, bowl, bin, scale: object names.
        in_bowl: how far the contents' origin may be from the middle of the bowl's base: in x and y, and up [m].
        in_bin, on_scale: the same of the middle of the beaker's base and the bin's, and of the bowl's and the scale's [m].
    """

    contents: str
    beaker: str
    bowl: str
    bin: str
    scale: str
    in_bowl: tuple[float, float, float]
    in_bin: tuple[float, float, float]
    on_scale: tuple[float, float, float]

    @property
    def text(self) -> str:
        return f"{self.contents} in {self.bowl}, {self.beaker} in {self.bin}, {self.bowl} on {self.scale}, both hands open"


@dataclass(frozen=True)
class HandOver:
    """One object in a bin, which the first hand picked up and the second put there, with both hands open.

    Attributes:
        object_name, bin: names.
        handles: eef name to the middle of the part that it holds, in the object's frame, whose z axis goes along both; the first gives, the second takes [m].
        half_width: of these parts, which are round [m].
        in_bin: how far the object's origin may be from the middle of the bin's base, in the env frame: in x and y from and to, and up [m].
    """

    object_name: str
    bin: str
    handles: dict[str, tuple[float, float, float]]
    half_width: float
    in_bin: tuple[tuple[float, float], tuple[float, float], float]

    @property
    def giver(self) -> str:
        return next(iter(self.handles))

    @property
    def taker(self) -> str:
        return list(self.handles)[1]

    @property
    def text(self) -> str:
        return f"{self.object_name} in {self.bin}, both hands open"

    def inside(self, gap: Any) -> Any:
        """(...) bool: whether an object `gap` (..., 3), an array, from the middle of the bin's base is in the bin."""
        (low_x, high_x), (low_y, high_y), up = self.in_bin
        x, y, z = gap[..., 0], gap[..., 1], gap[..., 2]
        return (x > low_x) & (x < high_x) & (y > low_y) & (y < high_y) & (z < up)


@dataclass(frozen=True)
class OwnSuccess:
    """What the simulator's own success term asks for, which is not known here."""

    @property
    def text(self) -> str:
        return "Isaac Lab's success term"


Goal = Stack | Lift | PutInto | LiftTogether | PlaceIn | Pour | HandOver | Arrive | OwnSuccess
"""What success asks for."""
