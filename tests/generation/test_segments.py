"""The mathematics of moving and joining segments."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.errors import UserError
from mimicctl.generation.segments import Bridge, Waypoints, bridge_waypoints, grasp_correction, rank_sources, retimed, segment_move, steps_needed
from mimicctl.generation.source import first_rise, subtask_ends
from mimicctl.tasks import Subtask

SUBTASK = Subtask("grasp", "cube_2", "grasp_1", (1, 2), "nearest_neighbor_object", nn_k=1, num_interpolation_steps=5, action_noise=0.01)


def random_poses(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return poses.compose(poses.matrix_from_rotvec(rng.normal(0, 0.5, (count, 3))), rng.normal(0, 0.3, (count, 3)))


def segment(length: int = 4) -> Waypoints:
    return Waypoints(random_poses(length), np.full((length, 1), -1.0), np.full(length, 0.01))


def test_a_moved_segment_keeps_its_relation_to_the_object():
    eefs, before, now = random_poses(6), *random_poses(2, seed=1)
    moved = segment_move("transform", before, now) @ eefs
    np.testing.assert_allclose(poses.inverse(now) @ moved, poses.inverse(before) @ eefs, atol=1e-12)


def test_straight_bridge_is_isaac_labs():
    start, goal = np.eye(4), segment()
    path = bridge_waypoints(start, goal, SUBTASK, Bridge("straight"))
    assert len(path) == 5 + len(goal)
    expected = np.outer(np.arange(1, 6) / 6, goal.poses[0, :3, 3])
    np.testing.assert_allclose(path.poses[:5, :3, 3], expected, atol=1e-12)
    np.testing.assert_array_equal(path.poses[5:], goal.poses)
    assert np.all(path.noise[:5] == 0) and np.all(path.noise[5:] == 0.01)
    assert np.all(path.grippers == -1)


def test_straight_bridge_takes_a_small_turn_at_once():
    goal = segment()
    goal.poses[0, :3, :3] = poses.matrix_from_rotvec(np.array([0, 0, 0.04]))
    path = bridge_waypoints(np.eye(4), goal, SUBTASK, Bridge("straight"))
    np.testing.assert_allclose(path.poses[:5, :3, :3], np.broadcast_to(goal.poses[0, :3, :3], (5, 3, 3)))


def test_arch_rises_in_the_middle_and_its_steps_are_small():
    goal = segment()
    goal.poses[0] = poses.compose(np.eye(3), np.array([0.3, 0.0, 0.0]))
    bridge = Bridge("arch", height=0.08, step=0.02)
    path = bridge_waypoints(np.eye(4), goal, SUBTASK, bridge)
    lead = path.poses[: len(path) - len(goal), :3, 3]
    assert 0.079 < lead[:, 2].max() <= 0.08
    steps = np.diff(np.concatenate([[np.zeros(3)], lead[:, :2] @ np.eye(2, 3), goal.poses[:1, :3, 3] * (1, 1, 0)]), axis=0)
    assert np.linalg.norm(steps, axis=1).max() <= 0.02 + 1e-12


def test_arch_over_no_distance_does_not_rise():
    goal = segment()
    goal.poses[0] = poses.compose(np.eye(3), np.array([0.0, 0.0, 0.1]))
    path = bridge_waypoints(np.eye(4), goal, SUBTASK, Bridge("arch"))
    assert path.poses[: len(path) - len(goal), 2, 3].max() < 0.1


@pytest.mark.parametrize(("fixed", "interpolated", "length"), [(0, 0, 4), (3, 0, 7), (2, 5, 11)])
def test_fixed_steps_hold_the_first_target(fixed, interpolated, length):
    subtask = dataclasses.replace(SUBTASK, num_fixed_steps=fixed, num_interpolation_steps=interpolated)
    path = bridge_waypoints(np.eye(4), segment(), subtask, Bridge("straight"))
    assert len(path) == length
    for pose in path.poses[interpolated : interpolated + fixed]:
        np.testing.assert_array_equal(pose, segment().poses[0])


def choose(strategy: str, object_pose: np.ndarray, symmetry: int = 1, room=lambda demo, poses: np.ones(len(poses)), seed: int = 0, nn_k: int = 1, eef_yaw: float = 0.0, rest_yaw: float = 0.0):
    then = poses.yaw_pose(np.array([[0.4, 0, 0], [0.5, 0, 0], [0.6, 0, 0]]), np.zeros(3))
    eefs = then.copy()
    eefs[:, 2, 3] = 0.2
    subtask = dataclasses.replace(SUBTASK, selection_strategy=strategy, nn_k=nn_k)
    eef, rest = poses.yaw_pose(np.array([[0.5, 0, 0.2]] * 2), np.array([eef_yaw, rest_yaw]))
    demo, _, pose = rank_sources(subtask, then, eefs, eefs, eef, rest, object_pose, symmetry, room, np.ones(3, dtype=bool), np.random.default_rng(seed))[0]
    return demo, pose


@pytest.mark.parametrize("strategy", ["nearest_neighbor_object", "nearest_neighbor_robot_distance"])
def test_nearest_strategies_pick_the_nearest(strategy):
    demo, pose = choose(strategy, poses.yaw_pose(np.array([0.58, 0.0, 0.0]), np.array(0.1)))
    assert demo == (2 if strategy == "nearest_neighbor_object" else choose(strategy, pose)[0])
    np.testing.assert_allclose(pose[:3, 3], [0.58, 0, 0])


def test_nearest_chooses_among_k_and_random_among_all():
    target = poses.yaw_pose(np.array([0.62, 0.0, 0.0]), np.array(0.0))
    assert {choose("nearest_neighbor_object", target, seed=s, nn_k=2)[0] for s in range(30)} == {1, 2}
    assert {choose("random", target, seed=s)[0] for s in range(40)} == {0, 1, 2}


@pytest.mark.parametrize(("room_of_nearest", "chosen"), [(0.02, 2), (0.004, 1), (-0.05, 1)])
def test_a_source_that_passes_within_a_centimetre_of_another_object_comes_after_those_that_do_not(room_of_nearest, chosen):
    target = poses.yaw_pose(np.array([0.62, 0.0, 0.0]), np.array(0.0))
    assert choose("nearest_neighbor_object", target, room=lambda demo, poses: np.full(len(poses), room_of_nearest if demo == 2 else 0.1))[0] == chosen


@pytest.mark.parametrize("strategy", ["nearest_neighbor_object", "random"])
@pytest.mark.parametrize(
    ("eef_yaw", "rest_yaw", "seen_at"), [(0, 0, -10), (60, 60, 80), (-120, -120, -100), (170, 170, 170), (60, 0, 80), (0, 60, -10), (-100, 40, -10), (-110, 40, -10)]
)
def test_symmetric_object_is_seen_in_the_equivalent_that_turns_the_wrist_least_unless_it_winds_up(strategy, eef_yaw, rest_yaw, seen_at):
    target = poses.yaw_pose(np.array([0.5, 0, 0]), np.array(np.radians(80)))
    _, pose = choose(strategy, target, symmetry=4, eef_yaw=np.radians(eef_yaw), rest_yaw=np.radians(rest_yaw))
    assert abs(np.degrees(np.arctan2(pose[1, 0], pose[0, 0])) - seen_at) < 1e-9


def test_object_without_symmetry_is_compared_with_the_sources_by_its_turn():
    """All demos are as far away; the wrist's yaw must not matter."""
    subtask = dataclasses.replace(SUBTASK, nn_k=1)
    then = poses.yaw_pose(np.zeros((3, 3)), np.array([0.0, 1.0, 2.0]))
    eef = poses.yaw_pose(np.zeros(3), np.array(0.0))
    target = poses.yaw_pose(np.zeros(3), np.array(1.9))
    demo, *_ = rank_sources(subtask, then, then, then, eef, eef, target, 1, lambda demo, poses: np.ones(len(poses)), np.ones(len(then), dtype=bool), np.random.default_rng(0))[0]
    assert demo == 2


def test_choices_in_the_way_are_passed_over_and_of_bad_ones_the_best_is_taken():
    target = poses.yaw_pose(np.array([0.6, 0.0, 0.0]), np.array(0.0))
    assert choose("nearest_neighbor_object", target, room=lambda demo, poses: np.full(len(poses), 0.1 * (demo == 0) - 0.05))[0] == 0
    assert choose("nearest_neighbor_object", target, room=lambda demo, poses: np.full(len(poses), -0.1 * abs(demo - 1)))[0] == 1


def test_grasp_correction_takes_the_held_object_where_the_sources_went():
    eef_target, reference = random_poses(2)
    held_then = poses.yaw_pose(np.array([0.001, 0.004, 0.0]), np.array(0.05))
    held_now = poses.yaw_pose(np.array([-0.003, 0.0, 0.002]), np.array(-0.02))
    corrected = eef_target @ grasp_correction(held_then, held_now, 4)
    np.testing.assert_allclose(corrected @ held_now, eef_target @ held_then, atol=1e-12)
    assert reference is not None


def test_first_rise_is_the_first_true_after_a_false():
    assert first_rise(np.array([0, 0, 1, 1, 0, 1])) == 2
    assert first_rise(np.array([1, 1, 0, 0, 1])) == 4
    assert first_rise(np.array([1, 1, 1])) is None
    assert first_rise(np.zeros(4)) is None


def boundaries(signal: np.ndarray) -> tuple[int, ...]:
    subtasks = (SUBTASK, Subtask("place", "cube_1"))
    return subtask_ends(subtasks, {"subtask_term_signals/grasp_1": signal}, len(signal), "demo_0")


def test_a_subtask_includes_the_first_true_step_of_its_signal():
    assert boundaries(np.arange(20) >= 7) == (8, 20)


@pytest.mark.parametrize("rise", [20, 18])
def test_absent_or_late_signals_are_refused(rise):
    with pytest.raises(UserError):
        boundaries(np.arange(20) >= rise)


def increments(path: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.diff(path[:, :3, 3], axis=0), axis=1)


def followed(targets: np.ndarray, start: np.ndarray, share: float = 0.4) -> np.ndarray:
    """Positions (L + 1, 3) of a hand that goes a share of what is left to its target in each step."""
    track = [start]
    for target in targets:
        track.append(track[-1] + share * (target - track[-1]))
    return np.array(track)


def down_to_a_stop(steps: int = 60) -> tuple[Waypoints, np.ndarray]:
    """A segment that closes where a lagging hand has come to rest, and that hand's path (L + 1, 4, 4)."""
    track, targets = [np.array([0.0, 0.0, 0.3])], []
    for _ in range(steps):
        # The operator's target is ahead of the hand, and near the goal beyond it.
        targets.append(track[-1] - np.array([0.0, 0.0, min(2 * track[-1][2], 0.08)]))
        track.append(track[-1] + 0.4 * (targets[-1] - track[-1]))
    rotations = np.broadcast_to(np.eye(3), (steps, 3, 3))
    grippers = np.where(np.arange(steps) < 50, 1.0, -1.0)[:, None]
    return Waypoints(poses.compose(rotations, np.array(targets)), grippers, np.zeros(steps)), poses.compose(np.eye(3), np.array(track))


def test_a_lagging_hand_follows_a_retimed_segment_along_the_sources_path_and_closes_where_that_did():
    fast, measured = down_to_a_stop()
    times = steps_needed(measured, 0.01)
    slow = retimed(fast, measured, times)
    assert len(slow) == times.sum() > 1.3 * len(fast)
    heights = followed(slow.poses[:, :3, 3], measured[0, :3, 3])[:, 2]
    assert np.abs(np.diff(heights)).max() <= 0.012
    assert heights.min() > -0.004  # the goal is at 0; with the source's leads it would have come
    assert followed(np.repeat(fast.poses[:, :3, 3], times, axis=0), measured[0, :3, 3])[:, 2].min() < -0.015
    closes = int(np.argmax(slow.grippers[:, 0] < 0))
    assert closes == times[:50].sum() and abs(heights[closes] - measured[50, 2, 3]) < 1e-3


def test_a_hand_without_lag_keeps_the_limit_with_every_target():
    path = random_poses(6)
    fast = Waypoints(path[1:], np.ones((5, 1)), np.zeros(5))
    slow = retimed(fast, path, steps_needed(path, 0.05))
    assert increments(np.concatenate([path[:1], slow.poses])).max() <= 0.05 + 1e-9
    np.testing.assert_allclose(slow.poses[np.cumsum(steps_needed(path, 0.05)) - 1][:, :3, 3], path[1:, :3, 3])


def test_a_segment_slow_enough_is_left_as_it_is():
    fast, measured = down_to_a_stop()
    assert retimed(fast, measured, steps_needed(measured, 10.0)) is fast


@pytest.mark.parametrize("shape", ["arch", "straight"])
@pytest.mark.parametrize("steps", [0, 5, "auto"])
def test_no_step_of_a_bridge_exceeds_the_limit(shape, steps):
    subtask = dataclasses.replace(SUBTASK, num_interpolation_steps=steps)
    goal = segment()
    path = bridge_waypoints(np.eye(4), goal, subtask, Bridge(shape), max_step=0.01)
    whole = np.concatenate([np.eye(4)[None], path.poses[: path.lead + 1]])
    assert increments(whole).max() <= 0.01 + 1e-9
    np.testing.assert_array_equal(path.poses[path.lead :], goal.poses)


def test_automatic_steps_follow_gap_and_usual_speed():
    subtask = dataclasses.replace(SUBTASK, num_interpolation_steps="auto")
    goal = segment()
    goal.poses[0] = poses.compose(np.eye(3), np.array([0.3, 0.0, 0.0]))

    def steps(usual: float, **limit) -> int:
        return bridge_waypoints(np.eye(4), goal, subtask, Bridge("straight"), usual_step=usual, **limit).lead

    assert (steps(0.03), steps(0.015), steps(0.03, max_step=0.01), steps(1.0)) == (9, 19, 29, 0)


def test_the_gap_strategy_prefers_what_is_near_the_hand():
    """Demos 0 and 1 are as near to the object; only demo 1 begins near the hand."""
    then = poses.yaw_pose(np.array([[0.45, 0, 0], [0.55, 0, 0]]), np.zeros(2))
    eefs = poses.yaw_pose(np.array([[0.45, -0.3, 0.2], [0.55, 0.2, 0.2]]), np.zeros(2))
    hand, target = poses.yaw_pose(np.array([[0.5, 0.25, 0.2], [0.5, 0, 0]]), np.zeros(2))
    for symmetry in (1, 4):
        subtask = dataclasses.replace(SUBTASK, selection_strategy="nearest_neighbor_gap")
        demo, *_ = rank_sources(subtask, then, eefs, eefs, hand, hand, target, symmetry, lambda demo, poses: np.ones(len(poses)), np.ones(len(then), dtype=bool), np.random.default_rng(0))[0]
        assert demo == 1
    far_object = poses.yaw_pose(np.array([0.3, 0, 0]), np.array(0.0))
    subtask = dataclasses.replace(subtask, pos_weight=1.0)
    then[1, 0, 3] = 2.0
    eefs[1] = poses.yaw_pose(np.array([2.0, 0.2, 0.2]), np.array(0.0))
    assert rank_sources(subtask, then, eefs, eefs, hand, hand, far_object, 1, lambda demo, poses: np.ones(len(poses)), np.ones(len(then), dtype=bool), np.random.default_rng(0))[0][0] == 0
