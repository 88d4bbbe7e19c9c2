"""Which recipe a dataset is learnt from with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mimicctl.config import TrainSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.errors import UserError
from mimicctl.tasks import twin_of
from mimicctl.training.recipes import AUTO, RECIPES, Recipe

_SPECIAL = ("mlp-dual", "mlp-locomanipulation", "mlp-humanoid", "mlp-hanging")
"""Recipes for some robots, by what they see; one that sees more comes before one that sees part of it."""
_BY_CONTROL = {"abs": "mlp-abs", "velocity": "mlp-base"}
"""Those that see no more than others do, by what the actions of a task are (`TaskSpec.control`)."""


def choose_recipe(settings: TrainSettings, dataset_path: Path) -> Recipe:
    """The named recipe, with the settings' changes and what it observes of this dataset. "auto" is the one for images, for two arms, for a humanoid, on its way or
    not, or for what hangs and swings, where there is all that it sees, and else the one for what the actions are: velocities of a base, or an arm's absolute or relative ones.

    Raises:
        UserError: there is none of that name, or the dataset cannot be read.
    """
    name = settings.recipe
    if name not in (AUTO, *RECIPES):
        raise UserError(f'There is no recipe "{name}".', where="--recipe", do=f"choose {AUTO} or one of {', '.join(RECIPES)}")
    with Dataset(dataset_path) as dataset:
        seen = set(dataset.group(dataset.demos[0]).get("obs", ()))
        task = twin_of(str(dataset.env_args.get("env_name", "")))
    if name == AUTO:
        wanted = {"image-mlp": RECIPES["image-mlp"].rgb_keys} | {special: RECIPES[special].obs_keys for special in _SPECIAL}
        name = next((special for special, keys in wanted.items() if seen.issuperset(keys)), _BY_CONTROL.get(task.control if task else "", "mlp"))
    recipe = RECIPES[name]
    observed = (*recipe.obs_keys, *(key for key in recipe.optional_keys if key in seen))
    return with_changes(dataclasses.replace(recipe, obs_keys=observed), settings)


def with_changes(recipe: Recipe, settings: TrainSettings) -> Recipe:
    changes = {
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "save_every": settings.save_every,
    }
    return dataclasses.replace(recipe, **{key: value for key, value in changes.items() if value is not None})
