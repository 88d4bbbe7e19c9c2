"""Files go both ways between mimicctl and Isaac Lab 3.0's own recorder, file handler and reset."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from mimicctl.dataset.reader import Dataset
from mimicctl.envs import make_env
from mimicctl.evaluation.rollouts import roll_out
from mimicctl.tasks import find_task
from tests.isaaclab.conftest import TASK

pytestmark = [
    pytest.mark.isaaclab,
    pytest.mark.skipif(importlib.util.find_spec("ovphysx") is None, reason="Isaac Lab 3 with OvPhysX is not installed (nox -s isaaclab)"),
]


def test_isaaclab_repeats_what_was_recorded(repeated, recording):
    succeeded, path = repeated
    assert succeeded == {"demo_0": True, "demo_1": True}
    with Dataset(path) as theirs, Dataset(recording) as ours:
        for name in succeeded:
            again, first = theirs.episode(name), ours.episode(name)
            np.testing.assert_array_equal(again.actions, first.actions)
            assert set(again.states) == set(first.states) and set(again.obs) == set(first.obs) - {"gripper_to_cube_yaw"}  # ours
            for cube in ("cube_1", "cube_2", "cube_3"):
                path = f"rigid_object/{cube}/root_pose"
                np.testing.assert_allclose(again.initial_state[path], first.initial_state[path], atol=1e-5)
                np.testing.assert_allclose(again.states[path][-1, :3], first.states[path][-1, :3], atol=0.005)


def test_what_isaaclab_recorded_is_sound(isaac, repeated):
    found, _ = isaac("dataset", "check", repeated[1].name, "--json")
    assert found["errors"] == 0


def test_what_isaaclab_recorded_is_annotated_and_repeats(isaac, folder, repeated):
    made, said = isaac("annotate", "--task", TASK, "--input-file", repeated[1].name, "--output-file", "theirs.hdf5", "--json")
    assert made["demos"] == 2 and "Isaac Lab 3.x file, not annotated; quaternions xyzw" in said
    with Dataset(folder / "theirs.hdf5") as dataset:
        for _, episode in dataset.episodes():
            ends = [int(np.argmax(episode.datagen_info[f"subtask_term_signals/{name}"])) for name in ("grasp_1", "stack_1", "grasp_2")]
            assert 0 < ends[0] < ends[1] < ends[2] < len(episode)
    played, _ = isaac("replay", repeated[1].name, "--task", TASK, "--verify", "--tolerance", "0.005", "--json")
    assert [demo["success"] for demo in played["demos"]] == [True, True]


class _Recorded:
    """Plays demos instead of acting: rollout i begins where demo i did, and does what it did."""

    def __init__(self, env, episodes) -> None:
        self._env, self._episodes = env, episodes

    def start(self, rows: int) -> None: ...

    def restart(self, row: int, episode: int) -> None:
        self._env.reset_to([row], [self._episodes[episode].initial_state])
        self._left = iter(self._episodes[episode].actions)

    def act(self, observations, rows):
        return next(self._left)[None]


def test_rollouts_of_recorded_actions_succeed(recording, asset_root, monkeypatch):
    monkeypatch.setenv("ISAACSIM_ASSET_ROOT", asset_root)
    with Dataset(recording) as dataset:
        episodes = [episode for _, episode in dataset.episodes()]
    env = make_env(find_task(TASK), 1)
    rolled = [rollout for rollout, _ in roll_out(env, _Recorded(env, episodes), iter(range(2)), horizon=min(map(len, episodes)), seed=1)]
    short = int(np.argmin([len(episode) for episode in episodes]))
    # The other one is cut off before its end, so success is not just what every rollout says.
    assert [rollout.success for rollout in rolled] == [i == short for i in range(2)]
    assert rolled[short].reached == {"franka": 3}
