"""An operator made of code, behind the same interface as a person's device. What it records is labelled `scripted`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mimicctl import poses
from mimicctl.devices.base import Command, OperatorView
from mimicctl.devices.scripted_hand import ALIGNED, APPROACH_HEIGHT, CLOSE, MANNERS, OPEN, PASSING, THERE, ScriptedHand
from mimicctl.tasks.objects import ObjectSpec

# Half of the room that the hand wants, and that its open fingers need, across and along its jaw, with a neighbour's own size added [m].
_HAND_ROOM, _FINGER_ROOM = (0.065, 0.14), (0.035, 0.09)
_CLEARANCE = 0.07


@dataclass(frozen=True)
class PickAndPlace:
    """One errand: put `pick` on top of `place`. Edge lengths in metres."""

    pick: str
    place: str
    pick_edge: float
    place_edge: float

    @property
    def text(self) -> str:
        return f"puts {self.pick} on {self.place}"


@dataclass(frozen=True)
class PickAndLift:
    """One errand: lift `pick` by `height` [m], and a little more, and hold it there. Nothing comes after it."""

    pick: str
    height: float

    @property
    def text(self) -> str:
        return f"lifts {self.pick}"


@dataclass(frozen=True)
class PickAndPutInto:
    """One errand: put `pick` into `container`, over its rim and down onto its floor, which is at `floor` in its frame [m].

    A gripper that hangs is given `calm` control steps after each move to come to rest in.
    """

    pick: ObjectSpec
    container: ObjectSpec
    floor: float
    calm: int = 0

    @property
    def text(self) -> str:
        return f"puts {self.pick.name} into {self.container.name}"


Errand = PickAndPlace | PickAndLift | PickAndPutInto


class ScriptedOperator:
    """Carries out errands in order, then holds still.

    Args:
        errands: what to do with which object.
        speed: a key of `MANNERS`.
        seed: of all the operator's choices; each `reset` takes the next child.
    """

    name = "scripted"
    human = False

    def __init__(self, errands: list[Errand], *, speed: str, seed: int) -> None:
        self._errands, self._manner = errands, MANNERS[speed]
        self._seed = np.random.SeedSequence(seed)
        self.reset()

    def start(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def help(self) -> str:
        return f"The scripted operator {', then '.join(errand.text for errand in self._errands)}. Ctrl-C stops it."

    def reset(self) -> None:
        self._hand = ScriptedHand(self._manner, np.random.default_rng(self._seed.spawn(1)[0]))
        self._script: Iterator[Command] = self._play()

    def command(self, view: OperatorView) -> Command:
        self._hand.view = view
        return next(self._script)

    # The script -----------------------------------------------------------------------------------------

    def _play(self) -> Iterator[Command]:
        for errand in self._errands:
            match errand:
                case PickAndPlace():
                    yield from self._pick(errand.pick)
                    yield from self._place(errand)
                case PickAndLift():
                    yield from self._pick(errand.pick)
                    yield from self._lift(errand)
                case PickAndPutInto():
                    grip = errand.pick.held_at.height
                    yield from self._pick(errand.pick.name, grip, errand.pick.half_size[2] - grip, errand.pick.yaw_symmetry, errand.calm)
                    yield from self._put_into(errand)
        while True:
            yield Command(np.zeros(6), OPEN)

    def _pick(self, name: str, height: float = 0.0, above: float = 0.0, faces: int = 4, calm: int = 0) -> Iterator[Command]:
        """Grasp an object across two of its equal sides, of which there are `faces` and which its x axis goes through.

        Args:
            height: of the grasp above its origin [m].
            above: what of it is higher than that, and has to be cleared [m].
            calm: see `PickAndPutInto`.
        """
        rng = self._hand.rng
        rotation = self._grasp_rotation(name, faces)
        approach = np.array([*rng.normal(0.0, 2 * self._manner.aim, 2), APPROACH_HEIGHT + rng.uniform(-0.02, 0.02)])
        grasp = np.array([*rng.normal(0.0, self._manner.aim, 2), rng.uniform(-0.0015, 0.0015)])

        approach[2] += height + above
        grasp[2] += height

        def over(offset: np.ndarray) -> np.ndarray:
            return poses.compose(rotation, poses.position(self._hand.seen().object_poses[name]) + offset)

        yield from self._hand.reach(lambda: over(approach), OPEN, ALIGNED, curved=True)
        yield from self._hand.look(OPEN, calm)
        yield from self._hand.reach(lambda: over(grasp), OPEN, THERE)
        yield from self._hand.work_gripper(CLOSE)

    def _place(self, errand: PickAndPlace) -> Iterator[Command]:
        rng = self._hand.rng
        stack_height = (errand.pick_edge + errand.place_edge) / 2
        carry = stack_height + _CLEARANCE + rng.uniform(-0.01, 0.02)
        rotation = self._aligning_rotation(errand.pick, errand.place, 4)
        aim = rng.normal(0.0, self._manner.aim, 2)

        def above(height: float) -> np.ndarray:
            """Where the eef must be for the object in hand to hang `height` above the centre of the other."""
            view = self._hand.seen()
            held = poses.position(view.eef_pose) - poses.position(view.object_poses[errand.pick])
            goal = poses.position(view.object_poses[errand.place]) + held
            goal[:2] += aim
            goal[2] += height
            return poses.compose(rotation, goal)

        start = self._hand.seen().eef_pose.copy()
        lift = start.copy()
        lift[2, 3] = max(start[2, 3], poses.position(above(carry))[2])
        yield from self._hand.reach(lambda: lift, CLOSE, PASSING)
        yield from self._hand.reach(lambda: above(carry), CLOSE, ALIGNED, curved=True)
        yield from self._hand.look(CLOSE)
        yield from self._hand.reach(lambda: above(stack_height + 0.002), CLOSE, THERE)
        yield from self._hand.work_gripper(OPEN)
        away = self._hand.seen().eef_pose.copy()
        away[2, 3] += APPROACH_HEIGHT + rng.uniform(-0.01, 0.03)
        yield from self._hand.reach(lambda: away, OPEN, PASSING)

    def _put_into(self, errand: PickAndPutInto) -> Iterator[Command]:
        rng = self._hand.rng
        stands = errand.floor + errand.pick.half_size[2]
        carry = errand.container.half_size[2] + errand.pick.half_size[2] + _CLEARANCE + rng.uniform(-0.01, 0.02)
        rotation = self._aligning_rotation(errand.pick.name, errand.container.name, errand.container.yaw_symmetry)
        aim = rng.normal(0.0, 3 * self._manner.aim, 2)

        def in_hand() -> np.ndarray:
            """(3,) from the object to the eef."""
            view = self._hand.seen()
            return poses.position(view.eef_pose) - poses.position(view.object_poses[errand.pick.name])

        # What hangs is not where the eef holds it: who steered by what swings would drive the swing.
        grasped = in_hand() if errand.calm else None

        def above(height: float) -> np.ndarray:
            """Where the eef must be for the object in hand to be `height` above the middle of the container."""
            goal = poses.position(self._hand.seen().object_poses[errand.container.name]) + (in_hand() if grasped is None else grasped)
            return poses.compose(rotation, goal + np.array([*aim, height]))

        lift = self._hand.seen().eef_pose.copy()
        lift[2, 3] = above(carry)[2, 3]
        yield from self._hand.reach(lambda: lift, CLOSE, PASSING)
        yield from self._hand.reach(lambda: above(carry), CLOSE, ALIGNED, curved=True)
        yield from self._hand.look(CLOSE, errand.calm)
        yield from self._hand.reach(lambda: above(stands + 0.003), CLOSE, THERE)
        yield from self._hand.work_gripper(OPEN)
        away = self._hand.seen().eef_pose.copy()
        away[2, 3] += APPROACH_HEIGHT + rng.uniform(-0.01, 0.03)
        yield from self._hand.reach(lambda: away, OPEN, PASSING)

    def _lift(self, errand: PickAndLift) -> Iterator[Command]:
        rng = self._hand.rng
        up = self._hand.seen().eef_pose.copy()
        up[:3, 3] += [*rng.normal(0.0, 5 * self._manner.aim, 2), errand.height + rng.uniform(0.03, 0.06)]
        yield from self._hand.reach(lambda: up, CLOSE, PASSING)
        while True:
            yield Command(np.zeros(6), CLOSE)

    # Perception --------------------------------------------------------------------------------------------

    def _grasp_rotation(self, name: str, faces: int) -> np.ndarray:
        """Gripper pointing down with its jaw across two of an object's equal sides, turned so that the hand keeps off its neighbours."""
        view = self._hand.seen()
        jaw = poses.rotation(view.eef_pose)[:2, 1]
        face = poses.rotation(view.object_poses[name])[:2, 0]
        now, wanted = np.arctan2(jaw[1], jaw[0]), np.arctan2(face[1], face[0])
        apart = 2 * np.pi / faces
        least = (wanted - now + apart / 2) % apart - apart / 2
        turn = min((least, least - np.sign(least) * apart), key=lambda t: abs(t) + 10 * self._crowding(name, now + t))
        yaw = now + turn + self._hand.rng.normal(0.0, 0.02)
        y_axis, z_axis = np.array([np.cos(yaw), np.sin(yaw), 0.0]), np.array([0.0, 0.0, -1.0])
        return np.stack([np.cross(y_axis, z_axis), y_axis, z_axis], axis=-1)

    def _aligning_rotation(self, pick: str, place: str, faces: int) -> np.ndarray:
        """The eef's rotation once it has turned, as little as it can, until the sides of what is in hand, so many equal ones, lie along those below."""
        view = self._hand.seen()
        held, below = (poses.rotation(view.object_poses[name])[:2, 0] for name in (pick, place))
        gap = np.arctan2(below[1], below[0]) - np.arctan2(held[1], held[0])
        apart = 2 * np.pi / faces
        turn = (gap + apart / 2) % apart - apart / 2 + self._hand.rng.normal(0.0, 0.02)
        return poses.matrix_from_rotvec(np.array([0.0, 0.0, turn])) @ poses.rotation(view.eef_pose)

    def _crowding(self, name: str, yaw: float) -> int:
        """How many other objects stand where the hand would be with its jaw along `yaw`; twice, those that its fingers would meet."""
        view = self._hand.seen()
        along = np.array([np.cos(yaw), np.sin(yaw)])
        count = 0
        for other, pose in view.object_poses.items():
            gap = poses.position(pose)[:2] - poses.position(view.object_poses[name])[:2]
            across = abs(along[0] * gap[1] - along[1] * gap[0])
            if other != name:
                count += sum(across < depth and abs(along @ gap) < width for depth, width in (_HAND_ROOM, _FINGER_ROOM))
        return count
