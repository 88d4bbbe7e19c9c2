"""What a WebXR session would say of hands and controllers that are where a test puts them."""

from __future__ import annotations

from typing import Any

import numpy as np

from mimicctl import poses

# Along each finger from the wrist, spread sideways, right hand, palm down; WebXR's axes: x right, y up, z backwards [m].
_SPREAD = {"thumb": -0.045, "index": -0.025, "middle": 0.0, "ring": 0.02, "pinky": 0.04}
_ALONG = {"thumb": (0.03, 0.06, 0.09, 0.11), "index": (0.04, 0.09, 0.13, 0.155, 0.175), "middle": (0.04, 0.09, 0.135, 0.165, 0.185)}
_ALONG |= {"ring": _ALONG["index"], "pinky": (0.04, 0.08, 0.11, 0.13, 0.145)}
_TIPS = {"index": 9, "middle": 14, "ring": 19, "pinky": 24}


_BENDS = {"thumb": 0.55}
_BEND = 0.9
"""Of each joint of a finger that is all curled [rad]."""


def hand(position: Any = (0, 0, 0), quat: Any = (0, 0, 0, 1), *, touching: str = "", side: str = "right", curl: float = 0.0) -> dict[str, Any]:
    """A flat hand, fingers ahead, or curled by a share; the thumb touches the finger `touching`. Position and quaternion (xyzw) in WebXR's frame."""
    flip = 1 if side == "right" else -1
    local = np.array([(0.0, 0.0, 0.0), *((flip * _SPREAD[finger], *place) for finger in _SPREAD for place in _bent(finger, curl))])
    if touching:
        # Thumb and finger come to each other under the palm.
        local[4] = np.array([local[_TIPS[touching]][0] / 2, -0.05, -0.09])
        local[_TIPS[touching]] = local[4] + [0.0, 0.012, 0.0]
    joints = local @ poses.matrix_from_quat(np.array(quat)).T + position
    return {"position": list(position), "orientation": list(quat), "joints": joints.tolist(), "radii": [0.01] * 25}


def _bent(finger: str, curl: float) -> np.ndarray:
    """(J, 2): y and z of a finger's joints, curled down under the palm."""
    angles = curl * _BENDS.get(finger, _BEND) * np.arange(len(_ALONG[finger]))
    angles[1:] = angles[:-1]  # the first bone, and the second up to its knuckle, stay in the palm
    bones = np.diff(_ALONG[finger], prepend=0.0)
    return np.cumsum(bones[:, None] * np.stack([-np.sin(angles), -np.cos(angles)], axis=1), axis=0)


def controller(
    position: Any = (0, 0, 0), quat: Any = (0, 0, 0, 1), *, trigger: float = 0, squeeze: float = 0, lower: int = 0, upper: int = 0
) -> dict[str, Any]:
    return {"position": list(position), "orientation": list(quat), "buttons": [trigger, squeeze, 0, 0, lower, upper], "axes": [0, 0, 0, 0]}
