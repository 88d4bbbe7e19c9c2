"""Actions worked out for all envs at once are those that Isaac Lab works out for one after another, and drive the tool point to where they are to."""

from __future__ import annotations

import functools
import importlib.util
import os

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.envs import make_env
from mimicctl.envs.isaaclab.actions import Actions

pytestmark = [
    pytest.mark.isaaclab,
    pytest.mark.skipif(importlib.util.find_spec("ovphysx") is None, reason="Isaac Lab 3 with OvPhysX is not installed (nox -s isaaclab)"),
]


@pytest.fixture(scope="module", params=["Rel", "Abs"])
def env(request, asset_root):
    os.environ["ISAACSIM_ASSET_ROOT"] = asset_root
    return make_env(f"Isaac-Stack-Cube-Franka-IK-{request.param}-v0", 3)


def _random_poses(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    return {"franka": poses.compose(poses.matrix_from_rotvec(rng.normal(0, 0.5, (count, 3))), rng.normal(0, 0.7, (count, 3)))}


def _in_place(env) -> dict[str, np.ndarray]:
    return env.eef_poses(env.snapshot())


def test_actions_of_many_are_those_of_each(env, monkeypatch):
    rng, known = np.random.default_rng(1), env._actions
    here, there = _random_poses(rng, 40), _random_poses(rng, 40)
    grippers = {"franka": rng.choice([-1.0, 1.0], (40, 1))}
    at_once = env.target_poses_to_actions(here, there, grippers)
    monkeypatch.setattr(known, "_arm", None)
    each = env.target_poses_to_actions(here, there, grippers)
    if env.task.control == "abs":  # of the two quaternions of a pose, Isaac Lab does not always take the same
        each[:, 3:7] *= np.sign(np.sum(each[:, 3:7] * at_once[:, 3:7], axis=1, keepdims=True))
    np.testing.assert_allclose(at_once, each, atol=1e-4)


def test_an_environment_with_actions_of_its_own_is_asked_for_each(env, monkeypatch):
    assert env._actions._arm is not None
    theirs = env._env.target_eef_pose_to_action
    halved = functools.wraps(theirs)(lambda *args, **kwargs: 0.5 * theirs(*args, **kwargs))
    monkeypatch.setattr(env._env, "target_eef_pose_to_action", halved)
    assert Actions(env._env, env.task)._arm is None


def test_targets_come_back_from_actions(env):
    rng = np.random.default_rng(2)
    here = _random_poses(rng, 20)
    there = {"franka": poses.apply_delta(here["franka"], rng.uniform(-0.5, 0.5, (20, 6)))}
    actions = env.target_poses_to_actions(here, there, {"franka": np.ones((20, 1))})
    np.testing.assert_allclose(env.actions_to_target_poses(here, actions)["franka"], there["franka"], atol=1e-4)


def test_the_tool_point_arrives_where_it_is_sent(env):
    env.reset(range(3), np.random.SeedSequence(3).spawn(3))
    goal = poses.apply_delta(_in_place(env)["franka"], np.array([0.05, 0.02, -0.03, 0, 0, 0.3]))
    for _ in range(40):
        env.step(env.target_poses_to_actions(_in_place(env), {"franka": goal}, {"franka": np.ones((3, 1))}))
    arrived = _in_place(env)["franka"]
    np.testing.assert_allclose(poses.position(arrived), poses.position(goal), atol=0.003)
    assert poses.rotation_angle(poses.rotation(arrived), poses.rotation(goal)).max() < 0.02


def test_who_is_not_driven_stays_where_it_is(env):
    env.reset(range(3), np.random.SeedSequence(4).spawn(3))
    before = poses.position(_in_place(env)["franka"]).copy()
    for _ in range(15):
        here = {"franka": _in_place(env)["franka"][:1]}
        up = {"franka": poses.apply_delta(here["franka"], np.array([[0, 0, 0.05, 0, 0, 0]]))}
        env.step(env.target_poses_to_actions(here, up, {"franka": np.ones((1, 1))}), [0])
    moved = np.linalg.norm(poses.position(_in_place(env)["franka"]) - before, axis=1)
    assert moved[0] > 0.05 and moved[1:].max() < 0.003


def test_a_device_drives_it(env):
    env.reset(range(3), np.random.SeedSequence(5).spawn(3))
    before = poses.position(_in_place(env)["franka"]).copy()
    for _ in range(10):
        rows = env.snapshot()
        env.step(np.stack([env.command_to_action(row, {"franka": np.array([0, 0.05, 0, 0, 0, 0])}, {"franka": 1.0}) for row in rows]))
    moved = poses.position(_in_place(env)["franka"]) - before
    assert (moved[:, 1] > 0.03).all() and np.abs(moved[:, [0, 2]]).max() < 0.02
