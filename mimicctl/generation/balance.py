"""Steering a run so that the demos it accepts cover the reset range evenly and no source demo dominates.

Attempts are made in rounds. What a round prefers follows from the log of the rounds before it and from nothing else, so it is the same for any number
of workers and after any interruption.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mimicctl.generation.report import by_eef
from mimicctl.tasks import TaskSpec

_FIRST_ROUND, _LAST_ROUND = 50, 500
"""Attempts of the first round, and the most that one has."""

_GROWTH = 0.5
"""Attempts of a round, relative to all before it: what one round gets wrong the next can make up for."""

_CELLS = 4
"""Number of them along x and y of the reset range. Finer cells would hold too few demos to tell uneven from chance."""

_LEAST = 0.05
"""Chance of a source demo to be considered, and weight of a cell relative to the mean, whatever there is of them already."""


@dataclass(frozen=True)
class Preferences:
    """What the trials of a round prefer.

    Attributes:
        cells: object name to weights (4, 4) of start states, over x and y of the reset range.
        chances: eef to, for each subtask, the chance of each source demo (by name) to be considered for it; 1 where none is given.
    """

    cells: dict[str, np.ndarray]
    chances: dict[str, tuple[dict[str, float], ...]]

    def weight(self, task: TaskSpec, starts: dict[str, np.ndarray]) -> float:
        """Of a start state: object name to pose (4, 4)."""
        return float(np.prod([self.cells[name][_cell(task, name, pose[:2, 3])] for name, pose in starts.items()]))

    def considered(self, eef: str, number: int, names: Sequence[str], rng: np.random.Generator) -> np.ndarray:
        """(D,) bool: which of the source demos `names` are considered for a subtask, by chance."""
        chances = self.chances[eef][number]
        return rng.random(len(names)) < [chances.get(name, 1.0) for name in names]


def round_of(trial: int) -> tuple[int, int]:
    """First trial, and last one exclusive, of the round that a trial is in."""
    first, end = 0, _FIRST_ROUND
    while end <= trial:
        first, end = end, end + min(max(_FIRST_ROUND, int(_GROWTH * end)), _LAST_ROUND)
    return first, end


def preferences(task: TaskSpec, names: Sequence[str], attempts: Sequence[dict[str, Any]], planned: int) -> Preferences | None:
    """For a round of `planned` attempts after `attempts` (`TrialResult.record`); None if nothing was accepted yet.

    Args:
        names: of the source demos.
    """
    accepted = [a for a in attempts if a["success"]]
    if not accepted:
        return None
    expected = planned * len(accepted) / len(attempts)
    return Preferences(
        cells={item.name: _cell_weights(task, attempts, item.name, expected) for item in task.objects},
        chances={
            eef: tuple(_chances(names, [by_eef(task, a["sources"])[eef] for a in accepted], number, expected) for number in range(len(subtasks)))
            for eef, subtasks in task.subtasks.items()
        },
    )


def _cell_weights(task: TaskSpec, attempts: Sequence[dict[str, Any]], name: str, expected: float) -> np.ndarray:
    """How many attempts each cell is short of, with mean 1: the demos that it lacks for an even share, by its success rate."""
    tried, accepted = np.zeros((_CELLS, _CELLS)), np.zeros((_CELLS, _CELLS))
    for attempt in attempts:
        cell = _cell(task, name, np.array(attempt["start"][name][:2]))
        tried[cell] += 1
        accepted[cell] += attempt["success"]
    lacking = np.maximum(0.0, (accepted.sum() + expected) / accepted.size - accepted)
    wanted = lacking * (tried + 2) / (accepted + 1)
    weights = wanted / wanted.mean()
    return np.maximum(weights, _LEAST)


def _chances(names: Sequence[str], sources: Sequence[Sequence[str]], number: int, expected: float) -> dict[str, float]:
    """Of each source demo: what it lacks for an even share, relative to what it would supply if it went on as before."""
    counts = Counter(by_subtask[number] for by_subtask in sources if len(by_subtask) > number)
    total = sum(counts.values())
    even = (total + expected) / len(names)
    return {name: float(np.clip((even - count) / (expected * count / total), _LEAST, 1.0)) for name, count in counts.items()}


def _cell(task: TaskSpec, name: str, place: np.ndarray) -> tuple[int, int]:
    low, high = np.array(task.reset.span_of(name)).T
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = np.where(high > low, (place - low) / (high - low), 0.0)
    x, y = np.clip((_CELLS * fraction).astype(int), 0, _CELLS - 1)
    return int(x), int(y)
