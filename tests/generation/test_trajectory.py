"""Waiting for a hand that is not where it should be when the gripper changes."""

from __future__ import annotations

import numpy as np

from mimicctl import poses
from mimicctl.generation.segments import Waypoints, retimed
from mimicctl.generation.trajectory import Track

NOISE = 0.03


def at(*x: float) -> np.ndarray:
    return poses.compose(np.eye(3), np.array([[value, 0.0, 0.0] for value in x]))


def hands(*x: float) -> np.ndarray:
    return poses.position(at(*x))


def closing(held: str | None = None, noise: float = NOISE) -> Track:
    """About to be sent to 0.2 m, and then to close where its source's hand, which lags behind, or what it held, had come to 0.15 m."""
    track = Track(at(0.0)[0], np.ones(1), command_scale=0.5)
    track.follow(Waypoints(at(0.2, 0.3), np.array([[1.0], [-1.0]]), np.full(2, noise), places=hands(0.1, 0.15), held=held), np.zeros((2, 6)))
    return track


def nothing() -> dict[str, np.ndarray]:
    raise AssertionError("objects are looked up only where one is held")


def test_only_a_change_of_the_gripper_waits():
    track = closing()
    assert not track.about_to_change
    track.go_to(track.step + 1)
    assert track.about_to_change
    np.testing.assert_allclose(track.away(at(0.2)[0], nothing), [-0.05, 0.0, 0.0])  # at its target, where the source's hand was not
    assert track.away(at(0.155)[0], nothing) is None
    track.go_to(track.step + 1)
    assert not track.about_to_change  # all waypoints are gone by


def test_a_hand_that_is_hardly_shaken_is_off_for_another_reason_and_not_waited_for():
    track = closing(noise=0.005)
    track.go_to(track.step + 1)
    assert track.away(at(0.2)[0], nothing) is None


def test_what_is_held_counts_and_not_the_hand_that_holds_it():
    track = closing(held="cube")
    track.go_to(track.step + 1)
    assert track.away(at(9.0)[0], lambda: {"cube": at(0.15)[0]}) is None
    np.testing.assert_allclose(track.away(at(0.15)[0], lambda: {"cube": at(0.19)[0]}), [-0.04, 0.0, 0.0])


def test_who_waits_goes_the_way_that_is_left_shaken_as_on_the_way():
    track = closing()
    track.go_to(track.step + 1)
    track.wait(at(0.2)[0], np.array([-0.05, 0.0, 0.0]), np.full(6, 2.0))
    np.testing.assert_allclose(track.pose, at(0.15)[0])
    np.testing.assert_allclose(track.noise, 2 * NOISE)
    assert track.gripper == [1.0]


def test_waiting_comes_to_an_end():
    track = closing()
    track.go_to(track.step + 1)
    waited = 0
    while (way := track.away(at(9.0)[0], nothing)) is not None:
        track.wait(at(9.0)[0], way, np.zeros(6))
        waited += 1
    assert waited == 20
    track.go_to(track.step + 1)
    assert track.gripper == [-1.0]


def test_a_slower_segment_keeps_the_place_with_the_change_of_the_gripper():
    segment = Waypoints(at(0.2, 0.3), np.array([[1.0], [-1.0]]), np.zeros(2), places=hands(0.1, 0.15))
    slow = retimed(segment, at(0.1, 0.15, 0.2), np.array([3, 1]))
    np.testing.assert_array_equal(slow.grippers[:, 0], [1, 1, 1, -1])
    np.testing.assert_array_equal(slow.places, hands(0.1, 0.1, 0.1, 0.15))
