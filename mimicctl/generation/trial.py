"""One attempt at a new demonstration, from its seed to its result, in one env of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from mimicctl import poses
from mimicctl.envs.base import MimicEnv
from mimicctl.generation.clearance import clearances, in_hand
from mimicctl.generation.diagnosis import diagnose
from mimicctl.generation.segments import (
    Bridge,
    Waypoints,
    bridge_waypoints,
    grasp_correction,
    select_source,
    subtask_waypoints,
)
from mimicctl.generation.source import SourceDemo, SourcePool
from mimicctl.schema import Episode
from mimicctl.tasks import Subtask, TaskSpec

_LOOK_EVERY = 3
"""Control steps of a source between two looks at how much room it leaves the hand: the hand is many times wider than what it moves in them."""


@dataclass(frozen=True)
class TrialSettings:
    """What every trial of a run has in common.

    Attributes:
        task: with the run's overrides of its subtasks applied.
        seed: of the run; trial i draws from `SeedSequence(seed, spawn_key=(i,))` and from nothing else.
        select_src_per_subtask: choose the source demo anew for each subtask, not once a trial.
        keep_failed: deliver the episodes of failed trials too.
    """

    task: TaskSpec
    seed: int
    bridge: Bridge
    select_src_per_subtask: bool = True
    keep_failed: bool = False


@dataclass(frozen=True)
class TrialResult:
    """What became of a trial.

    Attributes:
        index: trial number.
        success: held for the task's `success_hold_steps`.
        sources: name of the source demo of each subtask that was begun.
        start: object name to (x, y, yaw) at reset.
        reached: number of subtasks completed, in order.
        reason: why it failed; "" for a success.
        steps: control steps executed.
        episode: None for a failure, unless they are kept.
    """

    index: int
    success: bool
    sources: tuple[str, ...]
    start: dict[str, tuple[float, float, float]]
    reached: int
    reason: str
    steps: int
    episode: Episode | None

    def record(self) -> dict:
        """The attempt as it is logged in the file."""
        return {
            "trial": self.index,
            "success": self.success,
            "sources": list(self.sources),
            "start": {name: list(values) for name, values in self.start.items()},
            "reached": self.reached,
            "reason": self.reason,
            "steps": self.steps,
        }


@dataclass
class _Trial:
    """A trial under way. One eef: the trajectories of several are built and synchronised elsewhere."""

    index: int
    settings: TrialSettings
    pool: SourcePool
    reset_seed: np.random.SeedSequence = field(init=False)
    snapshots: list[np.ndarray] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    intended: list[np.ndarray] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    subtask: int = -1
    cursor: int = 0
    held: int = 0
    settling: int = 0

    def __post_init__(self) -> None:
        self.reset_seed, own = np.random.SeedSequence(self.settings.seed, spawn_key=(self.index,)).spawn(2)
        self.rng = np.random.default_rng(own)
        self.eef = self.settings.task.eef_names[0]
        self.subtasks = self.settings.task.subtasks[self.eef]
        self.ends = self.pool.draw_ends(self.settings.task, self.rng)
        self.waypoints: Waypoints | None = None
        self.noise: np.ndarray | None = None
        self.rest: np.ndarray | None = None

    def plan_next(self, eef_pose: np.ndarray, object_poses: dict[str, np.ndarray]) -> None:
        """Build the trajectory of the next subtask from how things stand now."""
        self.subtask += 1
        if self.rest is None:
            self.rest = eef_pose
        subtask, first = self.subtasks[self.subtask], self.subtask == 0
        starts = [0 if first else ends[self.eef][self.subtask - 1] for ends in self.ends]
        closed = self.waypoints is not None and self.waypoints.grippers[-1, 0] < 0
        held = in_hand(self.settings.task, object_poses, eef_pose) if closed else None
        demo, object_pose = self._choose_source(subtask, starts, eef_pose, object_poses, held)
        self.sources.append(demo)
        source, end = self.pool.demos[demo], self.ends[demo][self.eef][self.subtask]
        correction = self._grasp_correction(source, starts[demo], eef_pose, object_poses, held)
        segment = subtask_waypoints(source, self.eef, subtask, starts[demo], end, object_pose, correction, from_measured_pose=first)
        # Bridge from the last command, not from the measured pose: the arm lags behind it.
        start = eef_pose if first else self.waypoints.poses[-1]
        self.waypoints = bridge_waypoints(start, segment, subtask, self.settings.bridge)
        self.noise = self.rng.standard_normal((len(self.waypoints), 6)) * self.waypoints.noise[:, None]
        self.cursor = 0

    def _grasp_correction(self, source: SourceDemo, start: int, eef_pose: np.ndarray, object_poses: dict[str, np.ndarray], held: str | None) -> np.ndarray:
        """Identity unless the same object is in hand now as was then."""
        if held is None:
            return np.eye(4)
        task = self.settings.task
        source_objects = {name: track[start] for name, track in source.object_poses.items()}
        source_eef = source.eef_poses[self.eef][start]
        source_closed = source.gripper_actions[self.eef][start, 0] < 0
        if not source_closed or held != in_hand(task, source_objects, source_eef):
            return np.eye(4)
        then = poses.inverse(source_eef) @ source_objects[held]
        now = poses.inverse(eef_pose) @ object_poses[held]
        return grasp_correction(then, now, task.object(held).yaw_symmetry)

    def _choose_source(
        self,
        subtask: Subtask,
        starts: list[int],
        eef_pose: np.ndarray,
        object_poses: dict[str, np.ndarray],
        held: str | None,
    ) -> tuple[int, np.ndarray]:
        task, ref = self.settings.task, subtask.object_ref
        keep = bool(self.sources) and not self.settings.select_src_per_subtask
        numbers = [self.sources[-1]] if keep else list(range(len(self.pool)))
        demos = [self.pool.demos[i] for i in numbers]
        then = np.stack([demo.object_poses[ref][starts[i]] for i, demo in zip(numbers, demos, strict=True)])
        eefs = np.stack([demo.eef_poses[self.eef][starts[i]] for i, demo in zip(numbers, demos, strict=True)])
        lasts = np.stack([demo.eef_poses[self.eef][self.ends[i][self.eef][self.subtask] - 1] for i, demo in zip(numbers, demos, strict=True)])
        in_the_way = [name for name in object_poses if name not in (ref, held)]
        centres = np.array([poses.position(object_poses[name]) for name in in_the_way])
        edges = np.array([task.object(name).edge for name in in_the_way])

        def room(choice: int, equivalents: np.ndarray) -> np.ndarray:
            number = numbers[choice]
            end = self.ends[number][self.eef][self.subtask]
            path = demos[choice].eef_poses[self.eef][starts[number] : end : _LOOK_EVERY]
            return clearances(task, path, equivalents @ poses.inverse(then[choice]), centres, edges)

        symmetry = task.object(ref).yaw_symmetry
        choice, object_pose = select_source(subtask, then, eefs, lasts, eef_pose, self.rest, object_poses[ref], symmetry, room, self.rng)
        return numbers[choice], object_pose

    def advance(self) -> None:
        """One waypoint on; past the end of the last subtask its last target is held while success settles."""
        if self.cursor + 1 < len(self.waypoints):
            self.cursor += 1
        elif self.subtask + 1 == len(self.subtasks):
            self.settling += 1
            self.noise[self.cursor] = 0.0

    @property
    def segment_over(self) -> bool:
        return self.waypoints is None or (self.cursor + 1 == len(self.waypoints) and self.subtask + 1 < len(self.subtasks))

    def finished(self) -> bool:
        hold = self.settings.task.success_hold_steps
        # Placed in the last step, a stack still needs that long to count as held, and a little to come to rest.
        return self.held >= hold or self.settling > 2 * hold


def run_trials(env: MimicEnv, pool: SourcePool, settings: TrialSettings, next_index: Callable[[], int | None]) -> Iterator[TrialResult]:
    """Run trials, as many at once as the env has copies, and yield each result when it is there.

    Args:
        next_index: hands out the next trial number, or None when there are no more to begin.
    """
    slots: dict[int, _Trial] = {}
    for env_id in range(env.num_envs):
        _begin(env, pool, settings, next_index, slots, env_id)
    while slots:
        ids = list(slots)
        _step(env, slots, ids)
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
    env.reset([env_id], [trial.reset_seed])
    trial.snapshots.append(env.snapshot([env_id])[0])
    slots[env_id] = trial


def _step(env: MimicEnv, slots: dict[int, _Trial], ids: list[int]) -> None:
    """One control step of every trial."""
    trials = [slots[env_id] for env_id in ids]
    before = np.stack([trial.snapshots[-1] for trial in trials])
    eef_poses = env.eef_poses(before)
    for row, trial in enumerate(trials):
        if trial.segment_over:
            objects = env.object_poses(before[row])
            trial.plan_next(eef_poses[trial.eef][row], objects)
        elif trial.actions:
            trial.advance()
    eef = trials[0].eef
    targets = {eef: np.stack([t.waypoints.poses[t.cursor] for t in trials])}
    grippers = {eef: np.stack([t.waypoints.grippers[t.cursor] for t in trials])}
    intended = env.target_poses_to_actions(eef_poses, targets, grippers)
    actions = env.noisy_actions(intended, {eef: np.stack([t.noise[t.cursor] for t in trials])})
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
    reached, reason = diagnose(env, snapshots, trial.subtasks, success)
    episode = None
    if success or trial.settings.keep_failed:
        episode = env.episode(snapshots, actions, with_datagen_info=False)
        episode.intended_actions = np.stack(trial.intended)
        episode.success = success
    return TrialResult(
        index=trial.index,
        success=success,
        sources=tuple(trial.pool.demos[i].name for i in trial.sources),
        start=_start_of(env, snapshots[0]),
        reached=reached,
        reason=reason,
        steps=len(actions),
        episode=episode,
    )


def _start_of(env: MimicEnv, snapshot: np.ndarray) -> dict[str, tuple[float, float, float]]:
    places = {}
    for name, pose in env.object_poses(snapshot).items():
        yaw = float(np.arctan2(pose[1, 0], pose[0, 0]))
        places[name] = (round(float(pose[0, 3]), 5), round(float(pose[1, 3]), 5), round(yaw, 5))
    return places
