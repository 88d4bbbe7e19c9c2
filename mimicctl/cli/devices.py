"""`mimicctl devices`."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mimicctl.cli.common import ConfigFile, Json, Outcome, Override, Table, note, resolve_settings, show, stderr
from mimicctl.cli.record import DeviceOption, Invert, Sensitivity, Speed, names_in

if TYPE_CHECKING:
    from mimicctl.config import RunConfig
    from mimicctl.devices.driving import Driven
    from mimicctl.devices.meter import Meter

app = typer.Typer(help="Teleoperation devices: what is there, and what it does.", no_args_is_help=True)

_HZ = 50


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """What can be used with --device here, and what keeps the rest from it."""
    from mimicctl.devices.survey import survey

    found = survey()
    rows = [("ready" if each.ready else "-", each.device, each.what, each.do.partition("\n")[0]) for each in found]
    tables = [Table("", ("", "device", "what", "what to do"), rows)]
    show(Outcome("", tables=tables, next_command="mimicctl devices test --device NAME", data=[vars(each) for each in found]), as_json)


@app.command()
def test(
    device: DeviceOption = None,
    seconds: Annotated[Optional[float], typer.Option(min=0.1, help="End after so long (never, until Ctrl-C).", show_default=False)] = None,
    sensitivity: Sensitivity = None,
    speed: Speed = None,
    invert: Invert = None,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Show every axis and button of a device as it is moved, how often it reports and how old its reports are. Ctrl-C ends it."""
    flags = {"record.device": device, "record.sensitivity": sensitivity, "record.speed": speed, "record.invert": names_in(invert)}
    run_config = resolve_settings(flags, config, override).config
    from mimicctl.devices.meter import Meter

    made, meter = _with_axes(run_config), Meter()
    made.start()
    try:
        # Ctrl-C is how one ends it, and what was seen until then is shown.
        with contextlib.suppress(KeyboardInterrupt):
            _watch(made, meter, seconds)
    finally:
        made.close()
    facts = meter.facts()
    rows = [(axis, f"{low:+.2f}", f"{high:+.2f}") for axis, (low, high) in facts["reach"].items()]
    told = [("device", made.name), ("inputs", meter.inputs), ("gripper changed", meter.toggles), ("discarded", meter.resets)]
    show(Outcome("", told, [Table("", ("axis", "least", "most"), rows)], f"mimicctl teleop --device {made.name}", {"device": made.name, **facts}), as_json)


@app.command()
def calibrate(
    device: DeviceOption = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="To wait for each axis.")] = 15.0,
    config_file: Annotated[Path, typer.Option("--config-file", help="Where the directions are written.")] = Path("mimicctl.toml"),
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Move each axis once, as asked, and have its direction remembered. An axis that is not moved stays as it was."""
    run_config = resolve_settings({"record.device": device}, None, override).config
    from mimicctl.devices.base import AXES
    from mimicctl.devices.calibration import DIRECTIONS, inverted, store, watch_axis

    made, moves = _with_axes(run_config), []
    made.start()
    try:
        note(made.help())
        for axis in AXES:
            note(f"+{axis}: {DIRECTIONS[axis]}. Move it so, hold it, let go. ({seconds:.0f} s, or it stays as it is)")
            move = watch_axis(made.source, axis, timeout=seconds)
            if move is None:
                note(f"  {axis} stays as it is")
                continue
            moves.append(move)
            note(f"  {move.axis} moved, {'as it is' if move.sign > 0 else 'the other way: it will be inverted'}")
    finally:
        made.close()
    axes = inverted(moves, run_config.record.invert)
    store(axes, config_file)
    facts = [("device", made.name), ("inverted", ", ".join(axes) or "none"), ("file", config_file.absolute())]
    show(Outcome("Calibrated.", facts, next_command=f"mimicctl devices test --device {made.name}"), as_json)


def _with_axes(run_config: RunConfig) -> Driven:
    """The device that the settings name.

    Raises:
        UserError: it has no axes.
    """
    from mimicctl.devices import make_device
    from mimicctl.errors import UserError
    from mimicctl.tasks import find_task

    made = make_device(find_task(run_config.task), run_config.record, run_config.seed)
    if not hasattr(made, "source"):
        raise UserError(f"The device {made.name} has no axes to show.", where="--device", do="mimicctl devices list shows the others")
    return made


def _watch(made: Driven, meter: Meter, seconds: float | None) -> None:
    """Read and draw until the time is over, or for ever."""
    from rich.live import Live
    from rich.text import Text

    from mimicctl.devices.meter import draw

    end = time.monotonic() + (seconds or float("inf"))
    if not sys.stderr.isatty():
        note(made.help())
    with Live(console=stderr(), auto_refresh=False, transient=True) as live:
        while time.monotonic() < end:
            reading = made.source.read()
            meter.add(reading, made.obey(reading))
            if sys.stderr.isatty():
                live.update(Text(made.help() + "\n\n", style="dim") + draw(meter), refresh=True)
            time.sleep(1 / _HZ)
