"""Fourier's GR-1, whose model comes in a wheel of its own, at its pick and place."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mimicctl import doctor, poses
from mimicctl.config import GenerateSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.envs import assets_of, make_env
from mimicctl.envs.mujoco import gr1
from mimicctl.envs.mujoco.assets import GR1_INSTALL, gr1_files
from mimicctl.envs.replay import by_actions, divergence
from mimicctl.errors import UserError
from mimicctl.generation.engine import generate
from mimicctl.tasks import find_task

ID = "MuJoCo-PickPlace-GR1T2-Pink-IK-Abs-v0"
TASK = find_task(ID)


@pytest.fixture
def uninstalled(monkeypatch):
    """As if the wheel were not there."""
    monkeypatch.setattr("mimicctl.envs.mujoco.assets.sys", SimpleNamespace(path=[], prefix=sys.prefix))


@pytest.fixture(scope="module")
def installed():
    try:
        return gr1_files()
    except UserError as error:
        pytest.skip(f"{error.what} {error.do}")


@pytest.fixture(scope="module")
def env(installed):
    made = make_env(TASK)
    yield made
    made.close()


def test_without_its_model_one_error_has_the_command(uninstalled):
    with pytest.raises(UserError, match="GR-1 is not installed") as error:
        gr1.load_gr1(meshes=False)
    assert error.value.do.startswith(GR1_INSTALL)


def test_doctor_offers_the_model(uninstalled):
    finding = doctor._gr1()
    assert not finding.ok and not finding.needed and finding.do.startswith(GR1_INSTALL)


def test_its_model_is_found_by_path_and_not_imported(installed):
    assert all(path.is_file() for path in installed.values()) and "robosuite" not in sys.modules


def test_actions_are_isaac_lab_s():
    assert TASK.action_dim == 36
    columns = gr1.GR1T2.hand_columns
    assert columns[:5] == tuple(f"L_{name}_joint" for name in ("index_proximal", "middle_proximal", "pinky_proximal", "ring_proximal", "thumb_proximal_yaw"))
    assert columns[5] == "R_index_proximal_joint" and columns[10] == "L_index_intermediate_joint" and columns[14] == "L_thumb_proximal_pitch_joint"
    assert columns[20:] == ("L_thumb_distal_joint", "R_thumb_distal_joint")


def test_angles_of_fingers_have_isaac_lab_s_signs(installed):
    model = gr1.load_gr1(meshes=False).compile()
    for side in ("L", "R"):
        for name, low, high in (("index_proximal", -1.57, 0), ("pinky_intermediate", -1.74, 0), ("thumb_proximal_yaw", -1.74, 0), ("thumb_distal", 0, 1.23)):
            np.testing.assert_allclose(model.joint(f"{side}_{name}_joint").range, (low, high))


@pytest.mark.humanoid
def test_the_inverse_kinematics_have_the_wrists_where_the_physics_have_them(env):
    rows = env.snapshot()
    arms = rows[:, env.layout.joints[:14]]
    for eef, pose in gr1.load_ik().eef_poses(arms).items():
        pose[:, :3, 3] += gr1.PELVIS
        np.testing.assert_allclose(pose, env.eef_poses(rows)[eef], atol=1e-6)


@pytest.mark.humanoid
def test_wrists_go_where_they_are_sent_and_fingers_as_they_are_told(env):
    env.reset([0], [np.random.SeedSequence(1)])
    start = env.eef_poses(env.snapshot())
    targets = {eef: poses.apply_delta(pose, np.array([[0.03, 0.0, 0.08, 0.0, 0.2, 0.0]])) for eef, pose in start.items()}
    action = env.target_poses_to_actions(start, targets, {"left": np.ones((1, 1)), "right": -np.ones((1, 1))})
    for _ in range(40):
        env.step(action)
    rows = env.snapshot()
    for eef, pose in env.eef_poses(rows).items():
        delta = poses.delta_between(pose, targets[eef])[0]
        assert np.linalg.norm(delta[:3]) < 5e-3 and np.linalg.norm(delta[3:]) < 0.02
    assert env.reader.openness(rows, "left")[0] > 0.9 and env.reader.openness(rows, "right")[0] < -0.8
    np.testing.assert_allclose(env.observations(rows)["hand_joint_state"][0], action[0, 14:], atol=0.1)


@pytest.mark.humanoid
def test_demonstrations_that_come_with_it_replay_exactly(env):
    with resources.as_file(resources.files("mimicctl") / "data" / TASK.source_demos) as path, Dataset(Path(path)) as dataset:
        assert dataset.task_id == ID
        for name, episode in list(dataset.episodes())[:2]:
            snapshots = np.stack(list(by_actions(env, episode)))
            assert divergence(env, episode, snapshots, 1e-9).step is None, name
            signals = {key: int(np.argmax(env.signals(snapshots)[key])) for key in ("idle_right", "grasp_right")}
            assert env.success(snapshots[-1]) and 0 < signals["idle_right"] < signals["grasp_right"]


@pytest.mark.humanoid
def test_they_make_more(installed, tmp_path):
    settings = GenerateSettings(trials=4, workers=1, num_envs=2, guarantee=False, output_file=str(tmp_path / "g.hdf5"))
    assert generate(ID, 3, settings, None).demos >= 2


@pytest.mark.humanoid
def test_a_task_of_it_without_its_model_is_refused_before_anything_is_written(uninstalled, tmp_path):
    settings = GenerateSettings(trials=1, workers=1, guarantee=False, output_file=str(tmp_path / "g.hdf5"))
    with pytest.raises(UserError, match="GR-1 is not installed"):
        generate(ID, 3, settings, None)
    assert not list(tmp_path.iterdir())


def test_the_lineage_says_whose_model_it_is():
    assert assets_of(TASK)["robot"]["source"].startswith("robosuite")
    assert assets_of(find_task("MuJoCo-PickPlace-G1-Pink-IK-Abs-v0"))["robot"]["source"].startswith("example-robot-data")
