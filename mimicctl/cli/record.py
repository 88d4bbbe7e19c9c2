"""`mimicctl record` and `mimicctl teleop`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from mimicctl.cli.common import (
    ConfigFile,
    EnablePinocchio,
    Headless,
    Json,
    Lan,
    Outcome,
    Override,
    Overwrite,
    Physics,
    Port,
    Resume,
    Seed,
    SwingCancellation,
    Table,
    Task,
    Visualizer,
    demand,
    isaaclab_flags,
    note,
    refuse_swing_flag,
    resolve_settings,
    show,
    size_of,
)
from mimicctl.cli.live import LiveSession, web_of

if TYPE_CHECKING:
    from mimicctl.envs.base import MakeEnv
    from mimicctl.envs.shared import SharedEnv
    from mimicctl.generation.growing import GrowingRun

Invert = Annotated[Optional[str], typer.Option(help="Axes that go the other way, as in x,yaw.", show_default=False)]
DeviceOption = Annotated[
    Optional[str],
    typer.Option(
        help="keyboard, gamepad, spacemouse, udp, websocket, hands, isaac-teleop, scripted, or one of another package (keyboard).",
        show_default=False,
    ),
]
TeleopDevice = Annotated[
    Optional[str], typer.Option(help="The same by Isaac Lab's name, which has handtracking for hands; --device is --sim-device then.", show_default=False)
]
StepHz = Annotated[Optional[float], typer.Option(help="Control steps per second of wall clock; 0 as fast as possible.", show_default=False)]
Sensitivity = Annotated[Optional[float], typer.Option(help="Multiplies what the device moves (1).", show_default=False)]
Start = Annotated[
    Optional[str],
    typer.Option(help="Record at_once, from the first motion, or on command, with space (motion for a person, else at once).", show_default=False),
]
OperatorsSimDevice = Annotated[Optional[str], typer.Option("--sim-device", help="Where Isaac Lab's physics run: cpu, cuda, cuda:1 (cpu).", show_default=False)]
Web = Annotated[bool, typer.Option("--web", help="Show it in the browser, and drive from there unless another device does.")]
Speed = Annotated[Optional[str], typer.Option(help="slow, normal or fast (normal).", show_default=False)]


def teleop(
    task: Task = None,
    device: DeviceOption = None,
    teleop_device: TeleopDevice = None,
    sensitivity: Sensitivity = None,
    speed: Speed = None,
    invert: Invert = None,
    step_hz: StepHz = None,
    swing_cancellation: SwingCancellation = None,
    web: Web = False,
    lan: Lan = False,
    port: Port = 8765,
    physics: Physics = None,
    sim_device: OperatorsSimDevice = None,
    visualizer: Visualizer = None,
    headless: Headless = False,
    enable_pinocchio: EnablePinocchio = False,
    seed: Seed = None,
    config: ConfigFile = None,
    override: Override = None,
) -> None:
    """Drive the robot without recording. Ctrl-C ends it."""
    device, sim_device = _devices(device, teleop_device, sim_device)
    flags = {
        "task": task,
        "seed": seed,
        "record.device": device,
        "record.sensitivity": sensitivity,
        "record.speed": speed,
        "record.step_hz": step_hz,
        "record.invert": names_in(invert),
        "record.start": "at_once",
        "record.session": False,
        "swing_cancellation": swing_cancellation,
        **isaaclab_flags(physics, sim_device, visualizer, headless),
    }
    run_config = resolve_settings(flags, config, override).config
    refuse_swing_flag(swing_cancellation, run_config.task)
    demand(run_config.task, cameras=False, pinocchio=enable_pinocchio)
    from mimicctl.tasks import find_task

    session = LiveSession(run_config, find_task(run_config.task), wanted=0, recording=False, web=web_of(web, lan, port))
    try:
        session.run(writer=None)
    except KeyboardInterrupt:
        note(f"Stopped. The task was done {session.progress.saved} times.")


def record(
    task: Task = None,
    device: DeviceOption = None,
    teleop_device: TeleopDevice = None,
    num_demos: Annotated[Optional[int], typer.Option(help="Successful demonstrations wanted; 0 for no end (10).", show_default=False)] = None,
    output_file: Annotated[Optional[str], typer.Option("--output-file", "--dataset-file", help="Where recordings go.", show_default=False)] = None,
    num_success_steps: Annotated[Optional[int], typer.Option(help="Steps that success must hold (10).", show_default=False)] = None,
    step_hz: StepHz = None,
    sensitivity: Sensitivity = None,
    speed: Speed = None,
    invert: Invert = None,
    start: Start = None,
    countdown: Annotated[Optional[float], typer.Option(help="Seconds before recording begins (0).", show_default=False)] = None,
    rest: Annotated[Optional[float], typer.Option(help="Seconds after each attempt (0).", show_default=False)] = None,
    save_failed: Annotated[
        Optional[bool], typer.Option("--save-failed", help="Also write what was not saved, to <output>_failed.hdf5.", show_default=False)
    ] = None,
    session: Annotated[
        Optional[bool],
        typer.Option(
            "--session", help="Begin, end and discard each demonstration by hand, with spoken cues; goes on with a file that is there.", show_default=False
        ),
    ] = None,
    upload: Annotated[
        Optional[str], typer.Option(help="At the end send all of the file to the Hugging Face hub, privately: <user>/<name>.", show_default=False)
    ] = None,
    operator: Annotated[Optional[str], typer.Option(help="Who records, for the lineage.", show_default=False)] = None,
    consent_id: Annotated[
        Optional[str], typer.Option(help="Number of the operator's consent, or where it is filed, for the lineage.", show_default=False)
    ] = None,
    generate: Annotated[bool, typer.Option("--generate", help="Generate meanwhile from what is recorded, and to the goal afterwards.")] = False,
    trials: Annotated[
        Optional[int], typer.Option("--trials", "--generation-num-trials", help="With --generate: how many to generate (1000).", show_default=False)
    ] = None,
    generated_output_file: Annotated[Optional[str], typer.Option(help="With --generate: where the generated ones go.", show_default=False)] = None,
    input_file: Annotated[Optional[str], typer.Option(help="With --generate: annotated demonstrations to generate from as well.", show_default=False)] = None,
    swing_cancellation: SwingCancellation = None,
    web: Web = False,
    lan: Lan = False,
    port: Port = 8765,
    physics: Physics = None,
    sim_device: OperatorsSimDevice = None,
    visualizer: Visualizer = None,
    headless: Headless = False,
    enable_pinocchio: EnablePinocchio = False,
    seed: Seed = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Record demonstrations. Success saves by itself once it has held; Enter saves as it is; R discards; Ctrl-C keeps what is saved."""
    device, sim_device = _devices(device, teleop_device, sim_device)
    flags = {
        "task": task, "seed": seed, "record.device": device, "record.num_demos": num_demos, "record.output_file": output_file,
        "record.num_success_steps": num_success_steps, "record.step_hz": step_hz, "record.sensitivity": sensitivity,
        "record.speed": speed, "record.invert": names_in(invert), "record.operator": operator, "record.consent_id": consent_id,
        "record.start": start, "record.countdown": countdown, "record.rest": rest, "record.save_failed": save_failed,
        "record.session": session, "record.upload": upload, "swing_cancellation": swing_cancellation,
        "generate.trials": trials, "generate.output_file": generated_output_file, "generate.input_file": input_file,
        **isaaclab_flags(physics, sim_device, visualizer, headless),
    }  # fmt: skip
    if not generate:
        _refuse_without_generate({"--trials": trials, "--generated-output-file": generated_output_file, "--input-file": input_file})
    resolved = resolve_settings(flags, config, override)
    run_config = resolved.config
    refuse_swing_flag(swing_cancellation, run_config.task)
    demand(run_config.task, cameras=False, pinocchio=enable_pinocchio)
    from mimicctl.recording.files import recording_file
    from mimicctl.tasks import find_task

    if generate:
        _refuse_with_generate(run_config.record)
    settings, began, interrupted = run_config.record, time.monotonic(), False
    # An operator who ends a session by hand has not said how many there will be.
    wanted = 0 if settings.session and resolved.origin("record.num_demos") == "default" else settings.num_demos
    if settings.upload:
        from mimicctl.conversion.lerobot.publish import refuse_unfit

        refuse_unfit(settings.upload)
    run = _growing_run(run_config) if generate else None
    live = LiveSession(run_config, find_task(run_config.task), wanted, recording=True, generating=generate, web=web_of(web, lan, port))
    progress = live.progress
    with _begun(run, live.make_env, resume, overwrite) as begin:
        with recording_file(run_config, live.env, resume=resume or (settings.session and not overwrite), overwrite=overwrite, on_event=note) as file:
            begin()
            progress.saved = file.saved
            try:
                if not progress.finished:
                    with _alongside(run, file.writer.path, live.shared) as beside:
                        live.run(file.writer, failed=file.failed, first_attempt=file.next_attempt, beside=beside)
            except KeyboardInterrupt:
                # Of a session that is the end that it is to have.
                interrupted = not settings.session
        if run and progress.finished and not interrupted:
            show(_completed(run, live.make_env, progress, began), as_json)
            return
    outcome = _outcome(progress, file.path, interrupted, run)
    if settings.upload and interrupted:
        note(f"Nothing was sent to {settings.upload}: the recording was stopped. It will be at the end of the next one.")
    elif settings.upload and progress.saved:
        outcome = _uploaded(outcome, file.path, settings.upload, anew=overwrite and not resume, as_json=as_json)
    show(outcome, as_json)
    if interrupted and (run or progress.saved < progress.rules.wanted):
        raise typer.Exit(130)


def _devices(device: str | None, teleop_device: str | None, sim_device: str | None) -> tuple[str | None, str | None]:
    """The operator's and the simulator's. Isaac Lab calls them --teleop_device and --device, and hands handtracking."""
    if teleop_device is not None:
        if device is not None and sim_device is not None:
            from mimicctl.errors import UserError

            raise UserError("--device and --sim-device are the same beside --teleop-device.", do="leave one of them out")
        device, sim_device = teleop_device, sim_device if device is None else device
    return "hands" if device == "handtracking" else device, sim_device


def _refuse_without_generate(flags: dict[str, Any]) -> None:
    from mimicctl.errors import UserError

    if given := [flag for flag, value in flags.items() if value is not None]:
        what = f"{' and '.join(given)} {'is' if len(given) == 1 else 'are'} about what is generated beside the recording."
        raise UserError(what, do=f"add --generate, or leave out {' and '.join(given)}")


def _refuse_with_generate(settings: Any) -> None:
    """What is generated beside a recording begins when there are so many demonstrations, and of a session nobody knows how many there will be."""
    from mimicctl.errors import UserError

    for flag, given in (("--session", settings.session), ("--upload", settings.upload)):
        if given:
            raise UserError(f"--generate does not go with {flag}.", do=f"leave out --generate and generate afterwards (mimicctl generate), or leave out {flag}")


def _growing_run(run_config: Any) -> GrowingRun:
    from mimicctl.dataset.writer import checked_output
    from mimicctl.generation.growing import GrowingRun

    recording = checked_output(run_config.record.output_file)
    return GrowingRun(run_config.task, run_config.seed, run_config.generate, run_config.render, recording, run_config.record.num_demos)


@contextmanager
def _begun(run: Optional[GrowingRun], envs: MakeEnv, resume: bool, overwrite: bool) -> Iterator[Any]:
    """Gives what makes the files of the generation, if there is one; what is not used of them goes at the end."""
    if run is None:
        yield lambda: None
        return
    from mimicctl.generation.growing import begin, discard_unused

    begun = False

    def once() -> None:
        nonlocal begun
        begin(run, envs=envs, resume=resume, overwrite=overwrite)
        begun = True

    try:
        yield once
    finally:
        if begun:
            discard_unused(run)


def _alongside(run: Optional[GrowingRun], recording: Path, shared: Optional[SharedEnv]) -> Any:
    if run is None:
        return nullcontext()
    from mimicctl.generation.alongside import Alongside

    return Alongside(run, recording, shared)


def _completed(run: GrowingRun, envs: MakeEnv, progress: Any, began: float) -> Outcome:
    """The rest of the generation, and what came of it all."""
    from mimicctl.cli.generate import outcome_of, progress_of
    from mimicctl.generation.alongside import complete

    note(f"{progress.saved} demonstrations are recorded, in {run.recording}. From here on all cores generate; Ctrl-C stops it, --resume continues.")
    with progress_of(run.settings) as on_progress:
        done = complete(run, envs, on_progress=on_progress, on_event=note)
    outcome = outcome_of(dataclasses.replace(done.made, resumed_at=0), time.monotonic() - began)
    recorded = [("recording", run.recording), ("recorded", progress.saved), ("discarded", progress.discarded)]
    sources = [("sources", done.pool), ("source demos", done.sources), ("made earlier", f"{done.made.resumed_at} attempts: meanwhile, or before --resume")]
    left_out = [Table("Recorded, but no sources", ("demo", "because"), list(done.left_out.items()))] if done.left_out else []
    data = {
        **(outcome.data or {}),
        "recording": {"file": run.recording, "demos": progress.saved, "discarded": progress.discarded},
        "sources_file": {"file": done.pool, "demos": done.sources, "left_out": done.left_out},
        "made_earlier": done.made.resumed_at,
    }
    return Outcome("Recorded and generated.", [*recorded, *sources, *outcome.facts], [*left_out, *outcome.tables], outcome.next_command, data)


def _uploaded(outcome: Outcome, recording: Path, repo_id: str, *, anew: bool, as_json: bool) -> Outcome:
    """The outcome of a recording, and of sending it; if that fails or is stopped, what was recorded is said first."""
    from mimicctl.conversion.lerobot.publish import publish

    note(f"Sending {recording} to {repo_id}.")
    try:
        sent = publish(recording, repo_id, anew=anew)
    except BaseException:
        show(outcome, as_json)
        raise
    return dataclasses.replace(
        outcome, facts=[*outcome.facts, ("sent", f"{sent.episodes} episodes, private"), ("LeRobot", sent.folder), ("address", sent.address)]
    )


def names_in(text: Optional[str]) -> Optional[list[str]]:
    """Of "a,b"."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _outcome(progress: Any, path: Path, interrupted: bool, run: Optional[GrowingRun]) -> Outcome:
    title = "Stopped; everything saved so far is kept." if interrupted or run else "Recorded."
    facts = [("file", path), ("demos", progress.saved), ("discarded", progress.discarded)]
    if path.exists():
        facts.append(("size", size_of(path)))
    if run is None:
        return Outcome(title, facts, next_command="mimicctl annotate --auto" if progress.saved else "mimicctl record --resume")
    from mimicctl.dataset.writer import partial_path

    generated = partial_path(Path(run.settings.output_file).absolute())
    if generated.exists():
        facts += [("generated", generated), ("so far", progress.beside)]
    enough = f", or with --num-demos {progress.saved} to leave it at these" if 0 < progress.saved < run.wanted else ""
    return Outcome(title, facts, next_command=f"mimicctl record --generate --resume{enough}")
