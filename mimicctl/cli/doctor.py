"""`mimicctl doctor`."""

from __future__ import annotations

import typer

from mimicctl.cli.common import Json, Outcome, Table, show


def command(as_json: Json = False) -> None:
    """What is installed, what is missing, and how to get it. Exit code 1 if the base install is incomplete."""
    from mimicctl.doctor import examine

    findings = examine()
    broken = [f for f in findings if f.needed and not f.ok]
    rows = [("ok" if f.ok else "MISSING" if f.needed else "-", f.what, f.found, "" if f.ok else f.do) for f in findings]
    title = "Ready for the main job." if not broken else "The base install is incomplete."
    data = {"ok": not broken, "findings": [vars(f) for f in findings]}
    show(Outcome(title, tables=[Table("", ("", "what", "found", "how to get it"), rows)], data=data), as_json)
    if broken:
        raise typer.Exit(1)
