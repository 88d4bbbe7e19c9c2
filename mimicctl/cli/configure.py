"""`mimicctl config`."""

from __future__ import annotations

import json

import typer

from mimicctl.cli.common import ConfigFile, Json, Outcome, Override, Table, resolve_settings, show

app = typer.Typer(help="The settings all commands share.", no_args_is_help=True)


@app.command("show")
def show_settings(config: ConfigFile = None, override: Override = None, as_json: Json = False) -> None:
    """Every setting, its value, and where that came from."""
    from mimicctl.config import settings_of

    resolved = resolve_settings({}, config, override)
    rows = [(key, json.dumps(value), resolved.origin(key), text) for key, value, text in settings_of(resolved.config)]
    data = {key: {"value": json.loads(value), "origin": origin} for key, value, origin, _ in rows}
    show(Outcome("", tables=[Table("Settings", ("key", "value", "from", "meaning"), rows)], data=data), as_json)


@app.command()
def schema() -> None:
    """The JSON schema of mimicctl.toml."""
    from mimicctl.config import RunConfig

    print(json.dumps(RunConfig.model_json_schema(), indent=1))
