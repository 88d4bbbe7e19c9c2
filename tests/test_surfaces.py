"""Materials and surroundings: colours that belong to places, drawn from a seed."""

from __future__ import annotations

import dataclasses
import json
from typing import get_args

import numpy as np
import pytest

from mimicctl.envs.mujoco.appearance import PLAIN, SETTINGS, Appearance, randomised
from mimicctl.surfaces import Pattern, Surface, Surroundings, paint

COLOURS = ((0.8, 0.6, 0.4), (0.5, 0.4, 0.3), (0.1, 0.2, 0.3))


def table(size: int = 60) -> np.ndarray:
    """(size, size, 3) points over half a metre."""
    x, y = np.meshgrid(np.linspace(0.2, 0.7, size), np.linspace(-0.25, 0.25, size))
    return np.stack([x, y, np.zeros_like(x)], axis=-1)


@pytest.mark.parametrize("pattern", [*get_args(Pattern), *get_args(Surroundings)])
def test_a_point_has_its_colour_whichever_points_are_asked_for(pattern):
    surface, points = Surface(pattern, COLOURS, 0.1, 5), table() - (0.45, 0, 0.1)
    whole = paint(surface, points)
    assert whole.shape == points.shape and whole.dtype == np.float32 and whole.min() >= 0 and whole.max() <= 1
    np.testing.assert_array_equal(whole[10:20, 5], paint(surface, points[10:20, 5]))


@pytest.mark.parametrize("pattern", get_args(Pattern))
def test_a_material_has_features_that_are_larger_than_a_pixel_and_depend_on_the_seed(pattern):
    image = paint(Surface(pattern, COLOURS, 0.1, 5), table())
    assert image.std(axis=(0, 1)).max() > 0.02
    # Neighbours are alike, unlike in static.
    assert np.abs(np.diff(image, axis=1)).mean() < 0.8 * np.abs(image - image[::-1, ::-1]).mean()
    assert np.abs(image - paint(Surface(pattern, COLOURS, 0.1, 6), table())).mean() > 0.01


FIELDS = {
    "vanilla": set(),
    "light_intensity": {"light_intensity"},
    "light_color": {"light_colour"},
    "light_texture": {"background"},
    "table_texture": {"table"},
    "robot_texture": {"robot"},
    "all": {"light_intensity", "light_colour", "background", "table", "robot"},
}


@pytest.mark.parametrize("setting", FIELDS)
def test_a_setting_changes_what_it_is_named_after_and_nothing_else(setting):
    assert SETTINGS.keys() == FIELDS.keys()
    for seed in range(20):
        drawn = SETTINGS[setting](np.random.default_rng(seed))
        assert drawn == SETTINGS[setting](np.random.default_rng(seed))
        changed = {field.name for field in dataclasses.fields(Appearance) if getattr(drawn, field.name) != getattr(PLAIN, field.name)}
        assert changed == FIELDS[setting]


def test_light_is_drawn_as_isaac_lab_does():
    draws = [SETTINGS["all"](np.random.default_rng(seed)) for seed in range(200)]
    intensities, colours = np.array([a.light_intensity for a in draws]), np.array([a.light_colour for a in draws])
    assert 1500 <= intensities.min() < 1800 and 9500 < intensities.max() <= 10000
    unclipped = (colours > 0).all(axis=1) & (colours < 1).all(axis=1)
    np.testing.assert_allclose(colours[unclipped].mean(axis=1), 0.75, atol=1e-12)
    assert np.ptp(colours, axis=0).min() > 0.4 and colours.max() <= 1


def test_an_appearance_survives_json():
    for draw in (*SETTINGS.values(), randomised):
        drawn = draw(np.random.default_rng(4))
        assert Appearance.of_dict(json.loads(json.dumps(drawn.as_dict()))) == drawn
