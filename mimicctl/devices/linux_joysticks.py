"""What the Linux kernel knows of joysticks, for saying why a gamepad that is plugged in cannot be used.

The list of input devices is readable by everybody; the files that their input is read from are not.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_LIST = Path("/proc/bus/input/devices")
_FOLDER = Path("/dev/input")


@dataclass(frozen=True)
class Joystick:
    """A joystick or gamepad that is plugged in.

    Attributes:
        node: the file that its input is read from.
        present: whether that file is there; in a container it may not be.
    """

    name: str
    node: Path
    present: bool
    readable: bool


def joysticks(known: Path = _LIST, folder: Path = _FOLDER) -> list[Joystick]:
    """All of them; none on other systems."""
    try:
        blocks = known.read_text(errors="replace").split("\n\n")
    except OSError:
        return []
    found = []
    for block in blocks:
        name = re.search(r'^N: Name="(.*)"$', block, re.MULTILINE)
        handlers = re.search(r"^H: Handlers=(.*)$", block, re.MULTILINE)
        # A handler js<N> is what the kernel gives to joysticks alone; SDL reads event<N>, which has the same input and stricter permissions.
        event = re.search(r"\bevent\d+\b", handlers[1]) if handlers and re.search(r"\bjs\d+\b", handlers[1]) else None
        if event:
            node = folder / event[0]
            found.append(Joystick(name[1] if name else "a joystick", node, node.exists(), os.access(node, os.R_OK)))
    return found
