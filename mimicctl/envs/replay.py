"""A recorded episode played again in an env, and how far from the recording it gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mimicctl.envs.base import MimicEnv
from mimicctl.schema import Episode

COMPARED = ("root_pose", "joint_position")
"""What of a state is compared: where things are. How fast they are differs long before it matters."""


def by_actions(env: MimicEnv, episode: Episode) -> Iterator[np.ndarray]:
    """Snapshots (K,) of env 0: the recorded start, then what follows each recorded action."""
    env.reset_to([0], [episode.initial_state])
    yield env.snapshot([0])[0]
    for action in episode.actions:
        env.step(action[None], [0])
        yield env.snapshot([0])[0]


def by_states(env: MimicEnv, episode: Episode) -> Iterator[np.ndarray]:
    """The same from the recorded states, without physics."""
    at_steps = ({path: values[step] for path, values in episode.states.items()} for step in range(len(episode)))
    for state in (episode.initial_state, *at_steps):
        env.reset_to([0], [state])
        yield env.snapshot([0])[0]


@dataclass(frozen=True)
class Divergence:
    """How far a replay got from the recording.

    Attributes:
        step: the first step after which something was off by more than the tolerance; None if nothing ever was.
        what: state path that was furthest off there, or at its worst if nothing was.
        worst: largest difference at any step [m, rad, or as part of a unit quaternion].
    """

    step: int | None
    what: str
    worst: float


def divergence(env: MimicEnv, episode: Episode, snapshots: np.ndarray, tolerance: float) -> Divergence:
    """Compare the replayed `snapshots` (T + 1, K) with the recorded states (T).

    Args:
        tolerance: of each number by itself.
    """
    replayed = env.scene_state(snapshots[1:])
    off = {path: _difference(path, replayed[path], values) for path, values in episode.states.items() if path.endswith(COMPARED) and path in replayed}
    paths, worst = list(off), np.stack([values.max(axis=1) for values in off.values()])  # (paths, T)
    beyond = np.flatnonzero((worst > tolerance).any(axis=0))
    step = int(beyond[0]) if len(beyond) else None
    column = worst[:, step] if step is not None else worst.max(axis=1)
    return Divergence(step, paths[int(column.argmax())], float(worst.max()))


def _difference(path: str, replayed: np.ndarray, recorded: np.ndarray) -> np.ndarray:
    """(T, D); a quaternion and its negative are the same."""
    recorded = np.asarray(recorded, float).reshape(replayed.shape)
    off = np.abs(replayed - recorded)
    if path.endswith("root_pose"):
        off[:, 3:] = np.minimum(off[:, 3:].max(axis=1), np.abs(replayed + recorded)[:, 3:].max(axis=1))[:, None]
    return off
