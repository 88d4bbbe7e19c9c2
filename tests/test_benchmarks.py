"""What benchmarks/tasks.py keeps, and what it says of it."""

from __future__ import annotations

import json
import runpy
import sys

import pytest

from mimicctl.tasks import find_task
from tests.conftest import ROOT

LIFT, STACK = "MuJoCo-Lift-Cube-Franka-IK-Rel-v0", "MuJoCo-Stack-Cube-Franka-IK-Rel-v0"


@pytest.fixture
def bench():
    return runpy.run_path(str(ROOT / "benchmarks" / "tasks.py"))


def run(bench, monkeypatch, capsys, *flags) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["tasks.py", *map(str, flags)])
    with pytest.raises(SystemExit) as ended:
        bench["main"]()
    return ended.value.code, capsys.readouterr().out


def test_a_finished_part_is_not_done_again_until_its_task_changes(bench, monkeypatch, capsys, tmp_path):
    asked = ["--folder", tmp_path, "--tasks", LIFT, "--parts", "scripted", "--resets", "1"]
    code, out = run(bench, monkeypatch, capsys, *asked)
    assert code == 0 and "100.0 % (1 of 1; 20.7 to 100.0)" in out and f"Not measured, generate: `{LIFT}`" in out
    path = tmp_path / LIFT / "scripted.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps(kept | {"successes": 3, "trials": 4}))
    assert "75.0 % (3 of 4; 30.1 to 95.4)" in run(bench, monkeypatch, capsys, *asked)[1]
    path.write_text(json.dumps(kept | {"successes": 3, "trials": 4, "task_version": "of another day"}))
    assert "(1 of 1;" in run(bench, monkeypatch, capsys, *asked)[1]


def test_what_cannot_be_measured_is_said_and_the_rest_is(bench, monkeypatch, capsys, tmp_path):
    wall = "MuJoCo-Stack-Cube-Wall-Franka-IK-Rel-v0"
    code, out = run(bench, monkeypatch, capsys, "--folder", tmp_path, "--tasks", wall, LIFT, "--parts", "scripted", "--resets", "1")
    assert code == 1 and f"Failed: {wall}, scripted: The scripted operator of {wall} would run into the wall." in out
    assert f"| `{LIFT}` | 100.0 % (1 of 1" in out and not list((tmp_path / wall).glob("*.json"))


def test_policies_of_several_recipes_stand_side_by_side(bench, tmp_path):
    task = find_task(STACK)
    for recipe, successes in (("auto", 9), ("rnn", 4)):
        path = bench["file_of"](tmp_path, task, "policy", recipe)
        path.parent.mkdir(exist_ok=True)
        result = {"successes": successes, "trials": 10, "recipe": "mlp" if recipe == "auto" else recipe, "demos": 50, "epochs": 2}
        path.write_text(json.dumps(result | {"task_version": bench["version_of"](task)}))
    row = next(line for line in bench["table"](tmp_path, [task]) if STACK in line)
    assert "`mlp`, 50 demos, 2 epochs: 90.0 % (9 of 10;" in row and "`rnn`, 50 demos, 2 epochs: 40.0 % (4 of 10;" in row
