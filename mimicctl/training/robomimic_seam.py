"""The only module that knows robomimic. Nothing of its shape leaks out of here."""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl.errors import UserError
from mimicctl.training.recipes import Recipe

if TYPE_CHECKING:
    from robomimic.algo import PolicyAlgo
    from robomimic.config import Config

INSTALL = 'pip install "mimicctl[train]" && pip install --no-deps robomimic==0.3.0'


def import_robomimic() -> None:
    """Import torch, torchvision and robomimic, mended where they need it.

    Raises:
        UserError: one of them is not installed; says how to get it.
    """
    try:
        import torch

        _mend_torchvision(torch)
        with _silenced():
            import robomimic.algo  # noqa: F401  registers the algorithms
    except ImportError as error:
        raise UserError(f"Training needs a package that is not installed: {error.name or error}.", where="this Python", do=INSTALL) from None


def _mend_torchvision(torch: Any) -> None:
    """PyPI's torchvision is compiled against CUDA; beside a CPU-only torch it fails over operators that nobody here calls."""
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """robomimic prints about itself."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def config_of(recipe: Recipe, dataset: Path, output_dir: Path, seed: int) -> Config:
    """A robomimic config that says everything the recipe does."""
    from robomimic.config import config_factory

    config = config_factory("bc")
    with config.unlocked():
        config.experiment.name = recipe.name
        config.experiment.rollout.enabled = False
        config.experiment.save.every_n_epochs = recipe.save_every
        config.experiment.epoch_every_n_steps = recipe.steps_per_epoch
        train = config.train
        train.data, train.output_dir, train.seed = str(dataset), str(output_dir), seed
        train.batch_size, train.num_epochs = recipe.batch_size, recipe.epochs
        train.seq_length, train.frame_stack = recipe.seq_length, recipe.frame_stack
        train.dataset_keys = ["actions"]
        train.hdf5_normalize_obs = recipe.normalize_obs
        config.algo.optim_params.policy.learning_rate.initial = recipe.learning_rate
        for key, value in recipe.algo.items():
            *parents, last = key.split(".")
            section = config.algo
            for parent in parents:
                section = section[parent]
            section[last] = value
        config.observation.modalities.obs.low_dim = list(recipe.obs_keys)
    return config


def config_from_json(path: Path) -> tuple[Config, Recipe]:
    """A robomimic config file (Isaac Lab's, for instance), and what our loop needs to know of it.

    Raises:
        UserError: not JSON, an unknown algorithm or key, or image observations.
    """
    from robomimic.config import config_factory

    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read the config: {error}.", where=str(path), do="give a robomimic JSON file") from None
    if values.get("algo_name") != "bc":
        raise UserError(f"Only BC configs are supported, not {values.get('algo_name')!r}.", where=str(path), do='use a config with "algo_name": "bc"')
    config = config_factory("bc")
    try:
        with config.values_unlocked():
            config.update(values)
    except Exception as error:
        raise UserError(f"robomimic refuses the config: {error}.", where=str(path), do="correct the key") from None
    observed = config.observation.modalities.obs
    if observed.rgb or observed.depth or observed.scan:
        raise UserError("The config observes images, which this version does not train on.", where=str(path), do="use a low-dimensional config")
    recipe = Recipe(
        name=config.experiment.name,
        description=f"robomimic config {path.name}",
        epochs=config.train.num_epochs,
        steps_per_epoch=config.experiment.epoch_every_n_steps or 100,
        batch_size=config.train.batch_size,
        learning_rate=config.algo.optim_params.policy.learning_rate.initial,
        save_every=config.experiment.save.every_n_epochs or config.train.num_epochs,
        normalize_obs=config.train.hdf5_normalize_obs,
        obs_keys=tuple(observed.low_dim),
        seq_length=config.train.seq_length,
        frame_stack=config.train.frame_stack,
    )
    return config, recipe


def make_algo(config: Config, obs_shapes: Mapping[str, Sequence[int]], action_dim: int, device: str) -> PolicyAlgo:
    """The network, on `device`, with its optimiser."""
    import robomimic.utils.obs_utils as ObsUtils
    import torch
    from robomimic.algo import algo_factory

    with _silenced():
        ObsUtils.initialize_obs_utils_with_config(config)
        shapes = OrderedDict((key, list(obs_shapes[key])) for key in sorted(obs_shapes))
        return algo_factory(config.algo_name, config, obs_key_shapes=shapes, ac_dim=action_dim, device=torch.device(device))


@contextlib.contextmanager
def true_noise(algo: PolicyAlgo) -> Iterator[None]:
    """Evaluation mode, but with the spread that a mixture head has learned.

    robomimic narrows it to almost nothing for rollouts, and the likelihood of data under that means nothing.
    """
    policy = algo.nets["policy"]
    narrow = getattr(policy, "low_noise_eval", None)
    algo.set_eval()
    if narrow is not None:
        policy.low_noise_eval = False
    try:
        yield
    finally:
        if narrow is not None:
            policy.low_noise_eval = narrow


def checkpoint_contents(
    algo: PolicyAlgo,
    config: Config,
    env_args: Mapping[str, Any],
    obs_shapes: Mapping[str, Sequence[int]],
    action_dim: int,
    obs_stats: Mapping[str, Mapping[str, np.ndarray]] | None,
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """What robomimic 0.3.0 stores in a .pth file, and `extra` under a key of ours that it ignores."""
    contents = {
        "model": algo.serialize(),
        "config": config.dump(),
        "algo_name": config.algo_name,
        "env_metadata": dict(env_args),
        "shape_metadata": {
            "ac_dim": action_dim,
            "all_shapes": OrderedDict((key, list(obs_shapes[key])) for key in sorted(obs_shapes)),
            "all_obs_keys": sorted(obs_shapes),
            "use_images": False,
        },
        "mimicctl": dict(extra),
    }
    if obs_stats is not None:
        contents["obs_normalization_stats"] = {k: {name: v.tolist() for name, v in s.items()} for k, s in obs_stats.items()}
    return contents


def save_atomically(contents: dict[str, Any], path: Path) -> None:
    """torch.save beside the target, then rename."""
    import torch

    partial = path.with_name(f".{path.name}.partial")
    torch.save(contents, partial)
    os.replace(partial, path)


def load_checkpoint(path: Path, device: str) -> tuple[PolicyAlgo, dict[str, Any]]:
    """The network of a robomimic checkpoint, in evaluation mode, and the checkpoint's contents.

    Raises:
        UserError: not a robomimic checkpoint.
    """
    import_robomimic()
    import torch
    from robomimic.config import config_factory

    try:
        contents = torch.load(path, map_location=device, weights_only=False)
        values = json.loads(contents["config"])
        shapes, action_dim = contents["shape_metadata"]["all_shapes"], contents["shape_metadata"]["ac_dim"]
    except Exception as error:
        raise UserError(f"This is not a robomimic checkpoint ({type(error).__name__}).", where=str(path), do="give a model_epoch_N.pth") from None
    config = config_factory(contents["algo_name"])
    with config.values_unlocked():
        config.update(values)
    algo = make_algo(config, shapes, action_dim, device)
    algo.deserialize(contents["model"])
    algo.set_eval()
    return algo, contents
