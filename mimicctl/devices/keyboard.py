"""The keyboard of any terminal, also over SSH, as a device with axes.

Where the terminal tells when a key is released, a key moves as long as it is down. Most tell of presses alone, and of a key that is held through
auto-repeat. There a press counts as held for a moment: short at first, so that a tap is a nudge, and longer than the repeat interval once the
key repeats, so that a held key moves without gaps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from mimicctl.devices.base import AXES, Reading
from mimicctl.devices.key_map import KeyMap
from mimicctl.devices.terminal_keys import TerminalKeys

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
    """Reads stdin between `start` and `close`.

    Args:
        keys: other keys than the usual ones; see `KeyMap`, whose errors it raises.
        on_floor: for a base, which has fewer axes and no gripper.
        clock: seconds; for tests.
    """

    name = "keyboard"

    def __init__(self, keys: Mapping[str, str] | None = None, *, on_floor: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._map, self._on_floor = KeyMap(keys, on_floor=on_floor), on_floor
        self._clock = clock
        self._terminal = TerminalKeys()
        self._guessed = PressedKeys()
        self._at: float | None = None

    def start(self) -> None:
        self._terminal.open()

    def close(self) -> None:
        self._terminal.close()

    def reset(self) -> None:
        self._terminal.down.clear()
        self._guessed.clear()

    def help(self) -> str:
        key = {action: name.capitalize() for action, name in self._map.names.items()}
        pairs = [f"{key[f'{axis}+']}/{key[f'{axis}-']} {axis}" for axis in AXES if f"{axis}+" in key]
        told = (
            "This terminal tells of releases: a key moves as long as it is down."
            if self._terminal.reports_releases
            else "No key-up from this terminal: a tap nudges, a held key moves once it repeats."
        )
        if self._on_floor:
            lines = [f"{'   '.join(pairs)}   (or arrows, Z/X)   {key['let_go']}  let go of all keys"]
        else:
            moves, turns = (" ".join(f"{pair:<{max(9, *map(len, pairs))}}" for pair in three) for three in (pairs[:3], pairs[3:]))
            lines = [f"{moves} move   {key['gripper']}  gripper open/close", f"{turns} turn   {key['let_go']}  let go of all keys and open"]
        lines += [f"{key['reset']} discard, start again   {key['save']} save as it is   {key['start']} begin   Ctrl-C stop", told]
        return "\n".join(f"  {line}" for line in lines)

    def read(self) -> Reading:
        typed, pressed = self._typed(), set()
        for key in typed:
            self._at = self._clock()
            if self._map.action(key) == "let_go":
                self.reset()
                pressed.clear()
            elif self._map.moves(key):
                # One that went down and up again since the last look counts as well.
                pressed.add(key)
                self._guessed.press(key, self._clock())
        held = pressed | self._terminal.down if self._terminal.reports_releases else self._guessed.held(self._clock())
        return self._map.reading(held, typed, self._at)

    def _typed(self) -> list[str]:
        """Keys pressed since the last look."""
        return self._terminal.typed()
