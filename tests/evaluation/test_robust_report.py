"""What is said about rollouts under changed scenes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mimicctl.errors import UserError
from mimicctl.evaluation.robust import Cell, cells_of, chosen_checkpoints
from mimicctl.evaluation.robust_report import Results, as_dict, table_rows, write_reports
from mimicctl.evaluation.rollouts import Rollout

A, B = Path("run/models/model_epoch_5.pth"), Path("run/models/model_epoch_10.pth")
LABELS = {A: "model_epoch_5", B: "model_epoch_10"}


def results(**patterns: str) -> Results:
    """Cells named as setting_seed_checkpoint, a letter a rollout: + succeeded, - did not."""
    cells = {}
    for name, marks in patterns.items():
        setting, seed, checkpoint = name.rsplit("_", 2)
        cells[Cell(int(seed), setting, {"a": A, "b": B}[checkpoint])] = tuple(Rollout(i, mark == "+", {"franka": 4}, 9) for i, mark in enumerate(marks))
    return Results(cells, LABELS)


SOME = results(vanilla_0_a="++-", vanilla_0_b="+++", light_color_0_a="+--", light_color_0_b="---", vanilla_9_a="---", light_color_9_a="+++")


def test_rates_are_pooled_over_seeds_and_compared_with_vanilla_start_state_by_start_state():
    rows = table_rows(SOME)
    assert [row[:2] for row in rows] == [(s, c) for s in ("vanilla", "light_color") for c in ("model_epoch_5", "model_epoch_10")]
    assert rows[0][2].startswith("33.3 % (2 of 6; 95 % interval") and rows[0][3] == ""
    assert rows[2][2].startswith("66.7 % (4 of 6") and rows[2][3] == "+33.3 points (p = 0.62)"
    assert rows[3][3] == "-100.0 points (p = 0.25)"
    data = as_dict(SOME, {"task": "t"})
    assert json.loads(json.dumps(data))["best"] == {"vanilla": str(B), "light_color": str(A)}
    assert data["over_all_seeds"][2]["compared_to_vanilla"] == {"both": 1, "only_vanilla": 1, "only_this": 3, "neither": 1, "p_value": 0.625}


def test_vanilla_of_other_start_states_is_not_compared_with():
    rows = table_rows(results(vanilla_0_a="+++", light_color_9_a="---"))
    assert rows[1][3] == ""


@pytest.mark.train  # the plot
def test_files_are_those_of_isaac_lab(tmp_path):
    report, picture, texts = write_reports(tmp_path, "results", SOME, as_dict(SOME, {}))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["results_seed_0", "results_seed_9", "robust.json", "robust.png"]
    assert picture.stat().st_size > 1000 and json.loads(report.read_text())["cells"][0]["successes"] == 2
    lines = texts[0].read_text().splitlines()
    assert lines[:2] == ["Evaluation setting: vanilla", "=" * 80] and lines[2] == "[Model: model_epoch_5.pth] Trial 0: True"
    assert "Results: [True, True, False]" in lines and f"Success rate: {2 / 3}" in lines
    assert "Best model for setting vanilla is model_epoch_10.pth with success rate 1.0" in lines
    # The mean over settings: (2/3 + 1/3) / 2 and (1 + 0) / 2.
    summary = lines[lines.index("Setting: overall") :]
    assert summary[1:4] == ["model_epoch_5.pth: 0.5", "model_epoch_10.pth: 0.5", "Best model for setting overall is model_epoch_5.pth with success rate 0.5"]


@pytest.mark.train  # the plot
def test_the_mean_over_settings_counts_checkpoints_that_have_all_of_them(tmp_path):
    some = results(vanilla_0_a="+", vanilla_0_b="+", light_color_0_a="-")
    _, _, texts = write_reports(tmp_path, "r", some, as_dict(some, {}))
    overall = texts[0].read_text().split("Setting: overall\n")[1].split("Setting:")[0]
    assert "model_epoch_5.pth: 0.5" in overall and "model_epoch_10" not in overall


def test_cells_come_seed_by_seed():
    assert cells_of([1, 0], ["x", "y"], [A])[:3] == [Cell(1, "x", A), Cell(1, "y", A), Cell(0, "x", A)]


def test_checkpoints_are_chosen_by_epoch_and_the_copy_that_validated_best_is_left_out(tmp_path):
    folder = tmp_path / "run" / "models"
    folder.mkdir(parents=True)
    for name in ("10", "20", "20_best_validation_-1.5", "100"):
        (folder / f"model_epoch_{name}.pth").touch()
    assert [path.stem for path in chosen_checkpoints([tmp_path / "run"], 20)] == ["model_epoch_20", "model_epoch_100"]
    named = folder / "model_epoch_20_best_validation_-1.5.pth"
    assert chosen_checkpoints([named, named], 50) == [named]
    with pytest.raises(UserError, match="No checkpoint is of epoch 101 or later; the last is of 100"):
        chosen_checkpoints([folder], 101)
