"""Tasks read off the configs of the real Isaac Lab 3.0; nothing is simulated."""

from __future__ import annotations

import importlib.util
import os

import pytest

from mimicctl.config import GenerateSettings
from mimicctl.envs.isaaclab import launch
from mimicctl.errors import UserError
from mimicctl.generation.overrides import settings_for, with_overrides
from mimicctl.tasks import Stack, find_task
from mimicctl.tasks.spec import IsaacLab, OwnSuccess

pytestmark = [
    pytest.mark.isaaclab,
    pytest.mark.skipif(importlib.util.find_spec("isaaclab_tasks") is None or importlib.util.find_spec("warp") is None, reason="Isaac Lab 3 is not installed"),
]


@pytest.fixture(scope="module", autouse=True)
def _assets(asset_root):
    os.environ["ISAACSIM_ASSET_ROOT"] = asset_root


def test_the_stack_is_what_it_is_on_mujoco_but_for_what_the_config_says():
    task, twin = find_task("Isaac-Stack-Cube-Franka-IK-Rel-v0"), find_task("MuJoCo-Stack-Cube-Franka-IK-Rel-v0")
    assert task.task_id == "IsaacContrib-Stack-Cube-Franka-IK-Rel"
    assert (task.control, task.control_hz, task.action_scale, task.horizon) == ("rel", 20.0, 0.5, 600)
    assert task.objects == twin.objects and task.reset == twin.reset and task.goal == twin.goal == Stack(("cube_1", "cube_2", "cube_3"))
    assert [(s.object_ref, s.term_signal, s.term_offset_range) for s in task.subtasks["franka"]] == [
        ("cube_2", "grasp_1", (10, 20)),
        ("cube_1", "stack_1", (10, 20)),
        ("cube_3", "grasp_2", (10, 20)),
        ("cube_2", None, (0, 0)),
    ]
    assert {(s.action_noise, s.contact_noise, s.apply_noise_during_interpolation) for s in task.subtasks["franka"]} == {(0.03, 0.0075, False)}


def test_names_of_either_generation_are_the_same_task():
    assert (
        find_task("IsaacContrib-Stack-Cube-Franka-IK-Rel")
        == find_task("Isaac-Stack-Cube-Franka-IK-Rel-Mimic-v0")
        == find_task("Isaac-Stack-Cube-Franka-IK-Rel-v0")
    )


def test_every_mimic_environment_is_understood():
    found = {name: with_overrides(find_task(name), GenerateSettings()) for name in launch.registry() if name.startswith("Isaac") and "-Mimic" in name}
    assert len(found) >= 17
    pour = found["Isaac-NutPour-GR1T2-Pink-IK-Abs-Mimic-v0"]
    assert pour.eef_names == ("right", "left") and pour.control == "abs" and pour.control_hz == 20.0
    assert [s.term_signal for s in pour.subtasks["right"]] == ["idle_right", "grasp_right", None]
    assert pour.goal == OwnSuccess()
    assert found["Isaac-Locomanipulation-G1-Abs-Mimic-v0"].control_hz == 50.0
    mug = found["Isaac-Place-Mug-Agibot-Left-Arm-RmpFlow-Rel-Mimic-v0"]
    assert mug.control == "rel" and [s.term_offset_range for s in mug.subtasks["agibot"]] == [(15, 30), (0, 0)]


def test_how_segments_are_chosen_is_taken_from_the_config_where_nobody_has_set_it():
    pour, stack = find_task("Isaac-NutPour-GR1T2-Pink-IK-Abs-Mimic-v0"), find_task("Isaac-Stack-Cube-Franka-IK-Rel-v0")
    assert not settings_for(pour, GenerateSettings(trials=5)).select_src_per_subtask
    assert settings_for(stack, GenerateSettings()) == GenerateSettings()
    mine = settings_for(pour, GenerateSettings(select_src_per_subtask=True))
    assert mine.select_src_per_subtask and mine.trials == 1000  # not the config's number of trials


def test_overrides_change_the_config_and_slips_are_refused():
    how = IsaacLab("Isaac-Stack-Cube-Franka-IK-Rel-Mimic-v0", overrides=("env.scene.env_spacing=4.0",))
    assert launch.config_of(how, 1).scene.env_spacing == 4.0
    with pytest.raises(UserError, match='no "env.scene.env_spacin"'):
        launch.config_of(IsaacLab(how.env_id, overrides=("env.scene.env_spacin=4.0",)), 1)
