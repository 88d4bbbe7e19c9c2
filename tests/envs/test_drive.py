"""A base on a floor: how it moves, what it arrives at, what is in the file, and the loop with it."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from mimicctl import poses
from mimicctl.envs import make_env
from mimicctl.envs.base import held_for
from mimicctl.generation.diagnosis import NEVER_REACHED, RAN_INTO, TIMEOUT, Verdict, diagnose
from mimicctl.tasks import find_task

DRIVE = "MuJoCo-Drive-Tiago-v0"


@pytest.fixture
def env():
    made = make_env(DRIVE)
    made.reset([0], [np.random.SeedSequence(3)])
    yield made
    made.close()


def put(env, **places: tuple[float, float, float]) -> np.ndarray:
    """The snapshot of env 0 at rest with things at (x, y, yaw)."""
    snapshot = env.snapshot([0])[0]
    state = {path: value * (not path.endswith("velocity")) for path, value in env.scene_state(snapshot).items()}
    for name, (x, y, yaw) in places.items():
        if name == "base":
            state["articulation/robot/joint_position"] = np.array([x, y, yaw])
        else:
            pose = poses.yaw_pose(np.array([x, y, env.task.object(name).rest_height]), np.array(yaw))
            state[f"rigid_object/{name}/root_pose"] = np.concatenate([pose[:3, 3], poses.quat_from_matrix(pose[:3, :3])])
    env.reset_to([0], [state])
    return env.snapshot([0])[0]


def drive(env, velocity: tuple[float, float, float], steps: int) -> np.ndarray:
    """Snapshots (steps + 1, K)."""
    track = [env.snapshot([0])[0]]
    for _ in range(steps):
        env.step(np.array([velocity], np.float32))
        track.append(env.snapshot([0])[0])
    return np.stack(track)


AWAY = {"crate_1": (-3.0, 3.0, 0.0), "crate_2": (-3.0, -3.0, 0.0)}


@pytest.mark.parametrize(
    ("velocity", "heading", "towards"),
    [((0.5, 0, 0), 0.0, (1, 0)), ((0.5, 0, 0), np.pi / 2, (0, 1)), ((0, 0.4, 0), 0.0, (0, 1)), ((0, 0.4, 0), np.pi / 2, (-1, 0)), ((-0.5, 0, 0), 0.0, (-1, 0))],
)
def test_the_base_goes_ahead_and_sideways_in_its_own_frame(env, velocity, heading, towards):
    put(env, base=(0, 0, heading), **AWAY)
    track = drive(env, velocity, 40)
    moved = env.reader.base(track[-1])
    speed = np.abs(velocity).max()
    np.testing.assert_allclose(moved[:2] / np.linalg.norm(moved[:2]), towards, atol=0.03)
    # Two seconds, less what it takes to pick up speed.
    assert 0.8 * 2 * speed < np.linalg.norm(moved[:2]) < 2 * speed
    np.testing.assert_allclose(env.reader.velocity(track[-1]), velocity, atol=0.02)
    assert abs(moved[2] - heading) < 0.03


def test_it_turns_to_its_left_and_stops_when_told(env):
    put(env, base=(0, 0, 0), **AWAY)
    assert 1.4 < env.reader.base(drive(env, (0, 0, 0.8), 40)[-1])[2] < 1.6
    assert np.abs(env.reader.velocity(drive(env, (0, 0, 0), 30)[-1])).max() < 0.01


def test_it_is_no_faster_than_it_can(env):
    put(env, base=(0, 0, 0), **AWAY)
    assert env.reader.velocity(drive(env, (5.0, 0, 0), 60)[-1])[0] < 1.01


def test_a_crate_stops_it_and_stays_where_it_is(env):
    put(env, base=(0, 0, 0), crate_1=(1.2, 0, 0), crate_2=(-3, 3, 0))
    track = drive(env, (1.0, 0, 0), 80)
    crate = env.reader.object_position(track, "crate_1")
    assert env.reader.base(track[-1])[0] < 1.2 - 0.2 - 0.34 and np.abs(crate - crate[0]).max() < 0.02


def test_nothing_touches_the_mark(env):
    put(env, base=(0, 0, 0), goal=(1.0, 0, 0), **AWAY)
    track = drive(env, (1.0, 0, 0), 40)
    assert env.reader.base(track[-1])[0] > 1.5
    assert np.array_equal(env.reader.object_position(track[-1], "goal"), env.reader.object_position(track[0], "goal"))


@pytest.mark.parametrize(
    ("base", "arrived"),
    [((1.5, 0.5, 0.3), True), ((1.6, 0.6, 0.3), True), ((1.62, 0.62, 0.3), False), ((1.5, 0.5, 0.6), False), ((1.5, 0.5, 0.3 + 2 * np.pi), True)],
    ids=["on it", "14 cm beside it", "17 cm beside it", "17 degrees off", "turned once round"],
)
def test_it_has_arrived_on_the_mark_along_its_arrow(env, base, arrived):
    assert bool(env.success(put(env, base=base, goal=(1.5, 0.5, 0.3), **AWAY))) is arrived


def test_who_drives_across_the_mark_has_not_arrived(env):
    put(env, base=(0.5, 0, 0), goal=(1.5, 0, 0), **AWAY)
    track = drive(env, (0.6, 0, 0), 60)
    assert env.reader.base(track[-1])[0] > 1.8 and not env.success(track).any()


def test_what_is_observed_reads_the_same_wherever_the_room_is_turned(env):
    here = env.observations(put(env, base=(0, 0, 0), goal=(2, 1, 0.5), crate_1=(1.5, -1, 0.2), crate_2=(2.5, -1, 1.0)))
    assert here["object"].shape == (12,) and here["base_velocity"].shape == (3,)
    np.testing.assert_allclose(here["object"][:6], [2, 1, 1.5, -1, 2.5, -1], atol=1e-6)
    np.testing.assert_allclose(here["object"][6:8], [np.cos(0.5), np.sin(0.5)], atol=1e-6)
    np.testing.assert_allclose(here["object"][8:10], [np.cos(0.8), np.sin(0.8)], atol=1e-6)
    turned = {}
    for name, (x, y, yaw) in {"base": (0, 0, 0), "goal": (2, 1, 0.5), "crate_1": (1.5, -1, 0.2), "crate_2": (2.5, -1, 1.0)}.items():
        turned[name] = (1 - y, x - 2, yaw + np.pi / 2)
    np.testing.assert_allclose(env.observations(put(env, **turned))["object"], here["object"], atol=1e-5)


def test_an_episode_replays_bit_for_bit_from_what_its_file_would_hold(env):
    rng = np.random.default_rng(0)
    snapshots, actions = [env.snapshot()[0]], rng.normal(0.3, 0.5, (80, 1, 3)).astype(np.float32)
    for action in actions:
        env.step(action)
        snapshots.append(env.snapshot()[0])
    episode = env.episode(np.stack(snapshots), actions[:, 0], with_datagen_info=False)
    env.reset([0], [np.random.SeedSequence(9)])
    env.reset_to([0], [episode.initial_state])
    for step, action in enumerate(episode.actions):
        env.step(action[None])
        state = env.scene_state(env.snapshot()[0])
        assert all(np.array_equal(state[path], episode.states[path][step]) for path in episode.states), step


def test_every_env_of_a_batch_moves_as_it_would_alone():
    batch, alone = make_env(DRIVE, 3), make_env(DRIVE, 1)
    seeds = np.random.SeedSequence(4).spawn(3)
    batch.reset(range(3), seeds)
    alone.reset([0], [seeds[2]])
    for velocity in np.random.default_rng(1).normal(0, 0.6, (60, 3, 3)).astype(np.float32):
        batch.step(velocity)
        alone.step(velocity[2:])
    assert np.array_equal(batch.snapshot([2])[0], alone.snapshot()[0])


def test_target_pose_and_action_are_each_others_inverse(env):
    base = env.eef_poses(env.snapshot())
    target = {"base": base["base"] @ poses.yaw_pose(np.array([[0.1, -0.15, 0.0]]), np.array([0.2]))}
    action = env.target_poses_to_actions(base, target, {})
    np.testing.assert_allclose(env.actions_to_target_poses(base, action)["base"], target["base"], atol=1e-6)
    assert env.gripper_actions(action)["base"].shape == (1, 0)


def test_start_states_leave_room_to_arrive(env):
    task = find_task(DRIVE)
    for seed in np.random.SeedSequence(7).spawn(50):
        env.reset([0], [seed])
        snapshot = env.snapshot([0])[0]
        places = [env.reader.base(snapshot)[:2], *(pose[:2, 3] for pose in env.object_poses(snapshot).values())]
        gaps = [np.linalg.norm(a - b) for i, a in enumerate(places) for b in places[:i]]
        # Half of the base from corner to corner, and of a crate.
        assert min(gaps) > 0.44 + 0.29 and not env.success(snapshot)
        assert task.reset.x[0] <= places[1][0] <= task.reset.x[1]


def test_why_a_drive_failed_is_told(env):
    put(env, base=(0, 0, 0), goal=(2.5, 0, 0), crate_1=(1.2, 0, 0), crate_2=(-3, 3, 0))
    assert diagnose(env, drive(env, (1.0, 0, 0), 60), env.task, success=False) == Verdict({"base": 0}, RAN_INTO, "base")
    put(env, base=(0, 0, 0), goal=(2.5, 0, 0), **AWAY)
    assert diagnose(env, drive(env, (0.5, 0, 0), 20), env.task, success=False) == Verdict({"base": 0}, NEVER_REACHED, "base")
    put(env, base=(0, 0, 1.5), goal=(0.1, 0, 0), **AWAY)
    assert diagnose(env, drive(env, (0, 0, 0), 20), env.task, success=False) == Verdict({"base": 0}, TIMEOUT, "base")


def test_the_whole_loop(mimicctl, tmp_path):
    recorded = mimicctl("record", "--device", "scripted", "--task", DRIVE, "--num-demos", "3")
    assert recorded.returncode == 0, recorded.stderr
    assert "drives to the mark" in recorded.stderr and "idle" in recorded.stderr
    assert mimicctl("replay", "--verify").returncode == 0
    annotated = mimicctl("annotate")
    assert annotated.returncode == 0 and f"mimicctl generate --task {DRIVE}" in annotated.stdout
    made = json.loads(mimicctl("generate", "--task", DRIVE, "--trials", "2", "--workers", "1", "--json").stdout)
    assert made["demos"] == 2 and made["funnel"][0]["subtask"] == "drive to the mark"
    assert mimicctl("replay", "datasets/generated.hdf5", "--verify").returncode == 0
    assert mimicctl("dataset", "check", "datasets/generated.hdf5").returncode == 0
    with h5py.File(tmp_path / "datasets" / "generated.hdf5") as file:
        assert file["data/demo_0/actions"].shape[1] == 3 and file["data/demo_0/intended_actions"].shape[1] == 3


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("generate", "--trials", "1"), "No source demonstrations come with"),
        (("cosmos", "prompts"), "No prompt templates come with"),
    ],
)
def test_what_there_is_not_for_a_base_is_refused(mimicctl, command, said):
    refused = mimicctl(*command, "--task", DRIVE)
    assert refused.returncode == 2 and said in refused.stderr, refused.stderr


@pytest.mark.parametrize("speed", ["slow", "normal", "fast"])
def test_the_scripted_operator_arrives_without_touching_a_crate(env, speed):
    from mimicctl.config import RecordSettings
    from mimicctl.devices import make_device
    from mimicctl.recording.session import look

    device = make_device(env.task, RecordSettings(device="scripted", speed=speed), 1)
    for seed in np.random.SeedSequence(11).spawn(4):
        env.reset([0], [seed])
        device.reset()
        track = [env.snapshot([0])[0]]
        while held_for(env.success(np.stack(track[-10:]))) < 10 and len(track) < 400:
            command = device.command(look(env, track[-1], 0))
            env.step(env.command_to_action(track[-1], {"base": command.delta}, {"base": command.gripper})[None])
            track.append(env.snapshot([0])[0])
        assert len(track) < 400
        for crate in ("crate_1", "crate_2"):
            places = env.reader.object_position(np.stack(track), crate)[:, :2]
            assert np.abs(places - places[0]).max() < 1e-5


@pytest.mark.render
def test_a_drive_can_be_filmed(env, tmp_path):
    from mimicctl.envs.mujoco.gl import choose_gl
    from mimicctl.envs.mujoco.rendering import TableView

    choose_gl()
    view = TableView(env.task, 320, 240)
    pictures = [view.picture(put(env, base=base, goal=(2, 1, 0), crate_1=(1.5, -1, 0), crate_2=(2.5, -1, 0))).astype(int) for base in ((0, 0, 0), (0.5, 0, 1))]
    view.close()
    red, green, blue = np.moveaxis(pictures[0], -1, 0)
    assert ((green > red + 40) & (green > blue + 40)).sum() > 20  # the mark
    assert ((red > blue + 50) & (red > green)).sum() > 200  # the crates
    assert (np.abs(pictures[0] - pictures[1]).max(axis=-1) > 30).sum() > 500  # the robot has moved
