"""Augmented copies that are drawn again, and how the painted ones compare with them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.augmentation.augment import augment
from mimicctl.config import GenerateSettings, RenderSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.envs.mujoco.appearance import Appearance
from mimicctl.generation.engine import generate
from mimicctl.rendering.replay import render_file
from mimicctl.settings import AugmentSettings
from mimicctl.tasks import DEFAULT_TASK
from tests.rendering.conftest import COSMOS, VISUOMOTOR

pytestmark = pytest.mark.render

SMALL = RenderSettings(rendering_mode="performance", image_size=48, workers=1)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """Two demos without images."""
    path = tmp_path_factory.mktemp("plain") / "a.hdf5"
    return generate(DEFAULT_TASK, 3, GenerateSettings(output_file=str(path), trials=2, workers=1), None).path


@pytest.fixture(scope="module")
def seen(plain) -> Path:
    return render_file(plain, plain.with_name("seen.hdf5"), SMALL, task_id=COSMOS).path


def run(source: Path, output: Path, engine: str, *, task_id: str = "", **options):
    settings = AugmentSettings(output_file=str(output), engine=engine, **({"workers": 1} | options))
    return augment(source, settings, SMALL, seed=1, task_id=task_id)


def hash_of(path: Path) -> str:
    with Dataset(path) as dataset:
        return dataset.content_hash()


def test_demos_without_images_get_augmented_ones(plain, seen, tmp_path):
    made = run(plain, tmp_path / "a.hdf5", "rerender", with_originals=True)
    assert made.task.task_id == VISUOMOTOR and made.keys == ("table_cam", "wrist_cam") and len(made.copies) == 4
    with h5py.File(made.path) as file, h5py.File(seen) as drawn, Dataset(plain) as before, Dataset(made.path) as after:
        for i in range(2):
            for camera in made.keys:
                original, other = file[f"data/demo_{i}/obs/{camera}"][:], file[f"data/demo_{2 + i}/obs/{camera}"][:]
                assert np.array_equal(original, drawn[f"data/demo_{i}/obs/{camera}"][:])
                assert other.shape == original.shape == (before.length(f"demo_{i}"), 48, 48, 3)
                assert np.abs(other.astype(int) - original).mean() > 10
        old, new = dict(before.arrays("demo_1")), dict(after.arrays("demo_3"))
        assert all(np.array_equal(old[key], new[key]) for key in old) and set(new) - set(old) == {"obs/table_cam", "obs/wrist_cam"}
        looks = [Appearance.of_dict(after.demo_lineage(f"demo_{2 + i}")["augmented"]["appearance"]) for i in range(2)]
        assert looks[0] != looks[1] and after.task_id == VISUOMOTOR


def test_drawn_copies_do_not_depend_on_the_number_of_workers(plain, tmp_path):
    one, two = (run(plain, tmp_path / f"{workers}.hdf5", "rerender", workers=workers).path for workers in (1, 2))
    assert hash_of(one) == hash_of(two)


def test_painted_images_look_as_drawn_ones_of_the_same_appearance_do(seen, tmp_path):
    painted, drawn = (run(seen, tmp_path / f"{engine}.hdf5", engine, task_id=COSMOS).path for engine in ("procedural", "rerender"))
    with h5py.File(painted) as ours, h5py.File(drawn) as theirs, h5py.File(seen) as plain:
        for demo in ours["data"]:
            segmentation = ours[f"data/{demo}/obs/table_cam_segmentation"][::20, ..., :3]
            ours_seen, theirs_seen, before = (file[f"data/{demo}/obs/table_cam"][::20].astype(float) for file in (ours, theirs, plain))
            for colour in ((255, 237, 218), (204, 110, 248), (200, 200, 200)):
                there = (segmentation == colour).all(axis=-1)
                assert np.abs(ours_seen - theirs_seen)[there].mean() < 0.5 * np.abs(before - theirs_seen)[there].mean()
