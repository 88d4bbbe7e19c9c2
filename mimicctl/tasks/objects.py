"""What stands on a table or a floor, as data: free objects of every shape, and boxes that are in the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RGB = tuple[float, float, float]
RGBA = tuple[float, float, float, float]


@dataclass(frozen=True)
class Tray:
    """A shallow box with a bar to hold it by at both ends of its y axis. Its frame is in the middle of its base plate.

    Attributes:
        half_size: of the plate [m].
        rim: height of the walls above the plate [m].
        handle: y and z of the middle of the bar at its left end; the other one mirrors y [m].
        bar: half-size of a bar [m].
    """

    half_size: tuple[float, float, float]
    rim: float
    handle: tuple[float, float]
    bar: tuple[float, float, float]


@dataclass(frozen=True)
class Wheel:
    """A steering wheel on a foot: a rim, three spokes that slope down, and a post. Its frame is in the middle of the rim, z up.

    Attributes:
        radius, tube: of the rim and of its tube [m].
        dish: how far below the rim the spokes meet [m].
        foot: radius of the post [m].
        height: of the rim's middle when it stands [m].
    """

    radius: float
    tube: float
    dish: float
    foot: float
    height: float


@dataclass(frozen=True)
class Part:
    """One primitive of an object that is made of several.

    Attributes:
        kind: "frustum": an elliptic cylinder that tapers; "shell": the same with nothing in it, no floor and no lid; "gable": a box whose upper side is a
            ridge along y. The others are MuJoCo's; `rod` makes a capsule.
        centre: of its bounding box, in the object's frame, whose axes are its own [m].
        half_size: of its bounding box [m].
        taper: of a frustum or shell: how wide its upper side is, as a share of the lower one.
        wall, sides: of a shell: thickness, towards the middle [m], and of how many flat pieces it is made.
        axis: of a capsule: from its centre to that of one of its round ends [m].
        solid: whether it can be touched; what is not is there for the eye, and weighs nothing.
    """

    kind: Literal["box", "cylinder", "ellipsoid", "capsule", "frustum", "shell", "gable"]
    centre: tuple[float, float, float]
    half_size: tuple[float, float, float]
    rgba: RGBA
    taper: float = 1.0
    wall: float = 0.0
    sides: int = 16
    solid: bool = True
    axis: tuple[float, float, float] = (0.0, 0.0, 0.0)


def rod(start: tuple[float, float, float], end: tuple[float, float, float], radius: float, rgba: RGBA) -> Part:
    """A round bar from one place in the object's frame to another, with half a ball at either end [m]."""
    centre, axis = (tuple((b + sign * a) / 2 for a, b in zip(start, end, strict=True)) for sign in (1, -1))
    return Part("capsule", centre, tuple(abs(along) + radius for along in axis), rgba, axis=axis)


def open_box(half_size: tuple[float, float, float], wall: float, rgba: RGBA) -> tuple[Part, ...]:
    """A floor and four walls, `half_size` outside and twice `wall` thick [m]."""
    x, y, z = half_size
    parts = [Part("box", (0.0, 0.0, wall - z), (x, y, wall), rgba)]
    for side in (-1, 1):
        parts.append(Part("box", (side * (x - wall), 0.0, wall), (wall, y, z - wall), rgba))
        parts.append(Part("box", (0.0, side * (y - wall), wall), (x - 2 * wall, wall, z - wall), rgba))
    return tuple(parts)


@dataclass(frozen=True)
class Label:
    """A printed rectangle on an object, for the eye.

    Attributes:
        centre: in the object's frame [m].
        half_size: half its width and half its height [m].
        facing: along which axis of the object it looks.
        paper, ink: colours.
        lines: what is written on it, in capitals.
        fruit: colour of a round fruit with a leaf under the writing; None: there is none.
    """

    centre: tuple[float, float, float]
    half_size: tuple[float, float]
    facing: Literal["+x", "-x", "+y", "-y", "+z"]
    paper: RGB
    ink: RGB
    lines: tuple[str, ...] = ()
    fruit: RGB | None = None


@dataclass(frozen=True)
class Grip:
    """Where a gripper takes hold of an object, its jaw along the object's x axis.

    Attributes:
        height: above the object's origin [m].
        half_width: how far from closed a finger is that holds it [m].
    """

    height: float
    half_width: float


@dataclass(frozen=True)
class ObjectSpec:
    """A free rigid object of the scene: a cube, a tray, a steering wheel, something made of parts, or a mark on the floor.

    Attributes:
        edge: edge length, the longest one of what is no cube, or diameter of a mark [m].
        mass: [kg]; 0: a mark, which nothing can touch.
        rgba: colour.
        yaw_symmetry: turning it by 1/n of a full turn about its z axis changes nothing.
        tray, wheel: its shape; None of them: a cube, a mark, or made of parts.
        parts: its shape; the frame is half-way up the bounding box of those that are solid, its mass spread evenly over their volume.
        labels: what is printed on it.
        friction: of its surface; where two things touch, that of the rougher one counts.
        grip: where it is held; None: at its middle, between two faces of a cube.
        instances: what it may be: one of them by chance in each episode, while the others are parked out of sight. They are called `object/instance`, and differ
            from it in label and colours alone. Empty: always itself.
    """

    name: str
    label: str
    edge: float
    mass: float
    rgba: RGBA
    yaw_symmetry: int = 1
    tray: Tray | None = None
    wheel: Wheel | None = None
    parts: tuple[Part, ...] = ()
    labels: tuple[Label, ...] = ()
    friction: float = 1.0
    grip: Grip | None = None
    instances: tuple[ObjectSpec, ...] = ()

    @property
    def bodies(self) -> tuple[ObjectSpec, ...]:
        """What there is of it in the scene: each of its instances, or itself."""
        return self.instances or (self,)

    @property
    def is_mark(self) -> bool:
        return self.mass == 0

    @property
    def half_size(self) -> tuple[float, float, float]:
        """Of its bounding box about the origin [m]; of a tray, as wide all round as it is long."""
        if self.parts:
            return tuple(max(abs(part.centre[i]) + part.half_size[i] for part in self.parts if part.solid) for i in range(3))
        return (self.edge / 2,) * 3

    @property
    def rest_height(self) -> float:
        """Of its origin above what it stands on [m]."""
        if self.tray is not None:
            return self.tray.half_size[2]
        if self.wheel is not None:
            return self.wheel.height
        return 0.0 if self.is_mark else self.half_size[2]

    @property
    def held_at(self) -> Grip:
        """Where a gripper takes hold of it, whatever its shape."""
        return self.grip or Grip(0.0, self.edge / 2)


@dataclass(frozen=True)
class Obstacle:
    """A box that stands fixed in the scene and is in the way.

    Attributes:
        centre, half_size: in the env frame, its faces along the axes [m].
        rgba: colour.
    """

    name: str
    centre: tuple[float, float, float]
    half_size: tuple[float, float, float]
    rgba: RGBA
