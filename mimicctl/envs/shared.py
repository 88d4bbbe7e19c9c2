"""One batch of envs, stepped all together, for several who work at the same time: one drives env 0, the others have envs of their own.

For simulators of which a process has room for one. Who drives env 0 leads: all envs are stepped when the leader makes a step, and never else. The simulator is touched
by the leader's thread alone, since not every simulator knows more than one; what the others want of it is done while the leader steps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

import numpy as np

from mimicctl.envs.base import MimicEnv, Snapshot
from mimicctl.tasks.spec import TaskSpec

_READING = ("eef_poses", "object_poses", "signals", "success", "observations", "scene_state", "gripper_opening", "gripper_actions", "sim_args", "task")
"""What looks at numbers that are there, and can be done in any thread."""


class SharedEnv:
    """Shares out the envs of `env`. Of the thread that makes it.

    Attributes:
        leader: env 0.
        ended: the leader makes no more steps.
    """

    def __init__(self, env: MimicEnv) -> None:
        self.env, self.leader, self.ended = env, _Leader(self), False
        self._changing = threading.Lock()
        self._free = list(range(1, env.num_envs))
        self._parts: list[_Part] = []

    def whole(self, task: TaskSpec, num_envs: int) -> MimicEnv:
        """All envs, while nobody else works with any. A `MakeEnv`."""
        return self.env

    def part(self, task: TaskSpec, num_envs: int) -> MimicEnv:
        """So many envs that nobody has, for another thread. A `MakeEnv`. Until it is closed, no step is made without it."""
        with self._changing:
            ids, self._free = self._free[:num_envs], self._free[num_envs:]
            assert len(ids) == num_envs
            self._parts.append(_Part(self, ids))
            return self._parts[-1]

    def parts(self) -> list[_Part]:
        with self._changing:
            return list(self._parts)

    def give_back(self, part: _Part) -> None:
        with self._changing:
            self._parts.remove(part)
            self._free += part.ids

    def end(self) -> None:
        """No more steps: threads that work with parts exit."""
        self.ended = True
        for part in self.parts():
            part.answers.put(SystemExit())


class _Leader:
    """Env 0 as a `MimicEnv` of one."""

    num_envs = 1

    def __init__(self, shared: SharedEnv) -> None:
        self._shared = shared

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shared.env, name)

    def step(self, actions: np.ndarray, env_ids: Sequence[int] | None = None) -> None:
        steps = [step for part in self._shared.parts() if (step := part.next_step()) is not None]
        ids = [0, *(env_id for step in steps for env_id in step.env_ids)]
        self._shared.env.step(np.concatenate([actions, *(step.actions for step in steps)]), ids)
        for step in steps:
            step.part.answers.put(None)

    def snapshot(self, env_ids: Sequence[int] | None = None) -> Snapshot:
        return self._shared.env.snapshot([0])

    def close(self) -> None:
        """The batch is not the leader's."""


@dataclass(frozen=True)
class _Step:
    """That a part waits to make."""

    part: _Part
    actions: np.ndarray
    env_ids: list[int]


class _Part:
    """Some envs as a `MimicEnv`, for another thread than the leader's."""

    def __init__(self, shared: SharedEnv, ids: list[int]) -> None:
        self.num_envs, self.ids = len(ids), ids
        self.answers: SimpleQueue[Any] = SimpleQueue()
        self._wanted: SimpleQueue[Callable[[], Any] | _Step | None] = SimpleQueue()
        self._shared = shared

    def next_step(self) -> _Step | None:
        """In the leader's thread: do all that is wanted before the next step. None if there will be none."""
        while True:
            wanted = self._wanted.get()
            if wanted is None or isinstance(wanted, _Step):
                return wanted
            try:
                self.answers.put(wanted())
            except Exception as error:  # it is the other thread's
                self.answers.put(error)

    def _want(self, what: Callable[[], Any] | _Step) -> Any:
        """
        Raises:
            SystemExit: the leader makes no more steps.
        """
        if self._shared.ended:
            raise SystemExit
        self._wanted.put(what)
        answer = self.answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    # As a `MimicEnv` ----------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        there = getattr(self._shared.env, name)
        return there if name in _READING else lambda *args, **kwargs: self._want(partial(there, *args, **kwargs))

    def reset(self, env_ids: Sequence[int], seeds: Sequence[np.random.SeedSequence]) -> None:
        self._want(partial(self._shared.env.reset, self._of_all(env_ids), seeds))

    def reset_to(self, env_ids: Sequence[int], states: Sequence[Mapping[str, np.ndarray]]) -> None:
        self._want(partial(self._shared.env.reset_to, self._of_all(env_ids), states))

    def step(self, actions: np.ndarray, env_ids: Sequence[int] | None = None) -> None:
        self._want(_Step(self, actions, self._of_all(env_ids)))

    def get_state(self, env_ids: Sequence[int]) -> list[Any]:
        return self._want(partial(self._shared.env.get_state, self._of_all(env_ids)))

    def set_state(self, env_ids: Sequence[int], states: Sequence[Any]) -> None:
        self._want(partial(self._shared.env.set_state, self._of_all(env_ids), states))

    def snapshot(self, env_ids: Sequence[int] | None = None) -> Snapshot:
        return self._want(partial(self._shared.env.snapshot, self._of_all(env_ids)))

    def close(self) -> None:
        self._shared.give_back(self)
        self._wanted.put(None)

    def _of_all(self, env_ids: Sequence[int] | None) -> list[int]:
        return self.ids if env_ids is None else [self.ids[env_id] for env_id in env_ids]
