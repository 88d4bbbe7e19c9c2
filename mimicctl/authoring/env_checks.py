"""Checks of every method of a task's env. Each gives what it saw, or raises `Wrong`; the env has two copies of the scene or more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mimicctl import poses
from mimicctl.authoring.wrong import Wrong
from mimicctl.envs.base import MimicEnv
from mimicctl.tasks.spec import LETTER_WIDTH, layout_width

_SEED_SPACE = 3_000_017
"""First word of the spawn key of start states that are looked at here."""

_STARTS = 50
"""Start states that are looked at; of these a few are left to themselves for a second."""
_WATCHED = 5

_ROUNDING = 1e-5
"""Of an action that goes to a target pose and back, float32."""
_STILL = 0.005
"""[m] An object that nobody touches stays within."""
_MOVED = 0.005
"""[m] An eef that is sent ahead for half a second goes at least."""


def _signals(env: MimicEnv, seed: int) -> str:
    given = sorted(env.signals(env.snapshot()))
    if missing := [name for name in env.task.term_signals if name not in given]:
        which = ", ".join(given) or "no signal"
        raise Wrong(f"the env does not give {', '.join(missing)}", f"with a goal {type(env.task.goal).__name__} there is {which}; end the subtasks with that")
    return ", ".join(env.task.term_signals) or "none is needed"


def _start_states(env: MimicEnv, seed: int) -> str:
    reset = env.task.reset
    for snapshot in _starts(env, seed):
        placed = [poses.position(pose)[:2] for pose in env.object_poses(snapshot).values()]
        for name, (x, y) in zip(env.object_poses(snapshot), placed, strict=True):
            in_x, in_y = reset.span_of(name)
            if not (in_x[0] - 1e-6 <= x <= in_x[1] + 1e-6 and in_y[0] - 1e-6 <= y <= in_y[1] + 1e-6):
                raise Wrong(f"{name} starts at x {x:.3f}, y {y:.3f}, outside the reset range", "the env's reset must draw from task.reset")
        apart = [place for name, place in zip(env.object_poses(snapshot), placed, strict=True) if name not in reset.inside]
        gaps = [float(np.linalg.norm(a - b)) for i, a in enumerate(apart) for b in apart[:i]]
        if gaps and min(gaps) < reset.min_separation - 1e-6:
            room = f"{len(placed)} objects do not find room {reset.min_separation:g} m apart; two start {min(gaps):.3f} m apart"
            raise Wrong(room, "widen reset.x or reset.y, or lower min_separation")
    for start in _starts(env, seed, _WATCHED):
        after = _hold_still(env, start)
        for name, pose in env.object_poses(after).items():
            moved = float(np.linalg.norm(poses.position(pose) - poses.position(env.object_poses(start)[name])))
            if not moved < _STILL:
                x, y, _ = poses.position(env.object_poses(start)[name])
                what = f"{name}, put down at x {x:.3f}, y {y:.3f}, moves {100 * moved:.1f} cm in a second that nobody touches it"
                raise Wrong(what, "keep reset.x and reset.y on the table and clear of the robot, and objects further apart than they are wide")
    return f"{_STARTS} within the reset range and {reset.min_separation:g} m apart; nothing moves by itself"


def _not_yet(env: MimicEnv, seed: int) -> str:
    for snapshot in _starts(env, seed):
        if env.success(snapshot):
            raise Wrong(f"a start state is a success already: {env.task.goal.text}", "ask more of the goal, or keep the reset range clear of it")
        if early := [name for name, value in env.signals(snapshot).items() if value and name in env.task.term_signals]:
            raise Wrong(f"{', '.join(early)} is true in a start state, so it cannot rise", "keep the reset range clear of what the signal asks")
    return f"neither success nor a signal in {_STARTS} start states"


def _observations(env: MimicEnv, seed: int) -> str:
    starts = np.stack(list(_starts(env, seed, _WATCHED)))
    rows = np.concatenate([starts, _wiggled(env, seed)])
    together = env.observations(rows)
    for row, snapshot in enumerate(rows):
        alone = env.observations(snapshot)
        if alone.keys() != together.keys():
            raise Wrong("which observations there are changes from state to state", "give the same keys always")
        for key, value in alone.items():
            if value.shape != together[key].shape[1:] or value.dtype != np.float32:
                raise Wrong(f"{key} has shape {value.shape} and type {value.dtype}", f"it must be float32 of shape {together[key].shape[1:]} always")
            if not np.all(np.isfinite(value)):
                raise Wrong(f"{key} is not finite", "mend what computes it")
            if not np.array_equal(value, together[key][row]):
                raise Wrong(f"{key} of one state is another in a batch", "it must depend on the state alone")
    for key, layout in env.task.obs_layout.items():
        if key not in together:
            raise Wrong(f"obs_layout has {key}, which is not observed", f"leave it out; there are {', '.join(together)}")
        if strange := set(layout) - set(LETTER_WIDTH):
            raise Wrong(f"obs_layout of {key} has the letter {min(strange)!r}", 'use "v" (3 numbers), "q" (4) and "." (1)')
        if (width := layout_width(layout)) != together[key].shape[-1]:
            raise Wrong(f"obs_layout of {key} is {width} wide, the observation {together[key].shape[-1]}", "count vectors (3), quaternions (4) and numbers (1)")
    return f"{len(together)} keys, finite, of the same shapes in {len(rows)} states and in a batch"


def _actions(env: MimicEnv, seed: int) -> str:
    actions, eefs = _some_actions(env, seed)
    if actions.shape[1:] != (env.task.action_dim,) or actions.dtype != np.float32:
        raise Wrong(f"an action is {actions.dtype} of shape {actions.shape[1:]}", f"it must be float32 of shape ({env.task.action_dim},)")
    again = env.target_poses_to_actions(eefs, env.actions_to_target_poses(eefs, actions), env.gripper_actions(actions))
    off = float(np.abs(again - actions).max())
    if not off < _ROUNDING:
        raise Wrong(f"action to target pose and back is off by {off:.2g}", "actions_to_target_poses must be the inverse of target_poses_to_actions")
    (start,) = _starts(env, seed, 1)
    eef = env.task.eef_names[0]
    after = _hold_still(env, start, steps=round(env.task.control_hz / 2), delta=(0.1, 0, 0, 0, 0, 0))
    ahead = float((poses.position(env.eef_poses(after)[eef]) - poses.position(env.eef_poses(start)[eef]))[0])
    if not ahead > _MOVED:
        raise Wrong(f"sent ahead for half a second, {eef} goes {100 * ahead:.1f} cm", "look at action_scale and home: the robot must be free to move")
    return f"to target poses and back {f'within {off:.1g}' if off else 'exactly'}; sent ahead, {eef} goes {100 * ahead:.0f} cm in half a second"


def _noise(env: MimicEnv, seed: int) -> str:
    actions, eefs = _some_actions(env, seed)
    large = {eef: 5.0 * np.random.default_rng(seed).standard_normal((len(actions), 6)) for eef in eefs}
    noisy = env.noisy_actions(actions, large)
    if noisy.shape != actions.shape or noisy.dtype != np.float32 or not np.all(np.isfinite(noisy)):
        raise Wrong(f"noise makes actions {noisy.dtype} of shape {noisy.shape}, or not finite", f"they must stay float32 of shape {actions.shape}")
    for eef, gripper in env.gripper_actions(actions).items():
        if not np.array_equal(env.gripper_actions(noisy)[eef], gripper):
            raise Wrong("noise changes the gripper's part of an action", "add it to the arm's part alone")
    limited = noisy[:, :6] if env.task.control == "rel" else noisy if env.task.control == "velocity" else np.zeros((1, 1))
    if (worst := float(np.abs(limited).max())) > 1.0:
        raise Wrong(f"noise takes actions to {worst:.2f}", "clip them to -1 to 1, which is what an action can be")
    off = float(np.abs(env.noisy_actions(actions, {eef: np.zeros((len(actions), 6)) for eef in eefs}) - actions).max())
    if not off < _ROUNDING:
        raise Wrong(f"no noise changes actions by {off:.2g}", "noise of 0 must leave them as they are")
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
        raise Wrong("set_state does not continue as before", "get_state must hold all that the physics depend on")
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
                raise Wrong(f"a start state put back from its scene_state has another {path} (by {off:.2g})", "reset_to must be the inverse of scene_state")
        for action in actions:
            env.step(np.stack([action, action]), [0, 1])
        here, there = env.snapshot([0, 1])
        if not np.array_equal(here, there):
            raise Wrong("a start state put back moves on differently", "reset must round to float32, the precision of a file, before anything moves")
    return f"{_WATCHED} start states put back by reset_to, and moving on, bit for bit"


OF_THE_START: tuple[tuple[str, Callable[[MimicEnv, int], str]], ...] = (("signals", _signals), ("start states", _start_states))
OF_THE_ENV: tuple[tuple[str, Callable[[MimicEnv, int], str]], ...] = (
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
        eefs = env.task.eef_names
        env.step(env.command_to_action(snapshot, dict.fromkeys(eefs, np.array(delta, float)), dict.fromkeys(eefs, 1.0))[None], [0])
        snapshot = env.snapshot([0])[0]
    return snapshot


def _some_actions(env: MimicEnv, seed: int, count: int = 32) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(n, A) of random commands in a start state, and eef name to its pose there (n, 4, 4)."""
    (snapshot,) = _starts(env, seed, 1)
    rng = np.random.default_rng(seed)

    def command() -> np.ndarray:
        deltas = {eef: rng.normal(0, 0.1, 6) for eef in env.task.eef_names}
        return env.command_to_action(snapshot, deltas, {eef: rng.choice([-1.0, 1.0]) for eef in deltas})

    actions = np.stack([command() for _ in range(count)])
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
