"""What a balanced run prefers, from its log."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.generation.balance import preferences, round_of
from mimicctl.generation.segments import rank_sources
from mimicctl.tasks import DEFAULT_TASK, ResetRange, Subtask, find_task

TASK = dataclasses.replace(find_task(DEFAULT_TASK), reset=ResetRange((0.4, 0.8), (-0.2, 0.2), (-1.0, 1.0), 0.05, 0.0))
NAMES = ["demo_0", "demo_1", "demo_2", "demo_3"]
CORNER = (0.41, -0.19)


def attempt(source: str = "demo_0", place: tuple[float, float] = CORNER, success: bool = True) -> dict:
    return {"success": success, "sources": [source] * 4, "start": {item.name: [*place, 0.0] for item in TASK.objects}}


def at(place: tuple[float, float]) -> dict[str, np.ndarray]:
    return {item.name: poses.yaw_pose(np.array([*place, 0.0]), np.array(0.0)) for item in TASK.objects}


def test_rounds_follow_one_another_without_a_gap_and_grow_to_a_limit():
    trial, lengths = 0, []
    while trial < 5000:
        first, end = round_of(trial)
        assert first == trial and round_of(end - 1) == (first, end)
        lengths.append(end - first)
        trial = end
    assert lengths[:3] == [50, 50, 50] and lengths == sorted(lengths) and lengths[-1] == 500


def test_nothing_is_preferred_before_anything_was_accepted():
    assert preferences(TASK, NAMES, [], 50) is None
    assert preferences(TASK, NAMES, [attempt(success=False)], 50) is None


def test_a_source_that_dominates_rests_and_the_others_do_not():
    log = [attempt("demo_1")] * 30 + [attempt("demo_2")] * 10
    chances = preferences(TASK, NAMES, log, 20).chances["franka"][0]
    assert chances["demo_1"] == 0.05
    assert chances["demo_2"] == 1.0
    assert chances.keys() == {"demo_1", "demo_2"}


def test_even_sources_are_all_considered():
    prefer = preferences(TASK, NAMES, [attempt(name) for name in NAMES] * 10, 20)
    assert all(chance == pytest.approx(1.0) for chances in prefer.chances["franka"] for chance in chances.values())
    assert prefer.considered("franka", 0, NAMES, np.random.default_rng(0)).all()


def test_empty_cells_weigh_more_than_full_ones_and_hard_ones_more_than_easy_ones():
    full, empty, hard = CORNER, (0.79, 0.19), (0.41, 0.19)
    log = [attempt(place=full)] * 40 + [attempt(place=hard, success=False)] * 6
    prefer = preferences(TASK, NAMES, log, 20)
    weights = [prefer.weight(TASK, at(place)) for place in (full, empty, hard)]
    assert weights[0] < weights[1] < weights[2]
    assert weights[0] == pytest.approx(0.05 ** len(TASK.objects))


def test_a_reset_range_without_extent_has_one_cell():
    task = dataclasses.replace(TASK, reset=dataclasses.replace(TASK.reset, x=(0.5, 0.5), y=(0.0, 0.0)))
    prefer = preferences(task, NAMES, [attempt(place=(0.5, 0.0))] * 5, 20)
    assert np.isfinite(prefer.weight(task, at((0.5, 0.0))))


def test_a_resting_source_is_taken_only_where_the_others_are_in_the_way():
    subtask = Subtask("grasp", "cube_2", selection_strategy="nearest_neighbor_object", nn_k=1)
    then = poses.yaw_pose(np.array([[0.4, 0, 0], [0.5, 0, 0]]), np.zeros(2))
    now = poses.yaw_pose(np.array([0.4, 0, 0]), np.array(0.0))

    def chosen(room_of_other: float) -> int:
        room = lambda demo, equivalents: np.full(len(equivalents), room_of_other if demo else 0.1)  # noqa: E731
        return rank_sources(subtask, then, then, then, now, now, now, 1, room, np.array([False, True]), np.random.default_rng(0))[0][0]

    assert (chosen(0.1), chosen(-0.1)) == (1, 0)
