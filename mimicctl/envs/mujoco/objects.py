"""The free objects of a scene as MuJoCo bodies: cubes, trays, steering wheels, what is made of parts; and where those are parked that an episode has no use for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl.envs.mujoco import panda
from mimicctl.tasks.objects import ObjectSpec, Part

if TYPE_CHECKING:
    import mujoco

FRICTION = (1.0, 0.005, 0.0001)
SOLREF = (0.01, 1.0)

_CONTACT = {
    "solref": SOLREF,
    "condim": 4,
    "contype": panda.OBJECT_TYPE,
    "conaffinity": panda.ROBOT_TYPE | panda.OBJECT_TYPE | panda.FIXTURE_TYPE,
}
_HANDLE_RGBA = (0.85, 0.70, 0.30, 1.0)

_SPOKE_RGBA, _POST_RGBA, _RIM_PARTS = (0.60, 0.60, 0.62, 1.0), (0.60, 0.10, 0.10, 1.0), 18

_ROUND = 24
"""Corners of a frustum's rim."""

_PARKED = (10.0, 10.0, 10.0)
"""Where the first of those stands that are not in the scene [m]. It is Isaac Lab's place for them; there they fall from it."""
_PARKED_APART, _SHELF = 0.5, 0.05
"""From one of them to the next, and half the thickness of what they stand on [m]."""


def add_objects(spec: mujoco.MjSpec, items: Sequence[ObjectSpec]) -> None:
    """Every object; one of instances as all of them, which stand on a shelf out of sight until an episode puts one into the scene."""
    import mujoco

    for item in items:
        if not item.instances:
            _add_object(spec, item, (0.5, 0.0, item.rest_height))
    x, y, z = _PARKED
    parked = [instance for item in items for instance in item.instances]
    for number, instance in enumerate(parked):
        _add_object(spec, instance, (x, y + number * _PARKED_APART, z + instance.rest_height))
    if parked:
        half = len(parked) * _PARKED_APART / 2
        centre, size = (x, y + half - _PARKED_APART / 2, z - _SHELF), (_PARKED_APART / 2, half, _SHELF)
        unseen, fixed = (0.0, 0.0, 0.0, 0.0), {"contype": panda.FIXTURE_TYPE, "conaffinity": panda.OBJECT_TYPE}
        spec.worldbody.add_geom(name="shelf", type=mujoco.mjtGeom.mjGEOM_BOX, pos=centre, size=size, rgba=unseen, friction=FRICTION, solref=SOLREF, **fixed)


def _add_object(spec: mujoco.MjSpec, item: ObjectSpec, place: tuple[float, float, float]) -> None:
    """A body with a free joint at `place` [m], and geoms that are named after the object."""
    import mujoco

    body = spec.worldbody.add_body(name=item.name, pos=place)
    body.add_freejoint(name=item.name)
    if item.tray is not None:
        _add_tray(body, item)
    elif item.wheel is not None:
        _add_wheel(body, item)
    elif item.parts:
        solid = [part for part in item.parts if part.solid]
        volume = sum(_volume(part) for part in solid)
        for number, part in enumerate(item.parts):
            if part.solid:
                add_part(spec, body, f"{item.name}/{number}", part, mass=item.mass * _volume(part) / volume, **_contact(item))
    else:
        body.add_geom(name=item.name, type=mujoco.mjtGeom.mjGEOM_BOX, size=[item.edge / 2] * 3, mass=item.mass, rgba=item.rgba, **_contact(item))


def _contact(item: ObjectSpec) -> dict[str, Any]:
    """Fields of a geom that others touch."""
    return _CONTACT | {"friction": (item.friction, *FRICTION[1:])}


def add_part(spec: mujoco.MjSpec, body: mujoco.MjsBody, name: str, part: Part, *, mass: float, **fields) -> None:
    """A geom of that name, or, for a shell, one for each of its sides."""
    import mujoco

    kinds, (x, y, z) = mujoco.mjtGeom, part.half_size
    if part.kind == "capsule":
        ends = [middle + sign * along for sign in (-1, 1) for middle, along in zip(part.centre, part.axis, strict=True)]
        body.add_geom(name=name, type=kinds.mjGEOM_CAPSULE, fromto=ends, size=[x - abs(part.axis[0]), 0, 0], rgba=part.rgba, mass=mass, **fields)
        return
    if part.kind == "shell":
        for side, corners in enumerate(_shell(part)):
            _add_hull(spec, body, f"{name}_{side}", part, corners, mass=mass / part.sides, **fields)
        return
    if part.kind in ("frustum", "gable"):
        _add_hull(spec, body, name, part, _frustum(part) if part.kind == "frustum" else _gable(part), mass=mass, **fields)
        return
    kind, size = {
        "box": (kinds.mjGEOM_BOX, (x, y, z)),
        "cylinder": (kinds.mjGEOM_CYLINDER, (x, z, 0.0)),
        "ellipsoid": (kinds.mjGEOM_ELLIPSOID, (x, y, z)),
    }[part.kind]
    body.add_geom(name=name, type=kind, pos=part.centre, size=size, rgba=part.rgba, mass=mass, **fields)


def _add_hull(spec: mujoco.MjSpec, body: mujoco.MjsBody, name: str, part: Part, corners: np.ndarray, **fields) -> None:
    """The convex hull of corners (n, 3) about the part's centre."""
    import mujoco

    spec.add_mesh(name=name, uservert=corners.ravel())
    body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, pos=part.centre, rgba=part.rgba, **fields)


def _frustum(part: Part) -> np.ndarray:
    """(2 n, 3) corners of the rims."""
    return np.concatenate(_rims(part, _ROUND, 0.0))


def _shell(part: Part) -> np.ndarray:
    """(sides, 8, 3) corners of each piece."""
    rims = np.stack([rim for inset in (0.0, part.wall) for rim in _rims(part, part.sides, inset)])
    pieces = np.stack([rims, np.roll(rims, -1, axis=1)])
    return pieces.reshape(8, part.sides, 3).swapaxes(0, 1)


def _rims(part: Part, corners: int, inset: float) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) corners of the lower rim and of the upper one, `inset` [m] towards the middle."""
    angles = 2 * np.pi * np.arange(corners) / corners
    round_ = np.stack([np.cos(angles), np.sin(angles), np.zeros(corners)], axis=-1)
    widest = max(1.0, part.taper)
    lower, upper = (round_ * (np.array(part.half_size) * share - inset) for share in (1 / widest, part.taper / widest))
    lower[:, 2], upper[:, 2] = -part.half_size[2], part.half_size[2]
    return lower, upper


def _gable(part: Part) -> np.ndarray:
    """(6, 3) corners."""
    x, y, z = part.half_size
    return np.array([*((sx * x, sy * y, -z) for sx in (-1, 1) for sy in (-1, 1)), (0, -y, z), (0, y, z)])


def _volume(part: Part) -> float:
    """Of its bounding box, of a shell without the room in it, which is near enough to share a mass out by."""
    x, y, z = part.half_size
    return x * y * z - ((x - part.wall) * (y - part.wall) * z if part.kind == "shell" else 0.0)


def _add_tray(body: mujoco.MjsBody, item: ObjectSpec) -> None:
    """Plate, four walls, and at either end a bar on two posts."""
    import mujoco

    tray = item.tray
    (x, y, z), (bar_x, bar_y, bar_z), (handle_y, handle_z) = tray.half_size, tray.bar, tray.handle
    wall, post = 0.003, 0.005
    wall_z, post_z = z + tray.rim / 2, (handle_z - bar_z) / 2
    parts = [("plate", (0, 0, 0), (x, y, z))]
    for side, sign in (("left", 1), ("right", -1)):
        parts += [
            (f"{side}_wall", (0, sign * (y - wall), wall_z), (x, wall, tray.rim / 2)),
            (f"{side}_ledge", (0, sign * (y + handle_y + bar_y) / 2, 0), (bar_x, (handle_y + bar_y - y) / 2, z)),
            (f"{side}_bar", (0, sign * handle_y, handle_z), tray.bar),
            *((f"{side}_post_{end}", (end * (bar_x - post), sign * handle_y, post_z), (post, bar_y, post_z)) for end in (-1, 1)),
        ]
    parts += [(f"wall_{end}", (end * (x - wall), 0, wall_z), (wall, y, tray.rim / 2)) for end in (-1, 1)]
    volume = sum(float(np.prod(size)) for _, _, size in parts)
    for name, centre, size in parts:
        rgba = _HANDLE_RGBA if name.endswith("_bar") or "_post_" in name else item.rgba
        mass = item.mass * float(np.prod(size)) / volume
        body.add_geom(name=f"{item.name}/{name}", type=mujoco.mjtGeom.mjGEOM_BOX, pos=centre, size=size, mass=mass, rgba=rgba, **_contact(item))


def _add_wheel(body: mujoco.MjsBody, item: ObjectSpec) -> None:
    """Rim of capsules, three spokes, and a post to stand on."""
    import mujoco

    wheel = item.wheel
    turns = 2 * np.pi * np.arange(_RIM_PARTS + 1) / _RIM_PARTS
    ring = [(wheel.radius * np.cos(turn), wheel.radius * np.sin(turn), 0.0) for turn in turns]
    hub = (0.0, 0.0, -wheel.dish)
    tubes = [(f"rim_{i}", start, end, wheel.tube, 0.6 / _RIM_PARTS, item.rgba) for i, (start, end) in enumerate(itertools.pairwise(ring))]
    tubes += [(f"spoke_{i}", hub, ring[i * _RIM_PARTS // 3], 0.007, 0.1 / 3, _SPOKE_RGBA) for i in range(3)]
    for name, start, end, radius, share, rgba in tubes:
        capsule = {"type": mujoco.mjtGeom.mjGEOM_CAPSULE, "fromto": [*start, *end], "size": [radius, 0, 0]}
        body.add_geom(name=f"{item.name}/{name}", mass=share * item.mass, rgba=rgba, **capsule, **_contact(item))
    half = (wheel.height - wheel.dish) / 2
    post = {"type": mujoco.mjtGeom.mjGEOM_CYLINDER, "pos": [0.0, 0.0, half - wheel.height], "size": [wheel.foot, half, 0]}
    body.add_geom(name=f"{item.name}/post", mass=0.3 * item.mass, rgba=_POST_RGBA, **post, **_contact(item))
