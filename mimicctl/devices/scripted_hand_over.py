"""An operator made of code that picks a pipe up with one hand of a humanoid, gives it to the other in the air, and puts it in a bin with that. What it records
is labelled `scripted`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mimicctl import poses
from mimicctl.devices.base import Command
from mimicctl.devices.scripted_hand import ALIGNED, CLOSE, OPEN, PASSING, ScriptedHand
from mimicctl.devices.scripted_hands import ScriptedHands
from mimicctl.devices.scripted_place import HANDS
from mimicctl.errors import UserError
from mimicctl.tasks.spec import HandOver, TaskSpec

_PALM = {"gr1t2": (0.0, 0.024, -0.085)}
"""By robot: from the wrist of a right hand to its palm's skin, under a pipe that it holds; a left hand's is mirrored in y [m]."""
_SIDE = {"left": 1.0, "right": -1.0}
"""Along y, from a pipe to the palm of a hand that holds it."""

_ASIDE = 0.06
"""From where a hand comes to the pipe, and goes back to [m]."""
_MEETING = (0.33, 0.0)
"""Where the pipe is handed over (x, y) [m]."""
_RAISED = 0.10
"""How high its foot is then [m]."""
_SURE = 12
"""Control steps that both hands hold it."""
_LAID = np.radians(80)
"""How far the pipe's upper end is turned ahead when it is let go of."""
_INTO = (0.0, 0.015, 0.100)
"""Where the pipe's middle is then, from that of the bin's base: the back of the hand keeps off the wall, and open fingers off the floor [m]."""
_OVER = 0.09
"""From how far above that it comes down, and how far up the hand goes afterwards [m]."""


class ScriptedHandOver(ScriptedHands):
    """The giver picks the pipe up and holds it out, upright; the taker closes about its other end, and then the giver lets go.

    Raises:
        UserError: the hands of that robot are not known.
    """

    def __init__(self, task: TaskSpec, *, speed: str, seed: int) -> None:
        assert isinstance(task.goal, HandOver)
        if task.robot not in _PALM:
            what = f"The scripted operator does not know how the hands of {task.robot} take hold of a pipe."
            raise UserError(what, where="--device scripted", do="drive yourself (--device hands)")
        self._goal = task.goal
        super().__init__(task, speed=speed, seed=seed)

    def help(self) -> str:
        goal = self._goal
        return f"The scripted operator hands {goal.object_name} from {goal.giver} to {goal.taker}, and puts it in {goal.bin}. Ctrl-C stops it."

    def _begin(self) -> dict[str, Iterator[Command]]:
        self._offered = self._taken = self._let_go = False
        return {self._goal.giver: self._give(), self._goal.taker: self._take()}

    @property
    def _pipe(self) -> np.ndarray:
        return self._objects[self._goal.object_name]

    # The hands ------------------------------------------------------------------------------------------

    def _give(self) -> Iterator[Command]:
        eef, hand, aim = self._goal.giver, self._hands[self._goal.giver], self._manner.aim
        yield from self._grasp(eef)
        held = poses.inverse(self._pipe) @ hand.seen().eef_pose
        x, y = _MEETING + hand.rng.normal(0.0, 2 * aim, 2)
        up = poses.position(self._pipe) + np.array([0.0, 0.0, _RAISED])
        # As it stood, whichever way it leans in the fingers.
        for place in (up, np.array([x, y, up[2]])):
            offer = poses.compose(np.eye(3), place) @ held
            yield from hand.reach(lambda pose=offer: pose, CLOSE, PASSING)
        self._offered = True
        while not self._taken:
            yield self._keep(hand, offer, CLOSE)
        yield from hand.work_fingers(CLOSE, OPEN)
        back = hand.seen().eef_pose.copy()
        back[:3, 3] += (-0.5 * _ASIDE, _SIDE[eef] * _ASIDE, 0.0)
        yield from hand.reach(lambda: back, OPEN, PASSING)
        self._let_go = True
        while True:
            yield Command(np.zeros(6), OPEN)

    def _take(self) -> Iterator[Command]:
        eef, hand, aim = self._goal.taker, self._hands[self._goal.taker], self._manner.aim
        while not self._offered:
            yield Command(np.zeros(6), OPEN)
        yield from self._grasp(eef)
        taken = hand.seen().eef_pose.copy()
        for _ in range(_SURE):
            yield self._keep(hand, taken, CLOSE)
        self._taken = True
        while not self._let_go:
            yield self._keep(hand, taken, CLOSE)
        # Up first: as it is turned over, its foot sweeps past the bin's wall.
        lifted = taken.copy()
        lifted[2, 3] += _OVER
        yield from hand.reach(lambda: lifted, CLOSE, PASSING)
        base = poses.position(self._objects[self._goal.bin]) - np.array([0.0, 0.0, self._task.object(self._goal.bin).rest_height])
        place = base + _INTO + np.array([*hand.rng.normal(0.0, 3 * aim, 2), 0.0])
        for height in (_OVER, 0.0):
            # It gives way in the fingers as it is turned over: each time as it lies in them now.
            held = poses.inverse(self._pipe) @ hand.seen().eef_pose
            pose = poses.compose(poses.matrix_from_rotvec(np.array([0.0, _LAID, 0.0])), place + np.array([0.0, 0.0, height])) @ held
            yield from hand.reach(lambda pose=pose: pose, CLOSE, PASSING)
        yield from hand.work_fingers(CLOSE, OPEN)
        # Aside before up: the fingers are still under it.
        back = hand.seen().eef_pose.copy()
        for way in ((0.0, _SIDE[eef] * _ASIDE, 0.0), (0.0, 0.0, _OVER)):
            back[:3, 3] += way
            yield from hand.reach(lambda: back, OPEN, PASSING)
        while True:
            yield Command(np.zeros(6), OPEN)

    def _grasp(self, eef: str) -> Iterator[Command]:
        """Come to its handle of the pipe from the side, and close the fingers round it."""
        hand, side = self._hands[eef], _SIDE[eef]
        x, y, z = _PALM[self._task.robot]
        palm = np.array([x, -side * (y + self._goal.half_width), z])
        place = np.add(self._goal.handles[eef], hand.rng.normal(0.0, self._manner.aim, 3))
        grip = poses.compose(HANDS[self._task.robot].thumb_up, place) @ poses.compose(np.eye(3), -palm)
        aside = poses.compose(np.eye(3), np.array([0.0, side * _ASIDE, 0.0])) @ grip
        # As it is before it is touched: who went after what he pushes would push it over.
        pipe = self._pipe
        yield from hand.reach(lambda: pipe @ aside, OPEN, PASSING)
        yield from hand.reach(lambda: pipe @ grip, OPEN, ALIGNED)
        yield from hand.work_fingers(OPEN, CLOSE)

    @staticmethod
    def _keep(hand: ScriptedHand, pose: np.ndarray, gripper: float) -> Command:
        return hand.move(poses.delta_between(hand.seen().eef_pose, pose), gripper)
