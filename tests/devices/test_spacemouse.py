"""The SpaceMouse: raw HID reports through pyspacemouse's own decoding."""

from __future__ import annotations

import struct
import threading
import time
from collections import deque

import easyhid
import numpy as np
import pytest

from mimicctl.devices import Event
from mimicctl.devices import spacemouse as module
from mimicctl.devices.spacemouse import SpaceMouse
from mimicctl.errors import RunFailed, UserError

WIRELESS, COMPACT, RECEIVER = (0x256F, 0xC62E), (0x256F, 0xC635), (0x256F, 0xC652)


class Interface:
    """A HID interface as hidapi gives it: reports wait in a queue, reading takes one, padded with zeros."""

    def __init__(self, ids: tuple[int, int], serial: str = "A1", *, path: str = "/dev/hidraw3", allowed: bool = True) -> None:
        self.vendor_id, self.product_id = ids
        self.serial_number, self.path, self._allowed = serial, path, allowed
        self.product_string = self.manufacturer_string = self.release_number = ""
        self.reports: deque[bytes] = deque()
        self.is_open = self.unplugged = False

    def open(self) -> None:
        if not self._allowed:
            raise easyhid.HIDException("Failed to open device")
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def set_nonblocking(self, enable: bool) -> None:
        assert enable

    def read(self, size: int) -> bytes:
        if self.unplugged:
            raise easyhid.HIDException("Failed to read from HID device: -1")
        return self.reports.popleft()[:size].ljust(size, b"\0") if self.reports else b""

    def send(self, *reports: bytes) -> None:
        self.reports.extend(reports)


def split(x=0, y=0, z=0, rx=0, ry=0, rz=0) -> list[bytes]:
    """The Compact's: translations, then rotations."""
    return [struct.pack("<B3h", 1, x, y, z), struct.pack("<B3h", 2, rx, ry, rz)]


def joined(x=0, y=0, z=0, rx=0, ry=0, rz=0) -> list[bytes]:
    """The receiver's: all six in one report."""
    return [struct.pack("<B6h", 1, x, y, z, rx, ry, rz)]


def buttons(*bits: int) -> bytes:
    return bytes([3, sum(1 << bit for bit in bits), 0])


@pytest.fixture
def plug(monkeypatch):
    """Plugs interfaces in and gives a started SpaceMouse whose thread is at rest: `mouse.fetched()` takes what waits."""
    made = []

    def plug_in(*interfaces: Interface, **arguments: str) -> SpaceMouse:
        monkeypatch.setattr(easyhid, "Enumeration", lambda: type("Found", (), {"find": lambda self: list(interfaces)})())
        monkeypatch.setattr(module, "_POLL", 1000.0)
        mouse = SpaceMouse(**arguments)
        mouse.start()
        mouse.fetched = lambda: (mouse._fetch(), mouse.read())[1]
        made.append(mouse)
        return mouse

    yield plug_in
    for mouse in made:
        mouse.close()


@pytest.mark.parametrize(("ids", "reports"), [(COMPACT, split), (RECEIVER, joined), (WIRELESS, joined), (WIRELESS, split)])
@pytest.mark.parametrize(
    ("moved", "axis", "sign"),
    [("x", 1, 1), ("y", 0, 1), ("z", 2, -1), ("rx", 4, 1), ("ry", 3, 1), ("rz", 5, -1)],
)
def test_every_axis_has_isaac_labs_direction(plug, ids, reports, moved, axis, sign):
    hid = Interface(ids)
    mouse = plug(hid)
    for value, share in ((350, 1.0), (-175, -0.5), (500, 1.0), (0, 0.0)):
        # Twice, since the first report 2 of a device that should not send it tells what it is.
        hid.send(*reports(**{moved: value}), *reports(**{moved: value}))
        axes = mouse.fetched().axes
        assert axes[axis] == pytest.approx(sign * share)
        assert np.count_nonzero(axes) == (share != 0)


def test_of_all_reports_that_wait_the_last_one_counts(plug):
    hid = Interface(RECEIVER)
    mouse = plug(hid)
    for value in range(0, 350, 2):
        hid.send(*joined(x=value))
    hid.send(*joined(x=-350))
    assert mouse.fetched().axes[1] == -1 and not hid.reports


def test_the_interface_that_moves_is_kept(plug):
    silent, other, moving = Interface(RECEIVER), Interface(RECEIVER, path="/dev/hidraw4"), Interface(RECEIVER, path="/dev/hidraw5")
    mouse = plug(silent, other, moving)
    other.send(*joined(x=3))
    assert not mouse.fetched().axes.any() and silent.is_open
    moving.send(*joined(z=-350))
    assert mouse.fetched().axes[2] == 1
    assert moving.is_open and not silent.is_open and not other.is_open


def test_left_and_right_are_told_apart_by_serial_number(plug):
    left, right = Interface(COMPACT, "L"), Interface(COMPACT, "R", path="/dev/hidraw4")
    mouse = plug(left, right, serial="R")
    left.send(*split(x=350))
    right.send(*split(y=350))
    assert mouse.fetched().axes[0] == 1 and not left.is_open
    with pytest.raises(UserError, match='serial number "Q"') as caught:
        plug(left, right, serial="Q")
    assert "L (SpaceMouseCompact), R (SpaceMouseCompact)" in caught.value.do


def test_buttons_are_counted_once_a_press_however_many_reports_come(plug):
    hid = Interface(COMPACT)
    mouse = plug(hid)
    hid.send(buttons(0), buttons(0), buttons(), buttons(0), buttons(), buttons(0))
    assert mouse.fetched().toggles == 3
    hid.send(buttons())
    assert mouse.fetched().toggles == 0
    hid.send(buttons(1))
    assert mouse.fetched().events == ()
    hid.send(buttons(), buttons())
    assert mouse.fetched().events == (Event.RESET,)


@pytest.mark.parametrize("chord", [[(0,), (0, 1), (1,), ()], [(1,), (0, 1), (0,), ()], [(0, 1), ()], [(0, 1), (0,), (0, 1), ()]])
def test_both_buttons_switch_turning_and_do_nothing_else(plug, chord):
    hid = Interface(COMPACT)
    mouse = plug(hid)
    for turning in (False, True):
        hid.send(*(buttons(*bits) for bits in chord), *split(x=350, rx=350))
        reading = mouse.fetched()
        assert (reading.toggles % 2, reading.events) == (0, ())
        assert reading.axes[1] == 1 and reading.axes[4] == turning


def test_what_is_held_ends_when_the_radio_does(plug, monkeypatch):
    hid = Interface(RECEIVER)
    mouse = plug(hid)
    hid.send(*joined(x=350))
    assert mouse.fetched().axes[1] == 1
    monkeypatch.setattr(module, "_STALE", -1.0)
    assert not mouse.fetched().axes.any()


def test_a_new_episode_forgets_presses(plug):
    hid = Interface(COMPACT)
    mouse = plug(hid)
    hid.send(buttons(0))
    mouse._fetch()
    mouse.reset()
    assert mouse.read().toggles == 0


def test_the_thread_fetches_by_itself_and_ends(monkeypatch):
    hid = Interface(RECEIVER)
    monkeypatch.setattr(easyhid, "Enumeration", lambda: type("Found", (), {"find": lambda self: [hid]})())
    mouse = SpaceMouse()
    mouse.start()
    hid.send(*joined(x=350))
    end = time.monotonic() + 20
    while not mouse.read().axes.any() and time.monotonic() < end:
        time.sleep(0.005)
        hid.send(*joined(x=350))
    assert mouse.read().axes[1] == 1
    mouse.close()
    assert not hid.is_open and not any(thread.name == "spacemouse" for thread in threading.enumerate())


def test_one_that_is_unplugged_ends_the_session_with_what_to_do(plug):
    hid = Interface(COMPACT)
    mouse = plug(hid)
    hid.unplugged = True
    with pytest.raises(RunFailed, match="does not answer any more") as caught:
        mouse.fetched()
    assert "--resume" in caught.value.do


def test_one_that_may_not_be_read_comes_with_the_udev_rule(plug, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(UserError, match="may not be read") as caught:
        plug(Interface(COMPACT, allowed=False))
    assert 'ATTRS{idVendor}=="256f"' in caught.value.do and "udevadm control --reload" in caught.value.do and caught.value.where == "/dev/hidraw3"


def test_none_at_all_and_others_devices(plug):
    with pytest.raises(UserError, match="No SpaceMouse is plugged in"):
        plug(Interface((0x046D, 0xC52B)))


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(easyhid, "Enumeration", lambda: (_ for _ in ()).throw(AttributeError("hid_enumerate")))
    with pytest.raises(UserError, match="hidapi"):
        SpaceMouse().start()
    monkeypatch.setitem(__import__("sys").modules, "easyhid", None)
    with pytest.raises(UserError, match="pyspacemouse") as caught:
        SpaceMouse().start()
    assert "mimicctl[teleop]" in caught.value.do
