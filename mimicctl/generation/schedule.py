"""When each of several end-effectors may go on: constraints between subtasks, as numbers of control steps and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from mimicctl.errors import UserError
from mimicctl.tasks.spec import BODY, SubtaskConstraint, TaskSpec

_REHEARSED_LENGTH = 100
"""Control steps of every subtask when a schedule is tried out; whether it comes to an end does not depend on them."""


def coordinated_with(task: TaskSpec, eef: str, number: int) -> tuple[SubtaskConstraint, str, int] | None:
    """The coordination that subtask `number` of `eef` is in, if any, and the partner's eef and subtask."""
    for constraint in task.constraints:
        pair = constraint.eef_subtask_constraint_tuple
        if constraint.constraint_type == "coordination" and (eef, number) in pair:
            return constraint, *pair[1 - pair.index((eef, number))]
    return None


@dataclass
class _Place:
    """Where an eef is.

    Attributes:
        count: its subtasks.
        number: subtask that is under way or the next to begin; `count` at the end.
        length: waypoints of the one under way; 0: none is.
        step: waypoint executed last; -1: none yet.
        synchronous: waypoints at the end of it that are executed side by side with the partner's.
    """

    count: int
    number: int = 0
    length: int = 0
    step: int = -1
    synchronous: int = 0

    @property
    def over(self) -> bool:
        return self.length > 0 and self.step == self.length - 1

    @property
    def done(self) -> bool:
        return self.number == self.count

    def has_ended(self, number: int) -> bool:
        return self.number > number or (self.number == number and self.over)


class Schedule:
    """The subtasks of all eefs in time. In each control step: `ready`, `begin` for each of those, `advance`.

    An eef that neither begins nor advances holds its last target.
    """

    def __init__(self, task: TaskSpec) -> None:
        self._task = task
        self._places = {eef: _Place(len(subtasks)) for eef, subtasks in task.subtasks.items()}
        self._navigating = False

    @property
    def done(self) -> bool:
        """Every subtask of every eef has ended."""
        return all(place.has_ended(place.count - 1) for place in self._places.values())

    def ready(self) -> list[tuple[str, int]]:
        """Eefs that may begin their next subtask now, and its number, in the task's order."""
        for place in self._places.values():
            if place.over:
                place.number, place.length, place.step = place.number + 1, 0, -1
        free = {eef: place.number for eef, place in self._places.items() if not place.length and not place.done}
        return [(eef, number) for eef, number in free.items() if self._blocker(eef) is None]

    def begin(self, eef: str, length: int, synchronous_steps: int = 0) -> None:
        """The next subtask of `eef` is under way, with `length` waypoints, the last `synchronous_steps` of them side by side with its partner's."""
        place = self._places[eef]
        place.length, place.step, place.synchronous = length, -1, min(synchronous_steps, length)

    def keep_with(self, navigating: bool, goal_reached: bool) -> bool:
        """Fit the source's pace to a robot that a navigation controller drives to a goal; before each `advance`.

        Until it is there, the eefs wait before the last waypoint of the body's subtask. When it is there sooner, all go on to that waypoint at once,
        or, if theirs have fewer left, to their own last.

        Args:
            navigating, goal_reached: what the env says now.

        Returns:
            Whether all eefs hold their targets in this control step, in which `advance` is left out.
        """
        body = self._places[BODY]
        ended, self._navigating = self._navigating and not navigating, navigating
        if not body.length or body.over:
            return False
        left = body.length - 2 - body.step
        if left == 0:
            return navigating and not goal_reached
        if ended:
            for place in self._places.values():
                place.step = max(place.step, min(place.step + left, place.length - 2))
        return False

    def advance(self, waiting: Set[str] = frozenset()) -> dict[str, int]:
        """Go one control step on; the eefs that execute a waypoint in it, and which.

        Args:
            waiting: eefs that do not, for reasons of their own.

        Raises:
            UserError: none can, now or ever.
        """
        moving = {eef for eef, place in self._places.items() if place.length and not place.over} - waiting
        while halted := {eef for eef in moving if self._halt(eef, moving) is not None}:
            moving -= halted
        if not moving and not waiting and not self.done:
            raise self._deadlock()
        for eef in moving:
            self._places[eef].step += 1
        return {eef: self._places[eef].step for eef in self._places if eef in moving}

    def _blocker(self, eef: str, *, alone: bool = False) -> tuple[str, int] | None:
        """The subtask for which the next one of `eef` has to wait before it begins; with `alone`, of other than common starts."""
        number = self._places[eef].number
        for constraint in self._task.constraints:
            first, second = constraint.eef_subtask_constraint_tuple
            if constraint.constraint_type == "sequential":
                if second == (eef, number) and constraint.sequential_min_time_diff == -1 and not self._places[first[0]].has_ended(first[1]):
                    return first
            elif constraint.coordination_synchronize_start and (eef, number) in (first, second) and not alone:
                partner, its_number = second if first == (eef, number) else first
                there = self._places[partner].number == its_number and not self._places[partner].has_ended(its_number)
                if not there or (not self._places[partner].length and self._blocker(partner, alone=True) is not None):
                    return partner, its_number
        return None

    def _halt(self, eef: str, moving: set[str]) -> tuple[str, int] | None:
        """The subtask for which the one of `eef` that is under way has to wait before its next step, if the eefs `moving` take theirs."""
        place = self._places[eef]
        for constraint in self._task.constraints:
            first, second = constraint.eef_subtask_constraint_tuple
            if constraint.constraint_type == "sequential":
                kept = max(constraint.sequential_min_time_diff, 1)
                if second == (eef, place.number) and place.step + 1 >= place.length - kept and not self._places[first[0]].has_ended(first[1]):
                    return first
            elif (eef, place.number) in (first, second):
                partner, its_number = second if first == (eef, place.number) else first
                other = self._places[partner]
                together = other.number == its_number and _at_common_part(other) and partner in moving
                if _at_common_part(place) and not together:
                    return partner, its_number
        return None

    def _deadlock(self) -> UserError:
        waits = []
        for eef, place in self._places.items():
            if not place.done and not place.over:
                cause = self._halt(eef, set()) if place.length else self._blocker(eef)
                if cause is not None:
                    waits.append(f"{_label(self._task, eef, place.number)} waits for {_label(self._task, *cause)}")
        return UserError(
            f"The constraints leave nothing that could go on: {', and '.join(waits)}.",
            where=f"constraints of {self._task.task_id}",
            do="change or remove one of these constraints",
        )


def _at_common_part(place: _Place) -> bool:
    """Whether the next waypoint is one that is executed side by side with the partner's."""
    return place.length > 0 and place.step + 1 >= place.length - place.synchronous


def _label(task: TaskSpec, eef: str, number: int) -> str:
    return f'"{task.subtasks[eef][number].name}" ({eef} {number})'


def rehearse(task: TaskSpec, lengths: Mapping[tuple[str, int], int] | None = None) -> dict[tuple[str, int], tuple[int, int]]:
    """First and last control step of every subtask when each takes `lengths` waypoints.

    Raises:
        UserError: a constraint is about a subtask that does not exist, or they never let all subtasks end.
    """
    _check_pairs(task)
    lengths = lengths or {(eef, i): _REHEARSED_LENGTH for eef, subtasks in task.subtasks.items() for i in range(len(subtasks))}
    schedule, step = Schedule(task), 0
    number: dict[str, int] = {}
    spans: dict[tuple[str, int], tuple[int, int]] = {}
    while not schedule.done:
        for eef, subtask in schedule.ready():
            number[eef] = subtask
            agreed = coordinated_with(task, eef, subtask)
            common = min(lengths[eef, subtask], lengths[agreed[1:]]) if agreed else 0
            schedule.begin(eef, lengths[eef, subtask], common)
        for eef in schedule.advance():
            begun = spans.get((eef, number[eef]), (step, step))[0]
            spans[eef, number[eef]] = begun, step
        step += 1
    return spans


def _check_pairs(task: TaskSpec) -> None:
    known = {(eef, i) for eef, subtasks in task.subtasks.items() for i in range(len(subtasks))}
    coordinated: set[tuple[str, int]] = set()
    for i, constraint in enumerate(task.constraints):
        where, pair = f"constraint {i} of {task.task_id}", constraint.eef_subtask_constraint_tuple
        for eef, number in pair:
            if (eef, number) not in known:
                there = ", ".join(f"{name} (0 to {len(subtasks) - 1})" for name, subtasks in task.subtasks.items())
                raise UserError(f'There is no subtask {number} of "{eef}".', where=where, do=f"the task has {there}")
        if pair[0][0] == pair[1][0]:
            raise UserError(f'Both subtasks are of "{pair[0][0]}", which does one after the other anyway.', where=where, do="name two end-effectors")
        if constraint.constraint_type == "coordination":
            if twice := coordinated.intersection(pair):
                raise UserError(f"{_label(task, *min(twice))} is coordinated twice.", where=where, do="leave one of the two constraints out")
            coordinated.update(pair)
            if constraint.coordination_scheme != "replay" and any(task.subtasks[eef][number].object_ref is None for eef, number in pair):
                raise UserError(
                    f'The scheme "{constraint.coordination_scheme}" moves a segment as its object was, and one of the two has no object_ref.',
                    where=where,
                    do='name an object, or use the scheme "replay"',
                )
