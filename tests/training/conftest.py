"""Trained policies, and the command that evaluates them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mimicctl.cli import app as shell
from mimicctl.config import TrainSettings
from mimicctl.dataset.split import split_file
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.tasks import DEFAULT_TASK
from mimicctl.training import robomimic_seam as seam
from mimicctl.training.recipes import RECIPES
from tests.episodes import make_episode
from tests.training.images import LOW_DIM_RECIPES, seen_file, small


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "data.hdf5"
    with DatasetWriter(path, task_id=DEFAULT_TASK, lineage={}) as writer:
        for i in range(4):
            writer.write(make_episode(i, steps=20 + i))
    split_file(path)
    return path


def trained(data: Path, folder: Path, recipe: str, epochs: int = 1) -> Path:
    """A run folder; three steps an epoch."""
    from mimicctl.training.trainer import train

    seam.import_robomimic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, recipe, dataclasses.replace(RECIPES[recipe], steps_per_epoch=3, save_every=1, batch_size=8))
        return train(data, TrainSettings(recipe=recipe, log_dir=str(folder), name=recipe, epochs=epochs), seed=1).folder


@pytest.fixture(scope="session")
def runs(data, tmp_path_factory) -> dict[str, Path]:
    """Run folders of every recipe without images."""
    folder = tmp_path_factory.mktemp("runs")
    return {recipe: trained(data, folder, recipe) for recipe in LOW_DIM_RECIPES}


@pytest.fixture(scope="session")
def image_run(tmp_path_factory) -> Path:
    """A run folder of image-mlp with two checkpoints, trained for six steps."""
    from mimicctl.training.trainer import train

    seam.import_robomimic()
    folder = tmp_path_factory.mktemp("run")
    data = seen_file(folder / "seen.hdf5", render={"rendering_mode": "performance", "image_size": 24})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "image-mlp", small(RECIPES["image-mlp"]))
        return train(data, TrainSettings(recipe="image-mlp", log_dir=str(folder), epochs=2), seed=1).folder


@pytest.fixture
def evaluate(tmp_path, monkeypatch, capsys):
    """A command of `eval` in this process, in an empty folder: exit code, stdout, stderr."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def done(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = shell._run(["eval", *map(str, arguments)], debug=False)
        return code, *capsys.readouterr()

    return done
