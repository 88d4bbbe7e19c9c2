"""The habits of a hand that scripts steer from waypoint to waypoint.

It speeds up and slows down, takes a curve rather than the straight line, never aims twice at the same spot, trembles a little, and waits a moment
after it closes or opens the gripper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mimicctl import poses
from mimicctl.devices.base import Command, OperatorView

OPEN, CLOSE = 1.0, -1.0

PASSING, ALIGNED, THERE = 0.02, 0.006, 0.002
"""How near counts as there [m]: in passing, before going down, and at the spot itself."""

APPROACH_HEIGHT = 0.09
"""[m] From which a hand goes down."""

FINGERS_CLOSING = 18
"""Control steps that a hand with fingers takes to close or open; any faster, and they flick what they let go of."""

_PATIENCE, _PROGRESS, _NEAR_ENOUGH = 12, 2e-4, 3.0
"""A hand that has come no nearer in so many steps, by so much [m], is held up by what it touches; so many times the tolerance will do then."""

_TREMBLE_MEMORY = 0.8
_FINGERS_STOPPED = 2e-4


@dataclass(frozen=True)
class Manner:
    """How an operator moves. Raw action units, per control step.

    Attributes:
        speed: largest translation command.
        turn: largest rotation command.
        eagerness: command per metre (or radian) still to go.
        tremble: standard deviation of the slowly varying disturbance, as a share of the command.
        aim: standard deviation of where a waypoint is put [m].
        curve: largest sideways detour as a share of the distance.
        pause: control steps waited before going down and after the gripper moved, at least and at most.
    """

    speed: float
    turn: float
    eagerness: float = 2.0
    tremble: float = 0.15
    aim: float = 0.0015
    curve: float = 0.15
    pause: tuple[int, int] = (1, 3)


MANNERS = {
    "fast": Manner(speed=0.13, turn=0.40),
    "normal": Manner(speed=0.08, turn=0.25, pause=(2, 5)),
    "slow": Manner(speed=0.027, turn=0.10, pause=(6, 12)),
}


class ScriptedHand:
    """One hand in an episode.

    Args:
        rng: of its choices.

    Attributes:
        view: what is seen now, from this hand; whoever takes its commands sets it before each.
    """

    def __init__(self, manner: Manner, rng: np.random.Generator) -> None:
        self._manner, self.rng = manner, rng
        self.view: OperatorView | None = None
        self._tremble = np.zeros(6)

    def seen(self) -> OperatorView:
        assert self.view is not None  # set before a script runs
        return self.view

    def reach(self, goal_of: Callable[[], np.ndarray], gripper: float, tolerance: float, *, curved: bool = False) -> Iterator[Command]:
        """Go to a goal that is looked at anew each step, until the eef is within `tolerance` [m], or comes no nearer."""
        start = poses.position(self.seen().eef_pose).copy()
        length = max(float(np.linalg.norm(poses.position(goal_of()) - start)), 1e-6)
        side = self._sideways(poses.position(goal_of()) - start) if curved else np.zeros(3)
        gaps: list[float] = []
        while True:
            eef, goal = self.seen().eef_pose, goal_of()
            delta = poses.delta_between(eef, goal)
            gap = float(np.linalg.norm(delta[:3]))
            if gap < tolerance and np.linalg.norm(delta[3:]) < 0.08:
                return
            gaps.append(gap)
            if gap < _NEAR_ENOUGH * tolerance and _held_up(gaps):
                return
            # The detour is widest half-way and gone at the end.
            bend = np.sin(np.pi * np.clip(1.0 - gap / length, 0.0, 1.0))
            delta[:3] += 0.5 * gap * bend * side
            yield self.move(delta, gripper)

    def move(self, delta: np.ndarray, gripper: float) -> Command:
        manner = self._manner
        command = manner.eagerness * delta
        for part, limit in ((slice(0, 3), manner.speed), (slice(3, 6), manner.turn)):
            size = np.linalg.norm(command[part])
            command[part] *= min(1.0, limit / max(size, 1e-9))
        innovation = np.sqrt(1 - _TREMBLE_MEMORY**2) * self.rng.standard_normal(6)
        self._tremble = _TREMBLE_MEMORY * self._tremble + innovation
        size = np.repeat([np.linalg.norm(command[:3]), np.linalg.norm(command[3:])], 3)
        return Command(command + manner.tremble * size * self._tremble, gripper)

    def work_gripper(self, gripper: float) -> Iterator[Command]:
        """Close or open, hold until the fingers no longer move, and then a moment longer."""
        for _ in range(3):
            yield Command(np.zeros(6), gripper)
        while True:
            before = self.seen().gripper_opening
            yield Command(np.zeros(6), gripper)
            if abs(self.seen().gripper_opening - before) < _FINGERS_STOPPED:
                break
        yield from self.look(gripper)

    def work_fingers(self, before: float, after: float) -> Iterator[Command]:
        """Close or open them slowly, and wait a moment."""
        for gripper in np.linspace(before, after, FINGERS_CLOSING):
            yield Command(np.zeros(6), float(gripper))
        yield from self.look(after)

    def look(self, gripper: float, longer: int = 0) -> Iterator[Command]:
        """Wait for as long as it takes a person to see that all is well, and some control steps longer."""
        low, high = self._manner.pause
        for _ in range(int(self.rng.integers(low, high + 1)) + longer):
            yield Command(np.zeros(6), gripper)

    def _sideways(self, direction: np.ndarray) -> np.ndarray:
        """A horizontal vector across `direction`, of random sign and size up to `curve`."""
        across = np.array([-direction[1], direction[0], 0.0])
        length = np.linalg.norm(across)
        return across / max(length, 1e-9) * self.rng.uniform(-1, 1) * self._manner.curve


def _held_up(gaps: list[float]) -> bool:
    """Whether the last of `gaps` [m] are no smaller than those before."""
    return len(gaps) > _PATIENCE and min(gaps[-_PATIENCE:]) > min(gaps[:-_PATIENCE]) - _PROGRESS
