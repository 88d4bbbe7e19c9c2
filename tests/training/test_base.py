"""A policy for a base: chosen by what the dataset observes, trained, rolled out."""

from __future__ import annotations

import dataclasses
import json

import pytest

from mimicctl.config import TrainSettings
from mimicctl.training.recipes import RECIPES

pytestmark = pytest.mark.train

DRIVE = "MuJoCo-Drive-Tiago-v0"


def test_a_base_is_trained_and_rolled_out_without_further_flags(mimicctl, tmp_path, monkeypatch):
    from mimicctl.training.trainer import train

    assert mimicctl("record", "--device", "scripted", "--task", DRIVE, "--num-demos", "3").returncode == 0
    monkeypatch.setitem(RECIPES, "mlp-base", dataclasses.replace(RECIPES["mlp-base"], steps_per_epoch=20, save_every=1, batch_size=32))
    settings = TrainSettings(epochs=1, log_dir=str(tmp_path / "runs"))
    made = train(tmp_path / "datasets" / "dataset.hdf5", settings, 1)
    assert made.folder.name == "mlp-base"
    played = mimicctl("eval", "play", "--checkpoint", str(made.best), "--rollouts", "2", "--horizon", "20", "--workers", "1", "--json")
    assert played.returncode == 0, played.stderr
    report = json.loads(played.stdout)
    assert report["task"] == DRIVE
