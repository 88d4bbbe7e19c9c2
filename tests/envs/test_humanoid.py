"""A humanoid that puts a steering wheel in a bin."""

from __future__ import annotations

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.config import RecordSettings
from mimicctl.devices import OperatorView, make_device
from mimicctl.envs import make_env
from mimicctl.envs.mujoco.g1 import G1
from mimicctl.tasks import find_task

pytestmark = pytest.mark.humanoid

ID = "MuJoCo-PickPlace-G1-Pink-IK-Abs-v0"


def work(env, seed: int, steps: int = 400) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Snapshots and actions of the scripted operator until success has held, from a start state."""
    device = make_device(env.task, RecordSettings(device="scripted"), seed)
    env.reset([0], [np.random.SeedSequence(seed)])
    rows, actions, held = [env.snapshot([0])[0]], [], 0
    while held < 10 and len(actions) < steps:
        row = rows[-1]
        eefs, objects, openings = env.eef_poses(row), env.object_poses(row), env.gripper_opening(row)
        views = {eef: OperatorView(eefs[eef], objects, openings[eef]) for eef in eefs}
        command = device.command(OperatorView(eefs["left"], objects, openings["left"], others={"right": views["right"]}))
        each = {"left": command, **command.others}
        actions.append(env.command_to_action(row, {e: c.delta for e, c in each.items()}, {e: c.gripper for e, c in each.items()}))
        env.step(actions[-1][None], [0])
        rows.append(env.snapshot([0])[0])
        held = held + 1 if env.success(rows[-1]) else 0
    return rows, actions


def test_the_scripted_operator_succeeds_and_its_actions_repeat_bit_for_bit():
    env = make_env(ID, 2)
    rows, actions = work(env, 4)
    rows, signals = np.array(rows), env.signals(np.array(rows))["grasp_right"]
    assert env.success(rows)[-10:].all() and not env.success(rows)[:40].any()
    assert signals.any() and not signals[0] and not env.reader.held(rows).any()

    env.reset_to([1], [{key: value[0] for key, value in env.scene_state(rows[:1]).items()}])
    for action, row in zip(actions, rows[1:], strict=True):
        env.step(action[None], [1])
        np.testing.assert_array_equal(env.snapshot([1])[0], row)


def test_actions_are_two_wrists_then_two_hands_and_come_back_from_poses():
    env = make_env(ID)
    row = env.snapshot([0])
    now = env.eef_poses(row)
    targets = {eef: poses.apply_delta(pose, np.array([[0.02, 0.01, 0.03, 0.1, 0.0, 0.2]])) for eef, pose in now.items()}
    grippers = {"left": np.ones((1, 1)), "right": -np.ones((1, 1))}
    action = env.target_poses_to_actions(now, targets, grippers)
    assert action.shape == (1, 28) and find_task(ID).action_dim == 28
    for eef, pose in env.actions_to_target_poses(now, action).items():
        np.testing.assert_allclose(pose, targets[eef], atol=1e-6)
    parts = env.gripper_actions(action)
    assert parts["left"][0, 0] == pytest.approx(1) and parts["right"][0, 0] == pytest.approx(-1)
    # Isaac Lab's columns: the first joints of index finger, middle finger and thumb of the left hand, then of the right one.
    assert G1.hand_columns[:4] == ("left_hand_index_0_joint", "left_hand_middle_0_joint", "left_hand_thumb_0_joint", "right_hand_index_0_joint")
    assert action[0, 14] == pytest.approx(-0.1) and action[0, 17] == pytest.approx(1.4)
    again = env.target_poses_to_actions(now, targets, parts)
    np.testing.assert_allclose(again, action, atol=1e-6)


@pytest.mark.parametrize("side", ["left", "right"])
def test_hand_angles_survive_the_way_to_grippers_and_back(side):
    angles = np.random.default_rng(0).normal(size=(7, 7))
    np.testing.assert_allclose(G1.hand_angles(G1.gripper(angles, side), side), angles, atol=1e-12)


def test_wrists_go_where_they_are_sent_and_fingers_as_they_are_told():
    env = make_env(ID)
    start = env.eef_poses(env.snapshot())
    targets = {eef: poses.apply_delta(pose, np.array([[0.0, 0.0, 0.12, 0.0, 0.0, 0.0]])) for eef, pose in start.items()}
    action = env.target_poses_to_actions(start, targets, {"left": np.ones((1, 1)), "right": -np.ones((1, 1))})
    for _ in range(40):
        env.step(action)
    for eef, pose in env.eef_poses(env.snapshot()).items():
        delta = poses.delta_between(pose, targets[eef])[0]
        assert np.linalg.norm(delta[:3]) < 5e-3 and np.linalg.norm(delta[3:]) < 0.02
    assert env.reader.openness(env.snapshot(), "left")[0] > 0.9 and env.reader.openness(env.snapshot(), "right")[0] < -0.8


def test_an_action_that_is_no_pose_holds_the_arms_and_says_so():
    env = make_env(ID)
    before = env.snapshot()
    env.step(np.zeros((1, 28), dtype=np.float32))
    assert env.reader.held(env.snapshot()).all()
    np.testing.assert_array_equal(env.reader.control(env.snapshot())[:, :14], env.reader.control(before)[:, :14])
    env.reset([0], [np.random.SeedSequence(1)])
    assert not env.held(env.snapshot()).any()
