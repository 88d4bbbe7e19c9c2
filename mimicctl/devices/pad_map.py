"""Which control of a gamepad does what, wherever the pad is: at this machine or at a browser's. Controls have SDL's names here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mimicctl.devices.base import AXES, Reading
from mimicctl.devices.mapping import EVENTS, actions_by_control

PAD_CONTROLS = {
    "x": "left_y", "y": "left_x", "z": "right_y", "yaw": "right_x", "roll": "dpad_x", "pitch": "dpad_y",
    "gripper": "x", "let_go": "y", "reset": "start", "save": "back", "start": "a", "swing": "left_stick",
}  # fmt: skip
"""What is done, and the control for it, as a config file names them: Isaac Lab's, and those of the session."""

_STICKS = {"left_x": ("LEFTX", 1), "left_y": ("LEFTY", -1), "right_x": ("RIGHTX", 1), "right_y": ("RIGHTY", -1)}
"""SDL's name, and its sign: up and right are +, as in Isaac Lab."""
_D_PAD = {"dpad_x": ("DPAD_LEFT", "DPAD_RIGHT"), "dpad_y": ("DPAD_DOWN", "DPAD_UP")}
"""SDL's names of both directions: left and down are +, as in Isaac Lab."""
BUTTONS = {name: name.upper().replace("_", "") for name in ("a", "b", "x", "y", "back", "start", "left_shoulder", "right_shoulder", "left_stick")}
"""SDL's names."""


class PadMap:
    """
    Args:
        controls: others than those of `PAD_CONTROLS`.

    Attributes:
        names: what is done to the control for it.

    Raises:
        UserError: there is no such control or nothing like that to be done, or a control is to do two things.
    """

    def __init__(self, controls: Mapping[str, str] | None = None) -> None:
        self.names = PAD_CONTROLS | dict(controls or {})
        there = f"axes are moved by {', '.join((*_STICKS, *_D_PAD))}, the rest is done by {', '.join(BUTTONS)}"
        self._actions = actions_by_control(
            self.names, PAD_CONTROLS, _control, device="gamepad", kind="control that can do this", setting="record.gamepad_map", controls=there
        )

    def moved_by(self, control: str) -> str:
        """The axis that a stick or the D-pad moves; "" for none."""
        return self._actions.get(control, "")

    def reading(self, stick: Callable[[str], float], held: Callable[[str], bool], pressed: Sequence[str], at: float | None) -> Reading:
        """What a pad asks for.

        Args:
            stick: from -1 to 1, up and left negative, by SDL's name of the axis.
            held: whether a button is, by SDL's name.
            pressed: buttons since the last reading, by SDL's names.
        """
        axes = np.zeros(6)
        for control, (name, sign) in _STICKS.items():
            if control in self._actions:
                axes[AXES.index(self._actions[control])] = sign * stick(name)
        for control, (plus, minus) in _D_PAD.items():
            if control in self._actions:
                axes[AXES.index(self._actions[control])] = float(held(plus)) - float(held(minus))
        done = [self._actions.get(button, "") for button in pressed]
        let_go = "let_go" in done
        since = done[len(done) - done[::-1].index("let_go") :] if let_go else done
        return Reading(np.clip(axes, -1, 1), since.count("gripper"), let_go, tuple(EVENTS[action] for action in done if action in EVENTS), at=at)


def _control(action: str, name: str) -> str | None:
    if action in AXES:
        return name if name in _STICKS or name in _D_PAD else None
    return BUTTONS.get(name)
