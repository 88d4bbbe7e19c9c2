"""The targets of each end-effector in a trial: which source segment it follows, where that is moved, and how it is reached."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.generation.clearance import clearances, in_hand
from mimicctl.generation.schedule import coordinated_with
from mimicctl.generation.segments import (
    Waypoints,
    bridge_waypoints,
    grasp_correction,
    jittered,
    segment_move,
    select_source,
    steps_needed,
    stretched,
    subtask_waypoints,
)
from mimicctl.generation.source import SourceDemo, SourcePool
from mimicctl.tasks import SubtaskConstraint

if TYPE_CHECKING:
    from mimicctl.generation.trial import TrialSettings

Way = Callable[[np.ndarray, np.ndarray, np.ndarray, "str | None", float, float, int], "np.ndarray | None"]
"""`MotionPlanner.way` from how things stand now."""

_LOOK_EVERY = 3
"""Control steps of a source between two looks at how much room it leaves the hand: the hand is many times wider than what it moves in them."""

_THERE, _PATIENCE = 0.01, 20
"""[m] How far the hand, or what it holds, may be from where it was in the source for the gripper to change, and control steps of a subtask that it is
waited for: joints of fingers may change sign often."""

_PEAK_NOISE = 3.0
"""Noise that is hardly ever exceeded, in standard deviations."""


@dataclass
class Track:
    """One eef's way through a trial.

    Attributes:
        rest: (4, 4) pose at reset.
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
    pose: np.ndarray = field(init=False)
    noise: np.ndarray = field(init=False)
    step: int = -1
    sources: list[int] = field(default_factory=list)
    unplanned: list[int] = field(default_factory=list)
    waypoints: Waypoints | None = None
    waited: int = 0
    _noise: np.ndarray | None = None
    _held: str | None = None

    def __post_init__(self) -> None:
        self.pose, self.noise = self.rest, np.zeros(6)

    def follow(self, waypoints: Waypoints, shakes: np.ndarray, held: str | None = None) -> None:
        """Have waypoints to go on with, noise (L, 6) for them in standard deviations, and an object in hand whose places they know."""
        self.waypoints, self._noise, self.step, self._held = waypoints, shakes * waypoints.noise[:, None], -1, held
        self.waited = 0

    def advance(self) -> None:
        self.step += 1
        self.pose, self.gripper, self.noise = self.waypoints.poses[self.step], self.waypoints.grippers[self.step], self._noise[self.step]

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
        here = eef_pose if self._held is None else object_poses()[self._held]
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


class Planner:
    """What the subtasks of a trial have in common: its random offsets, and the source demos and transforms that its eefs share."""

    def __init__(self, pool: SourcePool, settings: TrialSettings, rng: np.random.Generator) -> None:
        self._pool, self._settings, self._rng = pool, settings, rng
        self._bounds = pool.draw_bounds(settings.task, rng)
        self._chosen: dict[tuple[str | None, int | None], int] = {}
        self._agreed: dict[tuple[str, int], tuple[int, np.ndarray]] = {}

    def track(self, eef: str, eef_pose: np.ndarray) -> Track:
        """Of an eef at reset. Until its first subtask begins it stays there, its gripper as the sources begin."""
        return Track(eef_pose, self._pool.demos[0].gripper_actions[eef][0], self._settings.task.command_scale)

    def plan(self, track: Track, eef: str, number: int, eef_pose: np.ndarray, object_poses: dict[str, np.ndarray], way: Way | None) -> tuple[int, int]:
        """Build the trajectory of subtask `number` from how things stand now, and let `track` follow it.

        Args:
            way: finds the bridge; None: it is not to be planned.

        Returns:
            How many waypoints it has, and how many of them, at its end, are side by side with those of a coordinated partner.
        """
        settings, first = self._settings, number == 0
        subtask = settings.task.subtasks[eef][number]
        coordination = coordinated_with(settings.task, eef, number)
        closed = not first and track.gripper[0] < 0
        held = in_hand(settings.task, object_poses, eef_pose) if closed else None
        correction, same, synchronous = np.eye(4), None, 0
        if coordination is None:
            demo, move, _ = self._choose(track, eef, number, eef_pose, object_poses, held)
            begun = self._pool.demos[demo], eef, self._bounds[demo][eef][number]
            same = held if held is not None and self._held_then(*begun) == held else None
            if same is not None:
                correction = self._grasp_correction(*begun, eef_pose, object_poses, same)
        else:
            constraint, *partner = coordination
            if tuple(partner) in self._agreed:
                demo, move = self._agreed[tuple(partner)]
            else:
                demo, move = self._agree(constraint, track, eef, number, eef_pose, object_poses, held)
            self._agreed[eef, number] = demo, move
            synchronous = min(self._length(demo, eef, number), self._length(demo, *partner))
        self._chosen[self._share(eef, number)] = demo
        track.sources.append(demo)
        start, end = self._bounds[demo][eef][number : number + 2]
        if way is not None:
            start = self._pool.demos[demo].skill_start(eef, number, start, end)
        segment = subtask_waypoints(
            self._pool.demos[demo], eef, subtask, start, end, move, correction, same, from_measured_pose=first or settings.transform_first_robot_pose
        )
        # The arm lags behind its target, so a bridge from the measured pose takes a step back.
        begin = track.pose if settings.interpolate_from_last_target_pose and not first else eef_pose
        if settings.max_eef_speed is not None:
            times, synchronous = self._times(segment, demo, eef, number, coordination and coordination[1:], synchronous)
            segment = stretched(segment, times)
        found = None
        if way is not None:
            bridge, seed = settings.bridge, int(self._rng.integers(1, 2**31))
            found = way(begin, segment.poses[0], segment.grippers[0], held, min(bridge.step, self._max_step), bridge.turn, seed)
            if found is None:
                track.unplanned.append(number)
        # The median of a whole demo, which takes its time: only where it is gone by.
        usual_step = self._pool.demos[demo].usual_step(eef) if subtask.num_interpolation_steps == "auto" else np.inf
        waypoints = bridge_waypoints(begin, segment, subtask, settings.bridge, found, usual_step=usual_step, max_step=self._max_step)
        waypoints = dataclasses.replace(waypoints, noise=np.minimum(waypoints.noise, self._max_noise))
        track.follow(waypoints, self._rng.standard_normal((len(waypoints), 6)), same)
        return len(waypoints), synchronous

    @property
    def _max_step(self) -> float:
        """Between two targets [m]."""
        return (self._settings.max_eef_speed or np.inf) / self._settings.task.control_hz

    @property
    def _max_noise(self) -> float:
        """Standard deviation of the action noise [action units] that alone would not move a hand faster than its targets may."""
        task = self._settings.task
        return np.inf if task.on_floor else self._max_step / (_PEAK_NOISE * task.command_scale)

    def _times(self, segment: Waypoints, demo: int, eef: str, number: int, partner: tuple[str, int] | None, synchronous: int) -> tuple[np.ndarray, int]:
        """Control steps that each waypoint (L,) takes within the speed limit, and how many at the end are then side by side with the partner's.

        Both have to slow down where one of them is too fast.
        """
        times = steps_needed(segment.poses, self._max_step)
        if partner is None:
            return times, synchronous
        common = np.maximum(*(self._source_times(demo, *who)[-synchronous:] for who in ((eef, number), partner)))
        times[-synchronous] = max(times[-synchronous], common[0])
        times[len(times) - synchronous + 1 :] = common[1:]
        return times, int(common.sum())

    def _source_times(self, demo: int, eef: str, number: int) -> np.ndarray:
        start, end = self._bounds[demo][eef][number : number + 2]
        return steps_needed(self._pool.demos[demo].target_poses[eef][start:end], self._max_step)

    def shake(self) -> np.ndarray:
        """(6,) in standard deviations."""
        return self._rng.standard_normal(6)

    def _length(self, demo: int, eef: str, number: int) -> int:
        start, end = self._bounds[demo][eef][number : number + 2]
        return end - start

    def _share(self, eef: str, number: int) -> tuple[str | None, int | None]:
        """Subtasks with the same key have the same source demo."""
        return eef if self._settings.select_src_per_arm else None, number if self._settings.select_src_per_subtask else None

    def _agree(
        self,
        constraint: SubtaskConstraint,
        track: Track,
        eef: str,
        number: int,
        eef_pose: np.ndarray,
        object_poses: dict[str, np.ndarray],
        held: str | None,
    ) -> tuple[int, np.ndarray]:
        """Source demo and move (4, 4) for a coordinated subtask that begins before its partner's."""
        demo, move, place = self._choose(track, eef, number, eef_pose, object_poses, held, constraint)
        shift, turn = constraint.coordination_scheme_pos_noise_scale, constraint.coordination_scheme_rot_noise_scale
        if shift or turn:
            move = jittered(move, place, shift, turn, self._rng)
        return demo, move

    def _held_then(self, source: SourceDemo, eef: str, start: int) -> str | None:
        """What `eef` had in its grip at step `start` of a source."""
        if source.gripper_actions[eef][start, 0] >= 0:
            return None
        return in_hand(self._settings.task, {name: track[start] for name, track in source.object_poses.items()}, source.eef_poses[eef][start])

    def _grasp_correction(self, source: SourceDemo, eef: str, start: int, eef_pose: np.ndarray, object_poses: dict[str, np.ndarray], held: str) -> np.ndarray:
        """For an object that is in hand now and was then."""
        then = poses.inverse(source.eef_poses[eef][start]) @ source.object_poses[held][start]
        now = poses.inverse(eef_pose) @ object_poses[held]
        return grasp_correction(then, now, self._settings.task.object(held).yaw_symmetry)

    def _choose(
        self,
        track: Track,
        eef: str,
        number: int,
        eef_pose: np.ndarray,
        object_poses: dict[str, np.ndarray],
        held: str | None,
        constraint: SubtaskConstraint | None = None,
    ) -> tuple[int, np.ndarray, np.ndarray]:
        """Source demo, the move (4, 4) of its segment, and the point (3,) that the segment is about."""
        task, subtask = self._settings.task, self._settings.task.subtasks[eef][number]
        ref, share = subtask.object_ref, self._share(eef, number)
        numbers = [self._chosen[share]] if share in self._chosen else list(range(len(self._pool)))
        demos = [self._pool.demos[i] for i in numbers]
        bounds = [self._bounds[i][eef][number : number + 2] for i in numbers]
        # Without an object a segment stays where it was, as if all were about the origin.
        then = np.stack([demo.object_poses[ref][start] if ref else np.eye(4) for demo, (start, _) in zip(demos, bounds, strict=True)])
        now, symmetry = (object_poses[ref], task.object(ref).yaw_symmetry) if ref else (np.eye(4), 1)
        eefs = np.stack([demo.eef_poses[eef][start] for demo, (start, _) in zip(demos, bounds, strict=True)])
        lasts = np.stack([demo.eef_poses[eef][end - 1] for demo, (_, end) in zip(demos, bounds, strict=True)])
        in_the_way = [name for name in object_poses if name not in (ref, held)]
        centres = np.array([poses.position(object_poses[name]) for name in in_the_way])
        edges = np.array([task.object(name).edge for name in in_the_way])

        def room(choice: int, equivalents: np.ndarray) -> np.ndarray:
            start, end = bounds[choice]
            path = demos[choice].eef_poses[eef][start:end:_LOOK_EVERY]
            return clearances(task, path, equivalents @ poses.inverse(then[choice]), centres, edges)

        preferences = self._settings.preferences
        considered = preferences.considered(eef, number, [demo.name for demo in demos], self._rng) if preferences else np.ones(len(demos), dtype=bool)
        choice, object_pose = select_source(subtask, then, eefs, lasts, eef_pose, track.rest, now, symmetry, room, considered, self._rng)
        scheme = constraint.coordination_scheme if constraint else "transform"
        move = segment_move(scheme, then[choice], object_pose)
        return numbers[choice], move, poses.position(move @ (then[choice] if ref else eefs[choice]))
