"""What is printed on objects: small pictures of writing and fruit, painted here, and the plates that show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.tasks.objects import Label, ObjectSpec

if TYPE_CHECKING:
    import mujoco

_TEXELS = 6000
"""A metre of label."""
_PLATE = 0.0003
"""Half the thickness of a label [m]."""
_LEAF = (0.20, 0.55, 0.20)
_GLYPH_ROWS, _GLYPH_COLUMNS = 7, 5

# Rows from the top, five bits each, the leftmost the highest.
_GLYPHS = {
    "A": (14, 17, 17, 31, 17, 17, 17),
    "C": (15, 16, 16, 16, 16, 16, 15),
    "E": (31, 16, 16, 30, 16, 16, 31),
    "G": (15, 16, 16, 19, 17, 17, 15),
    "H": (17, 17, 17, 31, 17, 17, 17),
    "I": (14, 4, 4, 4, 4, 4, 14),
    "J": (7, 2, 2, 2, 2, 18, 12),
    "K": (17, 18, 20, 24, 20, 18, 17),
    "M": (17, 27, 21, 21, 17, 17, 17),
    "N": (17, 25, 21, 19, 17, 17, 17),
    "O": (14, 17, 17, 17, 17, 17, 14),
    "P": (30, 17, 17, 30, 16, 16, 16),
    "R": (30, 17, 17, 30, 20, 18, 17),
    "S": (15, 16, 16, 14, 1, 1, 30),
    "T": (31, 4, 4, 4, 4, 4, 4),
    "U": (17, 17, 17, 17, 17, 17, 14),
    " ": (0,) * _GLYPH_ROWS,
}

_TURNS = {"+x": (0.0, 0.0), "-x": (np.pi, 0.0), "+y": (np.pi / 2, 0.0), "-y": (-np.pi / 2, 0.0), "+z": (0.0, -np.pi / 2)}
"""Yaw and then pitch that bring +x to where a label looks."""


def add_labels(spec: mujoco.MjSpec, item: ObjectSpec) -> None:
    """Plates with a texture each, which touch nothing."""
    import mujoco

    for number, label in enumerate(item.labels):
        name, picture = f"{item.name}/label_{number}", paint_label(label)
        height, width, _ = picture.shape
        texture = spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=width, height=height, nchannel=3)
        texture.data = picture.tobytes()
        material = spec.add_material(name=name, rgba=[1.0, 1.0, 1.0, 1.0], specular=0.0, shininess=0.0)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
        size = (*label.half_size, _PLATE)
        spec.body(item.name).add_geom(
            name=name,
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=label.centre,
            quat=poses.wxyz_from_xyzw(poses.quat_from_matrix(_axes(label))),
            size=size,
            material=name,
            contype=0,
            conaffinity=0,
            mass=0.0,
        )


def _axes(label: Label) -> np.ndarray:
    """(3, 3) of the plate in the object's frame: x to the right of who reads it, y up, z out."""
    yaw, pitch = _TURNS[label.facing]
    turn = poses.matrix_from_rotvec(np.array([0.0, 0.0, yaw])) @ poses.matrix_from_rotvec(np.array([0.0, pitch, 0.0]))
    return turn @ np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def paint_label(label: Label) -> np.ndarray:
    """(H, W, 3) uint8, its upper left corner first: the writing, lines under one another, and the fruit below."""
    width, height = (round(2 * half * _TEXELS) for half in label.half_size)
    picture = np.empty((height, width, 3))
    picture[:] = label.paper
    written = height // 2 if label.fruit else height
    line_height = written // max(1, len(label.lines))
    for number, line in enumerate(label.lines):
        _write(picture[number * line_height : (number + 1) * line_height], line, label.ink)
    if label.fruit:
        rows = slice(written if label.lines else 0, height)
        _draw_fruit(picture[rows], label.fruit)
    return np.round(255 * picture).astype(np.uint8)


def _write(area: np.ndarray, line: str, ink: tuple[float, float, float]) -> None:
    """One line in the middle of `area` (H, W, 3), as large as fits."""
    bits = np.concatenate([np.pad(_glyph(letter), ((1, 1), (0, 1))) for letter in line], axis=1)[:, :-1]
    dot = int(min(area.shape[0] / bits.shape[0], 0.9 * area.shape[1] / bits.shape[1]))
    large = np.kron(bits, np.ones((dot, dot))).astype(bool)
    top, left = (area.shape[0] - large.shape[0]) // 2, (area.shape[1] - large.shape[1]) // 2
    area[top : top + large.shape[0], left : left + large.shape[1]][large] = ink


def _glyph(letter: str) -> np.ndarray:
    """(7, 5) of 0 and 1."""
    return np.array([[row >> bit & 1 for bit in reversed(range(_GLYPH_COLUMNS))] for row in _GLYPHS[letter]])


def _draw_fruit(area: np.ndarray, colour: tuple[float, float, float]) -> None:
    """A disc with a highlight and two leaves, in the middle of `area` (H, W, 3)."""
    height, width, _ = area.shape
    radius = 0.42 * min(height, width)
    y, x = np.mgrid[:height, :width]
    x, y = (x - width / 2) / radius, (y - height / 2) / radius
    area[x**2 + y**2 < 1] = colour
    area[(x + 0.4) ** 2 + (y + 0.35) ** 2 < 0.04] = 0.5 + 0.5 * np.array(colour)
    for side in (-1, 1):
        area[((x - side * 0.3) / 0.35) ** 2 + ((y + 0.9 - 0.25 * side * (x - side * 0.3)) / 0.16) ** 2 < 1] = _LEAF
