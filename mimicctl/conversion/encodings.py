"""What the arrays of a camera look like as pictures. The rules are Isaac Lab's, told apart by words in the key.

    ...normals...               stored (n + 1) / 2, times 255
    ...shaded_segmentation...   made here: the segmentation's colours, darker the less the surface faces up
    ...depth...                 metres, white near and black from 1.5 m on; nothing measured counts as far
    any other                   colours as they are, without alpha

Theirs lets depth beyond 1.5 m wrap around to white, and loses the colours of segmentation that Isaac Lab 3.0 stored with the mean of each
picture taken off; here the one is clipped and the other restored.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mimicctl.errors import UserError

DEFAULT_KEYS = ("table_cam", "wrist_cam", "table_cam_segmentation", "table_cam_normals", "table_cam_shaded_segmentation", "table_cam_depth")

_FAR = 1.5
_NOTHING_MEASURED = 0.01  # of _FAR
_TO_LIGHT = 2  # z: normals are in the env frame, and the light is above

_PALETTE = ((120, 230, 255), (255, 36, 66), (55, 255, 139), (255, 237, 218), (100, 100, 100), (204, 110, 248), (150, 150, 150), (200, 200, 200))
"""Colours of Isaac Lab's segmentation: cubes 1 to 3, table, ground, robot, unlabelled, background."""

Encode = Callable[..., np.ndarray]


def sources(key: str) -> tuple[str, ...]:
    """The stored keys that the picture is made of."""
    if "shaded_segmentation" in key:
        return key.replace("shaded_segmentation", "segmentation"), key.replace("shaded_segmentation", "normals")
    return (key,)


def encoder(key: str) -> Encode:
    """What turns (N, H, W, C) blocks of the `sources` into (N, H, W, 3) uint8 RGB, or (N, H, W) uint8 grey for depth."""
    if "normals" in key:
        return normals
    if "shaded_segmentation" in key:
        return shaded_segmentation
    if "depth" in key:
        return depth
    return segmentation if "segmentation" in key else colours


def colours(stored: np.ndarray) -> np.ndarray:
    """uint8, or floats from 0 to 1 (NaN is black); grey is made RGB, alpha dropped."""
    rgb = stored[..., :3] if stored.shape[-1] >= 3 else np.repeat(stored[..., :1], 3, axis=-1)
    return rgb if rgb.dtype == np.uint8 else _bytes(rgb * 255)


def normals(stored: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) floats from 0 to 1."""
    return stored[..., :3] if stored.dtype == np.uint8 else _bytes(stored[..., :3] * 255)


def depth(stored: np.ndarray) -> np.ndarray:
    """(N, H, W, 1) or (N, H, W) metres."""
    metres = stored[..., 0] if stored.ndim == 4 else stored
    share = np.nan_to_num(metres, nan=0.0, posinf=np.inf, neginf=0.0) / _FAR
    return _bytes(255 * (1 - np.where(share < _NOTHING_MEASURED, 1, np.minimum(share, 1))))


def segmentation(stored: np.ndarray) -> np.ndarray:
    """RGBA colours; those that Isaac Lab 3.0 stored without their mean are restored."""
    if stored.dtype == np.uint8 or not stored.size or stored.min() >= -1e-3:
        return colours(stored)
    return np.stack([_restored(picture[..., :3]) for picture in stored])


def shaded_segmentation(stored: np.ndarray, stored_normals: np.ndarray) -> np.ndarray:
    """Between half and full brightness, by the stored z of the normal: full where a surface faces up, half where it faces down."""
    facing = stored_normals[..., _TO_LIGHT : _TO_LIGHT + 1]
    if facing.dtype == np.uint8:
        facing = facing / np.float32(255)
    return _bytes(segmentation(stored) * (0.5 + 0.5 * np.nan_to_num(facing)))


def _bytes(values: np.ndarray) -> np.ndarray:
    """Clipped to 0...255 and cut to whole numbers."""
    return np.nan_to_num(values, copy=False).clip(0, 255).astype(np.uint8)


def _restored(picture: np.ndarray) -> np.ndarray:
    """Find the shift that makes all colours of one picture those of the palette.

    (H, W, 3) floats, value / 255 less the picture's mean of each channel.
    """
    offsets = np.rint((picture - picture[0, 0]) * 255).astype(np.int64).reshape(-1, 3)
    _, first, where = np.unique((offsets * (1, 1 << 10, 1 << 20)).sum(axis=-1), return_index=True, return_inverse=True)
    distinct = offsets[first]
    for corner in _PALETTE:
        restored = distinct + corner
        if len(distinct) <= len(_PALETTE) and all(tuple(colour) in _PALETTE for colour in restored.tolist()):
            return restored[where].reshape(picture.shape).astype(np.uint8)
    raise UserError(
        "The segmentation was stored with the mean of each picture taken off, in colours that are not Isaac Lab's, so they cannot be restored.",
        do="generate it as uint8 colours, or leave the key out of --input-keys",
    )
