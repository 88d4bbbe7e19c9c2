"""How a scene looks, apart from what is where: light, surroundings, materials. Plain data, and how to draw it by chance.

Settings and ranges are those of Isaac Lab's robust evaluation. What matters to a task, the colours of its objects, is never changed.
"""

from __future__ import annotations

import colorsys
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mimicctl.surfaces import RGB, Surface

DEFAULT_INTENSITY, DEFAULT_COLOUR, DEFAULT_DIRECTION = 3000.0, (0.75, 0.75, 0.75), (-0.10, 0.12, -1.0)

_GAMMA = 2.2
"""Pictures hold a power of the light: so much more of it makes them only that little brighter."""


@dataclasses.dataclass(frozen=True)
class Appearance:
    """The default is how scenes are drawn otherwise, to the bit.

    Attributes:
        light_intensity: 3000 by default, Isaac Lab's number for its dome.
        light_colour: RGB of the light, linear, 0 to 1.
        light_direction: where the lamp that shapes things shines, in the env frame, any length, downwards.
        background: the surroundings; they tint the light from all around. None: plain grey.
        table, robot: materials; None: light boards, and the arm's own colours. The robot's is multiplied by those colours.
    """

    light_intensity: float = DEFAULT_INTENSITY
    light_colour: RGB = DEFAULT_COLOUR
    light_direction: tuple[float, float, float] = DEFAULT_DIRECTION
    background: Surface | None = None
    table: Surface | None = None
    robot: Surface | None = None

    @property
    def gain(self) -> np.ndarray:
        """(3,) by how much more or less of each colour a picture has for the light's intensity and colour."""
        light = self.light_intensity / DEFAULT_INTENSITY * np.array(self.light_colour) / DEFAULT_COLOUR
        return light ** (1 / _GAMMA)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return dataclasses.asdict(self)

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> Appearance:
        """The inverse of `as_dict`, also after it has been through JSON."""
        surfaces = {key: _surface(data[key]) for key in ("background", "table", "robot") if data.get(key)}
        return cls(data["light_intensity"], tuple(data["light_colour"]), tuple(data["light_direction"]), **surfaces)


def _surface(data: Mapping[str, Any]) -> Surface:
    return Surface(data["pattern"], tuple(tuple(colour) for colour in data["colours"]), data["scale"], data["seed"])


PLAIN = Appearance()


# One setting of Isaac Lab's robust evaluation at a time ------------------------------------------------------


def vanilla(rng: np.random.Generator) -> Appearance:
    """Nothing is changed."""
    return PLAIN


def light_intensity(rng: np.random.Generator) -> Appearance:
    """From half of the light to more than three times as much."""
    return dataclasses.replace(PLAIN, light_intensity=float(rng.uniform(1500, 10000)))


def light_color(rng: np.random.Generator) -> Appearance:
    """Another colour of light that is as bright."""
    return dataclasses.replace(PLAIN, light_colour=_tinted(rng, 0.4))


def light_texture(rng: np.random.Generator) -> Appearance:
    """Another sky or room around the scene, and the light that comes from it."""
    return dataclasses.replace(PLAIN, background=_surroundings(rng))


def table_texture(rng: np.random.Generator) -> Appearance:
    """Mostly another wood; else marble or steel."""
    pattern = rng.choice(["wood", "marble", "metal"], p=[10 / 12, 1 / 12, 1 / 12])
    return dataclasses.replace(PLAIN, table=_material(rng, str(pattern)))


def robot_texture(rng: np.random.Generator) -> Appearance:
    """Another metal."""
    return dataclasses.replace(PLAIN, robot=_material(rng, "metal", scale=(0.03, 0.08)))


def all_at_once(rng: np.random.Generator) -> Appearance:
    """All of the above."""
    lit = dataclasses.replace(light_color(rng), light_intensity=light_intensity(rng).light_intensity)
    return dataclasses.replace(lit, background=light_texture(rng).background, table=table_texture(rng).table, robot=robot_texture(rng).robot)


SETTINGS: dict[str, Callable[[np.random.Generator], Appearance]] = {
    "vanilla": vanilla,
    "light_intensity": light_intensity,
    "light_color": light_color,
    "light_texture": light_texture,
    "table_texture": table_texture,
    "robot_texture": robot_texture,
    "all": all_at_once,
}
"""Isaac Lab's name of a setting to how it is drawn."""


# For augmentation --------------------------------------------------------------------------------------------

_TABLES = ("wood", "wood", "marble", "stone", "metal", "concrete", "stripes", "tiles", "blotches", "gradient")
_ROBOTS = ("metal", "metal", "concrete", "blotches", "marble", "stripes", "gradient")


def randomised(rng: np.random.Generator) -> Appearance:
    """Everything at once, in moderation: more kinds of materials than the robust evaluation has, and less extreme light."""
    tilt, turn = np.tan(rng.uniform(0, np.radians(45))), rng.uniform(0, 2 * np.pi)
    return Appearance(
        light_intensity=float(np.exp(rng.uniform(np.log(1500), np.log(6000)))),
        light_colour=_tinted(rng, 0.25),
        light_direction=(float(tilt * np.cos(turn)), float(tilt * np.sin(turn)), -1.0),
        background=_surroundings(rng),
        table=_material(rng, str(rng.choice(_TABLES))),
        robot=_material(rng, str(rng.choice(_ROBOTS)), scale=(0.03, 0.10)),
    )


def _tinted(rng: np.random.Generator, most: float) -> RGB:
    shift = rng.uniform(-most, most, 3)
    return tuple(np.clip(DEFAULT_COLOUR + shift - shift.mean(), 0, 1).tolist())


_WIDTHS = {"wood": (0.08, 0.20), "tiles": (0.06, 0.20), "stripes": (0.04, 0.20), "metal": (0.06, 0.20)}
"""Scale of a pattern on a table [m]."""


def _material(rng: np.random.Generator, pattern: str, scale: tuple[float, float] | None = None) -> Surface:
    low, high = scale or _WIDTHS.get(pattern, (0.10, 0.35))
    return Surface(pattern, _COLOURS.get(pattern, _any_colours)(rng), float(rng.uniform(low, high)), int(rng.integers(1 << 31)))


def _surroundings(rng: np.random.Generator) -> Surface:
    pattern = str(rng.choice(["clouds", "room", "studio"], p=[3 / 11, 7 / 11, 1 / 11]))
    return Surface(pattern, _COLOURS[pattern](rng), seed=int(rng.integers(1 << 31)))


def _hsv(rng: np.random.Generator, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]) -> RGB:
    return tuple(float(part) for part in colorsys.hsv_to_rgb(rng.uniform(*hue) % 1, rng.uniform(*saturation), rng.uniform(*value)))


def _shaded(colour: RGB, by: float) -> RGB:
    return tuple(min(1.0, part * by) for part in colour)


def _any_colours(rng: np.random.Generator) -> tuple[RGB, RGB, RGB]:
    """Muted, so that the objects of a task stand out."""
    first, second, third = (_hsv(rng, (0, 1), (0.05, 0.45), (0.25, 0.9)) for _ in range(3))
    return first, second, third


def _wood_colours(rng: np.random.Generator) -> tuple[RGB, RGB, RGB]:
    light = _hsv(rng, (0.04, 0.12), (0.25, 0.7), (0.3, 0.9))
    return light, _shaded(light, rng.uniform(0.5, 0.8)), _shaded(light, 0.35)


def _marble_colours(rng: np.random.Generator) -> tuple[RGB, RGB, RGB]:
    base = _hsv(rng, (0, 1), (0.0, 0.15), (0.15, 0.95))
    vein = _hsv(rng, (0, 1), (0.0, 0.3), (0.1, 0.4)) if max(base) > 0.5 else _hsv(rng, (0, 1), (0.0, 0.2), (0.7, 0.95))
    return base, _shaded(base, rng.uniform(0.75, 0.95)), vein


def _metal_colours(rng: np.random.Generator) -> tuple[RGB, RGB, RGB]:
    hue, colourful = [((0.55, 0.65), (0.0, 0.12)), ((0.06, 0.14), (0.3, 0.65))][int(rng.random() < 0.35)]  # steel; copper, brass, rust
    base = _hsv(rng, hue, colourful, (0.35, 0.9))
    return base, _shaded(base, rng.uniform(0.55, 0.8)), _hsv(rng, (0.03, 0.12), (0.1, 0.5), (0.2, 0.6))


def _dull_colours(rng: np.random.Generator) -> tuple[RGB, RGB, RGB]:
    base = _hsv(rng, (0, 1), (0.0, 0.25), (0.25, 0.9))
    return base, _shaded(base, rng.uniform(0.65, 0.9)), _hsv(rng, (0, 1), (0.0, 0.3), (0.15, 0.9))


def _cloud_colours(rng: np.random.Generator) -> tuple[RGB, RGB, RGB]:
    return _hsv(rng, (0.53, 0.64), (0.1, 0.6), (0.4, 0.95)), _hsv(rng, (0.08, 0.35), (0.1, 0.5), (0.15, 0.5)), _hsv(rng, (0.05, 0.3), (0.1, 0.5), (0.2, 0.7))


def _room_colours(rng: np.random.Generator) -> tuple[RGB, RGB, RGB]:
    return _hsv(rng, (0, 1), (0.0, 0.3), (0.35, 0.95)), _hsv(rng, (0.02, 0.14), (0.1, 0.5), (0.2, 0.6)), _hsv(rng, (0, 1), (0.1, 0.6), (0.2, 0.8))


_COLOURS: dict[str, Callable[[np.random.Generator], tuple[RGB, RGB, RGB]]] = {
    "wood": _wood_colours,
    "marble": _marble_colours,
    "metal": _metal_colours,
    "concrete": _dull_colours,
    "stone": _dull_colours,
    "clouds": _cloud_colours,
    "room": _room_colours,
    "studio": _any_colours,
}
