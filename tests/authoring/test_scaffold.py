"""A new task file runs as it is, and never lands on another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mimicctl.authoring.scaffold import write_scaffold
from mimicctl.errors import UserError
from mimicctl.tasks import Goal, Lift, Stack, find_task


@pytest.mark.parametrize(("like", "goal"), [("lift", Lift), ("stack", Stack)])
def test_a_new_task_has_the_physics_of_its_model(tmp_path, monkeypatch, like, goal: type[Goal]):
    monkeypatch.chdir(tmp_path)
    made = write_scaffold("sort cubes", like, tmp_path)
    assert (made.path.relative_to(tmp_path), made.task_id) == (Path("tasks/sort_cubes.py"), "MuJoCo-Sort-Cubes-Franka-IK-Rel-v0")
    task, model = find_task(made.task_id), find_task(f"MuJoCo-{like.capitalize()}-Cube-Franka-IK-Rel-v0")
    assert isinstance(task.goal, goal)
    for field in ("goal", "objects", "reset", "home", "hand", "obs_layout", "horizon", "control", "control_hz", "action_scale", "success_hold_steps"):
        assert getattr(task, field) == getattr(model, field), field


def test_a_file_that_is_there_stays(mimicctl, tmp_path):
    made = json.loads(mimicctl("tasks", "new", "mine", "--json").stdout)
    assert made["id"] == "MuJoCo-Mine-Franka-IK-Rel-v0"
    Path(made["file"]).write_text("changed by hand")
    again = mimicctl("tasks", "new", "Mine", "--like", "stack")
    assert again.returncode == 2 and made["file"] in again.stderr
    assert Path(made["file"]).read_text() == "changed by hand"


@pytest.mark.parametrize("name", ["lift-cube", "Stack Cube"])
def test_a_name_that_is_taken_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="already, from mimicctl"):
        write_scaffold(name, "lift", tmp_path)
    assert not (tmp_path / "tasks").exists()


@pytest.mark.parametrize("name", ["", "-", "../up", "3d", "päckchen", "a.b", "Mimic"])
def test_a_name_that_names_nothing_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="cannot name a task"):
        write_scaffold(name, "lift", tmp_path)
    assert not (tmp_path / "tasks").exists()


def test_a_likeness_that_there_is_not_is_refused(mimicctl, tmp_path):
    done = mimicctl("tasks", "new", "mine", "--like", "pour")
    assert done.returncode == 2 and "lift" in done.stderr and not (tmp_path / "tasks").exists()


def test_the_loop_runs_on_a_new_task(mimicctl):
    """With worker processes, which are started afresh and have to find it too."""
    task = json.loads(mimicctl("tasks", "new", "mine", "--json").stdout)["id"]
    assert json.loads(mimicctl("tasks", "check", task, "--resets", "2", "--json").stdout)["ok"]
    recorded = mimicctl("record", "--device", "scripted", "--task", task, "--num-demos", "3")
    assert recorded.returncode == 0, recorded.stderr
    assert json.loads(mimicctl("annotate", "--json").stdout)["demos"] == 3
    made = mimicctl("generate", "--task", task, "--trials", "4", "--workers", "2", "--num-envs", "2", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["demos"] == 4
