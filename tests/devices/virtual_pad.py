"""Gamepads that SDL itself emulates: what is done to them goes through SDL's own decoding, as if they were plugged in."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mimicctl.devices.gamepad import _find

_UNKNOWN, _GAMEPAD = 0, 1
_NUMBERS = {"LEFTX": 0, "LEFTY": 1, "RIGHTX": 2, "RIGHTY": 3}
_BUTTONS = {
    "A": 0,
    "B": 1,
    "X": 2,
    "Y": 3,
    "BACK": 4,
    "START": 6,
    "LEFTSTICK": 7,
    "LEFTSHOULDER": 9,
    "RIGHTSHOULDER": 10,
    "DPAD_UP": 11,
    "DPAD_DOWN": 12,
    "DPAD_LEFT": 13,
    "DPAD_RIGHT": 14,
}


class _Description(ctypes.Structure):
    """SDL_VirtualJoystickDesc of SDL 2.24 and later."""

    _fields_ = (
        *((name, ctypes.c_uint16) for name in ("version", "type", "axes", "buttons", "hats", "vendor", "product", "padding")),
        ("button_mask", ctypes.c_uint32),
        ("axis_mask", ctypes.c_uint32),
        ("name", ctypes.c_char_p),
        *((name, ctypes.c_void_p) for name in ("data", "update", "set_player", "rumble", "rumble_triggers", "set_led", "send_effect")),
    )


def _sdl() -> ctypes.CDLL:
    """The SDL that pygame has loaded. Importing pygame is the caller's."""
    path = next(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libSDL2-2" in line)
    sdl = ctypes.CDLL(path)
    sdl.SDL_JoystickOpen.restype = ctypes.c_void_p
    sdl.SDL_JoystickInstanceID.argtypes = [ctypes.c_void_p]
    sdl.SDL_JoystickSetVirtualAxis.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int16]
    for function in (sdl.SDL_JoystickSetVirtualButton, sdl.SDL_JoystickSetVirtualHat):
        function.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint8]
    return sdl


class VirtualPad:
    """A pad that does what the test says.

    Args:
        known: whether SDL knows its layout. If not, axes, hats and buttons are named by number.
    """

    def __init__(self, name: str = "Virtual Pad", *, known: bool = True, axes: int = 6) -> None:
        self._known, self._axes, self.name = known, axes, name

    def plug_in(self) -> None:
        """SDL must have been started; when it is stopped, the pad is gone."""
        self._sdl = _sdl()
        kind, hats = (_GAMEPAD, 0) if self._known else (_UNKNOWN, 1)
        # The product number makes pads of different names different models to SDL.
        description = _Description(version=1, type=kind, axes=self._axes, buttons=15, hats=hats, vendor=0x1234, product=len(self.name), name=self.name.encode())
        index = self._sdl.SDL_JoystickAttachVirtualEx(ctypes.byref(description))
        assert index >= 0
        self._handle = self._sdl.SDL_JoystickOpen(index)
        self._instance = self._sdl.SDL_JoystickInstanceID(self._handle)

    def push(self, stick: str | int, value: float) -> None:
        self._sdl.SDL_JoystickSetVirtualAxis(self._handle, _NUMBERS.get(stick, stick), round(value * (32767 if value > 0 else 32768)))

    def hold(self, button: str | int, down: bool = True) -> None:
        self._sdl.SDL_JoystickSetVirtualButton(self._handle, _BUTTONS.get(button, button), down)

    def tap(self, button: str | int) -> None:
        """Pressed and let go of between two looks."""
        for down in (True, False):
            self.hold(button, down)
            self._sdl.SDL_JoystickUpdate()

    def turn_hat(self, direction: int) -> None:
        self._sdl.SDL_JoystickSetVirtualHat(self._handle, 0, direction)

    def unplug(self) -> None:
        numbers = range(self._sdl.SDL_NumJoysticks())
        self._sdl.SDL_JoystickDetachVirtual(next(number for number in numbers if self._sdl.SDL_JoystickGetDeviceInstanceID(number) == self._instance))


def plugged_in(*pads: VirtualPad) -> Callable[[Any], list]:
    """A `gamepad._find` that plugs the pads in before it looks, so that SDL has been started by the product alone."""

    def find(pygame: Any) -> list:
        for pad in pads:
            pad.plug_in()
        return _find(pygame)

    return find
