"""The tasks as Gymnasium environments, one env each. Importing this module registers them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from mimicctl.envs import make_env
from mimicctl.tasks import find_task, list_tasks


class GymTask(gymnasium.Env):
    """Observations are the policy group as a dict; reward 1 on the step at which success has held, which also terminates.

    Args:
        task_id: a registered task.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  Gymnasium's own convention

    def __init__(self, task_id: str) -> None:
        self._env = make_env(task_id)
        self._held = 0
        first = self._observe()
        box = gymnasium.spaces.Box
        self.observation_space = gymnasium.spaces.Dict({key: box(-np.inf, np.inf, value.shape, np.float32) for key, value in first.items()})
        self.action_space = box(-1.0, 1.0, (find_task(task_id).action_dim,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        self._env.reset([0], [np.random.SeedSequence(int(self.np_random.integers(2**63)))])
        self._held = 0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        self._env.step(np.asarray(action, dtype=np.float32)[None])
        snapshot = self._env.snapshot()
        self._held = self._held + 1 if self._env.success(snapshot)[0] else 0
        done = self._held >= self._env.task.success_hold_steps
        signals = {name: bool(value[0]) for name, value in self._env.signals(snapshot).items()}
        return self._observe(), float(done), done, False, {"is_success": done, "subtask_term_signals": signals}

    def _observe(self) -> dict[str, np.ndarray]:
        return {key: value[0] for key, value in self._env.observations(self._env.snapshot()).items()}

    def close(self) -> None:
        self._env.close()


def _register() -> None:
    for task in list_tasks():
        gymnasium.register(
            id=task.task_id,
            entry_point="mimicctl.envs.gym:GymTask",
            kwargs={"task_id": task.task_id},
            max_episode_steps=task.horizon,
        )


_register()
