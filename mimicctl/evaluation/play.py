"""Evaluating checkpoints: all on the same start states, with a report that says how sure it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimicctl.envs import make_env
from mimicctl.errors import UserError
from mimicctl.evaluation.rollouts import Rollout, roll_out
from mimicctl.statistics import rate_text, wilson_interval
from mimicctl.tasks import TaskSpec


@dataclass(frozen=True)
class Evaluation:
    """One checkpoint's rollouts."""

    checkpoint: Path
    rollouts: tuple[Rollout, ...]

    @property
    def successes(self) -> int:
        return sum(rollout.success for rollout in self.rollouts)

    @property
    def rate(self) -> str:
        return rate_text(self.successes, len(self.rollouts))

    def failures_by_subtask(self, task: TaskSpec) -> list[tuple[str, int]]:
        """Subtask name and the rollouts that got stuck in it."""
        names = [s.name for s in task.subtasks[task.eef_names[0]]]
        return [(name, sum(not r.success and r.reached == i for r in self.rollouts)) for i, name in enumerate(names)]


def find_checkpoints(path: Path) -> list[Path]:
    """The file itself, or every checkpoint of a run folder in order of epochs.

    Raises:
        UserError: there is none.
    """
    if path.is_file():
        return [path]
    folder = path / "models" if (path / "models").is_dir() else path
    found = sorted(folder.glob("*.pth"), key=lambda p: (epoch_of(p), len(p.name)))
    if not found:
        raise UserError("There are no checkpoints here.", where=str(path), do="train first (mimicctl train), or give --checkpoint")
    return found


def last_run(log_dir: Path) -> Path:
    """The run folder that was written to last.

    Raises:
        UserError: there is none.
    """
    runs = [path.parent for path in log_dir.glob("*/config.json") if (path.parent / "models").is_dir()]
    if not runs:
        raise UserError("There is no trained policy.", where=str(log_dir.absolute()), do="train one (mimicctl train), or give --checkpoint")
    return max(runs, key=lambda run: (run / "models").stat().st_mtime)


def epoch_of(path: Path) -> int:
    match = re.search(r"epoch_(\d+)", path.name)
    return int(match.group(1)) if match else -1


def play(
    checkpoints: Sequence[Path],
    task_id: str,
    *,
    rollouts: int,
    horizon: int,
    seed: int,
    num_envs: int,
    on_rollout: Callable[[Path, Rollout], None] = lambda checkpoint, rollout: None,
) -> tuple[TaskSpec, list[Evaluation]]:
    """Roll every checkpoint out on the same start states.

    Args:
        task_id: "" to take the checkpoint's word for it.

    Raises:
        UserError: a checkpoint cannot be loaded, or was trained for other observations.
    """
    from mimicctl.training.policy import Policy

    evaluations = []
    env = None
    for checkpoint in checkpoints:
        policy = Policy(checkpoint)
        if env is None:
            env = make_env(task_id or str(policy.env_args.get("env_name", "")), min(num_envs, rollouts))
        missing = [key for key in policy.obs_keys if key not in env.observations(env.snapshot([0]))]
        if missing:
            raise UserError(
                f"The policy observes {', '.join(missing)}, which {env.task.task_id} does not give.",
                where=str(checkpoint),
                do="give the --task it was trained on",
            )
        done = roll_out(env, policy, rollouts=rollouts, horizon=horizon, seed=seed, on_rollout=lambda r, c=checkpoint: on_rollout(c, r))
        evaluations.append(Evaluation(checkpoint, tuple(done)))
    task = env.task
    env.close()
    return task, evaluations


def write_report(folder: Path, task: TaskSpec, evaluations: Sequence[Evaluation], facts: dict[str, Any]) -> tuple[Path, Path]:
    """`evaluation.json` and `evaluation.png` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {**facts, "checkpoints": [as_dict(task, e) for e in evaluations]}
    report, picture = folder / "evaluation.json", folder / "evaluation.png"
    report.write_text(json.dumps(data, indent=1))
    _plot(evaluations, picture)
    return report, picture


def as_dict(task: TaskSpec, evaluation: Evaluation) -> dict[str, Any]:
    """JSON-able."""
    low, high = wilson_interval(evaluation.successes, len(evaluation.rollouts))
    return {
        "checkpoint": str(evaluation.checkpoint),
        "successes": evaluation.successes,
        "rollouts": len(evaluation.rollouts),
        "interval_95": [low, high],
        "failures": dict(evaluation.failures_by_subtask(task)),
        "results": [vars(rollout) for rollout in evaluation.rollouts],
    }


def _plot(evaluations: Sequence[Evaluation], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for i, evaluation in enumerate(evaluations):
        rate = evaluation.successes / len(evaluation.rollouts)
        low, high = wilson_interval(evaluation.successes, len(evaluation.rollouts))
        axes.errorbar(i, 100 * rate, yerr=[[100 * (rate - low)], [100 * (high - rate)]], fmt="o", capsize=4, color="C0")
    labels = [e.checkpoint.stem.removeprefix("model_").replace("_best_validation_", " best\n") for e in evaluations]
    axes.set_xticks(range(len(labels)), labels, rotation=45 if len(labels) > 4 else 0, ha="right" if len(labels) > 4 else "center")
    axes.set_ylim(0, 102)
    axes.set_ylabel("success [%], 95 % interval")
    axes.set_title(f"{len(evaluations[0].rollouts)} rollouts each, same start states")
    axes.grid(axis="y", alpha=0.3)
    figure.savefig(path, dpi=120)
