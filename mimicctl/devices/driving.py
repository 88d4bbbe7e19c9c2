"""From axes to commands: dead zone, direction, scale, and a gripper that stays as it was left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mimicctl.devices.base import AXES, AxisSource, Command, OperatorView, Reading
from mimicctl.errors import UserError

SPEEDS = {"slow": 0.5, "normal": 1.0, "fast": 2.0}
"""What a person's device is multiplied by."""

OPEN = 1.0


@dataclass(frozen=True)
class Shaping:
    """What is done to every axis of a device.

    Attributes:
        scale: (6,) raw action units at full deflection; negative where the axis is inverted.
        dead_zone: deflections up to this are none, and those beyond it begin at none, so that nothing jumps at its edge.
    """

    scale: np.ndarray
    dead_zone: float = 0.0

    def __call__(self, axes: np.ndarray) -> np.ndarray:
        beyond = np.maximum(np.abs(axes) - self.dead_zone, 0.0) / (1.0 - self.dead_zone)
        return np.sign(axes) * np.minimum(beyond, 1.0) * self.scale


def shaping(
    sensitivities: tuple[float, float],
    *,
    factor: float = 1.0,
    invert: Sequence[str] = (),
    axis_scale: Mapping[str, float] | None = None,
    dead_zone: float = 0.0,
) -> Shaping:
    """
    Args:
        sensitivities: raw action units at full deflection, of translation and of rotation.
        factor: multiplies both.
        invert: axes that go the other way.
        axis_scale: what single axes are multiplied by as well.

    Raises:
        UserError: there is no axis of that name.
    """
    for name in (*invert, *(axis_scale or {})):
        if name not in AXES:
            raise UserError(f'There is no axis "{name}".', where="--invert, record.axis_scale", do=f"the axes are {', '.join(AXES)}")
    signs = np.array([-1.0 if axis in invert else 1.0 for axis in AXES])
    single = np.array([(axis_scale or {}).get(axis, 1.0) for axis in AXES])
    return Shaping(factor * np.repeat(sensitivities, 3) * signs * single, dead_zone)


def gripper_after(gripper: float, reading: Reading) -> float:
    """+1 open or -1 closed, from what it was and what is asked for now."""
    if reading.gripper is not None:
        gripper = reading.gripper
    if reading.let_go:
        gripper = OPEN
    return -gripper if reading.toggles % 2 else gripper


class Driven:
    """A device with axes, driven by a person.

    Args:
        note: on the task, to be printed below the map of controls.
    """

    human = True

    def __init__(self, source: AxisSource, shape: Shaping, note: str = "") -> None:
        self.name = source.name
        self.source, self._shape, self._note = source, shape, note
        self._gripper = OPEN

    def start(self) -> None:
        self.source.start()

    def close(self) -> None:
        self.source.close()

    def help(self) -> str:
        return "\n".join(filter(None, [self.source.help(), self._note]))

    def reset(self) -> None:
        self.source.reset()
        self._gripper = OPEN

    def command(self, view: OperatorView) -> Command:
        return self.obey(self.source.read())

    def obey(self, reading: Reading) -> Command:
        """What the reading asks for, given what came before it."""
        self._gripper = gripper_after(self._gripper, reading)
        return Command(self._shape(reading.axes), self._gripper, reading.events)
