"""Rolling a policy out on fixed start states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mimicctl.envs.base import MimicEnv

_SEED_SPACE = 2_000_003
"""First word of the spawn key of rollouts: start states that no generated or recorded demo began from."""


class Acts(Protocol):
    """What a policy must do to be rolled out; see `mimicctl.training.policy.Policy`."""

    def start(self, rows: int) -> None: ...

    def restart(self, row: int) -> None: ...

    def act(self, observations: dict[str, np.ndarray], rows: list[int]) -> np.ndarray: ...


@dataclass(frozen=True)
class Rollout:
    """One rollout.

    Attributes:
        index: number of its start state; the same number is the same state for every policy.
        reached: subtasks whose signal rose, in order; all of them and one more is success.
        steps: control steps taken.
    """

    index: int
    success: bool
    reached: int
    steps: int


def roll_out(
    env: MimicEnv,
    policy: Acts,
    *,
    rollouts: int,
    horizon: int,
    seed: int,
    on_rollout: Callable[[Rollout], None] = lambda rollout: None,
) -> list[Rollout]:
    """Roll out until success has held, or for `horizon` steps; results in the order of their numbers."""
    waiting = iter(range(rollouts))
    slots: dict[int, _Slot] = {}
    policy.start(env.num_envs)
    for env_id in range(env.num_envs):
        _begin(env, policy, slots, env_id, waiting, seed)
    finished: list[Rollout] = []
    while slots:
        ids = list(slots)
        observations = env.observations(env.snapshot(ids))
        env.step(policy.act(observations, ids), ids)
        after = env.snapshot(ids)
        success, signals = env.success(after), env.signals(after)
        for row, env_id in enumerate(ids):
            slot = slots[env_id]
            slot.note({name: bool(values[row]) for name, values in signals.items()}, bool(success[row]), env.task.term_signals)
            if slot.held >= env.task.success_hold_steps or slot.steps >= horizon:
                rollout = slots.pop(env_id).rollout(env.task.success_hold_steps)
                finished.append(rollout)
                on_rollout(rollout)
                _begin(env, policy, slots, env_id, waiting, seed)
    return sorted(finished, key=lambda rollout: rollout.index)


@dataclass
class _Slot:
    """A rollout under way in one env."""

    index: int
    held: int = 0
    reached: int = 0
    steps: int = 0

    def note(self, signals: dict[str, bool], success: bool, order: tuple[str, ...]) -> None:
        self.steps += 1
        self.held = self.held + 1 if success else 0
        while self.reached < len(order) and signals[order[self.reached]]:
            self.reached += 1

    def rollout(self, hold: int) -> Rollout:
        return Rollout(self.index, self.held >= hold, self.reached, self.steps)


def _begin(env: MimicEnv, policy: Acts, slots: dict[int, _Slot], env_id: int, waiting, seed: int) -> None:
    index = next(waiting, None)
    if index is None:
        return
    env.reset([env_id], [np.random.SeedSequence(seed, spawn_key=(_SEED_SPACE, index))])
    policy.restart(env_id)
    slots[env_id] = _Slot(index)
