"""Which way each axis of a device goes, asked of a person who moves one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimicctl.devices.base import AXES, AxisSource
from mimicctl.errors import UserError

DIRECTIONS = {
    "x": "ahead, away from the robot's base",
    "y": "to the robot's left",
    "z": "up",
    "roll": "a turn about x, clockwise as seen from the base",
    "pitch": "a turn about y, the gripper's nose downwards",
    "yaw": "a turn about z, anticlockwise as seen from above",
}
"""What + means on each axis: the right hand's thumb along the axis, fingers along the turn."""

_HELD, _REST = 0.4, 0.15
"""Shares of full deflection from which an axis counts as meant, and below which all count as let go."""
_HOLD_SECONDS = 0.3


@dataclass(frozen=True)
class Moved:
    """What moved when one axis was asked for.

    Attributes:
        asked, axis: name of the axis that was asked for, and of the one that moved.
        sign: of its deflection.
    """

    asked: str
    axis: str
    sign: float


def watch_axis(
    source: AxisSource, asked: str, *, timeout: float, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> Moved | None:
    """Wait until one axis is held for a moment, then until all are let go of. None if nothing was within `timeout` seconds."""
    end, since, held = clock() + timeout, 0.0, None
    while clock() < end:
        axes = source.read().axes
        strongest = int(np.abs(axes).argmax())
        now = (strongest, float(np.sign(axes[strongest]))) if abs(axes[strongest]) > _HELD else None
        if now != held:
            held, since = now, clock()
        elif held is not None and clock() - since > _HOLD_SECONDS:
            _wait_for_rest(source, end + timeout, clock, sleep)
            return Moved(asked, AXES[held[0]], held[1])
        sleep(0.01)
    return None


def _wait_for_rest(source: AxisSource, end: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
    while np.abs(source.read().axes).max() > _REST and clock() < end:
        sleep(0.01)


def inverted(moves: Sequence[Moved], before: Sequence[str]) -> list[str]:
    """Axes to invert, given what was moved when + was asked for. Those that were not asked for stay as they were `before`.

    Raises:
        UserError: another axis moved than was asked for, which no sign can mend.
    """
    for move in moves:
        if move.axis != move.asked:
            what = f"{move.asked} was asked for and {move.axis} moved."
            raise UserError(what, where="mimicctl devices calibrate", do="move one axis at a time; mimicctl devices test shows what each movement does")
    asked = {move.asked for move in moves}
    turned = {move.asked for move in moves if move.sign < 0}
    return [axis for axis in AXES if axis in turned or (axis in before and axis not in asked)]


def store(inverted_axes: Sequence[str], path: Path) -> None:
    """Write `record.invert` into a config file and leave all else in it as it is, comments too.

    Raises:
        UserError: the file cannot be read or written, or a package is missing.
    """
    try:
        import tomlkit
    except ImportError:
        raise UserError("Writing into a config file needs a package that is not installed: tomlkit.", do='pip install "mimicctl[teleop]"') from None
    try:
        document = tomlkit.parse(path.read_text()) if path.exists() else tomlkit.document()
        record = document.setdefault("record", tomlkit.table())
        record["invert"] = list(inverted_axes)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(tomlkit.dumps(document))
        partial.replace(path)
    except (OSError, tomlkit.exceptions.TOMLKitError, TypeError, AttributeError) as error:
        raise UserError(
            f"The config file cannot be changed ({error}).", where=str(path), do=f"put invert = {list(inverted_axes)} under [record] yourself"
        ) from None
