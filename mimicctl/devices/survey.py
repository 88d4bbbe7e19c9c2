"""Which devices are there, and what keeps the others from being used."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points

from mimicctl.devices import GROUP, isaac_teleop
from mimicctl.errors import UserError


@dataclass(frozen=True)
class Found:
    """One device that could be used, or could if something were done.

    Attributes:
        device: what --device takes.
        what: the model and its serial number, or what is wrong.
        do: what to do if it is not ready.
    """

    device: str
    what: str
    ready: bool = True
    do: str = ""


def survey() -> list[Found]:
    """Look, without disturbing what others have open."""
    others = [Found(point.name, f"of {point.value}") for point in entry_points(group=GROUP)]
    return [
        _keyboard(),
        *_gamepads(),
        *_spacemice(),
        Found("udp", "hardware of your own that sends messages"),
        _websocket("websocket", "the same over a WebSocket"),
        _websocket("hands", "tracked hands or controllers, from a program that has them"),
        _isaac_teleop(),
        Found("scripted", "an operator made of code"),
        *others,
    ]


def _websocket(device: str, what: str) -> Found:
    if importlib.util.find_spec("aiohttp") is None:
        return Found(device, "aiohttp is not installed", False, 'pip install "mimicctl[teleop]"')
    return Found(device, what)


def _isaac_teleop() -> Found:
    if lacks := isaac_teleop.missing():
        return Found(isaac_teleop.NAME, lacks, False, isaac_teleop.INSTALL)
    return Found(isaac_teleop.NAME, "headsets and leader arms, for tasks of Isaac Lab that have a pipeline for them")


def _keyboard() -> Found:
    if sys.stdin.isatty():
        return Found("keyboard", "this terminal")
    return Found("keyboard", "the input is not a terminal", False, "run it in a terminal")


def _gamepads() -> list[Found]:
    from mimicctl.devices.gamepad import plugged_in

    try:
        names = plugged_in()
    except UserError as error:
        return [Found("gamepad", error.what, False, error.do)]
    return [Found("gamepad", f"{number}  {name}" if len(names) > 1 else name) for number, name in enumerate(names)]


def _spacemice() -> list[Found]:
    from mimicctl.devices.permissions import permission_help
    from mimicctl.devices.spacemouse import plugged_in

    try:
        interfaces = plugged_in()
    except UserError as error:
        return [Found("spacemouse", error.what, False, error.do)]
    if not interfaces:
        return [Found("spacemouse", "none is plugged in", False, "plug it in; a wireless one must be on and near its receiver")]
    found: dict[str, bool] = {}
    for info, hid in interfaces:
        name = f"{info.name}, serial number {hid.serial_number}" if hid.serial_number else info.name
        found[name] = found.get(name, False) or _readable(hid.path)
    return [Found("spacemouse", name, ready, "" if ready else permission_help()) for name, ready in found.items()]


def _readable(path: str) -> bool:
    """hidapi's paths are files on Linux alone."""
    return not path.startswith("/dev/") or os.access(path, os.R_OK | os.W_OK)
