"""An edited task is noticed: what was made on it before does not go on as if nothing had happened."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest

from mimicctl.config import GenerateSettings
from mimicctl.dataset.merge import merge
from mimicctl.dataset.reader import Dataset
from mimicctl.errors import UserError
from mimicctl.generation import engine
from mimicctl.schema import LINEAGE_ATTR
from mimicctl.tasks import DEFAULT_TASK, CameraSpec, Goal, Lift, Stack, TaskSpec, find_task
from mimicctl.tasks.fingerprint import changed_parts, changes_since, fingerprint

TASK = find_task(DEFAULT_TASK)
REACH = dataclasses.replace(TASK.reset, x=(0.45, 0.55))
HEAVY = (dataclasses.replace(TASK.objects[0], mass=0.3), *TASK.objects[1:])


def lineage_on(task: TaskSpec, **more) -> dict:
    """As a file holds it."""
    return json.loads(json.dumps({"task": task.task_id, "task_spec": fingerprint(task), **more}))


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("reset", {"reset": REACH}),
        ("objects", {"objects": HEAVY}),
        ("home", {"home": (*TASK.home[:-1], TASK.home[-1] / 2)}),
        ("goal", {"goal": Stack(TASK.goal.order[::-1])}),
        ("success_hold_steps", {"success_hold_steps": 3}),
        ("cameras", {"cameras": (CameraSpec("front", "", (1.0, 0.0, 1.0), (0.0, 0.0, 0.0, 1.0), 64, 64),)}),
    ],
)
def test_an_edited_part_is_named(part, changed):
    edited = dataclasses.replace(TASK, **changed)
    assert changed_parts(lineage_on(TASK), lineage_on(edited)) == [part]
    assert changed_parts(lineage_on(edited), lineage_on(TASK)) == [part]
    assert changes_since(lineage_on(TASK), edited) == f"{DEFAULT_TASK} has changed since the data was made: its {part}."


@pytest.mark.parametrize("changed", [{}, {"description": "other words"}, {"home": tuple(TASK.home)}, {"subtasks": {}}])
def test_what_changes_no_trial_changes_nothing(changed):
    """Subtasks do; they are in the lineage in full."""
    assert fingerprint(dataclasses.replace(TASK, **changed)) == fingerprint(TASK)


def test_goals_of_different_kinds_with_the_same_fields_differ():
    @dataclasses.dataclass(frozen=True)
    class Push:
        object_name: str
        height: float

    goals: list[Goal] = [Lift("cube_1", 0.1), Push("cube_1", 0.1)]
    assert len({fingerprint(dataclasses.replace(TASK, goal=goal))["goal"] for goal in goals}) == 2


def test_a_field_that_a_later_version_adds_changes_no_hash():
    later = dataclasses.make_dataclass("ResetRange", [("slope", float, 0.0)], bases=(type(TASK.reset),), frozen=True)
    grown = dataclasses.replace(TASK, reset=later(**dataclasses.asdict(TASK.reset)))
    tilted = dataclasses.replace(TASK, reset=later(**dataclasses.asdict(TASK.reset), slope=0.1))
    assert fingerprint(grown) == fingerprint(TASK) != fingerprint(tilted)


def test_data_made_from_data_says_what_it_was_made_on():
    edited = dataclasses.replace(TASK, reset=REACH)
    merged = {"made_by": "mimicctl merge", "inputs": [{"lineage": lineage_on(edited)}, {"lineage": lineage_on(TASK)}, {"file": "x"}]}
    assert "its reset." in changes_since(merged, edited) + changes_since(merged, TASK)
    assert changes_since({"made_by": "mimicctl merge", "inputs": [{"lineage": lineage_on(TASK)}]}, TASK) == ""
    # What stands nearest counts: a file drawn anew on the task of today is of that, whatever it was recorded on.
    assert changes_since(lineage_on(TASK, inputs=[{"lineage": lineage_on(edited)}]), TASK) == ""
    assert changes_since(lineage_on(edited), find_task("MuJoCo-Lift-Cube-Franka-IK-Rel-v0")) == "", "another task did not change"
    assert changes_since({"task": DEFAULT_TASK}, edited) == changes_since({}, edited) == ""


# The commands ---------------------------------------------------------------------------------------------


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """Change fields of the task that `generate` finds."""

    def change(**fields) -> None:
        monkeypatch.setattr(engine, "find_task", lambda task_id: dataclasses.replace(find_task(task_id), **fields))

    return change


def made(path: Path, trials: int = 1, *, resume: bool = False, **settings) -> Path:
    options = GenerateSettings(output_file=str(path), trials=trials, workers=1, num_envs=2, **settings)
    return engine.generate(DEFAULT_TASK, 3, options, None, resume=resume).path


def test_a_run_on_an_edited_task_is_not_resumed(tmp_path, edit):
    path = made(tmp_path / "a.hdf5")
    before = path.read_bytes()
    edit(reset=REACH, objects=HEAVY)
    with pytest.raises(UserError, match="another one: the task's objects, the task's reset changed since") as caught:
        made(path, 2, resume=True)
    assert "change the task back" in caught.value.do and path.read_bytes() == before
    edit()
    with Dataset(made(path, 2, resume=True)) as dataset:
        assert len(dataset) == 2


def test_a_run_from_before_there_were_fingerprints_is_resumed(tmp_path):
    path = made(tmp_path / "a.hdf5")
    with h5py.File(path, "r+") as file:
        lineage = json.loads(file["data"].attrs[LINEAGE_ATTR])
        del lineage["task_spec"]
        file["data"].attrs[LINEAGE_ATTR] = json.dumps(lineage)
    with Dataset(made(path, 2, resume=True)) as dataset:
        assert len(dataset) == 2 and dataset.lineage["task_spec"] == fingerprint(TASK)


def test_shards_of_an_edited_task_are_told_apart(tmp_path, edit):
    first = made(tmp_path / "a.hdf5", 2, shard="0/2", guarantee=False)
    edit(objects=HEAVY)
    second = made(tmp_path / "a.hdf5", 2, shard="1/2", guarantee=False)
    with pytest.raises(UserError, match="not the whole of one run") as caught:
        merge([first, second], tmp_path / "m.hdf5", verify=True)
    assert "the task's objects differ" in caught.value.where


OWN = """import dataclasses
from mimicctl.tasks import TaskSpec, find_task
LIFT = find_task("MuJoCo-Lift-Cube-Franka-IK-Rel-v0")
TASK = dataclasses.replace(LIFT, task_id="MuJoCo-Mine-v0", horizon=300)
"""


def test_a_recording_is_annotated_with_a_note_about_its_task(mimicctl, tmp_path):
    (tmp_path / "tasks").mkdir()
    file = tmp_path / "tasks" / "mine.py"
    file.write_text(OWN)
    recorded = mimicctl("record", "--device", "scripted", "--num-demos", "1", "--task", "MuJoCo-Mine-v0")
    assert recorded.returncode == 0, recorded.stderr
    same = mimicctl("annotate")
    assert same.returncode == 0 and "has changed" not in same.stderr, same.stderr
    file.write_text(OWN.replace("horizon=300", "horizon=400"))
    shutil.rmtree(tmp_path / "tasks" / "__pycache__", ignore_errors=True)
    edited = mimicctl("annotate", "--overwrite")
    assert edited.returncode == 0 and "MuJoCo-Mine-v0 has changed since the data was made: its horizon." in edited.stderr
