"""How good a take is: made up movements with known pauses and ways."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mimicctl.recording import quality
from mimicctl.recording.quality import TakeQuality, hints_for
from mimicctl.schema import Episode

HZ = 20.0


def episode(position: np.ndarray, gripper: np.ndarray | None = None, quaternions: np.ndarray | None = None) -> Episode:
    steps = len(position)
    actions = np.zeros((steps, 7), np.float32)
    actions[:, -1] = 1 if gripper is None else gripper
    still = np.tile([0, 0, 0, 1.0], (steps, 1)) if quaternions is None else quaternions
    obs = {"eef_pos": position, "eef_quat": still, "gripper_pos": np.full((steps, 2), 0.04)}
    return Episode(actions=actions, processed_actions=np.zeros((steps, 8)), obs=obs, states={}, initial_state={}, datagen_info={})


def quality_of(made: Episode, hz: float) -> TakeQuality:
    return quality.quality_of(made, hz, {"franka": made.actions[:, -1:]})


def along(*points: tuple[float, float, float], steps: int = 40) -> np.ndarray:
    """Straight from point to point at constant speed."""
    parts = [np.linspace(a, b, steps, endpoint=False) for a, b in itertools.pairwise(points)]
    return np.concatenate([*parts, [points[-1]]])


def test_a_straight_way_without_a_stop():
    take = quality_of(episode(along((0, 0, 0), (0.4, 0, 0))), HZ)
    assert take.seconds == pytest.approx(41 / HZ) and take.idle == 0 and take.longest_pause == 0
    assert take.directness == pytest.approx(1) and take.jerk == pytest.approx(0, abs=1e-6)
    assert hints_for(take, []) == []


def test_pauses_are_found_and_the_longest_is_said():
    there = along((0, 0, 0), (0.4, 0, 0))
    position = np.concatenate([there, np.tile(there[-1], (30, 1)), along((0.4, 0, 0), (0.8, 0, 0)), np.tile([0.8, 0, 0], (10, 1))])
    take = quality_of(episode(position), HZ)
    assert take.longest_pause == pytest.approx(31 / HZ) and take.idle == pytest.approx(41 / 121, abs=0.01)
    (hint,) = hints_for(take, [])
    assert "stands still for 1.6 s" in hint


def test_waiting_for_the_gripper_and_turning_are_no_pauses():
    position = np.zeros((40, 3))
    made = episode(position)
    made.obs["gripper_pos"] = np.linspace(0.04, 0.0, 40)[:, None].repeat(2, 1)
    assert quality_of(made, HZ).idle == 0
    angles = np.linspace(0, 2, 40) / 2
    turning = np.stack([np.zeros(40), np.zeros(40), np.sin(angles), np.cos(angles)], axis=1)
    take = quality_of(episode(position, quaternions=turning), HZ)
    assert take.idle == 0 and take.directness == pytest.approx(1)


def test_a_detour_counts_between_what_the_gripper_did():
    position = along((0, 0, 0), (0.3, 0, 0), (0.3, 0.4, 0))
    take = quality_of(episode(position), HZ)
    assert take.directness == pytest.approx(0.5 / 0.7, abs=0.01)
    # Closing at the corner makes the corner a place to be at.
    gripper = np.where(np.arange(len(position)) < 40, 1, -1)
    assert quality_of(episode(position, gripper), HZ).directness == pytest.approx(1)
    back = quality_of(episode(along((0, 0, 0), (0.3, 0, 0), (0.05, 0, 0))), HZ)
    assert back.directness < 0.2 and "times as long as it had to be" in hints_for(back, [])[0]


def test_trembling_is_jerk():
    position = along((0, 0, 0), (0.4, 0, 0))
    rough = position + 0.002 * np.random.default_rng(0).standard_normal(position.shape)
    assert quality_of(episode(rough), HZ).jerk > 20 > quality_of(episode(position), HZ).jerk


def test_one_that_is_much_longer_than_the_others_is_said():
    usual, long = (TakeQuality(seconds, 0, 0, 1, 0) for seconds in (10.0, 16.0))
    assert hints_for(long, []) == [] and hints_for(usual, [usual]) == []
    assert "longer than the others (10 s)" in hints_for(long, [usual, usual])[0]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_takes_of_a_few_steps_have_a_quality_too(steps):
    take = quality_of(episode(np.zeros((steps, 3))), HZ)
    assert np.isfinite(list(take.facts().values())).all() and "direct" in take.text()
