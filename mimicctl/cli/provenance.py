"""`mimicctl provenance`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from mimicctl.cli.common import Json, Outcome, Table, note, reporting, show

if TYPE_CHECKING:
    from mimicctl.provenance.graph import Graph
    from mimicctl.provenance.withdraw import Withdrawal

app = typer.Typer(help="Who made the data, from what, may it be used, and how it is withdrawn.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="Dataset file.")]
Workspace = Annotated[
    Optional[Path], typer.Option("--workspace", help="Folder to look through, with all below it (the working folder, if the file is in it).", show_default=False)
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
    file: File,
    demo: Annotated[str, typer.Argument(help="Its name, as in demo_12.")],
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
    named = graph.workspace.named
    facts = [
        ("what", planned.asked),
        ("demos", f"{len(planned.withdrawn)}, in {len(planned.places)} places"),
        ("checkpoints", f"{len(planned.tainted)} to be refused from now on"),
        *facts,
    ]
    purges = [(named(p.path), len(p.demos), p.attempts, p.records, _some(list(p.demos))) for p in planned.purges]
    tables = [Table("Datasets, written anew", ("file", "demos", "attempts", "entries", "which"), purges)] if purges else []
    others = [("refused from now on", named(p)) for p in planned.tainted] + [("removed", named(p)) for p in planned.removed]
    others += [("kept: made with a refused checkpoint", named(p)) for p in planned.kept]
    others += [("kept: a withdrawn demo was made from it", f"{named(place.file)}:{place.demo}") for place in planned.ancestors]
    if others:
        tables.append(Table("Other files", ("", "file"), others))
    if planned.unseen:
        tables.append(Table("Could not be seen: look at these yourself", ("file", "because"), [(named(p), why) for p, why in planned.unseen.items()]))
    if planned.retrain:
        tables.append(Table("Train again, on what is left", ("command",), [(command,) for command in planned.retrain]))
    return Outcome(title, facts, tables, data={**planned.as_dict(), **(data or {})})


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown
