"""The keyboard of any terminal, also over SSH, as a device with six axes.

A terminal tells when a key goes down and, through auto-repeat, that it still is; it never tells of a release. So
a press counts as held for a moment: short at first, so that a tap is a nudge, and longer than the repeat interval once the
key repeats, so that a held key moves without gaps.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable

import numpy as np

from mimicctl.devices.base import Event, Reading
from mimicctl.errors import UserError

_AXES = {  # key: (axis, sign)
    "w": (0, 1), "s": (0, -1),
    "a": (1, 1), "d": (1, -1),
    "q": (2, 1), "e": (2, -1),
    "z": (3, 1), "x": (3, -1),
    "t": (4, 1), "g": (4, -1),
    "c": (5, 1), "v": (5, -1),
}  # fmt: skip

_ON_FLOOR = {"↑": "w", "↓": "s", "←": "a", "→": "d", "z": "c", "x": "v", "k": ""}
"""Where a base is driven, what Isaac Lab's SE(2) keys stand for among those above; and there is no gripper."""

_ARROWS = {f"\x1b{introduced}{letter}": arrow for introduced in "[O" for letter, arrow in zip("ABCD", "↑↓→←", strict=True)}
"""What a terminal sends for them."""

_EVENTS = {" ": Event.START, "\n": Event.SAVE, "r": Event.RESET}

_TAP = 0.11
"""[s] A single press is held this long: two control steps."""
_REPEATING = 0.16
"""[s] Once a key repeats, it is held this long after each repeat."""
_REPEAT_DELAY = 0.75
"""[s] A second press within this time of the first is taken for the start of auto-repeat."""


class PressedKeys:
    """Which keys are held, judged from the times of their presses."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._until: dict[str, float] = {}

    def press(self, key: str, now: float) -> None:
        repeats = now - self._last.get(key, -1e9) < _REPEAT_DELAY
        self._last[key] = now
        self._until[key] = now + (_REPEATING if repeats else _TAP)

    def held(self, now: float) -> list[str]:
        return [key for key, until in self._until.items() if until > now]

    def clear(self) -> None:
        self._until.clear()
        self._last.clear()


class Keyboard:
    """Reads stdin in raw mode between `start` and `close`.

    Args:
        on_floor: for a base, with Isaac Lab's SE(2) keys too.
        clock: seconds; for tests.
    """

    name = "keyboard"

    def __init__(self, *, on_floor: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._on_floor = clock, on_floor
        self._keys = PressedKeys()
        self._saved: list | None = None
        self._at: float | None = None

    def start(self) -> None:
        if not sys.stdin.isatty():
            raise UserError("The keyboard device reads a terminal, and the input is none.", where="stdin", do="run it in a terminal, or use --device scripted")
        self._saved = termios.tcgetattr(sys.stdin.fileno())
        # cbreak, not raw: Ctrl-C stays a signal.
        tty.setcbreak(sys.stdin.fileno())

    def close(self) -> None:
        if self._saved is not None:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._saved)
            self._saved = None

    def reset(self) -> None:
        self._keys.clear()

    def help(self) -> str:
        if self._on_floor:
            return (
                "  W/S or up/down  ahead, back    A/D or left/right  sideways\n"
                "  C/V or Z/X      turn left, right                L  let go of all keys\n"
                "  R  discard and start again   Enter  save as it is   Space  begin   Ctrl-C  stop"
            )
        return (
            "  W/S x    A/D y    Q/E z      move         K  gripper open/close\n"
            "  Z/X roll T/G pitch C/V yaw   turn         L  let go of all keys and open\n"
            "  R  discard and start again   Enter  save as it is   Space  begin   Ctrl-C  stop"
        )

    def read(self) -> Reading:
        toggles, let_go, events = 0, False, []
        for typed in self._typed():
            key = _ON_FLOOR.get(typed, typed) if self._on_floor else typed
            self._at = self._clock()
            if key in _AXES:
                self._keys.press(key, self._clock())
            elif key == "k":
                toggles += 1
            elif key == "l":
                self._keys.clear()
                toggles, let_go = 0, True
            elif key in _EVENTS:
                events.append(_EVENTS[key])
        axes = np.zeros(6)
        for key in self._keys.held(self._clock()):
            axis, sign = _AXES[key]
            axes[axis] += sign
        return Reading(np.clip(axes, -1, 1), toggles, let_go, tuple(events), at=self._at)

    def _typed(self) -> list[str]:
        """Keys typed since the last look, lower case, arrows as such. Other escape sequences are dropped whole."""
        descriptor = sys.stdin.fileno()
        data = b""
        while select.select([descriptor], [], [], 0)[0]:
            chunk = os.read(descriptor, 1024)
            if not chunk:
                break
            data += chunk
        text = data.decode(errors="ignore")
        for sequence, arrow in _ARROWS.items():
            text = text.replace(sequence, arrow)
        return list(_without_escapes(text).lower())


def _without_escapes(text: str) -> str:
    kept, position = [], 0
    while position < len(text):
        if text[position] != "\x1b":
            kept.append(text[position])
            position += 1
            continue
        position += 1
        if position < len(text) and text[position] in "[O":
            position += 1
            while position < len(text) and not "@" <= text[position] <= "~":
                position += 1
        position += 1
    return "".join(kept)
