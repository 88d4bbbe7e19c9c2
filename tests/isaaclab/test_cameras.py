"""What the cameras of the real Isaac Lab 3.0's tasks see, drawn by Newton's renderer on a CPU."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.dataset.reader import Dataset
from mimicctl.tasks import find_task
from tests.conftest import SOURCE
from tests.isaaclab.conftest import TASK

pytestmark = [
    pytest.mark.isaaclab,
    pytest.mark.skipif(importlib.util.find_spec("ovphysx") is None, reason="Isaac Lab 3 with OvPhysX is not installed (nox -s isaaclab)"),
    pytest.mark.skipif(importlib.util.find_spec("robomimic") is None, reason="robomimic is not installed (nox -s isaaclab)"),
]

SEEN = "Isaac-Stack-Cube-Franka-IK-Rel-Visuomotor-v0"
SIZE = 48


@pytest.fixture(scope="module")
def seen(isaac, folder) -> Path:
    """Generated from the demonstrations of MuJoCo, with images."""
    isaac(
        "generate", "--task", SEEN, "--enable-cameras", "--physics", "ovphysx", "--num-envs", "4", "--trials", "2", "--rendering-mode", "performance",
        "-o", f"render.image_size={SIZE}", "--output-file", "seen.hdf5",
    )  # fmt: skip
    return folder / "seen.hdf5"


@pytest.fixture(scope="module")
def drawn(isaac, folder) -> Path:
    """A demonstration that was recorded on MuJoCo, with all that the Cosmos task's table camera measures."""
    shutil.copy(SOURCE, folder / "one.hdf5")
    with h5py.File(folder / "one.hdf5", "r+") as file:
        for name in [name for name in file["data"] if name != "demo_0"]:
            del file["data"][name]
    cosmos = SEEN.replace("Visuomotor", "Visuomotor-Cosmos")
    isaac("dataset", "render", "one.hdf5", "--task", cosmos, "--output-file", "drawn.hdf5", "-o", f"render.image_size={SIZE}", "-o", "render.workers=1")
    return folder / "drawn.hdf5"


def reddish(images: np.ndarray) -> np.ndarray:
    """(...) bool of pixels that show the red cube."""
    red, green, blue = np.moveaxis(images.astype(int), -1, 0)
    return (red > green + 30) & (red > blue + 30)


def test_a_task_has_the_cameras_of_its_config(asset_root, monkeypatch):
    monkeypatch.setenv("ISAACSIM_ASSET_ROOT", asset_root)
    ours = find_task("MuJoCo" + SEEN[5:])
    for camera, like in zip(find_task(SEEN).cameras, ours.cameras, strict=True):
        assert (camera.name, camera.modalities, camera.height) == (like.name, ("rgb",), 200)
        assert abs(np.dot(camera.quat, like.quat)) > 0.9999 and np.allclose(camera.position, like.position, atol=1e-6)
        assert (camera.parent != "") == (like.parent != "")


def test_generated_demonstrations_have_images_of_what_happened(seen):
    with Dataset(seen) as dataset:
        assert dataset.task_id == "IsaacContrib-Stack-Cube-Franka-IK-Rel-Visuomotor" and len(dataset) == 2
        for _, episode in dataset.episodes():
            table, wrist = episode.obs["table_cam"], episode.obs["wrist_cam"]
            assert table.shape == wrist.shape == (len(episode), SIZE, SIZE, 3) and table.dtype == np.uint8
            # The red cube is in the picture at first, and at another place in the end; the hand's camera sees something else wherever the hand is.
            first, last = (np.argwhere(reddish(table[i])).mean(axis=0) for i in (0, -1))
            assert np.linalg.norm(first - last) > 1.5
            assert (np.abs(np.diff(wrist[::20].astype(int), axis=0)).mean(axis=(1, 2, 3)) > 0.5).mean() > 0.5


def test_a_recording_of_mujoco_is_drawn_with_depth_normals_and_segmentation(drawn):
    cubes = find_task("MuJoCo-Stack-Cube-Franka-IK-Rel-Visuomotor-Cosmos-v0").semantic_colors
    with Dataset(drawn) as dataset:
        obs = dataset.episode("demo_0").obs
    depth, normals, segmentation = (obs[f"table_cam_{modality}"] for modality in ("depth", "normals", "segmentation"))
    assert depth.shape[1:] == (SIZE, SIZE, 1) and depth.min() >= 0.0 and depth.max() <= 2.0 and (depth > 0.5).any()
    assert segmentation.shape[1:] == (SIZE, SIZE, 4) and segmentation.dtype == np.uint8
    red = (segmentation[0, ..., :3] == cubes["cube_2"]).all(axis=-1)
    assert red.any() and reddish(obs["table_cam"][0])[red].mean() > 0.8
    table = (segmentation[0, ..., :3] == cubes["table"]).all(axis=-1)
    np.testing.assert_allclose(np.median(normals[0][table], axis=0), (0.5, 0.5, 1.0), atol=0.01)  # it faces upwards


def test_a_policy_that_sees_is_trained_and_rolled_out(isaac, folder, seen):
    small = {
        "algo_name": "bc",
        "experiment": {"epoch_every_n_steps": 2},
        "observation": {"modalities": {"obs": {"low_dim": ["eef_pos"], "rgb": ["table_cam"]}}},
    }
    (folder / "sees.json").write_text(json.dumps(small))
    isaac("train", "--dataset", seen.name, "--config-json", "sees.json", "--epochs", "1", "--batch-size", "4", "--name", "sees")
    checkpoint = str(folder / "runs" / "sees" / "models" / "model_epoch_1.pth")
    found, _ = isaac("eval", "play", "--checkpoint", checkpoint, "--physics", "ovphysx", "--rollouts", "2", "--num-envs", "2", "--horizon", "4", "--json")
    assert found["task"] == "IsaacContrib-Stack-Cube-Franka-IK-Rel-Visuomotor"
    assert [rollout["steps"] for rollout in found["checkpoints"][0]["results"]] == [4, 4]

    _, said = isaac("eval", "play", "--checkpoint", checkpoint, "--workers", "2", "--rollouts", "2", "--horizon", "4", code=2)
    assert "in one process" in said
    _, said = isaac("eval", "play", "--checkpoint", checkpoint, "--task", TASK, "--rollouts", "1", code=2)
    assert "sees camera images (table_cam), and IsaacContrib-Stack-Cube-Franka-IK-Rel has no cameras" in said


def test_recorded_without_images_and_drawn_in_another_light_refused(isaac, folder, seen):
    isaac("record", "--task", SEEN, "--device", "scripted", "--num-demos", "1", "--output-file", "unseen.hdf5")
    with Dataset(folder / "unseen.hdf5") as dataset:
        assert "table_cam" not in dataset.episode("demo_0").obs
    _, said = isaac("augment", seen.name, "--engine", "rerender", "--output-file", "no.hdf5", code=2)
    assert "no other light" in said and not (folder / "no.hdf5").exists()
