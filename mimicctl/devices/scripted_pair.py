"""An operator made of code that lifts one object with several arms at the same time. What it records is labelled `scripted`.

Each hand goes to its handle and closes in its own time. The lifting begins when all hold, and all are steered by one pose that the object is to
take next, so that they go up in step and one that hurries or lags is called back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mimicctl import poses
from mimicctl.devices.base import Command, OperatorView
from mimicctl.devices.scripted_hand import ALIGNED, APPROACH_HEIGHT, CLOSE, MANNERS, OPEN, THERE, ScriptedHand
from mimicctl.tasks.spec import LiftTogether

_LEAD = 0.75
"""How far ahead of the object its next pose is, as a share of what sends a hand at full speed: the rest is for setting it level."""


class ScriptedPair:
    """Lifts, then holds still.

    Args:
        goal: what is lifted, by which handles.
        speed: a key of `MANNERS`.
        seed: of all the operator's choices; each `reset` takes the next child.
    """

    name = "scripted"
    human = False

    def __init__(self, goal: LiftTogether, *, speed: str, seed: int) -> None:
        self._goal, self._manner = goal, MANNERS[speed]
        self._seed = np.random.SeedSequence(seed)
        self.reset()

    def start(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def help(self) -> str:
        return f"The scripted operator lifts {self._goal.object_name} with {' and '.join(self._goal.handles)} together. Ctrl-C stops it."

    def reset(self) -> None:
        mine, *theirs = self._seed.spawn(1)[0].spawn(1 + len(self._goal.handles))
        self._rng = np.random.default_rng(mine)
        self._hands = {eef: ScriptedHand(self._manner, np.random.default_rng(seed)) for eef, seed in zip(self._goal.handles, theirs, strict=True)}
        self._scripts = {eef: self._play(eef) for eef in self._hands}
        self._holding: set[str] = set()
        self._top: np.ndarray | None = None

    def command(self, view: OperatorView) -> Command:
        first, *rest = self._hands
        for eef, seen in {first: view, **view.others}.items():
            self._hands[eef].view = seen
        self._object_pose = view.object_poses[self._goal.object_name]
        if self._top is None and len(self._holding) == len(self._hands):
            self._top = self._wanted()
        commands = {eef: next(script) for eef, script in self._scripts.items()}
        return replace(commands[first], others={eef: commands[eef] for eef in rest})

    def _play(self, eef: str) -> Iterator[Command]:
        hand, aim = self._hands[eef], self._manner.aim
        offset = [*hand.rng.normal(0.0, (3 * aim, aim)), hand.rng.uniform(-0.002, 0.002)]
        # Pointing down, with the jaw across the bar, a little askew as a person's.
        askew = poses.matrix_from_rotvec(np.array([0.0, 0.0, hand.rng.normal(0.0, 0.02)]))
        grip = poses.compose(askew @ np.diag([1.0, -1.0, -1.0]), np.add(self._goal.handles[eef], offset))
        over = grip.copy()
        over[2, 3] += APPROACH_HEIGHT + hand.rng.uniform(-0.02, 0.02)
        yield from hand.reach(lambda: self._object_pose @ over, OPEN, ALIGNED, curved=True)
        yield from hand.look(OPEN)
        yield from hand.reach(lambda: self._object_pose @ grip, OPEN, THERE)
        yield from hand.work_gripper(CLOSE)
        self._holding.add(eef)
        while self._top is None:
            yield Command(np.zeros(6), CLOSE)
        held = poses.inverse(self._object_pose) @ hand.seen().eef_pose
        while True:
            yield hand.move(poses.delta_between(hand.seen().eef_pose, self._next() @ held), CLOSE)

    def _wanted(self) -> np.ndarray:
        """Where the object is to be held: above where it is, level."""
        drift = [*self._rng.normal(0.0, 5 * self._manner.aim, 2), self._goal.height + self._rng.uniform(0.03, 0.06)]
        now = self._object_pose
        return poses.yaw_pose(poses.position(now) + drift, np.arctan2(now[1, 0], now[0, 0]))

    def _next(self) -> np.ndarray:
        """The same no farther up than it can be in a moment."""
        pose, lead = self._top.copy(), _LEAD * self._manner.speed / self._manner.eagerness
        way = poses.position(self._top) - poses.position(self._object_pose)
        pose[:3, 3] = poses.position(self._object_pose) + way * min(1.0, lead / max(float(np.linalg.norm(way)), 1e-9))
        return pose
