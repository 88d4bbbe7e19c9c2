"""What a generation run says about itself, computed from its log of attempts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mimicctl.dataset.reader import demo_number
from mimicctl.statistics import rate_text, wilson_interval
from mimicctl.tasks import TaskSpec

_CELLS = (8, 8)


@dataclass(frozen=True)
class Contribution:
    """Which source demos a subtask of the accepted demos came from.

    Attributes:
        subtask: its name.
        counts: (source demo, accepted demos it supplied the subtask of), most first.
    """

    subtask: str
    counts: tuple[tuple[str, int], ...]

    @property
    def effective(self) -> float:
        """How many sources that supplied equally many would be as varied: one over the chance that two demos have the same (inverse Simpson index)."""
        counts = np.array([count for _, count in self.counts], dtype=float)
        return float(counts.sum() ** 2 / (counts**2).sum()) if len(counts) else 0.0

    @property
    def shares(self) -> tuple[tuple[str, float], ...]:
        """(source demo, its share of the accepted demos), largest first."""
        total = sum(count for _, count in self.counts)
        return tuple((name, count / total) for name, count in self.counts)


@dataclass(frozen=True)
class Motion:
    """How an eef moves in the accepted demos.

    Attributes:
        eef: its name.
        demos: how many were measured.
        fastest: highest speed in any of them [m/s].
        medians: name of a measure (`motion.motion_of`) to its median over them; None where there was nothing to measure.
    """

    eef: str
    demos: int
    fastest: float
    medians: dict[str, float | None]


@dataclass(frozen=True)
class GenerationReport:
    """Counts of a run.

    Attributes:
        attempts, successes: of the trials that were run.
        steps: control steps of all attempts.
        funnel: (subtask name, trials that completed it).
        reasons: (reason, subtask it happened in, count), most frequent first.
        yields: (source demo, trials that used it, successes among them), best first.
        contributions: of each subtask, who supplied it to the accepted demos.
        motion: how the accepted demos move; of a log that does not say, nothing.
        arms_held: control steps in which the arms of a humanoid stayed where they were, because no joints were found for their targets.
        sought, unplanned: ways that were to be planned, and those of them that were not found.
        coverage: object name to (8, 8) arrays of attempts and successes, over x (rows) and y (columns) of the reset range.
    """

    attempts: int
    successes: int
    steps: int
    funnel: tuple[tuple[str, int], ...]
    reasons: tuple[tuple[str, str, int], ...]
    yields: tuple[tuple[str, int, int], ...]
    contributions: tuple[Contribution, ...]
    motion: tuple[Motion, ...]
    arms_held: int
    sought: int
    unplanned: int
    coverage: dict[str, tuple[np.ndarray, np.ndarray]]

    @property
    def rate(self) -> str:
        return rate_text(self.successes, self.attempts)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        low, high = wilson_interval(self.successes, self.attempts)
        return {
            "attempts": self.attempts,
            "successes": self.successes,
            "success_rate_95": [low, high],
            "steps": self.steps,
            "funnel": [{"subtask": name, "completed": count} for name, count in self.funnel],
            "failures": [{"reason": reason, "subtask": where, "count": count} for reason, where, count in self.reasons],
            "sources": [{"demo": name, "used": used, "successes": good} for name, used, good in self.yields],
            "contributions": [
                {"subtask": c.subtask, "effective_sources": c.effective, "shares": [{"demo": name, "share": share} for name, share in c.shares]}
                for c in self.contributions
            ],
            "motion": [{"eef": m.eef, "demos": m.demos, "fastest": m.fastest, "medians": m.medians} for m in self.motion],
            **({"arms_held": self.arms_held} if self.arms_held else {}),
            **({"planning": {"sought": self.sought, "not_found": self.unplanned}} if self.sought else {}),
            "coverage": {name: {"attempts": a.tolist(), "successes": s.tolist()} for name, (a, s) in self.coverage.items()},
        }


def summarise(task: TaskSpec, attempts: Sequence[dict[str, Any]]) -> GenerationReport:
    """Make the report from the attempts log (`TrialResult.record`)."""
    failures = Counter(_failure(task, a) for a in attempts if not a["success"])
    used: Counter[str] = Counter()
    good: Counter[str] = Counter()
    for attempt in attempts:
        for name in {name for names in by_eef(task, attempt["sources"]).values() for name in names}:
            used[name] += 1
            good[name] += attempt["success"]
    by_yield = sorted(used, key=lambda name: (-good[name] / used[name], demo_number(name)))
    return GenerationReport(
        attempts=len(attempts),
        successes=sum(a["success"] for a in attempts),
        steps=sum(a["steps"] for a in attempts),
        funnel=tuple(
            (_subtask_name(task, eef, i), sum(by_eef(task, a["reached"])[eef] > i for a in attempts))
            for eef, subtasks in task.subtasks.items()
            for i in range(len(subtasks))
        ),
        reasons=tuple((reason, where, count) for (reason, where), count in failures.most_common()),
        yields=tuple((name, used[name], good[name]) for name in by_yield),
        contributions=_contributions(task, attempts),
        motion=_motion(attempts),
        arms_held=sum(a.get("arms_held", 0) for a in attempts),
        sought=sum(len(names) for a in attempts if "unplanned" in a for names in by_eef(task, a["sources"]).values()),
        unplanned=sum(len(a.get("unplanned", ())) for a in attempts),
        coverage={item.name: _coverage(task, attempts, item.name) for item in task.objects},
    )


def by_eef(task: TaskSpec, told: Any) -> dict[str, Any]:
    """What the log tells of each eef; of an only one it is told as such."""
    return told if isinstance(told, dict) else {task.eef_names[0]: told}


def _subtask_name(task: TaskSpec, eef: str, number: int) -> str:
    """With its eef, where there are several."""
    name = task.subtasks[eef][number].name
    return f"{eef}: {name}" if len(task.subtasks) > 1 else name


def _failure(task: TaskSpec, attempt: dict[str, Any]) -> tuple[str, str]:
    """Reason, and the subtask it happened in."""
    eef = attempt.get("failed_eef") or task.eef_names[0]
    reached = by_eef(task, attempt["reached"])[eef]
    return attempt["reason"], _subtask_name(task, eef, min(reached, len(task.subtasks[eef]) - 1))


def _contributions(task: TaskSpec, attempts: Sequence[dict[str, Any]]) -> tuple[Contribution, ...]:
    accepted = [by_eef(task, a["sources"]) for a in attempts if a["success"]]
    found = []
    for eef, subtasks in task.subtasks.items():
        for i in range(len(subtasks)):
            # A success that held before its last subtask began has none.
            counts = Counter(sources[eef][i] for sources in accepted if len(sources[eef]) > i)
            ordered = sorted(counts.items(), key=lambda item: (-item[1], demo_number(item[0])))
            found.append(Contribution(_subtask_name(task, eef, i), tuple(ordered)))
    return tuple(found)


def _motion(attempts: Sequence[dict[str, Any]]) -> tuple[Motion, ...]:
    measured = [a["motion"] for a in attempts if "motion" in a]
    if not measured:
        return ()
    found = []
    for eef in measured[0]:
        values = {key: [m[eef][key] for m in measured if m[eef][key] is not None] for key in measured[0][eef]}
        medians = {key: float(np.median(numbers)) if numbers else None for key, numbers in values.items()}
        found.append(Motion(eef, len(measured), max(values["peak_speed"]), medians))
    return tuple(found)


def _coverage(task: TaskSpec, attempts: Sequence[dict[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    starts = np.array([a["start"][name][:2] for a in attempts]).reshape(-1, 2)
    success = np.array([a["success"] for a in attempts], dtype=bool)
    span = task.reset.span_of(name)
    tried = np.histogram2d(*starts.T, bins=_CELLS, range=span)[0]
    succeeded = np.histogram2d(*starts[success].T, bins=_CELLS, range=span)[0]
    return tried.astype(int), succeeded.astype(int)
