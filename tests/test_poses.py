"""Poses agree with scipy's Rotation on anything."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from mimicctl import poses

_NUMBER = st.floats(-10, 10, allow_subnormal=False)
rotvecs = arrays(np.float64, (5, 3), elements=st.floats(-3.1, 3.1, allow_subnormal=False))
translations = arrays(np.float64, (5, 3), elements=_NUMBER)


def pose_of(rotvec: np.ndarray, translation: np.ndarray) -> np.ndarray:
    return poses.compose(Rotation.from_rotvec(rotvec).as_matrix(), translation)


@given(rotvecs)
def test_rotation_vectors_agree_with_scipy(rotvec):
    np.testing.assert_allclose(poses.matrix_from_rotvec(rotvec), Rotation.from_rotvec(rotvec).as_matrix(), atol=1e-12)


@given(rotvecs)
def test_quaternions_agree_with_scipy_and_have_positive_w(rotvec):
    matrix = Rotation.from_rotvec(rotvec).as_matrix()
    quat = poses.quat_from_matrix(matrix)
    assert np.all(quat[:, 3] >= 0)
    np.testing.assert_allclose(Rotation.from_quat(quat).as_matrix(), matrix, atol=1e-12)
    np.testing.assert_allclose(poses.matrix_from_quat(quat), matrix, atol=1e-12)


@given(rotvecs, arrays(np.float64, 4, elements=st.floats(-1, 1, allow_subnormal=False)))
def test_quaternions_on_the_side_of_a_reference_are_the_same_rotations(rotvec, reference):
    quat = Rotation.from_rotvec(rotvec).as_quat()
    beside = poses.quat_beside(quat, reference)
    assert np.all(beside @ reference >= 0)
    np.testing.assert_array_equal(np.abs(beside), np.abs(quat))
    np.testing.assert_allclose(Rotation.from_quat(beside).as_matrix(), Rotation.from_quat(quat).as_matrix(), atol=1e-12)


@given(rotvecs)
def test_rotation_vector_survives_the_way_through_a_matrix(rotvec):
    back = poses.rotvec_from_matrix(poses.matrix_from_rotvec(rotvec))
    np.testing.assert_allclose(poses.matrix_from_rotvec(back), poses.matrix_from_rotvec(rotvec), atol=1e-9)
    assert np.all(np.linalg.norm(back, axis=-1) <= np.pi + 1e-9)


@given(rotvecs, translations)
def test_inverse_undoes_a_pose(rotvec, translation):
    pose = pose_of(rotvec, translation)
    np.testing.assert_allclose(poses.inverse(pose) @ pose, np.broadcast_to(np.eye(4), (5, 4, 4)), atol=1e-9)


@given(rotvecs, translations, rotvecs, translations)
def test_delta_between_is_what_apply_delta_needs(r1, t1, r2, t2):
    start, end = pose_of(r1, t1), pose_of(r2, t2)
    np.testing.assert_allclose(poses.apply_delta(start, poses.delta_between(start, end)), end, atol=1e-7)


@given(rotvecs, translations)
def test_interpolation_begins_and_ends_where_it_should(rotvec, translation):
    path = poses.interpolate(np.eye(4), pose_of(rotvec, translation)[0], np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(path[0], np.eye(4), atol=1e-12)
    np.testing.assert_allclose(path[2], pose_of(rotvec, translation)[0], atol=1e-7)
    np.testing.assert_allclose(path[1, :3, 3], translation[0] / 2, atol=1e-12)


@given(rotvecs)
def test_rotation_angle_is_that_of_scipy(rotvec):
    matrix = Rotation.from_rotvec(rotvec).as_matrix()
    expected = Rotation.from_rotvec(rotvec).magnitude()
    np.testing.assert_allclose(poses.rotation_angle(matrix, np.eye(3)), expected, atol=1e-7)


def test_batched_and_single_calls_give_the_same_bits():
    rng = np.random.default_rng(0)
    a = pose_of(rng.normal(size=(9, 3)), rng.normal(size=(9, 3)))
    b = pose_of(rng.normal(size=(9, 3)), rng.normal(size=(9, 3)))
    whole = poses.delta_between(a, b)
    assert all(np.array_equal(whole[i : i + 1], poses.delta_between(a[i : i + 1], b[i : i + 1])) for i in range(9))


def test_wxyz_and_xyzw_are_each_other_turned_round():
    quat = np.array([0.1, 0.2, 0.3, 0.9])
    assert np.array_equal(poses.xyzw_from_wxyz(poses.wxyz_from_xyzw(quat)), quat)
    assert poses.wxyz_from_xyzw(quat)[0] == 0.9
