"""The terminal keyboard: keys to axes, without a terminal."""

from __future__ import annotations

import numpy as np
import pytest

from mimicctl.devices import Event
from mimicctl.devices.base import AXES
from mimicctl.devices.key_map import ARM_KEYS
from mimicctl.devices.keyboard import Keyboard, PressedKeys
from mimicctl.errors import UserError


def make_keyboard(keys: list[list[str]], names: dict[str, str] | None = None) -> Keyboard:
    keyboard = Keyboard(names, clock=lambda: 0.0)
    keyboard._typed = lambda: keys.pop(0) if keys else []
    return keyboard


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("sign", ["+", "-"])
def test_every_key_moves_its_axis(axis, sign):
    axes = make_keyboard([[ARM_KEYS[axis + sign]]]).read().axes
    assert axes[AXES.index(axis)] == (1 if sign == "+" else -1) and np.count_nonzero(axes) == 1


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


def test_other_keys_do_what_the_config_says_and_the_help_shows_them():
    keyboard = make_keyboard([["i", "up", " ", "w"]], {"x+": "I", "z+": "up", "gripper": "space", "start": "b"})
    reading = keyboard.read()
    np.testing.assert_array_equal(reading.axes, [1, 0, 1, 0, 0, 0])
    assert reading.toggles == 1 and reading.events == ()
    assert "I/S x" in keyboard.help() and "Up/E z" in keyboard.help() and "Space  gripper" in keyboard.help() and "B begin" in keyboard.help()


def test_two_keys_may_be_exchanged():
    np.testing.assert_array_equal(make_keyboard([["s"]], {"x+": "s", "x-": "w"}).read().axes, [1, 0, 0, 0, 0, 0])


def test_what_does_not_fit_is_said_all_at_once():
    with pytest.raises(UserError) as caught:
        Keyboard({"x+": "a", "fly": "f", "save": "ctrl-s", "reset": ""})
    told = str(caught.value)
    for wrong in ('"fly" is nothing to be done', '"ctrl-s" (for save) is no key', '"" (for reset) is no key', '"a" would do both x+ and y+'):
        assert wrong in told
    assert "roll+" in caught.value.do and "space" in caught.value.do


@pytest.mark.parametrize("how", [["-o", "record.keys.x+=a"], ["--config", "keys.toml"]])
def test_keys_in_flags_and_files_are_looked_at_before_anything_starts(mimicctl, tmp_path, how):
    (tmp_path / "keys.toml").write_text('[record.keys]\n"x+" = "a"\n')
    done = mimicctl("teleop", *how)
    assert done.returncode == 2 and '"a" would do both x+ and y+' in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("key", "axis", "sign"),
    [("up", 0, 1), ("down", 0, -1), ("left", 1, 1), ("right", 1, -1), ("z", 5, 1), ("x", 5, -1), ("w", 0, 1), ("d", 1, -1), ("c", 5, 1), ("v", 5, -1)],
)
def test_a_base_is_driven_with_isaac_labs_se2_keys_too(key, axis, sign):
    keyboard = Keyboard(on_floor=True, clock=lambda: 0.0)
    keyboard._typed = lambda: [key]
    axes = keyboard.read().axes
    assert axes[axis] == sign and np.count_nonzero(axes) == 1


def test_a_base_has_no_gripper_and_an_arm_no_arrows():
    base, arm = Keyboard(on_floor=True, clock=lambda: 0.0), make_keyboard([["up"]])
    base._typed = lambda: ["k"]
    assert base.read().toggles == 0 and not arm.read().axes.any()
    assert "arrows" in base.help() and "gripper" not in base.help() and "gripper" in arm.help()
