"""How good a take is to learn from: short, direct, without pauses, smooth. What Isaac Lab's documentation asks of demonstrators, measured."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from mimicctl.schema import Episode

_IDLE_SPEED, _IDLE_TURN = 0.01, 0.05
"""[m/s], [rad/s] An eef that is slower stands still."""
_GRIPPER_WORKS = 0.02
"""[m/s] of one finger: waiting for the gripper is no pause."""
_TURN_AS_WAY = 0.1
"""[m/rad] A turn counts as so much way, or turning on the spot would look like no way at all."""

_LONG_PAUSE, _MUCH_IDLE, _INDIRECT, _MUCH_LONGER = 1.0, 0.25, 0.4, 1.5


@dataclass(frozen=True)
class TakeQuality:
    """
    Attributes:
        seconds: length.
        idle: share of the steps in which neither hand nor gripper moves.
        longest_pause: [s].
        directness: way that was needed over way that was made, 1 for straight lines. Needed is what lies between the places where the gripper
            began to open or close.
        jerk: root mean square of the third derivative of the eef's position [m/s^3].
    """

    seconds: float
    idle: float
    longest_pause: float
    directness: float
    jerk: float

    def text(self) -> str:
        """For instance "12.3 s, 8 % idle (longest pause 0.4 s), 71 % direct, jerk 14 m/s^3"."""
        pause = f" (longest pause {self.longest_pause:.1f} s)"
        return f"{self.seconds:.1f} s, {self.idle:.0%} idle{pause}, {self.directness:.0%} direct, jerk {self.jerk:.0f} m/s^3".replace("%", " %")

    def facts(self) -> dict[str, float]:
        """For the lineage."""
        return {key: round(value, 4) for key, value in asdict(self).items()}


def quality_of(episode: Episode, hz: float, grippers: Mapping[str, np.ndarray], held: int = 0) -> TakeQuality:
    """Of an episode with at least one step, which observes `eef_pos`, `eef_quat` and, if there is a gripper, `gripper_pos`, `hz` steps a second.

    Of several eefs, which are observed as `left_eef_pos` and so on, all must stand still for a pause, their ways are added up, and the least smooth counts.

    Args:
        grippers: eef name to the gripper part (T, G) of the actions.
        held: steps at its end in which success held: standing still is what is asked for in them.
    """
    keys = {eef: f"{eef}_eef" if f"{eef}_eef_pos" in episode.obs else "eef" for eef in grippers}
    ways = [_way(episode, key, np.asarray(grippers[eef])) for eef, key in keys.items()]
    still = np.all([(way.steps * hz < _IDLE_SPEED) & (way.turns * hz < _IDLE_TURN) for way in ways], axis=0)
    if "gripper_pos" in episode.obs:
        fingers = np.abs(np.diff(np.asarray(episode.obs["gripper_pos"], float), axis=0)).max(axis=1, initial=0.0)
        still &= fingers * hz < _GRIPPER_WORKS
    still[len(still) - min(held, len(still)) :] = False
    made = sum(way.made for way in ways)
    return TakeQuality(
        seconds=len(episode) / hz,
        idle=float(still.mean()) if len(still) else 0.0,
        longest_pause=_longest_run(still) / hz,
        directness=min(1.0, sum(way.needed for way in ways) / made) if made > 0 else 1.0,
        jerk=max(_jerk(way.position, hz) for way in ways),
    )


@dataclass(frozen=True)
class _Way:
    """Of one eef.

    Attributes:
        position: (T, 3) [m].
        steps, turns: (T-1,) from each position and orientation to the next [m, rad].
        gripper: (T, G) what was asked of it; G is 0 for an eef without one.
    """

    position: np.ndarray
    steps: np.ndarray
    turns: np.ndarray
    gripper: np.ndarray

    @property
    def made(self) -> float:
        """[m]"""
        return float(np.sum(self.steps + _TURN_AS_WAY * self.turns))

    @property
    def needed(self) -> float:
        """[m] Turning is taken for needed: which of it was is not known."""
        changes = np.flatnonzero(np.any(np.diff(np.sign(self.gripper), axis=0), axis=1)) + 1
        marks = [0, *changes, len(self.position) - 1]
        straight = sum(float(np.linalg.norm(self.position[last] - self.position[first])) for first, last in itertools.pairwise(marks))
        return straight + _TURN_AS_WAY * float(np.sum(self.turns))


def _way(episode: Episode, key: str, gripper: np.ndarray) -> _Way:
    position = np.asarray(episode.obs[f"{key}_pos"], float)
    turns = _angles(np.asarray(episode.obs[f"{key}_quat"], float))
    return _Way(position, np.linalg.norm(np.diff(position, axis=0), axis=1), turns, gripper)


def hints_for(take: TakeQuality, before: Sequence[TakeQuality]) -> list[str]:
    """What the operator could do better, most telling first; nothing if all is well.

    Args:
        before: the saved takes of the session so far.
    """
    found = []
    if take.longest_pause > _LONG_PAUSE:
        found.append(f"it stands still for {take.longest_pause:.1f} s: a policy cannot know why, nor when to go on")
    elif take.idle > _MUCH_IDLE:
        found.append(f"{take.idle:.0%} of it is standing still: keep moving".replace("%", " %"))
    if take.directness < _INDIRECT:
        found.append(f"its way is {1 / take.directness:.1f} times as long as it had to be: go straight, all axes at once")
    usual = float(np.median([other.seconds for other in before])) if before else take.seconds
    if take.seconds > _MUCH_LONGER * usual:
        found.append(f"it is longer than the others ({usual:.0f} s): discard one that went wrong")
    return found


def _angles(quaternions: np.ndarray) -> np.ndarray:
    """(T-1,) between each orientation and the next [rad]."""
    dots = np.abs(np.sum(quaternions[1:] * quaternions[:-1], axis=1))
    return 2 * np.arccos(np.clip(dots, 0.0, 1.0))


def _longest_run(flags: np.ndarray) -> int:
    longest = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest


def _jerk(position: np.ndarray, hz: float) -> float:
    if len(position) < 4:
        return 0.0
    return float(np.sqrt(np.mean(np.sum((np.diff(position, 3, axis=0) * hz**3) ** 2, axis=1))))
