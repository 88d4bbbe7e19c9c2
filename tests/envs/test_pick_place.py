"""A humanoid that puts a steering wheel in a bin, from recording to generation."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from mimicctl.cli.generate import outcome_of
from mimicctl.config import GenerateSettings, TrainSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.envs import make_env
from mimicctl.envs.mujoco.humanoids import BODIES
from mimicctl.envs.replay import by_actions, divergence
from mimicctl.generation.diagnosis import TIMEOUT, diagnose
from mimicctl.generation.engine import generate
from mimicctl.generation.report import summarise
from mimicctl.tasks import find_task
from mimicctl.training.choosing import choose_recipe

pytestmark = pytest.mark.humanoid

ID = "MuJoCo-PickPlace-G1-Pink-IK-Abs-v0"
TASK = find_task(ID)


@pytest.fixture(scope="module")
def env():
    made = make_env(TASK)
    yield made
    made.close()


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    settings = GenerateSettings(trials=4, workers=1, num_envs=2, guarantee=False, output_file=str(tmp_path_factory.mktemp("made") / "g.hdf5"))
    return generate(ID, 3, settings, None)


def test_demonstrations_that_come_with_it_replay_exactly(env):
    with resources.as_file(resources.files("mimicctl") / "data" / TASK.source_demos) as path, Dataset(Path(path)) as dataset:
        assert dataset.task_id == ID and len(dataset.demos) == 10
        for name, episode in list(dataset.episodes())[:3]:
            snapshots = np.stack(list(by_actions(env, episode)))
            assert divergence(env, episode, snapshots, 1e-9).step is None, name
            signals = {key: int(np.argmax(env.signals(snapshots)[key])) for key in ("idle_right", "grasp_right")}
            assert env.success(snapshots[-1]) and 0 < signals["idle_right"] < signals["grasp_right"]


def test_they_make_more_the_same_however_the_work_is_spread(generated, tmp_path):
    settings = GenerateSettings(trials=4, workers=2, num_envs=1, guarantee=False, output_file=str(tmp_path / "g.hdf5"))
    again = generate(ID, 3, settings, None)
    assert generated.demos >= 2
    with Dataset(generated.path) as one, Dataset(again.path) as other:
        assert one.content_hash() == other.content_hash() and one.attempts() == other.attempts()
    # Actions go beyond what robomimic's mixture can give; those of chunks are scaled.
    recipe = choose_recipe(TrainSettings(), generated.path)
    assert recipe.name == "mlp-humanoid" and recipe.chunk
    with Dataset(generated.path) as dataset:
        assert np.abs(dataset.episode(dataset.demos[0]).actions).max() > 1


@pytest.mark.train
def test_a_policy_asks_nothing_of_a_hand_that_rests_whatever_it_sees(generated, tmp_path, monkeypatch):
    from mimicctl.training.policy import Policy
    from mimicctl.training.recipes import RECIPES
    from mimicctl.training.trainer import train

    monkeypatch.setitem(RECIPES, "mlp-humanoid", dataclasses.replace(RECIPES["mlp-humanoid"], steps_per_epoch=10))
    made = train(generated.path, TrainSettings(log_dir=str(tmp_path), epochs=1), seed=1)
    with Dataset(generated.path) as dataset:
        episode = dataset.episode(dataset.demos[0])
    left, right = (14 + BODIES[TASK.robot].columns_of(eef) for eef in ("left", "right"))
    policy = Policy(made.best)
    policy.start(1)
    rng = np.random.default_rng(0)
    for step in range(0, 12, 4):
        # Fingers that have moved by half a radian, as they never do in the demonstrations.
        seen = {key: values[step][None] + (rng.uniform(-0.5, 0.5, values.shape[1:]) if key == "hand_joint_state" else 0) for key, values in episode.obs.items()}
        for _ in range(4):
            action = policy.act(seen, [0])[0]
            np.testing.assert_allclose(action[left], episode.actions[0, left], atol=1e-4)
            assert (action[right] > episode.actions[:, right].min() - 0.2).all() and (action[right] < episode.actions[:, right].max() + 0.2).all()
            assert np.linalg.norm(action[:3] - seen["left_eef_pos"][0]) < 0.1


def test_the_report_counts_steps_in_which_the_arms_were_held(generated):
    with Dataset(generated.path) as dataset:
        attempts = dataset.attempts()
    assert summarise(TASK, attempts).arms_held == 0 and "arms held" not in dict(outcome_of(generated, 1.0).facts)
    report = summarise(TASK, [{**attempts[0], "arms_held": 3}, *attempts[1:]])
    assert report.as_dict()["arms_held"] == 3
    assert dict(outcome_of(dataclasses.replace(generated, report=report), 1.0).facts)["arms held"].startswith("in 3 of ")


def test_a_trial_whose_actions_are_no_poses_says_how_often_the_arms_were_held(env, monkeypatch, tmp_path):
    noisy = type(env).noisy_actions

    def broken(self, actions, noise):
        return np.concatenate([np.zeros((len(actions), 14), np.float32), noisy(self, actions, noise)[:, 14:]], axis=1)

    monkeypatch.setattr(type(env), "noisy_actions", broken)
    settings = GenerateSettings(trials=1, workers=1, guarantee=False, output_file=str(tmp_path / "g.hdf5"))
    report = generate(ID, 3, settings, None).report
    assert report.successes == 0 and report.arms_held == report.steps > 0


def test_a_wheel_that_still_rocks_in_the_bin_is_the_fault_of_the_hand_that_placed_it(env):
    with resources.as_file(resources.files("mimicctl") / "data" / TASK.source_demos) as path, Dataset(Path(path)) as dataset:
        snapshots = np.stack(list(by_actions(env, dataset.episode(dataset.demos[0]))))
    verdict = diagnose(env, snapshots[: 1 + np.argmax(env.success(snapshots))], TASK, False)
    assert (verdict.eef, verdict.reached["right"], verdict.reason) == ("right", 2, TIMEOUT)


def test_recording_annotating_and_checking_follow_one_another(mimicctl):
    recorded = mimicctl("record", "--device", "scripted", "--task", ID, "--num-demos", "1", "--seed", "41", "--json")
    assert recorded.returncode == 0, recorded.stderr
    assert json.loads(mimicctl("annotate", "--json").stdout)["demos"] == 1
    checked = mimicctl("dataset", "check", "datasets/annotated.hdf5", "--json")
    assert checked.returncode == 0, checked.stdout
