"""The stack from MimicGen's start states: where they are, that the arm reaches them, and that demonstrations of the stack serve them."""

from __future__ import annotations

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.config import GenerateSettings
from mimicctl.envs import make_env
from mimicctl.generation.engine import bundled_source, generate
from mimicctl.tasks import DEFAULT_TASK, family_of, find_task, twin_of, with_family

D0, D1 = "MuJoCo-Stack-Cube-D0-Franka-IK-Rel-v0", "MuJoCo-Stack-Cube-D1-Franka-IK-Rel-v0"


def starts_of(task_id: str, count: int = 200) -> np.ndarray:
    """(count, 3 cubes, 3): x, y [m] and yaw [rad]."""
    env = make_env(task_id)
    rows = []
    for seed in np.random.SeedSequence(5).spawn(count):
        env.reset([0], [seed])
        cubes = env.object_poses(env.snapshot()[0]).values()
        rows.append([(pose[0, 3], pose[1, 3], np.arctan2(pose[1, 0], pose[0, 0])) for pose in cubes])
    return np.array(rows)


@pytest.mark.parametrize(("task_id", "half"), [(D0, 0.10), (D1, 0.20)])
def test_cubes_start_anywhere_in_mimicgens_square(task_id, half):
    starts = starts_of(task_id)
    away = starts[..., :2] - (0.56, 0.0)
    assert 0.95 * half < np.abs(away).max(axis=(0, 1)).min() and np.abs(away).max() <= half + 1e-6
    assert starts[..., 2].min() < -3.0 and starts[..., 2].max() > 3.0


@pytest.mark.parametrize("task_id", [D0, D1])
def test_cubes_start_as_near_to_one_another_as_circles_about_them_allow(task_id):
    places = starts_of(task_id)[..., :2]
    apart = np.concatenate([np.linalg.norm(places[:, i] - places[:, i - 1], axis=-1) for i in range(3)])
    assert 0.0574 < apart.min() < 0.07


def test_all_are_one_family_and_the_names_of_isaac_lab_mean_what_they_did():
    assert {family_of(name) for name in (D0, D1)} == {family_of(DEFAULT_TASK)} == {"Stack-Cube-Franka-IK-Rel"}
    assert twin_of("Isaac-Stack-Cube-Franka-IK-Rel-v0").task_id == DEFAULT_TASK
    assert with_family(find_task(D1))[0].task_id == D1
    assert family_of("MuJoCo-Stack-Cube-Wall-Franka-IK-Rel-v0") != family_of(DEFAULT_TASK)
    assert bundled_source(find_task(D1)) == bundled_source(find_task(DEFAULT_TASK))


def test_the_hand_reaches_every_corner_of_d1_at_any_yaw_low_and_high():
    (low_x, high_x), (low_y, high_y) = find_task(D1).reset.span_of("cube_1")
    places = [(x, y, z) for x in (low_x, high_x) for y in (low_y, 0.0, high_y) for z in (0.06, 0.20)]  # above the cubes, wherever they are
    for yaw in (-np.pi / 4, 0.0, np.pi / 4):
        env = make_env(D1, len(places))
        rest = env.eef_poses(env.snapshot())["franka"]
        targets = poses.yaw_pose(np.zeros(3), np.array(yaw)) @ poses.compose(poses.rotation(rest), np.zeros(3))
        targets[:, :3, 3] = places
        for _ in range(100):
            hand = env.eef_poses(env.snapshot())
            env.step(env.target_poses_to_actions(hand, {"franka": targets}, {"franka": np.ones((len(places), 1))}))
        off = np.linalg.norm(poses.position(env.eef_poses(env.snapshot())["franka"]) - places, axis=-1)
        assert off.max() < 0.002


def test_demonstrations_come_from_those_of_the_stack(tmp_path):
    settings = GenerateSettings(trials=6, guarantee=False, workers=1, output_file=str(tmp_path / "generated.hdf5"))
    made = generate(D1, 3, settings, None)
    assert made.report.successes >= 5
