"""Actions worked out for all envs at once are those that Isaac Lab works out for one after another."""

from __future__ import annotations

import importlib.util
import os

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.envs import make_env

pytestmark = [
    pytest.mark.isaaclab,
    pytest.mark.skipif(importlib.util.find_spec("ovphysx") is None, reason="Isaac Lab 3 with OvPhysX is not installed (nox -s isaaclab)"),
]


@pytest.fixture(scope="module")
def env(asset_root):
    os.environ["ISAACSIM_ASSET_ROOT"] = asset_root
    return make_env("Isaac-Stack-Cube-Franka-IK-Rel-v0", 3)


def test_actions_of_many_are_those_of_each(env, monkeypatch):
    rng = np.random.default_rng(1)
    here, there = ({"franka": poses.compose(poses.matrix_from_rotvec(rng.normal(0, 0.5, (40, 3))), rng.normal(0, 0.7, (40, 3)))} for _ in range(2))
    grippers = {"franka": rng.choice([-1.0, 1.0], (40, 1))}
    at_once = env.target_poses_to_actions(here, there, grippers)
    asked = env._asked_actions(here, there, grippers)
    monkeypatch.setattr(env, "_asked_actions", lambda *_: pytest.fail("the environment was asked for each"))
    np.testing.assert_allclose(at_once, asked, atol=1e-4)
    np.testing.assert_array_equal(env.target_poses_to_actions(here, there, grippers), at_once)
    assert np.abs(at_once[:, :6]).max() == 1.0


def test_an_environment_with_actions_of_its_own_is_asked_for_each(env, monkeypatch):
    theirs = env._env.target_eef_pose_to_action
    assert env._acts_by_differences()
    monkeypatch.setattr(env._env, "target_eef_pose_to_action", lambda *args, **kwargs: 0.5 * theirs(*args, **kwargs))
    assert not env._acts_by_differences()
