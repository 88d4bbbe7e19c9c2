"""The nut pour with Fourier's GR-1: how it takes hold of things, its operator, and the demonstrations that come with it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.authoring.attempts import attempts_of_operator
from mimicctl.config import GenerateSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.devices.scripted_pour import _leaning
from mimicctl.envs import make_env
from mimicctl.envs.mujoco.assets import gr1_files
from mimicctl.envs.replay import by_actions, divergence
from mimicctl.errors import UserError
from mimicctl.generation.engine import generate
from mimicctl.tasks import find_task

ID = "MuJoCo-NutPour-GR1T2-Pink-IK-Abs-v0"
TASK, OF_G1 = find_task(ID), find_task("MuJoCo-NutPour-G1-Pink-IK-Abs-v0")


@pytest.fixture(scope="module")
def env():
    try:
        gr1_files()
    except UserError as error:
        pytest.skip(f"{error.what} {error.do}")
    made = make_env(TASK)
    yield made
    made.close()


def test_it_is_the_g1_s_task_but_for_robot_and_places():
    assert (TASK.objects, TASK.subtasks, TASK.goal, TASK.generation) == (OF_G1.objects, OF_G1.subtasks, OF_G1.goal, OF_G1.generation)
    assert TASK.action_dim == 36 and TASK.reset.x_of != OF_G1.reset.x_of


def test_a_round_thing_leans_the_same_whatever_its_turn():
    lean = poses.compose(poses.matrix_from_rotvec(np.array([0.2, -0.3, 0.0])), np.array([0.4, 0.1, 0.2]))
    for turn in (0.0, 2.0, -3.0):
        np.testing.assert_allclose(_leaning(lean @ poses.yaw_pose(np.zeros(3), np.array(turn))), lean, atol=1e-12)
    np.testing.assert_allclose(_leaning(np.eye(4)), np.eye(4))


@pytest.mark.humanoid
def test_the_scripted_operator_pours_and_serves(env):
    (attempt,) = attempts_of_operator(env, 1, 4)
    assert attempt.saved, attempt.outcome


@pytest.mark.humanoid
def test_demonstrations_that_come_with_it_replay_exactly_with_signals_in_order(env):
    with resources.as_file(resources.files("mimicctl") / "data" / TASK.source_demos) as path, Dataset(Path(path)) as dataset:
        assert dataset.task_id == ID and len(dataset.demos) == 5
        episode = dataset.episode("demo_0")
    snapshots = np.stack(list(by_actions(env, episode)))
    assert divergence(env, episode, snapshots, 1e-9).step is None
    signals = env.signals(snapshots)
    rises = [int(np.argmax(signals[name])) for name in ("grasp_left", "idle_right", "grasp_right")]
    assert 0 < rises[0] < rises[1] < rises[2] and env.success(snapshots[-1]) and not env.reader.held(snapshots).any()


@pytest.mark.humanoid
def test_they_make_more(env, tmp_path):
    made = generate(ID, 5, GenerateSettings(trials=2, workers=1, num_envs=2, output_file=str(tmp_path / "g.hdf5")), None)
    assert made.demos == 2
