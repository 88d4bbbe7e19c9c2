"""Inverse kinematics within limits, and an arm at the end of its reach."""

from __future__ import annotations

import numpy as np

from mimicctl import poses
from mimicctl.envs import make_env
from mimicctl.envs.mujoco.ik import joint_step, step_within

REL = "MuJoCo-Stack-Cube-Franka-IK-Rel-v0"


def cases(count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 6, 7)), 0.1 * rng.normal(size=(count, 6))


def test_far_from_limits_a_step_is_the_damped_least_squares_one():
    jacobian, error = cases()
    np.testing.assert_array_equal(step_within(jacobian, error, np.full((20, 7), -9.0), np.full((20, 7), 9.0)), joint_step(jacobian, error))


def test_limits_are_kept_and_the_other_joints_do_what_the_stopped_one_cannot():
    jacobian, error = cases()
    free = joint_step(jacobian, error)
    lowest, highest = np.full((20, 7), -9.0), np.full((20, 7), 9.0)
    lowest[:, 3], highest[:, 3] = -0.005, 0.005
    within, cut = step_within(jacobian, error, lowest, highest), np.clip(free, lowest, highest)
    stopped = np.abs(free[:, 3]) > 0.005
    np.testing.assert_array_equal(np.abs(within[stopped, 3]), 0.005)
    np.testing.assert_array_equal(within[~stopped], free[~stopped])

    left, left_by_cut = (np.linalg.norm(error - (jacobian @ step[..., None])[..., 0], axis=-1)[stopped] for step in (within, cut))
    assert len(left) > 10 and np.median(left / left_by_cut) < 0.5


def test_an_arm_at_the_end_of_its_reach_neither_falls_nor_turns_its_elbow_round():
    count, rng = 8, np.random.default_rng(0)
    env = make_env(REL, count)
    rest = env.eef_poses(env.snapshot())["franka"]

    def lowest_towards(x: float, steps: int) -> float:
        """Of the shaking hands on their way to x, 20 cm above the table [m]."""
        lowest = np.inf
        for _ in range(steps):
            hands = env.eef_poses(env.snapshot())["franka"]
            way = np.array([x, 0.0, 0.2]) - poses.position(hands)
            gap = np.linalg.norm(way, axis=-1, keepdims=True)
            targets = poses.compose(poses.rotation(rest), poses.position(hands) + way * np.minimum(1.0, 0.08 / gap) + rng.normal(0.0, 0.02, (count, 3)))
            env.step(env.target_poses_to_actions({"franka": hands}, {"franka": targets}, {"franka": np.ones((count, 1))}))
            lowest = min(lowest, float(hands[:, 2, 3].min()))
        return lowest

    lowest_towards(0.75, 40)
    assert lowest_towards(0.88, 25) > 0.15
    assert lowest_towards(0.6, 60) > 0.15
    assert np.abs(poses.position(env.eef_poses(env.snapshot())["franka"]) - (0.6, 0.0, 0.2)).max() < 0.05
