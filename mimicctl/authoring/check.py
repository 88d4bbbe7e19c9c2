"""Whether a task keeps what the data loop relies on: its spec, every method of its env, and demonstrations of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimicctl import poses
from mimicctl.annotation.auto import ends_in_success, refuse_unreplayable, rises_of
from mimicctl.authoring.attempts import Attempt, attempts_of_operator
from mimicctl.dataset.reader import Dataset
from mimicctl.envs import make_env
from mimicctl.envs.base import MimicEnv
from mimicctl.envs.replay import by_actions, divergence
from mimicctl.errors import UserError
from mimicctl.generation.diagnosis import diagnose
from mimicctl.generation.source import subtask_ends
from mimicctl.statistics import rate_text, wilson_interval
from mimicctl.tasks import Arrive, Lift, Stack, TaskSpec

_SEED_SPACE = 3_000_017
"""First word of the spawn key of start states that are looked at here."""

_STARTS = 50
"""Start states that are looked at; of these a few are left to themselves for a second."""
_WATCHED = 5

_EEFS = {"franka": "franka", "tiago": "base"}
_LETTER_WIDTH = {"v": 3, "q": 4, ".": 1}
_ROUNDING = 1e-5
"""Of an action that goes to a target pose and back, float32."""
_STILL = 0.005
"""[m] An object that nobody touches stays within."""
_MOVED = 0.005
"""[m] An eef that is sent ahead for half a second goes at least."""
_NEEDED = 0.95
"""Share of start states that the scripted operator masters; less is a fault if it is surely less."""


@dataclass(frozen=True)
class Finding:
    """What came of one check.

    Attributes:
        what: what was seen, or what is wrong.
        do: what to do about it; "" if nothing is.
    """

    check: str
    ok: bool
    what: str
    do: str = ""


class _Wrong(Exception):
    """What a check found wrong, and what to do."""

    def __init__(self, what: str, do: str) -> None:
        super().__init__(what)
        self.what, self.do = what, do


def check_task(
    task: TaskSpec,
    *,
    resets: int = 10,
    seed: int = 1,
    input_file: Path | None = None,
    on_finding: Callable[[Finding], None] = lambda finding: None,
    on_attempt: Callable[[int], None] = lambda done: None,
) -> list[Finding]:
    """All checks, in an order in which a fault comes before what follows from it. After a fault in the spec or the env the demonstrations are left out.

    Args:
        resets: start states on which the scripted operator tries.
        input_file: demonstrations to look at instead of the operator's.
        on_attempt: called with the number of attempts that have ended.

    Raises:
        UserError: the input file is not one of this task.
    """
    findings: list[Finding] = []

    def run(checks: Sequence[tuple[str, Callable[[], str]]]) -> bool:
        for name, check in checks:
            findings.append(_finding(name, check))
            on_finding(findings[-1])
        return all(finding.ok for finding in findings)

    if not run([("names", lambda: _names(task)), ("subtasks", lambda: _subtasks(task))]):
        return findings
    try:
        env = make_env(task, 2)
    except Exception as error:
        finding = Finding("env", False, f"it cannot be made ({type(error).__name__}: {error})", "look at the sizes, home and objects in the task file")
        on_finding(finding)
        return [*findings, finding]
    try:
        if not run([(name, functools.partial(check, env, seed)) for name, check in _OF_THE_ENV]):
            return findings
        if input_file is None:
            attempts = list(attempts_of_operator(env, resets, seed, on_attempt))
            run([("scripted operator", lambda: _operator(env, attempts))])
            attempts = [attempt for attempt in attempts if attempt.saved]
        else:
            attempts = list(_attempts_in(input_file, task))
        demos = [(attempt, np.stack(list(by_actions(env, attempt.episode)))) for attempt in attempts]
        if demos:
            run([(name, functools.partial(check, env, demos)) for name, check in _OF_DEMOS])
    finally:
        env.close()
    return findings


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except _Wrong as wrong:
        return Finding(name, False, wrong.what, wrong.do)
    except Exception as error:
        # A check calls whatever the env does; that it raises is what is wrong.
        return Finding(name, False, f"{type(error).__name__}: {error}", "mend the env, or what the task file gives it")


# The spec ----------------------------------------------------------------------------------------------


def _names(task: TaskSpec) -> str:
    names = [item.name for item in task.objects]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _Wrong(f"there are two objects {', '.join(twice)}", "give each object a name of its own")
    if task.eef_names != (_EEFS[task.robot],):
        raise _Wrong(f"subtasks are of {', '.join(task.eef_names) or 'no eef'}; {task.robot} has {_EEFS[task.robot]}", f"write subtasks={{{_EEFS[task.robot]!r}: ...}}")
    match task.goal:
        case Stack(order):
            wanted = [("the goal", name) for name in order]
        case Lift(name):
            wanted = [("the goal", name)]
        case Arrive(mark):
            wanted = [("the goal", mark)]
    wanted += [(f'"{s.name}"', s.object_ref) for subtasks in task.subtasks.values() for s in subtasks]
    for who, name in wanted:
        if name not in names:
            raise _Wrong(f"{who} is about {name}, and there is no such object", f"name one of {', '.join(names)}")
    return f"{', '.join(names)}; every subtask and the goal name one of them"


def _subtasks(task: TaskSpec) -> str:
    for eef, subtasks in task.subtasks.items():
        if not subtasks:
            raise _Wrong(f"{eef} has no subtask", "give it at least one")
        for subtask in subtasks[:-1]:
            if not subtask.term_signal:
                raise _Wrong(f'"{subtask.name}" has no term_signal, and it is not the last', "name the signal that ends it")
        last = subtasks[-1]
        if last.term_signal or last.term_offset_range != (0, 0):
            raise _Wrong(f'"{last.name}" is the last: it ends with the demonstration', "give it term_signal None and term_offset_range (0, 0)")
        for subtask in subtasks:
            low, high = subtask.term_offset_range
            if low > high:
                raise _Wrong(f'"{subtask.name}" has a term_offset_range from {low} to {high}', "put the lower end first")
            noise = [subtask.action_noise, subtask.contact_noise or 0.0]
            if subtask.nn_k < 1 or min(*noise, subtask.num_interpolation_steps, subtask.num_fixed_steps) < 0:
                raise _Wrong(f'"{subtask.name}" has a number below what it can be', "noise and steps are at least 0, nn_k is at least 1")
    signals = task.term_signals
    if len(set(signals)) < len(signals):
        raise _Wrong("two subtasks end with the same signal", "a signal rises once; end each with its own")
    return " > ".join(s.name for subtasks in task.subtasks.values() for s in subtasks)


# The env -----------------------------------------------------------------------------------------------


def _signals(env: MimicEnv, seed: int) -> str:
    given = sorted(env.signals(env.snapshot()))
    if missing := [name for name in env.task.term_signals if name not in given]:
        which = ", ".join(given) or "no signal"
        raise _Wrong(f"the env does not give {', '.join(missing)}", f"with a goal {type(env.task.goal).__name__} there is {which}; end the subtasks with that")
    return ", ".join(env.task.term_signals) or "none is needed"


def _start_states(env: MimicEnv, seed: int) -> str:
    reset = env.task.reset
    for name, (low, high) in (("x", reset.x), ("y", reset.y), ("yaw", reset.yaw)):
        if low > high:
            raise _Wrong(f"reset.{name} goes from {low} to {high}", "put the lower end first")
    for snapshot in _starts(env, seed):
        placed = [poses.position(pose)[:2] for pose in env.object_poses(snapshot).values()]
        for name, (x, y) in zip(env.object_poses(snapshot), placed, strict=True):
            if not (reset.x[0] - 1e-6 <= x <= reset.x[1] + 1e-6 and reset.y[0] - 1e-6 <= y <= reset.y[1] + 1e-6):
                raise _Wrong(f"{name} starts at x {x:.3f}, y {y:.3f}, outside the reset range", "the env's reset must draw from task.reset")
        gaps = [float(np.linalg.norm(a - b)) for i, a in enumerate(placed) for b in placed[:i]]
        if gaps and min(gaps) < reset.min_separation - 1e-6:
            room = f"{len(placed)} objects do not find room {reset.min_separation:g} m apart; two start {min(gaps):.3f} m apart"
            raise _Wrong(room, "widen reset.x or reset.y, or lower min_separation")
    for start in _starts(env, seed, _WATCHED):
        after = _hold_still(env, start)
        for name, pose in env.object_poses(after).items():
            moved = float(np.linalg.norm(poses.position(pose) - poses.position(env.object_poses(start)[name])))
            if not moved < _STILL:
                x, y, _ = poses.position(env.object_poses(start)[name])
                what = f"{name}, put down at x {x:.3f}, y {y:.3f}, moves {100 * moved:.1f} cm in a second that nobody touches it"
                raise _Wrong(what, "keep reset.x and reset.y on the table and clear of the robot, and objects further apart than they are wide")
    return f"{_STARTS} within the reset range and {reset.min_separation:g} m apart; nothing moves by itself"


def _not_yet(env: MimicEnv, seed: int) -> str:
    for snapshot in _starts(env, seed):
        if env.success(snapshot):
            raise _Wrong(f"a start state is a success already: {env.task.goal.text}", "ask more of the goal, or keep the reset range clear of it")
        if early := [name for name, value in env.signals(snapshot).items() if value and name in env.task.term_signals]:
            raise _Wrong(f"{', '.join(early)} is true in a start state, so it cannot rise", "keep the reset range clear of what the signal asks")
    return f"neither success nor a signal in {_STARTS} start states"


def _observations(env: MimicEnv, seed: int) -> str:
    starts = np.stack(list(_starts(env, seed, _WATCHED)))
    rows = np.concatenate([starts, _wiggled(env, seed)])
    together = env.observations(rows)
    for row, snapshot in enumerate(rows):
        alone = env.observations(snapshot)
        if alone.keys() != together.keys():
            raise _Wrong("which observations there are changes from state to state", "give the same keys always")
        for key, value in alone.items():
            if value.shape != together[key].shape[1:] or value.dtype != np.float32:
                raise _Wrong(f"{key} has shape {value.shape} and type {value.dtype}", f"it must be float32 of shape {together[key].shape[1:]} always")
            if not np.all(np.isfinite(value)):
                raise _Wrong(f"{key} is not finite", "mend what computes it")
            if not np.array_equal(value, together[key][row]):
                raise _Wrong(f"{key} of one state is another in a batch", "it must depend on the state alone")
    for key, layout in env.task.obs_layout.items():
        if key not in together:
            raise _Wrong(f"obs_layout has {key}, which is not observed", f"leave it out; there are {', '.join(together)}")
        if strange := set(layout) - set(_LETTER_WIDTH):
            raise _Wrong(f"obs_layout of {key} has the letter {min(strange)!r}", 'use "v" (3 numbers), "q" (4) and "." (1)')
        if (width := sum(_LETTER_WIDTH[letter] for letter in layout)) != together[key].shape[-1]:
            raise _Wrong(f"obs_layout of {key} is {width} wide, the observation {together[key].shape[-1]}", "count vectors (3), quaternions (4) and numbers (1)")
    return f"{len(together)} keys, finite, of the same shapes in {len(rows)} states and in a batch"


def _actions(env: MimicEnv, seed: int) -> str:
    actions, eefs = _some_actions(env, seed)
    if actions.shape[1:] != (env.task.action_dim,) or actions.dtype != np.float32:
        raise _Wrong(f"an action is {actions.dtype} of shape {actions.shape[1:]}", f"it must be float32 of shape ({env.task.action_dim},)")
    again = env.target_poses_to_actions(eefs, env.actions_to_target_poses(eefs, actions), env.gripper_actions(actions))
    off = float(np.abs(again - actions).max())
    if not off < _ROUNDING:
        raise _Wrong(f"action to target pose and back is off by {off:.2g}", "actions_to_target_poses must be the inverse of target_poses_to_actions")
    (start,) = _starts(env, seed, 1)
    eef = env.task.eef_names[0]
    after = _hold_still(env, start, steps=round(env.task.control_hz / 2), delta=(0.1, 0, 0, 0, 0, 0))
    ahead = float((poses.position(env.eef_poses(after)[eef]) - poses.position(env.eef_poses(start)[eef]))[0])
    if not ahead > _MOVED:
        raise _Wrong(f"sent ahead for half a second, {eef} goes {100 * ahead:.1f} cm", "look at action_scale and home: the robot must be free to move")
    return f"to target poses and back within {off:.1g}; sent ahead, {eef} goes {100 * ahead:.0f} cm in half a second"


def _noise(env: MimicEnv, seed: int) -> str:
    actions, eefs = _some_actions(env, seed)
    large = {eef: 5.0 * np.random.default_rng(seed).standard_normal((len(actions), 6)) for eef in eefs}
    noisy = env.noisy_actions(actions, large)
    if noisy.shape != actions.shape or noisy.dtype != np.float32 or not np.all(np.isfinite(noisy)):
        raise _Wrong(f"noise makes actions {noisy.dtype} of shape {noisy.shape}, or not finite", f"they must stay float32 of shape {actions.shape}")
    for eef, gripper in env.gripper_actions(actions).items():
        if not np.array_equal(env.gripper_actions(noisy)[eef], gripper):
            raise _Wrong("noise changes the gripper's part of an action", "add it to the arm's part alone")
    limited = noisy[:, :6] if env.task.control == "rel" else noisy if env.task.control == "velocity" else np.zeros((1, 1))
    if (worst := float(np.abs(limited).max())) > 1.0:
        raise _Wrong(f"noise takes actions to {worst:.2f}", "clip them to -1 to 1, which is what an action can be")
    off = float(np.abs(env.noisy_actions(actions, {eef: np.zeros((len(actions), 6)) for eef in eefs}) - actions).max())
    if not off < _ROUNDING:
        raise _Wrong(f"no noise changes actions by {off:.2g}", "noise of 0 must leave them as they are")
    return "stays within an action's limits and off the gripper; none changes nothing"


def _state(env: MimicEnv, seed: int) -> str:
    first, second = _wiggle(env, seed, 20)
    env.reset([0], [_seed(seed, 0)])
    for action in first:
        env.step(action[None], [0])
    state = env.get_state([0])
    ends = []
    for _ in range(2):
        for action in second:
            env.step(action[None], [0])
        ends.append(env.snapshot([0])[0])
        env.reset([0], [_seed(seed, 1)])
        env.set_state([0], state)
    if not np.array_equal(*ends):
        raise _Wrong("set_state does not continue as before", "get_state must hold all that the physics depend on")
    return "set again, it continues bit for bit"


def _scene_state(env: MimicEnv, seed: int) -> str:
    actions = np.concatenate(_wiggle(env, seed, 10))
    for number in range(_WATCHED):
        env.reset([0, 1], [_seed(seed, number), _seed(seed, number + _STARTS)])
        state = env.scene_state(env.snapshot([0])[0])
        env.reset_to([1], [state])
        for path, value in env.scene_state(env.snapshot([1])[0]).items():
            if not np.array_equal(value, state[path]):
                off = np.abs(value - state[path]).max()
                raise _Wrong(f"a start state put back from its scene_state has another {path} (by {off:.2g})", "reset_to must be the inverse of scene_state")
        for action in actions:
            env.step(np.stack([action, action]), [0, 1])
        here, there = env.snapshot([0, 1])
        if not np.array_equal(here, there):
            raise _Wrong("a start state put back moves on differently", "reset must round to float32, the precision of a file, before anything moves")
    return f"{_WATCHED} start states put back by reset_to, and moving on, bit for bit"


_OF_THE_ENV: tuple[tuple[str, Callable[[MimicEnv, int], str]], ...] = (
    ("signals", _signals),
    ("start states", _start_states),
    ("not done at the start", _not_yet),
    ("observations", _observations),
    ("actions", _actions),
    ("noise", _noise),
    ("state", _state),
    ("scene state", _scene_state),
)


def _seed(seed: int, number: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(_SEED_SPACE, number))


def _starts(env: MimicEnv, seed: int, count: int = _STARTS) -> Iterator[np.ndarray]:
    """Snapshots (K,) of start states. Env 0 is left in the one that was yielded."""
    for number in range(count):
        env.reset([0], [_seed(seed, number)])
        yield env.snapshot([0])[0]


def _hold_still(env: MimicEnv, snapshot: np.ndarray, *, steps: int | None = None, delta: Sequence[float] = (0,) * 6) -> np.ndarray:
    """Snapshot (K,) of env 0 after a second, or so many steps, of the command `delta`, with the gripper open."""
    for _ in range(steps or round(env.task.control_hz)):
        env.step(env.command_to_action(snapshot, np.array(delta, float), 1.0)[None], [0])
        snapshot = env.snapshot([0])[0]
    return snapshot


def _some_actions(env: MimicEnv, seed: int, count: int = 32) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(n, A) of random commands in a start state, and eef name to its pose there (n, 4, 4)."""
    (snapshot,) = _starts(env, seed, 1)
    rng = np.random.default_rng(seed)
    actions = np.stack([env.command_to_action(snapshot, rng.normal(0, 0.1, 6), rng.choice([-1.0, 1.0])) for _ in range(count)])
    return actions, {eef: np.repeat(pose[None], count, axis=0) for eef, pose in env.eef_poses(snapshot).items()}


def _wiggle(env: MimicEnv, seed: int, half: int) -> tuple[np.ndarray, np.ndarray]:
    """Two stretches of actions (half, A). Env 0 is left in some start state."""
    actions, _ = _some_actions(env, seed, 2 * half)
    return actions[:half], actions[half:]


def _wiggled(env: MimicEnv, seed: int) -> np.ndarray:
    """(n, K) snapshots on the way."""
    rows, actions = [], np.concatenate(_wiggle(env, seed, 10))
    env.reset([0], [_seed(seed, 0)])
    for action in actions:
        env.step(action[None], [0])
        rows.append(env.snapshot([0])[0])
    return np.stack(rows)


# Demonstrations ----------------------------------------------------------------------------------------

_Demos = Sequence[tuple[Attempt, np.ndarray]]
"""Each with the snapshots (T + 1, K) of its replay."""


def _attempts_in(path: Path, task: TaskSpec) -> Iterator[Attempt]:
    with Dataset(path) as dataset:
        refuse_unreplayable(dataset, task)
        for name, episode in dataset.episodes():
            yield Attempt(name, episode, "saved", saved=True)


def _operator(env: MimicEnv, attempts: Sequence[Attempt]) -> str:
    failed = [attempt for attempt in attempts if not attempt.saved]
    rate = f"masters {rate_text(len(attempts) - len(failed), len(attempts))} of start states"
    if not failed:
        return rate
    snapshots = np.stack(list(by_actions(env, failed[0].episode)))
    _, reason = diagnose(env, snapshots, next(iter(env.task.subtasks.values())), success=False)
    placed = [f"{name} at {pose[0, 3]:.2f}, {pose[1, 3]:.2f}" for name, pose in env.object_poses(snapshots[0]).items()]
    rate += f"; {failed[0].name} {failed[0].outcome}: {reason} ({'; '.join(placed)})"
    if wilson_interval(len(attempts) - len(failed), len(attempts))[1] < _NEEDED:
        raise _Wrong(rate, "draw reset.x, reset.y or yaw in, ask less of the goal, or raise horizon; --resets N tries more")
    return rate


def _success(env: MimicEnv, demos: _Demos) -> str:
    if bad := [attempt.name for attempt, snapshots in demos if not ends_in_success(env, snapshots)]:
        raise _Wrong(f"replayed, {', '.join(bad)} does not end in success", "record it again on the task as it is now")
    return f"{len(demos)} demonstrations end in it"


def _order(env: MimicEnv, demos: _Demos) -> str:
    seen = ""
    for attempt, snapshots in demos:
        rises = rises_of(env, env.task, snapshots)
        for subtasks in env.task.subtasks.values():
            steps = [(s.term_signal, rises[s.term_signal]) for s in subtasks if s.term_signal]
            for name, step in steps:
                if step is None:
                    raise _Wrong(f"{name} never rises in {attempt.name}", "end the subtask with a signal that rises in a demonstration that succeeds")
            for (before, early), (after, late) in zip(steps, steps[1:], strict=False):
                if late <= early:
                    what = f"{after} rises at step {late} of {attempt.name}, {before} at {early}"
                    raise _Wrong(what, "put the subtasks in the order in which their signals rise")
            seen = seen or ", ".join(f"{name} at step {step}" for name, step in steps)
    return f"in all {len(demos)}, as in {demos[0][0].name}: {seen}" if seen else "none to rise"


def _offsets(env: MimicEnv, demos: _Demos) -> str:
    rooms = []
    for attempt, snapshots in demos:
        info = env.episode(snapshots, attempt.episode.actions, with_datagen_info=True).datagen_info
        for subtasks in env.task.subtasks.values():
            try:
                ends = subtask_ends(subtasks, info, len(attempt.episode), attempt.name)
            except UserError as error:
                do = 'make term_offset_range of the subtask before it smaller, or move slower (-o record.speed="slow")'
                raise _Wrong(f"{attempt.name}: {error.what.rstrip('.')}", do) from None
            rooms += [later - end - s.term_offset_range[1] for s, end, later in zip(subtasks, ends, ends[1:], strict=False)]
    return f"at the widest offset a segment keeps at least {min(rooms)} steps" if rooms else "there are no boundaries to shift"


def _replay(env: MimicEnv, demos: _Demos) -> str:
    for attempt, snapshots in demos:
        apart = divergence(env, attempt.episode, snapshots, tolerance=0.0)
        if apart.step is not None:
            what = f"{attempt.name}, played again, leaves its recording at step {apart.step} in {apart.what} (at most {apart.worst:.2g} off)"
            raise _Wrong(what, "a step may depend on the state and the action alone; record again if the task has changed since")
    return f"{len(demos)} demonstrations played again, bit for bit"


_OF_DEMOS: tuple[tuple[str, Callable[[MimicEnv, _Demos], str]], ...] = (
    ("success", _success),
    ("signals in order", _order),
    ("offsets", _offsets),
    ("replay", _replay),
)


def as_dict(task: TaskSpec, findings: Sequence[Finding]) -> dict[str, object]:
    """For --json."""
    return {"task": task.task_id, "ok": all(f.ok for f in findings), "checks": [dataclasses.asdict(f) for f in findings]}
