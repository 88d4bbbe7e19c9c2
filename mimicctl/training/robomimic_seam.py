"""The only module that knows robomimic, but for `config_file`, which reads its configs. Nothing of its shape leaks out of the two."""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl.errors import UserError
from mimicctl.training.recipes import Recipe

if TYPE_CHECKING:
    import torch
    from robomimic.algo import PolicyAlgo
    from robomimic.config import Config

INSTALL = 'pip install "mimicctl[train]" && pip install --no-deps robomimic==0.3.0'


def import_robomimic() -> None:
    """Import torch, torchvision and robomimic, mended where they need it.

    Raises:
        UserError: one of them is not installed; says how to get it.
    """
    # torch's threads spin while they wait for one another. Where something else takes one of the cores, a step of a small
    # network then lasts five times as long. Must be set before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
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
        import torchvision  # noqa: F401  to see that it loads


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
        train = config.train
        train.seq_length, train.frame_stack = recipe.seq_length, recipe.frame_stack
        train.dataset_keys = ["actions"]
        train.hdf5_normalize_obs = recipe.normalize_obs
        _put(config.algo, recipe.algo)
        _put(config.observation.encoder.rgb, recipe.encoder)
        config.observation.modalities.obs.low_dim = list(recipe.obs_keys)
        config.observation.modalities.obs.rgb = list(recipe.rgb_keys)
    set_run(config, recipe, dataset, output_dir, seed)
    return config


def _put(section: Config, settings: Mapping[str, Any]) -> None:
    """Dotted keys and their values."""
    for key, value in settings.items():
        *parents, last = key.split(".")
        target = section
        for parent in parents:
            target = target[parent]
        target[last] = value


def set_crop(config: Config, height: int, width: int) -> None:
    """Let images be cropped to this size [pixels]: by chance in training, in the middle afterwards."""
    with config.unlocked():
        encoder = config.observation.encoder.rgb
        encoder.obs_randomizer_class = "CropRandomizer"
        encoder.obs_randomizer_kwargs = {"crop_height": height, "crop_width": width, "num_crops": 1, "pos_enc": False}


def set_run(config: Config, recipe: Recipe, dataset: Path, output_dir: Path, seed: int) -> None:
    """Say in the config what this run does: the recipe's numbers as the settings changed them, its data and its seed."""
    with config.unlocked():
        config.experiment.save.every_n_epochs = recipe.save_every
        config.experiment.epoch_every_n_steps = recipe.steps_per_epoch
        train = config.train
        train.data, train.output_dir, train.seed = str(dataset), str(output_dir), seed
        train.batch_size, train.num_epochs = recipe.batch_size, recipe.epochs
        config.algo.optim_params.policy.learning_rate.initial = recipe.learning_rate


def make_algo(config: Config, obs_shapes: Mapping[str, Sequence[int]], action_dim: int, device: str) -> PolicyAlgo:
    """The network, on `device`, with its optimiser.

    Args:
        obs_shapes: as the network sees them: (D,), and (C, H, W) of images.

    Raises:
        UserError: robomimic cannot make it.
    """
    import robomimic.utils.obs_utils as ObsUtils
    import torch
    from robomimic.algo import algo_factory

    _check_crop(config, obs_shapes)
    shapes = OrderedDict((key, list(obs_shapes[key])) for key in sorted(obs_shapes))
    try:
        with _silenced():
            ObsUtils.initialize_obs_utils_with_config(config)
            algo = algo_factory(config.algo_name, config, obs_key_shapes=shapes, ac_dim=action_dim, device=torch.device(device))
            _try_encoders(algo)
            return algo
    except (AssertionError, AttributeError, KeyError, NameError, TypeError, ValueError, OSError) as error:
        # Of classes and arguments that the config names, a package that one of them needs, or weights that cannot be downloaded.
        what = f"robomimic cannot make this network ({type(error).__name__}: {error})."
        raise UserError(what, where="the config's algo and observation.encoder", do="correct it, or use a recipe (mimicctl train --list)") from error


def _try_encoders(algo: PolicyAlgo) -> None:
    """Encode a black image with each of the encoders: some cannot work with the size they were made for, and say so only then."""
    import torch
    from robomimic.models.obs_core import VisualCore

    algo.set_eval()
    with torch.no_grad():
        for module in algo.nets.modules():
            if isinstance(module, VisualCore):
                module(torch.zeros(1, *module.input_shape, device=algo.device))


def _check_crop(config: Config, obs_shapes: Mapping[str, Sequence[int]]) -> None:
    """UserError if images are no larger than what is to be cropped from them."""
    encoder = config.observation.encoder.rgb
    if encoder.obs_randomizer_class != "CropRandomizer":
        return
    height, width = (int(encoder.obs_randomizer_kwargs.get(f"crop_{side}", 76)) for side in ("height", "width"))
    for key in config.observation.modalities.obs.rgb:
        if obs_shapes[key][-2] <= height or obs_shapes[key][-1] <= width:
            size = f"{obs_shapes[key][-2]} x {obs_shapes[key][-1]}"
            raise UserError(
                f"The config crops images to {height} x {width} pixels; those of {key} are {size}, which must be more.",
                where="observation.encoder.rgb.obs_randomizer_kwargs",
                do="render the dataset larger (mimicctl dataset render --image-size), or lower crop_height and crop_width",
            )


def rgb_keys(algo: PolicyAlgo) -> tuple[str, ...]:
    """Observations that are camera images."""
    return tuple(algo.global_config.observation.modalities.obs.rgb)


def device_of(name: str) -> str:
    """torch's name of the device to train on; "auto" is a GPU where there is one.

    Raises:
        UserError: this machine or this torch has no such device.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(f'torch has no device "{name}" here.', where="--device", do="use cpu, or auto") from None
    return name


def network(config: Config) -> dict[str, Any]:
    """What decides the network and its loss, dotted setting to value."""
    values = json.loads(config.dump())
    return dict(_flat({"algo": values["algo"], "observation": values["observation"]}, ""))


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def learning_state(algo: PolicyAlgo) -> dict[str, Any]:
    """Weights, optimiser and schedule: all that training goes on from."""
    schedule = algo.lr_schedulers["policy"]
    return {
        "model": algo.nets.state_dict(),
        "optimizer": algo.optimizers["policy"].state_dict(),
        "schedule": None if schedule is None else schedule.state_dict(),
    }


def restore_learning(algo: PolicyAlgo, state: dict[str, Any]) -> None:
    """Take the parts of `learning_state` out of `state`, into the algorithm."""
    algo.nets.load_state_dict(state.pop("model"))
    algo.optimizers["policy"].load_state_dict(state.pop("optimizer"))
    schedule = state.pop("schedule")
    if schedule is not None:
        algo.lr_schedulers["policy"].load_state_dict(schedule)


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
            "use_images": bool(rgb_keys(algo)),
        },
        "mimicctl": dict(extra),
    }
    if obs_stats is not None:
        contents["obs_normalization_stats"] = {k: {name: _storable(v) for name, v in s.items()} for k, s in obs_stats.items()}
    return contents


def _storable(values: np.ndarray) -> Any:
    """Numbers in a form that torch loads without trusting the file, and robomimic turns into an array. Of images, one number a channel, spread out."""
    import torch

    if values.ndim == 2:
        return values.tolist()
    return torch.from_numpy(values[..., :1, :1].copy()).expand(*values.shape)


def save_atomically(contents: dict[str, Any], path: Path) -> None:
    """torch.save beside the target, then rename. What a network has learnt tells about its data, so the file is for its owner alone."""
    import torch

    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        torch.save(contents, file)
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


@dataclass(frozen=True)
class Mixture:
    """Gaussian mixtures over actions, one a row, drawn from here and not by torch: its one generator would tie every row to all others.

    Attributes:
        cumulative: (n, M) probability of each mode and those before it.
        means, scales: (n, M, A); robomimic's `low_noise_eval` is in the scales.
    """

    cumulative: np.ndarray
    means: np.ndarray
    scales: np.ndarray

    @classmethod
    def of(cls, distribution: torch.distributions.MixtureSameFamily) -> Mixture:
        """Of a batch (n,), or (n, S) of which the last step counts, as a transformer gives it."""
        components = distribution.component_distribution.base_dist
        cumulative = distribution.mixture_distribution.probs.cumsum(-1)
        last = (slice(None), -1) if len(distribution.batch_shape) == 2 else ...
        return cls(*(part[last].cpu().numpy() for part in (cumulative, components.loc, components.scale)))

    def drawn(self, draws: Sequence[np.random.Generator]) -> np.ndarray:
        """One action (A,) a generator, for the first rows."""
        modes = self.means.shape[1]
        actions = []
        for row, draw in enumerate(draws):
            # Rounding may leave the last probability a little below 1.
            mode = min(int((self.cumulative[row] < draw.random()).sum()), modes - 1)
            actions.append(self.means[row, mode] + self.scales[row, mode] * draw.standard_normal(self.means.shape[2], np.float32))
        return np.stack(actions)


def draws_inside(algo: PolicyAlgo) -> bool:
    """Whether the network draws by chance where `answer` cannot draw for it."""
    policy = algo.nets["policy"]
    # Without its noise a Gaussian is its mean; what a VAE decodes is drawn in any case.
    return type(policy).__name__ == "VAEActor" or (type(policy).__name__ == "GaussianActorNetwork" and not policy.low_noise_eval)


def answer(algo: PolicyAlgo, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor | Mixture:
    """Actions (n, A), or what they are drawn from, of a network without memory."""
    policy = algo.nets["policy"]
    if not hasattr(policy, "num_modes"):
        return algo.get_action(obs_dict=inputs)
    return Mixture.of(policy.forward_train(inputs))


def empty_memory(algo: PolicyAlgo, rows: int) -> tuple[torch.Tensor, ...]:
    """What a recurrent network remembers at the beginning, parts (layers, rows, H): two of an LSTM, one of a GRU."""
    state = algo.nets["policy"].get_rnn_init_state(batch_size=rows, device=algo.device)
    return state if isinstance(state, tuple) else (state,)


def answer_with_memory(
    algo: PolicyAlgo, inputs: Mapping[str, torch.Tensor], state: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor | Mixture, tuple[torch.Tensor, ...]]:
    """The same for a recurrent network, and its memory after the step."""
    policy = algo.nets["policy"]
    mixed = hasattr(policy, "num_modes")
    step = policy.forward_train_step if mixed else policy.forward_step
    given, after = step(inputs, rnn_state=state if len(state) > 1 else state[0])
    return Mixture.of(given) if mixed else given, after if isinstance(after, tuple) else (after,)
