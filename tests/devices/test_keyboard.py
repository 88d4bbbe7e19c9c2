"""The terminal keyboard: keys to axes, without a terminal."""

from __future__ import annotations

import numpy as np
import pytest

from mimicctl.devices import Event
from mimicctl.devices.keyboard import _AXES, Keyboard, PressedKeys, _without_escapes


def make_keyboard(keys: list[list[str]]) -> Keyboard:
    keyboard = Keyboard(clock=lambda: 0.0)
    keyboard._typed = lambda: keys.pop(0) if keys else []
    return keyboard


@pytest.mark.parametrize("key", sorted(_AXES))
def test_every_key_moves_its_axis(key):
    axis, sign = _AXES[key]
    axes = make_keyboard([[key]]).read().axes
    assert axes[axis] == sign and np.count_nonzero(axes) == 1


def test_opposite_keys_cancel_and_others_add_up():
    np.testing.assert_array_equal(make_keyboard([["w", "s", "a", "q"]]).read().axes, [0, 1, 1, 0, 0, 0])


def test_keys_that_are_not_axes_are_said_once():
    keyboard = make_keyboard([["k", "k", "r", " ", "\n"], [], ["w", "k", "l", "k"]])
    first, second, third = (keyboard.read() for _ in range(3))
    assert (first.toggles, first.events, first.let_go) == (2, (Event.RESET, Event.START, Event.SAVE), False)
    assert (second.toggles, second.events) == (0, ())
    assert third.let_go and third.toggles == 1 and not third.axes.any()


def test_a_tap_is_short_and_a_repeating_key_has_no_gaps():
    keys = PressedKeys()
    keys.press("w", 0.0)
    assert keys.held(0.1) == ["w"] and keys.held(0.12) == []
    for i in range(10):
        keys.press("w", 0.5 + i * 0.033)
    assert keys.held(0.5 + 9 * 0.033 + 0.15) == ["w"]
    keys.clear()
    assert keys.held(0.5) == []


@pytest.mark.parametrize(
    ("key", "axis", "sign"),
    [("↑", 0, 1), ("↓", 0, -1), ("←", 1, 1), ("→", 1, -1), ("z", 5, 1), ("x", 5, -1), ("w", 0, 1), ("d", 1, -1), ("c", 5, 1), ("v", 5, -1)],
)
def test_a_base_is_driven_with_isaac_labs_se2_keys_too(key, axis, sign):
    keyboard = Keyboard(on_floor=True, clock=lambda: 0.0)
    keyboard._typed = lambda: [key]
    axes = keyboard.read().axes
    assert axes[axis] == sign and np.count_nonzero(axes) == 1


def test_a_base_has_no_gripper_and_an_arm_no_arrows():
    base, arm = Keyboard(on_floor=True, clock=lambda: 0.0), make_keyboard([["↑"]])
    base._typed = lambda: ["k"]
    assert base.read().toggles == 0 and not arm.read().axes.any()
    assert "up/down" in base.help() and "gripper" not in base.help() and "gripper" in arm.help()


def test_arrow_keys_are_not_letters():
    assert _without_escapes("w\x1b[Aq\x1b[1;5Cx\x1bOD") == "wqx"
