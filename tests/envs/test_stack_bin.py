"""The stack in a bin: where things start, what is observed, and the loop from recording to generation."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.config import GenerateSettings
from mimicctl.envs import make_env
from mimicctl.generation.engine import generate
from mimicctl.tasks import DEFAULT_TASK, twin_of

TASK = "MuJoCo-Stack-Cube-Bin-Franka-IK-Rel-v0"


@pytest.fixture(scope="module")
def env():
    made = make_env(TASK)
    yield made
    made.close()


def test_the_blue_cube_starts_in_the_bin_and_the_others_beyond_it(env):
    for seed in range(30):
        env.reset([0], [np.random.SeedSequence(seed)])
        snapshot = env.snapshot([0])[0]
        places = {name: poses.position(pose) for name, pose in env.object_poses(snapshot).items()}
        np.testing.assert_allclose(places["cube_1"], (0.4, 0.0, 0.004 + 0.0203), atol=1e-6)
        assert all(0.65 <= places[name][0] <= 0.70 and abs(places[name][1]) <= 0.18 for name in ("cube_2", "cube_3"))
        assert np.linalg.norm(places["cube_2"] - places["cube_3"]) > 0.1
        assert not env.success(snapshot) and not any(env.signals(snapshot).values())


def test_the_walls_stop_a_cube(env):
    """The blue cube, thrown at the bin's wall, stays inside."""
    env.reset([0], [np.random.SeedSequence(1)])
    state = {key: value[0].copy() for key, value in env.scene_state(env.snapshot([0])).items()}
    state["rigid_object/cube_1/root_velocity"][0] = 0.5
    env.reset_to([0], [state])
    still = env.command_to_action(env.snapshot([0])[0], {"franka": np.zeros(6)}, {"franka": 1.0})
    for _ in range(40):
        env.step(still[None])
    moved = poses.position(env.object_poses(env.snapshot([0])[0])["cube_1"]) - poses.position(env.object_poses(env.snapshot([0])[0])["bin"])
    assert 0.01 < moved[0] < 0.09 - 0.004 - 0.0203 + 0.001


def test_observations_are_those_of_the_stack_on_the_table(env):
    other = make_env(DEFAULT_TASK)
    env.reset([0], [np.random.SeedSequence(1)])
    mine, theirs = (made.observations(made.snapshot([0])[0]) for made in (env, other))
    other.close()
    assert {key: value.shape for key, value in mine.items()} == {key: value.shape for key, value in theirs.items()}
    np.testing.assert_allclose(mine["cube_positions"][:3], (0.4, 0.0, 0.0243), atol=1e-5)


def test_isaac_labs_ids_are_read_as_this_task():
    assert {twin_of(name).task_id for name in ("Isaac-Stack-Cube-Bin-Franka-IK-Rel-Mimic-v0", "IsaacContrib-Stack-Cube-Bin-Franka-IK-Rel-Mimic")} == {TASK}


def test_recording_replaying_and_annotating_follow_one_another(mimicctl):
    recorded = mimicctl("record", "--device", "scripted", "--task", TASK, "--num-demos", "1", "--json")
    assert recorded.returncode == 0, recorded.stderr
    replayed = mimicctl("replay", "--verify")
    assert replayed.returncode == 0, replayed.stderr
    (demo,) = json.loads(mimicctl("annotate", "--json").stdout)["found"]
    rises = list(demo["rises"].values())
    assert list(demo["rises"]) == ["grasp_1", "stack_1", "grasp_2"] and rises == sorted(rises)


def test_demonstrations_that_come_with_it_make_more(tmp_path):
    made = generate(TASK, 5, GenerateSettings(trials=3, workers=1, num_envs=3, output_file=str(tmp_path / "g.hdf5")), None)
    assert made.demos == 3
