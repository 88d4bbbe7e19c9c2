"""Which key of a keyboard does what, wherever the keyboard is: at a terminal or in front of a browser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mimicctl.devices.base import AXES, Reading
from mimicctl.devices.mapping import EVENTS, actions_by_control

NAMED = {"space": " ", "enter": "\n", "tab": "\t", "up": "up", "down": "down", "left": "left", "right": "right"}
"""Keys that are more than one character in a config file, and what they are here."""

_SESSION = {"start": "space", "save": "enter", "reset": "r"}
ARM_KEYS = {
    "x+": "w", "x-": "s",
    "y+": "a", "y-": "d",
    "z+": "q", "z-": "e",
    "roll+": "z", "roll-": "x",
    "pitch+": "t", "pitch-": "g",
    "yaw+": "c", "yaw-": "v",
    "gripper": "k", "let_go": "l",
    **_SESSION,
}  # fmt: skip
"""What is done, and the key for it, as a config file names them: Isaac Lab's, and those of the session."""

BASE_KEYS = {name: key for name, key in ARM_KEYS.items() if name[:-1] in ("x", "y", "yaw") or name == "let_go"} | _SESSION
"""The same where a base is driven on a floor."""
_BASE_SPARE = {"up": "x+", "down": "x-", "left": "y+", "right": "y-", "z": "yaw+", "x": "yaw-"}
"""Isaac Lab's keys for that, unless they are wanted for something else."""


class KeyMap:
    """
    Args:
        keys: other keys than the usual ones: what is done to the key.
        on_floor: for a base.

    Attributes:
        names: what is done to the key for it, as a config file names it.

    Raises:
        UserError: there is no such key or nothing like that to be done, or a key is to do two things.
    """

    def __init__(self, keys: Mapping[str, str] | None = None, *, on_floor: bool = False) -> None:
        usual = BASE_KEYS if on_floor else ARM_KEYS
        _by_key(ARM_KEYS | dict(keys or {}))
        # One config file serves both: what only an arm does is left out for a base.
        self.names = usual | {name: key for name, key in (keys or {}).items() if name in usual}
        self._actions = (_BASE_SPARE if on_floor else {}) | _by_key(self.names)

    def action(self, key: str) -> str:
        """What the key does; "" for nothing."""
        return self._actions.get(key, "")

    def moves(self, key: str) -> bool:
        return self.action(key)[:-1] in AXES

    def controls(self) -> list[tuple[str, list[str]]]:
        """Each axis, and whatever else can be done, with the keys for it: of an axis first the one that goes in its positive direction."""
        axes = [(axis, [self.names[f"{axis}{sign}"] for sign in "+-"]) for axis in AXES if f"{axis}+" in self.names]
        return axes + [(name, [key]) for name, key in self.names.items() if name[:-1] not in AXES]

    def keys(self) -> list[str]:
        """Every key that does something, as a config file names it."""
        names = {key: name for name, key in NAMED.items()}
        return [names.get(key, key) for key in self._actions]

    def reading(self, held: Iterable[str], typed: Sequence[str], at: float | None) -> Reading:
        """What keys that are down, and those that were pressed since the last reading, in their order, ask for."""
        axes = np.zeros(6)
        for key in held:
            if self.moves(key):
                axes[AXES.index(self.action(key)[:-1])] += 1 if self.action(key).endswith("+") else -1
        done = [self.action(key) for key in typed]
        let_go = "let_go" in done
        since = done[len(done) - done[::-1].index("let_go") :] if let_go else done
        return Reading(np.clip(axes, -1, 1), since.count("gripper"), let_go, tuple(EVENTS[action] for action in done if action in EVENTS), at=at)


def _by_key(names: Mapping[str, str]) -> dict[str, str]:
    """Key, as a terminal gives it, to what it does."""
    controls = f"keys are single characters and {', '.join(NAMED)}"
    return actions_by_control(names, ARM_KEYS, _key, device="keyboard", kind="key", setting="record.keys", controls=controls)


def _key(action: str, name: str) -> str | None:
    """As a terminal gives it."""
    key = NAMED.get(name.lower(), name.lower())
    return key if key in NAMED.values() or (len(key) == 1 and key.isprintable()) else None
