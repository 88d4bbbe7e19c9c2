"""Teleoperation devices."""

from __future__ import annotations

import itertools

from mimicctl.devices.base import Command, Device, Event, OperatorView
from mimicctl.tasks import TaskSpec

__all__ = ["Command", "Device", "Event", "OperatorView", "make_device"]


def make_device(name: str, task: TaskSpec, *, speed: str, sensitivity: float, seed: int) -> Device:
    """The device of that name: "keyboard" or "scripted".

    Args:
        speed: of the scripted operator.
        sensitivity: of the keyboard.
        seed: of the scripted operator's choices.
    """
    if name == "keyboard":
        from mimicctl.devices.keyboard import Keyboard

        return Keyboard(sensitivity=sensitivity)
    from mimicctl.devices.scripted import PickAndPlace, ScriptedOperator

    order = [task.object(name) for name in task.stack_order]
    errands = [PickAndPlace(up.name, low.name, up.edge, low.edge) for low, up in itertools.pairwise(order)]
    return ScriptedOperator(errands, speed=speed, seed=seed)
