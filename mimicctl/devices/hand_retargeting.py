"""From the poses of one hand to movement of one arm: the arm goes where the hand went since it was engaged, at a limited speed.

The movement is reckoned from an anchor, the poses of hand and eef when they were engaged, and not added up from step to step: however
much the arm lags behind, it arrives where the hand is, and a hand that comes back brings the arm back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimicctl import poses
from mimicctl.devices.fingers import gripper_of
from mimicctl.devices.hands import HandSample, grasps, guiding_pose

OPEN, CLOSE = 1.0, -1.0

_THERE = (1e-4, 1e-3)
"""[m, rad] Nearer than this to its target the arm is not moved at all."""


@dataclass(frozen=True)
class HandFeel:
    """How an arm follows a hand.

    Attributes:
        absolute: the anchor of the first engaging stays, so that a place of the hand is always the same place of the arm; otherwise each
            engaging has its own, so that the hand can be brought back like a mouse that is lifted.
        scale: (6,) movement of the arm by that of the hand; negative where it is inverted.
        smoothing: share of the last smoothed pose in the next, per control step.
        dead_bands: movement up to which the hand counts as still [m, rad]. The arm follows what goes beyond, so that slow movement is not lost.
        yaw_only: turns are about the vertical axis alone.
        point, turn: what of the hand is followed; see `guiding_pose`.
        step: the farthest that the arm is sent in a control step [m, rad].
    """

    absolute: bool
    scale: np.ndarray
    smoothing: float
    dead_bands: tuple[float, float]
    yaw_only: bool
    point: str
    turn: str
    step: tuple[float, float]


class HandRetargeter:
    """One hand that drives one arm. `gripper` is +1 open, -1 closed, or one such number for each joint that follows a finger.

    Args:
        feel: how.
        fingers: what the joints of the robot's hand follow (`TaskSpec.fingers`); empty: it is a gripper.
    """

    def __init__(self, feel: HandFeel, fingers: tuple[str, ...] = ()) -> None:
        self._feel, self._fingers = feel, fingers
        self.reset()

    def reset(self) -> None:
        """Forget the anchor and open the gripper: a new episode begins."""
        self.gripper = self._all(OPEN)
        self._anchor: tuple[np.ndarray, np.ndarray] | None = None
        self._steady: _Steady | None = None
        self._turn = np.zeros(3)

    def follow(self, sample: HandSample | None, eef_pose: np.ndarray) -> np.ndarray:
        """One control step.

        Args:
            sample: of the hand; None while it is not engaged or not seen. Arm and gripper then stay as they are.
            eef_pose: (4, 4) in the base frame.

        Returns:
            (6,) translation and rotation vector to send the eef by, in the base frame [m, rad].
        """
        pose = None if sample is None else guiding_pose(sample, point=self._feel.point, turn=self._feel.turn)
        if pose is None or not np.isfinite(pose).all():
            self._steady = None
            return np.zeros(6)
        self._follow_fingers(sample)
        if self._steady is None:
            self._steady, self._turn = _Steady(pose, self._feel), np.zeros(3)
            if self._anchor is None or not self._feel.absolute:
                self._anchor = pose, eef_pose
        return self._limited(poses.delta_between(eef_pose, self._target(self._steady.follow(pose))))

    def _follow_fingers(self, sample: HandSample) -> None:
        if self._fingers and sample.joints is not None:
            asked = gripper_of(sample, self._fingers)
            smooth = self._feel.smoothing * self.gripper + (1 - self._feel.smoothing) * asked
            self.gripper = np.where(np.isfinite(asked), smooth, self.gripper)
        elif (closes := grasps(sample)) is not None:
            self.gripper = self._all(CLOSE if closes else OPEN)

    def _all(self, gripper: float) -> float | np.ndarray:
        return np.array([gripper if finger else OPEN for finger in self._fingers]) if self._fingers else gripper

    def _target(self, hand: np.ndarray) -> np.ndarray:
        """(4, 4) Where the eef is to be when the hand is there."""
        hand_then, eef_then = self._anchor
        moved = poses.delta_between(hand_then, hand)
        if self._feel.yaw_only:
            moved[3:] = 0.0, 0.0, _yaw(poses.rotation(hand) @ poses.rotation(hand_then).T)
        moved[3:] = self._turn = _nearest_turn(moved[3:], self._turn)
        return poses.apply_delta(eef_then, self._feel.scale * moved)

    def _limited(self, delta: np.ndarray) -> np.ndarray:
        for part, there, farthest in zip((slice(0, 3), slice(3, 6)), _THERE, self._feel.step, strict=True):
            length = np.linalg.norm(delta[part])
            delta[part] *= 0.0 if length < there else min(1.0, farthest / length)
        return delta


class _Steady:
    """A pose without its tremor: smoothed, and followed only as far as it goes beyond a dead band."""

    def __init__(self, pose: np.ndarray, feel: HandFeel) -> None:
        self._smooth = self._obeyed = pose
        self._share, self._bands = 1.0 - feel.smoothing, feel.dead_bands

    def follow(self, pose: np.ndarray) -> np.ndarray:
        self._smooth = poses.apply_delta(self._smooth, self._share * poses.delta_between(self._smooth, pose))
        slack = poses.delta_between(self._obeyed, self._smooth)
        for part, band in zip((slice(0, 3), slice(3, 6)), self._bands, strict=True):
            length = np.linalg.norm(slack[part])
            slack[part] *= max(0.0, 1.0 - band / length) if length else 0.0
        self._obeyed = poses.apply_delta(self._obeyed, slack)
        return self._obeyed


def _yaw(rotation: np.ndarray) -> float:
    """[rad] The turn about z that is nearest to a rotation (3, 3)."""
    return float(np.arctan2(rotation[1, 0] - rotation[0, 1], rotation[0, 0] + rotation[1, 1]))


def _nearest_turn(rotvec: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Of the rotation vectors (3,) of the same rotation the one nearest to `before`, so that a turn goes on beyond half a circle."""
    angle = np.linalg.norm(rotvec)
    if angle < 1e-6:
        # No turn has no axis; whole turns are about the one that it had.
        whole = np.linalg.norm(before)
        return rotvec if whole < np.pi else before / whole * 2 * np.pi * round(whole / (2 * np.pi))
    rounds = np.round((before @ rotvec / angle - angle) / (2 * np.pi))
    return rotvec * (1 + 2 * np.pi * rounds / angle)
