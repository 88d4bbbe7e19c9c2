"""How good a take is to learn from: short, direct, without pauses, smooth. What Isaac Lab's documentation asks of demonstrators, measured."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
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


def quality_of(episode: Episode, hz: float, held: int = 0) -> TakeQuality:
    """Of an episode with at least one step, which observes `eef_pos`, `eef_quat` and, if there is a gripper, `gripper_pos`, `hz` steps a second.

    Args:
        held: steps at its end in which success held: standing still is what is asked for in them.
    """
    position = np.asarray(episode.obs["eef_pos"], float)
    turns = _angles(np.asarray(episode.obs["eef_quat"], float))
    ways = np.linalg.norm(np.diff(position, axis=0), axis=1)
    gripper = np.zeros(len(position))
    still = (ways * hz < _IDLE_SPEED) & (turns * hz < _IDLE_TURN)
    if "gripper_pos" in episode.obs:
        fingers = np.abs(np.diff(np.asarray(episode.obs["gripper_pos"], float), axis=0)).max(axis=1, initial=0.0)
        gripper = np.asarray(episode.actions)[:, -1]
        still &= fingers * hz < _GRIPPER_WORKS
    still[len(still) - min(held, len(still)) :] = False
    return TakeQuality(
        seconds=len(position) / hz,
        idle=float(still.mean()) if len(still) else 0.0,
        longest_pause=_longest_run(still) / hz,
        directness=_directness(position, ways, turns, gripper),
        jerk=_jerk(position, hz),
    )


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


def _directness(position: np.ndarray, ways: np.ndarray, turns: np.ndarray, gripper: np.ndarray) -> float:
    made = float(np.sum(ways + _TURN_AS_WAY * turns))
    changes = np.flatnonzero(np.diff(np.sign(gripper))) + 1
    marks = [0, *changes, len(position) - 1]
    needed = sum(float(np.linalg.norm(position[last] - position[first])) for first, last in itertools.pairwise(marks))
    # Turning is taken for needed: which of it was is not known.
    needed += _TURN_AS_WAY * float(np.sum(turns))
    return min(1.0, needed / made) if made > 0 else 1.0


def _jerk(position: np.ndarray, hz: float) -> float:
    if len(position) < 4:
        return 0.0
    return float(np.sqrt(np.mean(np.sum((np.diff(position, 3, axis=0) * hz**3) ** 2, axis=1))))
