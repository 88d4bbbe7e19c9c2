"""Why a trial failed, read off its snapshots afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimicctl import poses
from mimicctl.envs.base import MimicEnv
from mimicctl.tasks import Arrive, HandOver, PlaceIn, Subtask, TaskSpec
from mimicctl.tasks.spec import BODY

NEVER_REACHED = "never reached the object"
MISSED_GRASP = "closed beside the object"
LOST_GRASP = "lost the grasp"
KNOCKED_AWAY = "knocked an object away"
OFF_TARGET = "put down off target"
IK_ERROR = "could not follow the path (IK)"
RAN_INTO = "ran into something on the way"
NEVER_ARRIVED = "never arrived"
TIMEOUT = "trajectory over before success held"

REASONS = (NEVER_REACHED, MISSED_GRASP, LOST_GRASP, KNOCKED_AWAY, OFF_TARGET, RAN_INTO, NEVER_ARRIVED, IK_ERROR, TIMEOUT)

_REACH, _REACH_OF_EDGE = 0.04, 0.75
_HAND = 0.12
"""[m] From the wrist of a humanoid, which is its eef, to what its hand holds."""
_MOVED = 0.015
_DROPPED = 0.02
_NUDGED = 1e-5
"""[m] A crate that a base drives against gives way by more than that, and one that nothing touches by nothing."""


@dataclass(frozen=True)
class Verdict:
    """How far a trial came.

    Attributes:
        reached: eef to the number of its subtasks completed, in order.
        reason: why the next one of `eef` was not; "" for a success.
        eef: whose subtask it failed in; "" for a success.
    """

    reached: dict[str, int]
    reason: str = ""
    eef: str = ""


def diagnose(env: MimicEnv, snapshots: np.ndarray, task: TaskSpec, success: bool) -> Verdict:
    """How many subtasks were completed in order, and why the next one was not.

    Of several end-effectors, the one to blame is that which was stuck first: the others may have waited for it.

    Args:
        snapshots: (T + 1, K) of one trial.
        task: with the run's overrides.
    """
    if success:
        return Verdict({eef: len(subtasks) for eef, subtasks in task.subtasks.items()})
    signals = env.signals(snapshots)
    findings = {eef: _finding(env, snapshots, signals, eef, subtasks) for eef, subtasks in task.subtasks.items()}

    def guilt(eef: str) -> tuple:
        # Nothing tells whether a last subtask is done but success, so one in which a signal did not come goes before it. An eef that has nothing to do
        # with an object is not to blame where others have. A body waits for hands at work, and hands that it takes along, for it.
        refs = [subtask.object_ref for subtask in task.subtasks[eef]]
        completed, begun, _ = findings[eef]
        return completed == len(refs) - 1, not {*refs} - {None, BODY}, refs[completed] == BODY, begun, eef == BODY

    reached = {name: completed for name, (completed, *_) in findings.items()}
    if isinstance(env.task.goal, HandOver):
        return Verdict(reached, *_handing_failure(env, snapshots, env.task.goal, findings[env.task.goal.taker][1]))
    eef = min(findings, key=guilt)
    return Verdict(reached, findings[eef][2], eef)


def _finding(env: MimicEnv, snapshots: np.ndarray, signals: dict[str, np.ndarray], eef: str, subtasks: tuple[Subtask, ...]) -> tuple[int, int, str]:
    """Subtasks completed by an eef, the step at which the next one began, and why it was not completed."""
    rises = _rises_in_order([signals[s.term_signal] for s in subtasks[:-1]])
    toppled = _undone(signals, subtasks, rises) if eef != BODY else None
    if toppled is not None:
        return toppled, rises[toppled - 1], KNOCKED_AWAY
    completed, begun = len(rises), rises[-1] if rises else 0
    rows = snapshots[begun:]
    objects = {name: poses.position(pose) for name, pose in env.object_poses(rows).items()}
    hand = poses.position(env.eef_poses(rows)[eef])
    if not np.all(np.isfinite(hand)):
        reason = IK_ERROR
    elif isinstance(env.task.goal, Arrive):
        reason = _driving_failure(objects, hand, env.task.goal)
    elif eef == BODY:
        reason = TIMEOUT if completed == len(subtasks) - 1 else NEVER_ARRIVED
    elif isinstance(env.task.goal, PlaceIn) and env.task.goal.inside(objects[env.task.goal.object_name][-1]):
        reason = TIMEOUT  # it lies in the bin, and has not come to rest
    elif (held := _held_object(signals, subtasks, completed)) is not None:
        reason = _placing_failure(objects, hand, held, subtasks[completed], _reach(env.task, held))
    elif (wanted := subtasks[completed].object_ref) not in (None, BODY):
        reason = _grasp_failure(objects, hand, wanted, _reach(env.task, wanted))
    else:
        reason = KNOCKED_AWAY if any(_travel(track) > _MOVED for track in objects.values()) else TIMEOUT
    return completed, begun, reason


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
        if not subtasks[number].term_signal.startswith("grasp") and subtasks[number].object_ref != BODY and not signal[rises[-1]]:
            fell = step + int(np.argmin(signal[step:]))
            return sum(rise <= fell for rise in rises)
    return None


def _held_object(signals: dict[str, np.ndarray], subtasks: tuple[Subtask, ...], completed: int) -> str | None:
    """The object that should be in hand: what the last completed subtask was about, if that was a grasp or a lift; it may have been carried since."""
    last = next((subtask for subtask in reversed(subtasks[:completed]) if subtask.object_ref != BODY), None)
    return last.object_ref if last and last.term_signal and last.term_signal.startswith(("grasp", "lift")) else None


def _reach(task: TaskSpec, name: str) -> float:
    """[m] How far from the centre of an object a hand that has it in its grip may be."""
    return max(_REACH, _REACH_OF_EDGE * task.object(name).edge) + _HAND * task.is_humanoid


def _grasp_failure(objects: dict[str, np.ndarray], eef: np.ndarray, ref: str, reach: float) -> str:
    wanted = objects[ref]
    others = [track for name, track in objects.items() if name != ref]
    if any(_travel(track) > _MOVED for track in others):
        return KNOCKED_AWAY
    if np.min(np.linalg.norm(wanted - eef, axis=-1)) > reach:
        return KNOCKED_AWAY if _travel(wanted) > _MOVED else NEVER_REACHED
    return MISSED_GRASP


def _placing_failure(objects: dict[str, np.ndarray], eef: np.ndarray, held: str, failed: Subtask, reach: float) -> str:
    in_hand = np.linalg.norm(objects[held] - eef, axis=-1) < reach
    left = int(np.argmin(in_hand)) if not in_hand.all() else len(eef) - 1
    others = [track for name, track in objects.items() if name != held]
    if any(_travel(track) > _MOVED for track in others):
        return KNOCKED_AWAY
    if in_hand.all():
        return TIMEOUT
    fell = objects[held][left, 2] - objects[held][-1, 2]
    # What is lifted is not to be put down anywhere.
    return LOST_GRASP if fell > _DROPPED or failed.object_ref == held else OFF_TARGET


def _handing_failure(env: MimicEnv, snapshots: np.ndarray, goal: HandOver, offered: int) -> tuple[str, str]:
    """Why the object is not where it should be, and which hand's doing that is; the second one set out at the step `offered`, if at all."""
    objects = {name: poses.position(pose) for name, pose in env.object_poses(snapshots).items()}
    thing, bin_ = objects[goal.object_name], objects[goal.bin]
    before = thing[: offered + 1] if offered else thing
    if np.max(before[:, 2]) < thing[0, 2] + _DROPPED:
        return KNOCKED_AWAY if _travel(before) > _MOVED else MISSED_GRASP, goal.giver
    above_bin = np.all(np.abs(thing[-1, :2] - bin_[-1, :2]) < env.task.object(goal.bin).half_size[:2])
    return OFF_TARGET if above_bin else LOST_GRASP, goal.taker


def _driving_failure(objects: dict[str, np.ndarray], base: np.ndarray, goal: Arrive) -> str:
    if any(_travel(track[:, :2]) > _NUDGED for name, track in objects.items() if name != goal.mark):
        return RAN_INTO
    return NEVER_REACHED if np.min(np.linalg.norm(objects[goal.mark] - base, axis=-1)) > goal.distance else TIMEOUT


def _travel(track: np.ndarray) -> float:
    """Furthest from where it began [m]."""
    return float(np.max(np.linalg.norm(track - track[0], axis=-1)))
