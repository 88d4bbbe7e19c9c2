"""The map of a gamepad, without a pad; and the same map where the pad is at a browser."""

from __future__ import annotations

import numpy as np
import pytest

from mimicctl.config import RecordSettings
from mimicctl.devices import Event, OperatorView
from mimicctl.devices.pad_map import BUTTONS, PadMap
from mimicctl.errors import UserError
from mimicctl.tasks import DEFAULT_TASK, find_task
from mimicctl.web.inputs import Message, Pad
from mimicctl.web.page_device import PageDevice


def read(controls: dict[str, str], sticks: dict[str, float], held: tuple[str, ...] = (), pressed: tuple[str, ...] = ()):
    return PadMap(controls).reading(lambda name: sticks.get(name, 0.0), lambda name: name in held, pressed, None)


def test_what_lets_go_comes_before_what_is_pressed_after_it():
    reading = read({}, {}, pressed=("X", "Y", "X", "START", "B"))
    assert (reading.toggles, reading.let_go, reading.events) == (1, True, (Event.RESET,))


def test_controls_are_exchanged_and_what_nothing_uses_does_nothing():
    reading = read({"x": "right_y", "z": "left_y", "gripper": "left_shoulder"}, {"RIGHTY": -0.5, "LEFTY": 0.25}, ("DPAD_RIGHT",), ("LEFTSHOULDER", "X"))
    np.testing.assert_array_equal(reading.axes, [0.5, 0, -0.25, -1, 0, 0])
    assert reading.toggles == 1


@pytest.mark.parametrize(
    ("controls", "wrong"), [({"x": "a"}, '"a" (for x)'), ({"gripper": "dpad_x"}, '"dpad_x" (for gripper)'), ({"x": "left_x"}, "both x and y")]
)
def test_axes_are_moved_by_sticks_and_the_rest_is_done_by_buttons(controls, wrong):
    with pytest.raises(UserError, match="The map of the gamepad does not fit") as caught:
        PadMap(controls)
    assert wrong in str(caught.value) and "left_shoulder" in caught.value.do and set(BUTTONS) >= {"a", "b"}


def test_a_pad_at_a_browser_has_the_same_map():
    device = PageDevice(find_task(DEFAULT_TASK), RecordSettings(gamepad_map={"z": "left_y", "x": "right_y", "gripper": "right_shoulder"}))
    view = OperatorView(np.eye(4))
    for n, presses in enumerate(({}, {"pad:5": 1})):
        device.inputs.feed(Message(page="one", n=n, presses=presses, pad=Pad(axes=[0.0, -1.0, 0.0, 0.0], buttons=[0.0] * 17)))
        command = device.command(view)
    np.testing.assert_allclose(command.delta, [0, 0, 0.1, 0, 0, 0], atol=1e-9)
    assert command.gripper == -1
