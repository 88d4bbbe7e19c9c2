"""An operator made of code, behind the same interface as a person's device.

It steers from waypoint to waypoint with a hand's habits: it speeds up and slows down, takes a curve rather than the
straight line, never aims twice at the same spot, trembles a little, and waits a moment after it closes or opens
the gripper. What it records is labelled `scripted`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from mimicctl import poses
from mimicctl.devices.base import Command, OperatorView

OPEN, CLOSE = 1.0, -1.0


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

# How near counts as there [m]: in passing, before going down, and at the spot itself.
_PASSING, _ALIGNED, _THERE = 0.02, 0.006, 0.002
# Half of the room the hand wants, across and along its jaw, with a neighbour's own size added [m].
_HAND_HALF_DEPTH, _HAND_HALF_WIDTH = 0.065, 0.14
_APPROACH_HEIGHT = 0.09
_CLEARANCE = 0.07
_TREMBLE_MEMORY = 0.8
_FINGERS_STOPPED = 2e-4


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


Errand = PickAndPlace | PickAndLift


@dataclass
class _Hand:
    """What the operator keeps in mind from one step to the next."""

    rng: np.random.Generator
    tremble: np.ndarray = field(default_factory=lambda: np.zeros(6))


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
        self._view: OperatorView | None = None
        self.reset()

    def start(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def help(self) -> str:
        return f"The scripted operator {', then '.join(errand.text for errand in self._errands)}. Ctrl-C stops it."

    def reset(self) -> None:
        self._hand = _Hand(np.random.default_rng(self._seed.spawn(1)[0]))
        self._script: Iterator[Command] = self._play()

    def command(self, view: OperatorView) -> Command:
        self._view = view
        return next(self._script)

    # The script -----------------------------------------------------------------------------------------

    def _play(self) -> Iterator[Command]:
        for errand in self._errands:
            yield from self._pick(errand.pick)
            yield from self._place(errand) if isinstance(errand, PickAndPlace) else self._lift(errand)
        while True:
            yield Command(np.zeros(6), OPEN)

    def _pick(self, name: str) -> Iterator[Command]:
        rng = self._hand.rng
        rotation = self._grasp_rotation(name)
        approach = np.array([*rng.normal(0.0, 2 * self._manner.aim, 2), _APPROACH_HEIGHT + rng.uniform(-0.02, 0.02)])
        grasp = np.array([*rng.normal(0.0, self._manner.aim, 2), rng.uniform(-0.0015, 0.0015)])

        def over(offset: np.ndarray) -> np.ndarray:
            return poses.compose(rotation, poses.position(self._seen().object_poses[name]) + offset)

        yield from self._reach(lambda: over(approach), OPEN, _ALIGNED, curved=True)
        yield from self._look(OPEN)
        yield from self._reach(lambda: over(grasp), OPEN, _THERE)
        yield from self._work_gripper(CLOSE)

    def _place(self, errand: PickAndPlace) -> Iterator[Command]:
        rng = self._hand.rng
        stack_height = (errand.pick_edge + errand.place_edge) / 2
        carry = stack_height + _CLEARANCE + rng.uniform(-0.01, 0.02)
        rotation = self._aligning_rotation(errand)
        aim = rng.normal(0.0, self._manner.aim, 2)

        def above(height: float) -> np.ndarray:
            """Where the eef must be for the object in hand to hang `height` above the centre of the other."""
            view = self._seen()
            held = poses.position(view.eef_pose) - poses.position(view.object_poses[errand.pick])
            goal = poses.position(view.object_poses[errand.place]) + held
            goal[:2] += aim
            goal[2] += height
            return poses.compose(rotation, goal)

        start = self._seen().eef_pose.copy()
        lift = start.copy()
        lift[2, 3] = max(start[2, 3], poses.position(above(carry))[2])
        yield from self._reach(lambda: lift, CLOSE, _PASSING)
        yield from self._reach(lambda: above(carry), CLOSE, _ALIGNED, curved=True)
        yield from self._look(CLOSE)
        yield from self._reach(lambda: above(stack_height + 0.002), CLOSE, _THERE)
        yield from self._work_gripper(OPEN)
        away = self._seen().eef_pose.copy()
        away[2, 3] += _APPROACH_HEIGHT + rng.uniform(-0.01, 0.03)
        yield from self._reach(lambda: away, OPEN, _PASSING)

    def _lift(self, errand: PickAndLift) -> Iterator[Command]:
        rng = self._hand.rng
        up = self._seen().eef_pose.copy()
        up[:3, 3] += [*rng.normal(0.0, 5 * self._manner.aim, 2), errand.height + rng.uniform(0.03, 0.06)]
        yield from self._reach(lambda: up, CLOSE, _PASSING)
        while True:
            yield Command(np.zeros(6), CLOSE)

    # Movements ------------------------------------------------------------------------------------------

    def _reach(self, goal_of: Callable[[], np.ndarray], gripper: float, tolerance: float, *, curved: bool = False) -> Iterator[Command]:
        """Go to a goal that is looked at anew each step, until the eef is within `tolerance` [m]."""
        start = poses.position(self._seen().eef_pose).copy()
        length = max(float(np.linalg.norm(poses.position(goal_of()) - start)), 1e-6)
        side = self._sideways(poses.position(goal_of()) - start) if curved else np.zeros(3)
        while True:
            eef, goal = self._seen().eef_pose, goal_of()
            delta = poses.delta_between(eef, goal)
            gap = float(np.linalg.norm(delta[:3]))
            if gap < tolerance and np.linalg.norm(delta[3:]) < 0.08:
                return
            # The detour is widest half-way and gone at the end.
            bend = np.sin(np.pi * np.clip(1.0 - gap / length, 0.0, 1.0))
            delta[:3] += 0.5 * gap * bend * side
            yield self._move(delta, gripper)

    def _move(self, delta: np.ndarray, gripper: float) -> Command:
        manner, hand = self._manner, self._hand
        command = manner.eagerness * delta
        for part, limit in ((slice(0, 3), manner.speed), (slice(3, 6), manner.turn)):
            size = np.linalg.norm(command[part])
            command[part] *= min(1.0, limit / max(size, 1e-9))
        innovation = np.sqrt(1 - _TREMBLE_MEMORY**2) * hand.rng.standard_normal(6)
        hand.tremble = _TREMBLE_MEMORY * hand.tremble + innovation
        size = np.repeat([np.linalg.norm(command[:3]), np.linalg.norm(command[3:])], 3)
        return Command(command + manner.tremble * size * hand.tremble, gripper)

    def _work_gripper(self, gripper: float) -> Iterator[Command]:
        """Close or open, hold until the fingers no longer move, and then a moment longer."""
        for _ in range(3):
            yield Command(np.zeros(6), gripper)
        while True:
            before = self._seen().gripper_opening
            yield Command(np.zeros(6), gripper)
            if abs(self._seen().gripper_opening - before) < _FINGERS_STOPPED:
                break
        yield from self._look(gripper)

    def _look(self, gripper: float) -> Iterator[Command]:
        """Wait for as long as it takes a person to see that all is well."""
        low, high = self._manner.pause
        for _ in range(int(self._hand.rng.integers(low, high + 1))):
            yield Command(np.zeros(6), gripper)

    # Perception --------------------------------------------------------------------------------------------

    def _seen(self) -> OperatorView:
        assert self._view is not None  # set by `command` before the script runs
        return self._view

    def _sideways(self, direction: np.ndarray) -> np.ndarray:
        """A horizontal vector across `direction`, of random sign and size up to `curve`."""
        across = np.array([-direction[1], direction[0], 0.0])
        length = np.linalg.norm(across)
        return across / max(length, 1e-9) * self._hand.rng.uniform(-1, 1) * self._manner.curve

    def _grasp_rotation(self, name: str) -> np.ndarray:
        """Gripper pointing down with its jaw across the faces of a cube, turned so that the hand keeps off its neighbours."""
        view = self._seen()
        jaw = poses.rotation(view.eef_pose)[:2, 1]
        face = poses.rotation(view.object_poses[name])[:2, 0]
        now, wanted = np.arctan2(jaw[1], jaw[0]), np.arctan2(face[1], face[0])
        least = (wanted - now + np.pi / 4) % (np.pi / 2) - np.pi / 4
        turn = min((least, least - np.sign(least) * np.pi / 2), key=lambda t: abs(t) + 10 * self._crowding(name, now + t))
        yaw = now + turn + self._hand.rng.normal(0.0, 0.02)
        y_axis, z_axis = np.array([np.cos(yaw), np.sin(yaw), 0.0]), np.array([0.0, 0.0, -1.0])
        return np.stack([np.cross(y_axis, z_axis), y_axis, z_axis], axis=-1)

    def _aligning_rotation(self, errand: PickAndPlace) -> np.ndarray:
        """The eef's rotation once it has turned, as little as it can, until the faces of the cube in hand lie along those below."""
        view = self._seen()
        held, below = (poses.rotation(view.object_poses[name])[:2, 0] for name in (errand.pick, errand.place))
        gap = np.arctan2(below[1], below[0]) - np.arctan2(held[1], held[0])
        turn = (gap + np.pi / 4) % (np.pi / 2) - np.pi / 4 + self._hand.rng.normal(0.0, 0.02)
        return poses.matrix_from_rotvec(np.array([0.0, 0.0, turn])) @ poses.rotation(view.eef_pose)

    def _crowding(self, name: str, yaw: float) -> int:
        """How many other objects stand where the hand would be with its jaw along `yaw`."""
        view = self._seen()
        along = np.array([np.cos(yaw), np.sin(yaw)])
        count = 0
        for other, pose in view.object_poses.items():
            gap = poses.position(pose)[:2] - poses.position(view.object_poses[name])[:2]
            across = abs(along[0] * gap[1] - along[1] * gap[0])
            count += other != name and across < _HAND_HALF_DEPTH and abs(along @ gap) < _HAND_HALF_WIDTH
        return count
