"""`mimicctl provenance`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from mimicctl.cli.common import Json, Outcome, Overwrite, Table, note, reporting, show, some

if TYPE_CHECKING:
    from mimicctl.provenance.graph import Graph
    from mimicctl.provenance.withdraw import Withdrawal

app = typer.Typer(help="Who made the data, from what, may it be used, and how it is withdrawn.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="Dataset file.")]
FileOrFolder = Annotated[Path, typer.Argument(help="Dataset file, or folder of a LeRobot dataset.")]
Workspace = Annotated[
    Optional[Path],
    typer.Option("--workspace", help="Folder to look through, with all below it (the working folder, if the file is in it).", show_default=False),
]


def _graph(workspace: Path) -> Graph:
    from mimicctl.provenance.graph import Graph
    from mimicctl.provenance.workspace import scan

    with reporting("look through", 0) as reporter:
        seen = 0

        def looked(path: Path) -> None:
            nonlocal seen
            seen += 1
            reporter.set_total(max(seen, 1))
            reporter.update(seen, path.name)

        return Graph(scan(workspace, looked))


def _around(file: Path, workspace: Optional[Path]) -> Path:
    """The folder to look through for a file."""
    if workspace is not None:
        return workspace
    return Path.cwd() if file.absolute().is_relative_to(Path.cwd()) else file.absolute().parent


@app.command()
def trace(
    file: FileOrFolder,
    demo: Annotated[str, typer.Argument(help="Its name, as in demo_12; of a LeRobot dataset episode_12.")],
    workspace: Workspace = None,
    svg: Annotated[Optional[Path], typer.Option(help="Also draw it, to this file.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """What a demo was made from, and what was made from it."""
    from mimicctl.provenance.trace import as_dict, as_svg, as_text, trace_of

    if svg is not None:
        _refuse_no_svg(svg)
    graph = _graph(_around(file, workspace))
    found = trace_of(graph, graph.find(file, demo))
    if svg is not None:
        svg.write_text(as_svg(found))
        note(f"Drawn to {svg.absolute()}.")
    if as_json:
        show(Outcome("", data=as_dict(found)), as_json)
    else:
        print(as_text(found))


def _refuse_no_svg(path: Path) -> None:
    from mimicctl.errors import UserError

    if path.suffix != ".svg" or not path.absolute().parent.is_dir():
        raise UserError(f'"{path}" is no .svg file in a folder that is there.', where="--svg", do="name one, as in --svg trace.svg")


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="Folder, or a dataset in the folder to look through.")] = Path("."),
    as_json: Json = False,
) -> None:
    """Read all again: edited demos, swapped files, forged parents. Exit code 1 if there is anything."""
    from mimicctl.errors import UserError
    from mimicctl.provenance.verify import verify as find
    from mimicctl.provenance.workspace import scan

    found = scan(path if path.is_dir() or not path.exists() else path.absolute().parent)
    files = None
    if path.is_file():
        files = [file for file in found.datasets if file.path == path.absolute()]
        if not files:
            raise UserError("This is not a readable dataset.", where=str(path.absolute()), do="give a dataset, or a folder of them")
    looked_into = found.datasets if files is None else files
    demos = sum(len(file.demos) for file in looked_into)
    with reporting("verify", demos) as reporter:
        done = 0

        def read() -> None:
            nonlocal done
            done += 1
            reporter.update(done, "demos")

        findings = list(find(found, files, read))
    errors = [finding for finding in findings if finding.severity == "error"]
    rows = [(f.severity, found.named(f.file), f.demo, f.what) for f in sorted(findings, key=lambda f: (f.severity, f.file, f.demo))]
    facts = [("folder", found.folder), ("datasets", len(looked_into)), ("demos", demos), ("errors", len(errors)), ("notes", len(rows) - len(errors))]
    title = "All is as it was written." if not errors else "Something is not as it was written."
    data = {**dict(facts), "folder": str(found.folder), "findings": [{**vars(f), "file": str(f.file)} for f in findings]}
    show(Outcome(title, facts, [Table("Findings", ("severity", "file", "demo", "what"), rows)] if rows else [], data=data), as_json)
    if errors:
        raise typer.Exit(1)


@app.command()
def withdraw(
    operator: Annotated[Optional[str], typer.Option(help="Withdraw all that this operator recorded.", show_default=False)] = None,
    demo: Annotated[Optional[list[str]], typer.Option(help="Withdraw a demo, as in datasets/dataset.hdf5:demo_3; may be repeated.", show_default=False)] = None,
    workspace: Annotated[Path, typer.Option(help="Folder to look through, with all below it.")] = Path("."),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Purge demos, and all that was made from them, from the datasets of a folder; mark checkpoints that were trained on them."""
    from mimicctl.errors import UserError
    from mimicctl.provenance import withdraw as withdrawing

    if bool(operator) == bool(demo):
        raise UserError("It is either an operator whose demonstrations are withdrawn, or single ones.", do="give --operator NAME, or --demo FILE:demo_3")
    graph = _graph(workspace)
    chosen = withdrawing.of_operator(graph, operator) if operator else withdrawing.demos_named(graph, demo or [])
    asked = f"all demonstrations of {operator}" if operator else ", ".join(demo or [])
    planned = withdrawing.plan(graph, asked, chosen)
    if dry_run:
        show(_planned("Would withdraw.", graph, planned, []), as_json)
        return
    steps = len(planned.tainted) + len(planned.removed) + len(planned.purges) + 1
    with reporting("withdraw", steps) as reporter:
        done = 0

        def step(what: str) -> None:
            nonlocal done
            reporter.update(done, what)
            done += 1

        record, left = withdrawing.carry_out_all(graph, planned, on_step=step)
    facts = [("record", record), ("searched for", _searched(graph, left))]
    show(_planned("Withdrawn.", graph, planned, facts, {"record": str(record), "bytes_still_found_in": list(map(str, left))}), as_json)
    if left:
        raise typer.Exit(1)


def _searched(graph: Graph, left: list[Path]) -> str:
    if not left:
        return "bytes of the withdrawn demos are in no file of the folder any more"
    return f"bytes of the withdrawn demos are still in {', '.join(map(graph.workspace.named, left))}"


def _planned(title: str, graph: Graph, planned: Withdrawal, facts: list[tuple[str, Any]], data: dict[str, Any] | None = None) -> Outcome:
    from mimicctl.provenance.purge_export import ExportPurge

    named = graph.workspace.named
    facts = [
        ("what", planned.asked),
        ("demos", f"{len(planned.withdrawn)}, in {len(planned.places)} places"),
        ("checkpoints", f"{len(planned.tainted)} to be refused from now on"),
        *facts,
    ]
    purges = [(named(p.path), len(p.demos), p.attempts, p.records, some(list(p.demos))) for p in planned.purges]
    tables = [Table("Datasets, written anew", ("file", "demos", "attempts", "entries", "which"), purges)] if purges else []
    others = [("refused from now on", named(p)) for p in planned.tainted] + [("removed", named(p)) for p in planned.removed]
    exports = [purge for purge in planned.purges if isinstance(purge, ExportPurge) and purge.encoded]
    others += [("pictures encoded again", f"{named(purge.path)}: episodes {some(list(map(str, purge.encoded)))}") for purge in exports]
    others += [("kept: made with a refused checkpoint", named(p)) for p in planned.kept]
    others += [("kept: a withdrawn demo was made from it", f"{named(place.file)}:{place.demo}") for place in planned.ancestors]
    if others:
        tables.append(Table("Other files", ("", "file"), others))
    if planned.unseen:
        tables.append(Table("Could not be seen: look at these yourself", ("file", "because"), [(named(p), why) for p, why in planned.unseen.items()]))
    if planned.retrain:
        tables.append(Table("Train again, on what is left", ("command",), [(command,) for command in planned.retrain]))
    return Outcome(title, facts, tables, data={**planned.as_dict(), **(data or {})})


# What is known of a file --------------------------------------------------------------------------------------

Sources = Annotated[
    Optional[Path], typer.Option("--workspace", help="Folder of the files that it was made from, to which facts may have been added since.", show_default=False)
]


@app.command()
def manifest(
    file: File,
    workspace: Sources = None,
    output_file: Annotated[Optional[Path], typer.Option(help="Write it there, as .yaml or .json.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Where a dataset comes from, in the fields that its readers ask for. What nobody recorded is unknown."""
    import json

    from mimicctl.errors import UserError
    from mimicctl.provenance.manifest import as_yaml, known_of
    from mimicctl.provenance.manifest import manifest as manifest_of

    if output_file is not None and (output_file.suffix not in (".yaml", ".yml", ".json") or not output_file.absolute().parent.is_dir()):
        raise UserError(f'"{output_file}" is no .yaml or .json file in a folder that is there.', where="--output-file", do="name one, as in manifest.yaml")
    made = manifest_of(known_of(file, workspace))
    if output_file is not None:
        output_file.write_text(json.dumps(made, indent=1) + "\n" if output_file.suffix == ".json" else as_yaml(made))
        note(f"Written to {output_file.absolute()}.")
    if as_json:
        show(Outcome("", data=made), as_json)
    else:
        print(as_yaml(made), end="")


@app.command()
def card(
    file: File,
    workspace: Sources = None,
    output_dir: Annotated[Optional[Path], typer.Option(help="Folder of the card (<file>_card beside it).", show_default=False)] = None,
    license: Annotated[str, typer.Option(help="Of the dataset itself, by its SPDX id.")] = "",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """A dataset card as Hugging Face shows it: README.md with statistics, pictures, lineage, open questions."""
    from mimicctl.provenance.card import write_card
    from mimicctl.provenance.manifest import known_of

    folder = (output_dir or file.absolute().with_name(f"{file.stem}_card")).absolute()
    written = write_card(known_of(file, workspace), folder, license=license, overwrite=overwrite)
    show(Outcome("The card is written.", [(path.name, path) for path in written]), as_json)


@app.command()
def check(
    file: File,
    workspace: Sources = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 2 if a question is open.")] = False,
    as_json: Json = False,
) -> None:
    """Which questions about consent, licences, use and deletion are answered, by what, and which are open."""
    from mimicctl.provenance.checklist import checklist
    from mimicctl.provenance.manifest import known_of

    answers = checklist(known_of(file, workspace))
    unanswered = [answer for answer in answers if answer.state == "open"]
    rows = [(answer.area, answer.state, answer.evidence) for answer in answers]
    tables = [Table("Questions", ("area", "state", "evidence"), rows)]
    if unanswered:
        tables.append(Table("How to close what is open", ("area", "do"), [(answer.area, answer.do) for answer in unanswered]))
    title = f"{len(unanswered)} of {len(answers)} questions are open." if unanswered else "No question is open."
    data = {"file": str(file.absolute()), "open": len(unanswered), "answers": [vars(answer) for answer in answers]}
    show(Outcome(title, [("file", file.absolute())], tables, data=data), as_json)
    if unanswered and strict:
        raise typer.Exit(2)


@app.command("set")
def set_facts(
    file: File,
    operator: Annotated[str, typer.Option(help="Who recorded the demonstrations.")] = "",
    consent_id: Annotated[str, typer.Option(help="Number of the operator's consent, or where it is filed.")] = "",
    demo: Annotated[Optional[list[str]], typer.Option(help="Say that of this demo only; may be repeated.", show_default=False)] = None,
    synthesis: Annotated[
        Optional[bool], typer.Option("--synthesis/--no-synthesis", help="Whether the operators agreed that more are made from them.", show_default=False)
    ] = None,
    annotator: Annotated[Optional[str], typer.Option(help="Who marked the subtasks.", show_default=False)] = None,
    annotation_license: Annotated[Optional[str], typer.Option(help="Licence of these marks.", show_default=False)] = None,
    license: Annotated[
        Optional[list[str]], typer.Option(help="Licence of assets, as in robot=BSD-3-Clause: of robot, objects, textures, scene.", show_default=False)
    ] = None,
    downstream: Annotated[
        Optional[list[str]], typer.Option(help="What it may be used for, as in train-internal-policy; may be repeated.", show_default=False)
    ] = None,
    camera_review: Annotated[Optional[str], typer.Option(help="What came of looking at what the cameras show.", show_default=False)] = None,
    deletion_policy: Annotated[Optional[str], typer.Option(help="What happens to derived data after a withdrawal.", show_default=False)] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Add facts to a file: operator and consent of its demonstrations, licences, permitted use."""
    from mimicctl.provenance.terms import Terms, set_terms

    terms = Terms(synthesis, annotator, annotation_license, _licenses(license), downstream or None, camera_review, deletion_policy)
    told = set_terms(file, terms, operator=operator, consent_id=consent_id, demos=demo or (), overwrite=overwrite)
    facts = [
        ("file", file.absolute()),
        *((key.replace("_", " "), ", ".join(value) if isinstance(value, list) else value) for key, value in terms.said().items()),
    ]
    if told:
        facts += [(label, value) for label, value in (("operator", operator), ("consent id", consent_id)) if value]
        facts.append(("demos", len(told)))
    show(Outcome("Noted.", facts, next_command=f"mimicctl provenance check {file}"), as_json)


def _licenses(given: Optional[list[str]]) -> Optional[dict[str, str]]:
    from mimicctl.errors import UserError
    from mimicctl.provenance.terms import PARTS

    pairs = [text.partition("=") for text in given or ()]
    for part, _, license in pairs:
        if part not in PARTS or not license:
            raise UserError("A licence is given as part=licence.", where="--license", do=f"as in robot=BSD-3-Clause; parts are {', '.join(PARTS)}")
    return {part: license for part, _, license in pairs} or None
