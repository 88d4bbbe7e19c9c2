"""A policy that LeRobot trained, acting for many envs at once."""

from __future__ import annotations

import io
import json
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl.errors import UserError
from mimicctl.training.lerobot_trainer import FACTS, INSTALL

if TYPE_CHECKING:
    import torch

_TOGETHER = 8
"""Rows of a call of the network, always: see `mimicctl.training.policy`."""

_IMAGES = "observation.images."
_KNOWN = ("act", "diffusion")


class LeRobotPolicy:
    """A folder of weights (safetensors) and JSON, from which nothing is executed. Acts as `mimicctl.training.policy.Policy` does.

    It answers with several actions at a time, which are done one after the other before it is asked again; each env has its own. What a policy draws by
    chance depends on `seed`, the episode and the step alone.

    Args:
        path: LeRobot's folder `pretrained_model`.
        seed: of what is drawn.

    Raises:
        UserError: lerobot is missing, it is no checkpoint, or mimicctl did not train it and nobody knows what it observes.
    """

    def __init__(self, path: Path, seed: int = 0) -> None:
        self.path, self._seed = path, seed
        self.facts = _facts(path)
        self.env_args: dict[str, Any] = self.facts.get("env_args", {})
        self._parts: dict[str, list[tuple[str, tuple[int, ...]]]] = {
            name: [(key, tuple(shape)) for key, shape in parts] for name, parts in self.facts["observed"].items()
        }
        self._model, self._before, self._after = _load(path)
        config = self._model.config
        self._parts = {name: parts for name, parts in self._parts.items() if name in config.input_features}
        self.rgb_keys = [parts[0][0] for name, parts in self._parts.items() if name.startswith(_IMAGES)]
        shapes = {key: (shape, name) for name, parts in self._parts.items() for key, shape in parts}
        self.obs_shapes = {key: (shape[2], *shape[:2]) if name.startswith(_IMAGES) else shape for key, (shape, name) in shapes.items()}
        self.obs_keys = tuple(self.obs_shapes)
        self.action_dim: int = config.output_features["action"].shape[0]
        self._draws_inside = config.type == "diffusion"
        # Policies that look back take observations with an axis of time; ACT takes them without.
        self._window = None if config.type == "act" else config.n_obs_steps
        self._ahead = config.n_action_steps

    def start(self, rows: int) -> None:
        """Begin episodes 0, 1, ... in `rows` envs."""
        self._actions: list[deque[np.ndarray]] = [deque() for _ in range(rows)]
        self._seen: list[deque[dict[str, torch.Tensor]]] = [deque(maxlen=self._window or 1) for _ in range(rows)]
        self._draws = [self._chance(row) for row in range(rows)]

    def restart(self, row: int, episode: int) -> None:
        """Begin episode number `episode` in one env."""
        self._actions[row].clear()
        self._seen[row].clear()
        self._draws[row] = self._chance(episode)

    def _chance(self, episode: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(episode,)))

    def act(self, observations: Mapping[str, np.ndarray], rows: Sequence[int]) -> np.ndarray:
        """Actions (n, A) for the envs `rows`, from their observations, key to (n, D), or images (n, H, W, C) uint8."""
        rows = list(rows)
        waiting = [i for i, row in enumerate(rows) if not self._actions[row]]
        # One that looks back has to have seen every step; others only those at which they are asked.
        for i in range(len(rows)) if self._window else waiting:
            self._look(rows[i], {key: observations[key][i] for key in self.obs_keys})
        at_once = 1 if self._draws_inside else _TOGETHER
        for first in range(0, len(waiting), at_once):
            self._ask([rows[i] for i in waiting[first : first + at_once]], at_once)
        return np.stack([self._actions[row].popleft() for row in rows])

    def _look(self, row: int, observed: Mapping[str, np.ndarray]) -> None:
        import torch

        features: dict[str, torch.Tensor] = {}
        for name, parts in self._parts.items():
            if name.startswith(_IMAGES):
                features[name] = torch.from_numpy(np.ascontiguousarray(np.moveaxis(observed[parts[0][0]], -1, 0))).float() / 255
            else:
                features[name] = torch.from_numpy(np.concatenate([observed[key].reshape(-1) for key, _ in parts]).astype(np.float32))
        seen = self._seen[row]
        seen.append(features)
        while len(seen) < (self._window or 1):  # before the first step it was as at the first
            seen.append(features)

    def _ask(self, rows: list[int], at_once: int) -> None:
        """Fill the actions of these envs, of which there are at most `at_once`."""
        import torch

        asked = rows + [rows[0]] * (at_once - len(rows))
        if self._draws_inside:
            torch.manual_seed(int(self._draws[rows[0]].integers(2**63)))
        batch = {}
        for name in self._parts:
            steps = [torch.stack([seen[name] for seen in self._seen[row]]) for row in asked]
            batch[name] = torch.stack(steps) if self._window else torch.stack(steps)[:, -1]
        with torch.no_grad():
            chunk = self._model.predict_action_chunk(self._normalised(batch))[: len(rows), : self._ahead]
            actions = self._after(chunk.reshape(-1, chunk.shape[-1])).reshape(chunk.shape).cpu().numpy()
        for row, ahead in zip(rows, actions, strict=True):
            self._actions[row].extend(ahead)

    def _normalised(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """By LeRobot's own steps, which know no axis of time."""
        leading = {name: value.shape[: 2 if self._window else 1] for name, value in batch.items()}
        flat = {name: value.reshape(math.prod(leading[name]), *value.shape[len(leading[name]) :]) for name, value in batch.items()}
        done = self._before(flat)
        return {name: done[name].reshape(*leading[name], *done[name].shape[1:]) for name in batch}


def _facts(path: Path) -> dict[str, Any]:
    """What `train` noted beside the weights, or, of a run that is still going on, in its folder."""
    for candidate in (path / FACTS, path.parents[min(3, len(path.parents) - 1)] / "lineage.json"):
        try:
            facts = json.loads(candidate.read_text())
        except (OSError, ValueError):
            continue
        if isinstance(facts, dict) and "observed" in facts:
            return facts
    what = f"The checkpoint has no {FACTS}, so nobody knows which observations its features are made of."
    raise UserError(what, where=str(path), do="give one that mimicctl train --algo act or diffusion made")


def _load(path: Path) -> tuple[Any, Any, Any]:
    """Network, and what goes before and after it.

    Raises:
        UserError: lerobot is missing, or this is no checkpoint of its.
    """
    try:
        from lerobot.configs.policies import PreTrainedConfig
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors
    except ImportError as error:
        raise UserError(f"The policy needs a package that is not installed: {error.name or error}.", where=str(path), do=INSTALL) from None
    try:
        # It tells on stdout what it does, which is where results go.
        with redirect_stdout(io.StringIO()):
            return _loaded(path, PreTrainedConfig.from_pretrained(path), get_policy_class, make_pre_post_processors)
    except UserError:
        raise
    except Exception as error:
        what = f"This is not a checkpoint that LeRobot can load ({type(error).__name__}: {error})."
        raise UserError(what, where=str(path), do="give a folder pretrained_model") from None


def _loaded(path: Path, config: Any, get_policy_class: Callable[[str], Any], make_processors: Callable[..., tuple[Any, Any]]) -> tuple[Any, Any, Any]:
    if config.type not in _KNOWN:
        raise UserError(f'The policy is of the type "{config.type}"; {" and ".join(_KNOWN)} are what is rolled out here.', where=str(path))
    config.device = "cpu"
    config.pretrained_backbone_weights = None  # its weights are in the checkpoint
    model = get_policy_class(config.type).from_pretrained(path, config=config)
    model.eval()
    before, after = make_processors(config, pretrained_path=str(path), preprocessor_overrides={"device_processor": {"device": "cpu"}})
    return model, before, after
