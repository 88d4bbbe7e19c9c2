"""`mimicctl doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from mimicctl.cli.common import Json, Outcome, Table, note, show

app = typer.Typer(invoke_without_command=True)


@app.callback()
def examine_all(context: typer.Context, as_json: Json = False) -> None:
    """What is installed, what is missing, and how to get it. Exit code 1 if the base install is incomplete."""
    if context.invoked_subcommand:
        return
    from mimicctl.doctor import examine

    findings = examine()
    broken = [f for f in findings if f.needed and not f.ok]
    rows = [("ok" if f.ok else "MISSING" if f.needed else "-", f.what, f.found, "" if f.ok else f.do) for f in findings]
    title = "Ready for the main job." if not broken else "The base install is incomplete."
    data = {"ok": not broken, "findings": [vars(f) for f in findings]}
    show(Outcome(title, tables=[Table("", ("", "what", "found", "how to get it"), rows)], data=data), as_json)
    if broken:
        raise typer.Exit(1)


@app.command()
def devices(
    fix: Annotated[bool, typer.Option("--fix", help="Write the udev rules that let a SpaceMouse be read; needs root.")] = False,
    as_json: Json = False,
) -> None:
    """What keeps each teleoperation device from being used, and what to do about it, in full."""
    from mimicctl.devices.permissions import write_rules
    from mimicctl.devices.survey import survey

    if fix:
        for line in write_rules():
            note(line)
    found = survey()
    if as_json:
        show(Outcome("", data=[vars(each) for each in found]), as_json)
        return
    for each in found:
        show(Outcome(f"{each.device}: {'ready' if each.ready else 'not ready'}", [("", each.what), *([] if each.ready else [("do", each.do)])]), False)
