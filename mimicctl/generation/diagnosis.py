"""Why a trial failed, read off its snapshots afterwards."""

from __future__ import annotations

import numpy as np

from mimicctl import poses
from mimicctl.envs.base import MimicEnv
from mimicctl.tasks import Arrive, Subtask

NEVER_REACHED = "never reached the object"
MISSED_GRASP = "closed beside the object"
LOST_GRASP = "lost the grasp"
KNOCKED_AWAY = "knocked an object away"
OFF_TARGET = "put down off target"
IK_ERROR = "could not follow the path (IK)"
RAN_INTO = "ran into something on the way"
TIMEOUT = "trajectory over before success held"

REASONS = (NEVER_REACHED, MISSED_GRASP, LOST_GRASP, KNOCKED_AWAY, OFF_TARGET, RAN_INTO, IK_ERROR, TIMEOUT)

_REACH = 0.04
_MOVED = 0.015
_DROPPED = 0.02
_NUDGED = 1e-5
"""[m] A crate that a base drives against gives way by more than that, and one that nothing touches by nothing."""


def diagnose(env: MimicEnv, snapshots: np.ndarray, subtasks: tuple[Subtask, ...], success: bool) -> tuple[int, str]:
    """How many subtasks were completed in order, and why the next one was not.

    Args:
        snapshots: (T + 1, K) of one trial.

    Returns:
        (completed, reason); the reason is "" for a success.
    """
    signals = env.signals(snapshots)
    rises = _rises_in_order([signals[s.term_signal] for s in subtasks if s.term_signal])
    if success:
        return len(subtasks), ""
    toppled = _undone(signals, subtasks, rises)
    if toppled is not None:
        return toppled, KNOCKED_AWAY
    failed = subtasks[len(rises)]
    begun = rises[-1] if rises else 0
    rows = snapshots[begun:]
    objects = {name: poses.position(pose) for name, pose in env.object_poses(rows).items()}
    eef = poses.position(next(iter(env.eef_poses(rows).values())))
    if not np.all(np.isfinite(eef)):
        return len(rises), IK_ERROR
    if isinstance(env.task.goal, Arrive):
        return len(rises), _driving_failure(objects, eef, env.task.goal)
    held = _held_object(signals, subtasks, len(rises))
    if held is None:
        return len(rises), _grasp_failure(objects, eef, failed)
    return len(rises), _placing_failure(objects, eef, held, failed)


def _rises_in_order(signals: list[np.ndarray]) -> list[int]:
    """Step of the first rise of each signal after the one before it, up to the first that does not come."""
    steps: list[int] = []
    for signal in signals:
        after = steps[-1] if steps else 0
        rise = np.flatnonzero(signal[after:])
        if not len(rise):
            break
        steps.append(after + int(rise[0]))
    return steps


def _undone(signals: dict[str, np.ndarray], subtasks: tuple[Subtask, ...], rises: list[int]) -> int | None:
    """The subtask in which something that had been put in place was knocked over, if that was before the last one reached."""
    for number, step in enumerate(rises[:-1]):
        signal = signals[subtasks[number].term_signal]
        if not subtasks[number].term_signal.startswith("grasp") and not signal[rises[-1]]:
            fell = step + int(np.argmin(signal[step:]))
            return sum(rise <= fell for rise in rises)
    return None


def _held_object(signals: dict[str, np.ndarray], subtasks: tuple[Subtask, ...], completed: int) -> str | None:
    """The object that should be in hand: what the last completed subtask was about, if that was a grasp."""
    last = subtasks[completed - 1] if completed else None
    return last.object_ref if last and last.term_signal and last.term_signal.startswith("grasp") else None


def _grasp_failure(objects: dict[str, np.ndarray], eef: np.ndarray, failed: Subtask) -> str:
    wanted = objects[failed.object_ref]
    others = [track for name, track in objects.items() if name != failed.object_ref]
    if any(_travel(track) > _MOVED for track in others):
        return KNOCKED_AWAY
    if np.min(np.linalg.norm(wanted - eef, axis=-1)) > _REACH:
        return KNOCKED_AWAY if _travel(wanted) > _MOVED else NEVER_REACHED
    return MISSED_GRASP


def _placing_failure(objects: dict[str, np.ndarray], eef: np.ndarray, held: str, failed: Subtask) -> str:
    in_hand = np.linalg.norm(objects[held] - eef, axis=-1) < _REACH
    left = int(np.argmin(in_hand)) if not in_hand.all() else len(eef) - 1
    others = [track for name, track in objects.items() if name != held]
    if any(_travel(track) > _MOVED for track in others):
        return KNOCKED_AWAY
    if in_hand.all():
        return TIMEOUT
    fell = objects[held][left, 2] - objects[held][-1, 2]
    # What is lifted is not to be put down anywhere.
    return LOST_GRASP if fell > _DROPPED or failed.object_ref == held else OFF_TARGET


def _driving_failure(objects: dict[str, np.ndarray], base: np.ndarray, goal: Arrive) -> str:
    if any(_travel(track[:, :2]) > _NUDGED for name, track in objects.items() if name != goal.mark):
        return RAN_INTO
    return NEVER_REACHED if np.min(np.linalg.norm(objects[goal.mark] - base, axis=-1)) > goal.distance else TIMEOUT


def _travel(track: np.ndarray) -> float:
    """Furthest from where it began [m]."""
    return float(np.max(np.linalg.norm(track - track[0], axis=-1)))
