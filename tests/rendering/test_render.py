"""Images in datasets: the same whoever draws them, whenever, and however often the run was interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.config import GenerateSettings, RenderSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.split import split_file
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import UserError
from mimicctl.generation.engine import generate
from mimicctl.rendering.replay import render_file
from mimicctl.tasks import DEFAULT_TASK
from tests.episodes import make_episode
from tests.rendering.conftest import COSMOS, VISUOMOTOR

pytestmark = pytest.mark.render

ABSOLUTE = "MuJoCo-Stack-Cube-Franka-IK-Abs-v0"
SMALL = RenderSettings(rendering_mode="performance", image_size=24, workers=1)


def make(path: Path, task: str, workers: int = 1, trials: int = 3, resume: bool = False) -> Path:
    settings = GenerateSettings(output_file=str(path), trials=trials, workers=workers, num_envs=2)
    return generate(task, 3, settings, None, rendering=SMALL, resume=resume).path


def hash_of(path: Path) -> str:
    with Dataset(path) as dataset:
        return dataset.content_hash()


def arrays_of(path: Path, *, images: bool) -> dict[str, np.ndarray]:
    with Dataset(path) as dataset:
        found = {f"{name}/{key}": array for name in dataset.demos for key, array in dataset.arrays(name)}
    return {key: array for key, array in found.items() if ("_cam" in key) == images}


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """Three demos without images."""
    return make(tmp_path_factory.mktemp("plain") / "a.hdf5", DEFAULT_TASK)


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> Path:
    """The same three, drawn as they were generated."""
    return make(tmp_path_factory.mktemp("generated") / "a.hdf5", COSMOS)


def test_cameras_change_nothing_but_the_images(plain, generated):
    without, with_cameras = arrays_of(plain, images=False), arrays_of(generated, images=False)
    assert without.keys() == with_cameras.keys()
    assert all(np.array_equal(without[key], with_cameras[key]) for key in without)


def test_images_do_not_depend_on_the_number_of_workers(tmp_path, generated):
    assert hash_of(make(tmp_path / "a.hdf5", COSMOS, workers=3)) == hash_of(generated)


def test_a_resumed_generation_ends_with_the_same_images(tmp_path, generated):
    path = make(tmp_path / "a.hdf5", COSMOS, trials=1)
    assert hash_of(make(path, COSMOS, resume=True)) == hash_of(generated)


def test_rendering_later_gives_the_same_as_generating_with_cameras(tmp_path, plain, generated):
    made = render_file(plain, tmp_path / "b.hdf5", RenderSettings(rendering_mode="performance", image_size=24, workers=2), task_id=COSMOS)
    assert made.demos == 3 and hash_of(made.path) == hash_of(generated)


def test_images_show_the_scene_before_each_action(tmp_path, generated):
    """At rest in the last steps: frames differ while the arm moves, and the first one is the start state's."""
    from mimicctl.envs.mujoco.cameras import SceneRenderer, cameras_of
    from mimicctl.envs.mujoco.franka_cubes import CubesReader
    from mimicctl.tasks import find_task

    task = find_task(COSMOS)
    with Dataset(generated) as dataset:
        episode = dataset.episode("demo_1")
    renderer, reader = SceneRenderer(task, "performance", cameras_of(task, 24)), CubesReader.of(task)
    first = renderer.images(reader.qpos_of(episode.initial_state)[0])
    later = renderer.images(reader.qpos_of(episode.states)[40])
    renderer.close()
    for key in first:
        assert np.array_equal(episode.obs[key][0], first[key]) and np.array_equal(episode.obs[key][41], later[key])


def test_images_are_stored_one_compressed_chunk_a_frame(generated):
    with h5py.File(generated) as file:
        for key in ("table_cam", "table_cam_depth", "table_cam_normals", "table_cam_segmentation", "wrist_cam"):
            stored = file[f"data/demo_0/obs/{key}"]
            assert stored.chunks == (1, *stored.shape[1:]) and stored.compression == "gzip"


def test_cameras_can_be_changed_and_everything_else_stays(tmp_path, generated):
    split_file(generated, valid_fraction=0.4)
    path = render_file(generated, tmp_path / "b.hdf5", RenderSettings(rendering_mode="performance", image_size=32, workers=1), task_id=VISUOMOTOR).path
    before, after = arrays_of(generated, images=False), arrays_of(path, images=False)
    assert all(np.array_equal(before[key], after[key]) for key in before) and before.keys() == after.keys()
    images = arrays_of(path, images=True)
    assert {key.split("/")[-1] for key in images} == {"table_cam", "wrist_cam"}
    assert all(image.shape[1:] == (32, 32, 3) for image in images.values())
    with Dataset(generated) as old, Dataset(path) as new:
        assert new.masks == old.masks and new.attempts() == old.attempts() and new.task_id == VISUOMOTOR
        assert new.demo_lineage("demo_1") == old.demo_lineage("demo_1")
        assert new.lineage["inputs"][0]["sha256"] == old.content_hash() and new.lineage["settings"]["image_size"] == 32


def test_demos_keep_their_names_where_the_numbering_has_gaps(tmp_path, plain):
    path = tmp_path / "gaps.hdf5"
    path.write_bytes(plain.read_bytes())
    with h5py.File(path, "r+") as file:
        file.move("data/demo_1", "data/demo_7")
    made = render_file(path, tmp_path / "b.hdf5", SMALL)
    with Dataset(made.path) as dataset:
        assert dataset.demos == ("demo_0", "demo_2", "demo_7") and made.task.task_id == VISUOMOTOR


def test_legacy_quaternions_are_drawn_and_stored_as_they_should_be(tmp_path, plain):
    legacy = tmp_path / "legacy.hdf5"
    legacy.write_bytes(plain.read_bytes())
    with h5py.File(legacy, "r+") as file:
        del file.attrs["format_version"]
        firsts = {"root_pose": [3], "eef_quat": [0], "cube_orientations": [0, 4, 8], "object": [3, 10, 17]}

        def turn(path: str, item: object) -> None:
            for first in firsts.get(path.rsplit("/", 1)[-1], []) if isinstance(item, h5py.Dataset) else []:
                item[..., first : first + 4] = np.roll(item[..., first : first + 4], 1, axis=-1)

        file["data"].visititems(turn)
    ours = render_file(plain, tmp_path / "a.hdf5", SMALL).path
    assert hash_of(render_file(legacy, tmp_path / "b.hdf5", SMALL).path) == hash_of(ours)


def test_killed_render_resumes_to_the_same_file(tmp_path, plain, generated):
    command = [sys.executable, "-m", "mimicctl", "dataset", "render", str(plain), "--task", COSMOS, "--output-file", "b.hdf5"]
    command += ["--rendering-mode", "performance", "--image-size", "24", "--workers", "1"]
    child = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    partial, committed = tmp_path / "b.partial.hdf5", 0
    while child.poll() is None and not committed:
        time.sleep(0.02)
        if partial.exists():
            with h5py.File(partial, "r") as file:
                committed = len(file["data"])
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "b.hdf5").exists()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 2 and "--resume" in again.stderr and "--overwrite" in again.stderr
    other = subprocess.run([*command, "--image-size", "32", "--resume"], cwd=tmp_path, capture_output=True, text=True)
    assert other.returncode == 2 and "settings" in other.stderr
    done = subprocess.run([*command, "--resume", "--json"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["demos"] == 3
    assert hash_of(tmp_path / "b.hdf5") == hash_of(generated)


def test_existing_output_is_only_replaced_when_asked_and_never_the_input(tmp_path, plain):
    path = render_file(plain, tmp_path / "b.hdf5", SMALL).path
    with pytest.raises(UserError) as caught:
        render_file(plain, path, SMALL)
    assert "--resume" in caught.value.do and "--overwrite" in caught.value.do
    assert render_file(plain, path, SMALL, overwrite=True).demos == 3
    with pytest.raises(UserError, match="replace the dataset that is read"):
        render_file(path, path, SMALL, overwrite=True)


def test_what_cannot_be_drawn_is_refused_in_one_message_and_leaves_nothing(tmp_path):
    with DatasetWriter(tmp_path / "a.hdf5", task_id=DEFAULT_TASK, lineage={}) as writer:
        writer.write(make_episode(0))
    with pytest.raises(UserError, match="does not fit") as caught:
        render_file(tmp_path / "a.hdf5", tmp_path / "b.hdf5", SMALL)
    assert "demo_0" in caught.value.where
    with DatasetWriter(tmp_path / "c.hdf5", task_id=DEFAULT_TASK, lineage={}) as writer:
        writer.write(make_episode(0, states={}, initial_state={}))
    with pytest.raises(UserError, match="no recorded states"):
        render_file(tmp_path / "c.hdf5", tmp_path / "b.hdf5", SMALL)
    with pytest.raises(UserError, match="no cameras"):
        render_file(tmp_path / "a.hdf5", tmp_path / "b.hdf5", SMALL, task_id=ABSOLUTE)
    with DatasetWriter(tmp_path / "d.hdf5", task_id=ABSOLUTE, lineage={}) as writer:
        writer.write(make_episode(0))
    with pytest.raises(UserError, match="another task"):
        render_file(tmp_path / "d.hdf5", tmp_path / "b.hdf5", SMALL, task_id=VISUOMOTOR)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.hdf5", "c.hdf5", "d.hdf5"]


def test_contact_sheet_shows_every_key(tmp_path, generated, mimicctl):
    from PIL import Image

    made = mimicctl("dataset", "contact-sheet", str(generated), "--output-file", "sheet.png", "--demos", "2", "--steps", "3", "--json")
    assert made.returncode == 0 and len(json.loads(made.stdout)["images"]) == 5
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[0] > 2 * 5 * 128 and sheet.shape[1] > 3 * 128 and sheet.std() > 20
    again = mimicctl("dataset", "contact-sheet", str(generated), "--output-file", "sheet.png")
    assert again.returncode == 2 and "--overwrite" in again.stderr


def test_contact_sheet_of_a_file_without_images_says_how_to_add_some(tmp_path, plain, mimicctl):
    refused = mimicctl("dataset", "contact-sheet", str(plain), "--output-file", "sheet.png")
    assert refused.returncode == 2 and "dataset render" in refused.stderr and not (tmp_path / "sheet.png").exists()


def test_without_opengl_the_error_names_the_packages_and_nothing_is_written(tmp_path, plain, mimicctl):
    # PyOpenGL told to use neither of the two libraries: as if they were not there.
    nothing = {"PYOPENGL_PLATFORM": "none", "MUJOCO_GL": ""}
    refused = mimicctl("dataset", "render", str(plain), "--output-file", "b.hdf5", environ=nothing)
    assert refused.returncode == 2 and "apt-get install" in refused.stderr and "egl:" in refused.stderr and "osmesa:" in refused.stderr
    refused = mimicctl("generate", "--task", VISUOMOTOR, "--trials", "1", environ=nothing)
    assert refused.returncode == 2 and "apt-get install" in refused.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert mimicctl("dataset", "render", "--help", environ=nothing).returncode == 0


def test_robomimic_style_reader_gets_frames_by_index(generated):
    with h5py.File(generated) as file:
        stored = file["data/demo_0/obs/table_cam"]
        assert np.array_equal(stored[3:9], stored[()][3:9])


def test_workers_of_a_killed_render_end(tmp_path, plain):
    command = [sys.executable, "-m", "mimicctl", "dataset", "render", str(plain), "--output-file", "b.hdf5", "--workers", "2", "--rendering-mode", "quality"]
    child = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
    while len(workers := children.read_text().split()) < 3:
        assert child.poll() is None
        time.sleep(0.05)
    time.sleep(1)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    end = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < end, "workers live on"
        time.sleep(0.05)
