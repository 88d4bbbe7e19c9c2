"""`mimicctl augment`."""

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
    Seed,
    Workers,
    first_existing,
    note,
    reporting,
    resolve_settings,
    show,
    size_of,
)


def command(
    file: Annotated[Optional[str], typer.Argument(help="Dataset to augment (the generated one).", show_default=False)] = None,
    input_file: Annotated[Optional[str], typer.Option(help="The same, as a flag.", show_default=False)] = None,
    engine: Annotated[
        Optional[str],
        typer.Option(
            help="procedural paints over images with depth, normals and segmentation; rerender draws the states again, with OpenGL (procedural).",
            show_default=False,
        ),
    ] = None,
    output_file: Annotated[Optional[str], typer.Option(help="Where the augmented demos go (datasets/augmented.hdf5).", show_default=False)] = None,
    copies: Annotated[Optional[int], typer.Option(help="Augmented demos to make of each demo (1).", show_default=False)] = None,
    with_originals: Annotated[Optional[bool], typer.Option("--with-originals", help="Put the originals first, into the same file.", show_default=False)] = None,
    seed: Seed = None,
    task: Annotated[Optional[str], typer.Option("--task", help="Whose cameras (the dataset's task, or its variant with cameras).", show_default=False)] = None,
    rendering_mode: Annotated[Optional[str], typer.Option(help="rerender: performance, balanced or quality (balanced).", show_default=False)] = None,
    image_size: Annotated[Optional[int], typer.Option(help="rerender: height and width of the images (those of the task).", show_default=False)] = None,
    workers: Workers = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Copy demos into other rooms: randomised materials, surroundings and light, one appearance a demo."""
    flags = {
        "augment.input_file": input_file or file,
        "augment.engine": engine,
        "augment.output_file": output_file,
        "augment.copies": copies,
        "augment.with_originals": with_originals,
        "augment.workers": workers,
        "render.rendering_mode": rendering_mode,
        "render.image_size": image_size,
        "seed": seed,
    }
    run_config = resolve_settings(flags, config, override).config
    from mimicctl.augmentation.augment import augment
    from mimicctl.errors import UserError

    settings = run_config.augment
    _refuse_ignored(settings.engine, rendering_mode, image_size, file, input_file)
    source = Path(settings.input_file) if settings.input_file else first_existing(run_config.generate.output_file)
    if source is None:
        raise UserError("There is no dataset to augment.", do="name it (mimicctl augment FILE), or generate one first")
    note(f"Augmenting {source} ({settings.engine}).")
    with reporting("augment", 0) as reporter:

        def begin(steps: int, done: int) -> None:
            reporter.set_total(steps)
            reporter.update(done, "steps")

        made = augment(
            source,
            settings,
            run_config.render,
            seed=run_config.seed,
            task_id=task or "",
            resume=resume,
            overwrite=overwrite,
            on_start=begin,
            on_steps=lambda steps: reporter.update(steps, "steps"),
        )
    augmented = sum(copy.number is not None for copy in made.copies)
    facts = [
        ("file", made.path),
        ("augmented", f"{augmented} demos"),
        ("originals", f"{len(made.copies) - augmented} demos" if settings.with_originals else "not in the file"),
        ("steps", made.steps),
        ("images", ", ".join(made.keys)),
        ("size", size_of(made.path)),
    ]
    if made.light_only:
        facts.append(("light only", f"{', '.join(made.light_only)}: colours alone do not say what is what, so materials stay as they are"))
    if made.resumed_at:
        facts.append(("resumed", f"after {made.resumed_at} demos of an earlier run"))
    demos = [{"name": f"demo_{i}", "from": copy.demo, "copy": copy.number} for i, copy in enumerate(made.copies)]
    data = {"file": str(made.path), "task": made.task.task_id, "engine": settings.engine, "demos": demos, "steps": made.steps, "images": made.keys}
    data |= {"light_only": made.light_only, "resumed_at": made.resumed_at}
    ready = settings.with_originals or settings.engine == "rerender"
    next_command = f"mimicctl dataset contact-sheet {made.path}" if ready else f"mimicctl merge {source} {made.path}"
    show(Outcome("Augmented.", facts, next_command=next_command, data=data), as_json)


def _refuse_ignored(engine: str, rendering_mode: str | None, image_size: int | None, file: str | None, input_file: str | None) -> None:
    """UserError for flags that would have no effect."""
    from mimicctl.errors import UserError

    if file and input_file and file != input_file:
        raise UserError("Two datasets are named.", where=f"{file}, --input-file {input_file}", do="name one; mimicctl merge makes one of two")
    idle = [flag for flag, value in (("--rendering-mode", rendering_mode), ("--image-size", image_size)) if value is not None]
    if engine == "procedural" and idle:
        raise UserError(f"The procedural engine draws nothing, so {' and '.join(idle)} would have no effect.", where=", ".join(idle), do="--engine rerender")
