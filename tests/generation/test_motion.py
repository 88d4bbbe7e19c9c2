"""What is measured of a demonstration's motion, and what the report makes of it."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from mimicctl.generation.motion import motion_of
from mimicctl.generation.report import Contribution, summarise
from mimicctl.tasks import DEFAULT_TASK, find_task

HZ = 20.0


def path(along: np.ndarray) -> np.ndarray:
    return np.outer(along, [0.6, 0.0, 0.8])


def attempt(trial: int, sources: tuple[str, str, str, str], *, success: bool = True, **more) -> dict:
    start = {name: [0.5, 0.0, 0.0] for name in ("cube_1", "cube_2", "cube_3")}
    reason = "" if success else "it fell"
    return {"trial": trial, "success": success, "sources": list(sources), "start": start, "reached": 4 if success else 1, "reason": reason, "steps": 9, **more}


def test_speed_and_acceleration_are_those_of_the_path():
    t = np.arange(41) / HZ
    measured = motion_of(path(0.5 * 0.3 * t**2), [], HZ)
    assert measured["peak_speed"] == pytest.approx(0.3 * (t[-1] - 0.5 / HZ), abs=1e-4)
    assert measured["mean_speed"] == pytest.approx(0.3 * t[-1] / 2, abs=1e-4)
    assert measured["peak_acceleration"] == pytest.approx(0.3, abs=1e-4)
    assert measured["jerk_elsewhere"] == pytest.approx(0.0, abs=1e-4)
    assert measured["jerk_at_stitches"] is None


def test_a_corner_counts_where_the_stitch_is():
    along = np.concatenate([np.zeros(20), 0.01 * np.arange(21)])
    at_corner, beside = motion_of(path(along), [19], HZ), motion_of(path(along), [5], HZ)
    assert at_corner["jerk_at_stitches"] > 10 and at_corner["jerk_elsewhere"] == 0
    assert beside["jerk_at_stitches"] == 0 and beside["jerk_elsewhere"] > 0


def test_the_shortest_paths_have_no_jerk():
    assert motion_of(np.zeros((2, 3)), [0], HZ)["jerk_elsewhere"] is None
    assert motion_of(np.zeros((1, 3)), [], HZ)["mean_speed"] is None


@pytest.mark.parametrize(("counts", "effective"), [((5, 5, 5, 5), 4.0), ((20,), 1.0), ((9, 1), 100 / 82), ((), 0.0)])
def test_the_effective_number_of_sources_is_that_of_equal_ones(counts, effective):
    contribution = Contribution("grasp", tuple((f"demo_{i}", count) for i, count in enumerate(counts)))
    assert contribution.effective == pytest.approx(effective)
    assert sum(share for _, share in contribution.shares) == pytest.approx(1.0 if counts else 0.0)


def test_only_accepted_demos_count_as_contributions_and_old_logs_are_read():
    task = find_task(DEFAULT_TASK)
    motion = {"franka": motion_of(path(0.01 * np.arange(30)), [4], HZ)}
    faster = copy.deepcopy(motion) | {"franka": motion["franka"] | {"peak_speed": 0.9}}
    log = [
        attempt(0, ("demo_2", "demo_2", "demo_1", "demo_0"), motion=motion),
        attempt(1, ("demo_1", "demo_2", "demo_1", "demo_0"), motion=faster),
        attempt(2, ("demo_9", "demo_9", "demo_9", "demo_9"), success=False),
        attempt(3, ("demo_2", "demo_2", "demo_10", "demo_0")),
    ]
    report = summarise(task, log)
    assert [c.counts for c in report.contributions] == [(("demo_2", 2), ("demo_1", 1)), (("demo_2", 3),), (("demo_1", 2), ("demo_10", 1)), (("demo_0", 3),)]
    (moved,) = report.motion
    assert (moved.eef, moved.demos, moved.fastest) == ("franka", 2, 0.9)
    assert moved.medians["mean_speed"] == pytest.approx(0.2)
    assert summarise(task, log[2:]).motion == ()
    assert report.as_dict()["contributions"][1]["shares"] == [{"demo": "demo_2", "share": 1.0}]
