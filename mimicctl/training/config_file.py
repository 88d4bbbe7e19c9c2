"""Reading robomimic's config files, Isaac Lab's among them: every key known, every value one that can work."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimicctl.errors import UserError
from mimicctl.training.recipes import Recipe

if TYPE_CHECKING:
    from robomimic.config import Config


def config_from_json(path: Path) -> tuple[Config, Recipe]:
    """A robomimic config file (Isaac Lab's, for instance), and what our loop needs to know of it.

    Raises:
        UserError: not a JSON object, an unknown algorithm or key, a value that cannot work, or depth, scan or goal observations.
    """
    from robomimic.config import config_factory

    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read the config: {error}.", where=str(path), do="give a robomimic JSON file") from None
    if not isinstance(values, dict) or values.get("algo_name") != "bc":
        named = values.get("algo_name") if isinstance(values, dict) else None
        raise UserError(f"Only BC configs are supported, not {named!r}.", where=str(path), do='use a config with "algo_name": "bc"')
    config = config_factory("bc")
    _check_keys(values, config, "", path)
    with config.values_unlocked():
        config.update(values)
    _check_values(config, path)
    every = config.experiment.save.every_n_epochs
    recipe = Recipe(
        name=str(config.experiment.name),
        description=f"robomimic config {path.name}",
        epochs=config.train.num_epochs,
        steps_per_epoch=config.experiment.epoch_every_n_steps or 0,
        batch_size=config.train.batch_size,
        learning_rate=config.algo.optim_params.policy.learning_rate.initial,
        save_every=every or config.train.num_epochs,
        normalize_obs=bool(config.train.hdf5_normalize_obs),
        obs_keys=tuple(config.observation.modalities.obs.low_dim),
        rgb_keys=tuple(config.observation.modalities.obs.rgb),
        seq_length=config.train.seq_length,
        frame_stack=config.train.frame_stack,
    )
    return config, recipe


def _check_keys(values: Mapping[str, Any], known: Config, prefix: str, path: Path) -> None:
    """UserError if the file has a key that robomimic's config has not, or a value where it has a section."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key not in known:
            if known.key_lockable:
                near = difflib.get_close_matches(key, list(known), 1)
                raise UserError(f'robomimic has no setting "{name}".', where=str(path), do=f"did you mean {prefix}{near[0]}?" if near else "remove it")
        elif isinstance(known[key], dict):
            if not isinstance(value, dict):
                raise UserError(f'"{name}" is a section of settings, not {value!r}.', where=str(path), do=f'give it as {{"{key}": {{...}}}}')
            _check_keys(value, known[key], f"{name}.", path)


def _check_values(config: Config, path: Path) -> None:
    train, modalities = config.train, config.observation.modalities
    counts = {
        "train.num_epochs": train.num_epochs,
        "train.batch_size": train.batch_size,
        "train.seq_length": train.seq_length,
        "train.frame_stack": train.frame_stack,
        "experiment.epoch_every_n_steps": config.experiment.epoch_every_n_steps or 1,
        "experiment.save.every_n_epochs": config.experiment.save.every_n_epochs or 1,
    }
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{name} is {value!r}.", where=str(path), do="give a whole number above 0")
    rate = config.algo.optim_params.policy.learning_rate.initial
    if not isinstance(rate, (int, float)) or not 0 < rate < float("inf"):
        raise UserError(f"The initial learning rate is {rate!r}.", where=str(path), do="give a number above 0")
    observed = modalities.obs
    for kind in ("depth", "scan"):
        if observed[kind]:
            do = f"empty observation.modalities.obs.{kind}"
            raise UserError(f"The config observes {kind}; only low_dim and rgb are trained on.", where=str(path), do=do)
    if any(modalities.goal[kind] for kind in modalities.goal):
        raise UserError("The config observes goals, which this version does not train on.", where=str(path), do="empty observation.modalities.goal")
    if not all(isinstance(observed[kind], list) for kind in ("low_dim", "rgb")) or not (observed.low_dim or observed.rgb):
        raise UserError("The config observes nothing.", where=str(path), do="list keys in observation.modalities.obs.low_dim or rgb")
