"""A trained policy, acting for many envs at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl.errors import UserError
from mimicctl.training import robomimic_seam as seam
from mimicctl.training.chunks import Chunks

if TYPE_CHECKING:
    import torch


_TOGETHER = 32
"""Rows of a call of the network, always. A batch of another size may be multiplied by another kernel, which rounds differently, and
then the number of envs would show in the actions."""

_IMAGES_TOGETHER = 8
"""The same where there are images, each of which takes so long that to fill up would cost more than it saves."""


class Policy:
    """Any robomimic BC checkpoint; ours know more about themselves, and others work too.

    What a policy draws by chance in an episode depends on `seed`, the episode's number and the step alone: not on which env it
    is in, or on what the others do.

    Args:
        path: the .pth file.
        device: torch's name of it.
        seed: of what a mixture head draws.
        together: rows that the network is called on at once, filled up where there are fewer; None for a number that suits many envs. The
            actions of another number may differ in their last digits.
        action_range: minimum and maximum that actions in [-1, 1] stand for, where the checkpoint does not say.

    Raises:
        UserError: not a checkpoint, one that says another range, or a package is missing.
    """

    def __init__(self, path: Path, device: str = "cpu", seed: int = 0, *, together: int | None = None, action_range: tuple[float, float] | None = None) -> None:
        self._algo, contents = seam.load_checkpoint(path, device)
        # After the line above, which says how to get torch where it is missing.
        import torch

        self._torch = torch
        self.path, self._seed = path, seed
        self.facts: dict[str, Any] = contents.get("mimicctl", {})
        self.env_args: dict[str, Any] = contents["env_metadata"]
        self.obs_shapes: dict[str, tuple[int, ...]] = {key: tuple(shape) for key, shape in contents["shape_metadata"]["all_shapes"].items()}
        chunks = self.facts.get("chunks")
        self._chunks = Chunks.from_facts(chunks) if chunks else None
        self.action_dim: int = self._chunks.action_dim if self._chunks else contents["shape_metadata"]["ac_dim"]
        self.obs_keys: tuple[str, ...] = tuple(contents["shape_metadata"]["all_obs_keys"])
        self.rgb_keys = seam.rgb_keys(self._algo)
        stats = contents.get("obs_normalization_stats")
        self._stats = None if stats is None else {k: tuple(np.asarray(s[name], dtype=np.float32) for name in ("mean", "std")) for k, s in stats.items()}
        known = self.facts.get("action_range")
        if self.facts and action_range and not (known and np.allclose(known, action_range)):
            said = f"{known[0]:g} to {known[1]:g}" if known else "no range"
            what = f"The policy was trained with {said} of actions, not {action_range[0]:g} to {action_range[1]:g}."
            raise UserError(what, where=str(path), do="leave out --norm-factor-min and --norm-factor-max; the checkpoint knows")
        self._action_range = known or action_range
        config = self._algo.global_config
        self._horizon = config.algo.rnn.horizon if config.algo.rnn.enabled else 0
        self._open_loop = bool(self._horizon and config.algo.rnn.open_loop)
        self._context = config.train.frame_stack if config.algo.transformer.enabled else 0
        self._draws_inside = seam.draws_inside(self._algo)
        self._together = 1 if self._draws_inside else together or (_IMAGES_TOGETHER if self.rgb_keys else _TOGETHER)

    def start(self, rows: int) -> None:
        """Begin episodes 0, 1, ... in `rows` envs."""
        self._draws = [self._chance(row) for row in range(rows)]
        # One row more than there are envs: it fills up a call of the network, and nobody reads it.
        self._nobody = rows
        self._steps = np.zeros(rows + 1, dtype=int)
        self._memory: tuple[torch.Tensor, ...] | None = None
        self._window: dict[str, np.ndarray] | None = None
        self._held: dict[str, torch.Tensor] = {}
        # Of a chunk, the actions (A,) that are still to be done.
        self._ahead: list[list[np.ndarray]] = [[] for _ in range(rows)]
        if self._horizon:
            self._memory = seam.empty_memory(self._algo, rows + 1)

    def restart(self, row: int, episode: int) -> None:
        """Begin episode number `episode` in one env."""
        self._steps[row] = 0
        self._ahead[row] = []
        self._draws[row] = self._chance(episode)

    def _chance(self, episode: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(episode,)))

    def act(self, observations: Mapping[str, np.ndarray], rows: Sequence[int]) -> np.ndarray:
        """Actions (n, A) for the envs `rows`, from their observations, key to (n, D), or images (n, H, W, C) uint8."""
        if self._chunks is None:
            return self._answers(observations, list(rows))
        if asking := [place for place, row in enumerate(rows) if not self._ahead[row]]:
            seen = {key: values[asking] for key, values in observations.items()}
            chunks = self._chunks.read(self._answers(seen, [rows[place] for place in asking]), seen)
            for place, chunk in zip(asking, chunks, strict=True):
                self._ahead[rows[place]] = list(chunk[: self._chunks.done])
        return np.stack([self._ahead[row].pop(0) for row in rows])

    def _answers(self, observations: Mapping[str, np.ndarray], index: list[int]) -> np.ndarray:
        """What the network gives for the envs `index`: actions (n, A), or chunks of them as they are written for it."""
        parts = []
        for first in range(0, len(index), self._together):
            part = slice(first, first + self._together)
            parts.append(self._act_together({key: observations[key][part] for key in self.obs_keys}, index[part]))
        action = np.concatenate(parts)
        if self._action_range is not None:
            low, high = self._action_range
            action = (action + 1) * (high - low) / 2 + low
        return action

    def _act_together(self, observations: dict[str, np.ndarray], envs: list[int]) -> np.ndarray:
        """What the network answers (n, A) in one call, for at most `_together` envs."""
        torch = self._torch
        index = envs + [self._nobody] * (self._together - len(envs))
        observed = {key: _filled_up(self._normalised(key, value), len(index)) for key, value in observations.items()}
        if self._context:
            observed = self._stacked(observed, index)
        inputs = {key: torch.from_numpy(value).to(self._algo.device) for key, value in observed.items()}
        if self._draws_inside:
            torch.manual_seed(int(self._draws[envs[0]].integers(2**63)))
        with torch.no_grad():
            answer = self._step_memory(inputs, index) if self._horizon else seam.answer(self._algo, inputs)
        self._steps[index] += 1
        if isinstance(answer, seam.Mixture):
            return answer.drawn([self._draws[env] for env in envs])
        return answer.cpu().numpy()[: len(envs)]

    def _normalised(self, key: str, values: np.ndarray) -> np.ndarray:
        if key in self.rgb_keys:
            values = np.moveaxis(values, -1, -3) / np.float32(255)
        if self._stats is None:
            return values
        mean, std = self._stats[key]
        return (values - mean) / std

    def _step_memory(self, inputs: dict[str, torch.Tensor], index: list[int]) -> torch.Tensor | seam.Mixture:
        """One recurrent step; like robomimic's, the memory is emptied every `horizon` steps of an episode."""
        torch = self._torch
        fresh = torch.from_numpy(self._steps[index] % self._horizon == 0).to(self._algo.device)
        state = tuple(torch.where(fresh[None, :, None], 0.0, part[:, index]) for part in self._memory)
        if self._open_loop:
            inputs = {key: self._hold(key, value, index, fresh) for key, value in inputs.items()}
        answer, state = seam.answer_with_memory(self._algo, inputs, state)
        for whole, part in zip(self._memory, state, strict=True):
            whole[:, index] = part
        return answer

    def _hold(self, key: str, values: torch.Tensor, index: list[int], fresh: torch.Tensor) -> torch.Tensor:
        """What was observed when the memory was last emptied: all that an open-loop policy sees."""
        if key not in self._held:
            self._held[key] = values.new_zeros(len(self._steps), *values.shape[1:])
        self._held[key][index] = self._torch.where(fresh.view(-1, *[1] * (values.ndim - 1)), values, self._held[key][index])
        return self._held[key][index]

    def _stacked(self, observed: dict[str, np.ndarray], index: list[int]) -> dict[str, np.ndarray]:
        """The last `context` observations (n, S, ...), the first of an episode repeated before it."""
        if self._window is None:
            rows = len(self._steps)
            self._window = {key: np.zeros((rows, self._context, *value.shape[1:]), np.float32) for key, value in observed.items()}
        fresh = self._steps[index] == 0
        for key, value in observed.items():
            window = self._window[key][index]
            begins = fresh.reshape(-1, *[1] * value.ndim)
            window = np.where(begins, value[:, None], np.concatenate([window[:, 1:], value[:, None]], axis=1))
            self._window[key][index] = window
            observed[key] = window
        return observed


def _filled_up(values: np.ndarray, rows: int) -> np.ndarray:
    """Values (n, ...) as float32 (rows, ...), with zeros below."""
    filled = np.zeros((rows, *values.shape[1:]), np.float32)
    filled[: len(values)] = values
    return filled
