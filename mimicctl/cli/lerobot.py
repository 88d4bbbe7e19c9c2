"""`mimicctl convert hdf5-to-lerobot` and `lerobot-to-hdf5`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from mimicctl.cli.common import (
    ConfigFile,
    Json,
    Outcome,
    Override,
    Overwrite,
    Resume,
    Table,
    first_existing,
    note,
    reporting,
    resolve_settings,
    show,
    size_of,
    size_text,
)


def hdf5_to_lerobot(
    input_file: Annotated[Optional[str], typer.Option(help="Dataset to convert (the last generated one).", show_default=False)] = None,
    output_dir: Annotated[Optional[str], typer.Option(help="Folder of the LeRobot dataset (datasets/lerobot).", show_default=False)] = None,
    fps: Annotated[Optional[int], typer.Option(help="Frames per second (the control rate of the dataset).", show_default=False)] = None,
    state_keys: Annotated[
        Optional[list[str]], typer.Option(help="An observation of observation.state; may be repeated (those of the robot).", show_default=False)
    ] = None,
    environment_keys: Annotated[
        Optional[list[str]],
        typer.Option(help="One of observation.environment_state; may be repeated (those of the objects, where there are no cameras).", show_default=False),
    ] = None,
    cameras: Annotated[Optional[list[str]], typer.Option(help="A camera that becomes a video; may be repeated (all).", show_default=False)] = None,
    instruction: Annotated[Optional[str], typer.Option(help="The task in words (its description).", show_default=False)] = None,
    filter_key: Annotated[str, typer.Option(help="Only demos of this mask, train for instance.")] = "",
    discarded: Annotated[bool, typer.Option("--discarded/--no-discarded", help="Also demos that are marked as discarded.")] = True,
    append: Annotated[bool, typer.Option("--append", help="Add to a dataset of the same format.")] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Write demos as a LeRobot dataset (v3.0)."""
    flags = {
        "lerobot.input_file": input_file, "lerobot.folder": output_dir, "lerobot.fps": fps, "lerobot.state_keys": state_keys or None,
        "lerobot.environment_keys": environment_keys or None, "lerobot.cameras": cameras or None, "lerobot.instruction": instruction,
    }  # fmt: skip
    run_config = resolve_settings(flags, config, override).config
    from mimicctl.conversion.lerobot.to_lerobot import to_lerobot
    from mimicctl.errors import UserError

    settings, generated = run_config.lerobot, run_config.generate.output_file
    source = Path(settings.input_file) if settings.input_file else first_existing(generated)
    if source is None:
        raise UserError("There is no dataset to convert.", where=generated, do="generate one (mimicctl generate), or give --input-file")
    note(f"Converting {source}.")
    with reporting("demos", 0) as reporter:

        def progress(done: int, total: int) -> None:
            reporter.set_total(total)
            reporter.update(done, "")

        made = to_lerobot(
            source, settings.folder, fps=settings.fps, state_keys=settings.state_keys, environment_keys=settings.environment_keys,
            cameras=settings.cameras, instruction=settings.instruction, filter_key=filter_key, discarded=discarded,
            append=append, resume=resume, overwrite=overwrite, on_progress=progress,
        )  # fmt: skip
    features = made.layout.features()
    size = sum(path.stat().st_size for path in made.folder.rglob("*") if path.is_file())
    facts = [("folder", made.folder), ("episodes", made.episodes), ("frames", made.frames), ("fps", made.layout.fps), ("task", made.instruction)]
    facts.append(("size", size_text(size)))
    if made.there:
        facts.append(("there already", f"{made.there} demos, {made.demos} added"))
    held = {name: ", ".join(part.key for part in parts) for name, parts in made.layout.vectors.items()}
    rows = [(name, f"({', '.join(map(str, feature['shape']))})", held.get(name, feature["dtype"])) for name, feature in features.items()]
    rows = [row for row in rows if row[0].startswith(("action", "observation"))]
    data = {
        "folder": str(made.folder),
        "episodes": made.episodes,
        "frames": made.frames,
        "added": made.demos,
        "there_already": made.there,
        "features": features,
    }
    load = f"LeRobotDataset('local/{made.folder.name}', root='{made.folder}')"
    show(Outcome("Converted.", facts, [Table("Features", ("feature", "shape", "of"), rows)], load, data), as_json)


def lerobot_to_hdf5(
    input_dir: Annotated[Optional[str], typer.Option(help="Folder of the LeRobot dataset (datasets/lerobot).", show_default=False)] = None,
    output_file: Annotated[Optional[str], typer.Option(help="Where the demos go (datasets/from_lerobot.hdf5).", show_default=False)] = None,
    task: Annotated[str, typer.Option("--task", help="Task that the episodes are of, where the dataset does not say.")] = "",
    resume: Resume = False,
    overwrite: Overwrite = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Write the episodes of a LeRobot dataset (v3.0) as demos."""
    settings = resolve_settings({"lerobot.folder": input_dir, "lerobot.output_file": output_file}, config, override).config.lerobot
    from mimicctl.conversion.lerobot.from_lerobot import from_lerobot

    note(f"Converting {settings.folder}.")
    with reporting("episodes", 0) as reporter:

        def progress(done: int, total: int) -> None:
            reporter.set_total(total)
            reporter.update(done, "")

        made = from_lerobot(settings.folder, settings.output_file, task_id=task, resume=resume, overwrite=overwrite, on_progress=progress)
    facts = [("file", made.path), ("demos", made.demos), ("size", size_of(made.path))]
    if made.without:
        facts.append(("without a sidecar", f"{made.without} episodes; they have what LeRobot keeps: actions, observations, pictures"))
    if made.left_out:
        facts.append(("left out", f"{', '.join(made.left_out)}: no numbers or pictures"))
    if made.resumed_at:
        facts.append(("resumed", f"after {made.resumed_at} demos of an earlier run"))
    show(Outcome("Converted.", facts, next_command=f"mimicctl dataset info {made.path}", data=vars(made) | {"path": str(made.path)}), as_json)
