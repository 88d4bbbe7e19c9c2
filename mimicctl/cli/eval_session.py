"""`mimicctl eval session`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Optional

import typer

from mimicctl.cli.common import (
    AllowTainted,
    ConfigFile,
    Json,
    Lan,
    Outcome,
    Override,
    Port,
    SwingCancellation,
    Task,
    note,
    refuse_swing_flag,
    resolve_settings,
    show,
)
from mimicctl.cli.live import LiveSession, web_of
from mimicctl.cli.record import DeviceOption, StepHz, Web


def session(
    task: Task = None,
    checkpoint: Annotated[Optional[str], typer.Option(help="Checkpoint, or a run folder for its last one (the last run).", show_default=False)] = None,
    device: DeviceOption = None,
    rollouts: Annotated[int, typer.Option("--rollouts", "--num-rollouts", min=0, help="Rollouts wanted; 0 for no end.")] = 0,
    step_hz: StepHz = None,
    swing_cancellation: SwingCancellation = None,
    web: Web = False,
    lan: Lan = False,
    port: Port = 8765,
    seed: Annotated[Optional[int], typer.Option(help="Of the start states and of what the policy draws (101).", show_default=False)] = None,
    allow_tainted: AllowTainted = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Look on while a policy drives. Start begins a rollout and ends it, Select discards it (space and R on the keyboard); Ctrl-C ends the session."""
    flags = {
        "record.device": device, "record.step_hz": step_hz, "record.session": True, "eval.checkpoint": checkpoint, "eval.seed": seed,
        "swing_cancellation": swing_cancellation,
    }  # fmt: skip
    run_config = resolve_settings(flags, config, override).config
    from mimicctl.envs import physics_of
    from mimicctl.evaluation import checkpoints as found
    from mimicctl.evaluation.live import LivePolicy
    from mimicctl.evaluation.rollouts import SEED_SPACE
    from mimicctl.statistics import rate_text, wilson_interval

    settings = run_config.eval
    source = Path(settings.checkpoint[-1]) if settings.checkpoint else found.last_run(Path(run_config.train.log_dir))
    chosen = found.find_checkpoints(source)[-1]
    evaluated = found.task_of([chosen], task or "", settings.action_range, allow_tainted=allow_tainted, on_event=note)
    refuse_swing_flag(swing_cancellation, evaluated.task_id)
    live = LiveSession(run_config, evaluated, rollouts, recording=False, quiet=True, web=web_of(web, lan, port))
    progress = live.progress
    note(f"{chosen} drives.")
    try:
        with closing(LivePolicy(live.env, chosen, seed=settings.seed, action_range=settings.action_range)) as policy:
            live.run(None, autopilot=policy, start_states={"seed": settings.seed, "seed_space": SEED_SPACE})
    except KeyboardInterrupt:
        note("Stopped.")
    low, high = wilson_interval(progress.successes, progress.saved)
    facts = [("task", evaluated.task_id), ("checkpoint", chosen), ("success", rate_text(progress.successes, progress.saved)), ("discarded", progress.discarded)]
    data = {
        "task": evaluated.task_id,
        "physics": physics_of(evaluated),
        "checkpoint": str(chosen),
        "seed": settings.seed,
        "rollouts": progress.saved,
        "successes": progress.successes,
        "interval_95": [low, high],
        "discarded": progress.discarded,
    }
    show(Outcome("Looked on.", facts, next_command="mimicctl eval play", data=data), as_json)
