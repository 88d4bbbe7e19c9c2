"""Gamepads, emulated by SDL itself: from its decoding to commands, and all the ways there can be none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mimicctl.config import RecordSettings
from mimicctl.config_layers import resolve
from mimicctl.devices import AXES, Event, OperatorView, gamepad, make_device, survey
from mimicctl.devices.driving import Driven
from mimicctl.devices.gamepad import Gamepad
from mimicctl.devices.linux_joysticks import joysticks
from mimicctl.devices.scripted import PickAndPlace, ScriptedOperator
from mimicctl.errors import RunFailed, UserError
from mimicctl.recording.session import Outcome, Progress, Rules, run_session
from mimicctl.tasks import DEFAULT_TASK, find_task
from tests.devices.virtual_pad import VirtualPad, plugged_in

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the loaded SDL as Linux shows it")

VIEW = OperatorView(np.eye(4))


@pytest.fixture
def opened(monkeypatch):
    """Opens a gamepad with these pads plugged in."""
    made = []

    def open_(*pads: VirtualPad, wanted: str = "") -> Gamepad:
        monkeypatch.setattr(gamepad, "_find", plugged_in(*pads))
        made.append(Gamepad(wanted))
        made[-1].start()
        return made[-1]

    yield open_
    for source in made:
        source.close()


@pytest.fixture
def driven(monkeypatch):
    """The device that settings name, with this pad plugged in."""
    made = []

    def open_(pad: VirtualPad, **settings: object) -> Driven:
        monkeypatch.setattr(gamepad, "_find", plugged_in(pad))
        made.append(make_device(find_task(DEFAULT_TASK), RecordSettings(device="gamepad", **settings), 1))
        made[-1].start()
        return made[-1]

    yield open_
    for device in made:
        device.close()


def one(axis: str, value: float) -> np.ndarray:
    return np.array([value * (axis == name) for name in AXES])


# The map ------------------------------------------------------------------------------------------------------

STICKS = [("LEFTY", -1, "x", 1), ("LEFTX", 1, "y", 1), ("RIGHTY", -1, "z", 1), ("RIGHTX", 1, "yaw", 1)]


@pytest.mark.parametrize(("stick", "push", "axis", "sign"), STICKS)
def test_sticks_move_as_in_isaac_lab(opened, stick, push, axis, sign):
    pad = VirtualPad()
    source = opened(pad)
    for share in (1.0, -1.0, 0.5, 0.0):
        pad.push(stick, share * push)
        np.testing.assert_allclose(source.read().axes, one(axis, share * sign), atol=1e-4)


@pytest.mark.parametrize(
    ("button", "axis", "value"), [("DPAD_LEFT", "roll", 1), ("DPAD_RIGHT", "roll", -1), ("DPAD_DOWN", "pitch", 1), ("DPAD_UP", "pitch", -1)]
)
def test_the_d_pad_turns_as_in_isaac_lab(opened, button, axis, value):
    pad = VirtualPad()
    source = opened(pad)
    pad.hold(button)
    for _ in range(2):
        np.testing.assert_array_equal(source.read().axes, one(axis, value))
    pad.hold(button, False)
    assert not source.read().axes.any()


def test_opposite_directions_cancel_and_others_add_up(opened):
    pad = VirtualPad()
    source = opened(pad)
    for button in ("DPAD_LEFT", "DPAD_RIGHT", "DPAD_UP"):
        pad.hold(button)
    pad.push("LEFTX", -1)
    pad.push("RIGHTY", 1)
    np.testing.assert_array_equal(source.read().axes, [0, -1, -1, 0, -1, 0])


def test_a_press_counts_once_however_long_it_is_held(opened):
    pad = VirtualPad()
    source = opened(pad)
    pad.hold("X")
    assert [source.read().toggles for _ in range(3)] == [1, 0, 0]
    pad.hold("X", False)
    assert source.read().toggles == 0


def test_presses_between_two_looks_are_all_counted(opened):
    pad = VirtualPad()
    source = opened(pad)
    for button in ("X", "X", "START", "B", "BACK", "A"):
        pad.tap(button)
    reading = source.read()
    assert (reading.toggles, reading.events, reading.let_go) == (2, (Event.RESET, Event.SAVE, Event.START), False)
    for button in ("X", "Y", "X"):
        pad.tap(button)
    reading = source.read()
    assert (reading.toggles, reading.events, reading.let_go) == (1, (), True)


def test_a_new_episode_forgets_presses_but_not_where_the_sticks_are(opened):
    pad = VirtualPad()
    source = opened(pad)
    pad.push("LEFTY", -1)
    pad.tap("X")
    pad.tap("START")
    source.reset()
    reading = source.read()
    assert not reading.toggles and not reading.events
    np.testing.assert_array_equal(reading.axes, one("x", 1))


# From settings to commands ------------------------------------------------------------------------------------------


def test_other_controls_do_what_the_config_says_and_the_map_shows_them(driven):
    pad = VirtualPad()
    device = driven(pad, gamepad_map={"z": "dpad_y", "pitch": "right_y", "gripper": "right_shoulder", "start": "x"}, dead_zone=0.0)
    shown = device.help()
    assert "right stick  up/down pitch   right/left yaw" in shown and "left/right roll   down/up z" in shown and "Right shoulder  gripper" in shown
    pad.push("RIGHTY", -1)
    pad.hold("DPAD_DOWN")
    pad.tap("RIGHTSHOULDER")
    pad.tap("X")
    command = device.command(VIEW)
    np.testing.assert_allclose(command.delta, [0, 0, 0.1, 0, 0.08, 0], atol=1e-4)
    assert command.gripper == -1 and command.events == (Event.START,)


def test_a_map_that_does_not_fit_is_refused_before_a_pad_is_looked_for(mimicctl):
    done = mimicctl("teleop", "--device", "gamepad", "-o", "record.gamepad_map.x=a", "-o", "record.gamepad_map.gripper=y", "-o", "record.gamepad_map.fly=b")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    for wrong in ('"a" (for x) is no control that can do this', '"y" would do both gripper and let_go', '"fly" is nothing to be done'):
        assert wrong in done.stderr


def test_full_deflection_is_isaac_labs_speed_and_the_d_pad_less(driven):
    pad = VirtualPad()
    device = driven(pad)
    pad.push("LEFTY", -1)
    pad.push("RIGHTX", 1)
    pad.hold("DPAD_LEFT")
    pad.hold("DPAD_UP")
    pad.tap("X")
    command = device.command(VIEW)
    np.testing.assert_allclose(command.delta, [0.1, 0, 0, 0.08, -0.08, 0.1])
    assert command.gripper == -1


@pytest.mark.parametrize(("dead_zone", "expected"), [(None, [0.0, 0.1 * 0.1 / 0.9]), (0.0, [0.009, 0.02]), (0.5, [0.0, 0.0])])
def test_a_stick_that_rests_off_its_centre_moves_nothing(driven, dead_zone, expected):
    pad = VirtualPad()
    device = driven(pad, dead_zone=dead_zone)
    pad.push("LEFTX", 0.09)
    pad.push("RIGHTX", 0.2)
    np.testing.assert_allclose(device.command(VIEW).delta[[1, 5]], expected, atol=1e-5)


def test_axes_are_inverted_and_scaled_one_by_one(driven):
    pad = VirtualPad()
    scales = resolve({}, overrides=["record.axis_scale={z=0.5, roll=2}"]).config.record.axis_scale
    device = driven(pad, invert=["y", "roll"], axis_scale=scales, rotation_sensitivity=0.5)
    for stick in ("LEFTX", "RIGHTX"):
        pad.push(stick, 1)
    pad.push("RIGHTY", -1)
    pad.hold("DPAD_LEFT")
    np.testing.assert_allclose(device.command(VIEW).delta, [0, -0.1, 0.05, -0.8, 0, 0.5])


def test_a_demonstration_is_made_with_a_gamepad(driven, env):
    pad = VirtualPad()
    device = driven(pad)
    hand = ScriptedOperator([PickAndPlace("cube_2", "cube_1", *edges(env)), PickAndPlace("cube_3", "cube_2", *edges(env))], speed="normal", seed=3)
    grip = [1.0]

    def steer(progress: Progress) -> None:
        wish = hand.command(progress.view)
        x, y, z, _, _, yaw = np.clip(wish.delta / 0.1, -1, 1)
        for stick, value in (("LEFTY", -x), ("LEFTX", y), ("RIGHTY", -z), ("RIGHTX", yaw)):
            pad.push(stick, np.sign(value) * (0.1 + 0.9 * abs(value)))
        if wish.gripper != grip[0]:
            pad.tap("X")
            grip[0] = wish.gripper

    progress = Progress(Rules(wanted=1, hold_needed=10))
    run_session(env, device, None, progress, seed=5, on_step=steer)
    assert progress.outcomes == [Outcome.SAVED]


def edges(env) -> tuple[float, float]:
    return tuple(env.task.object(name).edge for name in env.task.goal.order[:2])


# Which pad ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wanted", "name"), [("", "Red Pad"), ("1", "Blue Pad"), ("blue", "Blue Pad"), ("2", "Old Stick"), ("stick", "Old Stick")])
def test_a_pad_is_chosen_by_number_or_name_and_the_others_are_not_heard(opened, wanted, name):
    pads = VirtualPad("Pedals", known=False, axes=3), VirtualPad("Old Stick", known=False), VirtualPad("Red Pad"), VirtualPad("Blue Pad")
    source = opened(*pads, wanted=wanted)
    assert name in source.help()
    for pad in pads:
        if pad.name != name:
            pad.push("LEFTX", 1)
            pad.hold("X")
            pad.hold("START")
    reading = source.read()
    assert not reading.axes.any() and not reading.toggles and not reading.events
    next(pad for pad in pads if pad.name == name).push("LEFTX", 1)
    np.testing.assert_allclose(source.read().axes, one("y", 1), atol=1e-4)


def test_a_pad_that_is_not_there_is_named_and_those_that_are(opened):
    with pytest.raises(UserError, match='the name "green"') as caught:
        opened(VirtualPad("Red Pad"), VirtualPad("Blue Pad"), wanted="green")
    assert "0  Red Pad" in caught.value.do and "1  Blue Pad" in caught.value.do


@pytest.mark.parametrize(("axes", "right", "toggle", "start"), [(6, (3, 4), 2, 7), (4, (2, 3), 0, 9)], ids=["like Xbox", "like DirectInput"])
def test_a_pad_that_sdl_does_not_know_is_read_by_common_numbers_and_says_so(opened, axes, right, toggle, start):
    pad = VirtualPad("No-name", known=False, axes=axes)
    source = opened(pad)
    assert "a guess" in source.help() and f"button {toggle + 1}   gripper" in source.help()
    assert f"button {start + 1}".ljust(11) + "discard" in source.help()
    pad.push(1, -1)
    pad.push(right[0], 0.5)
    pad.push(right[1], -0.5)
    pad.turn_hat(8 | 4)  # left and down
    for button in (toggle, 3, toggle, start):
        pad.tap(button)
    reading = source.read()
    np.testing.assert_allclose(reading.axes, [1, 0, 0.5, 1, 1, 0.5], atol=1e-3)
    assert (reading.toggles, reading.let_go, reading.events) == (1, True, (Event.RESET,))
    pad.turn_hat(2 | 1)  # right and up
    np.testing.assert_array_equal(source.read().axes[3:5], [-1, -1])


def test_a_user_of_sdls_own_mapping_variable_is_obeyed(tmp_path):
    # In a process of its own, because SDL reads the variable when it starts.
    script = """
from tests.devices.virtual_pad import VirtualPad, plugged_in
from mimicctl.devices import gamepad
pad = VirtualPad("No-name", known=False, axes=4)
gamepad._find = plugged_in(pad)
source = gamepad.Gamepad()
source.start()
pad.tap(5)
print(source._joystick.get_guid(), type(source._pad).__name__, source.read().toggles)
"""
    guid, kind, toggles = in_a_process(script, tmp_path).stdout.split()
    assert (kind, toggles) == ("_Guessed", "0")
    mapping = f"{guid},No-name,leftx:a0,lefty:a1,rightx:a2,righty:a3,x:b5,y:b3,start:b9,"
    assert in_a_process(script, tmp_path, SDL_GAMECONTROLLERCONFIG=mapping).stdout.split()[1:] == ["_Known", "1"]


def test_it_can_be_opened_again(opened):
    for name in ("First", "Second"):
        pad = VirtualPad(name)
        source = opened(pad)
        pad.tap("X")
        assert source.read().toggles == 1 and name in source.help()
        source.close()
        source.close()


def test_the_survey_lists_pads_in_the_order_of_their_numbers(monkeypatch):
    monkeypatch.setattr(gamepad, "_find", plugged_in(VirtualPad("Pedals", known=False, axes=3), VirtualPad("Old Stick", known=False), VirtualPad("Red Pad")))
    found = [each for each in survey.survey() if each.device == "gamepad"]
    assert [(each.what, each.ready) for each in found] == [("0  Red Pad", True), ("1  Old Stick", True)]
    monkeypatch.setattr(gamepad, "_find", lambda pygame: [])
    monkeypatch.setattr(gamepad, "joysticks", lambda: [])
    (none,) = [each for each in survey.survey() if each.device == "gamepad"]
    assert (none.what, none.ready) == ("No gamepad is connected.", False) and "plug one into" in none.do


# None at all, or none any more --------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
def test_unplugging_is_told_with_what_to_do(opened, known):
    pad, other = VirtualPad("Red Pad", known=known), VirtualPad("Blue Pad", known=known)
    source = opened(pad, other)
    other.unplug()
    source.read()
    pad.unplug()
    with pytest.raises(RunFailed, match="is gone") as caught:
        source.read()
    assert caught.value.where == "Red Pad" and "record --resume" in caught.value.do


def test_without_pygame_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(UserError, match="not installed") as caught:
        Gamepad().start()
    assert caught.value.do == 'pip install "mimicctl[teleop]"'


def test_pedals_are_no_gamepad(opened, monkeypatch):
    monkeypatch.setattr(gamepad, "joysticks", lambda: [])
    with pytest.raises(UserError, match="fewer than two sticks") as caught:
        opened(VirtualPad("Pedals", known=False, axes=3))
    assert caught.value.where == "Pedals"


KNOWN_TO_LINUX = """\
I: Bus=0011 Vendor=0001 Product=0001 Version=ab41
N: Name="AT Translated Set 2 keyboard"
H: Handlers=sysrq kbd event0 leds
B: EV=120013

I: Bus=0003 Vendor=045e Product=028e Version=0110
N: Name="Microsoft X-Box 360 pad"
H: Handlers=event7 js0
B: EV=20000b
"""


@pytest.fixture
def linux(tmp_path):
    """What Linux says of a machine with a keyboard and a gamepad."""
    (tmp_path / "devices").write_text(KNOWN_TO_LINUX)
    for name in ("event0", "event7", "js0"):
        (tmp_path / name).touch()
    return tmp_path


def test_linux_lists_gamepads_and_nothing_else(linux):
    (found,) = joysticks(linux / "devices", linux)
    assert (found.name, found.node.name, found.present, found.readable) == ("Microsoft X-Box 360 pad", "event7", True, True)
    assert joysticks(linux / "nothing", linux) == []


@pytest.mark.parametrize(
    ("state", "message", "do"),
    [
        ("locked", "you may not read it", "setfacl -m u:$USER:rw {node}"),
        ("missing", "not in this container", "--device {node}"),
        ("hidden", "SDL does not find it", "SDL_JOYSTICK_DISABLE_UDEV=1"),
    ],
)
def test_a_pad_that_linux_knows_and_sdl_does_not_list_is_explained(opened, monkeypatch, linux, state, message, do):
    node = linux / "event7"
    if state == "missing":
        node.unlink()
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: may(path, mode) and (state != "locked" or Path(path) != node))
    monkeypatch.setattr(gamepad, "joysticks", lambda: joysticks(linux / "devices", linux))
    with pytest.raises(UserError, match=message) as caught:
        opened()
    assert str(node) in caught.value.where and "Microsoft X-Box 360 pad" in caught.value.where and do.format(node=node) in caught.value.do


def test_no_pad_is_one_clear_error_of_the_command(mimicctl, tmp_path):
    if joysticks():
        pytest.skip("there is one")
    done = mimicctl("record", "--device", "gamepad")
    assert done.returncode == 2 and "No gamepad is connected." in done.stderr and "pygame" not in done.stdout + done.stderr
    assert not list(tmp_path.rglob("*.hdf5"))


COMMAND = """
import sys, threading, time
from tests.devices.virtual_pad import VirtualPad, plugged_in
from mimicctl.cli.app import main
from mimicctl.devices import gamepad

pad = VirtualPad("Red Pad")
gamepad._find = plugged_in(pad)
if "unplug" in sys.argv:
    sys.argv.remove("unplug")
    update = gamepad.Gamepad.read
    def read(self, count=[0]):
        count[0] += 1
        if count[0] == 5:
            pad.unplug()
        return update(self)
    gamepad.Gamepad.read = read
sys.argv[0] = "mimicctl"
main()
"""


def in_a_process(script: str, folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environ}
    return subprocess.run([sys.executable, "-c", script, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)], ids=["Ctrl-C", "SIGTERM"])
def test_the_command_ends_when_it_is_told_to(tmp_path, number, code):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "teleop", "--device", "gamepad"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    said = ""
    while "saved 0" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    assert "Red Pad" in said
    time.sleep(0.3)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == code, said
    assert ("Stopped." in said) == (number == signal.SIGINT)


def test_a_recording_ends_with_what_it_has_when_the_pad_is_unplugged(tmp_path):
    with pytest.raises(subprocess.CalledProcessError) as caught:
        in_a_process(COMMAND, tmp_path, "record", "--device", "gamepad", "--step-hz", "0", "unplug")
    assert caught.value.returncode == 1
    assert "The gamepad is gone.\n  in  Red Pad\n  do  " in caught.value.stderr and "Traceback" not in caught.value.stderr
