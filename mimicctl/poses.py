"""Batched rigid-body poses.

A pose is a homogeneous matrix (..., 4, 4), float64, metres; `pose_a_in_b` maps points of frame a
into frame b, so `pose_b_in_c @ pose_a_in_b` is `pose_a_in_c`. Quaternions are (..., 4) in x, y, z, w
order, the order of Isaac Lab 3; `xyzw_from_wxyz` and `wxyz_from_xyzw` are the only places that know
another one. A rotation vector is axis times angle, radians.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "along_z",
    "apply_delta",
    "compose",
    "delta_between",
    "interpolate",
    "inverse",
    "matrix_from_quat",
    "matrix_from_rotvec",
    "pose_from_quat",
    "position",
    "quat_beside",
    "quat_from_matrix",
    "relative_yaw",
    "rotation",
    "rotation_angle",
    "rotvec_from_matrix",
    "wxyz_from_xyzw",
    "xyzw_from_wxyz",
    "yaw_pose",
]

_SMALL_ANGLE = 1e-8


def compose(rotation_matrix: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Pose (..., 4, 4) from a rotation (..., 3, 3) and a translation (..., 3)."""
    rotation_matrix, translation = np.asarray(rotation_matrix), np.asarray(translation)
    batch = np.broadcast_shapes(rotation_matrix.shape[:-2], translation.shape[:-1])
    pose = np.zeros((*batch, 4, 4))
    pose[..., :3, :3] = rotation_matrix
    pose[..., :3, 3] = translation
    pose[..., 3, 3] = 1.0
    return pose


def position(pose: np.ndarray) -> np.ndarray:
    """Translation part (..., 3), a view."""
    return pose[..., :3, 3]


def rotation(pose: np.ndarray) -> np.ndarray:
    """Rotation part (..., 3, 3), a view."""
    return pose[..., :3, :3]


def inverse(pose: np.ndarray) -> np.ndarray:
    """Inverse of rigid poses: transpose and back-substitute, no linear solve."""
    back = np.swapaxes(rotation(pose), -1, -2)
    return compose(back, -(back @ position(pose)[..., None])[..., 0])


def xyzw_from_wxyz(quat: np.ndarray) -> np.ndarray:
    return np.asarray(quat)[..., [1, 2, 3, 0]]


def wxyz_from_xyzw(quat: np.ndarray) -> np.ndarray:
    return np.asarray(quat)[..., [3, 0, 1, 2]]


def along_z(pose: np.ndarray, distance: float) -> np.ndarray:
    """Pose (..., 4, 4) shifted along its own z axis [m]."""
    moved = np.array(pose)
    moved[..., :3, 3] += distance * moved[..., :3, 2]
    return moved


def matrix_from_quat(quat: np.ndarray) -> np.ndarray:
    """Rotation (..., 3, 3) of quaternions (..., 4), xyzw, of any non-zero length."""
    quat = np.asarray(quat, dtype=np.float64)
    unit = quat / np.linalg.norm(quat, axis=-1, keepdims=True)
    x, y, z, w = unit[..., 0], unit[..., 1], unit[..., 2], unit[..., 3]
    matrix = np.empty((*quat.shape[:-1], 3, 3))
    matrix[..., 0, 0] = 1 - 2 * (y * y + z * z)
    matrix[..., 0, 1] = 2 * (x * y - z * w)
    matrix[..., 0, 2] = 2 * (x * z + y * w)
    matrix[..., 1, 0] = 2 * (x * y + z * w)
    matrix[..., 1, 1] = 1 - 2 * (x * x + z * z)
    matrix[..., 1, 2] = 2 * (y * z - x * w)
    matrix[..., 2, 0] = 2 * (x * z - y * w)
    matrix[..., 2, 1] = 2 * (y * z + x * w)
    matrix[..., 2, 2] = 1 - 2 * (x * x + y * y)
    return matrix


def quat_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """Unit quaternions (..., 4), xyzw with w >= 0, of rotations (..., 3, 3).

    Each of the four components can be had from the diagonal; the largest one is taken and the others
    divided by it, so no rotation is ill-conditioned (Shepperd, 1978).
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    m00, m11, m22 = matrix[..., 0, 0], matrix[..., 1, 1], matrix[..., 2, 2]
    xy, xz, yz = (matrix[..., i, j] + matrix[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    wx = matrix[..., 2, 1] - matrix[..., 1, 2]
    wy = matrix[..., 0, 2] - matrix[..., 2, 0]
    wz = matrix[..., 1, 0] - matrix[..., 0, 1]
    # Row i is 4 * component_i * (x, y, z, w). Filled in, since stacking takes longer than all the rest.
    rows = np.empty((*matrix.shape[:-2], 4, 4))
    rows[..., 0, 0], rows[..., 1, 1] = 1 + m00 - m11 - m22, 1 - m00 + m11 - m22
    rows[..., 2, 2], rows[..., 3, 3] = 1 - m00 - m11 + m22, 1 + m00 + m11 + m22
    rows[..., 0, 1] = rows[..., 1, 0] = xy
    rows[..., 0, 2] = rows[..., 2, 0] = xz
    rows[..., 1, 2] = rows[..., 2, 1] = yz
    rows[..., 0, 3] = rows[..., 3, 0] = wx
    rows[..., 1, 3] = rows[..., 3, 1] = wy
    rows[..., 2, 3] = rows[..., 3, 2] = wz
    largest = np.argmax(np.diagonal(rows, axis1=-2, axis2=-1), axis=-1)
    quat = np.take_along_axis(rows, largest[..., None, None], -2)[..., 0, :]
    quat = quat / np.linalg.norm(quat, axis=-1, keepdims=True)
    return np.where(quat[..., 3:] < 0, -quat, quat)


def quat_beside(quat: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Of the two quaternions (..., 4) of each rotation, q and -q, the one on the side of `reference` (4,).

    The sign is then continuous wherever the rotation is less than pi away from the reference.
    """
    return np.where(np.sum(quat * np.asarray(reference), axis=-1, keepdims=True) < 0, -quat, quat)


def pose_from_quat(translation: np.ndarray, quat: np.ndarray) -> np.ndarray:
    """Pose (..., 4, 4) from a translation (..., 3) and a quaternion (..., 4), xyzw."""
    return compose(matrix_from_quat(quat), translation)


def matrix_from_rotvec(rotvec: np.ndarray) -> np.ndarray:
    """Rotation (..., 3, 3) of rotation vectors (..., 3), by Rodrigues' formula."""
    rotvec = np.asarray(rotvec, dtype=np.float64)
    angle = np.linalg.norm(rotvec, axis=-1)
    small = angle < _SMALL_ANGLE
    safe = np.where(small, 1.0, angle)
    # sin(a)/a and (1 - cos(a))/a^2, with their limits at zero.
    sinc = np.where(small, 1.0, np.sin(safe) / safe)[..., None, None]
    cosc = np.where(small, 0.5, 2.0 * np.square(np.sin(0.5 * safe) / safe))[..., None, None]
    cross = np.zeros((*rotvec.shape[:-1], 3, 3))
    x, y, z = rotvec[..., 0], rotvec[..., 1], rotvec[..., 2]
    cross[..., 0, 1], cross[..., 0, 2], cross[..., 1, 2] = -z, y, -x
    cross[..., 1, 0], cross[..., 2, 0], cross[..., 2, 1] = z, -y, x
    return np.eye(3) + sinc * cross + cosc * (cross @ cross)


def rotvec_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3), angle in [0, pi], of rotations (..., 3, 3)."""
    quat = quat_from_matrix(matrix)
    length = np.linalg.norm(quat[..., :3], axis=-1, keepdims=True)
    small = length < _SMALL_ANGLE
    angle = 2.0 * np.arctan2(length, quat[..., 3:])
    return quat[..., :3] * np.where(small, 2.0, angle / np.where(small, 1.0, length))


def rotation_angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle (...) in radians between rotations (..., 3, 3)."""
    return np.linalg.norm(rotvec_from_matrix(a @ np.swapaxes(b, -1, -2)), axis=-1)


def apply_delta(pose: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """Pose moved by `delta` (..., 6): translation, then rotation vector, both in the base frame.

    The rotation multiplies from the left: this is the relative pose of Isaac Lab's differential IK action.
    """
    delta = np.asarray(delta)
    return compose(matrix_from_rotvec(delta[..., 3:]) @ rotation(pose), position(pose) + delta[..., :3])


def delta_between(pose: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The (..., 6) delta that `apply_delta` needs to move `pose` to `target`."""
    turn = rotation(target) @ np.swapaxes(rotation(pose), -1, -2)
    return np.concatenate([position(target) - position(pose), rotvec_from_matrix(turn)], axis=-1)


def interpolate(start: np.ndarray, end: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Poses (T, 4, 4) on the straight line from `start` to `end` (4, 4) at `fraction` (T,), turning at a constant rate."""
    fraction = np.asarray(fraction, dtype=np.float64)[:, None]
    delta = delta_between(start, end)
    turned = matrix_from_rotvec(fraction * delta[3:]) @ rotation(start)
    return compose(turned, position(start) + fraction * delta[:3])


def yaw_pose(translation: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """Pose (..., 4, 4) at `translation` (..., 3) turned by `yaw` (...) [rad] about z."""
    yaw = np.asarray(yaw, dtype=np.float64)
    rotvec = np.zeros((*yaw.shape, 3))
    rotvec[..., 2] = yaw
    return compose(matrix_from_rotvec(rotvec), translation)


def relative_yaw(frame: np.ndarray, turned: np.ndarray, symmetry: int) -> np.ndarray:
    """(..., 2): cosine and sine of the yaw of one rotation (..., 3, 3) in the frame of another, times `symmetry`: what an n-th of a turn does not change reads alike."""
    axis = np.einsum("...ij,...i->...j", frame, turned[..., 0])
    angle = symmetry * np.arctan2(axis[..., 1], axis[..., 0])
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)
