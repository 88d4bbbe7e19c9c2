"""An operator made of code that puts a steering wheel into a bin with one hand of a humanoid. What it records is labelled `scripted`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mimicctl import poses
from mimicctl.devices.base import Command, OperatorView
from mimicctl.devices.scripted_hand import ALIGNED, CLOSE, MANNERS, OPEN, PASSING, ScriptedHand
from mimicctl.tasks.spec import PlaceIn, TaskSpec


@dataclass(frozen=True, eq=False)
class _Hand:
    """A right hand, as its wrist's frame has it.

    Attributes:
        palm_down: (3, 3) the wrist when palm is down and fingers ahead.
        thumb_up: (3, 3) the wrist, of a left hand too, when the thumb is up and fingers are ahead.
        bar: (3,) from the wrist to a bar across the palm, under the roots of the fingers [m].
    """

    palm_down: np.ndarray
    thumb_up: np.ndarray
    bar: np.ndarray

    @property
    def reach(self) -> float:
        """How far ahead of the wrist the bar is when the palm is down [m]."""
        return float((self.palm_down @ self.bar)[0])


HANDS = {
    "g1": _Hand(poses.matrix_from_rotvec(np.array([-np.pi / 2, 0.0, 0.0])), np.eye(3), np.array([0.1115, 0.031, 0.0])),
    "gr1t2": _Hand(
        np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]),
        poses.matrix_from_rotvec(np.array([0.0, -np.pi / 2, 0.0])),
        np.array([0.0, 0.034, -0.086]),
    ),
}
OVER = 0.08


class ScriptedPlace:
    """Takes the rim where it is nearest, carries it over the bin, lets go of it slowly, and draws back.

    Args:
        speed: a key of `MANNERS`.
        seed: of all the operator's choices; each `reset` takes the next child.
    """

    name = "scripted"
    human = False

    def __init__(self, task: TaskSpec, *, speed: str, seed: int) -> None:
        assert isinstance(task.goal, PlaceIn)
        self._goal, self._wheel, self._manner = task.goal, task.object(task.goal.object_name).wheel, MANNERS[speed]
        self._eefs, self._right = task.eef_names, HANDS[task.robot]
        self._seed = np.random.SeedSequence(seed)
        self.reset()

    def start(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def help(self) -> str:
        return f"The scripted operator puts {self._goal.object_name} into the bin with the {self._goal.eef} hand. Ctrl-C stops it."

    def reset(self) -> None:
        self._hand = ScriptedHand(self._manner, np.random.default_rng(self._seed.spawn(1)[0]))
        self._script = self._play()

    def command(self, view: OperatorView) -> Command:
        first, *rest = self._eefs
        self._hand.view = {first: view, **view.others}[self._goal.eef]
        self._object_pose = view.object_poses[self._goal.object_name]
        still = Command(np.zeros(6), OPEN)
        commands = {eef: next(self._script) if eef == self._goal.eef else still for eef in self._eefs}
        return Command(commands[first].delta, commands[first].gripper, others={eef: commands[eef] for eef in rest})

    def _play(self) -> Iterator[Command]:
        hand, right, aim = self._hand, self._right, self._manner.aim
        (x, y), offset = self._goal.centre, hand.rng.normal(0.0, aim, 3)
        grip = poses.compose(right.palm_down, np.add((-self._wheel.radius, 0.0, 0.0), offset)) @ poses.compose(np.eye(3), -right.bar)
        over = grip.copy()
        over[2, 3] += OVER
        # Up beside the wheel first: the hands start as high as its rim.
        aside = hand.seen().eef_pose.copy()
        aside[:3, :3], aside[2, 3] = right.palm_down, self._object_pose[2, 3] + OVER
        yield from hand.reach(lambda: aside, OPEN, PASSING)
        yield from hand.reach(lambda: self._object_pose @ over, OPEN, PASSING)
        yield from hand.reach(lambda: self._object_pose @ grip, OPEN, ALIGNED)
        yield from hand.work_fingers(OPEN, CLOSE)
        held = hand.seen().eef_pose.copy()
        lifted = held.copy()
        lifted[2, 3] += OVER
        yield from hand.reach(lambda: lifted, CLOSE, PASSING)
        # Palm down, the fingers ahead, the wheel's middle over the bin's.
        reach = right.reach + self._wheel.radius
        above = poses.compose(right.palm_down, np.array([x - reach, y, lifted[2, 3]]) + hand.rng.normal(0.0, 3 * aim, 3))
        low = above.copy()
        low[2, 3] = held[2, 3] + 0.02
        yield from hand.reach(lambda: above, CLOSE, PASSING, curved=True)
        yield from hand.reach(lambda: low, CLOSE, ALIGNED)
        yield from hand.work_fingers(CLOSE, OPEN)
        back = low.copy()
        back[:3, 3] += (-0.06, 0.0, 0.0)
        yield from hand.reach(lambda: back, OPEN, PASSING)
        back[2, 3] += OVER
        yield from hand.reach(lambda: back, OPEN, ALIGNED)
        while True:
            yield Command(np.zeros(6), OPEN)
