"""One batch of envs for several: everybody's envs do what they would do alone, and nobody is left waiting."""

from __future__ import annotations

import threading
from contextlib import closing

import numpy as np
import pytest

from mimicctl.envs import make_env
from mimicctl.envs.shared import SharedEnv
from mimicctl.errors import RunFailed

LIFT = "MuJoCo-Lift-Cube-Franka-IK-Rel-v0"
STEPS = 12
_PATIENCE = 60


def seed_of(who: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(7, spawn_key=(who,))


def actions_of(who: int) -> np.ndarray:
    return np.random.default_rng(who).uniform(-1, 1, (STEPS, 1, 7)).astype(np.float32)


def driven(env, who: int, env_id: int = 0) -> np.ndarray:
    """Snapshots of an env that is driven by nobody else."""
    env.reset([env_id], [seed_of(who)])
    snapshots = [env.snapshot([env_id])[0]]
    for action in actions_of(who):
        env.step(action, [env_id])
        snapshots.append(env.snapshot([env_id])[0])
    return np.stack(snapshots)


@pytest.fixture
def shared():
    env = make_env(LIFT, 4)
    with closing(env):
        yield SharedEnv(env)


class Worker(threading.Thread):
    """Does something with envs of its own, and keeps what came of it."""

    def __init__(self, shared: SharedEnv, num_envs: int, do) -> None:
        super().__init__(daemon=True)
        self.part, self._do = shared.part(shared.env.task, num_envs), do
        self.made = self.error = None
        self.start()

    def run(self) -> None:
        try:
            with closing(self.part):
                self.made = self._do(self.part)
        except BaseException as error:
            self.error = error

    def finish(self) -> None:
        self.join(_PATIENCE)
        assert not self.is_alive()


def lead(shared: SharedEnv, *workers: Worker) -> np.ndarray:
    """Drive env 0, and then go on until all `workers` are done."""
    made = driven(shared.leader, 0)
    while any(worker.is_alive() for worker in workers):
        shared.leader.step(np.zeros((1, 7), dtype=np.float32))
    return made


def test_everybodys_envs_do_what_they_would_do_alone(shared):
    workers = [Worker(shared, 2, lambda part: driven(part, 1, env_id=1)), Worker(shared, 1, lambda part: driven(part, 2))]
    made = [lead(shared, *workers), *(worker.made for worker in workers)]
    for who in range(3):
        with closing(make_env(LIFT)) as alone:
            np.testing.assert_array_equal(made[who], driven(alone, who))


def test_the_leader_goes_on_when_the_others_are_done_and_their_envs_are_free_again(shared):
    worker = Worker(shared, 3, lambda part: part.reset([0], [seed_of(1)]))
    with closing(make_env(LIFT)) as alone:
        np.testing.assert_array_equal(lead(shared), driven(alone, 0))
    worker.finish()
    assert worker.error is None
    shared.part(shared.env.task, 3).close()


def test_the_others_wait_for_the_leader(shared):
    worker = Worker(shared, 1, lambda part: driven(part, 1))
    shared.leader.reset([0], [seed_of(0)])
    worker.join(0.1)
    assert worker.is_alive()
    lead(shared, worker)
    assert len(worker.made) == STEPS + 1


def test_a_mistake_of_another_is_its_own(shared):
    def fail(part) -> None:
        part.reset_to([0], [{}])

    worker = Worker(shared, 1, fail)
    with closing(make_env(LIFT)) as alone:
        np.testing.assert_array_equal(lead(shared), driven(alone, 0))
    worker.finish()
    assert isinstance(worker.error, Exception)


def test_when_the_leader_has_ended_the_others_exit_whatever_they_do(shared):
    waits = Worker(shared, 1, lambda part: driven(part, 1))
    may_ask = threading.Event()
    asks = Worker(shared, 1, lambda part: may_ask.wait(_PATIENCE) and part.snapshot())
    shared.end()
    may_ask.set()
    for worker in (waits, asks):
        worker.finish()
        assert isinstance(worker.error, SystemExit)


def test_a_step_that_fails_fails_for_the_leader(shared, monkeypatch):
    worker = Worker(shared, 1, lambda part: driven(part, 1))

    def fail(actions, env_ids):
        raise RunFailed("It fell apart.")

    monkeypatch.setattr(shared.env, "step", fail)
    with pytest.raises(RunFailed, match="fell apart"):
        lead(shared)
    shared.end()
    worker.finish()
    assert isinstance(worker.error, SystemExit)
