"""An operator made of code that takes a humanoid to a steering wheel, has it carry that to a bin, and puts it in. What it records is labelled `scripted`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mimicctl import poses
from mimicctl.devices.base import Command, OperatorView
from mimicctl.devices.scripted_drive import PACES, ScriptedBase, wrapped, yaw_of
from mimicctl.devices.scripted_hand import ALIGNED, CLOSE, MANNERS, OPEN, PASSING, ScriptedHand
from mimicctl.devices.scripted_place import HANDS, OVER
from mimicctl.tasks.spec import PutInto, TaskSpec

# Where what it works on is, from where it stands: ahead, and to its right, since it works with its right hand [m].
_AT_HAND = (0.37, -0.09)
_NEAR, _TURNED, _SETTLED = 0.02, 0.03, 4
"""[m], [rad] Near enough to a place to stand at, and control steps of it."""
_HIPS, _HIP_SPEED = 2.0, 0.15
"""[1/s] Speed of the hips for each metre still to go, and [m/s] at most."""
_DROP = 0.03
"""[m] Above the floor of the bin, that it lets go of the wheel at."""
_HAND = HANDS["g1"]
_CARRIED = {"left": (0.20, 0.20, 0.16), "right": (0.17, -0.17, 0.26)}
"""Where wrists are while it goes, in the frame of the pelvis [m]."""


@dataclass
class _Stand:
    """Where the robot is to stand.

    Attributes:
        place: x and y [m].
        heading: [rad].
        height: of the pelvis [m].
    """

    place: np.ndarray
    heading: float
    height: float


class ScriptedCarrier:
    """Goes to the wheel, takes the rim where it is nearest, carries it before its chest, and puts it into the bin.

    Args:
        speed: a key of `MANNERS`.
        seed: of all the operator's choices; each `reset` takes the next child.
    """

    name = "scripted"
    human = False

    def __init__(self, task: TaskSpec, *, speed: str, seed: int) -> None:
        assert isinstance(task.goal, PutInto)
        self._goal, self._wheel, self._ground = task.goal, task.object(task.goal.object_name).wheel, task.reset.z_of
        self._pace, self._manner = PACES[speed], MANNERS[speed]
        self._seed = np.random.SeedSequence(seed)
        self.reset()

    def start(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def help(self) -> str:
        return f"The scripted operator carries {self._goal.object_name} to {self._goal.container} and puts it in. Ctrl-C stops it."

    def reset(self) -> None:
        rng = np.random.default_rng(self._seed.spawn(1)[0])
        self._base, self._hands = ScriptedBase(self._pace, rng), {side: ScriptedHand(self._manner, rng) for side in ("left", "right")}
        self._stand: _Stand | None = None
        self._rest: dict[str, np.ndarray] = {}
        self._script = self._play()

    def command(self, view: OperatorView) -> Command:
        """The body is the task's first eef."""
        self._body, self._objects = view.eef_pose, view.object_poses
        for side, hand in self._hands.items():
            hand.view = view.others[side]
        if self._stand is None:
            self._begin()
        right = next(self._script)
        return Command(self._go(), OPEN, others={"left": self._carry("left", OPEN), "right": right})

    def _begin(self) -> None:
        self._standing_height = self._body[2, 3]
        self._stand = _Stand(self._body[:2, 3], yaw_of(self._body), self._standing_height)
        left = poses.rotation(poses.inverse(self._body) @ self._hands["left"].seen().eef_pose)
        self._rest = {"left": poses.compose(left, np.array(_CARRIED["left"])), "right": poses.compose(_HAND.palm_down, np.array(_CARRIED["right"]))}

    # The script, of the right hand; the body goes to where it is to stand meanwhile ---------------------------

    def _play(self) -> Iterator[Command]:
        yield from self._walk_to(self._goal.object_name, OPEN)
        yield from self._pick()
        yield from self._walk_to(self._goal.container, CLOSE)
        yield from self._put()
        while True:
            yield self._carry("right", OPEN)

    def _walk_to(self, name: str, gripper: float) -> Iterator[Command]:
        """Until it has stood before the object for a moment, the hand before its chest."""
        rng, target = self._hands["right"].rng, self._objects[name]
        heading = yaw_of(target) + rng.normal(0.0, 0.02)
        ahead, left = np.array(_AT_HAND) + rng.normal(0.0, 0.01, 2)
        away = np.array([np.cos(heading) * ahead - np.sin(heading) * left, np.sin(heading) * ahead + np.cos(heading) * left])
        self._stand = _Stand(target[:2, 3] - away, heading, self._standing_height + self._ground.get(name, 0.0))
        settled = 0
        while settled < _SETTLED:
            yield self._carry("right", gripper)
            settled = settled + 1 if self._is_there() else 0

    def _pick(self) -> Iterator[Command]:
        hand, wheel = self._hands["right"], self._objects[self._goal.object_name]
        grip = wheel @ _holding(self._wheel.radius, hand.rng.normal(0.0, self._manner.aim, 3))
        over = grip.copy()
        over[2, 3] += OVER
        yield from hand.reach(lambda: over, OPEN, PASSING)
        yield from hand.reach(lambda: grip, OPEN, ALIGNED)
        yield from hand.work_fingers(OPEN, CLOSE)
        yield from hand.reach(lambda: over, CLOSE, PASSING)
        yield from hand.reach(lambda: self._body @ self._rest["right"], CLOSE, PASSING)

    def _put(self) -> Iterator[Command]:
        hand, container = self._hands["right"], self._objects[self._goal.container]
        # No two grasps are alike: it goes by where the wheel is in the hand.
        held = poses.position(poses.inverse(hand.seen().eef_pose) @ self._objects[self._goal.object_name])
        height = self._goal.inside[2] + self._wheel.height + _DROP
        place = poses.position(container) + np.array([*hand.rng.normal(0.0, 3 * self._manner.aim, 2), height])
        turned = poses.rotation(container) @ _HAND.palm_down
        low = poses.compose(turned, place - turned @ held)
        above = low.copy()
        above[2, 3] += OVER
        yield from hand.reach(lambda: above, CLOSE, PASSING, curved=True)
        yield from hand.reach(lambda: low, CLOSE, ALIGNED)
        yield from hand.work_fingers(CLOSE, OPEN)
        back = low @ poses.compose(np.eye(3), np.array([-0.06, 0.0, 0.0]))
        yield from hand.reach(lambda: back, OPEN, PASSING)

    # What goes on beside it -------------------------------------------------------------------------------------

    def _go(self) -> np.ndarray:
        """(6,) velocities of the body."""
        stand = self._stand
        velocity = self._base.towards(self._body, stand.place, stand.heading, float(np.linalg.norm(stand.place - self._body[:2, 3])))
        velocity[2] = np.clip(_HIPS * (stand.height - self._body[2, 3]), -_HIP_SPEED, _HIP_SPEED)
        return velocity

    def _is_there(self) -> bool:
        stand = self._stand
        turn = wrapped(stand.heading - yaw_of(self._body))
        return bool(np.linalg.norm(stand.place - self._body[:2, 3]) < _NEAR and abs(turn) < _TURNED)

    def _carry(self, side: str, gripper: float) -> Command:
        hand = self._hands[side]
        return hand.move(poses.delta_between(hand.seen().eef_pose, self._body @ self._rest[side]), gripper)


def _holding(radius: float, offset: np.ndarray) -> np.ndarray:
    """(4, 4) of the wrist in the frame of a wheel whose rim it takes on the near side, `offset` (3,) off [m]."""
    return poses.compose(_HAND.palm_down, np.add((-radius, 0.0, 0.0), offset)) @ poses.compose(np.eye(3), -_HAND.bar)
