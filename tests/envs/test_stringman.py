"""A gripper that hangs from four cables: how it moves and swings, what damps it, what counts as put into the basket, and the loop."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.config import RecordSettings
from mimicctl.crew import results_in_order
from mimicctl.devices import make_device
from mimicctl.envs import make_env
from mimicctl.envs.conditions import changes, conditions_of
from mimicctl.envs.mujoco import cable_robot
from mimicctl.recording.scene_view import draw_scene
from mimicctl.recording.session import Progress, Rules, look, run_session
from mimicctl.tasks import cancel_swing, find_task

TASK, SEEN = "MuJoCo-Pick-Stringman-v0", "MuJoCo-Pick-Stringman-Visuomotor-v0"


@pytest.fixture(scope="module")
def env():
    made = make_env(TASK)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _fresh(env):
    env.reset([0], [np.random.SeedSequence(3)])


def go(env, motion: tuple[float, ...], steps: int, gripper: float = 1.0) -> np.ndarray:
    """Snapshots (steps, K) under one action."""
    track = []
    for _ in range(steps):
        env.step(np.array([[*motion, gripper]], np.float32), [0])
        track.append(env.snapshot([0])[0])
    return np.stack(track)


def put(env, name: str, position, quat=(0.0, 0.0, 0.0, 1.0), *, fingers: float | None = None, speed: float = 0.0) -> np.ndarray:
    """A snapshot of the start state with an object there."""
    snapshot = env.snapshot([0])[0]
    first, velocity = env.layout.objects[name]
    snapshot[first : first + 3], snapshot[first + 3 : first + 7] = position, poses.wxyz_from_xyzw(np.array(quat))
    snapshot[env.model.nq + velocity] = speed
    if fingers is not None:
        snapshot[env.layout.joints[6:]] = fingers
    return snapshot


ACROSS = (0.0, 0.08, 0.0, 0.0, 0.0, 0.0)
STILL = (0.0,) * 6


# The robot ---------------------------------------------------------------------------------------------------


def test_it_goes_where_it_is_told_and_hangs_there(env):
    before = poses.position(env.eef_poses(env.snapshot([0])[0])["gripper"])
    go(env, (0.04, 0.0, -0.04, 0.0, 0.0, 0.08), 10)
    after = go(env, STILL, 80)[-1]
    told, there = env.eef_poses(after)["gripper"], env.swung_to(after)["gripper"]
    np.testing.assert_allclose(poses.position(told) - before, (0.1, 0.0, -0.1), atol=1e-6)
    np.testing.assert_allclose(there, told, atol=0.004)
    assert np.linalg.norm(env.reader.swing_velocity(after)) < 0.005


def test_cables_pull_and_never_push(env):
    track = go(env, (0.05, 0.02, 0.08, 0.0, 0.0, 0.0), 15), go(env, (-0.05, -0.08, -0.08, 0.0, 0.0, 0.0), 25)
    lengths = env.reader.control(np.concatenate(track))[:, :4]
    assert lengths.min() > 0.2 and np.ptp(lengths, axis=0).min() > 0.05
    assert env._data[0].actuator_force[:4].max() <= 0.0


def test_no_action_takes_it_out_of_the_frame_or_into_the_table(env):
    for motion in ((1.0, 1.0, 1.0), (-1.0, -1.0, -1.0)):
        carriage = env.reader.below_carriage(go(env, (*motion, 0.0, 0.0, 1.0), 80))
        (x0, y0, _), (x1, y1, top) = cable_robot.PULLEYS[0], cable_robot.PULLEYS[-1]
        assert x0 < carriage[:, 0].min() and carriage[:, 0].max() < x1 and y0 < carriage[:, 1].min() and carriage[:, 1].max() < y1
        assert carriage[:, 2].min() > -0.03 and carriage[:, 2].max() + cable_robot.TOOL_OFFSET < top


def test_a_gripper_that_stands_on_something_is_not_let_down_any_further(env):
    x, y, _ = poses.position(env.swung_to(env.snapshot([0])[0])["gripper"])
    state = {path: value.copy() for path, value in env.scene_state(env.snapshot([0])[0]).items()}
    state["rigid_object/socks/root_pose"][:2] = x, y
    env.reset_to([0], [state])
    pressed = go(env, (0, 0, -0.1, 0, 0, 0), 60, gripper=-1.0)[-1]
    assert env.reader.below_carriage(pressed)[2] - env.reader.memory(pressed)[2] < 0.06
    assert np.abs(env.reader.joints(pressed)[3:5]).max() < 1.1


def test_the_velocity_of_the_swing_is_the_rate_of_the_swing(env):
    go(env, (0.06, 0.08, 0, 0, 0, 0), 8)
    before, after = go(env, STILL, 2)
    rate = (env.reader.swing(after) - env.reader.swing(before)) * env.task.control_hz
    mean = (env.reader.swing_velocity(after) + env.reader.swing_velocity(before)) / 2
    np.testing.assert_allclose(rate, mean, atol=0.03)
    assert np.linalg.norm(rate) > 0.1


# Swing cancellation ------------------------------------------------------------------------------------------


def amplitude(*, on: bool) -> tuple[float, float]:
    """Of the swing [m]: the largest in the second after a move of 32 cm, and in the second that begins two seconds after it."""
    env = make_env(dataclasses.replace(find_task(TASK), swing_cancellation=on))
    env.reset([0], [np.random.SeedSequence(3)])
    go(env, ACROSS, 16)
    swing = np.linalg.norm(env.reader.swing(go(env, STILL, 60)), axis=-1)
    env.close()
    return float(swing[:20].max()), float(swing[40:].max())


def test_a_gripper_that_was_moved_swings_unless_that_is_cancelled():
    damped, free = amplitude(on=True), amplitude(on=False)
    assert free[0] > 0.10 and free[1] > 0.8 * free[0]
    assert damped[1] < 0.005 and damped[0] < 0.6 * free[0]


def test_from_rest_to_rest_it_arrives_where_it_would_without(env):
    go(env, ACROSS, 16)
    after = go(env, STILL, 120)[-1]
    np.testing.assert_allclose(env.reader.below_carriage(after)[:2], poses.position(env.eef_poses(after)["gripper"])[:2], atol=0.002)


def test_the_setting_holds_for_every_task_that_is_found_until_it_is_taken_back():
    try:
        cancel_swing(False)
        assert find_task(TASK).swing_cancellation is False and find_task("MuJoCo-Lift-Cube-Franka-IK-Rel-v0").swing_cancellation is None
    finally:
        cancel_swing(None)
    assert find_task(TASK).swing_cancellation is True


def looked_up():
    return lambda task_id: find_task(task_id).swing_cancellation


def test_worker_processes_know_of_the_setting():
    try:
        cancel_swing(False)
        assert list(results_in_order([("one", [TASK])], looked_up, (), 1, do="")) == [("one", [False])]
    finally:
        cancel_swing(None)


def test_an_episode_says_whether_swing_was_cancelled_and_replays_bit_for_bit(env):
    free = make_env(dataclasses.replace(find_task(TASK), swing_cancellation=False))
    free.reset([0], [np.random.SeedSequence(5)])
    rng = np.random.default_rng(0)
    actions = np.concatenate([rng.normal(0, 0.1, (60, 6)), rng.choice([-1.0, 1.0], (60, 1))], axis=1).astype(np.float32)
    snapshots = [free.snapshot([0])[0]]
    for action in actions:
        free.step(action[None])
        snapshots.append(free.snapshot([0])[0])
    episode = free.episode(np.stack(snapshots), actions, with_datagen_info=False)
    assert not episode.initial_state["articulation/robot/swing_cancellation"].any()
    # In an env whose switch is on: the record has the last word.
    env.reset_to([0], [episode.initial_state])
    for step, action in enumerate(actions):
        env.step(action[None])
        state = env.scene_state(env.snapshot([0])[0])
        assert all(np.array_equal(state[path], episode.states[path][step]) for path in episode.states), step
    free.close()


def test_what_changed_is_told_with_both_values(env):
    now = env.sim_args
    assert conditions_of({"sim_args": now}) == {"swing_cancellation": True, "controller_version": "1.0"} and conditions_of({}) == {}
    assert changes({"swing_cancellation": False}, now) == "swing cancellation was off and is on"
    assert changes({"controller_version": "2.3", "format_version": 0}, {**now, "format_version": 1}) == (
        "controller version was 2.3 and is 1.0; format version was 0 and is 1"
    )
    assert changes({"controller_version": "1.7", "swing_cancellation": True}, now) == "" and changes({}, now) == ""


# The task ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "more", "success"),
    [
        ((0, 0, -0.01), {}, True),
        ((0.05, 0.04, -0.005), {}, True),
        ((0, 0, 0.06), {}, False),
        ((0.13, 0, -0.018), {}, False),
        ((0, 0, -0.01), {"fingers": 0.028}, False),
        ((0, 0, -0.01), {"speed": 0.1}, False),
    ],
    ids=["on its floor", "at its wall", "over the rim", "beside it", "in the gripper", "on the move"],
)
def test_success_is_socks_in_the_basket(env, offset, more, success):
    basket = env.object_poses(env.snapshot([0])[0])["basket"]
    assert bool(env.success(put(env, "socks", poses.position(basket) + offset, **more))) is success


def test_socks_are_grasped_when_they_are_lifted_in_closed_fingers(env):
    tool = poses.position(env.swung_to(env.snapshot([0])[0])["gripper"])
    held = [env.signals(put(env, "socks", tool, fingers=fingers))["grasp"] for fingers in (0.028, 0.045)]
    lying = env.signals(put(env, "socks", (0.5, -0.1, 0.027), fingers=0.028))["grasp"]
    assert [bool(one) for one in (*held, lying)] == [True, False, False]


def test_what_is_observed_has_the_swing(env):
    seen = env.observations(go(env, ACROSS, 10)[-1])
    assert np.abs(seen["swing"][1]) > 0.015 and seen["object"].shape == (20,)
    np.testing.assert_allclose(seen["eef_pos"] - seen["swing"], env.reader.below_carriage(env.snapshot([0])[0]), atol=1e-6)
    np.testing.assert_allclose(seen["object"][14:17], seen["object"][:3] - seen["eef_pos"], atol=1e-6)


def test_the_terminal_shows_the_gripper_where_it_swings(env):
    swung = go(env, ACROSS, 12)[-1]
    view = look(env, swung, 0)
    assert np.linalg.norm(poses.position(view.gripper_pose) - poses.position(view.eef_pose)) > 0.03
    way = 100 * (poses.position(view.object_poses["socks"]) - poses.position(view.gripper_pose))
    assert f"socks x{way[0]:+5.1f} y{way[1]:+5.1f}" in draw_scene(env.task, view).plain


@pytest.mark.parametrize("speed", ["slow", "normal"])
def test_the_scripted_operator_masters_it(env, speed):
    progress = Progress(Rules(3, 10))
    run_session(env, make_device(env.task, RecordSettings(device="scripted", speed=speed), 4), None, progress, seed=12)
    assert len(progress.outcomes) == 3


def test_the_whole_loop(mimicctl):
    made = json.loads(mimicctl("generate", "--task", TASK, "--trials", "3", "--workers", "1", "--json").stdout)
    assert made["demos"] == 3 and [row["subtask"] for row in made["funnel"]] == ["grasp", "place"]
    assert mimicctl("replay", "datasets/generated.hdf5", "--verify").returncode == 0
    assert mimicctl("dataset", "check", "datasets/generated.hdf5").returncode == 0
    other = mimicctl("generate", "--task", TASK, "--trials", "1", "--workers", "1", "--overwrite", "--no-guarantee", "-o", "swing_cancellation=false")
    assert other.returncode == 0 and "swing cancellation was on and is off" in other.stderr, other.stderr


@pytest.mark.parametrize("task", [TASK, SEEN])
def test_it_passes_its_own_check(task):
    from mimicctl.authoring.check import check_task, is_complete

    findings = check_task(find_task(task), resets=2, seed=1)
    assert is_complete(findings) and all(finding.ok for finding in findings), [finding for finding in findings if not finding.ok]


@pytest.mark.render
def test_cables_are_drawn_and_the_gripper_sees_the_socks(env):
    from mimicctl.envs.mujoco.cameras import SceneRenderer
    from mimicctl.envs.mujoco.gl import choose_gl
    from mimicctl.envs.mujoco.rendering import TableView

    choose_gl()
    tool = poses.position(env.swung_to(env.snapshot([0])[0])["gripper"])
    snapshot = put(env, "socks", tool - (0, 0, 0.03))
    seen = find_task(SEEN)
    renderer = SceneRenderer(seen, "balanced", seen.cameras)
    red, _, blue = np.moveaxis(renderer.images(snapshot[: renderer.nq])["gripper_cam"].astype(int), -1, 0)
    renderer.close()
    assert (blue > red + 40).mean() > 0.08
    view = TableView(env.task, 320, 240)
    hanging = view.picture(snapshot).astype(int)
    view.close()
    # Between the carriage and the rails, above the gripper, nothing else is as dark.
    assert (hanging[30:90].max(axis=-1) < 90).sum() > 150
