"""Tasks on Isaac Lab, as far as they are known without it."""

from __future__ import annotations

import importlib.util

import pytest

from mimicctl.envs.isaaclab.names import registered_as, stem_of
from mimicctl.errors import UserError
from mimicctl.tasks import canonical_id, on_isaaclab, twin_of

_OF_2 = ("Isaac-Stack-Cube-Franka-IK-Rel-v0", "Isaac-Stack-Cube-Franka-IK-Rel-Mimic-v0", "Isaac-Reach-Franka-v0", "CartPole-v1")
_OF_3 = (
    "IsaacContrib-Stack-Cube-Franka-IK-Rel",
    "Isaac-Stack-Cube-Franka-IK-Rel-Mimic-v0",
    "IsaacContrib-Stack-Cube-Bin-Franka-IK-Rel-Mimic",
    "Isaac-Reach-Franka",
)
_ALL_NAMES = (
    "Isaac-Stack-Cube-Franka-IK-Rel-v0",
    "Isaac-Stack-Cube-Franka-IK-Rel-Mimic-v0",
    "IsaacContrib-Stack-Cube-Franka-IK-Rel",
    "isaaclab_tasks:Isaac-Stack-Cube-Franka-IK-Rel-v0",
)


@pytest.mark.parametrize("asked", _ALL_NAMES)
def test_a_task_is_found_by_its_names_of_either_generation(asked):
    assert registered_as(asked, _OF_2) == ("Isaac-Stack-Cube-Franka-IK-Rel-v0", "Isaac-Stack-Cube-Franka-IK-Rel-Mimic-v0")
    assert registered_as(asked, _OF_3) == ("IsaacContrib-Stack-Cube-Franka-IK-Rel", "Isaac-Stack-Cube-Franka-IK-Rel-Mimic-v0")
    assert canonical_id(asked) == "Isaac-Stack-Cube-Franka-IK-Rel-v0"
    assert on_isaaclab(asked)
    assert twin_of(asked).task_id == "MuJoCo-Stack-Cube-Franka-IK-Rel-v0"


def test_a_task_that_has_only_a_mimic_environment_goes_by_that():
    assert registered_as("Isaac-Stack-Cube-Bin-Franka-IK-Rel-Mimic-v0", _OF_3) == ("IsaacContrib-Stack-Cube-Bin-Franka-IK-Rel-Mimic",) * 2


def test_a_mistyped_task_is_told_the_nearest_one():
    with pytest.raises(UserError, match='no task "Isaac-Stak-Cube-Franka-IK-Rel-v0"') as refusal:
        registered_as("Isaac-Stak-Cube-Franka-IK-Rel-v0", _OF_3)
    assert refusal.value.do == "did you mean Isaac-Stack-Cube-Franka-IK-Rel-Mimic-v0?"


def test_a_task_without_a_mimic_environment_is_refused():
    with pytest.raises(UserError, match='Isaac Lab has "Isaac-Reach-Franka", but no Mimic environment of it'):
        registered_as("Isaac-Reach-Franka-v0", _OF_3)


def test_stems_of_different_tasks_differ():
    assert stem_of("Isaac-Stack-Cube-Franka-IK-Abs-v0") != stem_of("Isaac-Stack-Cube-Franka-IK-Rel-v0")
    assert stem_of("MuJoCo-Stack-Cube-Franka-IK-Rel-v0") != stem_of("Isaac-Stack-Cube-Franka-IK-Rel-v0")


@pytest.mark.skipif(importlib.util.find_spec("isaaclab") is not None, reason="Isaac Lab is installed")
@pytest.mark.parametrize(
    "command", [("generate",), ("record", "--device", "scripted"), ("tasks", "show", "Isaac-Stack-Cube-Franka-IK-Rel-v0")], ids=lambda c: c[0]
)
def test_without_isaaclab_its_tasks_say_how_to_install_it(mimicctl, command):
    arguments = command if command[0] == "tasks" else (*command, "--task", "Isaac-Stack-Cube-Franka-IK-Rel-v0")
    refused = mimicctl(*arguments)
    assert refused.returncode == 2
    assert "not installed" in refused.stderr and "pip install isaaclab==3.0.0" in refused.stderr


@pytest.mark.parametrize("flag", [("--physics", "ovphysx"), ("--sim-device", "cuda:0"), ("--visualizer", "rerun")], ids=lambda f: f[0])
def test_flags_of_isaaclab_are_refused_for_other_tasks(mimicctl, flag):
    refused = mimicctl("generate", "--trials", "1", *flag)
    assert refused.returncode == 2
    assert "MuJoCo-Stack-Cube-Franka-IK-Rel-v0 runs on MuJoCo" in refused.stderr


def test_what_isaaclabs_flags_say_of_mujoco_anyway_is_taken(mimicctl):
    made = mimicctl("generate", "--trials", "1", "--workers", "1", "--device", "cpu", "--headless", "--json")
    assert made.returncode == 0, made.stderr


def test_windows_are_wanted_or_not(mimicctl):
    refused = mimicctl("generate", "--task", "Isaac-Stack-Cube-Franka-IK-Rel-v0", "--headless", "--visualizer", "rerun")
    assert refused.returncode == 2
    assert "--headless asks for no windows" in refused.stderr
