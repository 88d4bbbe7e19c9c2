"""A trained policy, acting for many envs at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl.training import robomimic_seam as seam

if TYPE_CHECKING:
    import torch


class Policy:
    """Any robomimic BC checkpoint; ours know more about themselves, and others work too.

    Args:
        path: the .pth file.
        device: torch's name of it.
        seed: of what a mixture head draws, from `start` on; torch's own generator is set.

    Raises:
        UserError: not a checkpoint, or a package is missing.
    """

    def __init__(self, path: Path, device: str = "cpu", seed: int = 0) -> None:
        import torch

        self._torch = torch
        self._algo, contents = seam.load_checkpoint(path, device)
        self.path, self._seed = path, seed
        self.facts: dict[str, Any] = contents.get("mimicctl", {})
        self.env_args: dict[str, Any] = contents["env_metadata"]
        self.obs_keys: tuple[str, ...] = tuple(contents["shape_metadata"]["all_obs_keys"])
        stats = contents.get("obs_normalization_stats")
        self._stats = None if stats is None else {k: (np.array(s["mean"], np.float32), np.array(s["std"], np.float32)) for k, s in stats.items()}
        self._action_range = self.facts.get("action_range")
        config = self._algo.global_config
        self._horizon = config.algo.rnn.horizon if config.algo.rnn.enabled else 0
        self._open_loop = bool(self._horizon and config.algo.rnn.open_loop)
        self._context = config.train.frame_stack if config.algo.transformer.enabled else 0

    def start(self, rows: int) -> None:
        """Begin episodes in `rows` envs."""
        self._torch.manual_seed(self._seed)
        self._steps = np.zeros(rows, dtype=int)
        self._memory: tuple[torch.Tensor, ...] | None = None
        self._window: dict[str, np.ndarray] | None = None
        self._held: dict[str, torch.Tensor] = {}
        if self._horizon:
            self._memory = self._algo.nets["policy"].get_rnn_init_state(batch_size=rows, device=self._algo.device)

    def restart(self, row: int) -> None:
        """Begin a new episode in one env."""
        self._steps[row] = 0

    def act(self, observations: Mapping[str, np.ndarray], rows: Sequence[int]) -> np.ndarray:
        """Actions (n, A) for the envs `rows`, from their observations, key to (n, D)."""
        torch, index = self._torch, list(rows)
        observed = {key: self._normalised(key, observations[key]) for key in self.obs_keys}
        if self._context:
            observed = self._stacked(observed, index)
        inputs = {key: torch.from_numpy(np.ascontiguousarray(value)).float().to(self._algo.device) for key, value in observed.items()}
        with torch.no_grad():
            action = self._step_memory(inputs, index) if self._horizon else self._algo.get_action(obs_dict=inputs)
        self._steps[index] += 1
        action = action.cpu().numpy()
        if self._action_range is not None:
            low, high = self._action_range
            action = (action + 1) * (high - low) / 2 + low
        return action

    def _normalised(self, key: str, values: np.ndarray) -> np.ndarray:
        if self._stats is None:
            return values
        mean, std = self._stats[key]
        return (values - mean) / std

    def _step_memory(self, inputs: dict[str, torch.Tensor], index: list[int]) -> torch.Tensor:
        """One recurrent step; like robomimic's, the memory is emptied every `horizon` steps of an episode."""
        torch = self._torch
        fresh = torch.from_numpy(self._steps[index] % self._horizon == 0).to(self._algo.device)
        state = tuple(torch.where(fresh[None, :, None], 0.0, part[:, index]) for part in self._memory)
        if self._open_loop:
            inputs = {key: self._hold(key, value, index, fresh) for key, value in inputs.items()}
        action, state = self._algo.nets["policy"].forward_step(inputs, goal_dict=None, rnn_state=state)
        for whole, part in zip(self._memory, state, strict=True):
            whole[:, index] = part
        return action

    def _hold(self, key: str, values: torch.Tensor, index: list[int], fresh: torch.Tensor) -> torch.Tensor:
        """What was observed when the memory was last emptied: all that an open-loop policy sees."""
        if key not in self._held:
            self._held[key] = values.new_zeros(len(self._steps), values.shape[-1])
        self._held[key][index] = self._torch.where(fresh[:, None], values, self._held[key][index])
        return self._held[key][index]

    def _stacked(self, observed: dict[str, np.ndarray], index: list[int]) -> dict[str, np.ndarray]:
        """The last `context` observations (n, S, D), the first of an episode repeated before it."""
        if self._window is None:
            rows = len(self._steps)
            self._window = {key: np.zeros((rows, self._context, value.shape[-1]), np.float32) for key, value in observed.items()}
        fresh = self._steps[index] == 0
        for key, value in observed.items():
            window = self._window[key][index]
            window = np.where(fresh[:, None, None], value[:, None], np.concatenate([window[:, 1:], value[:, None]], axis=1))
            self._window[key][index] = window
            observed[key] = window
        return observed
