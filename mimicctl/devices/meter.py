"""What a device with axes does, as a picture in characters: `mimicctl devices test`."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from mimicctl.devices.base import AXES, Command, Event, Reading

if TYPE_CHECKING:
    from rich.text import Text

_HALF = 20
"""Characters of a bar to either side."""
_WINDOW = 2.0
"""[s] that rates are taken over."""


class Meter:
    """Readings of one device, added up."""

    def __init__(self) -> None:
        self.axes, self.delta = np.zeros(6), np.zeros(6)
        self.reach = np.zeros((2, 6))
        self.toggles = self.resets = self.inputs = 0
        self.gripper, self.note = 1.0, ""
        self.ages: deque[float] = deque(maxlen=1000)
        self._at: float | None = None
        self._times: deque[float] = deque()

    def add(self, reading: Reading, command: Command) -> None:
        """One reading, and the command that was made of it."""
        self.axes, self.delta, self.gripper = reading.axes, command.delta, command.gripper
        self.note = reading.note
        self.reach = np.stack([np.minimum(self.reach[0], reading.axes), np.maximum(self.reach[1], reading.axes)])
        self.toggles += reading.toggles
        self.resets += Event.RESET in reading.events
        now = time.monotonic()
        if reading.at is not None and reading.at != self._at:
            self._at = reading.at
            self.inputs += 1
            self.ages.append(now - reading.at)
            self._times.append(reading.at)
        while self._times and now - self._times[0] > _WINDOW:
            self._times.popleft()

    @property
    def rate(self) -> float:
        """Readings a second, lately, that had new input."""
        return len(self._times) / _WINDOW

    def facts(self) -> dict[str, object]:
        """All of it, for --json. Ages in milliseconds: from the input to the reading that had it."""
        ages = 1000 * np.array(self.ages or [np.nan])
        known = bool(self.ages)
        return {
            "readings_with_input": self.inputs,
            "gripper_toggles": self.toggles,
            "resets": self.resets,
            "reach": {axis: [float(low), float(high)] for axis, low, high in zip(AXES, *self.reach, strict=True)},
            "note": self.note,
            "age_ms": {"median": float(np.median(ages)), "p99": float(np.percentile(ages, 99))} if known else None,
        }


def draw(meter: Meter) -> Text:
    """A bar an axis, what it makes of the arm, and the buttons."""
    from rich.text import Text

    text = Text()
    for i, axis in enumerate(AXES):
        text.append(f"{axis:>6} ").append(bar(meter.axes[i], *meter.reach[:, i]), style="bold" if meter.axes[i] else "dim")
        text.append(f" {meter.axes[i]:+5.2f}   moves {meter.delta[i]:+.3f}\n")
    gripper = "open" if meter.gripper > 0 else "closed"
    text.append(f"gripper {gripper}, changed {meter.toggles} times   discard asked for {meter.resets} times\n")
    if meter.note:
        text.append(f"{meter.note}\n", style="red")
    if meter.ages:
        ages = 1000 * np.array(meter.ages)
        text.append(f"{meter.rate:.0f} readings a second with new input, {np.median(ages):.1f} ms old (median; {np.percentile(ages, 99):.1f} ms p99)")
    else:
        text.append("no input yet: push, tilt, press")
    return text


def bar(value: float, low: float, high: float) -> str:
    """From -1 to 1 with 0 in the middle; dots as far as it has been."""
    cells = [" "] * (2 * _HALF + 1)
    for reach in (low, high):
        for i in _cells(reach):
            cells[i] = "·"
    for i in _cells(value):
        cells[i] = "█"
    cells[_HALF] = "│"
    return "".join(cells)


def _cells(value: float) -> range:
    far = _HALF + round(_HALF * float(np.clip(value, -1, 1)))
    return range(min(far, _HALF), max(far, _HALF) + 1)
