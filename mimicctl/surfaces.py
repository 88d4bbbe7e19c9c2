"""Materials and surroundings made of seeded noise: a colour for every point of space, so that a texture has no seams and fits any shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Pattern = Literal["wood", "marble", "stone", "metal", "concrete", "stripes", "tiles", "blotches", "gradient"]
"""Of a material: painted at points in metres."""

Surroundings = Literal["room", "clouds", "studio"]
"""What is far away: painted at directions, z up."""

RGB = tuple[float, float, float]

_CELLS = 32
"""Period of the noise [cells]."""


@dataclass(frozen=True)
class Surface:
    """A material, or what surrounds the scene.

    Attributes:
        colours: three, 0 to 1, as on a screen; what each is for is the pattern's business.
        scale: size of the pattern's largest features [m]; surroundings do not use it.
        seed: of the noise.
    """

    pattern: Pattern | Surroundings
    colours: tuple[RGB, RGB, RGB]
    scale: float = 0.1
    seed: int = 0


def paint(surface: Surface, points: np.ndarray) -> np.ndarray:
    """Colours (..., 3) float32, 0 to 1, of points (..., 3): metres in the frame of the thing, or directions of any length for surroundings."""
    flat = np.asarray(points, np.float32).reshape(-1, 3)
    rng = np.random.default_rng(surface.seed)
    noise = _Noise(rng)
    if surface.pattern in _SURROUNDINGS:
        flat = flat / np.linalg.norm(flat, axis=1, keepdims=True).clip(1e-9)
        colours = _SURROUNDINGS[surface.pattern](flat, noise, rng, np.array(surface.colours, np.float32))
    else:
        # Turned about the vertical, and set down off the origin, which every lattice has a node at.
        at = (flat @ _turned(rng) / np.float32(surface.scale)) + rng.uniform(1, _CELLS, 3).astype(np.float32)
        colours = _PATTERNS[surface.pattern](at, noise, np.array(surface.colours, np.float32))
    return colours.clip(0, 1).astype(np.float32).reshape(np.shape(points))


class _Noise:
    """Smooth noise in [0, 1] over space, one cell long."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._lattice = rng.random(_CELLS**3, dtype=np.float32)

    def __call__(self, at: np.ndarray, stretch: float | tuple[float, float, float] = 1.0) -> np.ndarray:
        """(P,) at points (P, 3) multiplied by `stretch`."""
        at = at * np.asarray(stretch, np.float32)
        cell = np.floor(at).astype(np.int32)
        part = at - cell
        part = part * part * (3 - 2 * part)
        low, high = (cell & (_CELLS - 1)) * (1, _CELLS, _CELLS**2), ((cell + 1) & (_CELLS - 1)) * (1, _CELLS, _CELLS**2)
        x, y, z = part.T

        def along_x(row: np.ndarray) -> np.ndarray:
            first = self._lattice[low[:, 0] + row]
            return first + x * (self._lattice[high[:, 0] + row] - first)

        def along_y(layer: np.ndarray) -> np.ndarray:
            first = along_x(low[:, 1] + layer)
            return first + y * (along_x(high[:, 1] + layer) - first)

        first = along_y(low[:, 2])
        return first + z * (along_y(high[:, 2]) - first)

    def rough(self, at: np.ndarray, octaves: int) -> np.ndarray:
        """Noise with detail, (P,) about 0.5."""
        total = sum(self(at + np.float32(5.3 * i), 2.0**i) * np.float32(0.5**i) for i in range(octaves))
        return total / np.float32(2 - 0.5 ** (octaves - 1))

    def of_whole(self, number: np.ndarray, salt: int) -> np.ndarray:
        """A random number in [0, 1] for each integer."""
        return self._lattice[(number.astype(np.int64) * 977 + salt * 131) % len(self._lattice)]


# Materials -------------------------------------------------------------------------------------------------


def _wood(at: np.ndarray, noise: _Noise, colours: np.ndarray) -> np.ndarray:
    """Boards along x, each cut from another place of a trunk: early wood, late wood, and the gaps' colour."""
    board = np.floor(at[:, 1])
    first, second = noise.of_whole(board, 1), noise.of_whole(board, 2)
    within = at[:, 1] - board
    across, deep = within - 0.5 + 2 * (first - 0.5), at[:, 2] + 0.3 + 0.7 * second
    trunk = np.stack([at[:, 0] + 20 * first, across, deep], axis=1)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (4 * np.hypot(across, deep) + 2.5 * noise(trunk, (0.5, 1.5, 1.5))))
    fibre = noise(trunk, (1.2, 16.0, 16.0))
    wood = _mix(colours[0], colours[1], 0.5 * rings**2 + 0.3 * fibre + 0.2 * second)
    gap = _step(np.minimum(within, 1 - within), 0.022, 0.008)
    return _mix(wood * (0.9 + 0.2 * first)[:, None], colours[2], 0.7 * gap)


def _marble(at: np.ndarray, noise: _Noise, colours: np.ndarray) -> np.ndarray:
    """Clouds of two colours with veins of a third."""
    bent = noise.rough(at, 4)
    vein = (1 - np.abs(np.sin(np.pi * (at @ np.float32([0.5, 0.8, 0.3]) + 3.5 * bent)))) ** 5
    return _mix(_mix(colours[0], colours[1], _step(noise.rough(at + 11, 3), 0.35, 0.65)), colours[2], 0.8 * vein)


def _stone(at: np.ndarray, noise: _Noise, colours: np.ndarray) -> np.ndarray:
    """Grains of two colours in a third."""
    base = colours[0] * (0.85 + 0.3 * noise.rough(at, 3))[:, None]
    with_first = _mix(base, colours[1], _step(noise(at, 7.0), 0.60, 0.68))
    return _mix(with_first, colours[2], _step(noise(at + 13, 11.0), 0.66, 0.74))


def _metal(at: np.ndarray, noise: _Noise, colours: np.ndarray) -> np.ndarray:
    """Brushed along x, with stains of the third colour."""
    brushed = 0.6 * noise(at, (0.5, 14.0, 14.0)) + 0.4 * noise(at, (0.7, 2.0, 2.0))
    return _mix(_mix(colours[0], colours[1], brushed), colours[2], 0.6 * _step(noise.rough(at, 3), 0.58, 0.75))


def _concrete(at: np.ndarray, noise: _Noise, colours: np.ndarray) -> np.ndarray:
    """Even, worn in places, with pits."""
    worn = _mix(colours[0], colours[1], _step(noise.rough(at, 5), 0.3, 0.7))
    return _mix(worn, colours[2], 0.5 * _step(noise(at, 9.0), 0.85, 0.95))


def _stripes(at: np.ndarray, noise: _Noise, colours: np.ndarray) -> np.ndarray:
    """Broad ones of two colours with a narrow one of a third, woven."""
    place = (at[:, 1] + 0.05 * noise(at)) % 1
    cloth = _mix(colours[0], colours[1], _step(np.abs(place - 0.5), 0.24, 0.26))
    cloth = _mix(cloth, colours[2], _step(np.abs(place - 0.5), 0.06, 0.04))
    return cloth * (0.9 + 0.2 * noise(at, 12.0))[:, None]


def _tiles(at: np.ndarray, noise: _Noise, colours: np.ndarray) -> np.ndarray:
    """Square tiles of two colours, no two quite the same, with joints of the third."""
    tile = np.floor(at)
    chess = tile.sum(axis=1) % 2
    shade = 0.85 + 0.3 * noise.of_whole(tile @ np.float32([1, 57, 139]), 3)
    glazed = np.where(chess[:, None] > 0, colours[0], colours[1]) * (shade + 0.15 * (noise.rough(at + 3, 3) - 0.5))[:, None]
    # Joints in the plane only: seen from the side a thin layer of tiles would be all joint.
    edge = np.abs(at[:, :2] - tile[:, :2] - 0.5).max(axis=1)
    return _mix(glazed, colours[2], _step(edge, 0.46, 0.48))


def _blotches(at: np.ndarray, noise: _Noise, colours: np.ndarray) -> np.ndarray:
    """Patches of three colours, as of flaking paint."""
    patches = _mix(colours[0], colours[1], _step(noise.rough(at, 4), 0.48, 0.52))
    return _mix(patches, colours[2], _step(noise.rough(at + 17, 4), 0.56, 0.60)) * (0.92 + 0.16 * noise(at, 6.0))[:, None]


def _gradient(at: np.ndarray, noise: _Noise, colours: np.ndarray) -> np.ndarray:
    """One colour runs into the next."""
    along = 0.5 + 0.5 * np.sin(1.5 * (at[:, 0] + 0.6 * noise(at)))
    return np.where(along[:, None] < 0.5, _mix(colours[0], colours[1], 2 * along), _mix(colours[1], colours[2], 2 * along - 1))


# Surroundings ----------------------------------------------------------------------------------------------


def _room(towards: np.ndarray, noise: _Noise, rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """Wall, floor, and things before the wall: dark ones, coloured ones, bright windows; all out of focus."""
    turn, height = np.arctan2(towards[:, 1], towards[:, 0]), np.arctan2(towards[:, 2], np.hypot(towards[:, 0], towards[:, 1]))
    seen = _mix(colours[0] * 0.85, colours[0], _step(height, -0.5, 0.6))
    seen = _mix(seen, colours[1], _step(height, rng.uniform(-0.30, -0.24), -0.34))
    for i in range(26):
        width, tall = rng.uniform(0.06, 0.30), rng.uniform(0.05, 0.30)
        middle, foot = rng.uniform(-np.pi, np.pi), rng.uniform(-0.40, 0.25)
        colour = (np.float32([0.95, 0.97, 1.0]), colours[2] * rng.uniform(0.3, 1.0), rng.uniform(0.08, 0.9, 3).astype(np.float32))[i % 3]
        beside = np.abs((turn - middle + np.pi) % (2 * np.pi) - np.pi)
        inside = _step(beside, width + 0.012, width - 0.012) * _step(np.abs(height - foot - tall / 2), tall / 2 + 0.012, tall / 2 - 0.012)
        seen = _mix(seen, colour, inside)
    return seen * (0.94 + 0.12 * noise(towards, 3.0))[:, None]


def _clouds(towards: np.ndarray, noise: _Noise, rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """Sky, clouds and, below the horizon, land."""
    height = np.arctan2(towards[:, 2], np.hypot(towards[:, 0], towards[:, 1]))
    sky = _mix(colours[0] * 0.5 + 0.5, colours[0], _step(height, -0.2, 0.9))
    sky = _mix(sky, np.float32([0.95, 0.95, 0.96]), _step(noise.rough(towards * 3 + 9, 5), 0.42, 0.62))
    land = _mix(colours[1], colours[2], _step(noise.rough(towards * 6 + 4, 4), 0.35, 0.65))
    hills = rng.uniform(-0.26, -0.12) + 0.10 * (noise(towards, 4.0) - 0.5)
    return _mix(land, sky, _step(height - hills, -0.01, 0.01))


def _studio(towards: np.ndarray, noise: _Noise, rng: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """A backdrop that lightens upwards, under a few soft lamps."""
    seen = _mix(colours[0] * 0.4, colours[1], _step(towards[:, 2], -0.6, 0.5))
    for _ in range(5):
        lamp = rng.normal(size=3)
        near = towards @ (lamp / np.linalg.norm(lamp)).astype(np.float32)
        seen = _mix(seen, np.float32([1.0, 0.98, 0.94]), 0.8 * _step(near, 0.80, 0.97))
    return seen * (0.97 + 0.06 * noise(towards, 5.0))[:, None]


_PATTERNS: dict[str, Callable[..., np.ndarray]] = {
    "wood": _wood,
    "marble": _marble,
    "stone": _stone,
    "metal": _metal,
    "concrete": _concrete,
    "stripes": _stripes,
    "tiles": _tiles,
    "blotches": _blotches,
    "gradient": _gradient,
}
_SURROUNDINGS: dict[str, Callable[..., np.ndarray]] = {"room": _room, "clouds": _clouds, "studio": _studio}


def _mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(P, 3) from one colour to the other as `share` (P,) goes from 0 to 1."""
    return (first + (second - first) * share[:, None]).astype(np.float32)


def _step(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """(P,) from 0 at `low` smoothly to 1 at `high`, which may be the lower of the two."""
    part = ((value - low) / (high - low)).clip(0, 1)
    return part * part * (3 - 2 * part)


def _turned(rng: np.random.Generator) -> np.ndarray:
    """(3, 3), any turn about z."""
    sin, cos = np.sin(angle := rng.uniform(0, 2 * np.pi)), np.cos(angle)
    return np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32)
