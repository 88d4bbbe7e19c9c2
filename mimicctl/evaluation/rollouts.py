"""Rolling a policy out on fixed start states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mimicctl.envs.base import MimicEnv

SEED_SPACE = 2_000_003
"""First word of the spawn key of rollouts: start states that no generated or recorded demo began from."""


class Acts(Protocol):
    """What a policy must do to be rolled out; see `mimicctl.training.policy.Policy`."""

    def start(self, rows: int) -> None: ...

    def restart(self, row: int, episode: int) -> None: ...

    def act(self, observations: dict[str, np.ndarray], rows: list[int]) -> np.ndarray: ...


@dataclass(frozen=True)
class Rollout:
    """One rollout.

    Attributes:
        index: number of its start state; the same number is the same state for every policy.
        reached: of each eef, the subtasks whose signals rose, in order.
        steps: control steps taken.
    """

    index: int
    success: bool
    reached: dict[str, int]
    steps: int


class Sees(Protocol):
    """What draws camera images for a policy; see `mimicctl.evaluation.sight.Sight`."""

    def images(self, snapshots: np.ndarray) -> dict[str, np.ndarray]: ...


def roll_out(
    env: MimicEnv, policy: Acts, numbers: Iterator[int], *, horizon: int, seed: int, recorded: int = 0, sight: Sees | None = None
) -> Iterator[tuple[Rollout, np.ndarray | None]]:
    """Roll out start states `numbers`, each until success has held or for `horizon` steps; results as they are ready.

    A result depends on the policy, the seed and the number of its start state alone.

    Args:
        recorded: rollouts of smaller numbers come with their snapshots (steps + 1, K), the others with None.
        sight: gives the policy its camera images, if it sees any.
    """
    slots: dict[int, _Slot] = {}
    order = {eef: tuple(s.term_signal for s in subtasks if s.term_signal) for eef, subtasks in env.task.subtasks.items()}
    policy.start(env.num_envs)
    for env_id in range(env.num_envs):
        _begin(env, policy, slots, env_id, numbers, seed, recorded)
    while slots:
        ids = list(slots)
        snapshots = env.snapshot(ids)
        observations = env.observations(snapshots) | (sight.images(snapshots) if sight else {})
        env.step(policy.act(observations, ids), ids)
        after = env.snapshot(ids)
        success, signals = env.success(after), env.signals(after)
        for row, env_id in enumerate(ids):
            slot = slots[env_id]
            slot.note({name: bool(values[row]) for name, values in signals.items()}, bool(success[row]), order)
            slot.record(after[row])
            if slot.held >= env.task.success_hold_steps or slot.steps >= horizon:
                yield slots.pop(env_id).result(env.task.success_hold_steps)
                _begin(env, policy, slots, env_id, numbers, seed, recorded)


@dataclass
class _Slot:
    """A rollout under way in one env."""

    index: int
    reached: dict[str, int]
    held: int = 0
    steps: int = 0
    snapshots: list[np.ndarray] | None = None

    def note(self, signals: dict[str, bool], success: bool, order: dict[str, tuple[str, ...]]) -> None:
        self.steps += 1
        self.held = self.held + 1 if success else 0
        for eef, names in order.items():
            while self.reached[eef] < len(names) and signals[names[self.reached[eef]]]:
                self.reached[eef] += 1

    def record(self, snapshot: np.ndarray) -> None:
        if self.snapshots is not None:
            self.snapshots.append(snapshot)

    def result(self, hold: int) -> tuple[Rollout, np.ndarray | None]:
        rollout = Rollout(self.index, self.held >= hold, self.reached, self.steps)
        return rollout, None if self.snapshots is None else np.stack(self.snapshots)


def _begin(env: MimicEnv, policy: Acts, slots: dict[int, _Slot], env_id: int, numbers: Iterator[int], seed: int, recorded: int) -> None:
    index = next(numbers, None)
    if index is None:
        return
    env.reset([env_id], [np.random.SeedSequence(seed, spawn_key=(SEED_SPACE, index))])
    policy.restart(env_id, index)
    slots[env_id] = _Slot(index, dict.fromkeys(env.task.eef_names, 0), snapshots=[env.snapshot([env_id])[0]] if index < recorded else None)
