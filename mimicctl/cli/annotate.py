"""`mimicctl annotate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from mimicctl.cli.common import (
    ConfigFile,
    EnableCameras,
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
    SimDevice,
    Table,
    Task,
    Visualizer,
    demand,
    first_existing,
    isaaclab_flags,
    note,
    note_changed_task,
    note_foreign,
    resolve_settings,
    show,
    size_of,
)
from mimicctl.cli.web import DATASET_PAGES, serve

if TYPE_CHECKING:
    from mimicctl.annotation.auto import DemoAnnotation


def command(
    task: Task = None,
    input_file: Annotated[Optional[str], typer.Option(help="Recording to annotate.", show_default=False)] = None,
    output_file: Annotated[Optional[str], typer.Option(help="Where the annotated demonstrations go.", show_default=False)] = None,
    auto: Annotated[
        Optional[bool], typer.Option("--auto/--manual", help="From the env's signals, or by hand in the terminal (--auto).", show_default=False)
    ] = None,
    in_browser: Annotated[bool, typer.Option("--web", help="By hand, in a browser.")] = False,
    port: Port = 8765,
    lan: Lan = False,
    start_signals: Annotated[
        Optional[bool],
        typer.Option("--annotate-subtask-start-signals", help="Where each subtask starts too, for generate --use-skillgen.", show_default=False),
    ] = None,
    strict: Annotated[Optional[bool], typer.Option("--strict", help="Fail if any demonstration cannot be annotated.", show_default=False)] = None,
    rendering_mode: Annotated[Optional[str], typer.Option(help="Taken as in Isaac Lab; nothing is drawn here.", show_default=False)] = None,
    physics: Physics = None,
    sim_device: SimDevice = None,
    visualizer: Visualizer = None,
    headless: Headless = False,
    enable_cameras: EnableCameras = False,
    enable_pinocchio: EnablePinocchio = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Find where each subtask of each recorded demonstration ends."""
    flags = {"annotate.input_file": input_file, "annotate.output_file": output_file, "annotate.strict": strict, "annotate.start_signals": start_signals}
    flags |= {"task": task, "render.rendering_mode": rendering_mode, **isaaclab_flags(physics, sim_device, visualizer, headless)}
    run_config = resolve_settings(flags, config, override).config
    from mimicctl.errors import UserError

    settings = run_config.annotate
    source = Path(settings.input_file) if settings.input_file else first_existing(run_config.record.output_file)
    if source is None:
        raise UserError("There is no recording to annotate.", where=run_config.record.output_file, do="record one (mimicctl record), or give --input-file")
    if enable_cameras or enable_pinocchio:
        from mimicctl.dataset.reader import Dataset
        from mimicctl.tasks import task_read_as

        with Dataset(source) as dataset:
            demand(task_read_as(dataset.task_id, task or "").task_id, cameras=enable_cameras, pinocchio=enable_pinocchio)
    if enable_cameras or rendering_mode:
        note("Nothing is drawn when demonstrations are annotated: generate draws what it makes, and mimicctl dataset render what there is.")
    note(f"Annotating {source}.")
    note_foreign(source, task or "")
    note_changed_task(source)
    by_hand = {"task_id": task or "", "starts": settings.start_signals, "resume": resume, "overwrite": overwrite}
    in_browser = in_browser or lan
    if strict and (in_browser or auto is False):
        raise UserError("By hand, only what is accepted is written.", where="--strict", do="leave it out")
    if in_browser:
        if auto:
            raise UserError("Annotation by replay needs no browser.", where="--auto --web", do="leave one of them out")
        path, found = _in_browser(source, settings.output_file, by_hand, port, lan)
    elif auto is False:
        from mimicctl.annotation.terminal import annotate_by_hand

        path, found = annotate_by_hand(source, settings.output_file, **by_hand)
    else:
        if resume:
            raise UserError("Annotation by replay starts anew each time.", where="--resume", do="leave it out, or add --manual or --web")
        from mimicctl.annotation.auto import annotate_auto

        options = {"starts": settings.start_signals, "strict": settings.strict, "overwrite": overwrite}
        path, found = annotate_auto(source, settings.output_file, task_id=task or "", **options)
    written = [a for a in found if a.written_as]
    signals = list(found[0].rises)
    rows = [(a.name, a.written_as or "-", a.replayed, *(a.rises.get(s) if a.rises.get(s) is not None else "-" for s in signals), a.problem) for a in found]
    table = Table("Found", ("demo", "written as", "replayed by", *signals, "left out because"), rows)
    facts = [("file", path), ("demos", len(written)), ("left out", len(found) - len(written)), ("size", size_of(path))]
    data = {"file": str(path), "demos": len(written), "found": [vars(a) for a in found]}
    show(Outcome("Annotated.", facts, [table], _next_command(path, run_config.task), data), as_json)


def _next_command(path: Path, usual: str) -> str:
    """`generate` goes by the settings' task, so another one has to be told."""
    from mimicctl.dataset.reader import Dataset
    from mimicctl.tasks import canonical_id

    with Dataset(path) as dataset:
        other = canonical_id(dataset.task_id) != canonical_id(usual)
        return f"mimicctl generate --task {dataset.task_id}" if other else "mimicctl generate"


def _in_browser(source: Path, output_file: str, by_hand: dict[str, Any], port: int, lan: bool) -> tuple[Path, list[DemoAnnotation]]:
    """Until Ctrl-C, which keeps what was accepted."""
    from mimicctl.web import require_packages

    require_packages()
    from mimicctl.annotation.session import ManualSession
    from mimicctl.web import annotating, datasets
    from mimicctl.web.annotating import Annotations
    from mimicctl.web.stage import Stages
    from mimicctl.web.workspace import Workspace

    stages, workspace = Stages(), Workspace([source])
    with ManualSession(source, output_file, **by_hand) as session, Annotations(workspace, lambda path: session.output) as annotations:
        annotations.adopt(session)
        try:
            serve([*annotating.routes(annotations, stages), *datasets.routes(workspace, stages)], dict(reversed(DATASET_PAGES.items())), port, lan)
        except KeyboardInterrupt:
            if not any(session.verdict(name) == "accepted" for name in session.names):
                raise
            return session.output, session.finish()
        raise AssertionError("serving ends by an interruption")
