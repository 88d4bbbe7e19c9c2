"""One attempt at a new demonstration, from its seed to its result, in one env of a batch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from mimicctl import poses
from mimicctl.envs import make_planner
from mimicctl.envs.base import MimicEnv, MotionPlanner
from mimicctl.generation.balance import Preferences
from mimicctl.generation.diagnosis import diagnose
from mimicctl.generation.motion import motion_of
from mimicctl.generation.schedule import Schedule
from mimicctl.generation.segments import Bridge
from mimicctl.generation.source import SourcePool
from mimicctl.generation.trajectory import FindWay, Planner, Track
from mimicctl.schema import Episode
from mimicctl.tasks import TaskSpec
from mimicctl.tasks.spec import BODY

_START_STATES = 8
"""Start states that a balanced trial chooses among."""


@dataclass(frozen=True)
class TrialSettings:
    """What every trial of a run has in common.

    Attributes:
        task: with the run's overrides of its subtasks and constraints applied.
        seed: of the run; trial i draws from `SeedSequence(seed, spawn_key=(i,))` and from nothing else.
        select_src_per_subtask: choose the source demo anew for each subtask, not once a trial.
        select_src_per_arm: each eef has a source demo of its own; else all have the same, chosen by the one that begins first.
        transform_first_robot_pose: begin every segment with the source's measured pose, not only the first.
        interpolate_from_last_target_pose: bridge from the last target, not from the measured pose.
        use_navigation_controller: go by what the env says of the robot's way from place to place.
        max_eef_speed: of bridges' targets and of the path that the source's hand took in a segment [m/s]; None: no limit.
        preferences: of the round that the trials are in, if the run is balanced.
        keep_failed: deliver the episodes of failed trials too.
    """

    task: TaskSpec
    seed: int
    bridge: Bridge
    select_src_per_subtask: bool = True
    select_src_per_arm: bool = False
    transform_first_robot_pose: bool = False
    interpolate_from_last_target_pose: bool = True
    use_navigation_controller: bool = False
    max_eef_speed: float | None = None
    preferences: Preferences | None = None
    keep_failed: bool = False


@dataclass(frozen=True)
class TrialResult:
    """What became of a trial.

    Attributes:
        index: trial number.
        success: held for the task's `success_hold_steps`.
        sources: eef to the name of the source demo of each subtask that was begun.
        start: object name to (x, y, yaw) at reset.
        reached: eef to the number of its subtasks completed, in order.
        reason: why it failed; "" for a success.
        failed_eef: whose subtask it failed in; "" for a success.
        steps: control steps executed.
        motion: eef to how smoothly it moved (`motion_of`); of successes only.
        arms_held: control steps in which no joints were found for the targets, so that the arms stayed where they were; of a humanoid.
        unplanned: names of the subtasks to which no way was found, so that an arch led there; None if none was looked for.
        episode: None for a failure, unless they are kept.
        pool: source demos it could draw from, the first so many of a pool that grows; None of one that does not.
    """

    index: int
    success: bool
    sources: dict[str, tuple[str, ...]]
    start: dict[str, tuple[float, float, float]]
    reached: dict[str, int]
    reason: str
    failed_eef: str
    steps: int
    motion: dict[str, dict[str, float | None]]
    arms_held: int
    unplanned: tuple[str, ...] | None
    episode: Episode | None
    pool: int | None = None

    def record(self) -> dict:
        """The attempt as it is logged in the file. What is told of each eef is told of the only one by itself."""
        sources, reached = {eef: list(names) for eef, names in self.sources.items()}, self.reached
        several = len(sources) > 1
        return {
            "trial": self.index,
            "success": self.success,
            **({"pool": self.pool} if self.pool is not None else {}),
            "sources": sources if several else next(iter(sources.values())),
            "start": {name: list(values) for name, values in self.start.items()},
            "reached": reached if several else next(iter(reached.values())),
            "reason": self.reason,
            **({"failed_eef": self.failed_eef} if several else {}),
            "steps": self.steps,
            **({"motion": self.motion} if self.motion else {}),
            **({"arms_held": self.arms_held} if self.arms_held else {}),
            **({"unplanned": list(self.unplanned)} if self.unplanned is not None else {}),
        }


@dataclass
class _Trial:
    """A trial under way."""

    index: int
    settings: TrialSettings
    pool: SourcePool
    reset_seed: np.random.SeedSequence = field(init=False)
    snapshots: list[np.ndarray] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    intended: list[np.ndarray] = field(default_factory=list)
    tracks: dict[str, Track] = field(default_factory=dict)
    stitches: dict[str, list[int]] = field(default_factory=dict)
    held: int = 0
    settling: int = 0

    def __post_init__(self) -> None:
        self.reset_seed, own = np.random.SeedSequence(self.settings.seed, spawn_key=(self.index,)).spawn(2)
        self.schedule = Schedule(self.settings.task)
        self.planner = Planner(self.pool, self.settings, np.random.default_rng(own))

    def set_targets(
        self, eef_poses: dict[str, np.ndarray], object_poses: Callable[[], dict[str, np.ndarray]], way: FindWay | None, navigation: tuple[bool, bool] | None
    ) -> None:
        """Bring every track to its target for this control step; past the end the last ones are held while success settles.

        Args:
            eef_poses: eef to (4, 4), now.
            object_poses: looks up (4, 4) of each object, now.
            way: finds bridges from now; None: they are not planned.
            navigation: whether a controller drives the robot, and whether it has reached its goal; None: there is none.
        """
        body = eef_poses.get(BODY)
        if not self.tracks:
            self.tracks = {eef: self.planner.track(eef, pose, body) for eef, pose in eef_poses.items()}
            self.stitches = {eef: [] for eef in self.tracks}
        moving, away = dict[str, int](), dict[str, np.ndarray]()
        if self.schedule.done:
            self.settling += 1
        else:
            if ready := self.schedule.ready():
                objects = object_poses() if body is None else object_poses() | {BODY: body}
                for eef, number in ready:
                    self.schedule.begin(eef, *self.planner.plan(self.tracks[eef], eef, number, eef_poses[eef], objects, way))
            if navigation is None or not self.schedule.keep_with(*navigation):
                away = {eef: track.away(eef_poses[eef], object_poses) for eef, track in self.tracks.items() if track.about_to_change}
                away = {eef: way for eef, way in away.items() if way is not None}
                moving = self.schedule.advance(away.keys())
        for eef, track in self.tracks.items():
            if eef in moving:
                track.go_to(moving[eef])
                if track.at_stitch:
                    self.stitches[eef].append(len(self.actions))
            elif eef in away:
                track.wait(eef_poses[eef], away[eef], self.planner.shake())
            else:
                track.hold()
            if body is not None:
                track.go_with(body)
        if navigation is not None and body is not None and self.tracks[BODY].waypoints is not None:
            self.tracks[BODY].go_to_goal()

    def finished(self) -> bool:
        hold = self.settings.task.success_hold_steps
        if self.settings.use_navigation_controller and len(self.actions) >= self.settings.task.horizon:
            return True  # it may never get there
        # Placed in the last step, a stack still needs that long to count as held, and a little to come to rest.
        return self.held >= hold or self.settling > 2 * hold


def run_trials(env: MimicEnv, pool: SourcePool, settings: TrialSettings, next_index: Callable[[], int | None]) -> Iterator[TrialResult]:
    """Run trials, as many at once as the env has copies, and yield each result when it is there.

    Args:
        next_index: hands out the next trial number, or None when there are no more to begin.
    """
    motion = make_planner(settings.task) if settings.bridge.shape == "plan" else None
    slots: dict[int, _Trial] = {}
    for env_id in range(env.num_envs):
        _begin(env, pool, settings, next_index, slots, env_id)
    while slots:
        ids = list(slots)
        _step(env, motion, slots, ids)
        for env_id in ids:
            if slots[env_id].finished():
                yield _result(env, slots.pop(env_id))
                _begin(env, pool, settings, next_index, slots, env_id)


def _begin(
    env: MimicEnv,
    pool: SourcePool,
    settings: TrialSettings,
    next_index: Callable[[], int | None],
    slots: dict[int, _Trial],
    env_id: int,
) -> None:
    index = next_index()
    if index is None:
        return
    trial = _Trial(index, settings, pool)
    _reset(env, trial, env_id)
    trial.snapshots.append(env.snapshot([env_id])[0])
    slots[env_id] = trial


def _reset(env: MimicEnv, trial: _Trial, env_id: int) -> None:
    """To a start state of the trial's own; of several, drawn by how much each is preferred."""
    seed, preferences = trial.reset_seed, trial.settings.preferences
    if preferences is not None:
        *seeds, chooser = seed.spawn(_START_STATES + 1)
        weights = []
        for candidate in seeds:
            env.reset([env_id], [candidate])
            weights.append(preferences.weight(trial.settings.task, env.object_poses(env.snapshot([env_id])[0])))
        seed = seeds[np.random.default_rng(chooser).choice(len(seeds), p=np.array(weights) / sum(weights))]
    env.reset([env_id], [seed])


def _step(env: MimicEnv, motion: MotionPlanner | None, slots: dict[int, _Trial], ids: list[int]) -> None:
    """One control step of every trial."""
    trials = [slots[env_id] for env_id in ids]
    before = np.stack([trial.snapshots[-1] for trial in trials])
    eef_poses = env.eef_poses(before)
    navigation = zip(*env.navigation(before), strict=True) if trials[0].settings.use_navigation_controller else itertools.repeat(None)
    for (row, trial), navigated in zip(enumerate(trials), navigation, strict=False):
        here = {eef: eef_poses[eef][row] for eef in trial.settings.task.eef_names}
        trial.set_targets(here, lambda row=row: env.object_poses(before[row]), partial(motion.way, before[row]) if motion else None, navigated)
    eefs = trials[0].settings.task.eef_names
    targets = {eef: np.stack([t.tracks[eef].pose for t in trials]) for eef in eefs}
    if BODY in eefs and trials[0].settings.use_navigation_controller:
        targets[BODY] = env.on_the_way(before, targets[BODY])
    grippers = {eef: np.stack([t.tracks[eef].gripper for t in trials]) for eef in eefs}
    intended = env.target_poses_to_actions(eef_poses, targets, grippers)
    actions = env.noisy_actions(intended, {eef: np.stack([t.tracks[eef].noise for t in trials]) for eef in eefs})
    env.step(actions, ids)
    after = env.snapshot(ids)
    succeeded = env.success(after)
    for row, trial in enumerate(trials):
        trial.actions.append(actions[row])
        trial.intended.append(intended[row])
        trial.snapshots.append(after[row])
        trial.held = trial.held + 1 if succeeded[row] else 0


def _result(env: MimicEnv, trial: _Trial) -> TrialResult:
    snapshots, actions = np.stack(trial.snapshots), np.stack(trial.actions)
    success = trial.held >= trial.settings.task.success_hold_steps
    verdict = diagnose(env, snapshots, trial.settings.task, success)
    episode = None
    if success or trial.settings.keep_failed:
        episode = env.episode(snapshots, actions, with_datagen_info=False)
        episode.intended_actions = np.stack(trial.intended)
        episode.success = success
    return TrialResult(
        index=trial.index,
        success=success,
        sources={eef: tuple(trial.pool.demos[i].name for i in track.sources) for eef, track in trial.tracks.items()},
        start=_start_of(env, snapshots[0]),
        reached=verdict.reached,
        reason=verdict.reason,
        failed_eef=verdict.eef,
        steps=len(actions),
        motion=_motion(env, trial, snapshots) if success else {},
        arms_held=int(env.held(snapshots).sum()) if trial.settings.task.is_humanoid else 0,
        unplanned=_unplanned(trial) if trial.settings.bridge.shape == "plan" else None,
        episode=episode,
    )


def _motion(env: MimicEnv, trial: _Trial, snapshots: np.ndarray) -> dict[str, dict[str, float | None]]:
    hz = trial.settings.task.control_hz
    return {eef: motion_of(poses.position(path), trial.stitches[eef], hz) for eef, path in env.eef_poses(snapshots).items()}


def _unplanned(trial: _Trial) -> tuple[str, ...]:
    return tuple(trial.settings.task.subtasks[eef][number].name for eef, track in trial.tracks.items() for number in track.unplanned)


def _start_of(env: MimicEnv, snapshot: np.ndarray) -> dict[str, tuple[float, float, float]]:
    places = {}
    for name, pose in env.object_poses(snapshot).items():
        yaw = float(np.arctan2(pose[1, 0], pose[0, 0]))
        places[name] = (round(float(pose[0, 3]), 5), round(float(pose[1, 3]), 5), round(yaw, 5))
    return places
