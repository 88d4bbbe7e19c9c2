"""Axes to commands, and devices by name."""

from __future__ import annotations

import importlib.metadata
import sys
import types

import numpy as np
import pytest

from mimicctl import devices
from mimicctl.config import RecordSettings
from mimicctl.devices import Command, Event, OperatorView, Reading, make_device
from mimicctl.devices.driving import Driven, shaping
from mimicctl.errors import UserError
from mimicctl.tasks import DEFAULT_TASK, find_task

VIEW = OperatorView(np.eye(4))


class Listed:
    """A source that says what a list says."""

    name = "listed"

    def __init__(self, *readings: Reading) -> None:
        self._readings = list(readings)
        self.resets = 0

    def start(self) -> None: ...

    def close(self) -> None: ...

    def help(self) -> str:
        return "listed"

    def reset(self) -> None:
        self.resets += 1

    def read(self) -> Reading:
        return self._readings.pop(0)


def at(*axes: float, **others: object) -> Reading:
    return Reading(np.array([*axes, *[0.0] * (6 - len(axes))]), **others)


def test_every_axis_has_its_sign_and_scale():
    shape = shaping((0.05, 0.2), factor=2, invert=["y", "yaw"], axis_scale={"z": 0.5})
    np.testing.assert_allclose(shape(np.ones(6)), [0.1, -0.1, 0.05, 0.4, 0.4, -0.4])


def test_a_dead_zone_ends_without_a_jump_and_full_deflection_stays_full():
    shape = shaping((1.0, 1.0), dead_zone=0.2)
    np.testing.assert_allclose(shape(np.array([0.2, -0.1, 0.6, -0.6, 1.0, -1.3])), [0, 0, 0.5, -0.5, 1, -1], atol=1e-12)


def test_an_axis_that_does_not_exist_is_named():
    for wrong in ({"invert": ["w"]}, {"axis_scale": {"w": 2.0}}):
        with pytest.raises(UserError, match='no axis "w"') as caught:
            shaping((1.0, 1.0), **wrong)
        assert "roll" in caught.value.do


def test_the_gripper_stays_as_it_was_left():
    source = Listed(at(1), at(toggles=1), at(), at(toggles=2), at(toggles=3), at(toggles=1), at(let_go=True), at(let_go=True, toggles=1))
    device = Driven(source, shaping((0.05, 0.05)))
    assert [device.command(VIEW).gripper for _ in range(8)] == [1, -1, -1, -1, 1, -1, 1, -1]
    device.reset()
    source._readings = [at(events=(Event.RESET,))]
    command = device.command(VIEW)
    assert command.gripper == 1 and command.events == (Event.RESET,) and source.resets == 1


def settings(**values: object) -> RecordSettings:
    return RecordSettings(**values)


def test_the_keyboard_moves_as_in_isaac_lab_unless_told_otherwise():
    task = find_task(DEFAULT_TASK)

    def delta(**values: object) -> np.ndarray:
        device = make_device(task, settings(**values), 1)
        device.source._typed = lambda: ["w", "z"]
        return device.command(VIEW).delta[[0, 3]]

    np.testing.assert_allclose(delta(), [0.05, 0.05])
    np.testing.assert_allclose(delta(speed="slow", sensitivity=4.0), [0.1, 0.1])
    np.testing.assert_allclose(delta(speed="fast", rotation_sensitivity=0.3, invert=["x"]), [-0.1, 0.6])


def test_a_base_is_driven_at_isaac_labs_se2_speeds_and_only_in_its_plane():
    task = find_task("MuJoCo-Drive-Tiago-v0")

    def full(**values: object) -> np.ndarray:
        device = make_device(task, settings(**values), 1)
        device.source = Listed(at(1, 1, 1, 1, 1, 1))
        return device.command(VIEW).delta

    for name in ("keyboard", "spacemouse", "udp"):
        np.testing.assert_allclose(full(device=name), [0.8, 0.4, 0, 0, 0, 1.0])
    np.testing.assert_allclose(full(device="gamepad"), [1, 1, 0, 0, 0, 1])
    np.testing.assert_allclose(full(device="gamepad", invert=["y", "yaw"], speed="slow"), [0.5, -0.5, 0, 0, 0, -0.5])
    np.testing.assert_allclose(full(position_sensitivity=0.5, rotation_sensitivity=0.6), [0.5, 0.25, 0, 0, 0, 0.6])
    assert "A base goes along x and y" in make_device(task, settings(device="udp"), 1).help()


def test_a_person_is_told_of_axes_that_the_robot_does_not_have():
    told = [make_device(find_task(task), settings(), 1).help() for task in ("MuJoCo-Pick-Stringman-v0", DEFAULT_TASK)]
    assert "This robot has no roll and no pitch" in told[0] and "This robot" not in told[1]


class Foreign:
    name, human = "foreign", False

    def command(self, view: OperatorView) -> Command:
        return Command(np.full(6, 0.5), -1.0)


@pytest.fixture
def foreign(monkeypatch):
    """Devices of another package, by the entry points that it declares."""
    module = types.ModuleType("foreign_devices")
    module.own = lambda settings: Foreign()
    module.axes = lambda settings: Listed(at(0.5))
    module.broken = lambda settings: 1 / 0
    monkeypatch.setitem(sys.modules, "foreign_devices", module)
    points = [importlib.metadata.EntryPoint(name, f"foreign_devices:{name}", "mimicctl.devices") for name in ("own", "axes", "broken")]
    monkeypatch.setattr(devices, "entry_points", lambda group: points if group == "mimicctl.devices" else [])


def test_another_package_adds_devices(foreign):
    task = find_task(DEFAULT_TASK)
    assert make_device(task, settings(device="own"), 1).command(VIEW).gripper == -1
    np.testing.assert_allclose(make_device(task, settings(device="axes", invert=["x"]), 1).command(VIEW).delta, [-0.025, 0, 0, 0, 0, 0])
    assert devices.device_names()[-3:] == ["own", "axes", "broken"]


@pytest.mark.parametrize(("name", "message"), [("broken", "foreign_devices:broken cannot be made .ZeroDivisionError"), ("joypad", 'no device "joypad"')])
def test_devices_that_cannot_be_had_are_named(foreign, name, message):
    with pytest.raises(UserError, match=message):
        make_device(find_task(DEFAULT_TASK), settings(device=name), 1)
