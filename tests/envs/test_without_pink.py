"""Tasks of humanoids on an install without what moves their arms: listed, and refused with one error where they would run."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest

from mimicctl.envs import make_env
from mimicctl.envs.mujoco.humanoid_goals import signals, success
from mimicctl.envs.mujoco.humanoid_reader import HumanoidReader
from mimicctl.errors import UserError
from mimicctl.tasks import Lift, find_task, list_tasks

HUMANOIDS = [task.task_id for task in list_tasks() if task.is_humanoid]
MISSING = {"pinocchio", "pink", "daqp"}


@pytest.fixture
def without(monkeypatch):
    """As if the libraries were not installed; where they are not, nothing changes."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in MISSING else find(name, *rest))


@pytest.mark.parametrize("task_id", HUMANOIDS)
def test_a_humanoid_s_task_says_what_it_needs_and_how_to_get_it(without, task_id):
    with pytest.raises(UserError) as error:
        make_env(task_id)
    assert task_id in error.value.what and "pin, pin-pink, daqp" in error.value.what and "mimicctl[humanoid]" in error.value.do


def test_tasks_of_humanoids_are_listed_all_the_same(mimicctl):
    listed = mimicctl("tasks", "--json")
    assert listed.returncode == 0 and all(task_id in listed.stdout for task_id in HUMANOIDS)
    assert mimicctl("tasks", "show", HUMANOIDS[0]).returncode == 0


def test_a_goal_that_no_humanoid_knows_is_named():
    task = find_task("MuJoCo-PickPlace-G1-Pink-IK-Abs-v0")
    reader = HumanoidReader.of_states(dataclasses.replace(task, goal=Lift("object", 0.1)))
    for read in (signals, success):
        with pytest.raises(UserError, match="asks for Lift"):
            read(reader, np.zeros(reader.width))


@pytest.mark.skipif(all(importlib.util.find_spec(name) for name in MISSING), reason="Pink is installed")
@pytest.mark.parametrize(
    "command", [("record", "--device", "scripted", "--task"), ("generate", "--trials", "2", "--task"), ("tasks", "check")], ids=["record", "generate", "check"]
)
def test_commands_end_with_that_error(mimicctl, tmp_path, command):
    done = mimicctl(*command, HUMANOIDS[0])
    assert done.returncode == 2 and "mimicctl[humanoid]" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.hdf5"))
