"""The ketchup bottle into the basket: what counts as put there, what is observed and drawn, and the loop from recording to generation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.config import GenerateSettings, RecordSettings
from mimicctl.devices import make_device
from mimicctl.envs import make_env
from mimicctl.envs.mujoco.labels import paint_label
from mimicctl.generation.engine import generate
from mimicctl.recording.session import Progress, Rules, run_session
from mimicctl.tasks import Label, find_task

TASK, WIDE, SEEN = (f"MuJoCo-Desktop-Organizer-{name}-v0" for name in ("Franka-IK-Rel", "Wide-Franka-IK-Rel", "Franka-IK-Rel-Visuomotor"))
FLOOR = 0.008
"""Of the basket, above the table [m]."""


@pytest.fixture(scope="module")
def env():
    made = make_env(TASK)
    yield made
    made.close()


def put(env, name: str, position, quat=(0.0, 0.0, 0.0, 1.0), snapshot: np.ndarray | None = None) -> np.ndarray:
    """A snapshot with an object there (xyzw); of a start state unless one is given."""
    if snapshot is None:
        env.reset([0], [np.random.SeedSequence(1)])
        snapshot = env.snapshot([0])[0]
    first = env.layout.objects[name][0]
    snapshot[first : first + 3], snapshot[first + 3 : first + 7] = position, poses.wxyz_from_xyzw(np.array(quat))
    return snapshot


def turned(axis: int, angle: float) -> np.ndarray:
    """xyzw"""
    return poses.quat_from_matrix(poses.matrix_from_rotvec(angle * np.eye(3)[axis]))


def in_the_basket(env, offset=(0.0, 0.0, 0.0), quat=(0.0, 0.0, 0.0, 1.0), *, lying: bool = False) -> np.ndarray:
    """A snapshot with the bottle on the basket's floor, `offset` [m] away from its middle along the basket's axes."""
    env.reset([0], [np.random.SeedSequence(1)])
    basket = env.object_poses(env.snapshot([0])[0])["basket"]
    place = basket @ np.array([*offset, 1.0])
    height = env.task.object("ketchup").half_size[0 if lying else 2]
    return put(env, "ketchup", (*place[:2], FLOOR + height + offset[2]), quat)


STANDING, LYING = (0.0, 0.0, 0.0, 1.0), tuple(turned(1, math.pi / 2))


@pytest.mark.parametrize(
    ("offset", "quat", "success"),
    [
        ((0, 0, 0), STANDING, True),
        ((0, 0, 0), LYING, True),
        ((0.05, -0.06, 0), STANDING, True),
        ((0, 0, 0.02), STANDING, False),
        ((0, 0, -FLOOR - 0.004), STANDING, False),
        ((0, 0.13, 0), STANDING, False),
        ((0, 0, 0.03), tuple(turned(1, math.radians(50))), False),
    ],
    ids=["stands", "lies", "in a corner", "in the air", "on the table, below the floor", "beside it", "leans over the rim"],
)
def test_success_is_a_bottle_on_the_floor_of_the_basket(env, offset, quat, success):
    assert bool(env.success(in_the_basket(env, offset, quat, lying=quat == LYING))) is success


def test_success_waits_for_the_gripper_to_open_and_for_rest(env):
    held, moving, tilted = in_the_basket(env), in_the_basket(env), in_the_basket(env)
    held[env.layout.finger_qpos] = 0.019
    first = env.model.nq + env.layout.objects["ketchup"][1]
    moving[first] = 0.06
    basket = env.object_poses(tilted)["basket"]
    put(env, "basket", poses.position(basket), turned(0, math.radians(7)), tilted)
    assert env.success(in_the_basket(env)) and not np.any([env.success(row) for row in (held, moving, tilted)])


def in_the_gripper(env, lower_side: float, finger: float = 0.019, slip: float = 0.0) -> np.ndarray:
    """A snapshot with the bottle's lower side at a height [m] and its grip `slip` [m] below the tool point."""
    item = env.task.object("ketchup")
    env.reset([0], [np.random.SeedSequence(1)])
    snapshot, hand = env.snapshot([0])[0], env.model.nq + env.model.nv
    tool = poses.position(env.eef_poses(snapshot)["franka"])
    grip = lower_side + item.half_size[2] + item.held_at.height
    snapshot[hand + 2] += grip + slip - tool[2]
    snapshot[env.layout.finger_qpos] = finger
    return put(env, "ketchup", (*tool[:2], grip - item.held_at.height), snapshot=snapshot)


@pytest.mark.parametrize(
    ("changes", "signals"),
    [
        ({"lower_side": 0.0, "finger": 0.04}, {"reach"}),
        ({"lower_side": 0.0, "finger": 0.04, "slip": 0.10}, set()),
        ({"lower_side": 0.0}, {"reach", "grasp"}),
        ({"lower_side": 0.099}, {"reach", "grasp"}),
        ({"lower_side": 0.101}, {"reach", "grasp", "lift"}),
        ({"lower_side": 0.101, "finger": 0.0}, {"reach"}),
        ({"lower_side": 0.101, "slip": 0.03}, {"reach"}),
    ],
    ids=["open about it", "above it", "held on the table", "nearly lifted", "lifted", "fingers shut", "held by the cap"],
)
def test_signals_are_reach_grasp_and_lift(env, changes, signals):
    snapshot = in_the_gripper(env, **changes)
    assert {name for name, value in env.signals(snapshot).items() if value} == signals
    assert not env.success(snapshot)


def test_nothing_is_done_at_reset(env):
    for seed in range(20):
        env.reset([0], [np.random.SeedSequence(seed)])
        snapshot = env.snapshot([0])[0]
        assert not env.success(snapshot) and not any(env.signals(snapshot).values())


def test_the_bottle_starts_near_its_place_and_the_others_anywhere(env):
    starts = []
    for seed in range(60):
        env.reset([0], [np.random.SeedSequence(seed)])
        starts.append({name: pose[:2, 3] for name, pose in env.object_poses(env.snapshot([0])[0]).items()})
    spread = {name: np.ptp([start[name] for start in starts], axis=0) for name in starts[0]}
    assert np.all(spread["ketchup"] <= 0.1) and np.all(spread["basket"] <= 0.06)
    assert np.all([spread[name][1] > 0.5 for name in ("orange_juice", "cream_cheese")])
    wide = find_task(WIDE)
    assert wide.sources_of == TASK and all(high - low == pytest.approx(0.24) for low, high in wide.reset.span_of("ketchup"))


def test_observations_have_each_object_under_its_name(env):
    snapshot = env.snapshot([0])[0]
    seen = env.observations(snapshot)
    for name, pose in env.object_poses(snapshot).items():
        np.testing.assert_allclose(seen[f"{name}_pos"], poses.position(pose), atol=1e-6)
        np.testing.assert_allclose(poses.matrix_from_quat(seen[f"{name}_quat"]), poses.rotation(pose), atol=1e-6)
    np.testing.assert_allclose(seen["object"][:14], np.concatenate([seen[f"{n}_{part}"] for n in ("ketchup", "basket") for part in ("pos", "quat")]))
    np.testing.assert_allclose(seen["object"][28:31], seen["ketchup_pos"] + (0, 0, 0.027) - seen["eef_pos"], atol=1e-6)


def test_a_bottle_in_the_grip_does_not_creep(env):
    """The jaws press on two flat faces: carried about for seconds it stays where it was taken."""
    device = make_device(env.task, RecordSettings(device="scripted", speed="slow"), 3)
    rows = []
    run_session(env, device, None, Progress(Rules(wanted=1, hold_needed=10)), seed=3, on_step=lambda progress: rows.append(progress.snapshot.copy()))
    track = np.array(rows)
    held = track[env.signals(track)["grasp"]]
    in_hand = poses.inverse(env.eef_poses(held)["franka"]) @ env.object_poses(held)["ketchup"]
    settled = poses.position(in_hand)[5:]
    assert len(settled) > 60 and np.all(np.ptp(settled, axis=0) < 0.004)


def test_recording_replaying_annotating_and_generating_follow_one_another(mimicctl):
    recorded = mimicctl("record", "--device", "scripted", "--task", TASK, "--num-demos", "2", "--json")
    assert recorded.returncode == 0, recorded.stderr
    assert "puts ketchup into basket" in recorded.stderr
    replayed = mimicctl("replay", "--verify")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(mimicctl("annotate", "--json").stdout)["demos"] == 2
    made = json.loads(mimicctl("generate", "--trials", "2", "--task", TASK, "--workers", "1", "--json").stdout)
    assert made["demos"] == 2 and [row["subtask"] for row in made["funnel"]] == ["reach", "grasp", "lift", "place"]


@pytest.mark.parametrize("task", [TASK, WIDE])
def test_demonstrations_that_come_with_it_make_more(task, tmp_path):
    made = generate(task, 5, GenerateSettings(trials=3, workers=1, num_envs=3, output_file=str(tmp_path / "g.hdf5")), None)
    assert made.demos == 3


def test_what_is_for_the_eye_is_not_in_the_physics(env):
    names = {env.model.geom(i).name for i in range(env.model.ngeom)}
    assert "ketchup/0" in names and not any("label" in name for name in names)
    parts = find_task(TASK).object("basket").parts
    assert sum(name.startswith("basket/") for name in names) == sum(part.solid for part in parts) < len(parts)
    assert [env.model.body(item.name).mass[0] for item in env.task.objects] == pytest.approx([item.mass for item in env.task.objects])


def test_a_label_has_its_writing_above_its_fruit():
    paper, ink, red = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)
    picture = paint_label(Label((0, 0, 0), (0.02, 0.02), "+x", paper, ink, ("KETCHUP",), red))
    half = picture.shape[0] // 2
    dark, fruit = (np.all(picture == colour, axis=-1) for colour in ((0, 0, 0), (255, 0, 0)))
    assert dark[:half].any() and not dark[half:].any() and fruit[half:].sum() > 0.3 * half**2 and not fruit[:half].any()


@pytest.mark.render
def test_bottle_and_basket_are_seen():
    from mimicctl.envs.mujoco.cameras import SceneRenderer, cameras_of

    task = find_task(SEEN)
    made = make_env(task)
    renderer = SceneRenderer(task, "performance", cameras_of(task, 128))
    made.reset([0], [np.random.SeedSequence(2)])
    picture = renderer.images(made.reader.qpos(made.snapshot([0])[0]))["table_cam"].astype(int)
    renderer.close()
    made.close()
    red = (picture[..., 0] > 110) & (picture[..., 1] < 60) & (picture[..., 2] < 60)
    wicker = (picture[..., 0] > 1.35 * picture[..., 1]) & (picture[..., 1] > 1.3 * picture[..., 2]) & ~red
    assert red.sum() > 40 and wicker.sum() > 200
