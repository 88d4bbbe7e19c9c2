"""What a count of successes says, and how surely."""

from __future__ import annotations

from math import sqrt

_Z95 = 1.959963984540054


def wilson_interval(successes: int, trials: int, z: float = _Z95) -> tuple[float, float]:
    """Confidence interval of a success rate, 95 % by default.

    Source: Wilson (1927). (0, 1) when there are no trials.
    """
    if trials == 0:
        return 0.0, 1.0
    rate, scale = successes / trials, 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / scale
    half = z * sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials)) / scale
    # Bounded by the rate as well, which rounding puts outside by 1e-17 where all or none succeeded.
    return max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))


def rate_text(successes: int, trials: int) -> str:
    """For instance "97.0 % (970 of 1000; 95 % interval 95.8 to 97.9 %)"."""
    if trials == 0:
        return "no trials"
    low, high = wilson_interval(successes, trials)
    return f"{100 * successes / trials:.1f} % ({successes} of {trials}; 95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
