"""What training learns from: the actions meant before noise, and observations of ours, where demos have them."""

from __future__ import annotations

import numpy as np
import pytest

from mimicctl.config import TrainSettings
from mimicctl.dataset.check import check
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import UserError
from mimicctl.schema import INTENDED_ACTIONS
from mimicctl.training.choosing import choose_recipe
from mimicctl.training.loader import check_demos, load_frames
from tests import foreign
from tests.episodes import make_episode


@pytest.fixture
def mixed(tmp_path):
    """A recorded demo, and a generated one."""
    path = tmp_path / "mixed.hdf5"
    with DatasetWriter(path, task_id="t", lineage={}) as writer:
        writer.write(make_episode(0))
        generated = make_episode(1)
        writer.write(make_episode(1, intended_actions=generated.actions / 2))
    return path


def test_intended_actions_are_the_labels_where_there_are_any(mixed):
    with Dataset(mixed) as dataset:
        frames = load_frames(dataset, dataset.demos, ["eef_pos"], INTENDED_ACTIONS)
        done = load_frames(dataset, dataset.demos, ["eef_pos"], "actions")
    recorded, generated = make_episode(0).actions, make_episode(1).actions
    np.testing.assert_array_equal(frames.actions, np.concatenate([recorded, generated / 2]))
    np.testing.assert_array_equal(done.actions, np.concatenate([recorded, generated]))


def test_quaternions_of_isaac_lab_2_are_learnt_from_as_the_policy_will_see_them(tmp_path):
    old, new = (foreign.isaaclab(tmp_path / f"{generation}.hdf5", generation) for generation in (2, 3))
    frames = []
    for path in (old, new):
        with Dataset(path) as dataset:
            frames.append(load_frames(dataset, dataset.demos, ["eef_quat", "cube_orientations", "object", "eef_pos"]))
    for key, values in frames[1].obs.items():
        assert np.array_equal(frames[0].obs[key], values)


def test_the_file_gives_back_what_was_intended(mixed):
    with Dataset(mixed) as dataset:
        np.testing.assert_array_equal(dataset.episode("demo_1").intended_actions, make_episode(1).actions / 2)
        assert not dataset.episode("demo_0").intended_actions.size


def test_recorded_and_generated_demos_may_share_a_file(mixed):
    with Dataset(mixed) as dataset:
        assert not [finding for finding in check(dataset) if finding.key == INTENDED_ACTIONS]


def test_intended_actions_of_another_shape_are_refused(tmp_path):
    path = tmp_path / "bad.hdf5"
    with DatasetWriter(path, task_id="t", lineage={}) as writer:
        writer.write(make_episode(0, intended_actions=np.zeros((3, 7), np.float32)))
    with Dataset(path) as dataset, pytest.raises(UserError, match=r"intended_actions of demo_0 is \(3, 7\)"):
        check_demos(dataset, dataset.demos, ["eef_pos"])


@pytest.mark.parametrize("present", [True, False])
def test_an_observation_that_other_simulators_lack_is_used_where_it_is(tmp_path, present):
    episode = make_episode(0)
    if present:
        episode.obs["gripper_to_cube_yaw"] = np.zeros((len(episode.actions), 6), np.float32)
    with DatasetWriter(tmp_path / "a.hdf5", task_id="t", lineage={}) as writer:
        writer.write(episode)
    recipe = choose_recipe(TrainSettings(), tmp_path / "a.hdf5")
    assert recipe.name == "mlp" and ("gripper_to_cube_yaw" in recipe.obs_keys) is present and "object" in recipe.obs_keys
