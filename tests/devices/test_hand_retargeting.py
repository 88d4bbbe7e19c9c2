"""From a hand's movement to the arm's: an arm that does at once what it is told, and properties that hold for any movement."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimicctl import poses
from mimicctl.devices.hand_retargeting import CLOSE, OPEN, HandFeel, HandRetargeter, _nearest_turn
from mimicctl.devices.hands import HandSample

PLAIN = HandFeel(False, np.ones(6), 0.0, (0.0, 0.0), False, "wrist", "wrist", (0.05, 0.15))
HOME = poses.apply_delta(np.eye(4), np.array([0.5, 0.1, 0.3, np.pi, 0, 0]))


def at(*delta: float, trigger: float = 0.0) -> HandSample:
    return HandSample(poses.apply_delta(np.eye(4), np.array([*delta, *[0.0] * (6 - len(delta))])), trigger=trigger)


class Arm:
    """An arm that is at once where it is sent."""

    def __init__(self, feel: HandFeel) -> None:
        self.retargeter, self.eef, self.deltas = HandRetargeter(feel), HOME, []

    def see(self, sample: HandSample | None, steps: int = 1) -> Arm:
        for _ in range(steps):
            self.deltas.append(self.retargeter.follow(sample, self.eef))
            self.eef = poses.apply_delta(self.eef, self.deltas[-1])
        return self

    @property
    def moved(self) -> np.ndarray:
        """(6,) since home."""
        return poses.delta_between(HOME, self.eef)


def feel(**changes: object) -> HandFeel:
    return dataclasses.replace(PLAIN, **changes)


def test_the_arm_goes_where_the_hand_went_and_no_faster_than_it_may():
    arm = Arm(PLAIN).see(at(1, 2, 3)).see(at(1.3, 2, 3, 0, 0, 0.6), 2)
    np.testing.assert_allclose(arm.moved, [0.1, 0, 0, 0, 0, 0.3], atol=1e-9)
    np.testing.assert_allclose(arm.see(at(1.3, 2, 3, 0, 0, 0.6), 10).moved, [0.3, 0, 0, 0, 0, 0.6], atol=1e-9)
    assert not arm.deltas[-1].any()


def test_a_turn_is_about_the_axes_of_the_base_whichever_way_the_hand_was_held():
    arm = Arm(PLAIN).see(at(0, 0, 0, 0, 1.0, 0))
    turned = poses.apply_delta(at(0, 0, 0, 0, 1.0, 0).wrist, np.array([0, 0, 0, 0.1, 0, 0]))
    np.testing.assert_allclose(arm.see(HandSample(turned)).moved, [0, 0, 0, 0.1, 0, 0], atol=1e-9)


def test_scales_and_directions_are_those_of_each_axis():
    scaled = feel(scale=np.array([2.0, -1, 0.5, 1, 1, -2]), step=(9, 9))
    np.testing.assert_allclose(Arm(scaled).see(at()).see(at(0.1, 0.1, 0.1, 0, 0, 0.2)).moved, [0.2, -0.1, 0.05, 0, 0, -0.4], atol=1e-9)


def test_engaging_anew_begins_from_where_hand_and_arm_are():
    arm = Arm(PLAIN).see(at()).see(at(0.04)).see(None).see(at(0.9, 0.9), 5)
    np.testing.assert_allclose(arm.moved, [0.04, 0, 0, 0, 0, 0], atol=1e-9)
    np.testing.assert_allclose(arm.see(at(0.94, 0.9)).moved, [0.08, 0, 0, 0, 0, 0], atol=1e-9)


def test_in_absolute_mode_a_place_of_the_hand_stays_a_place_of_the_arm():
    arm = Arm(feel(absolute=True)).see(at()).see(at(0.04)).see(None, 3)
    assert not arm.deltas[-1].any()
    arm.see(at(0.24))
    np.testing.assert_allclose(arm.deltas[-1][:3], [0.05, 0, 0], atol=1e-9)
    np.testing.assert_allclose(arm.see(at(0.24), 5).moved, [0.24, 0, 0, 0, 0, 0], atol=1e-9)
    arm.retargeter.reset()
    arm.see(at(7))
    assert not arm.deltas[-1].any()


def test_the_gripper_follows_the_trigger_only_while_engaged():
    retargeter = HandRetargeter(PLAIN)
    said = []
    for sample in (at(), at(trigger=0.5), at(trigger=0.7), at(trigger=0.5), None, at(trigger=0.5), at(trigger=0.3), at(trigger=0.9)):
        retargeter.follow(sample, HOME)
        said.append(retargeter.gripper)
    assert said == [OPEN, OPEN, CLOSE, CLOSE, CLOSE, CLOSE, OPEN, CLOSE]
    retargeter.reset()
    assert retargeter.gripper == OPEN


def test_yaw_alone_leaves_the_gripper_upright_and_goes_on_beyond_half_a_circle():
    arm = Arm(feel(yaw_only=True, step=(9, 9), scale=np.array([1, 1, 1, 1, 1, 0.5])))
    arm.see(at())
    for yaw in np.arange(0, 7.01, 0.5):
        arm.see(HandSample(poses.apply_delta(at(0, 0, 0, 0, 0, yaw).wrist, np.array([0, 0, 0, 0.5, -0.3, 0]))))
    np.testing.assert_allclose(np.sum(arm.deltas, axis=0), [0, 0, 0, 0, 0, 3.5], atol=1e-9)


def test_tremor_within_the_dead_band_moves_nothing_and_slow_movement_is_not_lost():
    arm = Arm(feel(dead_bands=(0.002, 0.02))).see(at())
    rng = np.random.default_rng(1)
    for _ in range(50):
        arm.see(at(*rng.uniform(-0.0008, 0.0008, 3), *rng.uniform(-0.008, 0.008, 3)))
    assert not np.array(arm.deltas).any()
    for i in range(101):
        arm.see(at(0.0005 * i))
    np.testing.assert_allclose(arm.moved[0], 0.048, atol=1e-4)


def test_smoothing_delays_and_arrives():
    arm = Arm(feel(smoothing=0.5, step=(9, 9))).see(at()).see(at(0.08))
    np.testing.assert_allclose(arm.moved[0], 0.04)
    np.testing.assert_allclose(arm.see(at(0.08), 30).moved[0], 0.08, atol=2e-4)


def test_a_hand_without_a_pose_holds_the_arm_still():
    arm = Arm(feel(turn="fingers")).see(at()).see(HandSample(np.eye(4), joints=np.zeros((25, 3))))
    assert not arm.deltas[-1].any() and arm.retargeter.gripper == OPEN
    assert not Arm(PLAIN).see(HandSample(np.full((4, 4), np.nan))).moved.any()


# For any movement -------------------------------------------------------------------------------------

numbers = st.floats(-1, 1, allow_subnormal=False)
samples = st.lists(numbers, min_size=7, max_size=7).map(lambda v: at(*(2 * x for x in v[:3]), *(3 * x for x in v[3:6]), trigger=abs(v[6])))
paths = st.lists(st.one_of(st.none(), samples, samples, samples), min_size=1, max_size=25)
feels = st.builds(
    HandFeel,
    absolute=st.booleans(),
    scale=st.sampled_from([np.ones(6), np.array([2.0, -1, 0.5, 1, 1, -1])]),
    smoothing=st.sampled_from([0.0, 0.5, 0.9]),
    dead_bands=st.sampled_from([(0.0, 0.0), (0.001, 0.01)]),
    yaw_only=st.booleans(),
    point=st.just("wrist"),
    turn=st.just("wrist"),
    step=st.just((0.05, 0.15)),
)


@settings(max_examples=60, deadline=None)
@given(feels, paths)
def test_never_faster_than_allowed_never_moved_unseen_and_the_gripper_only_when_told(how, path):
    arm = Arm(how)
    for sample in path:
        before = arm.retargeter.gripper
        arm.see(sample)
        delta = arm.deltas[-1]
        assert np.isfinite(delta).all() and np.linalg.norm(delta[:3]) <= 0.05 + 1e-12 and np.linalg.norm(delta[3:]) <= 0.15 + 1e-12
        if sample is None:
            assert not delta.any()
        if sample is None or 0.4 < sample.trigger < 0.6:
            assert arm.retargeter.gripper == before


@settings(max_examples=60, deadline=None)
@given(paths, samples)
def test_a_hand_that_comes_back_does_not_move_a_relative_arm(path, back):
    arm = Arm(PLAIN)
    for sample in path:
        arm.see(sample)
    before = arm.eef
    arm.see(None).see(back, 3)
    np.testing.assert_array_equal(arm.eef, before)


@settings(max_examples=60, deadline=None)
@given(st.lists(samples, min_size=1, max_size=10), samples)
def test_where_the_arm_ends_depends_on_where_the_hand_ends_alone(path, end):
    by_detour, straight = Arm(feel(step=(9, 9))), Arm(feel(step=(9, 9)))
    by_detour.see(at()), straight.see(at())
    for sample in path:
        by_detour.see(sample)
    by_detour.see(end, 2), straight.see(end, 2)
    np.testing.assert_allclose(by_detour.eef, straight.eef, atol=2e-3)


@settings(max_examples=100, deadline=None)
@given(st.lists(numbers, min_size=3, max_size=3), st.lists(numbers, min_size=3, max_size=3))
def test_the_nearest_turn_is_the_same_rotation(turn, before):
    rotvec, before = poses.rotvec_from_matrix(poses.matrix_from_rotvec(3 * np.array(turn))), 9 * np.array(before)
    nearest = _nearest_turn(rotvec, before)
    np.testing.assert_allclose(poses.matrix_from_rotvec(nearest), poses.matrix_from_rotvec(rotvec), atol=1e-5)
    assert np.linalg.norm(nearest - before) <= np.linalg.norm(rotvec - before) + 1e-5


@pytest.mark.parametrize("rounds", [-1, 1, 2])
def test_whole_turns_are_not_forgotten_where_the_rotation_is_none(rounds):
    before = np.array([0, 0, 2 * np.pi * rounds - 0.1])
    np.testing.assert_allclose(_nearest_turn(np.zeros(3), before), [0, 0, 2 * np.pi * rounds])
