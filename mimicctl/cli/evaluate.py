"""`mimicctl eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from mimicctl.cli.common import (
    AllowTainted,
    ConfigFile,
    EnableCameras,
    EnablePinocchio,
    Headless,
    Json,
    Outcome,
    Override,
    Overwrite,
    Physics,
    Resume,
    SimDevice,
    SwingCancellation,
    Table,
    Task,
    Visualizer,
    Workers,
    demand,
    isaaclab_flags,
    note,
    refuse_isaaclab_flags,
    refuse_swing_flag,
    reporting,
    resolve_settings,
    show,
)
from mimicctl.cli.eval_session import session

if TYPE_CHECKING:
    from mimicctl.evaluation.report import Evaluation
    from mimicctl.evaluation.robust_report import Results
    from mimicctl.tasks import TaskSpec

NormFactorMin = Annotated[
    Optional[float], typer.Option(help="Minimum that normalised actions stand for; only for checkpoints that mimicctl did not write.", show_default=False)
]
NormFactorMax = Annotated[Optional[float], typer.Option(help="Maximum that normalised actions stand for.", show_default=False)]

app = typer.Typer(help="Evaluate trained policies.", no_args_is_help=True)


@app.callback()
def _evaluate() -> None:
    """Evaluate trained policies."""


app.command()(session)


@app.command()
def play(
    task: Task = None,
    checkpoint: Annotated[
        Optional[list[str]], typer.Option(help="Checkpoint, or a run folder for all of its checkpoints; may be repeated.", show_default=False)
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="Of a run folder, only the last checkpoint and the one that validated best.")] = False,
    rollouts: Annotated[Optional[int], typer.Option("--rollouts", "--num-rollouts", help="Rollouts per checkpoint (100).", show_default=False)] = None,
    horizon: Annotated[Optional[int], typer.Option(help="Steps a rollout may take (400).", show_default=False)] = None,
    seed: Annotated[Optional[int], typer.Option(help="Of the start states and of what a policy draws (101).", show_default=False)] = None,
    num_envs: Annotated[Optional[int], typer.Option(help="Envs per worker process (25).", show_default=False)] = None,
    workers: Workers = None,
    norm_factor_min: NormFactorMin = None,
    norm_factor_max: NormFactorMax = None,
    video: Annotated[Optional[int], typer.Option(help="Film this many rollouts of each checkpoint, the first ones (0).", show_default=False)] = None,
    output_dir: Annotated[Optional[str], typer.Option(help="Where the report goes.", show_default=False)] = None,
    swing_cancellation: SwingCancellation = None,
    physics: Physics = None,
    sim_device: SimDevice = None,
    visualizer: Visualizer = None,
    headless: Headless = False,
    allow_tainted: AllowTainted = False,
    enable_cameras: EnableCameras = False,
    enable_pinocchio: EnablePinocchio = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Roll checkpoints out, all on the same start states."""
    flags = {
        "eval.checkpoint": checkpoint or None, "eval.rollouts": rollouts, "eval.horizon": horizon, "eval.seed": seed,
        "eval.num_envs": num_envs, "eval.workers": workers, "eval.norm_factor_min": norm_factor_min, "eval.norm_factor_max": norm_factor_max, "eval.video": video, "eval.output_dir": output_dir,
        "swing_cancellation": swing_cancellation,
        **isaaclab_flags(physics, sim_device, visualizer, headless),
    }  # fmt: skip
    run_config = resolve_settings(flags, config, override).config
    from mimicctl.envs import physics_of
    from mimicctl.errors import RunFailed
    from mimicctl.evaluation import checkpoints as found
    from mimicctl.evaluation.play import play as roll_out_all
    from mimicctl.evaluation.play import spread_over
    from mimicctl.evaluation.report import Evaluation, writable_folder
    from mimicctl.rendering import film

    settings = run_config.eval
    sources = [Path(source) for source in settings.checkpoint] or [found.last_run(Path(run_config.train.log_dir))]
    checkpoints = list({path.resolve(): path for source in sources for path in found.find_checkpoints(source, best=best)}.values())
    folder = writable_folder(Path(settings.output_dir or (found.run_folder(sources[0]) if len(sources) == 1 else ".")))
    videos = folder / "videos" if settings.video else None
    evaluated = found.task_of(
        checkpoints,
        task or "",
        settings.action_range,
        allow_tainted=allow_tainted,
        num_envs=lambda chosen: spread_over(chosen, settings)[1],
        on_event=note,
    )
    refuse_isaaclab_flags(flags, evaluated.task_id)
    refuse_swing_flag(swing_cancellation, evaluated.task_id)
    demand(evaluated.task_id, cameras=enable_cameras, pinocchio=enable_pinocchio)
    if videos:
        film.prepare(evaluated)
    note(f"Evaluating {len(checkpoints)} checkpoints of {', '.join(map(str, sources))}.")
    labels = dict(zip(checkpoints, found.labels_of(checkpoints), strict=True))
    finished: dict[Path, list[Any]] = {path: [] for path in checkpoints}
    stopped: BaseException | None = None
    with reporting("eval", settings.rollouts * len(checkpoints)) as reporter:
        try:
            for path, rollout in roll_out_all(checkpoints, evaluated, settings, videos, on_event=note):
                finished[path].append(rollout)
                good = sum(r.success for r in finished[path])
                reporter.update(sum(map(len, finished.values())), f"{labels[path]}: {good} of {len(finished[path])} succeeded")
        except (KeyboardInterrupt, RunFailed) as error:
            stopped = error
    complete = [Evaluation(path, tuple(sorted(done, key=lambda r: r.index))) for path, done in finished.items() if len(done) == settings.rollouts]
    for path, done in finished.items():
        if 0 < len(done) < settings.rollouts:
            note(f"Left out: {labels[path]}, {len(done)} of {settings.rollouts} rollouts done. Successes end sooner, so a rate from these would flatter.")
    if complete:
        facts = {
            "task": evaluated.task_id,
            "physics": physics_of(evaluated),
            "seed": settings.seed,
            "horizon": settings.horizon,
            "rollouts": settings.rollouts,
            "stopped": stopped is not None,
            **({"drawn_as": film.drawn_as(evaluated).task_id} if videos and evaluated.isaaclab else {}),
        }
        show(_outcome(evaluated, complete, labels, facts, folder, videos), as_json)
    if stopped is not None:
        raise stopped


@app.command()
def robust(
    more_seeds: Annotated[Optional[list[int]], typer.Argument(hidden=True)] = None,
    task: Task = None,
    checkpoint: Annotated[
        Optional[list[str]],
        typer.Option("--checkpoint", "--input-dir", help="Run folder, folder of checkpoints or checkpoint; may be repeated.", show_default=False),
    ] = None,
    start_epoch: Annotated[Optional[int], typer.Option(help="Leave out checkpoints of earlier epochs (0).", show_default=False)] = None,
    num_rollouts: Annotated[
        Optional[int], typer.Option("--num-rollouts", "--rollouts", help="Rollouts per checkpoint, setting and seed (15).", show_default=False)
    ] = None,
    num_seeds: Annotated[Optional[int], typer.Option(help="Seeds to draw where none are named (3).", show_default=False)] = None,
    seeds: Annotated[Optional[list[int]], typer.Option(help="Seeds, as in --seeds 0 1000 5000.", show_default=False)] = None,
    horizon: Annotated[Optional[int], typer.Option(help="Steps a rollout may take (400).", show_default=False)] = None,
    norm_factor_min: NormFactorMin = None,
    norm_factor_max: NormFactorMax = None,
    workers: Workers = None,
    log_dir: Annotated[Optional[str], typer.Option(help="Where the results go (robust in the run folder).", show_default=False)] = None,
    log_file: Annotated[Optional[str], typer.Option(help="Name of the text files, one a seed (results).", show_default=False)] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    allow_tainted: AllowTainted = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Roll image policies out under changed light, background and textures, all on the same start states."""
    from mimicctl.errors import RunFailed, UserError

    if more_seeds and not seeds:
        raise UserError(f"{more_seeds[0]} belongs to no option.", where=f"... {more_seeds[0]}", do="name seeds as in --seeds 0 1000 5000")
    flags = {
        "eval.checkpoint": checkpoint or None, "eval.horizon": horizon, "eval.workers": workers, "eval.norm_factor_min": norm_factor_min,
        "eval.norm_factor_max": norm_factor_max, "robust.start_epoch": start_epoch, "robust.rollouts": num_rollouts, "robust.num_seeds": num_seeds,
        "robust.seeds": [*seeds, *(more_seeds or ())] if seeds else None, "robust.log_dir": log_dir, "robust.log_file": log_file,
    }  # fmt: skip
    run_config = resolve_settings(flags, config, override).config
    from mimicctl.evaluation import checkpoints as found
    from mimicctl.evaluation.journal import Journal
    from mimicctl.evaluation.report import writable_folder
    from mimicctl.evaluation.robust import cells_of, chosen_checkpoints, chosen_seeds, roll_out_cells
    from mimicctl.evaluation.robust_report import Results
    from mimicctl.tasks.fingerprint import KEY, fingerprint

    settings, chosen = run_config.eval, run_config.robust
    sources = [Path(source) for source in settings.checkpoint] or [found.last_run(Path(run_config.train.log_dir))]
    checkpoints = chosen_checkpoints(sources, chosen.start_epoch)
    folder = writable_folder(Path(chosen.log_dir or (found.run_folder(sources[0]) if len(sources) == 1 else Path(".")) / "robust"))
    evaluated = found.task_of(checkpoints, task or "", settings.action_range, need_images=True, allow_tainted=allow_tainted, on_event=note)
    labels = dict(zip(checkpoints, found.labels_of(checkpoints), strict=True))
    cells = cells_of(chosen_seeds(chosen, run_config.seed), chosen.settings, checkpoints)
    total = len(cells) * chosen.rollouts
    identity = {"task": evaluated.task_id, KEY: fingerprint(evaluated), "horizon": settings.horizon, "action range": list(settings.action_range or ()) or None}
    stopped: BaseException | None = None
    with Journal(folder / "rollouts.jsonl", identity, checkpoints, resume=resume, overwrite=overwrite) as journal:
        finished = {cell: {i: r for i, r in journal.done.get(cell, {}).items() if i < chosen.rollouts} for cell in cells}
        before = sum(map(len, finished.values()))
        note(
            f"{len(checkpoints)} checkpoints of {', '.join(map(str, sources))}, {len(chosen.settings)} settings, seeds {', '.join(map(str, _seeds_in(cells)))}."
        )
        note(f"{total} rollouts{f', {before} of them done before' if before else ''}.")
        with reporting("robust", total) as reporter:
            try:
                for cell, rollout in roll_out_cells(cells, finished, evaluated, chosen, settings, on_event=note) if before < total else ():
                    journal.add(cell, rollout)
                    finished[cell][rollout.index] = rollout
                    good = sum(r.success for r in finished[cell].values())
                    where = f"seed {cell.seed}, {cell.setting}, {labels[cell.checkpoint]}"
                    reporter.update(sum(map(len, finished.values())), f"{where}: {good} of {len(finished[cell])} succeeded")
            except (KeyboardInterrupt, RunFailed) as error:
                stopped = error
    whole = {cell: tuple(done[i] for i in sorted(done)) for cell, done in finished.items() if len(done) == chosen.rollouts}
    if whole:
        facts = {**identity, "rollouts": chosen.rollouts, "seeds": _seeds_in(cells), "settings": chosen.settings, "stopped": stopped is not None}
        show(_robust_outcome(Results(whole, labels), facts, folder, chosen.log_file), as_json)
    if stopped is not None:
        note("The rollouts that were done are kept: --resume goes on.")
        raise stopped


def _seeds_in(cells: list[Any]) -> list[int]:
    return list(dict.fromkeys(cell.seed for cell in cells))


def _robust_outcome(results: Results, facts: dict[str, Any], folder: Path, log_file: str) -> Outcome:
    from mimicctl.evaluation.robust_report import as_dict, table_rows, write_reports

    data = as_dict(results, facts)
    report, picture, texts = write_reports(folder, log_file, results, data)
    table = Table("Over all seeds", ("setting", "checkpoint", "success", "beside vanilla"), table_rows(results))
    shown = [("task", facts["task"]), ("report", report), ("plot", picture), ("results", ", ".join(map(str, texts)))]
    return Outcome("Evaluated.", shown, [table], data=data)


def _outcome(task: TaskSpec, evaluations: list[Evaluation], labels: dict[Path, str], facts: dict[str, Any], folder: Path, videos: Path | None) -> Outcome:
    from mimicctl.evaluation.report import as_dict, best_of, compare_to, in_words, write_report

    data = as_dict(task, evaluations, {**facts, "videos": str(videos) if videos else None})
    report, picture = write_report(folder, data, evaluations)
    top = best_of(evaluations)
    stuck = [f"stuck in {name}" for name in top.failures_by_subtask(task)]
    rows = [(labels[e.checkpoint], e.rate, *e.failures_by_subtask(task).values()) for e in evaluations]
    tables = [Table("Checkpoints", ("checkpoint", "success", *stuck), rows)]
    if len(evaluations) > 1:
        compared = [(labels[e.checkpoint], "the best" if e is top else in_words(compare_to(top, e))) for e in evaluations]
        tables.append(Table("Compared with the best, start state by start state", ("checkpoint", "beside the best"), compared))
    shown = [("task", task.task_id), ("physics", facts["physics"]), ("best", top.checkpoint), ("success", top.rate), ("report", report), ("plot", picture)]
    if videos:
        shown.append(("videos", videos))
        shown += [("drawn as", facts["drawn_as"])] if "drawn_as" in facts else []
    return Outcome("Evaluated.", shown, tables, data=data)
