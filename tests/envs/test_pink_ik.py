"""Both wrists of a humanoid to absolute poses."""

from __future__ import annotations

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.envs.mujoco import g1
from mimicctl.errors import UserError

pytestmark = pytest.mark.humanoid


@pytest.fixture(scope="module")
def ik():
    return g1.load_ik()


def goals(ik, count: int, spread: float = 0.35) -> np.ndarray:
    """(n, 14) joints about the posture."""
    noise = np.random.default_rng(0).normal(0.0, spread, (count, len(ik.posture)))
    return np.clip(ik.posture + noise, *ik.joint_range.T)


def errors(ik, joints: np.ndarray, targets: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Of the worse wrist: (n,) [m], (n,) [rad]."""
    deltas = np.stack([poses.delta_between(now, targets[eef]) for eef, now in ik.eef_poses(joints).items()])
    return np.linalg.norm(deltas[..., :3], axis=-1).max(axis=0), np.linalg.norm(deltas[..., 3:], axis=-1).max(axis=0)


def test_reachable_poses_are_reached(ik):
    targets = ik.eef_poses(goals(ik, 60))
    starts = np.tile(ik.posture, (60, 1))
    assert errors(ik, starts, targets)[0].min() > 0.01
    joints, held = ik.solve(starts, targets, steps=10)
    metres, radians = errors(ik, joints, targets)
    assert metres.max() < 1e-3 and np.degrees(radians.max()) < 0.5
    assert not held.any()


def test_one_arm_alone_is_brought_to_its_pose():
    ik = g1.load_ik({"right": g1.WRISTS["right"]})
    assert len(ik.joint_names) == 7 and all(name.startswith("right_") for name in ik.joint_names)
    targets = ik.eef_poses(goals(ik, 10))
    joints, _ = ik.solve(np.tile(ik.posture, (10, 1)), targets, steps=10)
    assert errors(ik, joints, targets)[0].max() < 1e-3


def test_poses_are_those_of_the_physics(ik):
    import mujoco

    from mimicctl.envs.mujoco.assets import read_urdf

    model = mujoco.MjModel.from_xml_string(read_urdf(g1.URDF, visuals=False))
    data = mujoco.MjData(model)
    joints = goals(ik, 3)
    found = ik.eef_poses(joints)
    for row, angles in enumerate(joints):
        for name, angle in zip(ik.joint_names, angles, strict=True):
            data.qpos[model.joint(name).qposadr[0]] = angle
        mujoco.mj_kinematics(model, data)
        for eef, link in g1.WRISTS.items():
            body = data.body(link)
            np.testing.assert_allclose(found[eef][row], poses.compose(body.xmat.reshape(3, 3), body.xpos), atol=1e-6)


@pytest.mark.parametrize("away", [0.6, 3.0, 1000.0])
def test_limits_are_kept_on_the_way_to_what_is_out_of_reach(ik, away):
    rng = np.random.default_rng(1)
    targets = {eef: pose.copy() for eef, pose in ik.eef_poses(goals(ik, 20, 1.0)).items()}
    for pose in targets.values():
        direction = rng.normal(size=(20, 3))
        pose[:, :3, 3] += away * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    joints = np.tile(ik.posture, (20, 1))
    low, high = ik.joint_range.T
    touched = np.zeros(14, dtype=bool)
    for _ in range(10):
        joints, _ = ik.solve(joints, targets)
        assert np.all((joints >= low) & (joints <= high))
        touched |= np.any((joints == low) | (joints == high), axis=0)
    assert touched.any()


def test_an_arm_out_of_reach_points_there(ik):
    targets = ik.eef_poses(ik.posture[None])
    targets["left"] = targets["left"].copy()
    targets["left"][0, :3, 3] = (2.0, 0.5, 0.3)
    joints, held = ik.solve(ik.posture[None], targets, steps=30)
    reached = ik.eef_poses(joints)["left"][0, :3, 3]
    assert reached[0] > ik.eef_poses(ik.posture[None])["left"][0, 0, 3] + 0.1 and not held.any()


def test_starts_beyond_a_limit_are_brought_back_within_it(ik):
    targets = ik.eef_poses(goals(ik, 5))
    joints, held = ik.solve(np.tile(ik.joint_range[:, 1] + 0.5, (5, 1)), targets, steps=0)
    np.testing.assert_array_equal(joints, np.tile(ik.joint_range[:, 1], (5, 1)))
    joints, held = ik.solve(np.tile(ik.joint_range[:, 1] + 0.5, (5, 1)), targets, steps=20)
    assert np.all(joints <= ik.joint_range[:, 1]) and not held.any()


def test_what_has_no_solution_holds_the_joints_and_is_counted(ik):
    starts, targets = goals(ik, 4), {eef: pose.copy() for eef, pose in ik.eef_poses(goals(ik, 4)[::-1]).items()}
    # As of an action whose quaternion is zero.
    targets["right"][2, :3, :3] = np.nan
    before = ik.held
    joints, held = ik.solve(starts, targets)
    assert held.tolist() == [False, False, True, False] and ik.held == before + 1
    np.testing.assert_array_equal(joints[2], starts[2])
    assert np.all(np.any(joints[[0, 1, 3]] != starts[[0, 1, 3]], axis=1))


def test_a_program_without_a_solution_holds_too(ik, monkeypatch):
    class Contradiction:
        """Asks for more than 1 and less than 0 of the first joint."""

        def compute_qp_inequalities(self, configuration, dt):
            row = np.eye(len(configuration.q))[:1]
            return np.vstack([row, -row]), np.array([0.0, -1.0])

    monkeypatch.setattr(ik, "_limit", Contradiction())
    before = ik.held
    joints, held = ik.solve(ik.posture[None], ik.eef_poses(goals(ik, 1)))
    assert held.all() and ik.held == before + 1
    np.testing.assert_array_equal(joints[0], ik.posture)


def test_a_result_does_not_depend_on_what_was_solved_before_or_beside_it(ik):
    starts, targets = goals(ik, 12), ik.eef_poses(goals(ik, 12)[::-1])
    together, _ = ik.solve(starts, targets)
    backwards = [ik.solve(starts[i : i + 1], {eef: pose[i : i + 1] for eef, pose in targets.items()})[0][0] for i in reversed(range(12))]
    np.testing.assert_array_equal(together, backwards[::-1])
    np.testing.assert_array_equal(together, g1.load_ik().solve(starts, targets)[0])


def test_a_link_that_is_not_there_is_named(ik):
    with pytest.raises(UserError, match="third_hand"):
        g1.load_ik({"left": "third_hand"})
