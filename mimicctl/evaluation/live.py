"""A policy that drives while somebody looks on, who begins and ends each rollout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mimicctl.envs.base import MimicEnv
from mimicctl.evaluation.sight import sight_of, view_of


class LivePolicy:
    """Acts in env 0 as in `eval play`, on whose start states a session is, too.

    Args:
        seed: of what the policy draws.
        action_range: see `mimicctl.training.policy.Policy`.
    """

    def __init__(self, env: MimicEnv, checkpoint: Path, *, seed: int, action_range: tuple[float, float] | None = None) -> None:
        from mimicctl.training.policies import load_policy

        self._env, self._policy = env, load_policy(checkpoint, seed=seed, action_range=action_range)
        view = view_of(self._policy, env.task)
        self._sight = sight_of(view, env) if view else None
        self._policy.start(1)

    def begin(self, attempt: int) -> None:
        self._policy.restart(0, attempt)

    def act(self, snapshot: np.ndarray) -> np.ndarray:
        rows = snapshot[None]
        observations = self._env.observations(rows) | (self._sight.images(rows) if self._sight else {})
        return np.asarray(self._policy.act(observations, [0])[0], dtype=np.float32)

    def close(self) -> None:
        if self._sight:
            self._sight.close()
