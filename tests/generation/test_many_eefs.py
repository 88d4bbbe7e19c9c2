"""Trials of several end-effectors, on two points that carry a bar."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.generation.diagnosis import NEVER_REACHED, TIMEOUT, diagnose
from mimicctl.generation.report import summarise
from mimicctl.generation.segments import Bridge, jittered, segment_move
from mimicctl.generation.trial import TrialResult, TrialSettings, run_trials
from mimicctl.tasks import Subtask, SubtaskConstraint, TaskSpec
from tests.generation.two_hands import EEFS, TwoHands, pool, task

LIFT_TOGETHER = SubtaskConstraint((("left", 1), ("right", 1)), "coordination", coordination_scheme="transform", coordination_synchronize_start=True)


def run(spec: TaskSpec, trials: int = 12, num_envs: int = 3, **settings) -> list[TrialResult]:
    numbers = iter(range(trials))
    options = TrialSettings(**{"task": spec, "seed": 7, "bridge": Bridge(), "keep_failed": True, **settings})
    results = run_trials(TwoHands(spec, num_envs), pool(), options, lambda: next(numbers, None))
    return sorted(results, key=lambda result: result.index)


def hand(result: TrialResult, eef: str) -> np.ndarray:
    """Targets (T, 4) of a hand, and of its gripper."""
    return result.episode.actions[:, 4 * EEFS.index(eef) :][:, :4]


def closes(result: TrialResult, eef: str) -> int:
    return int(np.argmax(hand(result, eef)[:, 3] < 0))


def test_a_bar_is_lifted_if_both_lift_together_and_may_slip_if_each_goes_on_by_itself():
    assert sum(not result.success for result in run(task())) > 3
    assert all(result.success for result in run(task(constraints=(LIFT_TOGETHER,))))


def test_trials_do_not_depend_on_how_many_run_at_once():
    spec = task(constraints=(dataclasses.replace(LIFT_TOGETHER, coordination_scheme_pos_noise_scale=0.001),))
    loud = {eef: tuple(dataclasses.replace(s, action_noise=0.001) for s in subtasks) for eef, subtasks in spec.subtasks.items()}
    spec = dataclasses.replace(spec, subtasks=loud)
    one, many = run(spec, num_envs=1), run(spec, num_envs=5)
    for a, b in zip(one, many, strict=True):
        assert a.record() == b.record()
        np.testing.assert_array_equal(a.episode.actions, b.episode.actions)


def test_coordinated_hands_keep_the_sources_relation_to_each_other_to_the_end():
    sources = {demo.name: demo for demo in pool().demos}
    for result in run(task(constraints=(LIFT_TOGETHER,))):
        assert result.sources["left"][1] == result.sources["right"][1]
        source = sources[result.sources["left"][1]]
        then = [poses.position(source.target_poses[eef][20:]) for eef in EEFS]
        now = [hand(result, eef)[:, :3] for eef in EEFS]
        # From the source's step 20 on, as far as success let it go: the way up and the distance are the source's.
        apart = np.linalg.norm(then[0] - then[1], axis=-1)
        up = np.flatnonzero(now[0][:, 2] > 0.01)
        assert len(up) > 5
        np.testing.assert_allclose(np.linalg.norm(now[0] - now[1], axis=-1)[up[-5:]], apart[0], atol=1e-5)
        np.testing.assert_allclose(now[0][up[-5:], 2], now[1][up[-5:], 2], atol=1e-6)


def test_who_waits_for_its_turn_stays_still_with_its_gripper_as_it_was():
    for result in run(task(constraints=(SubtaskConstraint((("left", 0), ("right", 0)), "sequential"),))):
        moves = np.any(np.diff(hand(result, "right"), axis=0) != 0, axis=1)
        first = int(np.argmax(moves)) + 1
        assert first > closes(result, "left")
        np.testing.assert_allclose(hand(result, "right")[:first], np.tile([0.3, -0.4, 0.3, 1.0], (first, 1)), atol=1e-6)


def test_what_waits_is_not_shaken():
    spec = task(constraints=(SubtaskConstraint((("left", 0), ("right", 0)), "sequential"),))
    spec = dataclasses.replace(
        spec, subtasks={eef: tuple(dataclasses.replace(s, action_noise=0.01) for s in subtasks) for eef, subtasks in spec.subtasks.items()}
    )
    for result in run(spec, trials=3):
        noise = (result.episode.actions - result.episode.intended_actions)[:, 4:7]
        waiting = int(np.argmax(np.any(np.diff(result.episode.intended_actions[:, 4:8], axis=0) != 0, axis=1))) + 1
        assert waiting > 10 and np.all(noise[:waiting] == 0)
        assert np.any(noise[waiting + 5 :] != 0)


def test_a_subtask_is_planned_when_it_begins_and_not_when_it_is_its_turn_in_the_queue():
    """Right waits for left, which lifts its end of the bar by then; planned at once, right would go to where the bar was."""
    constraint = SubtaskConstraint((("left", 0), ("right", 0)), "sequential")
    spec, moved = task(constraints=(constraint,)), []

    class Pushed(TwoHands):
        def step(self, actions, env_ids):
            super().step(actions, env_ids)
            if not moved and self.snapshot()[0, 3] < 0:
                self._rows[0, 8] += 0.1
                moved.append(self._rows[0, 8:12].copy())

    numbers = iter([0])
    result = next(run_trials(Pushed(spec), pool(), TrialSettings(spec, 7, Bridge(), keep_failed=True), lambda: next(numbers, None)))
    x, y, _, yaw = moved[0]
    grip = hand(result, "right")[closes(result, "right"), :3]
    np.testing.assert_allclose(grip, [x + 0.2 * np.sin(yaw), y - 0.2 * np.cos(yaw), 0.0], atol=1e-5)


@pytest.mark.parametrize("scheme", ["replay", "translate", "transform"])
def test_coordination_schemes_move_both_segments_alike(scheme):
    constraint = SubtaskConstraint((("left", 0), ("right", 0)), "coordination", coordination_scheme=scheme)
    for result in run(task(constraints=(constraint,)), trials=6):
        source = next(demo for demo in pool().demos if demo.name == result.sources["left"][0])
        assert result.sources["left"][0] == result.sources["right"][0]
        x, y, yaw = result.start["bar"]
        then = source.object_poses["bar"][0]
        move = segment_move(scheme, then, poses.yaw_pose(np.array([x, y, 0.0]), np.array(yaw)))
        for eef in EEFS:
            there = {"left": 10, "right": 16}[eef]
            expected = poses.position(move @ source.target_poses[eef][there])
            np.testing.assert_allclose(hand(result, eef)[closes(result, eef), :3], expected, atol=1e-4)
    # Left has six steps fewer; side by side, both close in the source's rhythm.
    assert closes(result, "left") == closes(result, "right")


def test_noise_of_a_coordination_is_the_same_for_both_and_within_its_scale():
    noisy = SubtaskConstraint((("left", 0), ("right", 0)), "coordination", coordination_scheme="translate", coordination_scheme_pos_noise_scale=0.05)
    quiet = dataclasses.replace(noisy, coordination_scheme_pos_noise_scale=0.0)
    shifts = []
    for with_noise, without in zip(run(task(constraints=(noisy,))), run(task(constraints=(quiet,))), strict=True):
        if with_noise.sources["left"][0] != without.sources["left"][0]:
            continue
        shift = [hand(a, eef)[closes(a, eef), :3] - hand(b, eef)[closes(b, eef), :3] for eef in EEFS for a, b in [(with_noise, without)]]
        np.testing.assert_allclose(shift[0], shift[1], atol=1e-6)
        shifts.append(shift[0])
    shifts = np.array(shifts)
    assert len(shifts) > 5 and np.all(np.abs(shifts) <= 0.05 + 1e-6) and np.all(np.abs(shifts).max(axis=0) > 0.02)


def test_rotation_noise_turns_about_the_object_and_not_about_the_origin():
    move, centre = poses.yaw_pose(np.array([0.3, 0.1, 0.0]), np.array(0.4)), np.array([0.5, -0.2, 0.1])
    noisy = jittered(move, centre, 0.0, 0.3, np.random.default_rng(0))
    before = poses.inverse(move) @ np.array([*centre, 1.0])
    np.testing.assert_allclose((noisy @ before)[:3], centre, atol=1e-12)
    assert 0.05 < poses.rotation_angle(poses.rotation(noisy), poses.rotation(move)) < 0.3 * np.sqrt(3)


@pytest.mark.parametrize("per_subtask", [True, False])
@pytest.mark.parametrize("per_arm", [True, False])
def test_sources_are_shared_as_asked(per_subtask, per_arm):
    spec = task()
    choose = {eef: tuple(dataclasses.replace(s, selection_strategy="random") for s in subtasks) for eef, subtasks in spec.subtasks.items()}
    results = run(dataclasses.replace(spec, subtasks=choose), trials=30, select_src_per_subtask=per_subtask, select_src_per_arm=per_arm)
    arms_differ = [result.sources["left"] != result.sources["right"] for result in results]
    subtasks_differ = [first != second for result in results for first, second in itertools.pairwise(result.sources["left"])]
    assert any(arms_differ) == per_arm
    assert any(subtasks_differ) == per_subtask


def test_without_an_object_a_segment_is_replayed_where_it_was():
    spec = task()
    still = {eef: tuple(dataclasses.replace(s, object_ref=None, selection_strategy="random") for s in subtasks) for eef, subtasks in spec.subtasks.items()}
    for result in run(dataclasses.replace(spec, subtasks=still), trials=3):
        source = next(demo for demo in pool().demos if demo.name == result.sources["left"][0])
        np.testing.assert_allclose(hand(result, "left")[closes(result, "left"), :3], poses.position(source.target_poses["left"][10]), atol=1e-6)


def test_bridges_and_segments_begin_where_they_are_told_to():
    """The hand is pushed off its target when the second subtask begins: the bridge starts from the target, or from there."""

    class Pushed(TwoHands):
        def snapshot(self, env_ids=None):
            return super().snapshot(env_ids) + np.array([0.0, 0.0, 0.05, *[0.0] * 10])

    straight = {"bridge": Bridge("straight"), "keep_failed": True}

    def second_bridge(**settings) -> np.ndarray:
        spec, numbers = task(), iter([0])
        result = next(run_trials(Pushed(spec), pool(), TrialSettings(task=spec, seed=7, **straight, **settings), lambda: next(numbers, None)))
        # 5 of bridge, the measured pose, 11 of segment; then the second bridge.
        return hand(result, "left")[17:23, 2]

    last, measured = second_bridge(), second_bridge(interpolate_from_last_target_pose=False)
    np.testing.assert_allclose(last, 0.0, atol=1e-6)
    np.testing.assert_allclose(measured, 0.05 * np.arange(5, -1, -1) / 6, atol=1e-6)
    assert (
        len(run(task(), trials=1, **straight)[0].episode.actions) + 2
        == len(run(task(), trials=1, transform_first_robot_pose=True, **straight)[0].episode.actions) + 1
    )


def test_the_beginning_of_the_first_subtask_is_left_out_by_chance_within_both_ends():
    spec = task()
    late = {eef: (dataclasses.replace(s[0], first_subtask_start_offset_range=(2, 5)), s[1]) for eef, s in spec.subtasks.items()}
    closing = {closes(result, "left") for result in run(dataclasses.replace(spec, subtasks=late), trials=40, bridge=Bridge("straight"))}
    # 5 of bridge, the measured pose and ten steps of which two to five are left out.
    assert closing == {5 + 1 + 10 - offset for offset in (2, 3, 4, 5)}


def test_the_report_says_which_eef_failed_in_which_subtask():
    spec = task(constraints=(SubtaskConstraint((("left", 0), ("right", 0)), "sequential"),))
    lame = {**spec.subtasks, "left": (Subtask("grasp", None, "grasp_left"), Subtask("lift", None))}
    spec = dataclasses.replace(spec, subtasks=lame)
    report = summarise(spec, [result.record() for result in run(spec, trials=6)])
    assert [name for name, _ in report.funnel] == ["left: grasp", "left: lift", "right: grasp", "right: lift"]
    assert dict(report.funnel)["right: grasp"] > 0 == dict(report.funnel)["left: grasp"]
    assert {where for _, where, _ in report.reasons} == {"left: grasp"}
    assert sum(count for *_, count in report.reasons) == 6


def test_the_eef_that_was_stuck_first_is_to_blame():
    spec = task()
    env = TwoHands(spec)
    rest = [0.3, 0.4, 0.3, 1.0, 0.3, -0.4, 0.3, 1.0, 0.6, 0.0, 0.0, 0.0, 0.0]
    at_left = [0.6, 0.2, 0.0, -1.0, *rest[4:]]
    verdict = diagnose(env, np.array([rest, at_left, at_left]), spec, success=False)
    assert (verdict.eef, verdict.reason, verdict.reached) == ("right", NEVER_REACHED, {"left": 1, "right": 0})
    both = [*at_left[:4], 0.6, -0.2, 0.0, -1.0, *rest[8:]]
    verdict = diagnose(env, np.array([rest, at_left, both]), spec, success=False)
    assert (verdict.eef, verdict.reason, verdict.reached) == ("left", TIMEOUT, {"left": 1, "right": 1})


def test_coordinated_hands_slow_down_together():
    limit, hz = 0.1, task().control_hz
    results = run(task(constraints=(LIFT_TOGETHER,)), trials=6, max_eef_speed=limit)
    assert all(result.success for result in results)
    for result in results:
        for eef in EEFS:
            steps = np.linalg.norm(np.diff(hand(result, eef)[:, :3], axis=0), axis=1)
            assert steps.max() <= limit / hz + 1e-6
            assert result.motion[eef]["peak_speed"] <= limit + 1e-3
        rise = [hand(result, eef)[-10:, 2] for eef in EEFS]
        np.testing.assert_allclose(np.diff(rise[0]), np.diff(rise[1]), atol=1e-6)
