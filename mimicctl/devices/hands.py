"""What hand tracking sees at one moment, in the operator's frame: x ahead, y left, z up, as the robot's base has it.

WebXR's frame is x right, y up, z backwards. A hand that points ahead with its palm down is not turned, in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mimicctl import poses

SIDES = ("left", "right")

_FINGER = ("metacarpal", "phalanx-proximal", "phalanx-intermediate", "phalanx-distal", "tip")
JOINTS = (
    "wrist",
    *("thumb-metacarpal", "thumb-phalanx-proximal", "thumb-phalanx-distal", "thumb-tip"),
    *(f"{finger}-finger-{part}" for finger in ("index", "middle", "ring", "pinky") for part in _FINGER),
)
"""In WebXR's order."""

THUMB_TIP, INDEX_TIP, RING_TIP, LITTLE_TIP = (JOINTS.index(f"{name}-tip") for name in ("thumb", "index-finger", "ring-finger", "pinky-finger"))
_THUMB_KNUCKLE, _INDEX_KNUCKLE = JOINTS.index("thumb-phalanx-proximal"), JOINTS.index("index-finger-phalanx-proximal")

_FROM_WEBXR = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""Directions of WebXR's frame to the operator's."""

_FARTHEST = 100.0
"""[m] Beyond it nothing is a hand."""

_CLOSE_GAP, _OPEN_GAP = 0.03, 0.05
"""[m] between the tips of thumb and finger, under which they pinch and over which they do not: Isaac Lab's."""
_CLOSE_PULL, _OPEN_PULL = 0.6, 0.4
"""The same of a trigger or a squeeze, from 0 to 1."""


@dataclass(frozen=True)
class HandSample:
    """A hand, or a controller held in it.

    Attributes:
        wrist: (4, 4) pose of the wrist, or of a controller's grip. Its own axes: x along the hand, z out of the back of it.
        joints: (25, 3) in the order of `JOINTS`; None for a controller.
        radii: (25,) of the joints [m], where they are known.
        trigger, squeeze: of a controller, from 0 to 1.
        thumbstick: (2,) to the right and ahead, from -1 to 1.
        primary, secondary: A or X, and B or Y, are pressed.
        tracked: it is seen; otherwise nothing else here counts.
    """

    wrist: np.ndarray
    joints: np.ndarray | None = None
    radii: np.ndarray | None = None
    trigger: float = 0.0
    squeeze: float = 0.0
    thumbstick: np.ndarray = field(default_factory=lambda: np.zeros(2))
    primary: bool = False
    secondary: bool = False
    tracked: bool = True


# What a hand does -------------------------------------------------------------------------------------


def gap(sample: HandSample, tip: int) -> float:
    """[m] From the tip of the thumb to that of a finger; endless for a controller."""
    return np.inf if sample.joints is None else float(np.linalg.norm(sample.joints[tip] - sample.joints[THUMB_TIP]))


def grasps(sample: HandSample) -> bool | None:
    """Whether thumb and index finger pinch, or the trigger is pulled; None in between, where it is as it was before."""
    if sample.joints is None:
        return _pulled(sample.trigger)
    return pinches(sample, INDEX_TIP)


def squeezes(sample: HandSample) -> bool | None:
    """Whether the grip of a controller is squeezed; None in between."""
    return _pulled(sample.squeeze)


def pinches(sample: HandSample, tip: int) -> bool | None:
    """Whether the thumb touches a finger; None in between."""
    apart = gap(sample, tip)
    return True if apart < _CLOSE_GAP else False if apart > _OPEN_GAP else None


def _pulled(value: float) -> bool | None:
    return True if value > _CLOSE_PULL else False if value < _OPEN_PULL else None


def guiding_pose(sample: HandSample, *, point: str, turn: str) -> np.ndarray | None:
    """The pose (4, 4) that the arm is to follow; None where the sample has none, because its joints lie on one another.

    Args:
        point: "wrist", or "pinch" for the middle between the tips of thumb and index finger.
        turn: "wrist", or "fingers" for the way thumb and index finger point.
    """
    if sample.joints is None:
        return sample.wrist
    place = poses.position(sample.wrist) if point == "wrist" else _between_tips(sample.joints)
    rotation = poses.rotation(sample.wrist) if turn == "wrist" else _finger_rotation(sample.joints)
    return None if rotation is None else poses.compose(rotation, place)


def _between_tips(joints: np.ndarray) -> np.ndarray:
    return (joints[THUMB_TIP] + joints[INDEX_TIP]) / 2


def _finger_rotation(joints: np.ndarray) -> np.ndarray | None:
    """(3, 3): x from the knuckles of thumb and index finger to between their tips, y across from knuckle to knuckle.

    The tips themselves give no y once they touch.
    """
    thumb, index = joints[_THUMB_KNUCKLE], joints[_INDEX_KNUCKLE]
    ahead = _between_tips(joints) - (thumb + index) / 2
    up = np.cross(ahead, thumb - index)
    lengths = np.linalg.norm(ahead), np.linalg.norm(up)
    if min(lengths) < 1e-6:
        return None
    x, z = ahead / lengths[0], up / lengths[1]
    return np.stack([x, np.cross(z, x), z], axis=-1)


# From WebXR -------------------------------------------------------------------------------------------


def hands_from_webxr(said: Any) -> dict[str, HandSample]:
    """What a WebXR session says of both hands; one that it does not see is left out or null.

        {"right": {"position": [x, y, z], "orientation": [x, y, z, w], "joints": [[x, y, z], ...], "radii": [...]},
         "left": {"position": ..., "orientation": ..., "buttons": [0.2, 1, ...], "axes": [0, 0, 0.1, -1]}}

    Positions are in metres, in the session's reference space. A hand has the 25 joints, a controller the values of its buttons and axes in the
    order of WebXR's layout "xr-standard"; its pose is that of the grip.

    Raises:
        ValueError: it is none, and why.
    """
    if not isinstance(said, dict) or (unknown := set(said) - set(SIDES)):
        raise ValueError(f'it has "{min(unknown)}", which is no hand.' if isinstance(said, dict) else "it is not an object with left and right.")
    return {side: _hand_from_webxr(side, hand) for side, hand in said.items() if hand is not None}


def _hand_from_webxr(side: str, said: Any) -> HandSample:
    if not isinstance(said, dict):
        raise ValueError(f"{side} is not an object.")
    if unknown := set(said) - {"position", "orientation", "joints", "radii", "buttons", "axes"}:
        raise ValueError(f'{side} has "{min(unknown)}", which means nothing here.')
    place = _numbers(said, side, "position", (3,))
    quat = _numbers(said, side, "orientation", (4,))
    if not 0.9 < np.linalg.norm(quat) < 1.1:
        raise ValueError(f"{side}.orientation must be a quaternion of length 1.")
    rotation = _FROM_WEBXR @ poses.matrix_from_quat(quat) @ _FROM_WEBXR.T
    wrist = poses.compose(rotation, _FROM_WEBXR @ place)
    if "joints" in said:
        radii = _numbers(said, side, "radii", (len(JOINTS),)) if "radii" in said else None
        return HandSample(wrist, _numbers(said, side, "joints", (len(JOINTS), 3)) @ _FROM_WEBXR.T, radii)
    buttons, axes = (_row(said, side, key) for key in ("buttons", "axes"))
    # xr-standard: trigger, squeeze, touchpad, thumbstick, A or X, B or Y; touchpad x and y, thumbstick x and y (backwards).
    trigger, squeeze, _, _, primary, secondary = np.pad(buttons[:6], (0, max(0, 6 - len(buttons))))
    right, back = np.pad(axes[:4], (0, max(0, 4 - len(axes))))[2:]
    stick = np.clip([right, -back], -1, 1)
    return HandSample(wrist, None, None, float(trigger), float(squeeze), stick, bool(primary > 0.5), bool(secondary > 0.5))


def _numbers(said: Mapping[str, Any], side: str, key: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        values = np.array(said.get(key), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        values = np.zeros(0)
    if values.shape != shape or not (np.abs(values) < _FARTHEST).all():
        raise ValueError(f"{side}.{key} must be {' x '.join(map(str, shape))} numbers between -{_FARTHEST:.0f} and {_FARTHEST:.0f}.")
    return values


def _row(said: Mapping[str, Any], side: str, key: str) -> np.ndarray:
    """However many a controller has."""
    length = len(said[key]) if isinstance(said.get(key), list) else 0
    return _numbers({key: said.get(key, [])}, side, key, (length,))
