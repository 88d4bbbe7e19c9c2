"""Augmented copies by the procedural engine: what changes, what must not, and what is refused. No OpenGL is used."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import mujoco
import numpy as np
import pytest

from mimicctl import poses
from mimicctl.augmentation.augment import augment, plan_copies
from mimicctl.augmentation.robot_material import RobotMaterial
from mimicctl.config import RenderSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.split import split_file
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.envs.mujoco.appearance import PLAIN, Appearance
from mimicctl.envs.mujoco.looks import link_parts
from mimicctl.envs.mujoco.scene import build_model
from mimicctl.errors import UserError
from mimicctl.rendering.replay import positions_of
from mimicctl.settings import AugmentSettings
from mimicctl.tasks import find_task
from tests.conftest import SOURCE

COSMOS = "MuJoCo-Stack-Cube-Franka-IK-Rel-Visuomotor-Cosmos-v0"
TASK = find_task(COSMOS)
SIZE, STEPS = 40, 5
COLOURS = {"table": (190, 160, 120), "background": (180, 180, 180), "robot": (230, 230, 230), "cube_2": (200, 30, 35)}
PATCHES = {"robot": (slice(4, 16), slice(12, 28)), "cube_2": (slice(26, 32), slice(18, 24))}


def camera_images(step: int) -> dict[str, np.ndarray]:
    """What a table, two things before it and nothing behind it look like: the table where the camera's rays meet it, the arm moving to the right."""
    camera = TASK.cameras[0]
    focal = SIZE * camera.focal_length / camera.horizontal_aperture
    x, y = np.meshgrid((np.arange(SIZE) + 0.5 - SIZE / 2) / focal, (np.arange(SIZE) + 0.5 - SIZE / 2) / focal)
    fall = (np.stack([x, y, np.ones_like(x)], axis=-1) @ poses.matrix_from_quat(np.array(camera.quat)).T)[..., 2]
    to_table = np.where(fall < 0, -camera.position[2] / np.where(fall < 0, fall, -1), np.inf)
    what = np.where(to_table < 1.3, "table", "background").astype(object)
    depth = np.where(to_table < 1.3, to_table, 0.0)
    for name, (rows, columns) in PATCHES.items():
        columns = slice(columns.start + step, columns.stop + step) if name == "robot" else columns
        what[rows, columns], depth[rows, columns] = name, 0.6
    normals = np.where((what == "background")[..., None], 0.5, np.array([0.5, 0.5, 1.0]))
    picture = np.array([[COLOURS[name] for name in row] for row in what], np.uint8)
    return {
        "table_cam": picture,
        "table_cam_segmentation": np.array([[(*TASK.semantic_colors[name], 255) for name in row] for row in what], np.uint8),
        "table_cam_normals": normals.astype(np.float32),
        "table_cam_depth": depth[..., None].astype(np.float32),
        "wrist_cam": picture[::-1].copy(),
    }


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> Path:
    """Three demos, with masks, whose states are real and whose images are made up."""
    path = tmp_path_factory.mktemp("seen") / "seen.hdf5"
    with Dataset(SOURCE) as dataset, DatasetWriter(path, task_id=COSMOS, lineage={"made_by": "test"}) as writer:
        for name in dataset.demos[:3]:
            episode = dataset.episode(name)
            for values in (episode.obs, episode.states, episode.datagen_info):
                values.update({key: array[:STEPS] for key, array in values.items()})
            episode.actions, episode.processed_actions = episode.actions[:STEPS], episode.processed_actions[:STEPS]
            images = [camera_images(step) for step in range(STEPS)]
            episode.obs |= {key: np.stack([image[key] for image in images]) for key in images[0]}
            writer.write(episode)
    split_file(path, valid_fraction=0.4)
    return path


def run(source: Path, output: Path, *, workers: int = 1, seed: int = 1, copies: int = 1, with_originals: bool = False, **options):
    settings = AugmentSettings(output_file=str(output), workers=workers, copies=copies, with_originals=with_originals)
    return augment(source, settings, RenderSettings(), seed=seed, **options)


@pytest.fixture(scope="module")
def made(seen, tmp_path_factory) -> Path:
    return run(seen, tmp_path_factory.mktemp("made") / "a.hdf5").path


def hash_of(path: Path) -> str:
    with Dataset(path) as dataset:
        return dataset.content_hash()


def pixels(file: h5py.File, demo: str, name: str) -> np.ndarray:
    """(T, P, 3) of what is in the same place in all steps."""
    obs = file[f"data/{demo}/obs"]
    where = (obs["table_cam_segmentation"][..., :3] == TASK.semantic_colors[name]).all(axis=-1).all(axis=0)
    return obs["table_cam"][:][:, where].astype(float)


def test_everything_but_the_colour_images_is_as_it_was(seen, made):
    with Dataset(seen) as before, Dataset(made) as after:
        assert after.demos == before.demos and after.lengths == before.lengths and after.task_id == before.task_id
        for name in before.demos:
            old, new = dict(before.arrays(name)), dict(after.arrays(name))
            assert old.keys() == new.keys()
            assert {key for key in old if not np.array_equal(old[key], new[key])} == {"obs/table_cam", "obs/wrist_cam"}
            assert all(old[key].dtype == new[key].dtype and old[key].shape == new[key].shape for key in old)


def test_table_arm_and_background_look_different_and_each_demo_in_its_own_way(seen, made):
    with h5py.File(seen) as before, h5py.File(made) as after:
        for name in ("table", "robot", "background"):
            assert all(np.abs(pixels(before, demo, name) - pixels(after, demo, name)).mean() > 10 for demo in ("demo_0", "demo_1", "demo_2"))
            assert np.abs(pixels(after, "demo_0", name) - pixels(after, "demo_1", name)).mean() > 5
        assert pixels(before, "demo_0", "table")[0].std(axis=0).max() == 0 < 2 < pixels(after, "demo_0", "table")[0].std(axis=0).max()


def test_what_stands_still_looks_the_same_throughout_a_demo(made):
    with h5py.File(made) as file:
        for name in ("table", "background", "cube_2"):
            seen = pixels(file, "demo_1", name)
            assert seen.shape[1] > 20 and (seen == seen[:1]).all()


def test_cubes_keep_their_colours(seen, tmp_path):
    path = run(seen, tmp_path / "a.hdf5", copies=5).path
    with h5py.File(path) as file:
        for demo in file["data"]:
            cube = pixels(file, demo, "cube_2").mean(axis=(0, 1))
            assert np.argmax(cube) == 0 and cube[0] > 1.5 * cube[1:].max()


def test_the_wrist_camera_gets_the_light_and_nothing_else(seen, made):
    with h5py.File(seen) as before, h5py.File(made) as after:
        for channel in range(3):
            old, new = (file["data/demo_0/obs/wrist_cam"][..., channel] for file in (before, after))
            found = {value: set(new[old == value].tolist()) for value in np.unique(old).tolist()}
            assert all(len(values) == 1 for values in found.values())
            ordered = [values.pop() for _, values in sorted(found.items())]
            assert ordered == sorted(ordered)


def test_shadows_stay_on_a_new_table(seen, tmp_path):
    path = tmp_path / "shadow.hdf5"
    path.write_bytes(seen.read_bytes())
    with h5py.File(path, "r+") as file:
        file["data/demo_0/obs/table_cam"][:, 36:, :10] = file["data/demo_0/obs/table_cam"][:, 36:, :10] // 2
    with h5py.File(run(path, tmp_path / "a.hdf5").path) as dark, h5py.File(run(seen, tmp_path / "b.hdf5").path) as lit:
        ratio = dark["data/demo_0/obs/table_cam"][:, 36:, :10].mean() / lit["data/demo_0/obs/table_cam"][:, 36:, :10].mean()
    assert 0.5 < ratio < 0.75


def test_the_result_depends_on_the_seed_but_not_on_workers(seen, made, tmp_path):
    assert hash_of(run(seen, tmp_path / "a.hdf5", workers=3).path) == hash_of(made)
    assert hash_of(run(seen, tmp_path / "b.hdf5", seed=2).path) != hash_of(made)


def test_an_interrupted_run_resumes_to_the_same_file(seen, made, tmp_path):
    def stop(steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(seen, tmp_path / "a.hdf5", on_steps=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["a.partial.hdf5"]
    with pytest.raises(UserError, match="interrupted"):
        run(seen, tmp_path / "a.hdf5")
    with pytest.raises(UserError, match="seed changed"):
        run(seen, tmp_path / "a.hdf5", seed=5, resume=True)
    again = run(seen, tmp_path / "a.hdf5", resume=True)
    assert again.resumed_at == 1 and hash_of(again.path) == hash_of(made)


def test_isaac_labs_files_are_painted_alike(seen, made, tmp_path):
    """Its task id, and segmentation as Isaac Lab 3.0 stores it: floats less the mean of each picture."""
    path = tmp_path / "isaac.hdf5"
    path.write_bytes(seen.read_bytes())
    with h5py.File(path, "r+") as file:
        file["data"].attrs["env_args"] = json.dumps({"env_name": COSMOS.replace("MuJoCo", "Isaac").replace("-v0", "-Mimic-v0"), "type": 2})
        for demo in file["data"].values():
            stored = demo["obs/table_cam_segmentation"][:].astype(np.float32) / 255
            del demo["obs/table_cam_segmentation"]
            demo["obs/table_cam_segmentation"] = stored - stored.mean(axis=(1, 2), keepdims=True)
    with pytest.raises(UserError, match="Isaac Lab") as caught:
        run(path, tmp_path / "a.hdf5")
    assert f"--task {COSMOS}" in caught.value.do
    done = run(path, tmp_path / "a.hdf5", task_id=COSMOS)
    with h5py.File(done.path) as ours, h5py.File(made) as same:
        for demo in same["data"]:
            assert np.array_equal(ours[f"data/{demo}/obs/table_cam"][:], same[f"data/{demo}/obs/table_cam"][:])


def test_originals_and_copies_lie_in_one_file_and_keep_to_their_masks(seen, made, tmp_path):
    done = run(seen, tmp_path / "a.hdf5", copies=2, with_originals=True)
    with Dataset(seen) as before, Dataset(done.path) as after, Dataset(made) as single:
        assert after.demos == tuple(f"demo_{i}" for i in range(9)) and done.steps == 9 * STEPS
        for i, name in enumerate(before.demos):
            assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(before.arrays(name), after.arrays(f"demo_{i}"), strict=True))
            assert after.demo_lineage(f"demo_{i}") == before.demo_lineage(name)
            same = dict(single.arrays(f"demo_{i}"))["obs/table_cam"]
            assert np.array_equal(dict(after.arrays(f"demo_{3 + i}"))["obs/table_cam"], same)
        for key, names in before.masks.items():
            numbers = [before.demos.index(name) for name in names]
            assert set(after.masks[key]) == {f"demo_{number + 3 * part}" for number in numbers for part in range(3)}


def test_a_demos_lineage_says_what_it_is_of_and_what_it_looks_like(seen, made):
    with Dataset(seen) as before, Dataset(made) as after:
        for copy in plan_copies(before.demos, 1, 1, with_originals=False):
            lineage = after.demo_lineage(copy.demo)
            assert lineage["parent"]["demo"] == copy.demo and lineage["parent"].items() >= before.demo_lineage(copy.demo).items()
            assert lineage["augmented"]["engine"] == "procedural" and Appearance.of_dict(lineage["augmented"]["appearance"]) == copy.appearance != PLAIN
        assert after.lineage["made_by"] == "mimicctl augment" and after.lineage["inputs"][0]["file"] == "seen.hdf5"


@pytest.mark.parametrize("link", ["panda_link1", "panda_link5", "panda_link6", "panda_hand", "panda_rightfinger"])
def test_the_material_moves_with_the_link(link):
    material, model = RobotMaterial(TASK), build_model(TASK)
    data, body = mujoco.MjData(model), model.body(link).id
    turned = (-1, -1, 1) if link == "panda_rightfinger" else (1, 1, 1)
    on_it = np.concatenate([part.vertices for part in link_parts(link, 0.02)]) * turned
    with Dataset(SOURCE) as dataset:
        qpos = positions_of(TASK)(dataset.episode("demo_0"))
    found = []
    for row in qpos[::60]:
        data.qpos[:] = row
        mujoco.mj_kinematics(model, data)
        found.append(material.places(on_it @ data.xmat[body].reshape(3, 3).T + data.xpos[body], row))
    assert len(found) > 2
    # But for places at a joint, which may be nearer to the next link.
    stay = np.ptp(found, axis=0).max(axis=1) < 1e-5
    assert stay.mean() > 0.85


@pytest.mark.parametrize("key", ["table_cam", "table_cam_depth", "table_cam_normals", "table_cam_segmentation"])
def test_a_missing_image_is_named_with_what_to_run(seen, tmp_path, key):
    path = tmp_path / "a.hdf5"
    path.write_bytes(seen.read_bytes())
    with h5py.File(path, "r+") as file:
        del file[f"data/demo_1/obs/{key}"]
    with pytest.raises(UserError) as caught:
        run(path, tmp_path / "b.hdf5")
    assert f"demo_1 has no obs/{key}" in caught.value.where and "demo_0" not in caught.value.where
    assert "mimicctl dataset render" in caught.value.do and COSMOS in caught.value.do
    assert [path.name for path in tmp_path.iterdir()] == ["a.hdf5"]


def spoil_states(file: h5py.File) -> None:
    del file["data/demo_2/states"]


def spoil_depth(file: h5py.File) -> None:
    depth = file["data/demo_2/obs/table_cam_depth"][:-1]
    del file["data/demo_2/obs/table_cam_depth"]
    file["data/demo_2/obs/table_cam_depth"] = depth


@pytest.mark.parametrize(("spoil", "says"), [(spoil_states, "no recorded states"), (spoil_depth, "do not fit")])
def test_a_demo_that_cannot_be_painted_is_told_of_before_anything_is_written(seen, tmp_path, spoil, says):
    path = tmp_path / "a.hdf5"
    path.write_bytes(seen.read_bytes())
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(UserError, match=says) as caught:
        run(path, tmp_path / "b.hdf5")
    assert "demo_2" in caught.value.where and [path.name for path in tmp_path.iterdir()] == ["a.hdf5"]


def test_the_command_says_what_it_made_and_what_comes_next(seen, made, tmp_path, mimicctl):
    done = mimicctl("augment", str(seen), "--output_file", "a.hdf5", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert f"mimicctl merge {seen} {tmp_path / 'a.hdf5'}" in done.stdout and "wrist_cam" in done.stdout
    assert hash_of(tmp_path / "a.hdf5") == hash_of(made)
    merged = mimicctl("merge", str(seen), "a.hdf5", "--output-file", "m.hdf5", "--json")
    assert merged.returncode == 0 and json.loads(merged.stdout)["demos"] == 6, merged.stderr
    again = mimicctl("augment", str(seen), "--output-file", "a.hdf5")
    assert again.returncode == 2 and "--overwrite" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--image-size", "84"), "would have no effect"),
        (("--engine", "magic"), "procedural"),
        (("--copies", "0"), "at least 1"),
        (("--task", "MuJoCo-Stack-Cube-Franka-IK-Abs-v0"), "no cameras"),
        (("--output-file", "SEEN"), "replace the dataset"),
    ],
)
def test_a_mistake_is_one_clear_error(seen, tmp_path, mimicctl, arguments, says):
    arguments = [str(seen) if word == "SEEN" else word for word in arguments]
    refused = mimicctl("augment", str(seen), *arguments)
    assert refused.returncode == 2 and says in refused.stderr and "Traceback" not in refused.stderr
    assert not list(tmp_path.rglob("*.hdf5"))


def test_without_a_dataset_it_says_how_to_get_one(mimicctl):
    refused = mimicctl("augment")
    assert refused.returncode == 2 and "generate one first" in refused.stderr
