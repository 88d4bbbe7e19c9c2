"""When each of several end-effectors may go on. No env here: subtasks are numbers of control steps."""

from __future__ import annotations

import dataclasses

import pytest

from mimicctl.errors import UserError
from mimicctl.generation.schedule import Schedule, rehearse
from mimicctl.tasks import DEFAULT_TASK, Subtask, SubtaskConstraint, TaskSpec, find_task

LENGTHS = {("left", 0): 10, ("left", 1): 6, ("right", 0): 4, ("right", 1): 8}


def task(*constraints: SubtaskConstraint) -> TaskSpec:
    subtasks = {eef: (Subtask(f"reach {eef}", "cube_1", f"reached_{eef}"), Subtask(f"lift {eef}", "cube_1")) for eef in ("left", "right")}
    return dataclasses.replace(find_task(DEFAULT_TASK), subtasks=subtasks, constraints=constraints)


def after(first: tuple[str, int], second: tuple[str, int], steps: int = -1) -> SubtaskConstraint:
    return SubtaskConstraint((first, second), "sequential", sequential_min_time_diff=steps)


def together(one: tuple[str, int], other: tuple[str, int], **fields) -> SubtaskConstraint:
    return SubtaskConstraint((one, other), "coordination", **fields)


def test_without_constraints_each_eef_goes_on_by_itself():
    assert rehearse(task(), LENGTHS) == {("left", 0): (0, 9), ("left", 1): (10, 15), ("right", 0): (0, 3), ("right", 1): (4, 11)}


def test_a_sequential_constraint_puts_off_the_beginning_of_the_second_subtask():
    spans = rehearse(task(after(("left", 0), ("right", 0))), LENGTHS)
    assert spans["left", 0] == (0, 9)
    assert spans["right", 0] == (10, 13) and spans["right", 1] == (14, 21)


@pytest.mark.parametrize(("steps", "end"), [(0, 20), (1, 20), (3, 22), (8, 27), (20, 27)])
def test_the_second_of_two_subtasks_keeps_its_last_steps_until_the_first_has_ended(steps, end):
    """The first ends in step 19; of 8 steps, those that are not kept are gone by then."""
    spans = rehearse(task(after(("left", 0), ("right", 1), steps)), {**LENGTHS, ("left", 0): 20})
    assert spans["right", 1][1] == end


def test_min_time_diff_holds_nothing_up_that_ends_late_enough():
    free = rehearse(task(), LENGTHS)
    assert rehearse(task(after(("right", 0), ("left", 1), 2)), LENGTHS) == free


@pytest.mark.parametrize("order", [1, -1])
def test_coordinated_subtasks_end_together(order):
    spans = rehearse(task(together(*[("left", 1), ("right", 1)][::order])), LENGTHS)
    # Left begins its 6 steps at 10; of right's 8, which began at 4, the last 6 go along with them.
    assert spans["left", 1] == (10, 15) and spans["right", 1] == (4, 15)


def test_with_a_synchronised_start_neither_begins_before_the_other_can():
    spans = rehearse(task(together(("left", 1), ("right", 1), coordination_synchronize_start=True)), LENGTHS)
    # Right has two steps more, which it does while left waits.
    assert spans["right", 1] == (10, 17) and spans["left", 1] == (12, 17)


def test_a_synchronised_start_also_waits_for_what_holds_up_the_partner():
    spans = rehearse(task(together(("left", 0), ("right", 1), coordination_synchronize_start=True), after(("right", 0), ("left", 0))), LENGTHS)
    assert spans["right", 0] == (0, 3)
    assert spans["left", 0][0] == 4 and spans["left", 0][1] == spans["right", 1][1] == 13


def test_what_holds_one_of_two_coordinated_subtasks_holds_the_other():
    three = task(together(("left", 0), ("right", 0)), after(("third", 0), ("right", 0), 2))
    three = dataclasses.replace(three, subtasks={**three.subtasks, "third": (Subtask("wave", "cube_1"),)})
    spans = rehearse(three, {**LENGTHS, ("third", 0): 30})
    assert spans["third", 0] == (0, 29)
    assert spans["left", 0][1] == spans["right", 0][1] == 31


def test_a_chain_of_three_end_effectors():
    chain = task(after(("left", 1), ("right", 0)), after(("right", 1), ("third", 0)))
    chain = dataclasses.replace(chain, subtasks={**chain.subtasks, "third": (Subtask("wave", "cube_1"),)})
    assert rehearse(chain, {**LENGTHS, ("third", 0): 3})["third", 0] == (28, 30)


@pytest.mark.parametrize(
    ("constraints", "named"),
    [
        ((after(("left", 0), ("right", 0)), after(("right", 0), ("left", 0))), ("reach left", "reach right")),
        ((after(("left", 1), ("right", 0)), after(("right", 1), ("left", 1))), ("lift left", "lift right", "reach right")),
        ((after(("left", 0), ("right", 0), 2), after(("right", 0), ("left", 0), 2)), ("reach left", "reach right")),
        ((together(("left", 0), ("right", 1), coordination_synchronize_start=True), after(("left", 1), ("right", 0))), ("reach left", "reach right")),
        ((together(("left", 0), ("right", 0)), after(("left", 0), ("right", 0))), ("reach left", "reach right")),
    ],
    ids=["each before the other", "a circle of two", "each keeps its last steps", "a common start that cannot be", "together and one after the other"],
)
def test_a_deadlock_is_an_error_that_names_the_subtasks(constraints, named):
    with pytest.raises(UserError, match="nothing that could go on") as caught:
        rehearse(task(*constraints))
    assert all(f'"{name}"' in caught.value.what for name in named)
    assert DEFAULT_TASK in caught.value.where


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (after(("left", 0), ("middle", 0)), 'no subtask 0 of "middle"'),
        (after(("left", 2), ("right", 0)), 'no subtask 2 of "left"'),
        (after(("left", 0), ("left", 1)), 'Both subtasks are of "left"'),
    ],
)
def test_constraints_about_what_is_not_there_are_refused(constraint, message):
    with pytest.raises(UserError, match=message):
        rehearse(task(constraint))


def test_a_subtask_is_coordinated_once():
    with pytest.raises(UserError, match="coordinated twice"):
        rehearse(task(together(("left", 0), ("right", 0)), together(("left", 0), ("right", 1))))


def test_who_has_begun_and_may_not_go_on_waits():
    """A subtask that is all side by side with its partner's is planned, and waits before its first step."""
    schedule = Schedule(task(together(("left", 0), ("right", 1))))
    assert schedule.ready() == [("left", 0), ("right", 0)]
    schedule.begin("left", 8, synchronous_steps=8)
    schedule.begin("right", 2)
    assert set(schedule.advance()) == {"right"} and schedule.ready() == []
    assert set(schedule.advance()) == {"right"} and schedule.ready() == [("right", 1)]
    schedule.begin("right", 9, synchronous_steps=8)
    assert set(schedule.advance()) == {"right"}
    assert set(schedule.advance()) == {"left", "right"}


def test_who_waits_for_a_reason_of_its_own_holds_up_its_partner_and_nothing_is_stuck():
    schedule = Schedule(task(together(("left", 0), ("right", 0))))
    schedule.ready()
    schedule.begin("left", 4, synchronous_steps=4)
    schedule.begin("right", 4, synchronous_steps=4)
    assert schedule.advance({"left"}) == {}
    assert set(schedule.advance()) == {"left", "right"}


# A robot that is driven from place to place ---------------------------------------------------------------------------


def executed(monkeypatch, length: int, other: int, states) -> list[dict[str, int]]:
    """What each control step executes, if left is the body, right has `other` waypoints, and the env says `states` of (navigating, goal reached)."""
    monkeypatch.setattr("mimicctl.generation.schedule.BODY", "left")
    spec = dataclasses.replace(task(), subtasks={eef: subtasks[:1] for eef, subtasks in task().subtasks.items()})
    schedule, steps = Schedule(spec), []
    for eef, number in schedule.ready():
        schedule.begin(eef, {"left": length, "right": other}[eef])
        assert number == 0
    for state in states:
        if not schedule.done:
            steps.append({} if schedule.keep_with(*state) else schedule.advance())
    assert schedule.done
    return steps


IDLE, UNDER_WAY, THERE = (False, False), (True, False), (True, True)


def test_without_navigation_the_source_sets_the_pace(monkeypatch):
    assert executed(monkeypatch, 4, 4, [IDLE] * 4) == [{"left": i, "right": i} for i in range(4)]


@pytest.mark.parametrize("arrives", [THERE, IDLE])
def test_all_wait_before_the_bodys_last_waypoint_until_the_robot_is_there(monkeypatch, arrives):
    steps = executed(monkeypatch, 4, 6, [IDLE, *[UNDER_WAY] * 6, arrives, *[IDLE] * 2])
    assert steps[:3] == [{"left": i, "right": i} for i in range(3)]
    assert steps[3:7] == [{}] * 4
    assert steps[7] == {"left": 3, "right": 3} and steps[8:] == [{"right": 4}, {"right": 5}]


@pytest.mark.parametrize(("other", "gone_on"), [(20, 9), (9, 8), (5, 4)])
def test_all_go_on_to_the_bodys_last_waypoint_when_the_robot_is_there_early(monkeypatch, other, gone_on):
    steps = executed(monkeypatch, 10, other, [IDLE, UNDER_WAY, UNDER_WAY, *[IDLE] * 20])
    assert steps[2] == {"left": 2, "right": 2}
    assert steps[3] == {"left": 9, "right": gone_on}


def test_a_hand_that_has_ended_does_not_go_back(monkeypatch):
    steps = executed(monkeypatch, 10, 2, [IDLE, UNDER_WAY, UNDER_WAY, *[IDLE] * 20])
    assert steps[2:] == [{"left": 2}, {"left": 9}]
