"""Differential inverse kinematics by damped least squares, within the joints' limits, batched over envs."""

from __future__ import annotations

import numpy as np

DAMPING = 0.03
"""lambda; Isaac Lab's 0.01 behaves the same away from singular poses, and worse near the edge of the reach."""


def joint_step(jacobian: np.ndarray, pose_error: np.ndarray, damping: float = DAMPING) -> np.ndarray:
    """Joint displacement that reduces a pose error.

    `dq = J^T (J J^T + lambda^2 I)^-1 e`, solved env by env inside one call, so that a row's bits do not depend
    on how many rows there are.

    Args:
        jacobian: (n, 6, J) of the controlled point, world frame, translation rows first.
        pose_error: (n, 6) translation [m], then rotation vector [rad], world frame.
        damping: lambda.

    Returns:
        (n, J) [rad].

    Source: Wampler (1986); Isaac Lab's `dls` method uses the same formula.
    """
    transposed = np.swapaxes(jacobian, -1, -2)
    normal = jacobian @ transposed + (damping * damping) * np.eye(6)
    return (transposed @ np.linalg.solve(normal, pose_error[..., None]))[..., 0]


def step_within(jacobian: np.ndarray, pose_error: np.ndarray, lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """`joint_step` that keeps to limits: joints that would pass theirs stop there, and the others make the best of what is left of the error.

    Cutting off a joint alone would let the rest of the step act without it: an arm at the end of its reach, with its elbow stopped, falls forward.

    Args:
        lowest, highest: (n, J) displacement at least and at most [rad].
    """
    step = joint_step(jacobian, pose_error)
    stopped = np.zeros(step.shape, dtype=bool)
    while np.any(passing := ~stopped & ((step < lowest) | (step > highest))):
        rows = np.flatnonzero(passing.any(axis=-1))
        stopped |= passing
        step[rows] = np.clip(step[rows], lowest[rows], highest[rows])
        held = stopped[rows]
        left = pose_error[rows] - (jacobian[rows] @ (step[rows] * held)[..., None])[..., 0]
        step[rows] = np.where(held, step[rows], joint_step(jacobian[rows] * ~held[:, None], left))
    return step
