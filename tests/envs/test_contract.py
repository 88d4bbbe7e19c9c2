"""What every backend promises: the same assertions on MuJoCo and on the real Isaac Lab."""

from __future__ import annotations

import dataclasses
import importlib.util
import os

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.envs import make_env
from mimicctl.envs.base import held_for
from mimicctl.tasks import find_task

_OPEN, _CLOSE = 1.0, -1.0
_RED, _BLUE, _GREEN = "cube_2", "cube_1", "cube_3"


def _isaaclab(request):
    physics = request.param
    if importlib.util.find_spec("isaaclab") is None or importlib.util.find_spec(physics) is None:
        pytest.skip(f"Isaac Lab 3 with {physics} is not installed (nox -s isaaclab)")
    os.environ["ISAACSIM_ASSET_ROOT"] = request.getfixturevalue("asset_root")
    task = find_task("Isaac-Stack-Cube-Franka-IK-Rel-v0")
    return make_env(dataclasses.replace(task, isaaclab=dataclasses.replace(task.isaaclab, physics=physics)), 2)


@pytest.fixture(scope="module", params=["mujoco", *(pytest.param(physics, marks=pytest.mark.isaaclab) for physics in ("ovphysx", "newton"))])
def env(request):
    made = make_env("MuJoCo-Stack-Cube-Franka-IK-Rel-v0", 2) if request.param == "mujoco" else _isaaclab(request)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _fresh(env):
    env.reset([0, 1], [np.random.SeedSequence(i) for i in (1, 2)])


def _start_of(env, env_id: int) -> dict[str, np.ndarray]:
    return {path: values[0] for path, values in env.scene_state(env.snapshot([env_id])).items()}


def _close_to(state, other, tolerance: float) -> bool:
    places = ("root_pose", "joint_position")
    return all(np.allclose(state[path], other[path], atol=tolerance) for path in state if path.endswith(places))


def _hold(env, steps: int, gripper: float) -> None:
    for _ in range(steps):
        eefs = env.eef_poses(env.snapshot())
        env.step(env.target_poses_to_actions(eefs, eefs, {"franka": np.full((2, 1), gripper)}))


def _with(state, **places) -> dict[str, np.ndarray]:
    """The state with cubes put elsewhere (x, y, z), unturned and at rest."""
    moved = dict(state)
    for name, place in places.items():
        moved[f"rigid_object/{name}/root_pose"] = np.array([*place, 0, 0, 0, 1], np.float32)
        moved[f"rigid_object/{name}/root_velocity"] = np.zeros(6, np.float32)
    return moved


# Start states ------------------------------------------------------------------------------------------------


def test_a_start_state_depends_on_its_seed_alone(env):
    first = _start_of(env, 0)
    env.reset([1, 0], [np.random.SeedSequence(1), np.random.SeedSequence(3)])
    assert _close_to(_start_of(env, 1), first, 1e-5)
    assert not _close_to(_start_of(env, 0), first, 1e-3)


def test_start_states_are_within_the_range_that_the_task_says(env):
    spec = env.task.reset
    for seed in range(8):
        env.reset([0], [np.random.SeedSequence(seed)])
        places = [poses.position(pose) for pose in env.object_poses(env.snapshot([0])[0]).values()]
        for place in places:
            assert spec.x[0] - 1e-4 <= place[0] <= spec.x[1] + 1e-4
            assert spec.y[0] - 1e-4 <= place[1] <= spec.y[1] + 1e-4
        apart = [np.linalg.norm(a - b) for i, a in enumerate(places) for b in places[:i]]
        assert min(apart) > spec.min_separation


def test_resetting_one_env_leaves_the_other_alone(env):
    _hold(env, 3, _CLOSE)
    before = env.scene_state(env.snapshot([1]))
    env.reset([0], [np.random.SeedSequence(9)])
    after = env.scene_state(env.snapshot([1]))
    for path, values in before.items():
        np.testing.assert_allclose(after[path], values, atol=1e-6, err_msg=path)


def test_a_recorded_state_is_restored_in_another_env(env):
    _hold(env, 5, _CLOSE)
    recorded = _start_of(env, 0)
    env.reset_to([1], [recorded])
    assert _close_to(_start_of(env, 1), recorded, 1e-5)
    eefs = env.eef_poses(env.snapshot())["franka"]
    np.testing.assert_allclose(eefs[1], eefs[0], atol=1e-4)


def test_set_state_continues_as_before(env):
    _hold(env, 4, _CLOSE)
    state = env.get_state([0])
    actions = np.zeros((6, 1, 7), np.float32)
    actions[:, 0, :3], actions[:, 0, -1] = 0.03, _CLOSE
    ends = []
    for _ in range(2):
        env.set_state([0], state)
        for action in actions:
            env.step(action, [0])
        ends.append(_start_of(env, 0))
    assert _close_to(ends[1], ends[0], 1e-4)


# Actions -------------------------------------------------------------------------------------------------------


def test_an_action_found_for_a_target_means_that_target(env):
    rng = np.random.default_rng(0)
    eefs = env.eef_poses(env.snapshot())
    targets = {"franka": poses.apply_delta(eefs["franka"], rng.uniform(-0.1, 0.1, (2, 6)))}
    actions = env.target_poses_to_actions(eefs, targets, {"franka": np.array([[_OPEN], [_CLOSE]])})
    assert actions.shape == (2, 7) and actions.dtype == np.float32
    np.testing.assert_allclose(env.actions_to_target_poses(eefs, actions)["franka"], targets["franka"], atol=1e-5)
    np.testing.assert_array_equal(env.gripper_actions(actions)["franka"], [[_OPEN], [_CLOSE]])


def test_poses_and_actions_of_a_whole_episode_are_understood_at_once(env):
    poses_then = np.repeat(env.eef_poses(env.snapshot())["franka"][:1], 5, axis=0)
    poses_then[:, 0, 3] += np.linspace(0, 0.2, 5)
    actions = np.tile(np.array([0.01, 0.02, 0.03, 0, 0, 0, _OPEN], np.float32), (5, 1))
    targets = env.actions_to_target_poses({"franka": poses_then}, actions)["franka"]
    np.testing.assert_allclose(poses.position(targets) - poses.position(poses_then), np.tile([0.01, 0.02, 0.03], (5, 1)), atol=1e-5)


def test_driving_to_a_target_gets_there(env):
    goal = {"franka": poses.apply_delta(env.eef_poses(env.snapshot())["franka"], np.array([0.05, 0.03, 0.06, 0, 0, 0.2]))}
    for _ in range(30):
        eefs = env.eef_poses(env.snapshot())
        env.step(env.target_poses_to_actions(eefs, goal, {"franka": np.full((2, 1), _OPEN)}))
    off = env.eef_poses(env.snapshot())["franka"]
    assert np.linalg.norm(poses.position(off) - poses.position(goal["franka"]), axis=-1).max() < 0.005
    assert poses.rotation_angle(poses.rotation(off), poses.rotation(goal["franka"])).max() < 0.03


def test_an_env_that_is_not_stepped_holds_still(env):
    before = env.eef_poses(env.snapshot([1]))["franka"]
    action = np.array([[0.05, 0, 0, 0, 0, 0, _OPEN]], np.float32)
    for _ in range(10):
        env.step(action, [0])
    assert np.linalg.norm(poses.position(env.eef_poses(env.snapshot([1]))["franka"]) - poses.position(before)) < 0.003


def test_noise_stays_within_the_limits_of_an_action(env):
    actions = np.zeros((2, 7), np.float32)
    noisy = env.noisy_actions(actions, {"franka": np.full((2, 6), 5.0)})
    assert np.abs(noisy).max() <= 1.0
    np.testing.assert_array_equal(noisy[:, -1], actions[:, -1])


def test_a_command_is_an_action_of_the_same_size(env):
    delta = np.array([0.02, -0.01, 0.03, 0.0, 0.0, 0.05])
    action = env.command_to_action(env.snapshot([0])[0], {"franka": delta}, {"franka": _CLOSE})
    np.testing.assert_allclose(action, [*delta, _CLOSE], atol=1e-5)


def test_the_gripper_closes_and_opens(env):
    _hold(env, 15, _CLOSE)
    assert env.gripper_opening(env.snapshot())["franka"].max() < 0.002
    _hold(env, 15, _OPEN)
    assert env.gripper_opening(env.snapshot())["franka"].min() > 0.039


# What the task says of itself --------------------------------------------------------------------------------------


def test_signals_tell_a_grasp(env):
    eef = env.eef_poses(env.snapshot([0]))["franka"][0]
    assert set(env.signals(env.snapshot())) == set(env.task.term_signals)
    assert not env.signals(env.snapshot([0]))["grasp_1"][0]
    held = _with(_start_of(env, 0), **{_RED: poses.position(eef)})
    held["articulation/robot/joint_position"] = np.array([*held["articulation/robot/joint_position"][:7], *[env.task.object(_RED).edge / 2] * 2], np.float32)
    env.reset_to([0], [held])
    assert env.signals(env.snapshot([0]))["grasp_1"][0]


def test_success_tells_a_stack_that_stands(env):
    start = _start_of(env, 0)
    assert not env.success(env.snapshot([0]))[0]
    edge = env.task.object(_BLUE).edge
    stacked = _with(start, **{_BLUE: (0.45, 0.15, edge / 2), _RED: (0.45, 0.15, 1.5 * edge), _GREEN: (0.45, 0.15, 2.5 * edge)})
    env.reset_to([0], [stacked])
    seen = []
    for _ in range(env.task.success_hold_steps + 15):
        env.step(np.array([[0, 0, 0, 0, 0, 0, _OPEN]], np.float32), [0])
        seen.append(bool(env.success(env.snapshot([0]))[0]))
    assert held_for(np.array(seen)) >= env.task.success_hold_steps


def test_how_far_each_cube_is_turned_in_the_hand_is_observed(env):
    # A policy learnt on one simulator reads it on the other.
    rows = env.snapshot()
    seen, hand = env.observations(rows)["gripper_to_cube_yaw"], poses.rotation(env.eef_poses(rows)["franka"])
    for column, cube in enumerate(("cube_1", "cube_2", "cube_3")):
        turned = np.swapaxes(hand, -1, -2) @ poses.rotation(env.object_poses(rows)[cube])
        quarter = 4 * np.arctan2(turned[:, 1, 0], turned[:, 0, 0])
        np.testing.assert_allclose(seen[:, 2 * column : 2 * column + 2], np.stack([np.cos(quarter), np.sin(quarter)], axis=-1), atol=1e-4)


def test_a_snapshot_reads_the_same_alone_and_among_others(env):
    many = np.stack([env.snapshot(), env.snapshot()])  # (2, 2, K)
    alone = env.snapshot([1])[0]
    for read in (env.eef_poses, env.object_poses, env.signals, env.observations, env.scene_state, env.gripper_opening):
        for name, values in read(many).items():
            np.testing.assert_array_equal(values[1, 1], read(alone)[name], err_msg=f"{read.__name__} {name}")
    assert env.success(many).shape == (2, 2)


def test_an_episode_has_what_the_layout_asks_for(env):
    snapshots, actions = [env.snapshot([0])[0]], []
    for _ in range(4):
        actions.append(np.array([0.01, 0, 0, 0, 0, 0, _OPEN], np.float32))
        env.step(actions[-1][None], [0])
        snapshots.append(env.snapshot([0])[0])
    episode = env.episode(np.stack(snapshots), np.stack(actions), with_datagen_info=True)
    assert len(episode) == 4
    assert {"eef_pos", "eef_quat", "gripper_pos", "object", "joint_pos", "joint_vel", "actions"} <= set(episode.obs)
    assert {path: value.shape[0] for path, value in episode.initial_state.items()} == dict.fromkeys(episode.states, 1)
    assert all(len(value) == 4 and value.dtype in (np.float32, bool) for value in (*episode.obs.values(), *episode.datagen_info.values()))
    wanted = {"eef_pose/franka", "target_eef_pose/franka", *(f"object_pose/{o.name}" for o in env.task.objects)}
    assert wanted | {f"subtask_term_signals/{s}" for s in env.task.term_signals} == set(episode.datagen_info)
    np.testing.assert_allclose(episode.obs["actions"][1:], np.stack(actions)[:-1], atol=1e-6)
    assert episode.processed_actions.shape == (4, 8)
    np.testing.assert_allclose(np.linalg.norm(episode.obs["eef_quat"], axis=-1), 1.0, atol=1e-4)
    np.testing.assert_allclose(episode.initial_state["articulation/robot/root_pose"][0, 3:], [0, 0, 0, 1], atol=1e-4)  # xyzw
