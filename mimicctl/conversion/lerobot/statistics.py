"""Statistics as LeRobot keeps them, of an episode and of all: minimum, maximum, mean, standard deviation, count and quantiles.

Those of several episodes are put together as LeRobot does it: what can be exact is, and quantiles are weighted means of the episodes' quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}

Stats = Mapping[str, np.ndarray]


def of_numbers(values: np.ndarray) -> dict[str, np.ndarray]:
    """Of (T, D) numbers, each (D,), count (1,)."""
    wide = values.astype(np.float64)
    quantiles = np.quantile(wide, list(_QUANTILES.values()), axis=0)
    spread = {"min": wide.min(axis=0), "max": wide.max(axis=0), "mean": wide.mean(axis=0), "std": wide.std(axis=0)}
    return {**spread, "count": np.array([len(wide)]), **dict(zip(_QUANTILES, quantiles, strict=True))}


class Colours:
    """Of pictures, counted as they come: each (3, 1, 1), with colours from 0 to 1; `count` counts pictures."""

    def __init__(self) -> None:
        self._seen = np.zeros((3, 256), np.int64)
        self._pictures = 0

    def add(self, pictures: np.ndarray) -> None:
        """(N, H, W, 3) uint8."""
        for channel in range(3):
            self._seen[channel] += np.bincount(pictures[..., channel].reshape(-1), minlength=256)
        self._pictures += len(pictures)

    def stats(self) -> dict[str, np.ndarray]:
        levels, pixels = np.arange(256) / 255, self._seen.sum(axis=1)
        mean = self._seen @ levels / pixels
        variance = self._seen @ levels**2 / pixels - mean**2
        reached = np.cumsum(self._seen, axis=1) / pixels[:, None]
        shares = {name: [np.searchsorted(row, share) / 255 for row in reached] for name, share in _QUANTILES.items()}
        ends = [np.flatnonzero(row)[[0, -1]] / 255 for row in self._seen]
        found = {"min": [low for low, _ in ends], "max": [high for _, high in ends], "mean": mean, "std": np.sqrt(np.maximum(variance, 0)), **shares}
        return {name: np.reshape(value, (3, 1, 1)) for name, value in found.items()} | {"count": np.array([self._pictures])}


def together(parts: Sequence[Stats]) -> dict[str, np.ndarray]:
    """Of one feature over several episodes, or groups of them."""
    counts = np.array([int(np.ravel(part["count"])[0]) for part in parts], np.float64)
    weights = counts / counts.sum()

    def weighted(values: Sequence[np.ndarray]) -> np.ndarray:
        return np.tensordot(weights, np.stack(values), axes=1)

    mean = weighted([np.asarray(part["mean"]) for part in parts])
    variance = weighted([np.asarray(part["std"]) ** 2 + (np.asarray(part["mean"]) - mean) ** 2 for part in parts])
    found = {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": np.array([int(counts.sum())]),
    }
    return found | {name: weighted([np.asarray(part[name]) for part in parts]) for name in _QUANTILES if all(name in part for part in parts)}


def all_together(episodes: Sequence[Mapping[str, Stats]]) -> dict[str, dict[str, np.ndarray]]:
    """`together` for each feature."""
    names = dict.fromkeys(name for episode in episodes for name in episode)
    return {name: together([episode[name] for episode in episodes if name in episode]) for name in names}
