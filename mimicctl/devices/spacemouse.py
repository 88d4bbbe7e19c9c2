"""3Dconnexion's SpaceMouse, decoded by pyspacemouse.

It sends a hundred reports a second and keeps those that nobody fetched, so whoever fetches one a control step soon moves by what the hand did a
second ago. Here a thread fetches all there are, and only the last one counts. A wireless one shows up as several interfaces of which one reports
motion: all are opened, and the one that moves is kept.
"""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl.devices.base import Event, Reading
from mimicctl.devices.permissions import permission_help
from mimicctl.errors import RunFailed, UserError

if TYPE_CHECKING:
    from pyspacemouse.device import SpaceMouseDevice
    from pyspacemouse.types import DeviceInfo

_POLL = 0.002
"""[s] between two looks; the device reports every 8 ms or so."""
_STALE = 0.5
"""[s] A cap that is held reports all the time. One that has said nothing for so long has lost its radio link, and the arm must not go on moving."""
_NOISE = 0.02


class SpaceMouse:
    """
    Args:
        serial: of the one to use where several are plugged in, left and right hand for instance; empty: the one that moves first.
    """

    name = "spacemouse"

    def __init__(self, *, serial: str = "") -> None:
        self._serial = serial
        self._interfaces: list[_Interface] = []
        self._buttons = _Buttons()
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._gone = ""

    def start(self) -> None:
        self._interfaces = _open_all(self._serial)
        self._stop.clear()
        self._thread = threading.Thread(target=self._listen, name="spacemouse", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        for interface in self._interfaces:
            interface.close()
        self._interfaces = []

    def reset(self) -> None:
        with self._lock:
            self._buttons = _Buttons()

    def help(self) -> str:
        return (
            "  push, pull, lift the cap   move        left button   gripper open/close\n"
            "  tilt, twist the cap        turn        right button  discard and start again\n"
            "  both buttons               without and with turning            Ctrl-C  stop"
        )

    def read(self) -> Reading:
        with self._lock:
            if self._gone:
                raise RunFailed(f"The SpaceMouse does not answer any more ({self._gone}).", where="--device spacemouse", do="plug it in; --resume continues")
            kept = self._interfaces[0] if len(self._interfaces) == 1 else None
            axes = np.zeros(6) if kept is None else kept.axes()
            toggles, resets = self._buttons.taken()
            if not self._buttons.turning:
                axes[3:] = 0.0
        return Reading(axes, toggles, events=(Event.RESET,) * bool(resets), at=None if kept is None else kept.at)

    def _listen(self) -> None:
        while not self._stop.wait(_POLL):
            with self._lock:
                self._fetch()

    def _fetch(self) -> None:
        """Take all reports there are, of all interfaces, until one of them moves or presses: that one is kept and the others closed."""
        for interface in list(self._interfaces):
            try:
                pressed = interface.fetch()
            except Exception as error:
                # Of hidapi: unplugged, out of reach, switched off.
                interface.close()
                self._interfaces.remove(interface)
                self._gone = "" if self._interfaces else str(error) or type(error).__name__
                continue
            for state in pressed:
                self._buttons.hold(*state)
            if len(self._interfaces) > 1 and (interface.moves or any(map(any, pressed))):
                for other in self._interfaces:
                    if other is not interface:
                        other.close()
                self._interfaces = [interface]
                return


class _Buttons:
    """Left toggles the gripper, right discards when it is let go of, both at once switch turning off and on."""

    def __init__(self) -> None:
        self.turning = True
        self._toggles = self._resets = 0
        self._left = self._right = self._chord = False

    def hold(self, left: bool, right: bool) -> None:
        """What one report says is held."""
        chord = left and right
        if chord and not self._chord:
            self.turning = not self.turning
            # The left one came a moment earlier and was taken at its word.
            self._toggles += self._left
        elif left and not self._left and not self._chord:
            self._toggles += 1
        elif self._right and not right and not self._chord:
            self._resets += 1
        self._chord = chord or (self._chord and (left or right))
        self._left, self._right = left, right

    def taken(self) -> tuple[int, int]:
        """Toggles and resets since the last call."""
        since = self._toggles, self._resets
        self._toggles = self._resets = 0
        return since


class _Interface:
    """One HID interface of a SpaceMouse."""

    def __init__(self, info: DeviceInfo, hid: Any) -> None:
        self._hid, self._info = _Tapped(hid), info
        self._device = self._decoder(info)
        self._device.open()
        hid.set_nonblocking(True)
        names = info.button_names
        self._left, self._right = (names.index(name) if name in names else default for name, default in (("LEFT", 0), ("RIGHT", 1)))
        self._reported = -1.0
        self.at: float | None = None

    def _decoder(self, info: DeviceInfo) -> SpaceMouseDevice:
        from pyspacemouse.device import SpaceMouseDevice

        return SpaceMouseDevice(info, self._hid)

    def fetch(self) -> list[tuple[bool, bool]]:
        """Decode all reports that wait. What each said of the left and the right button."""
        pressed = []
        while True:
            state = self._device.read()
            if state.t == self._reported:
                return pressed
            self._reported, self.at = state.t, time.monotonic()
            pressed.append(tuple(len(state.buttons) > i and bool(state.buttons[i]) for i in (self._left, self._right)))
            if self._hid.split and self._info.mappings["yaw"].channel == 1:
                self._take_for_split()

    def _take_for_split(self) -> None:
        """Some firmware of devices that put all six axes into report 1 sends the rotations in a report 2, as the older ones do."""
        from pyspacemouse.types import AxisSpec

        rotations = {name: AxisSpec(2, spec.byte1 - 6, spec.byte2 - 6, spec.scale) for name, spec in self._info.mappings.items() if spec.byte1 > 6}
        self._info = dataclasses.replace(self._info, mappings=self._info.mappings | rotations)
        self._device = self._decoder(self._info)
        self._reported = -1.0

    @property
    def moves(self) -> bool:
        return bool(np.abs(self.axes()).max() > _NOISE)

    def axes(self) -> np.ndarray:
        """(6,) with Isaac Lab's directions: USB's x to the right, y towards the hand and z down are the robot's y, x and -z."""
        if self.at is None or time.monotonic() - self.at > _STALE:
            return np.zeros(6)
        state = self._device._state  # `.state` would fetch another report
        return np.clip([state.y, state.x, -state.z, state.pitch, state.roll, -state.yaw], -1.0, 1.0)

    def close(self) -> None:
        self._device.close()


class _Tapped:
    """A HID device that notes whether it has sent a report 2."""

    def __init__(self, hid: Any) -> None:
        self._hid, self.split = hid, False

    def read(self, size: int) -> bytes:
        report = self._hid.read(size)
        self.split = self.split or bool(report and report[0] == 2)
        return report

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hid, name)


def _open_all(serial: str) -> list[_Interface]:
    """Every interface of the SpaceMouse of that serial number, or of all there are.

    Raises:
        UserError: a package is missing, there is none, or none can be opened.
    """
    from pyspacemouse.config_helpers import apply_axis_convention
    from pyspacemouse.types import AxisConvention

    found = plugged_in()
    if not found:
        others = "plug it in; a wireless one must be on and near its receiver"
        raise UserError("No SpaceMouse is plugged in.", where="--device spacemouse", do=others)
    chosen = [(info, hid) for info, hid in found if not serial or hid.serial_number == serial]
    if not chosen:
        there = ", ".join(sorted({f"{hid.serial_number or 'without a number'} ({info.name})" for info, hid in found}))
        raise UserError(f'No SpaceMouse has the serial number "{serial}".', where="record.spacemouse_serial", do=f"there are: {there}")
    opened = []
    for info, hid in chosen:
        try:
            opened.append(_Interface(apply_axis_convention(info, AxisConvention.HID), hid))
        except RuntimeError:
            continue
    if not opened:
        what = f"The {chosen[0][0].name} is plugged in, but it may not be read."
        raise UserError(what, where=str(chosen[0][1].path), do=permission_help())
    return opened


def plugged_in() -> list[tuple[DeviceInfo, Any]]:
    """What each HID interface of a known SpaceMouse is, and the interface.

    Raises:
        UserError: pyspacemouse or the library that it uses is not installed.
    """
    try:
        from easyhid import Enumeration
        from pyspacemouse.loader import get_device_specs
    except (ImportError, OSError):
        raise UserError("The SpaceMouse needs a package that is not installed: pyspacemouse.", do='pip install "mimicctl[teleop]"') from None
    try:
        interfaces = Enumeration().find()
    except AttributeError:
        how = "brew install hidapi" if sys.platform == "darwin" else "sudo apt install libhidapi-hidraw0"
        raise UserError("The SpaceMouse needs the library hidapi, which is not installed.", where="--device spacemouse", do=how) from None
    known = {info.hid_id: info for info in get_device_specs().values()}
    return [(known[hid.vendor_id, hid.product_id], hid) for hid in interfaces if (hid.vendor_id, hid.product_id) in known]
