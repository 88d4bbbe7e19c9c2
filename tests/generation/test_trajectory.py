"""Waiting for a hand that is not where it should be when the gripper changes."""

from __future__ import annotations

import numpy as np

from mimicctl import poses
from mimicctl.generation.segments import Waypoints, stretched
from mimicctl.generation.trajectory import Track

NOISE = 0.03


def at(*x: float) -> np.ndarray:
    return poses.compose(np.eye(3), np.array([[value, 0.0, 0.0] for value in x]))


def closing() -> Track:
    """About to be sent to 0.2 m, and then to close where its source's hand, which lags behind, had come to 0.15 m."""
    track = Track(at(0.0)[0], np.ones(1))
    track.follow(Waypoints(at(0.2, 0.3), np.array([[1.0], [-1.0]]), np.full(2, NOISE), hands=at(0.1, 0.15)), np.zeros((2, 6)))
    return track


def test_only_a_change_of_the_gripper_waits():
    track = closing()
    assert not track.away(at(9.0)[0])
    track.advance()
    assert track.away(at(0.2)[0])  # at its target, where the source's hand was not
    assert not track.away(at(0.155)[0])
    track.advance()
    assert not track.away(at(9.0)[0])  # all waypoints are gone by


def test_who_waits_goes_to_where_the_source_was_shaken_as_on_the_way():
    track = closing()
    track.advance()
    track.wait(np.full(6, 2.0))
    np.testing.assert_array_equal(track.pose, at(0.15)[0])
    np.testing.assert_allclose(track.noise, 2 * NOISE)
    assert track.gripper == [1.0]


def test_waiting_comes_to_an_end():
    track = closing()
    track.advance()
    waited = 0
    while track.away(at(9.0)[0]):
        track.wait(np.zeros(6))
        waited += 1
    assert waited == 20
    track.advance()
    assert track.gripper == [-1.0]


def test_stretching_keeps_where_the_hand_was_with_the_change_of_the_gripper():
    segment = Waypoints(at(0.2, 0.3), np.array([[1.0], [-1.0]]), np.zeros(2), hands=at(0.1, 0.15))
    slow = stretched(segment, np.array([1, 3]))
    np.testing.assert_array_equal(slow.grippers[:, 0], [1, 1, 1, -1])
    np.testing.assert_array_equal(slow.hands, at(0.1, 0.1, 0.1, 0.15))
