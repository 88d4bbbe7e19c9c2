"""Lifting one cube: what counts as lifted, what is observed, and the loop from recording to generation."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.config import GenerateSettings
from mimicctl.envs import make_env
from mimicctl.generation.diagnosis import LOST_GRASP, Verdict, diagnose
from mimicctl.generation.engine import generate

REL, ABS = "MuJoCo-Lift-Cube-Franka-IK-Rel-v0", "MuJoCo-Lift-Cube-Franka-IK-Abs-v0"


@pytest.fixture(scope="module")
def env():
    made = make_env(REL)
    yield made
    made.close()


def in_the_gripper(env, height: float, finger: float = 0.0203) -> np.ndarray:
    """A snapshot with the cube's lower side at `height` [m], the tool point in its middle."""
    env.reset([0], [np.random.SeedSequence(1)])
    snapshot = env.snapshot([0])[0]
    first, start = env.layout.objects["cube"][0], env.model.nq + env.model.nv
    tool = poses.position(env.eef_poses(snapshot)["franka"])
    snapshot[start : start + 3] += (0, 0, height + 0.0203 - tool[2])
    snapshot[first : first + 3] = poses.position(env.eef_poses(snapshot)["franka"])
    snapshot[env.layout.finger_qpos] = finger
    return snapshot


@pytest.mark.parametrize(
    ("height", "finger", "success"),
    [(0.101, 0.0203, True), (0.099, 0.0203, False), (0.101, 0.04, False), (0.101, 0.0, False)],
    ids=["held high", "not high enough", "thrown, gripper open", "gripper closed beside it"],
)
def test_success_is_a_grasped_cube_ten_centimetres_above_the_table(env, height, finger, success):
    assert bool(env.success(in_the_gripper(env, height, finger))) is success
    assert bool(env.signals(in_the_gripper(env, height, finger))["grasp_1"]) is (finger == 0.0203)


def test_the_object_observation_is_its_pose_and_where_it_is_from_the_hand(env):
    snapshot = env.snapshot([0])[0]
    seen = env.observations(snapshot)
    cube = env.object_poses(snapshot)["cube"]
    assert seen["object"].shape == (10,) and seen["gripper_to_cube_yaw"].shape == (2,)
    np.testing.assert_allclose(seen["object"][:3], poses.position(cube), atol=1e-6)
    np.testing.assert_allclose(seen["object"][7:], poses.position(cube) - seen["eef_pos"], atol=1e-6)
    layout = env.task.obs_layout
    assert {key: sum({"v": 3, "q": 4, ".": 1}[part] for part in layout[key]) for key in layout} == {key: seen[key].shape[0] for key in layout}


def test_a_cube_that_slips_is_a_lost_grasp(env):
    held, slipped = in_the_gripper(env, 0.08), in_the_gripper(env, 0.08)
    slipped[env.layout.objects["cube"][0] + 2] = 0.0203
    track = np.stack([in_the_gripper(env, 0.0, finger=0.04), *[held] * 5, *[slipped] * 5])
    assert diagnose(env, track, env.task, success=False) == Verdict({"franka": 1}, LOST_GRASP, "franka")


@pytest.mark.parametrize("task", [REL, ABS])
def test_recording_annotating_and_generating_follow_one_another(mimicctl, task):
    recorded = mimicctl("record", "--device", "scripted", "--task", task, "--num-demos", "2", "--json")
    assert recorded.returncode == 0, recorded.stderr
    assert "lifts cube" in recorded.stderr and "now: lift" in recorded.stderr
    replayed = mimicctl("replay", "--verify")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(mimicctl("annotate", "--json").stdout)["demos"] == 2
    made = json.loads(mimicctl("generate", "--task", task, "--trials", "3", "--workers", "1", "--json").stdout)
    assert made["demos"] == 3 and [row["subtask"] for row in made["funnel"]] == ["grasp", "lift"]


def test_demonstrations_that_come_with_it_make_more(tmp_path):
    made = generate(REL, 5, GenerateSettings(trials=4, workers=1, num_envs=4, output_file=str(tmp_path / "g.hdf5")), None)
    assert made.demos == 4


def test_absolute_control_has_no_demonstrations_of_its_own(mimicctl):
    refused = mimicctl("generate", "--task", ABS, "--trials", "1")
    assert refused.returncode == 2 and "No source demonstrations come with" in refused.stderr


def test_holding_still_at_the_end_is_no_pause(mimicctl):
    recorded = mimicctl("record", "--device", "scripted", "--task", REL, "--num-demos", "3")
    assert recorded.stderr.count("take ") == 3 and "standing still" not in recorded.stderr
