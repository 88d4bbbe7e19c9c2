"""Rollouts of stand-in policies: the same start states, and results that depend on nothing else."""

from __future__ import annotations

import numpy as np

from mimicctl.envs import make_env
from mimicctl.evaluation.rollouts import roll_out
from mimicctl.tasks import DEFAULT_TASK, find_task


class Shaky:
    """Moves by chance, each episode by its own; remembers where each began."""

    def __init__(self, env) -> None:
        self._env = env
        self.starts: dict[int, np.ndarray] = {}

    def start(self, rows: int) -> None:
        self._draws: dict[int, np.random.Generator] = {}

    def restart(self, row: int, episode: int) -> None:
        self._draws[row] = np.random.default_rng(episode)
        self.starts[episode] = self._env.object_poses(self._env.snapshot([row])[0])["cube_1"]

    def act(self, observations, rows):
        return np.stack([self._draws[row].uniform(-1, 1, 7) for row in rows]).astype(np.float32)


def paths(num_envs: int, **settings) -> dict[int, np.ndarray]:
    env = make_env(DEFAULT_TASK, num_envs)
    results = list(roll_out(env, Shaky(env), iter(range(6)), **{"horizon": 4, "seed": 1, "recorded": 6, **settings}))
    env.close()
    return {rollout.index: snapshots for rollout, snapshots in results}


def test_start_states_are_paired_and_apart_from_generated_ones(env):
    first, second = Shaky(env), Shaky(env)
    for policy in (first, second):
        assert [r.index for r, _ in roll_out(env, policy, iter(range(3)), horizon=2, seed=1)] == [0, 1, 2]
    assert all(np.array_equal(first.starts[i], second.starts[i]) for i in range(3))
    assert not np.array_equal(first.starts[0], first.starts[1])
    env.reset([0], [np.random.SeedSequence(1, spawn_key=(0,)).spawn(1)[0]])
    assert not np.array_equal(env.object_poses(env.snapshot()[0])["cube_1"], first.starts[0])


def test_the_number_of_envs_changes_nothing():
    one, several = paths(1), paths(4)
    assert list(one) == list(range(6)) and sorted(several) == list(range(6))
    for index, path in one.items():
        assert path.shape[0] == 5
        np.testing.assert_array_equal(path, several[index])


def test_another_seed_is_another_set_of_start_states():
    assert not np.array_equal(paths(2)[0][0], paths(2, seed=2)[0][0])


def test_only_the_first_are_recorded():
    assert [index for index, path in sorted(paths(3, recorded=2).items()) if path is not None] == [0, 1]


class Told:
    """One env of the tray, whose signals are told: a row of (left, right) a step."""

    task = find_task("MuJoCo-Lift-Tray-Dual-Franka-IK-Abs-v0")
    num_envs = 1

    def __init__(self, *signals: tuple[bool, bool]) -> None:
        self._signals, self._steps = signals, 0

    def reset(self, ids, seeds) -> None:
        self._steps = 0

    def snapshot(self, ids):
        return np.zeros((len(ids), 1))

    def observations(self, snapshots):
        return {}

    def step(self, actions, ids) -> None:
        self._steps += 1

    def success(self, snapshots):
        return np.zeros(1, bool)

    def signals(self, snapshots):
        return {name: np.array([value]) for name, value in zip(("grasp_left", "grasp_right"), self._signals[self._steps - 1], strict=True)}


class Still:
    def start(self, rows: int) -> None: ...

    def restart(self, row: int, episode: int) -> None: ...

    def act(self, observations, rows): ...


def test_what_each_eef_reached_is_counted_by_itself():
    env = Told((False, False), (False, True), (False, False))
    ((rollout, _),) = roll_out(env, Still(), iter(range(1)), horizon=3, seed=1)
    assert rollout.reached == {"left": 0, "right": 1} and not rollout.success
