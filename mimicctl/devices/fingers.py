"""How far a person's fingers are curled, and a robot's with them: for hands whose fingers close joint by joint, without a model of them.

`dexterous` has the more exact way, which brings fingertips to fingertips and takes a solver.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mimicctl.devices.hands import JOINTS, HandSample

FINGERS = ("thumb", "index", "middle", "ring", "pinky")

_CHAINS = {finger: [number for number, joint in enumerate(JOINTS) if joint.startswith(finger)] for finger in FINGERS}
# All the bends of a finger together [rad]: at rest, and about something that is held.
_STRAIGHT, _CURLED = {"thumb": 0.3}, {"thumb": 1.0}
_STRAIGHT_FINGER, _CURLED_FINGER = 0.5, 2.5


def curl(sample: HandSample, finger: str) -> float:
    """0 straight to 1 as about something that is held, of one of `FINGERS`; NaN where joints lie on one another."""
    bones = np.diff(sample.joints[_CHAINS[finger]], axis=0)
    lengths = np.linalg.norm(bones, axis=1, keepdims=True)
    ways = np.divide(bones, lengths, out=np.full_like(bones, np.nan), where=lengths > 1e-6)
    bend = np.arccos(np.clip(np.sum(ways[:-1] * ways[1:], axis=1), -1, 1)).sum()
    straight, curled = _STRAIGHT.get(finger, _STRAIGHT_FINGER), _CURLED.get(finger, _CURLED_FINGER)
    return float(np.clip((bend - straight) / (curled - straight), 0, 1))


def gripper_of(sample: HandSample, followed: Sequence[str]) -> np.ndarray:
    """(H,) of joints that each follow a finger, 1 open to -1 closed; of one that follows none ("") it stays open."""
    curls = {finger: curl(sample, finger) for finger in set(followed) if finger}
    return np.array([1 - 2 * curls[finger] if finger else 1.0 for finger in followed])
