"""Training on files of the real Isaac Lab 3.0, and evaluating there."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.conftest import SOURCE
from tests.isaaclab.conftest import TASK

pytestmark = [
    pytest.mark.isaaclab,
    pytest.mark.skipif(importlib.util.find_spec("ovphysx") is None, reason="Isaac Lab 3 with OvPhysX is not installed (nox -s isaaclab)"),
    pytest.mark.skipif(importlib.util.find_spec("robomimic") is None, reason="robomimic is not installed (nox -s isaaclab)"),
]


@pytest.fixture(scope="module")
def checkpoint(isaac, folder, repeated) -> str:
    """By Isaac Lab's own robomimic config, from what its own recorder wrote."""
    import isaaclab_tasks

    config = Path(isaaclab_tasks.__file__).parent / "contrib/stack/config/franka/agents/robomimic/bc_rnn_low_dim.json"
    isaac("train", "--dataset", repeated[1].name, "--config-json", str(config), "--epochs", "1", "--batch-size", "8", "--name", "theirs")
    return str(folder / "runs" / "theirs" / "models" / "model_epoch_1.pth")


@pytest.fixture(scope="module")
def trained(isaac, folder):
    """Make a checkpoint on demonstrations of MuJoCo that observes the keys it is given."""

    def train(source: Path, *keys: str) -> str:
        name = "-".join(keys)
        observed = {"modalities": {"obs": {"low_dim": list(keys)}}}
        (folder / f"{name}.json").write_text(json.dumps({"algo_name": "bc", "observation": observed, "experiment": {"epoch_every_n_steps": 2}}))
        isaac("train", "--dataset", str(source), "--config-json", f"{name}.json", "--epochs", "1", "--batch-size", "8", "--name", name)
        return str(folder / "runs" / name / "models" / "model_epoch_1.pth")

    return train


@pytest.fixture(scope="module")
def of_mujoco(trained) -> str:
    return trained(SOURCE, "eef_pos", "gripper_to_cube_yaw")


def test_a_policy_is_rolled_out_where_it_learnt(isaac, checkpoint):
    found, _ = isaac("eval", "play", "--checkpoint", checkpoint, "--rollouts", "3", "--num-envs", "2", "--horizon", "30", "--json")
    assert found["task"] == "IsaacContrib-Stack-Cube-Franka-IK-Rel"
    assert found["physics"].startswith("isaaclab 3.") and "ovphysx" in found["physics"]
    (entry,) = found["checkpoints"]
    # Nothing is stacked in a second and a half.
    assert [(r["index"], r["success"], r["steps"]) for r in entry["results"]] == [(i, False, 30) for i in range(3)]


def test_and_on_mujoco(isaac, checkpoint):
    found, _ = isaac("eval", "play", "--checkpoint", checkpoint, "--task", "MuJoCo" + TASK[5:], "--rollouts", "2", "--workers", "1", "--horizon", "5", "--json")
    assert found["physics"].startswith("mujoco ") and found["checkpoints"][0]["rollouts"] == 2


def test_a_policy_of_mujoco_is_rolled_out_on_isaaclab(isaac, of_mujoco):
    found, _ = isaac("eval", "play", "--checkpoint", of_mujoco, "--task", TASK, "--rollouts", "2", "--num-envs", "2", "--horizon", "5", "--json")
    assert found["task"] == "IsaacContrib-Stack-Cube-Franka-IK-Rel" and found["checkpoints"][0]["rollouts"] == 2


def test_an_observation_that_isaaclab_does_not_give_is_named(isaac, folder, trained):
    source = folder / "touching.hdf5"
    shutil.copy(SOURCE, source)
    with h5py.File(source, "r+") as file:
        for demo in file["data"].values():
            demo["obs/touch"] = np.zeros((len(demo["actions"]), 2), np.float32)
    _, said = isaac("eval", "play", "--checkpoint", trained(source, "eef_pos", "touch"), "--task", TASK, "--rollouts", "2", code=2)
    assert "observes touch, which IsaacContrib-Stack-Cube-Franka-IK-Rel does not give" in said


def test_films_show_the_same_task_on_mujoco(isaac, folder, checkpoint):
    av = pytest.importorskip("av")
    made, _ = isaac("eval", "play", "--checkpoint", checkpoint, "--rollouts", "1", "--horizon", "5", "--video", "1", "--output-dir", "filmed", "--json")
    assert made["drawn_as"] == "MuJoCo-Stack-Cube-Franka-IK-Rel-v0"
    with av.open(str(folder / "filmed" / "videos" / "model_epoch_1" / "rollout_000_failure.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 6 and frames[0].std() > 20


def test_another_look_of_isaaclab_is_refused(isaac, folder, checkpoint):
    _, said = isaac("eval", "robust", "--checkpoint", checkpoint, "--log-dir", "looks", code=2)
    assert "draws a scene as it is" in said and not (folder / "looks").exists()


def test_flags_of_isaaclab_are_refused_for_a_policy_of_mujoco(isaac, of_mujoco):
    _, said = isaac("eval", "play", "--checkpoint", of_mujoco, "--physics", "newton", "--rollouts", "1", code=2)
    assert "runs on MuJoCo" in said
