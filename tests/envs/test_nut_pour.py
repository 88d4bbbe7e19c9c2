"""The nut into the bowl, the beaker into the bin, the bowl onto the scale: what things are made of, what counts as done, and the loop from recording to generation."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.config import GenerateSettings, RecordSettings
from mimicctl.devices import make_device
from mimicctl.envs import make_env
from mimicctl.recording.session import Progress, Rules, run_session
from mimicctl.tasks import find_task
from mimicctl.tasks.objects import ObjectSpec, Part

ID = "MuJoCo-NutPour-G1-Pink-IK-Abs-v0"


@pytest.fixture(scope="module")
def env():
    made = make_env(ID)
    yield made
    made.close()


def things_alone(*items: ObjectSpec):
    """A model of the things on a plane, without a robot."""
    import mujoco

    from mimicctl.envs.mujoco.objects import add_objects
    from mimicctl.envs.mujoco.panda import FIXTURE_TYPE, OBJECT_TYPE
    from mimicctl.envs.mujoco.scene import set_solver

    spec = mujoco.MjSpec()
    set_solver(spec)
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1, 1, 1], contype=FIXTURE_TYPE, conaffinity=OBJECT_TYPE)
    add_objects(spec, items)
    return spec.compile()


@pytest.mark.parametrize("taper", [1.0, 1.7, 0.6])
def test_a_shell_has_a_wall_and_nothing_in_it(taper):
    import mujoco

    radius, height, wall = 0.05, 0.08, 0.006
    item = ObjectSpec(
        "cup", "cup", 0.1, 0.2, (1, 0, 0, 1), parts=(Part("shell", (0, 0, 0), (radius, radius, height / 2), (1, 0, 0, 1), taper=taper, wall=wall),)
    )
    model = things_alone(item)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    middle = data.body("cup").xpos
    assert model.body("cup").mass[0] == pytest.approx(0.2)
    assert mujoco.mj_ray(model, data, middle + np.array([0, 0, 1]), np.array([0.0, 0.0, -1.0]), None, 1, -1, np.zeros(1, dtype=np.int32)) == pytest.approx(
        1 + height / 2
    )
    facing = np.pi / item.parts[0].sides  # the middle of a side
    for z in (-0.03, 0.0, 0.03):
        outside = radius / max(1, taper) * (1 + (taper - 1) * (z + height / 2) / height)
        way = np.array([np.cos(facing), np.sin(facing), 0.0])
        found = mujoco.mj_ray(model, data, middle + np.array([0, 0, z]), way, None, 1, -1, np.zeros(1, dtype=np.int32))
        assert found == pytest.approx((outside - wall) * np.cos(facing), abs=1e-4)


def test_a_nut_stays_in_the_beaker_and_slides_out_of_it_when_that_is_tilted():
    import mujoco

    task = find_task(ID)
    beaker, nut = task.object("sorting_beaker"), task.object("factory_nut")
    model = things_alone(beaker, nut)
    for angle, stays in ((0, True), (60, True), (118, False)):
        data = mujoco.MjData(model)
        first = {name: model.joint(name).qposadr[0] for name in (beaker.name, nut.name)}
        turn = poses.compose(poses.matrix_from_rotvec(np.array([np.radians(angle), 0.0, 0.0])), np.array([0.0, 0.0, 0.5]))
        inside = turn @ poses.compose(np.eye(3), np.array([0.0, 0.0, nut.half_size[2] + 0.0065 - beaker.half_size[2]]))
        for name, pose in ((beaker.name, turn), (nut.name, inside)):
            data.qpos[first[name] : first[name] + 3] = pose[:3, 3]
            data.qpos[first[name] + 3 : first[name] + 7] = poses.wxyz_from_xyzw(poses.quat_from_matrix(pose[:3, :3]))
        held = data.qpos[first[beaker.name] : first[beaker.name] + 7].copy()
        for _ in range(150):
            data.qpos[first[beaker.name] : first[beaker.name] + 7] = held
            data.qvel[model.joint(beaker.name).dofadr[0] :][:6] = 0.0
            mujoco.mj_step(model, data)
        in_beaker = poses.inverse(turn)[:3] @ np.array([*data.body(nut.name).xpos, 1.0])
        assert (np.linalg.norm(in_beaker[:2]) < 0.031 and abs(in_beaker[2]) < beaker.half_size[2]) == stays


def done(env, **shifts: tuple[float, float, float]) -> np.ndarray:
    """A snapshot of the finished task, some things `shifts` [m] from their places."""
    env.reset([0], [np.random.SeedSequence(1)])
    row = env.snapshot([0])[0]

    def put(name: str, place: np.ndarray, above: float) -> None:
        first, half = env.layout.objects[name][0], env.task.object(name).rest_height
        row[first : first + 3] = place + np.array([0, 0, above + half]) + shifts.get(name, (0, 0, 0))

    def foot(name: str) -> np.ndarray:
        return poses.position(env.object_poses(row)[name]) - np.array([0, 0, env.task.object(name).rest_height])

    put("sorting_bowl", foot("sorting_scale"), 0.020)
    put("factory_nut", foot("sorting_bowl"), 0.005)
    put("sorting_beaker", foot("black_sorting_bin"), 0.006)
    return row


@pytest.mark.humanoid
@pytest.mark.parametrize(
    ("shifts", "success"),
    [
        ({}, True),
        ({"factory_nut": (0.045, 0.0, 0.0)}, True),
        ({"factory_nut": (0.0, 0.055, 0.0)}, False),
        ({"factory_nut": (0.0, 0.0, 0.010)}, False),
        ({"sorting_bowl": (0.050, -0.050, 0.0)}, True),
        ({"sorting_bowl": (0.060, 0.0, 0.0)}, False),
        ({"sorting_bowl": (0.0, 0.0, 0.010)}, False),
        ({"sorting_beaker": (0.11, 0.07, 0.06)}, True),
        ({"sorting_beaker": (0.0, 0.09, 0.0)}, False),
        ({"sorting_beaker": (0.13, 0.0, 0.0)}, False),
        ({"sorting_beaker": (0.0, 0.0, 0.08)}, False),
    ],
    ids=lambda value: " ".join(f"{name} {shift}" for name, shift in value.items()) or "all in place" if isinstance(value, dict) else None,
)
def test_success_is_isaac_labs_thresholds(env, shifts, success):
    assert bool(env.success(done(env, **shifts))) == success


@pytest.mark.humanoid
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_hand_that_has_not_let_go_is_no_success(env, side):
    row = done(env)
    row[env.layout.hands[side]] = env.body.closed[side]
    assert not env.success(row)


@pytest.mark.humanoid
def test_the_scripted_operator_pours_and_serves_with_signals_in_order(env):
    device = make_device(env.task, RecordSettings(device="scripted"), 4)
    rows = []
    run_session(env, device, None, Progress(Rules(wanted=1, hold_needed=10)), seed=4, on_step=lambda progress: rows.append(progress.snapshot.copy()))
    rows = np.array(rows)
    signals = env.signals(rows)
    rises = [int(np.argmax(signals[name])) for name in ("grasp_left", "idle_right", "grasp_right")]
    assert 0 < rises[0] < rises[1] < rises[2] and all(not signals[name][0] for name in signals)
    assert env.success(rows)[-1] and not env.reader.held(rows).any()
    observed = env.observations(rows)
    assert observed["object"].shape == (len(rows), 65) and observed["hand_joint_state"].shape == (len(rows), 14)


@pytest.mark.humanoid
def test_recording_annotating_and_generating_follow_one_another(mimicctl):
    recorded = mimicctl("record", "--device", "scripted", "--task", ID, "--num-demos", "2", "--json")
    assert recorded.returncode == 0, recorded.stderr
    assert "pours factory_nut into sorting_bowl" in recorded.stderr
    replayed = mimicctl("replay", "--verify")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(mimicctl("annotate", "--json").stdout)["demos"] == 2
    made = json.loads(mimicctl("generate", "--trials", "1", "--task", ID, "--workers", "1", "--json").stdout)
    assert made["demos"] == 1


@pytest.mark.humanoid
def test_demonstrations_that_come_with_it_make_more(tmp_path):
    from mimicctl.generation.engine import generate

    made = generate(ID, 5, GenerateSettings(trials=2, workers=1, num_envs=2, output_file=str(tmp_path / "g.hdf5")), None)
    assert made.demos == 2


def test_recorded_states_are_drawn_without_inverse_kinematics():
    from importlib import resources
    from pathlib import Path

    from mimicctl.dataset.reader import Dataset
    from mimicctl.rendering.replay import positions_of

    task = find_task(ID.replace("-v0", "-Visuomotor-v0"))
    with resources.as_file(resources.files("mimicctl") / "data" / task.source_demos) as path, Dataset(Path(path)) as dataset:
        episode = dataset.episode("demo_0")
        positions = positions_of(task)(episode)
    assert positions.shape == (len(episode.actions), 28 + 7 * len(task.objects))
    np.testing.assert_allclose(np.sort(positions[0, :28]), np.sort(episode.initial_state["articulation/robot/joint_position"][0]), atol=1e-6)


@pytest.mark.render
@pytest.mark.humanoid
def test_beaker_bowl_and_bin_are_seen_in_their_colours(env):
    from mimicctl.envs.mujoco.rendering import TableView

    view = TableView(env.task, 320, 240)
    env.reset([0], [np.random.SeedSequence(2)])
    red, green, blue = np.moveaxis(view.picture(env.snapshot([0])[0]).astype(int), -1, 0)
    view.close()
    assert ((red > 2 * green) & (red > 2 * blue)).sum() > 100
    assert ((red > 2 * blue) & (green > 2 * blue) & (red > 90)).sum() > 100
    assert ((blue > 1.5 * red) & (blue > 1.3 * green)).sum() > 200
