"""`mimicctl replay`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from mimicctl.cli.common import (
    ConfigFile,
    Headless,
    Json,
    Outcome,
    Override,
    Physics,
    SimDevice,
    Table,
    Task,
    Visualizer,
    first_existing,
    isaaclab_flags,
    note,
    note_foreign,
    resolve_settings,
    show,
    stderr,
)


def command(
    file: Annotated[Optional[Path], typer.Argument(help="Dataset (the last recording).", show_default=False)] = None,
    demo: Annotated[Optional[list[str]], typer.Option(help="Play this demo only; may be repeated.", show_default=False)] = None,
    states: Annotated[bool, typer.Option("--states", help="By the recorded states, without physics, instead of the actions.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Compare with the recorded states; exit code 1 if any demo diverges.")] = False,
    tolerance: Annotated[float, typer.Option(min=0.0, help="Of each number that is compared.")] = 0.01,
    video: Annotated[bool, typer.Option("--video", help="Film each demo.")] = False,
    output_dir: Annotated[Path, typer.Option(help="Where films go.")] = Path("datasets/replays"),
    step_hz: Annotated[
        Optional[float], typer.Option(min=0.0, help="Steps a second, on a terminal (the task's); 0 as fast as possible.", show_default=False)
    ] = None,
    task: Task = None,
    physics: Physics = None,
    sim_device: SimDevice = None,
    visualizer: Visualizer = None,
    headless: Headless = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Play recorded demonstrations again, and see where they leave the recording."""
    run_config = resolve_settings({"task": task, **isaaclab_flags(physics, sim_device, visualizer, headless)}, config, override).config
    from mimicctl.dataset.reader import Dataset
    from mimicctl.errors import UserError
    from mimicctl.recording.playback import play
    from mimicctl.tasks import task_read_as

    found_path = file or first_existing(run_config.record.output_file)
    if found_path is None:
        raise UserError("There is nothing to replay.", where=run_config.record.output_file, do="record something (mimicctl record), or give a file")
    path = found_path.absolute()
    with Dataset(path) as dataset:
        played_on = task_read_as(dataset.task_id, task or "")
        wanted = len(demo or dataset.demos)
    note(f"Replaying {path}.")
    note_foreign(path, task or "")
    rate = (played_on.control_hz if sys.stderr.isatty() and not (verify or video) else 0.0) if step_hz is None else step_hz
    found = []
    with ExitStack() as stack:
        on_step = _screen(stack, played_on) if rate else _silence
        demos = play(
            path, demo or (), task_id=task or "", states=states, tolerance=tolerance if verify else None,
            videos=output_dir.absolute() if video else None, step_hz=rate, on_step=on_step,
        )  # fmt: skip
        for played in stack.enter_context(closing(demos)):
            found.append(played)
            if wanted > 1:
                note(f"{played.name}: {'success' if played.success else 'no success'}  ({len(found)} of {wanted})")
    _report(path, found, verify, as_json)


def _report(path: Path, found: list[Any], verify: bool, as_json: bool) -> None:
    diverged = [played for played in found if played.divergence and played.divergence.step is not None]
    rows = []
    for played in found:
        row = [played.name, played.steps, "yes" if played.success else "no"]
        if verify:
            apart = played.divergence
            row += ["-" if apart.step is None else apart.step, apart.what if apart.worst else "-", f"{apart.worst:.2g}"]
        rows.append((*row, played.video or ""))
    columns = ("demo", "steps", "success", *(("leaves the recording at step", "in", "furthest off") if verify else ()), "film")
    if not any(played.video for played in found):
        rows, columns = [row[:-1] for row in rows], columns[:-1]
    facts = [("file", path), ("demos", len(found)), ("success", sum(played.success for played in found))]
    facts += [("diverged", len(diverged))] if verify else []
    data = {"file": str(path), "demos": [{**vars(p), "divergence": p.divergence and vars(p.divergence), "video": p.video and str(p.video)} for p in found]}
    show(Outcome("Replayed.", facts, [Table("", columns, rows)], data=data), as_json)
    if diverged:
        raise typer.Exit(1)


def _screen(stack: ExitStack, task: Any) -> Callable[..., None]:
    """Draws the scene in characters at every step."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from mimicctl.recording.scene_view import draw_scene

    live = stack.enter_context(Live(console=stderr(), auto_refresh=False, transient=True))

    def on_step(name: str, step: int, view: Any) -> None:
        live.update(Group(draw_scene(task, view), Text(f"{name}  step {step}  Ctrl-C stops", style="bold")), refresh=True)

    return on_step


def _silence(name: str, step: int, view: Any) -> None:
    """Nothing to show."""
