"""What an evaluation found: rates, where rollouts got stuck, how the checkpoints compare, and how sure all that is."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mimicctl.errors import UserError
from mimicctl.evaluation.checkpoints import labels_of
from mimicctl.evaluation.rollouts import Rollout
from mimicctl.evaluation.statistics import PairedComparison, compare_paired
from mimicctl.statistics import rate_text, wilson_interval
from mimicctl.tasks import TaskSpec

_CHANCE = 0.05
"""p-values below this are called unlikely to be chance."""


@dataclass(frozen=True)
class Evaluation:
    """One checkpoint's rollouts, in the order of their numbers."""

    checkpoint: Path
    rollouts: tuple[Rollout, ...]

    @property
    def successes(self) -> int:
        return sum(rollout.success for rollout in self.rollouts)

    @property
    def rate(self) -> str:
        return rate_text(self.successes, len(self.rollouts))

    def failures_by_subtask(self, task: TaskSpec) -> dict[str, int]:
        """Subtask to the number of rollouts that got stuck in it. One in which several eefs did counts for each of them."""
        label = "{name}" if len(task.eef_names) == 1 else "{eef}: {name}"
        ended = {eef: [label.format(eef=eef, name=s.name) for s in subtasks if s.term_signal] for eef, subtasks in task.subtasks.items()}
        # An eef that has done its part may be waiting for another, so the end counts where all have come to it.
        end = " and ".join(dict.fromkeys(subtasks[-1].name for subtasks in task.subtasks.values()))
        stuck = dict.fromkeys([*itertools.chain.from_iterable(ended.values()), end], 0)
        for rollout in self.rollouts:
            if not rollout.success:
                behind = [ended[eef][count] for eef, count in rollout.reached.items() if count < len(ended[eef])]
                for name in behind or [end]:
                    stuck[name] += 1
        return stuck


def best_of(evaluations: Sequence[Evaluation]) -> Evaluation:
    """The one with the most successes; of several, the first."""
    return max(evaluations, key=lambda e: e.successes)


def compare_to(best: Evaluation, other: Evaluation) -> PairedComparison:
    """The best first."""
    return compare_paired([r.success for r in best.rollouts], [r.success for r in other.rollouts])


def in_words(compared: PairedComparison) -> str:
    """The second of two policies, beside the first, which is the best."""
    differing = compared.only_first + compared.only_second
    if not differing:
        return "the same rollouts succeed"
    points = 100 * (compared.only_first - compared.only_second) / compared.trials
    gap = f"{points:.1f} points worse" if points else "as good"
    verdict = "hardly by chance" if compared.p_value < _CHANCE else "may be chance"
    return f"{gap}, {verdict} (p = {compared.p_value:.2g}): wins {compared.only_second} of the {differing} start states where they differ"


def as_dict(task: TaskSpec, evaluations: Sequence[Evaluation], facts: dict[str, Any]) -> dict[str, Any]:
    """JSON-able: `facts`, and all checkpoints; with several, each but the best has its comparison to it."""
    best = best_of(evaluations)
    data = {**facts, "checkpoints": [_checkpoint_as_dict(task, e) for e in evaluations]}
    if len(evaluations) > 1:
        data["best"] = str(best.checkpoint)
        for entry, evaluation in zip(data["checkpoints"], evaluations, strict=True):
            if evaluation is not best:
                compared = asdict(compare_to(best, evaluation))
                renamed = {"only_first": "only_best", "only_second": "only_this"}
                entry["compared_to_best"] = {renamed.get(key, key): value for key, value in compared.items()}
    return data


def _checkpoint_as_dict(task: TaskSpec, evaluation: Evaluation) -> dict[str, Any]:
    low, high = wilson_interval(evaluation.successes, len(evaluation.rollouts))
    return {
        "checkpoint": str(evaluation.checkpoint),
        "successes": evaluation.successes,
        "rollouts": len(evaluation.rollouts),
        "interval_95": [low, high],
        "failures": evaluation.failures_by_subtask(task),
        "results": [vars(rollout) for rollout in evaluation.rollouts],
    }


def writable_folder(path: Path) -> Path:
    """An absolute path of a folder that can be written to, or made. Nothing is written yet.

    Raises:
        UserError: it cannot.
    """
    path = path.expanduser().absolute()
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    try:
        # Tried, because permissions alone do not tell: a file system may be read-only or full.
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise UserError(f"The report cannot be written here: {error.strerror}.", where=str(existing), do="choose another --output-dir") from None
    return path


def write_report(folder: Path, data: dict[str, Any], evaluations: Sequence[Evaluation]) -> tuple[Path, Path]:
    """`evaluation.json`, which holds `data`, and `evaluation.png` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    report, picture = folder / "evaluation.json", folder / "evaluation.png"
    partial = folder / ".evaluation.partial.json", folder / ".evaluation.partial.png"
    partial[0].write_text(json.dumps(data, indent=1))
    _plot(evaluations, partial[1])
    os.replace(partial[0], report)
    os.replace(partial[1], picture)
    return report, picture


def _plot(evaluations: Sequence[Evaluation], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for i, evaluation in enumerate(evaluations):
        rate = evaluation.successes / len(evaluation.rollouts)
        low, high = wilson_interval(evaluation.successes, len(evaluation.rollouts))
        axes.errorbar(i, 100 * rate, yerr=[[100 * (rate - low)], [100 * (high - rate)]], fmt="o", capsize=4, color="C0")
    labels = [label.replace("model_", "").replace("_best_validation_", " best\n") for label in labels_of([e.checkpoint for e in evaluations])]
    axes.set_xticks(range(len(labels)), labels, rotation=45 if len(labels) > 4 else 0, ha="right" if len(labels) > 4 else "center")
    axes.set_ylim(0, 102)
    axes.set_ylabel("success [%], 95 % interval")
    axes.set_title(f"{len(evaluations[0].rollouts)} rollouts each, same start states")
    axes.grid(axis="y", alpha=0.3)
    figure.savefig(path, dpi=120)
