"""`mimicctl eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from mimicctl.cli.common import ConfigFile, Json, Outcome, Override, Table, Task, note, reporting, resolve_settings, show

app = typer.Typer(help="Evaluate trained policies.", no_args_is_help=True)


@app.callback()
def _evaluate() -> None:
    """Evaluate trained policies."""


@app.command()
def play(
    task: Task = None,
    checkpoint: Annotated[Optional[str], typer.Option(help="Checkpoint, or a run folder for all of its checkpoints.", show_default=False)] = None,
    best: Annotated[bool, typer.Option("--best", help="Of a run folder, only the last checkpoint and the one that validated best.")] = False,
    rollouts: Annotated[Optional[int], typer.Option("--rollouts", "--num-rollouts", help="Rollouts per checkpoint [100].", show_default=False)] = None,
    horizon: Annotated[Optional[int], typer.Option(help="Steps a rollout may take [400].", show_default=False)] = None,
    seed: Annotated[Optional[int], typer.Option(help="Of the start states [101].", show_default=False)] = None,
    num_envs: Annotated[Optional[int], typer.Option(help="Envs at once [25].", show_default=False)] = None,
    output_dir: Annotated[Optional[str], typer.Option(help="Where the report goes.", show_default=False)] = None,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Roll checkpoints out, all on the same start states."""
    flags = {
        "eval.checkpoint": checkpoint, "eval.rollouts": rollouts, "eval.horizon": horizon, "eval.seed": seed,
        "eval.num_envs": num_envs, "eval.output_dir": output_dir,
    }  # fmt: skip
    run_config = resolve_settings(flags, config, override).config
    from mimicctl.evaluation import play as api

    settings = run_config.eval
    source = Path(settings.checkpoint) if settings.checkpoint else api.last_run(Path(run_config.train.log_dir))
    checkpoints = api.find_checkpoints(source)
    if best:
        checkpoints = [c for c in checkpoints if "best" in c.name or c == max(checkpoints, key=api.epoch_of)]
    note(f"Evaluating {len(checkpoints)} checkpoints of {source}.")
    counts = {"done": 0, "good": 0}
    with reporting("eval", settings.rollouts * len(checkpoints)) as reporter:

        def progressed(checkpoint: Path, rollout: Any) -> None:
            counts["done"] += 1
            counts["good"] += rollout.success
            reporter.update(counts["done"], f"{counts['good']} succeeded, {checkpoint.stem}")

        evaluated, evaluations = api.play(
            checkpoints,
            task or "",
            rollouts=settings.rollouts,
            horizon=settings.horizon,
            seed=settings.seed,
            num_envs=settings.num_envs,
            on_rollout=progressed,
        )
    folder = Path(settings.output_dir or (source if source.is_dir() else source.parent.parent))
    facts = {"task": evaluated.task_id, "seed": settings.seed, "horizon": settings.horizon, "rollouts": settings.rollouts}
    report, picture = api.write_report(folder, evaluated, evaluations, facts)
    top = max(evaluations, key=lambda e: e.successes)
    rows = [(e.checkpoint.name, e.rate, *(count for _, count in e.failures_by_subtask(evaluated))) for e in evaluations]
    stuck = [f"stuck in {name}" for name, _ in top.failures_by_subtask(evaluated)]
    table = Table("Checkpoints", ("checkpoint", "success", *stuck), rows)
    shown = [("task", evaluated.task_id), ("best", top.checkpoint), ("success", top.rate), ("report", report.absolute()), ("plot", picture.absolute())]
    data = {**facts, "checkpoints": [api.as_dict(evaluated, e) for e in evaluations]}
    show(Outcome("Evaluated.", shown, [table], data=data), as_json)
