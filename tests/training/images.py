"""Small datasets with camera images, and recipes small enough for tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from mimicctl.dataset.split import split_file
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.schema import Episode
from mimicctl.training.recipes import RECIPES, Recipe
from tests.episodes import make_episode

VISUOMOTOR = "MuJoCo-Stack-Cube-Franka-IK-Rel-Visuomotor-v0"
LOW_DIM_RECIPES = [
    name for name, recipe in RECIPES.items() if not recipe.rgb_keys and {"eef_pos", "gripper_pos"} <= set(recipe.obs_keys) and "swing" not in recipe.obs_keys
]
"""For one arm. Those for a base, for two arms and for what hangs are in `test_base`."""
IMAGE_RECIPES = [name for name, recipe in RECIPES.items() if recipe.rgb_keys]


def seen_episode(number: int = 0, steps: int = 12, size: int = 24) -> Episode:
    """An episode with noise for images: no two frames are the same."""
    episode, rng = make_episode(number, steps), np.random.default_rng(1000 + number)
    episode.obs |= {key: rng.integers(0, 256, (steps, size, size, 3), np.uint8) for key in ("table_cam", "wrist_cam")}
    return episode


def seen_file(path: Path, demos: int = 6, size: int = 24, **lineage: object) -> Path:
    with DatasetWriter(path, task_id=VISUOMOTOR, lineage={"made_by": "a test", **lineage}) as writer:
        for number in range(demos):
            writer.write(seen_episode(number, 10 + number, size))
    split_file(path)
    return path


def small(recipe: Recipe) -> Recipe:
    """Three steps an epoch, four samples a step, and a recurrent network of two dozen units."""
    algo = {**recipe.algo, **({"rnn.hidden_dim": 24} if "rnn.hidden_dim" in recipe.algo else {})}
    return dataclasses.replace(recipe, steps_per_epoch=3, save_every=1, batch_size=4, epochs=1, algo=algo)


def checkpoint_of(run: Path) -> Path:
    """The last one of `image_run`."""
    return run / "models" / "model_epoch_2.pth"
