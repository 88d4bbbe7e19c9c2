"""Scenes turned about the base: against poses computed another way, and in a simulation that must not notice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mimicctl.tasks import DEFAULT_TASK, find_task
from tests.training.test_chunks import frames_of

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train


def turned_once(layout: str, columns: np.ndarray, monkeypatch, angle: float) -> np.ndarray:
    from mimicctl.training.turning import Turning

    monkeypatch.setattr(torch, "rand", lambda *shape, device=None: torch.ones(*shape))
    return Turning(layout, angle)(torch.from_numpy(columns).float()[None, None])[0, 0].numpy()


def test_vectors_and_quaternions_turn_as_scipy_turns_them(monkeypatch):
    rng = np.random.default_rng(0)
    turn = Rotation.from_euler("z", 0.4)
    vector, number = rng.normal(size=3), rng.normal(size=2)
    orientation = Rotation.from_quat(rng.normal(size=4))
    after = turned_once("v.q.", np.concatenate([vector, number[:1], orientation.as_quat(), number[1:]]), monkeypatch, 0.4)
    np.testing.assert_allclose(after[:3], turn.apply(vector), atol=1e-6)
    np.testing.assert_allclose(Rotation.from_quat(after[4:8]).as_matrix(), (turn * orientation).as_matrix(), atol=1e-6)
    np.testing.assert_allclose(after[[3, 8]], number, atol=1e-6)


@pytest.mark.parametrize("control", ["Rel", "Abs"])
def test_a_turned_scene_is_observed_as_turning_says(monkeypatch, control):
    """The env itself, with the arm and the cubes turned by the base joint's angle."""
    from mimicctl.envs import make_env
    from mimicctl.training.turning import packed_layout

    env = make_env(f"MuJoCo-Stack-Cube-Franka-IK-{control}-v0")
    keys, angle = ["eef_pos", "eef_quat", "gripper_pos", "object", "joint_vel", "gripper_to_cube_yaw"], 0.3

    def look() -> np.ndarray:
        seen = env.observations(env.snapshot())
        return np.concatenate([seen[key][0] for key in keys])

    state = {path: value[0] for path, value in env.scene_state(env.snapshot()).items()}
    before = look()
    turn = Rotation.from_euler("z", angle)
    state["articulation/robot/joint_position"] = state["articulation/robot/joint_position"] + angle * np.eye(9)[0]
    for name in ("cube_1", "cube_2", "cube_3"):
        pose = state[f"rigid_object/{name}/root_pose"]
        state[f"rigid_object/{name}/root_pose"] = np.concatenate([turn.apply(pose[:3]), (turn * Rotation.from_quat(pose[3:])).as_quat()])
    env.reset_to([0], [state])
    widths = {key: value.shape[1] for key, value in env.observations(env.snapshot()).items()}
    layout = packed_layout(env.task.task_id, widths, env.task.action_dim, keys)
    said = turned_once(layout, np.concatenate([before, np.zeros(env.task.action_dim)]), monkeypatch, angle)[: len(before)]
    after = look()
    for row in (said, after):  # a quaternion and its opposite are one orientation
        for start in (3, 12, 19, 26):
            row[start : start + 4] *= np.sign(row[start + np.argmax(np.abs(after[start : start + 4]))])
    np.testing.assert_allclose(said, after, atol=2e-5)


@pytest.mark.parametrize(
    ("task", "keys", "reason"), [("Isaac-Something-v0", ["eef_pos"], "unknown task"), (DEFAULT_TASK, ["eef_pos", "joint_pos"], "a key that does not turn")]
)
def test_what_cannot_be_turned_is_left_as_it_is(task, keys, reason):
    from mimicctl.training.turning import packed_layout

    assert packed_layout(task, {"eef_pos": 3, "joint_pos": 9}, 7, keys) is None, reason


def test_a_dataset_of_other_widths_is_not_turned():
    from mimicctl.training.turning import packed_layout

    assert packed_layout(DEFAULT_TASK, {"eef_pos": 4}, find_task(DEFAULT_TASK).action_dim, ["eef_pos"]) is None


@pytest.mark.parametrize(("control", "prefixes", "step"), [("Rel", (), "vv."), ("Abs", ("",), "vv")])
def test_chunks_turn_as_the_demonstrations_do_that_they_are_written_of(monkeypatch, control, prefixes, step):
    from mimicctl.training.chunks import Chunks
    from mimicctl.training.turning import packed_layout

    task, angle = find_task(f"MuJoCo-Stack-Cube-Franka-IK-{control}-v0"), 0.5
    frames = frames_of(task.task_id, prefixes)
    chunks = Chunks.of(frames, 3, task, turned=True)
    before = chunks.written(frames)
    layout = packed_layout(task.task_id, {}, before.shape[1], [], chunks)
    assert layout == 3 * step
    obs = {key: turned_once("v" if key == "eef_pos" else "q", values, monkeypatch, angle) for key, values in frames.obs.items()}
    turned = chunks.written(dataclasses.replace(frames, obs=obs, actions=turned_once(task.action_layout, frames.actions, monkeypatch, angle)))
    np.testing.assert_allclose(turned, turned_once(layout, before, monkeypatch, angle), atol=1e-4)
    # A network gives no more than 1.
    assert np.abs(turned).max() < 0.96
