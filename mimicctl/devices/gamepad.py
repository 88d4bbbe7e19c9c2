"""A gamepad as a device with six axes, read through SDL (pygame-ce) without a window, so in any terminal of the machine it is plugged into.

SDL knows of most pads which control is where, whatever their maker numbered them. Those it does not know are read by the numbers that
pads of their number of axes commonly have.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mimicctl.devices.base import Reading
from mimicctl.devices.linux_joysticks import joysticks
from mimicctl.devices.pad_map import BUTTONS, PadMap
from mimicctl.errors import RunFailed, UserError, listed

_LABELS = {sdl: name.capitalize().replace("_", " ") for name, sdl in BUTTONS.items()}

_ENVIRONMENT = {
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
    # pygame hands events out only with a display; this one has no window, and needs no desktop.
    "SDL_VIDEODRIVER": "dummy",
    "SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS": "1",
    # Else SDL turns a SIGTERM into an event that nobody reads, and the command cannot be ended by it.
    "SDL_NO_SIGNAL_HANDLERS": "1",
}

_LATECOMERS = 0.5
"""[s] Some systems and wireless receivers announce their pads a moment after they were asked."""


class _Pad(Protocol):
    """Controls of an open pad by SDL's names."""

    labels: dict[str, str]
    """What each button is called in the printed help."""

    def stick(self, name: str) -> float:
        """From -1 to 1."""

    def held(self, name: str) -> bool: ...

    def pressed(self, event: Any) -> str | None:
        """The name of the button whose press the event is, if it is one."""


class _Known:
    """A pad whose layout SDL knows."""

    def __init__(self, pygame: Any, index: int) -> None:
        from pygame._sdl2.controller import Controller

        self.labels = _LABELS
        self._pygame, self._controller = pygame, Controller(index)
        self._buttons = {getattr(pygame, f"CONTROLLER_BUTTON_{name}"): name for name in _LABELS}

    def stick(self, name: str) -> float:
        return self._controller.get_axis(getattr(self._pygame, f"CONTROLLER_AXIS_{name}")) / 32767

    def held(self, name: str) -> bool:
        return self._controller.get_button(getattr(self._pygame, f"CONTROLLER_BUTTON_{name}"))

    def pressed(self, event: Any) -> str | None:
        return self._buttons.get(event.button) if event.type == self._pygame.CONTROLLERBUTTONDOWN else None


class _Guessed:
    """A pad that SDL knows nothing of.

    With six axes it is taken to be numbered like an Xbox pad (triggers on axes 2 and 5), with four or five like a DirectInput pad.
    """

    def __init__(self, pygame: Any, joystick: Any) -> None:
        self._pygame, self._joystick = pygame, joystick
        like_xbox = joystick.get_numaxes() >= 6
        self._axes = dict(zip(("LEFTX", "LEFTY", "RIGHTX", "RIGHTY"), (0, 1, 3, 4) if like_xbox else (0, 1, 2, 3), strict=True))
        numbers = (0, 1, 2, 3, 6, 7, 4, 5, 9) if like_xbox else (1, 2, 0, 3, 8, 9, 4, 5, 10)
        self._buttons = dict(zip(numbers, _LABELS, strict=True))
        # Counted from 1, as they are printed on such pads and shown by test programs.
        self.labels = {name: f"button {number + 1}" for number, name in self._buttons.items()}

    def stick(self, name: str) -> float:
        return self._joystick.get_axis(self._axes[name])

    def held(self, name: str) -> bool:
        right, up = self._joystick.get_hat(0) if self._joystick.get_numhats() else (0, 0)
        return {"DPAD_LEFT": right < 0, "DPAD_RIGHT": right > 0, "DPAD_DOWN": up < 0, "DPAD_UP": up > 0}[name]

    def pressed(self, event: Any) -> str | None:
        return self._buttons.get(event.button) if event.type == self._pygame.JOYBUTTONDOWN else None


@dataclass(frozen=True)
class _Found:
    """A joystick that SDL lists.

    Attributes:
        number: SDL's.
        known: whether SDL knows its layout.
    """

    number: int
    name: str
    known: bool
    axes: int

    @property
    def usable(self) -> bool:
        return self.known or self.axes >= 4


class Gamepad:
    """The sticks, the D-pad and some buttons of one pad, between `start` and `close`.

    Args:
        wanted: which one, by its number or part of its name; empty: the first.
        controls: others than the usual ones; see `PadMap`, whose errors it raises.
    """

    name = "gamepad"

    def __init__(self, wanted: str = "", controls: Mapping[str, str] | None = None) -> None:
        self._map, self._wanted = PadMap(controls), wanted
        self._pygame: Any = None
        self._joystick: Any = None
        self._pad: _Pad | None = None
        self._at: float | None = None

    def start(self) -> None:
        self._pygame = _start_sdl()
        try:
            found = _chosen(_pads(self._pygame), self._wanted)
            self._joystick = self._pygame.joystick.Joystick(found.number)
            self._pad = _Known(self._pygame, found.number) if found.known else _Guessed(self._pygame, self._joystick)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._pygame is not None:
            self._pad = self._joystick = None
            _stop_sdl(self._pygame)
            self._pygame = None

    def reset(self) -> None:
        """Presses until now are forgotten; the sticks stay where they are held."""
        self._pressed()

    def help(self) -> str:
        labels = self._pad.labels if self._pad else _LABELS
        does = {
            "gripper": "gripper open/close",
            "let_go": "open the gripper",
            "reset": "discard and start again",
            "save": "save as it is",
            "start": "begin; in a session also end and keep",
            "swing": "swing cancellation on/off",
        }
        buttons = [f"{labels[BUTTONS[self._map.names[action]]]:<9}  {what}" for action, what in does.items()]
        which = self._joystick.get_name() if self._joystick else "gamepad"
        if isinstance(self._pad, _Guessed):
            which += f" (SDL does not know its layout, this is a guess; docs/teleop.md says how to tell it; id {self._joystick.get_guid()})"
        moves = (
            self._moved("left stick", "up/down", "left_y", "right/left", "left_x"),
            self._moved("right stick", "up/down", "right_y", "right/left", "right_x"),
            self._moved("D-pad", "left/right", "dpad_x", "down/up", "dpad_y"),
            "Ctrl-C       stop",
            "",
            "",
        )
        lines = [f"  {moved:<47}{button}" for moved, button in zip(moves, buttons, strict=True)]
        return "\n".join([f"  {which}", *lines, "  Right is +y, to the robot's left, as in Isaac Lab, unless --invert y."])

    def _moved(self, name: str, *directions: str) -> str:
        """A line of the map: a stick, and for each of its directions what they are called and the control that they are."""
        moved = [f"{words} {axis}" for words, control in zip(directions[::2], directions[1::2], strict=True) if (axis := self._map.moved_by(control))]
        return f"{name:<13}{'   '.join(moved)}"

    def read(self) -> Reading:
        pressed = self._pressed()
        return self._map.reading(self._pad.stick, self._pad.held, pressed, self._at)

    def _pressed(self) -> list[str]:
        """Buttons pressed since the last look; a press counts once however long it is held.

        Raises:
            RunFailed: the pad was unplugged.
        """
        mine = self._joystick.get_instance_id()
        events = [event for event in self._pygame.event.get() if getattr(event, "instance_id", None) == mine]
        if events:
            self._at = time.monotonic()
        for event in events:
            if event.type == self._pygame.JOYDEVICEREMOVED:
                raise RunFailed(
                    "The gamepad is gone.",
                    where=self._joystick.get_name(),
                    do="plug it in or switch it on, and start again; mimicctl record --resume goes on with a recording, of which all saved demonstrations are kept",
                )
        return [name for event in events if (name := self._pad.pressed(event))]


def plugged_in() -> list[str]:
    """Names of the pads there are, in the order of their numbers.

    Raises:
        UserError: there is none, with what keeps it from being there, or pygame-ce is missing.
    """
    pygame = _start_sdl()
    try:
        return [pad.name for pad in _pads(pygame)]
    finally:
        _stop_sdl(pygame)


def _start_sdl() -> Any:
    """pygame, with those of its parts running that a pad needs."""
    os.environ.update(_ENVIRONMENT)
    try:
        import pygame
        from pygame._sdl2 import controller
    except ImportError:
        what = "A gamepad is read through pygame-ce, which is not installed."
        raise UserError(what, where="--device gamepad", do='pip install "mimicctl[teleop]"') from None
    for part in (pygame.display, pygame.joystick, controller):
        part.init()
    return pygame


def _stop_sdl(pygame: Any) -> None:
    from pygame._sdl2 import controller

    for part in (controller, pygame.joystick, pygame.display):
        part.quit()


def _pads(pygame: Any) -> list[_Found]:
    """
    Raises:
        UserError: there is none.
    """
    found = _find(pygame)
    pads = [one for one in found if one.usable]
    if not pads:
        raise _none(found)
    return pads


def _find(pygame: Any) -> list[_Found]:
    """What SDL lists, those first whose layout it knows."""
    from pygame._sdl2 import controller

    until = time.monotonic() + _LATECOMERS
    while not pygame.joystick.get_count() and time.monotonic() < until:
        pygame.event.pump()
        time.sleep(0.02)
    found = []
    for number in range(pygame.joystick.get_count()):
        joystick = pygame.joystick.Joystick(number)
        found.append(_Found(number, joystick.get_name(), controller.is_controller(number), joystick.get_numaxes()))
    return sorted(found, key=lambda one: not one.known)


def _chosen(pads: list[_Found], wanted: str) -> _Found:
    """
    Raises:
        UserError: there is none like that.
    """
    if not wanted:
        return pads[0]
    by_number = [pad for number, pad in enumerate(pads) if wanted == str(number)]
    by_name = [pad for pad in pads if wanted.lower() in pad.name.lower()]
    if not by_number + by_name:
        there = listed([f"{number}  {pad.name}" for number, pad in enumerate(pads)])
        raise UserError(f'No gamepad has the number or the name "{wanted}".', where="record.gamepad", do=f"choose one of\n      {there}")
    return (by_number + by_name)[0]


def _none(found: list[_Found]) -> UserError:
    """Why there is no gamepad, as far as can be told."""
    for joystick in joysticks():
        where = f"{joystick.node} ({joystick.name})"
        if not joystick.present:
            return UserError("There is a gamepad, but not in this container.", where=where, do=f"start the container with --device {joystick.node}")
        if not joystick.readable:
            # Who sits at the machine may read it; a login over SSH does not count as sitting there.
            do = f"sudo setfacl -m u:$USER:rw {joystick.node} until it is unplugged, or for good sudo usermod -aG input $USER and log in again"
            return UserError("There is a gamepad, but you may not read it.", where=where, do=do)
        if not found:
            return UserError("There is a gamepad, but SDL does not find it.", where=where, do="set SDL_JOYSTICK_DISABLE_UDEV=1, which helps in containers")
    if found:
        what = "No gamepad is connected, only what has fewer than two sticks."
        return UserError(what, where=listed([one.name for one in found]), do="connect a pad with two sticks")
    return UserError("No gamepad is connected.", where="--device gamepad", do="plug one into the machine that mimicctl runs on, or pair it, and start again")
