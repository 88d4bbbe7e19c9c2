"""A humanoid that fetches a steering wheel from one table and puts it into a bin on another."""

from __future__ import annotations

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.config import RecordSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.devices import OperatorView, make_device
from mimicctl.envs import make_env
from mimicctl.envs.mujoco.mobile_g1 import FLOOR_Z, HIP_HEIGHT, HIP_RANGE, leg_angles
from mimicctl.errors import UserError
from mimicctl.generation.engine import bundled_source
from mimicctl.generation.segments import Bridge
from mimicctl.generation.source import load_pool
from mimicctl.generation.trial import TrialSettings, run_trials
from mimicctl.recording.scene_view import draw_scene
from mimicctl.recording.session import commands_of, look
from mimicctl.tasks import find_task
from mimicctl.tasks.spec import BODY

ID = "MuJoCo-PickPlace-Locomanipulation-G1-Abs-v0"
OPEN = {eef: np.ones((1, 1)) for eef in (BODY, "left", "right")}


def work(env, seed: int, steps: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Snapshots and actions of the scripted operator until success has held, from a start state."""
    device = make_device(env.task, RecordSettings(device="scripted"), seed)
    env.reset([0], [np.random.SeedSequence(seed)])
    rows, actions, held = [env.snapshot([0])[0]], [], 0
    while held < 10 and len(actions) < steps:
        each = commands_of(env.task, device.command(look(env, rows[-1], held)))
        deltas, grippers = {eef: one.delta for eef, one in each.items()}, {eef: one.gripper for eef, one in each.items()}
        actions.append(env.command_to_action(rows[-1], deltas, grippers))
        env.step(actions[-1][None], [0])
        rows.append(env.snapshot([0])[0])
        held = held + 1 if env.success(rows[-1]) else 0
    return np.array(rows), np.array(actions)


def sent(env, **targets: np.ndarray) -> np.ndarray:
    """(1, A) action of env 0 towards poses (4, 4) of some eefs; the others stay where they are."""
    now = env.eef_poses(env.snapshot())
    return env.target_poses_to_actions(now, now | {eef: pose[None] for eef, pose in targets.items()}, OPEN)


def test_a_person_has_no_device_for_it():
    with pytest.raises(UserError, match="body beside its arms"):
        make_device(find_task(ID), RecordSettings(device="hands"), 0)


@pytest.mark.parametrize("height", [*HIP_RANGE, HIP_HEIGHT])
def test_feet_stay_flat_below_the_hips(height):
    hip, knee, ankle = leg_angles(np.array(height))
    assert hip + knee + ankle == pytest.approx(0) and knee > 0 and ankle > -0.873  # as far as it bends
    assert 0.336 * np.sin(-hip) == pytest.approx(0.300 * np.sin(-ankle), abs=1e-3)


def test_the_terminal_shows_the_room_and_what_is_near_the_body():
    body, left = poses.yaw_pose(np.array([0.0, -1.0, 0.0]), np.array(-np.pi / 2)), poses.yaw_pose(np.array([0.2, -1.2, 0.1]), np.array(0.0))
    objects = {"object": left, "bin": poses.yaw_pose(np.array([0.0, -1.5, 0.0]), np.array(0.0))}
    text = draw_scene(find_task(ID), OperatorView(body, objects, 0.0, others={"left": OperatorView(left, objects, 0.0)})).plain
    assert "black x+0.20 m  y+0.20 m   blue bin x+0.50 m  y" in text
    assert "→" in text and "↑" in text and text.split("to go")[0].count("+") == 4  # of each half the hand, beside the axes of the heading


@pytest.mark.humanoid
def test_the_scripted_operator_succeeds_and_its_actions_repeat_bit_for_bit():
    env = make_env(ID, 2)
    rows, actions = work(env, 4)
    signals = env.signals(rows)
    rises = [int(np.argmax(signals[name])) for name in ("at_object", "grasp_right", "object_lifted", "at_bin")]
    assert env.success(rows)[-10:].all() and not env.success(rows)[: rises[-1]].any()
    assert rises == sorted(rises) and rises[0] > 0 and not env.reader.held(rows).any()

    env.reset_to([1], [{key: value[0] for key, value in env.scene_state(rows[:1]).items()}])
    for action, row in zip(actions, rows[1:], strict=True):
        env.step(action[None], [1])
        np.testing.assert_array_equal(env.snapshot([1])[0], row)


@pytest.mark.humanoid
def test_actions_are_wrists_hands_and_body_and_come_back_from_poses():
    env = make_env(ID)
    now = env.eef_poses(env.snapshot())
    targets = {eef: poses.apply_delta(pose, np.array([[0.02, 0.01, 0.03, 0.0, 0.0, 0.1]])) for eef, pose in now.items()}
    action = env.target_poses_to_actions(now, targets, OPEN)
    assert action.shape == (1, 32) and find_task(ID).action_dim == 32
    ahead, left, turn, height = action[0, -4:]
    assert (turn, height) == (pytest.approx(0.4), pytest.approx(HIP_HEIGHT + 0.03, abs=1e-6))
    assert np.hypot(ahead, left) == pytest.approx(np.hypot(0.08, 0.04), abs=1e-5)
    for eef, pose in env.actions_to_target_poses(now, action).items():
        np.testing.assert_allclose(pose, targets[eef], atol=1e-6)
    assert env.gripper_actions(action)[BODY].shape == (1, 0)


@pytest.mark.humanoid
def test_the_body_goes_as_it_is_told_and_no_lower_than_its_legs_bend():
    env = make_env(ID)
    start = env.reader.root_pose(env.snapshot())[0]
    for _ in range(20):
        action = sent(env)
        action[0, -4:] = (0.3, 0.2, 0.5, 0.3)
        env.step(action)
    velocity = env.reader.velocity(env.snapshot())[0]
    np.testing.assert_allclose(velocity, (0.3, 0.2, 0.5), atol=0.03)
    assert env.reader.root_pose(env.snapshot())[0, 2, 3] - FLOOR_Z == pytest.approx(HIP_RANGE[0], abs=5e-3)
    assert np.linalg.norm((poses.inverse(start) @ env.reader.root_pose(env.snapshot())[0])[:2, 3]) > 0.25
    feet = [env.model.body(f"{side}_ankle_roll_link").id for side in ("left", "right")]
    data = env.get_state([0])[0][0]
    np.testing.assert_allclose(data.xmat[feet].reshape(2, 3, 3)[:, 2], [[0, 0, 1]] * 2, atol=0.02)
    assert data.xpos[feet, 2].min() - FLOOR_Z == pytest.approx(0.03 + 0.035, abs=0.005)


@pytest.mark.humanoid
def test_the_table_stops_the_body():
    env = make_env(ID)
    for _ in range(80):
        action = sent(env)
        action[0, -4:] = (0.5, 0.0, 0.0, HIP_HEIGHT)
        env.step(action)
    x = env.reader.base(env.snapshot())[0, 0]
    assert -0.1 < x < 0.15  # where it begins


@pytest.mark.humanoid
def test_its_controller_takes_it_to_a_goal_and_says_so():
    env = make_env(ID)
    goal = poses.yaw_pose(np.array([-0.5, -0.8, -0.02]), np.array(-np.pi / 2))
    said = []
    for _ in range(100):
        row = env.snapshot()
        said.append([bool(flag[0]) for flag in env.navigation(row)])
        env.step(sent(env, body=env.on_the_way(row, goal[None])[0]))
    before, on_its_way, after = said[0], said[10], said[-1]
    assert (before[0], on_its_way, after) == (False, [True, False], [False, True])
    ended = [i for i in range(1, 100) if said[i - 1][0] and not said[i][0]]
    assert len(ended) == 1
    delta = poses.delta_between(env.reader.root_pose(env.snapshot())[0], goal)
    assert np.linalg.norm(delta[:3]) < 0.01 and np.linalg.norm(delta[3:]) < 0.02
    assert max(np.abs(env.reader.velocity(env.snapshot())[0])) < 0.03


@pytest.mark.humanoid
@pytest.mark.parametrize("navigates", [False, True])
def test_demonstrations_are_generated_from_those_that_come_with_it(navigates):
    env = make_env(ID, 3)
    spec = find_task(ID)
    with Dataset(bundled_source(spec)) as dataset:
        pool = load_pool(spec, [(name, dataset.episode(name)) for name in dataset.demos], env.gripper_actions, "bundled")
    assert len(pool) == 5
    numbers = iter(range(3))
    settings = TrialSettings(spec, 3, Bridge(), select_src_per_subtask=False, use_navigation_controller=navigates)
    results = [result for result in run_trials(env, pool, settings, lambda: next(numbers, None)) if result.success]
    assert len(results) >= 2  # of three, each of which does in six of seven
    for result in results:
        assert len({*sum(result.sources.values(), ())}) == 1
        # A controller goes straight, and does not repeat what the source did on its way.
        assert (result.steps < 230) == navigates
        body, wrist = (result.episode.obs[f"{eef}_eef_pos"] for eef in ("body", "left"))
        assert np.ptp(body[:, 1]) > 0.8 and np.ptp(np.linalg.norm(wrist - body, axis=1)) < 0.12
