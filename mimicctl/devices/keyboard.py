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
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from mimicctl.devices.base import AXES, Event, Reading
from mimicctl.errors import UserError

_AXES = {  # key: (axis, sign)
    "w": (0, 1), "s": (0, -1),
    "a": (1, 1), "d": (1, -1),
    "q": (2, 1), "e": (2, -1),
    "z": (3, 1), "x": (3, -1),
    "t": (4, 1), "g": (4, -1),
    "c": (5, 1), "v": (5, -1),
}  # fmt: skip

_TOGGLE, _LET_GO = "k", "l"
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
        clock: seconds; for tests.
    """

    name = "keyboard"

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
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
        return (
            "  W/S x    A/D y    Q/E z      move         K  gripper open/close\n"
            "  Z/X roll T/G pitch C/V yaw   turn         L  let go of all keys and open\n"
            "  R  discard and start again   Enter  save as it is   Space  begin   Ctrl-C  stop"
        )

    def read(self) -> Reading:
        typed = self._typed()
        for key in typed:
            self._at = self._clock()
            if key == _LET_GO:
                self._keys.clear()
            elif key in _AXES:
                self._keys.press(key, self._clock())
        return reading_of_keys(self._keys.held(self._clock()), typed, self._at)

    def _typed(self) -> list[str]:
        """Keys typed since the last look, lower case. Escape sequences (arrows and the like) are dropped whole."""
        descriptor = sys.stdin.fileno()
        data = b""
        while select.select([descriptor], [], [], 0)[0]:
            chunk = os.read(descriptor, 1024)
            if not chunk:
                break
            data += chunk
        return list(_without_escapes(data.decode(errors="ignore")).lower())


def controls() -> list[tuple[str, list[str]]]:
    """What can be done, and the keys that do it; of an axis first the one that goes in its positive direction."""
    by_axis = [(name, [next(key for key, way in _AXES.items() if way == (axis, sign)) for sign in (1, -1)]) for axis, name in enumerate(AXES)]
    events = [(event.value, [key]) for key, event in _EVENTS.items()]
    return [*by_axis, ("gripper", [_TOGGLE]), ("let go", [_LET_GO]), *events]


def reading_of_keys(held: Iterable[str], typed: Sequence[str], at: float | None) -> Reading:
    """What keys that are held down, and those typed since the last reading, ask for."""
    axes = np.zeros(6)
    for key in held:
        axis, sign = _AXES.get(key, (0, 0))
        axes[axis] += sign
    since = typed[len(typed) - typed[::-1].index(_LET_GO) :] if _LET_GO in typed else typed
    events = tuple(_EVENTS[key] for key in typed if key in _EVENTS)
    return Reading(np.clip(axes, -1, 1), since.count(_TOGGLE), _LET_GO in typed, events, at=at)


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
