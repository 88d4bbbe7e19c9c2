"""The commands on the real Isaac Lab 3.0, on OvPhysX and a CPU."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mimicctl.dataset.reader import Dataset
from tests.isaaclab.conftest import TASK

pytestmark = [
    pytest.mark.isaaclab,
    pytest.mark.skipif(importlib.util.find_spec("ovphysx") is None, reason="Isaac Lab 3 with OvPhysX is not installed (nox -s isaaclab)"),
]


def test_what_was_recorded_says_on_what(recording):
    with Dataset(recording) as dataset:
        assert dataset.task_id == "IsaacContrib-Stack-Cube-Franka-IK-Rel"
        assert dataset.demo_lineage("demo_0")["human"] is False
        episode = dataset.episode("demo_0")
    assert episode.success
    assert episode.obs["object"].shape == (len(episode), 39)
    np.testing.assert_allclose(episode.initial_state["articulation/robot/root_pose"][0, 3:], [0, 0, 0, 1], atol=1e-4)  # xyzw


def test_a_recording_repeats_by_its_actions(isaac, recording):
    played, _ = isaac("replay", recording.name, "--task", TASK, "--verify", "--tolerance", "0.005", "--json")
    assert [demo["success"] for demo in played["demos"]] == [True, True]


def test_annotated_demonstrations_generate_there_and_on_mujoco(isaac, annotated):
    here, _ = isaac(
        "generate", "--task", TASK, "--num-envs", "4", "--trials", "4", "--no-guarantee", "--input-file", annotated.name, "--output-file", "here.hdf5", "--json"
    )
    assert here["attempts"] == 4
    there, _ = isaac("generate", "--trials", "4", "--no-guarantee", "--workers", "1", "--input-file", annotated.name, "--output-file", "there.hdf5", "--json")
    assert there["demos"] >= 2


def test_demonstrations_of_mujoco_generate_on_isaaclab(generated):
    with Dataset(generated) as dataset:
        lineage = dataset.lineage
        assert lineage["physics"].startswith("isaaclab 3.") and "ovphysx" in lineage["physics"]
        assert dataset.env_args["sim_args"] == {"dt": 0.01, "decimation": 5, "render_interval": 2, "num_envs": 8}
        for _, episode in dataset.episodes():
            assert episode.success and np.isfinite(episode.actions).all()
            assert np.abs(episode.actions[:, :6]).max() <= 1.0


def test_isaaclab_reads_what_was_generated(generated):
    import torch
    from isaaclab.utils.datasets import HDF5DatasetFileHandler

    handler = HDF5DatasetFileHandler()
    handler.open(str(generated))
    name = next(iter(handler.get_episode_names()))
    episode = handler.load_episode(name, "cpu")
    with Dataset(generated) as dataset:
        ours = dataset.episode(name)
    torch.testing.assert_close(episode.data["actions"], torch.from_numpy(ours.actions))
    pose = episode.get_initial_state()["rigid_object"]["cube_1"]["root_pose"]
    torch.testing.assert_close(pose, torch.from_numpy(ours.initial_state["rigid_object/cube_1/root_pose"]))


def test_an_interrupted_run_keeps_what_it_made_and_continues(isaac, folder, annotated, asset_root):
    run = ("generate", "--task", TASK, "--num-envs", "4", "--input-file", annotated.name, "--output-file", "more.hdf5", "--no-guarantee", "--trials", "12")
    status = folder / "status.json"
    environment = {**os.environ, "ISAACSIM_ASSET_ROOT": asset_root, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "mimicctl", *run, "--status-file", status.name], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not (status.exists() and json.loads(status.read_text())["successes"]):
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said[-2000:]
    assert "--resume continues" in said
    made, _ = isaac(*run, "--resume", "--json")
    assert made["attempts"] == 12


def test_recording_and_generating_at_once(isaac, folder, annotated):
    """In one simulation: the takes are long enough for trials from demonstrations that were there before."""
    made, said = isaac(
        "record", "--task", TASK, "--device", "scripted", "--generate", "--num-demos", "3", "--trials", "6", "--input-file", annotated.name,
        "--output-file", "meanwhile.hdf5", "--generated-output-file", "from_meanwhile.hdf5", "-o", "generate.num_envs=3", "--json",
    )  # fmt: skip
    assert made["recording"]["demos"] == 3 and made["demos"] == 6 and made["made_earlier"] > 0
    assert made["sources_file"]["demos"] == 5 - len(made["sources_file"]["left_out"]) >= 4
    assert "has died" not in said and "has stopped" not in said
    with Dataset(folder / "from_meanwhile.hdf5") as dataset:
        pools = [attempt["pool"] for attempt in dataset.attempts()]
    assert pools[0] == 2 and pools == sorted(pools)


def test_a_mistyped_task_is_told_the_nearest(isaac):
    _, said = isaac("generate", "--task", "Isaac-Stack-Cube-Franka-IK-Rell-v0", code=2)
    assert "did you mean Isaac-Stack-Cube-Franka-IK-Rel-Mimic-v0?" in said


def test_contacts_that_newton_has_no_room_for_end_the_run(isaac):
    if importlib.util.find_spec("newton") is None:
        pytest.skip("Newton is not installed")
    little = 'isaaclab.overrides=["env.sim.physics.solver_cfg.nconmax=6"]'
    _, said = isaac("generate", "--task", TASK, "--physics", "newton", "--num-envs", "1", "--trials", "1", "--output-file", "no.hdf5", "-o", little, code=1)
    assert "Newton has room for 6 contacts an env, and" in said and "solver_cfg.nconmax=" in said


def test_missing_assets_are_said(isaac, tmp_path):
    _, said = isaac("generate", "--task", TASK, "--output-file", "no.hdf5", code=2, environ={"ISAACSIM_ASSET_ROOT": str(tmp_path)})
    assert "An asset of Isaac Lab cannot be found" in said and "ISAACSIM_ASSET_ROOT" in said


def test_a_gpu_that_is_not_there_is_said(isaac):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    _, said = isaac("generate", "--task", TASK, "--sim-device", "cuda:0", "--output-file", "no.hdf5", code=2)
    assert "no CUDA GPU" in said


def test_isaac_sims_physics_is_refused_without_it(isaac):
    if importlib.util.find_spec("isaacsim") is not None:
        pytest.skip("Isaac Sim is installed")
    _, said = isaac("generate", "--task", TASK, "--physics", "physx", "--output-file", "no.hdf5", code=2)
    assert "physx needs Isaac Sim" in said
