"""The keyboard of any terminal, also over SSH, as a device with six axes.

Where the terminal tells when a key is released, a key moves as long as it is down. Most tell of presses alone, and of a key that is held through
auto-repeat. There a press counts as held for a moment: short at first, so that a tap is a nudge, and longer than the repeat interval once the
key repeats, so that a held key moves without gaps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from mimicctl.devices.base import AXES, Reading
from mimicctl.devices.mapping import EVENTS, actions_by_control
from mimicctl.devices.terminal_keys import NAMED, TerminalKeys

KEYS = {
    "x+": "w", "x-": "s",
    "y+": "a", "y-": "d",
    "z+": "q", "z-": "e",
    "roll+": "z", "roll-": "x",
    "pitch+": "t", "pitch-": "g",
    "yaw+": "c", "yaw-": "v",
    "gripper": "k", "let_go": "l",
    "start": "space", "save": "enter", "reset": "r",
}  # fmt: skip
"""What is done, and the key for it, as a config file names them: Isaac Lab's, and those of the session."""

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
        keys: other keys than those of `KEYS`.
        clock: seconds; for tests.

    Raises:
        UserError: there is no such key or nothing like that to be done, or a key is to do two things.
    """

    name = "keyboard"

    def __init__(self, keys: Mapping[str, str] | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._names = KEYS | dict(keys or {})
        controls = f"keys are single characters and {', '.join(NAMED)}"
        self._actions = actions_by_control(KEYS, keys or {}, _key, setting="record.keys", controls=controls)
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
        key = {action: name.capitalize() for action, name in self._names.items()}
        pairs = [f"{key[f'{axis}+']}/{key[f'{axis}-']} {axis}" for axis in AXES]
        moves, turns = (" ".join(f"{pair:<{max(9, *map(len, pairs))}}" for pair in three) for three in (pairs[:3], pairs[3:]))
        told = (
            "This terminal tells of releases: a key moves as long as it is down."
            if self._terminal.reports_releases
            else "No key-up from this terminal: a tap nudges, a held key moves once it repeats."
        )
        return (
            f"  {moves} move   {key['gripper']}  gripper open/close\n"
            f"  {turns} turn   {key['let_go']}  let go of all keys and open\n"
            f"  {key['reset']} discard, start again   {key['save']} save as it is   {key['start']} begin   Ctrl-C stop\n"
            f"  {told}"
        )

    def read(self) -> Reading:
        toggles, let_go, events, pressed = 0, False, [], set()
        for key in self._typed():
            self._at = self._clock()
            action = self._actions.get(key)
            if action == "gripper":
                toggles += 1
            elif action == "let_go":
                self.reset()
                pressed.clear()
                toggles, let_go = 0, True
            elif action in EVENTS:
                events.append(EVENTS[action])
            elif action is not None:
                # One that went down and up again since the last look counts as well.
                pressed.add(key)
                self._guessed.press(key, self._clock())
        held = pressed | self._terminal.down if self._terminal.reports_releases else self._guessed.held(self._clock())
        return Reading(self._axes(held), toggles, let_go, tuple(events), at=self._at)

    def _axes(self, held: set[str] | list[str]) -> np.ndarray:
        """(6,) Of keys that move; others move nothing."""
        axes = np.zeros(6)
        for key in held:
            action = self._actions.get(key, "")
            if action[:-1] in AXES:
                axes[AXES.index(action[:-1])] += 1 if action.endswith("+") else -1
        return np.clip(axes, -1, 1)

    def _typed(self) -> list[str]:
        """Keys pressed since the last look."""
        return self._terminal.typed()


def _key(action: str, name: str) -> str | None:
    """As a terminal gives it."""
    key = NAMED.get(name.lower(), name.lower())
    return key if key in NAMED.values() or (len(key) == 1 and key.isprintable()) else None
