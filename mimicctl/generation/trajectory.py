"""The targets of each end-effector in a trial: which source segment it follows, where that is moved, and how it is reached."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mimicctl import poses
from mimicctl.generation.clearance import clearances, in_hand
from mimicctl.generation.schedule import coordinated_with
from mimicctl.generation.segments import (
    Waypoints,
    bridge_waypoints,
    grasp_correction,
    jittered,
    rank_sources,
    retimed,
    segment_move,
    steps_needed,
    subtask_waypoints,
)
from mimicctl.generation.source import SourcePool
from mimicctl.tasks import SubtaskConstraint
from mimicctl.tasks.spec import BODY

if TYPE_CHECKING:
    from mimicctl.envs.base import Way
    from mimicctl.generation.trial import TrialSettings

FindWay = Callable[[np.ndarray, np.ndarray, np.ndarray, "str | None", float, float, int], "Way | None"]
"""`MotionPlanner.way` from how things stand now."""

_LOOK_EVERY = 3
"""Control steps of a source between two looks at how much room it leaves the hand: the hand is many times wider than what it moves in them."""

_WAYS_TRIED, _ROOMY = 6, 0.005
"""Sources, or equivalent poses of a symmetric object, to which a way is looked for, until one is found from which the robot keeps this far from
obstacles [m]."""

_THERE, _PATIENCE = 0.01, 20
"""[m] How far the hand, or what it holds, may be from where it was in the source for the gripper to change, and control steps of a subtask that it is
waited for: joints of fingers may change sign often."""

_BODY_TURN = 0.04
"""[rad] That a body, which stays on its feet, turns in a control step of a bridge."""

_PEAK_NOISE = 3.0
"""Noise that is hardly ever exceeded, in standard deviations."""


@dataclass
class Track:
    """One eef's way through a trial.

    Attributes:
        rest: (4, 4) pose at reset.
        riding: (4, 4) the target in the frame of the robot's body, which takes it along; None: it stays where it is in the env's.
        command_scale: [m] that one unit of an action moves it by.
        pose, gripper, noise: (4, 4), (G,) and (6,), its target now and what is added to the action towards it.
        step: waypoint of the subtask under way that is the target now; -1: none is yet.
        sources: number of the source demo of each subtask that was begun.
        waypoints: of the subtask under way; None: none was begun.
        waited: control steps of the subtask under way that it has waited for the hand.
        unplanned: numbers of the subtasks to which no way was found, although one was looked for.
    """

    rest: np.ndarray
    gripper: np.ndarray
    command_scale: float
    riding: np.ndarray | None = None
    pose: np.ndarray = field(init=False)
    noise: np.ndarray = field(init=False)
    step: int = -1
    sources: list[int] = field(default_factory=list)
    unplanned: list[int] = field(default_factory=list)
    waypoints: Waypoints | None = None
    waited: int = 0
    _noise: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.pose, self.noise = self.rest, np.zeros(6)

    def follow(self, waypoints: Waypoints, shakes: np.ndarray) -> None:
        """Have waypoints to go on with, and noise (L, 6) for them in standard deviations."""
        self.waypoints, self._noise, self.step, self.waited = waypoints, shakes * waypoints.noise[:, None], -1, 0

    def go_to(self, step: int) -> None:
        self.step = step
        self.pose, self.gripper, self.noise = self.waypoints.poses[self.step], self.waypoints.grippers[self.step], self._noise[self.step]
        if self.riding is not None:
            self.riding = self.pose

    def go_with(self, body_pose: np.ndarray) -> None:
        """The body is at `body_pose` (4, 4) now."""
        if self.riding is not None:
            self.pose = body_pose @ self.riding

    def go_to_goal(self) -> None:
        """The target is where the subtask under way ends, at whichever waypoint it is."""
        self.pose = self.waypoints.poses[-1]

    @property
    def at_stitch(self) -> bool:
        """Whether a bridge or a segment begins with the target."""
        return self.step in (0, self.waypoints.lead)

    @property
    def about_to_change(self) -> bool:
        """Whether the gripper does something else at the next waypoint."""
        if self.waypoints is None or self.step + 1 == len(self.waypoints):
            return False
        return bool(np.any(np.sign(self.waypoints.grippers[self.step + 1]) != np.sign(self.gripper)))

    def away(self, eef_pose: np.ndarray, object_poses: Callable[[], dict[str, np.ndarray]]) -> np.ndarray | None:
        """The way (3,) [m] from where the hand is, or what it holds, to where the source's was at the next waypoint; None: none that is waited for.

        A hand that the noise cannot have moved that far is off for another reason, and waiting would not help.
        """
        if self.waypoints.places is None or self.waited == _PATIENCE or _PEAK_NOISE * self.command_scale * self.waypoints.noise[self.step + 1] < _THERE:
            return None
        here = eef_pose if self.waypoints.held is None else object_poses()[self.waypoints.held]
        way = self.waypoints.places[self.step + 1] - poses.position(here)
        return way if np.linalg.norm(way) > _THERE else None

    def wait(self, eef_pose: np.ndarray, way: np.ndarray, shake: np.ndarray) -> None:
        """Go that `way` (3,) from `eef_pose` (4, 4), shaken by `shake` (6,), in standard deviations, as on the way to the next waypoint."""
        self.waited += 1
        self.pose = poses.compose(poses.rotation(self.pose), poses.position(eef_pose) + way)
        self.noise = shake * self.waypoints.noise[self.step + 1]

    def hold(self) -> None:
        """Stay at the target; what only waits is not shaken."""
        self.noise = np.zeros(6)


class _Choice(NamedTuple):
    """A source segment and where it goes.

    Attributes:
        demo: number of the source.
        turn: of the object, among its equivalent poses.
        move: (4, 4) of the segment.
        centre: (3,) what it is about.
    """

    demo: int
    turn: int
    move: np.ndarray
    centre: np.ndarray


@dataclass(frozen=True)
class _Beginning:
    """A subtask that is to begin, and how things stand.

    Attributes:
        eef, number: whose it is, and which.
        rest: (4, 4) pose of the eef at reset.
        eef_pose: (4, 4), now.
        object_poses: object name to (4, 4), and `BODY` to that of the robot's body if it has one, now.
        held: object in hand; None: none is, or it does not matter.
    """

    eef: str
    number: int
    rest: np.ndarray
    eef_pose: np.ndarray
    object_poses: dict[str, np.ndarray]
    held: str | None


class Planner:
    """What the subtasks of a trial have in common: its random offsets, and the source demos and transforms that its eefs share."""

    def __init__(self, pool: SourcePool, settings: TrialSettings, rng: np.random.Generator) -> None:
        self._pool, self._settings, self._rng = pool, settings, rng
        self._bounds = pool.draw_bounds(settings.task, rng)
        self._chosen: dict[tuple[str | None, int | None], int] = {}
        self._agreed: dict[tuple[str, int], tuple[int, np.ndarray]] = {}

    def track(self, eef: str, eef_pose: np.ndarray, body_pose: np.ndarray | None) -> Track:
        """Of an eef at reset. Until its first subtask begins it stays there, or goes where the body takes it, its gripper as the sources begin."""
        riding = poses.inverse(body_pose) @ eef_pose if body_pose is not None and eef != BODY else None
        return Track(eef_pose, self._pool.demos[0].gripper_actions[eef][0], self._settings.task.command_scale, riding)

    def plan(self, track: Track, eef: str, number: int, eef_pose: np.ndarray, object_poses: dict[str, np.ndarray], way: FindWay | None) -> tuple[int, int]:
        """Build the trajectory of subtask `number` from how things stand now, and let `track` follow it.

        Args:
            way: finds the bridge; None: it is not to be planned.

        Returns:
            How many waypoints it has, and how many of them, at its end, are side by side with those of a coordinated partner.
        """
        settings, first = self._settings, number == 0
        subtask = settings.task.subtasks[eef][number]
        rides = subtask.object_ref == BODY
        closed = not first and bool(np.any(track.gripper[:1] < 0))
        objects = {name: pose for name, pose in object_poses.items() if name != BODY}
        held = in_hand(settings.task, objects, eef_pose) if closed else None
        now = _Beginning(eef, number, track.rest, eef_pose, object_poses, held)
        # The arm lags behind its target, so a bridge from the measured pose takes a step back.
        begin = track.pose if settings.interpolate_from_last_target_pose and not first else eef_pose
        if rides:
            begin = poses.inverse(object_poses[BODY]) @ begin
        found, synchronous = None, 0
        coordination = coordinated_with(settings.task, eef, number)
        if coordination is not None:
            demo, segment, synchronous = self._together(now, *coordination)
        elif way is not None:
            demo, segment, found = self._reached(now, begin, way)
            if found is None:
                track.unplanned.append(number)
        else:
            choice = self._choices(now)[0]
            demo, segment = choice.demo, self._alone(now, choice)
        self._chosen[self._share(eef, number)] = demo
        track.sources.append(demo)
        # The median of a whole demo, which takes its time: only where it is gone by.
        usual_step = self._pool.demos[demo].usual_step(eef) if subtask.num_interpolation_steps == "auto" else np.inf
        bridge = dataclasses.replace(settings.bridge, shape="straight", turn=_BODY_TURN) if eef == BODY else settings.bridge
        waypoints = bridge_waypoints(begin, segment, subtask, bridge, found, usual_step=usual_step, max_step=self._max_step)
        waypoints = dataclasses.replace(waypoints, noise=np.minimum(waypoints.noise, self._max_noise))
        track.riding = begin if rides else None
        track.follow(waypoints, self._rng.standard_normal((len(waypoints), 6)))
        return len(waypoints), synchronous

    def shake(self) -> np.ndarray:
        """(6,) in standard deviations."""
        return self._rng.standard_normal(6)

    @property
    def _max_step(self) -> float:
        """That a hand may come further in a control step [m]."""
        return (self._settings.max_eef_speed or np.inf) / self._settings.task.control_hz

    @property
    def _max_noise(self) -> float:
        """Standard deviation of the action noise [action units] that alone would not move a hand faster than its targets may."""
        task = self._settings.task
        return np.inf if task.on_floor else self._max_step / (_PEAK_NOISE * task.command_scale)

    # Segments ---------------------------------------------------------------------------------------------------

    def _reached(self, now: _Beginning, begin: np.ndarray, way: FindWay) -> tuple[int, Waypoints, np.ndarray | None]:
        """Source demo, segment, and the way (L, 4, 4) to it from `begin` (4, 4): of the first choice with a way and room after it, else that with the most.

        Where no way is found it is the first choice, and None.
        """
        bridge, choices = self._settings.bridge, _by_turns(self._choices(now))
        best: tuple[int, Waypoints, Way] | None = None
        for choice in choices[:_WAYS_TRIED]:
            segment, seed = self._alone(now, choice), int(self._rng.integers(1, 2**31))
            found = way(begin, segment.poses, segment.grippers, now.held, min(bridge.step, self._max_step), bridge.turn, seed)
            if found is not None and (best is None or found.room > best[-1].room):
                best = choice.demo, segment, found
                if found.room >= _ROOMY:
                    break
        if best is None:
            return choices[0].demo, self._alone(now, choices[0]), None
        demo, segment, found = best
        return demo, segment, found.targets

    def _alone(self, now: _Beginning, choice: _Choice) -> Waypoints:
        """The segment of an uncoordinated subtask, with allowance for how what is in hand lies in it."""
        times = self._times(choice.demo, now.eef, now.number)
        held = self._held_alike(now, choice.demo)
        return self._moved(now, choice.demo, choice.move, times, held)

    def _together(self, now: _Beginning, constraint: SubtaskConstraint, *partner: str | int) -> tuple[int, Waypoints, int]:
        """Source demo and segment of a coordinated subtask, and how many steps at its end go side by side with the partner's."""
        demo, move = self._agreed[partner] if partner in self._agreed else self._agree(now, constraint)
        self._agreed[now.eef, now.number] = demo, move
        times, its_times = self._times(demo, now.eef, now.number), self._times(demo, *partner)
        synchronous = min(len(times), len(its_times))
        # Both have to slow down where one of them is too fast.
        common = np.maximum(times[-synchronous:], its_times[-synchronous:])
        times[-synchronous:] = common
        return demo, self._moved(now, demo, move, times), int(common.sum())

    def _times(self, demo: int, eef: str, number: int) -> np.ndarray:
        """Control steps (L,) that each step of a source segment takes within the speed limit."""
        return steps_needed(self._pool.demos[demo].path(eef, *self._bounds[demo][eef][number]), self._max_step)

    def _moved(self, now: _Beginning, demo: int, move: np.ndarray, times: np.ndarray, held: str | None = None) -> Waypoints:
        """
        Args:
            held: object in hand, now and then, for whose grasp allowance is made.
        """
        source, subtask = self._pool.demos[demo], self._settings.task.subtasks[now.eef][now.number]
        start, end = self._bounds[demo][now.eef][now.number]
        if subtask.object_ref == BODY:
            source, move, held = source.seen_from(BODY, now.eef), np.eye(4), None
        # A hand that has just arrived stands, and would run ahead of the source if it stood where that was sent to, and not where it was.
        correction = np.eye(4) if held is None else self._grasp_correction(now, demo, held)
        from_measured = now.number == 0 or self._settings.transform_first_robot_pose or bool(source.starts)
        segment = subtask_waypoints(source, now.eef, subtask, start, end, move, correction, held, from_measured_pose=from_measured)
        if subtask.object_ref == BODY:
            segment = dataclasses.replace(segment, places=None)  # they are of the env, in which the body is somewhere else by then
        path = move @ source.path(now.eef, start, end) @ correction
        if from_measured:
            path, times = np.concatenate([path[:1], path]), np.concatenate([[1], times])
        return retimed(segment, path, times)

    def _held_alike(self, now: _Beginning, demo: int) -> str | None:
        """The object in hand, if it was in the source's too when the segment began."""
        source, (start, _) = self._pool.demos[demo], self._bounds[demo][now.eef][now.number]
        if now.held is None or source.gripper_actions[now.eef][start, 0] >= 0:
            return None
        objects = {name: track[start] for name, track in source.object_poses.items()}
        return now.held if in_hand(self._settings.task, objects, source.eef_poses[now.eef][start]) == now.held else None

    def _grasp_correction(self, now: _Beginning, demo: int, held: str) -> np.ndarray:
        """(4, 4), for an object that is in hand now and was then."""
        source, (start, _) = self._pool.demos[demo], self._bounds[demo][now.eef][now.number]
        held_then = poses.inverse(source.eef_poses[now.eef][start]) @ source.object_poses[held][start]
        held_now = poses.inverse(now.eef_pose) @ now.object_poses[held]
        return grasp_correction(held_then, held_now, self._settings.task.object(held).yaw_symmetry)

    # Choices ----------------------------------------------------------------------------------------------------

    def _share(self, eef: str, number: int) -> tuple[str | None, int | None]:
        """Subtasks with the same key have the same source demo."""
        return eef if self._settings.select_src_per_arm else None, number if self._settings.select_src_per_subtask else None

    def _agree(self, now: _Beginning, constraint: SubtaskConstraint) -> tuple[int, np.ndarray]:
        """Source demo and move (4, 4) for a coordinated subtask that begins before its partner's."""
        demo, _, move, centre = self._choices(now, constraint)[0]
        shift, turn = constraint.coordination_scheme_pos_noise_scale, constraint.coordination_scheme_rot_noise_scale
        if shift or turn:
            move = jittered(move, centre, shift, turn, self._rng)
        return demo, move

    def _choices(self, now: _Beginning, constraint: SubtaskConstraint | None = None) -> list[_Choice]:
        """What may be done, the one to take first."""
        task, eef, number = self._settings.task, now.eef, now.number
        subtask, share = task.subtasks[eef][number], self._share(eef, number)
        ref = subtask.object_ref
        numbers = [self._chosen[share]] if share in self._chosen else list(range(len(self._pool)))
        demos = [self._pool.demos[i] for i in numbers]
        bounds = [self._bounds[i][eef][number] for i in numbers]
        # Without an object a segment stays where it was, as if all were about the origin.
        then = np.stack([demo.reference_pose(ref, start) for demo, (start, _) in zip(demos, bounds, strict=True)])
        object_pose = now.object_poses[ref] if ref else np.eye(4)
        symmetry = task.object(ref).yaw_symmetry if ref and ref != BODY else 1
        eefs = np.stack([demo.eef_poses[eef][start] for demo, (start, _) in zip(demos, bounds, strict=True)])
        lasts = np.stack([demo.eef_poses[eef][end - 1] for demo, (_, end) in zip(demos, bounds, strict=True)])
        in_the_way = [name for name in now.object_poses if name not in (ref, now.held, BODY)]
        centres = np.array([poses.position(now.object_poses[name]) for name in in_the_way])
        half_sizes = np.array([task.object(name).half_size for name in in_the_way])

        def room(choice: int, equivalents: np.ndarray) -> np.ndarray:
            start, end = bounds[choice]
            path = demos[choice].eef_poses[eef][start:end:_LOOK_EVERY]
            return clearances(task, path, equivalents @ poses.inverse(then[choice]), centres, half_sizes)

        preferences = self._settings.preferences
        considered = preferences.considered(eef, number, [demo.name for demo in demos], self._rng) if preferences else np.ones(len(demos), dtype=bool)
        ranked = rank_sources(subtask, then, eefs, lasts, now.eef_pose, now.rest, object_pose, symmetry, room, considered, self._rng)
        scheme = constraint.coordination_scheme if constraint else "transform"
        choices = []
        for row, turn, equivalent in ranked:
            move = segment_move(scheme, then[row], equivalent)
            choices.append(_Choice(numbers[row], turn, move, poses.position(move @ (then[row] if ref else eefs[row]))))
        return choices


def _by_turns(choices: list[_Choice]) -> list[_Choice]:
    """The best of each equivalent pose before the second of any: where one is in the way, others with the same are likely to be, too."""
    before: Counter[int] = Counter()
    order = []
    for choice in choices:
        order.append(before[choice.turn])
        before[choice.turn] += 1
    return [choices[i] for i in sorted(range(len(choices)), key=order.__getitem__)]
