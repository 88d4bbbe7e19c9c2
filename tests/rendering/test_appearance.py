"""Scenes in other light and of other materials, on real OpenGL."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mimicctl.envs import make_env
from mimicctl.envs.mujoco.appearance import PLAIN, SETTINGS, Appearance, randomised
from mimicctl.envs.mujoco.cameras import SceneRenderer, cameras_of
from mimicctl.tasks import find_task
from tests.rendering.conftest import COSMOS

pytestmark = pytest.mark.render

CLASSES = {"table": (255, 237, 218, 255), "robot": (204, 110, 248, 255), "background": (200, 200, 200, 255)}
CUBES = {2: (120, 230, 255, 255), 0: (255, 36, 66, 255), 1: (55, 255, 139, 255)}
"""Channel of a cube's colour to that of its segmentation."""


@pytest.fixture(scope="module")
def scene():
    """A renderer and joint positions."""
    task = find_task(COSMOS)
    env = make_env(task)
    env.reset([0], [np.random.SeedSequence(5)])
    renderer = SceneRenderer(task, "performance", cameras_of(task, 80))
    yield renderer, env.reader.qpos(env.snapshot()[0])
    renderer.close()


def seen(scene, appearance: Appearance) -> dict[str, np.ndarray]:
    renderer, qpos = scene
    renderer.wear(appearance)
    return renderer.images(qpos)


def part(images: dict[str, np.ndarray], colour: tuple[int, ...]) -> np.ndarray:
    """Pixels (P, 3) of a class."""
    return images["table_cam"][(images["table_cam_segmentation"] == np.array(colour, np.uint8)).all(axis=-1)].astype(float)


def test_after_any_other_the_plain_appearance_is_what_it_was_to_the_bit(scene):
    before = seen(scene, PLAIN)
    for draw in (*SETTINGS.values(), randomised):
        seen(scene, draw(np.random.default_rng(2)))
        after = seen(scene, PLAIN)
        assert all(np.array_equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize(
    ("setting", "others_stay"), [("table_texture", ("robot", "background")), ("robot_texture", ("table", "background")), ("light_texture", ())]
)
def test_a_material_shows_on_its_thing_only(scene, setting, others_stay):
    changes = {"table_texture": "table", "robot_texture": "robot", "light_texture": "background"}[setting]
    plain, other = seen(scene, PLAIN), seen(scene, SETTINGS[setting](np.random.default_rng(1)))
    difference = {name: np.abs(part(plain, colour) - part(other, colour)).mean() for name, colour in CLASSES.items()}
    assert difference[changes] > 8
    assert all(difference[name] < 0.5 for name in others_stay)
    assert all(np.array_equal(plain[key], other[key]) for key in plain if key not in ("table_cam", "wrist_cam"))


def test_more_light_is_brighter_everywhere_on_textures_too_and_its_colour_tints(scene):
    plain = seen(scene, PLAIN)
    bright = seen(scene, dataclasses.replace(PLAIN, light_intensity=4500.0))
    red = seen(scene, dataclasses.replace(PLAIN, light_colour=(1.0, 0.6, 0.6)))
    for colour in (*CLASSES.values(), *CUBES.values()):
        assert part(bright, colour).mean() > 1.08 * part(plain, colour).mean()
        ratio = part(red, colour).mean(axis=0) / part(plain, colour).mean(axis=0)
        assert ratio[0] > 1.05 > 0.95 > max(ratio[1:])


def test_a_lamp_from_the_side_brightens_that_side_of_things(scene):
    left, right = (seen(scene, dataclasses.replace(PLAIN, light_direction=(0.0, y, -1.0))) for y in (-2.0, 2.0))
    facing = left["table_cam_normals"][..., 1] * 2 - 1
    assert (left["table_cam"][facing > 0.7].mean() - right["table_cam"][facing > 0.7].mean()) > 10
    assert (right["table_cam"][facing < -0.7].mean() - left["table_cam"][facing < -0.7].mean()) > 10


def test_cubes_keep_their_colours_in_whatever_is_drawn(scene):
    for seed in range(6):
        images = seen(scene, randomised(np.random.default_rng(seed)))
        for channel, colour in CUBES.items():
            assert np.argmax(part(images, colour).mean(axis=0)) == channel
