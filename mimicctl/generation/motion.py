"""How smoothly a demonstration moves, and above all where its segments were joined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_AROUND = 2
"""Control steps before and after a stitch whose jerk counts as the stitch's: the arm feels a corner in its targets for about as long."""


def motion_of(positions: np.ndarray, stitches: Sequence[int], control_hz: float) -> dict[str, float | None]:
    """Measures of a path.

    Args:
        positions: (T + 1, 3) of an eef, before the first control step and after each [m].
        stitches: control steps with which a bridge or a segment begins.
        control_hz: control steps per second.

    Returns:
        "peak_speed" and "mean_speed" [m/s], "peak_acceleration" [m/s^2], and the root mean square of the jerk [m/s^3] around the stitches,
        "jerk_at_stitches", and of all else, "jerk_elsewhere"; None where there is nothing to measure.
    """
    velocity = np.diff(positions, axis=0) * control_hz
    acceleration = np.diff(velocity, axis=0) * control_hz
    jerk = np.linalg.norm(np.diff(acceleration, axis=0) * control_hz, axis=-1)
    # Jerk i comes of positions i to i + 3, so it is centred on control step i + 1.
    step = np.arange(len(jerk)) + 1
    near = (np.abs(step[:, None] - np.asarray(stitches, dtype=int)) <= _AROUND).any(axis=1)
    speed = np.linalg.norm(velocity, axis=-1)
    return {
        "peak_speed": _rounded(speed.max(initial=0.0)),
        "mean_speed": _rounded(speed.mean()) if len(speed) else None,
        "peak_acceleration": _rounded(np.linalg.norm(acceleration, axis=-1).max(initial=0.0)),
        "jerk_at_stitches": _root_mean_square(jerk[near]),
        "jerk_elsewhere": _root_mean_square(jerk[~near]),
    }


def _root_mean_square(values: np.ndarray) -> float | None:
    return _rounded(np.sqrt(np.mean(values**2))) if len(values) else None


def _rounded(value: float) -> float:
    return round(float(value), 5)
