"""The MuJoCo stack keeps its promises: determinism, exact state, the layout of Isaac Lab's task."""

from __future__ import annotations

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.envs import make_env
from mimicctl.errors import UserError
from mimicctl.tasks import find_task, list_tasks

REL = "MuJoCo-Stack-Cube-Franka-IK-Rel-v0"
ABS = "MuJoCo-Stack-Cube-Franka-IK-Abs-v0"
ARMS = [task.task_id for task in list_tasks() if task.robot == "franka"]


def seeds(n: int, seed: int = 0) -> list[np.random.SeedSequence]:
    return [np.random.SeedSequence(seed, spawn_key=(i,)) for i in range(n)]


def wiggle(steps: int, n: int, dim: int = 7) -> np.ndarray:
    actions = np.random.default_rng(1).normal(0, 0.05, (steps, n, dim)).astype(np.float32)
    actions[..., -1] = np.where(np.arange(steps)[:, None] % 20 < 10, 1, -1)
    return actions


def test_every_env_of_a_batch_moves_as_it_would_alone():
    batch, alone = make_env(REL, 5), make_env(REL, 1)
    batch.reset(range(5), seeds(5))
    alone.reset([0], [seeds(5)[3]])
    for actions in wiggle(60, 5):
        batch.step(actions)
        alone.step(actions[3:4])
    assert np.array_equal(batch.snapshot([3])[0], alone.snapshot()[0])


def test_state_set_again_continues_bit_for_bit():
    env = make_env(REL, 2)
    env.reset(range(2), seeds(2))
    actions = wiggle(80, 2)
    for action in actions[:40]:
        env.step(action)
    state = env.get_state([0, 1])
    for action in actions[40:]:
        env.step(action)
    end = env.snapshot()
    env.reset(range(2), seeds(2, seed=9))
    env.set_state([0, 1], state)
    for action in actions[40:]:
        env.step(action)
    assert np.array_equal(env.snapshot(), end)


def test_an_episode_replays_bit_for_bit_from_what_its_file_would_hold(env):
    env.reset([0], seeds(1))
    snapshots, actions = [env.snapshot()[0]], wiggle(60, 1)
    for action in actions:
        env.step(action)
        snapshots.append(env.snapshot()[0])
    episode = env.episode(np.stack(snapshots), actions[:, 0], with_datagen_info=False)
    env.reset([0], seeds(1, seed=5))
    env.reset_to([0], [episode.initial_state])
    for step, action in enumerate(episode.actions):
        env.step(action[None])
        state = env.scene_state(env.snapshot()[0])
        assert all(np.array_equal(state[path], episode.states[path][step]) for path in episode.states), step


def test_observations_have_isaac_labs_keys_and_shapes(env):
    shapes = {key: value.shape[1:] for key, value in env.observations(env.snapshot()).items()}
    assert shapes == {
        "actions": (7,), "joint_pos": (9,), "joint_vel": (9,), "object": (39,), "cube_positions": (9,),
        "cube_orientations": (12,), "eef_pos": (3,), "eef_quat": (4,), "gripper_pos": (2,),
        "gripper_to_cube_yaw": (6,),  # ours
    }  # fmt: skip


def test_relative_yaw_reads_the_same_for_every_face_and_follows_the_hand(env):
    state = {path: value[0] for path, value in env.scene_state(env.snapshot([0])).items()}

    def seen_with_cube_turned(degrees: float) -> np.ndarray:
        placed = np.concatenate([[0.5, 0.0, 0.0203], poses.quat_from_matrix(poses.yaw_pose(np.zeros(3), np.radians(degrees))[:3, :3])])
        env.reset_to([0], [{**state, "rigid_object/cube_2/root_pose": placed}])
        return env.observations(env.snapshot([0]))["gripper_to_cube_yaw"][0, 2:4]

    hand = poses.rotation(env.eef_poses(env.snapshot([0]))["franka"][0])
    heading = np.degrees(np.arctan2(hand[1, 0], hand[0, 0]))
    np.testing.assert_allclose(seen_with_cube_turned(heading), [1, 0], atol=0.03)  # aligned, but for the hand's tilt
    for turn in (10, 100, -80, 190):
        # The hand looks down, so the cube's turn is the other way round in its frame.
        np.testing.assert_allclose(seen_with_cube_turned(heading + turn), [np.cos(np.radians(40)), -np.sin(np.radians(40))], atol=0.02)


def test_object_observation_is_poses_then_differences(env):
    snapshot = env.snapshot()[0]
    observed = env.observations(snapshot)
    cubes = [poses.position(env.object_poses(snapshot)[f"cube_{i}"]) for i in (1, 2, 3)]
    np.testing.assert_allclose(observed["object"][0:3], cubes[0], atol=1e-6)
    np.testing.assert_allclose(observed["object"][21:24], cubes[0] - observed["eef_pos"], atol=1e-6)
    np.testing.assert_allclose(observed["object"][36:39], cubes[0] - cubes[2], atol=1e-6)


@pytest.mark.parametrize("task_id", ARMS)
def test_quaternions_of_a_hand_above_the_table_do_not_change_sign(task_id):
    """Their w goes through 0 there; a policy would see, or have to give, one of two opposites at random."""
    env = make_env(task_id, 1)
    rng = np.random.default_rng(0)
    yaws = poses.yaw_pose(np.zeros((200, 3)), rng.uniform(-2.5, 2.5, 200))
    tilted = poses.matrix_from_rotvec(rng.normal(0, 0.05, (200, 3)))
    down = poses.compose(yaws[:, :3, :3] @ np.diag([1.0, -1.0, -1.0]) @ tilted, np.array([0.5, 0.0, 0.2]))
    rows = np.repeat(env.snapshot(), 200, axis=0)
    start = env.reader.nq + env.reader.nv
    rows[:, start + 3 : start + 12] = down[:, :3, :3].reshape(200, 9)
    seen = env.observations(rows)["eef_quat"]
    assert np.all(seen[:, 0] > 0)
    if env.task.control == "abs":
        actions = env.target_poses_to_actions({"franka": down}, {"franka": down}, {"franka": np.ones((200, 1))})
        assert np.all(actions[:, 3] > 0)


def test_start_states_keep_to_the_reset_range():
    env = make_env(REL, 1)
    reset = env.task.reset
    for seed in seeds(60):
        env.reset([0], [seed])
        placed = [poses.position(pose) for pose in env.object_poses(env.snapshot()[0]).values()]
        for x, y, z in placed:
            assert reset.x[0] <= x <= reset.x[1] and reset.y[0] <= y <= reset.y[1] and abs(z - 0.0203) < 1e-6
        gaps = [np.linalg.norm(a - b) for i, a in enumerate(placed) for b in placed[:i]]
        assert min(gaps) > reset.min_separation - 1e-6


@pytest.mark.parametrize("axis", range(3))
def test_relative_action_moves_the_eef_along_its_axis(env, axis):
    env.reset([0], seeds(1))
    before = poses.position(env.eef_poses(env.snapshot())["franka"])[0].copy()
    action = np.zeros((1, 7), np.float32)
    action[0, axis], action[0, 6] = -0.1 if axis == 2 else 0.1, 1
    for _ in range(10):
        env.step(action)
    moved = poses.position(env.eef_poses(env.snapshot())["franka"])[0] - before
    assert np.argmax(np.abs(moved)) == axis
    assert np.sign(moved[axis]) == np.sign(action[0, axis])


def test_absolute_action_takes_the_hand_to_the_place_it_names():
    env = make_env(ABS, 1)
    env.reset([0], seeds(1))
    target = env.eef_poses(env.snapshot())["franka"].copy()
    target[0, :3, 3] += (0.05, 0.04, -0.05)
    for _ in range(60):
        action = env.target_poses_to_actions(env.eef_poses(env.snapshot()), {"franka": target}, {"franka": np.ones((1, 1))})
        env.step(action)
    reached = env.eef_poses(env.snapshot())["franka"]
    np.testing.assert_allclose(reached[0, :3, 3], target[0, :3, 3], atol=2e-3)
    assert poses.rotation_angle(reached[0, :3, :3], target[0, :3, :3]) < 0.02


@pytest.mark.parametrize("task_id", ARMS)
def test_target_pose_and_action_are_each_others_inverse(task_id):
    env = make_env(task_id, 1)
    eef = env.eef_poses(env.snapshot())
    target = {"franka": poses.apply_delta(eef["franka"], np.array([[0.1, -0.05, 0.02, 0.2, 0.1, -0.3]]))}
    action = env.target_poses_to_actions(eef, target, {"franka": np.array([[-1.0]])})
    np.testing.assert_allclose(env.actions_to_target_poses(eef, action)["franka"], target["franka"], atol=1e-6)
    assert env.gripper_actions(action)["franka"][0, 0] == -1


def test_state_of_another_shape_is_refused(env):
    state = {path: value[None] for path, value in env.scene_state(env.snapshot()[0]).items()}
    state["articulation/robot/joint_position"] = np.zeros((1, 7))
    with pytest.raises(UserError, match="joint_position has 7"):
        env.reset_to([0], [state])


def test_side_by_side_cubes_are_not_stacked_and_a_stack_is(env):
    snapshot = env.snapshot()[0].copy()
    layout = env.layout
    base = snapshot[layout.objects["cube_1"][0] :][:3].copy()
    for name, height in (("cube_2", 0.0406), ("cube_3", 0.0812)):
        first = layout.objects[name][0]
        snapshot[first : first + 3] = base + np.array([0, 0, height])
    snapshot[layout.finger_qpos] = 0.04
    assert env.success(snapshot)
    beside = snapshot.copy()
    beside[layout.objects["cube_3"][0] + 2] = base[2]
    assert not env.success(beside)
    upside_down = snapshot.copy()
    upside_down[layout.objects["cube_2"][0] + 2] = base[2] - 0.0406
    assert not env.success(upside_down)
    falling = snapshot.copy()
    falling[env.model.nq + layout.objects["cube_3"][1] + 2] = -0.2
    assert not env.success(falling)
    gripping = snapshot.copy()
    gripping[layout.finger_qpos] = 0.02
    assert not env.success(gripping)


def test_gymnasium_makes_the_task_and_its_checker_is_content():
    import gymnasium
    from gymnasium.utils.env_checker import check_env

    import mimicctl.envs.gym  # noqa: F401  registers

    made = gymnasium.make(REL)
    check_env(made.unwrapped, skip_render_check=True)
    assert made.spec.max_episode_steps == find_task(REL).horizon
    made.close()


def test_mimic_infix_names_the_same_task_and_typos_are_answered():
    assert find_task("MuJoCo-Stack-Cube-Franka-IK-Rel-Mimic-v0") is find_task(REL)
    with pytest.raises(UserError) as caught:
        find_task("MuJoCo-Stack-Cubes-Franka-IK-Rel-v0")
    assert REL in caught.value.do
    with pytest.raises(UserError, match="Isaac Lab"):
        find_task("Isaac-Stack-Cube-Franka-IK-Rel-v0")
