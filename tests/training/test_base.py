"""Policies for a base, for one arm under absolute control, for two and for what hangs: chosen by what the dataset observes or by its actions, trained, rolled out."""

from __future__ import annotations

import dataclasses
import json

import pytest

from mimicctl.config import TrainSettings
from mimicctl.training.recipes import RECIPES

pytestmark = pytest.mark.train

DRIVE, LIFT, TRAY, HANGING = (
    f"MuJoCo-{name}-v0" for name in ("Drive-Tiago", "Lift-Cube-Franka-IK-Abs", "Lift-Tray-Dual-Franka-IK-Abs", "Pick-Stringman")
)


@pytest.mark.parametrize(
    ("task", "recipe", "stuck"),
    [
        (DRIVE, "mlp-base", {"drive to the mark": 2}),
        (LIFT, "mlp-abs", {"grasp": 2, "lift": 0}),
        (TRAY, "mlp-dual", {"left: grasp": 2, "right: grasp": 2, "lift": 0}),
        (HANGING, "mlp-hanging", {"grasp": 2, "place": 0}),
    ],
    ids=["base", "one arm, absolute", "two arms", "hanging"],
)
def test_it_is_trained_and_rolled_out_without_further_flags(mimicctl, tmp_path, monkeypatch, task, recipe, stuck):
    from mimicctl.training.trainer import train

    assert mimicctl("record", "--device", "scripted", "--task", task, "--num-demos", "3").returncode == 0
    monkeypatch.setitem(RECIPES, recipe, dataclasses.replace(RECIPES[recipe], steps_per_epoch=20, save_every=1, batch_size=32))
    settings = TrainSettings(epochs=1, log_dir=str(tmp_path / "runs"))
    made = train(tmp_path / "datasets" / "dataset.hdf5", settings, 1)
    assert made.folder.name == recipe
    played = mimicctl("eval", "play", "--checkpoint", str(made.best), "--rollouts", "2", "--horizon", "20", "--workers", "1", "--json")
    assert played.returncode == 0, played.stderr
    report = json.loads(played.stdout)
    assert report["task"] == task
    assert report["checkpoints"][0]["failures"] == stuck
