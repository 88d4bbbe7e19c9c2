"""`mimicctl generate`."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mimicctl.cli.common import (
    ConfigFile,
    Headless,
    Json,
    Outcome,
    Override,
    Overwrite,
    Physics,
    Resume,
    Seed,
    SimDevice,
    Table,
    Task,
    Visualizer,
    Workers,
    first_existing,
    isaaclab_flags,
    note,
    note_foreign,
    reporting,
    resolve_settings,
    show,
    size_of,
)

if TYPE_CHECKING:
    from mimicctl.config import GenerateSettings
    from mimicctl.generation.engine import Generated
    from mimicctl.generation.report import Contribution, GenerationReport, Motion

_SHADES = " ░▒▓█"

_MOTION = {
    "peak_speed": "peak speed, m/s",
    "mean_speed": "mean speed, m/s",
    "peak_acceleration": "peak acceleration, m/s²",
    "jerk_at_stitches": "jerk at stitches, m/s³",
    "jerk_elsewhere": "jerk elsewhere, m/s³",
}
_FASTEST = "highest speed of all, m/s"


def command(
    task: Task = None,
    trials: Annotated[
        Optional[int], typer.Option("--trials", "--generation-num-trials", help="Successful demonstrations wanted (1000).", show_default=False)
    ] = None,
    input_file: Annotated[Optional[str], typer.Option(help="Annotated source demonstrations.", show_default=False)] = None,
    output_file: Annotated[Optional[str], typer.Option(help="Where the generated ones go.", show_default=False)] = None,
    num_envs: Annotated[Optional[int], typer.Option(help="Envs per worker process (16).", show_default=False)] = None,
    workers: Workers = None,
    engine: Annotated[Optional[str], typer.Option(help="What runs the trials: pool (processes of this machine) or ray.", show_default=False)] = None,
    address: Annotated[Optional[str], typer.Option(help="Ray cluster, host:port; without it one on this machine.", show_default=False)] = None,
    shard: Annotated[
        Optional[str], typer.Option(help="Do one part of the run, 0/4 for the first of four; merge --verify joins them.", show_default=False)
    ] = None,
    attempts: Annotated[Optional[int], typer.Option(help="With --shard: attempts of all shards together.", show_default=False)] = None,
    guarantee: Annotated[Optional[bool], typer.Option("--guarantee/--no-guarantee", help="Count successes, or attempts.", show_default=False)] = None,
    max_failures: Annotated[Optional[int], typer.Option(help="Give up after this many failed attempts.", show_default=False)] = None,
    keep_failed: Annotated[
        Optional[bool], typer.Option("--keep-failed", help="Also write failed attempts, to <output>_failed.hdf5.", show_default=False)
    ] = None,
    use_skillgen: Annotated[
        Optional[bool],
        typer.Option(
            "--use-skillgen", help="Segments begin at their start signals; the bridge to them is planned if --bridge says nothing.", show_default=False
        ),
    ] = None,
    bridge: Annotated[
        Optional[str], typer.Option(help="Path between segments: arch, straight as in Isaac Lab, or plan, which meets nothing.", show_default=False)
    ] = None,
    balance: Annotated[
        Optional[bool], typer.Option("--balance/--no-balance", help="Even out start states and source demos of what succeeds.", show_default=False)
    ] = None,
    max_eef_speed: Annotated[
        Optional[float], typer.Option(help="Let hand or base go no faster than this, in m/s; segments that do are slowed down.", show_default=False)
    ] = None,
    rendering_mode: Annotated[
        Optional[str], typer.Option(help="How a task's cameras draw: performance, balanced or quality (balanced).", show_default=False)
    ] = None,
    status_file: Annotated[Optional[str], typer.Option(help="JSON file that says every second how the run goes.", show_default=False)] = None,
    physics: Physics = None,
    sim_device: SimDevice = None,
    visualizer: Visualizer = None,
    headless: Headless = False,
    seed: Seed = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Make many demonstrations from a few, by moving their segments to new scenes."""
    flags = {
        "task": task, "seed": seed, "generate.trials": trials, "generate.input_file": input_file,
        "generate.output_file": output_file, "generate.num_envs": num_envs, "generate.workers": workers,
        "generate.engine": engine, "generate.address": address, "generate.shard": shard, "generate.attempts": attempts,
        "generate.status_file": status_file, "generate.guarantee": guarantee, "generate.max_failures": max_failures,
        "generate.keep_failed": keep_failed, "generate.use_skillgen": use_skillgen, "generate.bridge": bridge,
        "generate.max_eef_speed": max_eef_speed, "generate.balance": balance,
        "render.rendering_mode": rendering_mode, **isaaclab_flags(physics, sim_device, visualizer, headless),
    }  # fmt: skip
    run_config = resolve_settings(flags, config, override).config
    from mimicctl.generation.engine import generate

    settings = run_config.generate
    source = Path(settings.input_file) if settings.input_file else first_existing(run_config.annotate.output_file)
    note(f"Source demonstrations: {source or 'those that come with the task'}.")
    if source:
        note_foreign(source, run_config.task, settings.names)
    began = time.monotonic()
    with progress_of(settings) as progress:
        made = generate(
            run_config.task,
            run_config.seed,
            settings,
            source,
            rendering=run_config.render,
            resume=resume,
            overwrite=overwrite,
            on_progress=progress,
            on_event=note,
        )
    show(outcome_of(made, time.monotonic() - began), as_json)


@contextmanager
def progress_of(settings: GenerateSettings) -> Iterator[Callable[[int, int], None]]:
    """A bar, and what moves it on, which is told attempts and successes. A SIGTERM within is as clean as Ctrl-C."""
    from mimicctl.generation.engine import goal_of
    from mimicctl.statistics import wilson_interval

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # batch systems and supervisors end a run with it
    began = time.monotonic()
    counted, goal = goal_of(settings)
    started_with: list[int] = []

    with reporting("generate", goal) as reporter:

        def progress(attempts: int, successes: int) -> None:
            started_with[1:] or started_with.append(successes)
            low, high = wilson_interval(successes, attempts)
            rate = f"{100 * successes / attempts:.1f} % ({100 * low:.0f}-{100 * high:.0f})" if attempts else "-"
            per_hour = 3600 * (successes - started_with[0]) / max(time.monotonic() - began, 1e-6)
            done = successes if counted == "successes" else attempts
            reporter.update(done, f"of {attempts} attempts, {rate}, {per_hour:,.0f} demos/h")

        yield progress


def outcome_of(made: Generated, seconds: float) -> Outcome:
    """What a finished run says."""
    report = made.report
    facts = [
        ("file", made.path),
        ("demos", made.demos),
        ("size", size_of(made.path)),
        ("success rate", report.rate),
        ("steps per attempt", f"{report.steps / max(report.attempts, 1):.0f}"),
        ("time", f"{seconds:.1f} s"),
    ]
    if made.failed_path:
        facts.append(("failed", made.failed_path))
    if report.arms_held:
        facts.append(("arms held", f"in {report.arms_held} of {report.steps} steps, in which the inverse kinematics found no joints for a target"))
    if report.sought:
        facts.append(("bridges planned", f"{report.sought - report.unplanned} of {report.sought}; where no way was found, an arch"))
    if made.resumed_at:
        facts.append(("resumed", f"after {made.resumed_at} attempts of an earlier run"))
    funnel = Table("Subtasks completed", ("subtask", "trials", "of"), [(n, c, report.attempts) for n, c in report.funnel])
    tables = [funnel]
    if report.reasons:
        tables.append(Table("Why trials failed", ("reason", "in subtask", "trials"), list(report.reasons)))
    sources = [(name, used, good, f"{100 * good / used:.0f} %") for name, used, good in report.yields]
    tables.append(Table("Source demos", ("demo", "used in", "succeeded", "yield"), sources))
    supplied = [(c.subtask, f"{c.effective:.1f}", *_largest(c)) for c in report.contributions]
    tables.append(Table("Sources of accepted demos", ("subtask", "effective number", "largest share", "whose"), supplied))
    if report.motion:
        tables.append(Table(_motion_title(report), ("", *(m.eef for m in report.motion)), _motion_rows(report.motion)))
    cover = [(name, " ".join(_shades(row) for row in attempts), int((attempts > 0).sum()), attempts.size) for name, (attempts, _) in report.coverage.items()]
    tables.append(
        Table("Coverage of the reset range (x rows from near to far, each y from right to left)", ("object", "start states", "cells hit", "of"), cover)
    )
    data = {"file": str(made.path), "demos": made.demos, "seconds": seconds, **report.as_dict()}
    return Outcome("Generated.", facts, tables, "mimicctl train", data)


def _largest(contribution: Contribution) -> tuple[str, str]:
    if not contribution.shares:
        return "-", "-"
    name, share = contribution.shares[0]
    return f"{100 * share:.0f} %", name


def _motion_title(report: GenerationReport) -> str:
    measured = report.motion[0].demos
    return f"Motion of accepted demos (medians{f'; of {measured} of {report.successes}' if measured < report.successes else ''})"


def _motion_rows(motions: tuple[Motion, ...]) -> list[tuple[str, ...]]:
    medians = [(label, *(m.medians[key] for m in motions)) for key, label in _MOTION.items()]
    return [(label, *("-" if v is None else f"{v:.3g}" for v in values)) for label, *values in [*medians, (_FASTEST, *(m.fastest for m in motions))]]


def _shades(counts) -> str:
    most = max(int(counts.max()), 1)
    return "".join(_SHADES[-(-int(c) * (len(_SHADES) - 1) // most)] for c in counts)
