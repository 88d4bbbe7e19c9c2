"""An operator made of code that pours a nut out of a beaker with the left hand of a humanoid, drops the beaker in a bin, and puts the bowl on a scale with
the right one. What it records is labelled `scripted`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mimicctl import poses
from mimicctl.devices.base import Command
from mimicctl.devices.scripted_hand import ALIGNED, CLOSE, OPEN, PASSING
from mimicctl.devices.scripted_hands import ScriptedHands
from mimicctl.devices.scripted_place import HANDS
from mimicctl.errors import UserError
from mimicctl.tasks.spec import Pour, TaskSpec


@dataclass(frozen=True)
class Holds:
    """How the hands of a robot take hold of things.

    Attributes:
        beaker: (4, 4) of the left eef in the frame of the beaker, which is in its middle: from its left, the fingers ahead.
        rim: (4, 4) of the right eef in a frame at the near end of the bowl's rim, axes the bowl's: palm down, the fingers inside and the thumb outside.
        pinch: the gripper command that holds the rim; what closes the hand farther pulls the bowl into it.
    """

    beaker: np.ndarray
    rim: np.ndarray
    pinch: float


def _pose(turn: np.ndarray, held: tuple[float, float, float]) -> np.ndarray:
    """(4, 4) of an eef in the frame of what it holds, turned by `turn` (3, 3), with the origin of that at `held` in its own frame [m]."""
    return poses.compose(turn, np.zeros(3)) @ poses.compose(np.eye(3), -np.array(held))


_HOLDS = {
    "g1": Holds(beaker=_pose(HANDS["g1"].thumb_up, (0.107, -0.045, -0.012)), rim=_pose(HANDS["g1"].palm_down, (0.118, 0.062, 0.0)), pinch=-0.6),
    "gr1t2": Holds(
        beaker=_pose(HANDS["gr1t2"].thumb_up, (0.0, -0.056, -0.085)),
        # The thumb closes beside the forefinger, and the rim between them.
        rim=_pose(HANDS["gr1t2"].palm_down, (0.03, 0.07, -0.075)),
        pinch=-0.8,
    ),
}

_TILT = np.radians(118)
"""Of a beaker that pours."""
_SPOUT = (0.060, 0.075)
"""Of the beaker's mouth when it is tilted, from the middle of the bowl to its left, and above its rim [m]."""
_CLEAR = 0.03
"""Between what is carried and what it passes over [m]."""
_INTO_BIN = 0.02
"""How deep the beaker's base is below the bin's rim when it is let go of [m]; the hand stays above the rim."""
_OUTWARDS = 0.4
"""How far the left hand turns from straight ahead to reach the bin [rad]."""
_ASIDE = 0.035
"""From where a hand comes to the beaker [m]."""
_OVER, _AWAY = 0.07, 0.08
"""From how far above the bowl one comes down to it, and how far up it goes afterwards [m]."""
_TILTING, _PATIENCE = 30, 60
"""Control steps that tilting takes, and that the nut is waited for, at most."""


class ScriptedPour(ScriptedHands):
    """The left hand pours and drops the beaker; the right one waits for the nut, and for the left to make room.

    Raises:
        UserError: the hands of that robot are not known.
    """

    def __init__(self, task: TaskSpec, *, speed: str, seed: int) -> None:
        assert isinstance(task.goal, Pour)
        if task.robot not in _HOLDS:
            what = f"The scripted operator does not know how the hands of {task.robot} take hold of a beaker and a bowl."
            raise UserError(what, where="--device scripted", do="drive yourself (--device hands)")
        self._goal, self._holds = task.goal, _HOLDS[task.robot]
        super().__init__(task, speed=speed, seed=seed)

    def help(self) -> str:
        goal = self._goal
        return f"The scripted operator pours {goal.contents} into {goal.bowl}, drops {goal.beaker} and puts {goal.bowl} on {goal.scale}. Ctrl-C stops it."

    def _begin(self) -> dict[str, Iterator[Command]]:
        self._room = False
        return {"left": self._pour(), "right": self._serve()}

    # The left hand --------------------------------------------------------------------------------------

    def _pour(self) -> Iterator[Command]:
        hand, goal, aim = self._hands["left"], self._goal, self._manner.aim
        beaker, bowl = self._task.object(goal.beaker).half_size, self._task.object(goal.bowl).half_size
        grip = poses.compose(np.eye(3), hand.rng.normal(0.0, aim, 3)) @ self._holds.beaker
        aside = poses.compose(np.eye(3), np.array([0.0, _ASIDE, 0.0])) @ grip
        yield from hand.reach(lambda: self._pose_of(goal.beaker) @ aside, OPEN, PASSING)
        yield from hand.reach(lambda: self._pose_of(goal.beaker) @ grip, OPEN, ALIGNED)
        yield from hand.work_fingers(OPEN, CLOSE)
        over = poses.position(self._pose_of(goal.bowl)) + np.array([0.0, beaker[2], bowl[2] + _CLEAR + beaker[2]])
        lifted = hand.seen().eef_pose.copy()
        lifted[2, 3] += over[2] - self._pose_of(goal.beaker)[2, 3]
        yield from hand.reach(lambda: lifted, CLOSE, PASSING)
        # As it leans in the fingers now; whatever turn it made in them, it is round.
        held = poses.inverse(_leaning(self._pose_of(goal.beaker))) @ hand.seen().eef_pose

        def upright(place: np.ndarray, yaw: float = 0.0) -> Callable[[], np.ndarray]:
            return lambda: poses.yaw_pose(place, np.array(yaw)) @ held

        yield from hand.reach(upright(over), CLOSE, PASSING, curved=True)
        spout = poses.position(self._pose_of(goal.bowl)) + np.array([0.0, _SPOUT[0], bowl[2] + _SPOUT[1]]) + hand.rng.normal(0.0, 2 * aim, 3)
        mouth = over + np.array([0.0, 0.0, beaker[2]])
        tilted = [self._tilted(share, mouth + share * (spout - mouth), beaker[2]) @ held for share in np.linspace(0.0, 1.0, _TILTING)]
        for pose in tilted:
            yield hand.move(poses.delta_between(hand.seen().eef_pose, pose), CLOSE)
        for _ in range(_PATIENCE):
            if self._is_poured():
                break
            yield hand.move(poses.delta_between(hand.seen().eef_pose, tilted[-1]), CLOSE)
        yield from hand.look(CLOSE)
        for pose in tilted[::-1]:
            yield hand.move(poses.delta_between(hand.seen().eef_pose, pose), CLOSE)
        bin_, floor = poses.position(self._pose_of(goal.bin)), self._task.object(goal.bin).half_size[2]
        above = bin_ + np.array([0.0, 0.0, floor + 2 * _CLEAR + beaker[2]]) + hand.rng.normal(0.0, 3 * aim, 3)
        self._room = True
        yield from hand.reach(upright(above, _OUTWARDS), CLOSE, PASSING, curved=True)
        yield from hand.reach(upright(above - np.array([0.0, 0.0, 2 * _CLEAR + _INTO_BIN]), _OUTWARDS), CLOSE, PASSING)
        yield from hand.work_fingers(CLOSE, OPEN)
        back = hand.seen().eef_pose.copy()
        back[:3, 3] += (-0.04, _ASIDE / 2, 0.05)
        yield from hand.reach(lambda: back, OPEN, PASSING)
        while True:
            yield Command(np.zeros(6), OPEN)

    @staticmethod
    def _tilted(share: float, mouth: np.ndarray, half: float) -> np.ndarray:
        """(4, 4) of the beaker with its mouth at a place, turned to the right by a share of all the way."""
        turn = poses.matrix_from_rotvec(np.array([share * _TILT, 0.0, 0.0]))
        return poses.compose(turn, mouth - turn @ (0.0, 0.0, half))

    # The right hand -------------------------------------------------------------------------------------

    def _serve(self) -> Iterator[Command]:
        hand, goal, aim, pinch = self._hands["right"], self._goal, self._manner.aim, self._holds.pinch
        bowl, scale = self._task.object(goal.bowl).half_size, self._task.object(goal.scale).half_size
        while not self._room:
            yield Command(np.zeros(6), OPEN)
        offset = np.array([-bowl[0], 0.0, bowl[2]]) + hand.rng.normal(0.0, aim, 3)
        grip = poses.compose(np.eye(3), offset) @ self._holds.rim
        over = grip.copy()
        over[2, 3] += _OVER
        yield from hand.reach(lambda: self._pose_of(goal.bowl) @ over, OPEN, PASSING)
        yield from hand.reach(lambda: self._pose_of(goal.bowl) @ grip, OPEN, ALIGNED)
        yield from hand.work_fingers(OPEN, pinch)
        grasped = self._pose_of(goal.bowl)
        start, yaw = poses.position(grasped).copy(), np.arctan2(grasped[1, 0], grasped[0, 0])
        # The fingers lift its near end; it is brought level.
        held = poses.inverse(grasped) @ hand.seen().eef_pose
        target = poses.position(self._pose_of(goal.scale)) + np.array([*hand.rng.normal(0.0, 2 * aim, 2), scale[2] + bowl[2]])
        above = target + np.array([0.0, 0.0, 0.05])
        low = target + np.array([0.0, 0.0, 0.002])
        for place, tolerance in ((np.array([*start[:2], above[2]]), PASSING), (above, PASSING), (low, ALIGNED)):
            level = poses.yaw_pose(place, yaw) @ held
            yield from hand.reach(lambda pose=level: pose, pinch, tolerance)
        yield from hand.work_fingers(pinch, OPEN)
        back = hand.seen().eef_pose.copy()
        back[2, 3] += _AWAY
        yield from hand.reach(lambda: back, OPEN, PASSING)
        while True:
            yield Command(np.zeros(6), OPEN)

    # Both -----------------------------------------------------------------------------------------------

    def _pose_of(self, name: str) -> np.ndarray:
        return self._objects[name]

    def _is_poured(self) -> bool:
        goal = self._goal
        gap = poses.position(self._pose_of(goal.contents)) - poses.position(self._pose_of(goal.bowl))
        return bool(np.all(np.abs(gap[:2]) < goal.in_bowl[:2]) and gap[2] < 0.0)


def _leaning(pose: np.ndarray) -> np.ndarray:
    """(4, 4) of a round thing that leans as `pose` does and is not turned about its own axis."""
    axis = np.cross((0.0, 0.0, 1.0), pose[:3, 2])
    sine = np.linalg.norm(axis)
    return poses.compose(poses.matrix_from_rotvec(axis / max(sine, 1e-9) * np.arctan2(sine, pose[2, 2])), poses.position(pose))
