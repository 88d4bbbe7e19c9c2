"""Tasks of one's own are found where they should be, and what is wrong with a file is said with its line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mimicctl.crew import results_in_order
from mimicctl.envs import make_env
from mimicctl.errors import UserError
from mimicctl.tasks import DEFAULT_TASK, broken_tasks, find_task, list_tasks, look_in, origin_of, twin_of, with_family

HEAD = """import dataclasses
from mimicctl.tasks import Lift, TaskSpec, find_task
LIFT = find_task("MuJoCo-Lift-Cube-Franka-IK-Rel-v0")
"""
OWN = HEAD + 'TASK = dataclasses.replace(LIFT, task_id="{}")\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder with a folder for tasks."""
    (tmp_path / "tasks").mkdir()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    look_in(())


def added() -> list[str]:
    """Ids of the tasks that do not come with mimicctl."""
    return [task.task_id for task in list_tasks() if origin_of(task) != "mimicctl"]


def test_a_file_in_the_folder_tasks_is_found_and_runs(folder):
    (folder / "tasks" / "mine.py").write_text(OWN.format("MuJoCo-Mine-v0"))
    task = find_task("MuJoCo-Mine-Mimic-v0")
    assert (task.task_id, origin_of(task)) == ("MuJoCo-Mine-v0", "tasks/mine.py")
    make_env("MuJoCo-Mine-v0").close()


def test_a_file_may_hold_several_tasks(folder):
    several = HEAD + 'TASKS = [dataclasses.replace(LIFT, task_id=f"MuJoCo-Mine-{i}-v0") for i in range(3)]\n'
    (folder / "tasks" / "mine.py").write_text(several)
    assert added() == ["MuJoCo-Mine-0-v0", "MuJoCo-Mine-1-v0", "MuJoCo-Mine-2-v0"]


def test_what_is_no_task_file_in_the_folder_is_not_run(folder):
    (folder / "tasks" / "_helper.py").write_text("import mimicctl\nraise SystemError\n")
    (folder / "tasks" / "celery.py").write_text("raise SystemError\n")
    (folder / "tasks" / "notes.txt").write_text("mimicctl")
    (folder / "tasks" / ".#open.py").symlink_to("somebody@somewhere")
    (folder / "tasks" / ".copy.py").write_text("import mimicctl\nraise SystemError\n")
    assert added() == [] and broken_tasks() == []


@pytest.mark.parametrize("path", ["elsewhere", "elsewhere/mine.py"])
def test_files_and_folders_of_the_setting_are_looked_in(mimicctl, tmp_path, path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.py").write_text(OWN.format("MuJoCo-Mine-v0"))
    (tmp_path / "mimicctl.toml").write_text(f'task = "MuJoCo-Mine-v0"\ntasks.paths = ["{path}"]\n')
    listed = {task["task_id"]: task["origin"] for task in json.loads(mimicctl("tasks", "--json").stdout)["tasks"]}
    assert listed["MuJoCo-Mine-v0"] == "elsewhere/mine.py" and listed[DEFAULT_TASK] == "mimicctl"
    assert json.loads(mimicctl("tasks", "show", "MuJoCo-Mine-v0", "--json").stdout)["origin"] == "elsewhere/mine.py"
    recorded = mimicctl("record", "--device", "scripted", "--num-demos", "1")
    assert recorded.returncode == 0, recorded.stderr


def test_a_path_that_is_not_there_is_named(mimicctl):
    nowhere = ("-o", 'tasks.paths=["nowhere.py"]')
    listed = mimicctl("tasks", *nowhere)
    assert listed.returncode == 0 and DEFAULT_TASK in listed.stdout and "tasks.paths: nowhere.py" in listed.stderr
    asked = mimicctl("tasks", "show", "MuJoCo-Mine-v0", *nowhere)
    assert asked.returncode == 2 and "tasks.paths: nowhere.py" in asked.stderr


def test_a_package_adds_tasks_by_an_entry_point(folder, monkeypatch):
    info = folder / "site" / "theirs-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mimicctl.tasks]\ntheirs = their_tasks:ALL\n")
    module = folder / "site" / "their_tasks.py"
    module.write_text(HEAD + 'ALL = (dataclasses.replace(LIFT, task_id="MuJoCo-Theirs-v0"),)\n')
    monkeypatch.syspath_prepend(folder / "site")
    assert origin_of(find_task("MuJoCo-Theirs-v0")) == "entry point their_tasks:ALL"
    module.unlink()
    (info / "entry_points.txt").write_text("[mimicctl.tasks]\ntheirs = gone_tasks:ALL\n")
    (folder / "other").mkdir()
    monkeypatch.chdir(folder / "other")
    (problem,) = broken_tasks()
    assert "cannot be loaded" in problem.what and "gone_tasks" in problem.what and "theirs = gone_tasks:ALL" in problem.where


BROKEN = {
    "a syntax error": ("import mimicctl\ny = 1 1\n", 2, "not Python"),
    "an exception": (HEAD + "size = undefined_name\nTASK = LIFT\n", 4, "NameError"),
    "an exception further down": (HEAD + "def size():\n    return 1 / 0\nTASK = dataclasses.replace(LIFT, horizon=size())\n", 5, "ZeroDivisionError"),
    "a field that there is not": (HEAD + 'TASK = dataclasses.replace(LIFT,\n  task_id="MuJoCo-A-v0", horizn=3)\n', 4, "horizn"),
    "a field that is missing": (HEAD + '\nTASK = TaskSpec(task_id="MuJoCo-A-v0")\n', 5, "missing"),
    "a task that there is not": (HEAD + 'OTHER = find_task("MuJoCo-Lift-Cub-v0")\nTASK = LIFT\n', 4, "There is no task"),
    "an exit": (HEAD + "import sys\nsys.exit(0)\nTASK = LIFT\n", 5, "SystemExit"),
    "no task": ("import mimicctl\n", None, "neither TASK nor TASKS"),
    "something else": (HEAD + "\n\nTASK = 3\n", 6, "TASK is a int, not a TaskSpec"),
    "a number as text": (HEAD + 'TASK = dataclasses.replace(LIFT, task_id="MuJoCo-A-v0", horizon="long")\n', 4, "horizon cannot be 'long'"),
    "a text deep inside": (
        HEAD + 'TASK = dataclasses.replace(LIFT, task_id="MuJoCo-A-v0", objects=(dataclasses.replace(LIFT.objects[0], edge="4 cm"),))\n',
        *(4, "objects[0].edge cannot be '4 cm'"),
    ),
    "half a range": (
        HEAD + 'TASK = dataclasses.replace(LIFT, task_id="MuJoCo-A-v0", reset=dataclasses.replace(LIFT.reset, x=0.5))\n',
        *(4, "reset.x cannot be 0.5"),
    ),
    "another goal": (HEAD + 'TASK = dataclasses.replace(LIFT, task_id="MuJoCo-A-v0", goal="lift it")\n', 4, "goal cannot be 'lift it'"),
    "an id without a backend": (HEAD + 'TASK = dataclasses.replace(LIFT, task_id="Lift-v0")\n', 4, '"Lift-v0"'),
    "an id with Mimic": (HEAD + 'TASK = dataclasses.replace(LIFT, task_id="MuJoCo-A-Mimic-v0")\n', 4, "-Mimic"),
    "an id that is taken": (HEAD + "TASK = LIFT\n", 4, "is there already: in mimicctl itself"),
}


@pytest.mark.parametrize(("text", "line", "what"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named_with_its_line(folder, text, line, what):
    path = folder / "tasks" / "broken.py"
    path.write_text(text)
    (problem,) = broken_tasks()
    assert what in problem.what and problem.do
    assert problem.where == (f"{path}, line {line}" if line else str(path))


def test_what_is_broken_stops_nothing_else(folder):
    (folder / "tasks" / "a_broken.py").write_text(HEAD + "TASK = TaskSpec(\n")
    (folder / "tasks" / "mine.py").write_text(OWN.format("MuJoCo-Mine-v0"))
    assert added() == ["MuJoCo-Mine-v0"] and find_task("MuJoCo-Mine-v0") in with_family(find_task("MuJoCo-Mine-v0"))
    assert find_task(DEFAULT_TASK) in with_family(find_task(DEFAULT_TASK))
    assert twin_of("Isaac-Stack-Cube-Franka-IK-Rel-v0").task_id == DEFAULT_TASK and twin_of("Stack_D0") is None
    for ask in (find_task, twin_of):
        with pytest.raises(UserError, match="no MuJoCo-Other-v0 among the tasks that can be read.*a_broken.py is broken") as caught:
            ask("MuJoCo-Other-v0")
        assert "a_broken.py, line 4" in caught.value.where


def test_all_files_that_may_hold_a_task_are_named(folder):
    for name in ("first", "second"):
        (folder / "tasks" / f"{name}.py").write_text(HEAD + "TASK = TaskSpec(\n")
    with pytest.raises(UserError, match="first.py is broken") as caught:
        find_task("MuJoCo-Mine-v0")
    assert "second.py, line 4: The task file second.py is broken" in caught.value.where


def test_two_files_with_one_id_are_told_apart(folder):
    both = HEAD + 'TASKS = [dataclasses.replace(LIFT, task_id=f"MuJoCo-{name}-v0") for name in ("Mine", "%s")]\n'
    for name in ("first", "second"):
        (folder / "tasks" / f"{name}.py").write_text(both % name)
    with pytest.raises(UserError, match="in tasks/first.py") as caught:
        find_task("MuJoCo-Mine-v0")
    assert "second.py, line 4" in caught.value.where
    assert added() == ["MuJoCo-first-v0", "MuJoCo-second-v0"]


def test_a_broken_file_on_the_command_line(mimicctl, tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.py").write_text(HEAD + "TASK = TaskSpec(\n")
    done = mimicctl("record", "--device", "scripted", "--task", "MuJoCo-Mine-v0")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 3 and "mine.py, line 4" in done.stderr
    listed = mimicctl("tasks", "--json")
    assert listed.returncode == 0 and "mine.py, line 4" in listed.stderr
    data = json.loads(listed.stdout)
    assert DEFAULT_TASK in [task["task_id"] for task in data["tasks"]] and "mine.py, line 4" in data["broken"][0]["where"]


def test_a_slip_in_the_id_is_answered_with_the_nearest(folder):
    (folder / "tasks" / "mine.py").write_text(OWN.format("MuJoCo-Sort-Rings-v0"))
    with pytest.raises(UserError) as caught:
        find_task("MuJoCo-Sort-Ring-v0")
    assert "did you mean MuJoCo-Sort-Rings-v0?" in caught.value.do


# Worker processes -----------------------------------------------------------------------------------------


def prepared() -> Callable[[str], tuple[int, str]]:
    return lambda task_id: (os.getpid(), find_task(task_id).task_id)


def found_in_workers() -> list[tuple[int, str]]:
    return [result for _, done in results_in_order([(i, ["MuJoCo-Mine-v0"]) for i in range(8)], prepared, (), 2, do="") for result in done]


def test_worker_processes_know_the_tasks_of_their_parent(folder):
    (folder / "own").mkdir()
    (folder / "own" / "mine.py").write_text(OWN.format("MuJoCo-Mine-v0"))
    with pytest.raises(UserError, match="There is no task"):
        found_in_workers()
    look_in(["own"])
    found = found_in_workers()
    assert os.getpid() not in {pid for pid, _ in found} and {name for _, name in found} == {"MuJoCo-Mine-v0"}
