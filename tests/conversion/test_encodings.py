"""What camera arrays look like as pictures: formulas of Isaac Lab's scripts, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mimicctl.conversion.encodings import encoder, sources
from mimicctl.errors import UserError


def encode(key: str, *values) -> list:
    """The first pixel of pictures of one pixel."""
    return encoder(key)(*(np.array(value)[None, None, None] for value in values))[0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("key", "stored", "shown"),
    [
        ("table_cam", np.array([1, 2, 3], np.uint8), [1, 2, 3]),
        ("wrist_cam", np.array([1, 2, 3, 9], np.uint8), [1, 2, 3]),
        ("table_cam", np.array([7], np.uint8), [7, 7, 7]),
        ("table_cam", [0.5, 1.0, np.nan], [127, 255, 0]),
        ("table_cam_normals", [0.5, 1.0, 0.0], [127, 255, 0]),
        ("table_cam_normals", [1.01, -0.01, np.nan], [255, 0, 0]),
        ("table_cam_segmentation", np.array([120, 230, 255, 255], np.uint8), [120, 230, 255]),
        ("table_cam_segmentation", [120 / 255, 230 / 255, 1.0, 1.0], [120, 230, 255]),
    ],
)
def test_colours(key, stored, shown):
    assert encode(key, stored) == shown


@pytest.mark.parametrize(
    ("metres", "shown"),
    [(0.75, 127), (0.0, 0), (0.0149, 0), (0.016, 252), (1.5, 0), (1.8, 0), (50.0, 0), (np.inf, 0), (np.nan, 0), (-np.inf, 0)],
    ids=["half way", "nothing measured", "almost nothing", "very near", "far", "beyond, where Isaac Lab's wraps to 205", "very far", "inf", "nan", "-inf"],
)
def test_depth(metres, shown):
    assert encode("table_cam_depth", [np.float32(metres)]) == shown


@pytest.mark.parametrize(("z", "shade"), [(1.0, 1.0), (0.5, 0.75), (0.0, 0.5)])
def test_shaded_segmentation_darkens_what_faces_away(z, shade):
    shown = encode("table_cam_shaded_segmentation", np.array([200, 100, 50, 255], np.uint8), np.array([0.5, 0.5, z], np.float32))
    assert shown == [int(shade * 200), int(shade * 100), int(shade * 50)]
    assert sources("table_cam_shaded_segmentation") == ("table_cam_segmentation", "table_cam_normals")


def mean_centred(colours: np.ndarray) -> np.ndarray:
    """As Isaac Lab 3.0 stores (N, H, W, 4) colours: floats without the mean of each channel of each picture."""
    values = colours.astype(np.float32) / 255
    return values - values.mean(axis=(1, 2), keepdims=True)


def test_segmentation_stored_without_its_mean_is_restored():
    palette = np.array([(255, 36, 66, 255), (55, 255, 139, 255), (100, 100, 100, 255), (200, 200, 200, 255)], np.uint8)
    pictures = palette[np.random.default_rng(0).integers(0, 4, (3, 20, 30))]
    assert np.array_equal(encoder("table_cam_segmentation")(mean_centred(pictures)), pictures[..., :3])
    normals = np.full((3, 20, 30, 3), 1.0, np.float32)
    assert np.array_equal(encoder("table_cam_shaded_segmentation")(mean_centred(pictures), normals), pictures[..., :3])


def test_segmentation_of_unknown_colours_without_its_mean_is_refused():
    pictures = np.random.default_rng(0).integers(0, 255, (1, 20, 30, 4), dtype=np.uint8)
    with pytest.raises(UserError, match="cannot be restored"):
        encoder("table_cam_segmentation")(mean_centred(pictures))
