"""What an evaluation under changed scenes found: Isaac Lab's text files, JSON, a plot."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mimicctl.evaluation.robust import Cell
from mimicctl.evaluation.rollouts import Rollout
from mimicctl.evaluation.statistics import PairedComparison, compare_paired
from mimicctl.statistics import rate_text, wilson_interval

VANILLA = "vanilla"
_OVERALL = "overall"


@dataclass(frozen=True)
class Results:
    """Finished cells, each with its rollouts in order of their numbers, and the labels of the checkpoints."""

    cells: Mapping[Cell, tuple[Rollout, ...]]
    labels: Mapping[Path, str]

    @property
    def settings(self) -> list[str]:
        return list(dict.fromkeys(cell.setting for cell in self.cells))

    @property
    def seeds(self) -> list[int]:
        return list(dict.fromkeys(cell.seed for cell in self.cells))

    @property
    def checkpoints(self) -> list[Path]:
        return [path for path in self.labels if any(cell.checkpoint == path for cell in self.cells)]

    def of(self, setting: str, checkpoint: Path, seeds: Sequence[int] | None = None) -> list[bool]:
        """Successes of a checkpoint under a setting, seed by seed."""
        wanted = (Cell(seed, setting, checkpoint) for seed in (self.seeds if seeds is None else seeds))
        return [rollout.success for cell in wanted for rollout in self.cells.get(cell, ())]

    def beside_vanilla(self, setting: str, checkpoint: Path) -> PairedComparison | None:
        """Vanilla first, on the start states that both were rolled out on; None where there are none."""
        both = [s for s in self.seeds if all(Cell(s, name, checkpoint) in self.cells for name in (VANILLA, setting))]
        if setting == VANILLA or not both:
            return None
        return compare_paired(self.of(VANILLA, checkpoint, both), self.of(setting, checkpoint, both))

    def best(self, setting: str, seeds: Sequence[int] | None = None) -> Path:
        """The checkpoint of the highest rate; of several, the first."""
        rated = [path for path in self.checkpoints if self.of(setting, path, seeds)]
        return max(rated, key=lambda path: _rate(self.of(setting, path, seeds)))


def _rate(successes: Sequence[bool]) -> float:
    return sum(successes) / len(successes)


def table_rows(results: Results) -> list[tuple[str, str, str, str]]:
    """Setting, checkpoint, success over all seeds, and beside vanilla: a row for each that was rolled out."""
    rows = []
    for setting in results.settings:
        for path in results.checkpoints:
            successes = results.of(setting, path)
            if successes:
                rows.append((setting, results.labels[path], rate_text(sum(successes), len(successes)), _in_words(results.beside_vanilla(setting, path))))
    return rows


def _in_words(compared: PairedComparison | None) -> str:
    if compared is None:
        return ""
    points = 100 * (compared.only_second - compared.only_first) / compared.trials
    return f"{points:+.1f} points (p = {compared.p_value:.2g})"


def as_dict(results: Results, facts: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-able: `facts`, every cell with its rollouts, and each setting and checkpoint over all seeds."""
    pooled = []
    for setting in results.settings:
        for path in results.checkpoints:
            if successes := results.of(setting, path):
                entry = {"setting": setting, "checkpoint": str(path), **_counted(successes)}
                if compared := results.beside_vanilla(setting, path):
                    renamed = {"only_first": "only_vanilla", "only_second": "only_this"}
                    entry["compared_to_vanilla"] = {renamed.get(key, key): value for key, value in asdict(compared).items()}
                pooled.append(entry)
    cells = [
        {
            "seed": cell.seed,
            "setting": cell.setting,
            "checkpoint": str(cell.checkpoint),
            **_counted([r.success for r in done]),
            "results": [vars(r) for r in done],
        }
        for cell, done in results.cells.items()
    ]
    best = {setting: str(results.best(setting)) for setting in results.settings}
    return {**facts, "best": best, "over_all_seeds": pooled, "cells": cells}


def _counted(successes: Sequence[bool]) -> dict[str, Any]:
    return {"successes": sum(successes), "rollouts": len(successes), "interval_95": list(wilson_interval(sum(successes), len(successes)))}


def write_reports(folder: Path, log_file: str, results: Results, data: dict[str, Any]) -> tuple[Path, Path, list[Path]]:
    """`robust.json`, `robust.png` and a text file a seed, in `folder`."""
    texts = {folder / f"{log_file}_seed_{seed}": _text(results, seed) for seed in results.seeds}
    report, picture = folder / "robust.json", folder / "robust.png"
    for path, text in {**texts, report: json.dumps(data, indent=1)}.items():
        partial = folder / f".{path.name}.partial"
        partial.write_text(text)
        os.replace(partial, path)
    partial = folder / ".robust.partial.png"
    _plot(results, partial)
    os.replace(partial, picture)
    return report, picture, list(texts)


def _text(results: Results, seed: int) -> str:
    """What Isaac Lab's `robust_eval.py` writes for a seed."""
    lines, settings = [], [s for s in results.settings if any(c.seed == seed and c.setting == s for c in results.cells)]
    rates: dict[str, dict[str, float]] = {}
    for setting in settings:
        lines += [f"Evaluation setting: {setting}", "=" * 80]
        for path in results.checkpoints:
            successes = results.of(setting, path, [seed])
            if not successes:
                continue
            name = f"{results.labels[path]}.pth"
            lines += [f"[Model: {name}] Trial {i}: {success}" for i, success in enumerate(successes)]
            lines += [f"Successful trials: {sum(successes)}, out of {len(successes)} trials", f"Success rate: {_rate(successes)}", f"Results: {successes}"]
            lines += ["-" * 80, ""]
            rates.setdefault(setting, {})[name] = _rate(successes)
    # Over settings only where all of them were finished, or the mean would depend on which were.
    whole = {name for name in rates[settings[0]] if all(name in rates[setting] for setting in settings)}
    overall = {name: sum(rates[setting][name] for setting in settings) / len(settings) for name in rates[settings[0]] if name in whole}
    lines += ["", "Results Summary (success rate):", ""]
    for setting, rated in {_OVERALL: overall, **rates}.items():
        if rated:
            best = max(rated, key=rated.get)
            lines += [f"Setting: {setting}", *(f"{name}: {rate}" for name, rate in rated.items())]
            lines += [f"Best model for setting {setting} is {best} with success rate {rated[best]}", ""]
    return "\n".join(lines)


def _plot(results: Results, path: Path) -> None:
    """Success of every checkpoint under every setting, side by side."""
    from matplotlib.figure import Figure

    settings, checkpoints = results.settings, results.checkpoints
    figure = Figure(figsize=(1.5 + 1.4 * max(4, len(settings)), 4.2), layout="constrained")
    axes = figure.subplots()
    step = 0.7 / max(1, len(checkpoints))
    for k, checkpoint in enumerate(checkpoints):
        places, rates, below, above = [], [], [], []
        for i, setting in enumerate(settings):
            if successes := results.of(setting, checkpoint):
                low, high = wilson_interval(sum(successes), len(successes))
                places.append(i + (k - (len(checkpoints) - 1) / 2) * step)
                rates.append(100 * _rate(successes))
                below.append(rates[-1] - 100 * low)
                above.append(100 * high - rates[-1])
        axes.errorbar(places, rates, yerr=[below, above], fmt="o", capsize=3, label=results.labels[checkpoint])
    axes.set_xticks(range(len(settings)), [setting.replace("_", " ") for setting in settings])
    axes.set_ylim(0, 102)
    axes.set_ylabel("success [%], 95 % interval")
    counts = {len(results.of(s, c)) for s in settings for c in checkpoints} - {0}
    axes.set_title(f"{'up to ' if len(counts) > 1 else ''}{max(counts)} rollouts each, same start states")
    axes.grid(axis="y", alpha=0.3)
    # Beside the points: with many checkpoints it would cover them.
    figure.legend(loc="outside right upper", fontsize=8)
    figure.savefig(path, dpi=120)
