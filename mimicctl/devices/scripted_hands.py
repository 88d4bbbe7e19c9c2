"""An operator made of code with a script for each of two hands, which look at one another through what they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mimicctl.devices.base import Command, OperatorView
from mimicctl.devices.scripted_hand import MANNERS, ScriptedHand
from mimicctl.tasks.spec import TaskSpec


class ScriptedHands(ABC):
    """What such operators have in common.

    Args:
        speed: a key of `MANNERS`.
        seed: of all the operator's choices; each `reset` takes the next child, and each hand, in the order of the task's eefs, one of that.
    """

    name = "scripted"
    human = False

    def __init__(self, task: TaskSpec, *, speed: str, seed: int) -> None:
        self._task, self._manner = task, MANNERS[speed]
        self._seed = np.random.SeedSequence(seed)
        self.reset()

    @abstractmethod
    def help(self) -> str:
        """What it does."""

    @abstractmethod
    def _begin(self) -> dict[str, Iterator[Command]]:
        """The script of each eef from a new start state on."""

    def start(self) -> None:
        return  # nothing to open

    def close(self) -> None:
        return  # nothing to close

    def reset(self) -> None:
        eefs = self._task.eef_names
        seeds = self._seed.spawn(1)[0].spawn(len(eefs))
        self._hands = {eef: ScriptedHand(self._manner, np.random.default_rng(seed)) for eef, seed in zip(eefs, seeds, strict=True)}
        self._scripts = self._begin()

    def command(self, view: OperatorView) -> Command:
        first, *rest = self._task.eef_names
        for eef, seen in {first: view, **view.others}.items():
            self._hands[eef].view = seen
        self._objects = view.object_poses
        commands = {eef: next(script) for eef, script in self._scripts.items()}
        return replace(commands[first], others={eef: commands[eef] for eef in rest})
