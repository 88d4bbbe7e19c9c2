"""`mimicctl dataset`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from mimicctl.cli import hub
from mimicctl.cli.common import (
    ConfigFile,
    Json,
    Outcome,
    Override,
    Overwrite,
    Resume,
    Table,
    Workers,
    note,
    note_foreign,
    reporting,
    resolve_settings,
    show,
    size_of,
    some,
)

app = typer.Typer(help="Look into datasets, check, split, repair and salvage them, add cameras, send them to the hub.", no_args_is_help=True)
app.command("push")(hub.push)
app.command("pull")(hub.pull)

File = Annotated[Path, typer.Argument(help="Dataset file.")]


@app.command()
def info(file: File, as_json: Json = False) -> None:
    """Demos, keys, shapes, lengths, success and lineage."""
    from mimicctl.dataset.info import describe
    from mimicctl.statistics import rate_text

    found = describe(file)
    lengths = list(found.lengths.values())
    spread = f"{min(lengths)} to {max(lengths)}, {sum(lengths) / len(lengths):.0f} on average" if lengths else "-"
    facts = [
        ("file", found.path),
        ("size", size_of(found.path)),
        ("task", found.task_id or "not said"),
        ("understood", found.understood),
        ("demos", f"{len(lengths)}, of which {found.succeeded} succeeded and {found.annotated} are annotated"),
        ("steps", f"{sum(lengths)} ({spread} a demo)"),
        ("masks", ", ".join(f"{key} {count}" for key, count in found.masks.items()) or "none"),
    ]
    if found.suspicion:
        facts.append(("beware", found.suspicion))
    if found.attempts:
        facts.append(("generated at", rate_text(found.attempts_succeeded, found.attempts)))
    facts += [("made by", found.lineage.get("made_by", "not recorded"))]
    facts += [("from", f"{i.get('file')} ({i.get('sha256', i.get('file_sha256', ''))[:12]})") for i in found.lineage.get("inputs", [])]
    rows = [(key, f"(T{''.join(f', {n}' for n in shape)})", dtype) for key, (shape, dtype) in found.keys.items()]
    show(Outcome("", facts, [Table("Keys", ("key", "shape", "dtype"), rows)], data=found.as_dict()), as_json)


@app.command()
def check(file: File, as_json: Json = False) -> None:
    """Find what would break training later. Exit code 1 if there is anything."""
    note_foreign(file)
    from mimicctl.dataset.check import check as find
    from mimicctl.dataset.reader import Dataset

    with Dataset(file, need_demos=False) as dataset:
        findings = list(find(dataset))
        demos = len(dataset)
    errors = sum(f.severity == "error" for f in findings)
    rows = [(f.severity, f.demo, f.key, f.what, f.do) for f in findings[:200]]
    tables = [Table("Findings", ("severity", "demo", "key", "what", "do"), rows)] if rows else []
    facts = [("file", file.absolute()), ("demos", demos), ("errors", errors), ("warnings", len(findings) - errors)]
    data = {"file": str(file.absolute()), "demos": demos, "errors": errors, "findings": [vars(f) for f in findings]}
    show(Outcome("Nothing that breaks training." if not errors else "Training would break.", facts, tables, data=data), as_json)
    if errors:
        raise typer.Exit(1)


@app.command()
def split(
    file: File,
    valid: Annotated[float, typer.Option(min=0.0, max=0.9, help="Share of demos for validation.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    filter_key: Annotated[str, typer.Option(help="Divide the demos of this mask only, kept for instance (all that are not discarded).")] = "",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write mask/train and mask/valid, without copying data."""
    from mimicctl.dataset.split import split_file

    masks = split_file(file, valid_fraction=valid, seed=seed, filter_key=filter_key, overwrite=overwrite)
    facts = [("file", file.absolute()), *((f"mask/{key}", len(names)) for key, names in masks.items())]
    show(Outcome("Split.", facts, next_command=f"mimicctl train --dataset {file}"), as_json)


@app.command()
def repair(
    file: File,
    output: Annotated[Path | None, typer.Option("--output-file", help="Where the saved demos go (<name>.repaired.hdf5).", show_default=False)] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Save every whole demo of a file that was cut off, to a new file."""
    from mimicctl.dataset.repair import repair as salvage

    target = output or file.with_name(f"{file.stem}.repaired.hdf5")
    found = salvage(file, target, overwrite=overwrite)
    lost = [(demo.name, demo.lost_because) for demo in found.demos if demo.lost_because]
    tables = [Table("Lost", ("demo", "because"), lost)] if lost else []
    facts = [("file", target.absolute()), ("saved", len(found.saved)), ("lost", len(lost))]
    if found.contents_damaged:
        facts.append(("note", "the table of contents is damaged; demos that lie wholly behind the cut are not counted as lost"))
    if found.renumbered:
        facts.append(("note", "names of some demos are lost; those are numbered as they lie in the file"))
    data = {"file": str(target.absolute()), "contents_damaged": found.contents_damaged, "renumbered": found.renumbered}
    data |= {"saved": found.saved, "lost": [vars(demo) for demo in found.demos if demo.lost_because]}
    show(Outcome("Repaired.", facts, tables, f"mimicctl dataset check {target}", data), as_json)


@app.command()
def salvage(
    folder: Annotated[Path, typer.Argument(help="Folder of a LeRobot dataset.")],
    output: Annotated[Path | None, typer.Option("--output-dir", help="Where the saved episodes go (<name>_salvaged).", show_default=False)] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Save every whole episode that a crashed LeRobot session left, to a new dataset."""
    from mimicctl.conversion.lerobot.salvage import salvage as save

    folder = folder.absolute()
    target = output or folder.with_name(f"{folder.name}_salvaged")
    with reporting("salvage", 0) as reporter:

        def progress(done: int, total: int) -> None:
            reporter.set_total(max(total, 1))
            reporter.update(done, "episodes")

        found = save(folder, target, overwrite=overwrite, on_progress=progress)
    facts = [("folder", found.folder), ("saved", f"{len(found.saved)} episodes, {found.frames} frames"), ("lost", len(found.lost))]
    if found.encoded:
        facts.append(("encoded", f"pictures of {some(list(map(str, found.encoded)))}; those of the others are as they were"))
    if renumbered := [f"{old} is {new}" for new, old in enumerate(found.saved) if old != new]:
        facts.append(("numbers", some(renumbered)))
    facts += [("note", note) for note in found.notes]
    tables = [Table("Lost", ("episode", "because"), [(lost.episode, lost.because) for lost in found.lost])] if found.lost else []
    data = {"folder": str(found.folder), "saved": found.saved, "frames": found.frames, "lost": [vars(lost) for lost in found.lost]}
    data |= {"encoded": found.encoded, "notes": found.notes}
    show(Outcome("Salvaged.", facts, tables, f"mimicctl convert lerobot-to-hdf5 --input-dir {target}", data), as_json)


Dialect = Literal["isaaclab2", "isaaclab3", "mimicgen", "robomimic"]


@app.command("convert-dialect")
def convert_dialect(
    file: File,
    to: Annotated[Dialect, typer.Option("--to", help="Whose conventions the copy follows.")],
    source: Annotated[Optional[Dialect], typer.Option("--from", help="What the file is, where it is taken for something else.", show_default=False)] = None,
    output: Annotated[Optional[Path], typer.Option("--output-file", help="Where the copy goes (<name>.<dialect>.hdf5).", show_default=False)] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Copy a dataset into the conventions of another tool: order of quaternions, layout, actions."""
    from mimicctl.conversion.dialects import Plan, convert, in_words

    plans: list[Plan] = []

    def planned(plan: Plan) -> None:
        plans.append(plan)
        for sentence in in_words(plan):
            note(sentence)

    with reporting("convert", 0) as reporter:

        def progress(done: int, total: int) -> None:
            reporter.set_total(total)
            reporter.update(done, "demos")

        target = output or file.with_name(f"{file.stem}.{to}.hdf5")
        made = convert(file, to, target, source=source, overwrite=overwrite, on_plan=planned, on_progress=progress)
    plan = plans[0]
    facts = [("file", made.path), ("demos", made.demos), ("size", size_of(made.path)), ("computed anew", ", ".join(_abridged(plan.changed)) or "nothing")]
    data = {"file": str(made.path), "demos": made.demos, "from": plan.source.kind, "to": to, "changed": plan.changed, "aside": plan.aside}
    show(Outcome("Converted.", facts, next_command=f"mimicctl dataset info {made.path}", data=data | {"remarks": plan.remarks}), as_json)


def _abridged(paths: tuple[str, ...]) -> list[str]:
    """Without what the paths of one kind have in common: all root poses are one entry."""
    return list(dict.fromkeys("root_pose" if path.endswith("/root_pose") else path for path in paths))


@app.command()
def render(
    file: File,
    task: Annotated[Optional[str], typer.Option("--task", help="Whose cameras (the dataset's task, or its -Visuomotor variant).", show_default=False)] = None,
    output: Annotated[Optional[Path], typer.Option("--output-file", help="Where the copy goes (<name>.rendered.hdf5).", show_default=False)] = None,
    rendering_mode: Annotated[Optional[str], typer.Option(help="performance, balanced or quality (balanced).", show_default=False)] = None,
    image_size: Annotated[Optional[int], typer.Option(help="Height and width of the images (those of the task).", show_default=False)] = None,
    workers: Workers = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Copy a dataset with the images of a task's cameras, drawn from the recorded states."""
    flags = {"render.rendering_mode": rendering_mode, "render.image_size": image_size, "render.workers": workers}
    settings = resolve_settings(flags, config, override).config.render
    from mimicctl.rendering.replay import render_file

    target = output or file.with_name(f"{file.stem}.rendered.hdf5")
    with reporting("render", 0) as reporter:
        made = render_file(
            file,
            target,
            settings,
            task_id=task or "",
            resume=resume,
            overwrite=overwrite,
            on_start=reporter.set_total,
            on_demo=lambda steps: reporter.update(steps, "steps"),
        )
    facts = [("file", made.path), ("task", made.task.task_id), ("demos", made.demos), ("steps", made.steps), ("size", size_of(made.path))]
    if made.resumed_at:
        facts.append(("resumed", f"after {made.resumed_at} demos of an earlier run"))
    rows = [(key, f"(T, {', '.join(map(str, shape))})", dtype) for key, (shape, dtype) in made.keys.items()]
    data = {"file": str(made.path), "task": made.task.task_id, "demos": made.demos, "steps": made.steps, "keys": {row[0]: row[1:] for row in rows}}
    show(Outcome("Rendered.", facts, [Table("Images", ("key", "shape", "dtype"), rows)], f"mimicctl dataset contact-sheet {target}", data), as_json)


@app.command("contact-sheet")
def contact_sheet(
    file: File,
    output: Annotated[Optional[Path], typer.Option("--output-file", help="The picture (<name>.png).", show_default=False)] = None,
    demos: Annotated[int, typer.Option(min=1, max=100, help="Demos shown, the first ones.")] = 3,
    steps: Annotated[int, typer.Option(min=1, max=100, help="Steps shown of each.")] = 6,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """A PNG sheet of what each camera saw in a few demos."""
    from mimicctl.dataset.contact_sheet import contact_sheet as make_sheet

    path, keys = make_sheet(file, output or file.with_suffix(".png"), demos=demos, steps=steps, overwrite=overwrite)
    show(Outcome("Drawn.", [("picture", path), ("images", ", ".join(keys))], data={"picture": str(path), "images": keys}), as_json)
