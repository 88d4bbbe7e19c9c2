"""What pages say, and the commands that come of it, without any socket."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mimicctl.config import RecordSettings
from mimicctl.devices import Event, OperatorView
from mimicctl.errors import UserError
from mimicctl.tasks import DEFAULT_TASK, find_task
from mimicctl.web import inputs as module
from mimicctl.web.inputs import Inputs, Message, parse
from mimicctl.web.page_device import PageButtons, PageDevice

VIEW = OperatorView(np.eye(4))
DRIVE = "MuJoCo-Drive-Tiago-v0"


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(module, "time", Clock())
    return module.time


def device(task: str = DEFAULT_TASK, **settings) -> PageDevice:
    """Driven by page "a", which is there and has done nothing yet."""
    made = PageDevice(find_task(task), RecordSettings(**settings))
    made.inputs.feed(said(0))
    return made


def said(n: int, page: str = "a", **more) -> Message:
    return parse(json.dumps({"page": page, "n": n, **more}))


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("", "JSON"),
        ("[]", "object"),
        ("{}", "page"),
        ('{"page": "a"}', "n"),
        ('{"page": "a", "n": -1}', "n"),
        ('{"page": "a", "n": "1"}', "n"),
        ('{"page": "a", "n": 1, "fly": true}', "fly"),
        ('{"page": "", "n": 1}', "page"),
        ('{"page": "a", "n": 1, "keys": "w"}', "keys"),
        ('{"page": "a", "n": 1, "keys": ["' + "w" * 100 + '"]}', "keys"),
        ('{"page": "a", "n": 1, "pad": {"axes": [NaN], "buttons": []}}', "axes"),
        ('{"page": "a", "n": 1, "pad": {"axes": [1e30], "buttons": []}}', "axes"),
        ('{"page": "a", "n": 1, "hands": {"middle": null}}', "hands"),
        ('{"page": "a", "n": 1, "hands": {"left": {"position": [0, 0], "orientation": [0, 0, 0, 1]}}}', "hands"),
        ('{"page": "a", "n": 1, "presses": {"key:r": 1e99}}', "presses"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_what_means_nothing_is_refused_with_the_place(text, about):
    with pytest.raises(ValueError, match=about):
        parse(text)


def test_keys_move_as_long_as_they_are_said_to_be_down(clock):
    made = device()
    made.inputs.feed(said(1, keys=["w", "q"]))
    np.testing.assert_allclose(made.command(VIEW).delta, [0.05, 0, 0.05, 0, 0, 0])
    clock.now += 0.4
    assert made.command(VIEW).delta.any()
    clock.now += 0.2
    assert not made.command(VIEW).delta.any()
    made.inputs.feed(said(2, keys=[]))
    assert not made.command(VIEW).delta.any()


def test_a_tap_between_two_steps_counts():
    made = device()
    made.inputs.feed(said(1, keys=["w"], presses={"key:w": 1}))
    made.inputs.feed(said(2, keys=[], presses={"key:w": 2}))
    assert made.command(VIEW).delta[0] == 0.05
    assert not made.command(VIEW).delta.any()


def test_late_messages_change_nothing():
    made = device()
    made.inputs.feed(said(5, keys=["w"]))
    made.inputs.feed(said(4, keys=["s"]))
    assert made.command(VIEW).delta[0] > 0


def test_a_press_is_said_once_however_often_the_message_comes():
    made = device()
    made.inputs.feed(said(1, presses={"key:k": 1, "key:r": 1, "ui:save": 1}))
    first = made.command(VIEW)
    assert first.gripper == -1 and set(first.events) == {Event.RESET, Event.SAVE}
    made.inputs.feed(said(2, presses={"key:k": 1, "key:r": 1, "ui:save": 1}))
    again = made.command(VIEW)
    assert again.gripper == -1 and not again.events
    made.inputs.feed(said(3, presses={"key:k": 2, "key:r": 1, "ui:save": 1}))
    assert made.command(VIEW).gripper == 1


def test_keys_and_pad_share_a_gripper_and_add_up():
    made = device()
    pad = {"axes": [0, -1, 0, 0], "buttons": []}
    made.inputs.feed(said(1, keys=["a"], presses={"key:k": 1}, pad=pad))
    command = made.command(VIEW)
    np.testing.assert_allclose(command.delta, [0.1, 0.05, 0, 0, 0, 0])
    assert command.gripper == -1
    made.inputs.feed(said(2, presses={"key:k": 1, "pad:2": 1}, pad=pad))
    assert made.command(VIEW).gripper == 1


def test_a_new_episode_forgets_presses_and_opens():
    made = device()
    made.inputs.feed(said(1, presses={"key:k": 1}))
    made.command(VIEW)
    made.inputs.feed(said(2, presses={"key:k": 1, "key:r": 1}))
    made.reset()
    command = made.command(VIEW)
    assert command.gripper == 1 and not command.events


def test_the_first_page_drives_until_another_claims_it():
    inputs = Inputs()
    inputs.feed(said(1, "a", keys=["w"]))
    inputs.feed(said(1, "b", keys=["s"], presses={"key:r": 3}))
    assert inputs.sample().message.keys == ["w"]
    inputs.feed(said(2, "b", keys=["s"], presses={"key:r": 3}, claims=1))
    taken = inputs.sample()
    # What it pressed before is not done now.
    assert inputs.driver == "b" and taken.message.keys == ["s"] and not taken.presses
    inputs.leave("b")
    inputs.feed(said(2, "a", keys=["w"]))
    assert inputs.driver == "a"


def test_pages_that_come_and_go_do_not_add_up():
    inputs = Inputs()
    for number in range(1000):
        inputs.feed(said(1, f"page {number}"))
        inputs.leave(f"page {number}")
    assert len(inputs._latest) <= 32


def test_the_line_is_described_for_the_lineage():
    made = device()
    made.reset()
    for n in range(1, 101):
        made.inputs.feed(said(n, loop_ms=float(n), skipped=n // 10))
        made.command(VIEW)
    facts = made.facts()
    assert facts["messages"] == 100 and facts["skipped_messages"] == 10
    assert facts["loop_ms"] == {"median": 50.5, "p99": pytest.approx(99.01)} and "hands" not in facts
    assert made.facts()["messages"] == 0


def test_of_two_arms_each_follows_its_hand_and_keys_move_none():
    made = device("MuJoCo-Lift-Tray-Dual-Franka-IK-Abs-v0", hand_smoothing=0.0, hand_dead_bands=[0.0, 0.0])
    view = OperatorView(np.eye(4), others={"right": OperatorView(np.eye(4))})
    made.inputs.feed(said(1, keys=["w"]))
    command = made.command(view)
    assert not command.delta.any() and not command.others["right"].delta.any()
    for n in (2, 3):
        still, moving = ({"position": [0, 1, z], "orientation": [0, 0, 0, 1], "buttons": [0, 1, 0, 0, 0, 0]} for z in (0.0, -0.02 * (n - 2)))
        made.inputs.feed(said(n, hands={"left": still, "right": moving}))
        command = made.command(view)
    assert not command.delta.any() and command.others["right"].delta[0] > 0
    assert made.facts()["hands"]["hand"] == "both"


def test_hands_drive_and_are_described():
    made = device(hand_clutch="always", hand_smoothing=0.0)
    controller = {"orientation": [0, 0, 0, 1], "buttons": [1, 0], "axes": []}
    for n in range(1, 4):
        made.inputs.feed(said(n, hands={"right": {"position": [0, 1, -0.1 * n], **controller}}))
        command = made.command(VIEW)
    assert command.delta[0] > 0 and command.gripper == -1
    assert made.facts()["hands"]["samples"] == 3
    # Out of VR the hand that was there moves nothing any more.
    made.inputs.feed(said(9))
    made.reset()
    assert not made.command(VIEW).delta.any()


def test_a_base_is_driven_by_arrows_and_sticks_and_has_no_gripper():
    made = device(DRIVE)
    made.inputs.feed(said(1, keys=["up", "z"], presses={"key:k": 1}))
    command = made.command(VIEW)
    np.testing.assert_allclose(command.delta, [0.8, 0, 0, 0, 0, 1.0])
    assert command.gripper == 1
    made.inputs.feed(said(2, pad={"axes": [0, -1, 0, 0], "buttons": []}))
    np.testing.assert_allclose(made.command(VIEW).delta, [1, 0, 0, 0, 0, 0])


def test_settings_of_keys_hold_in_the_browser_too():
    made = device(keys={"x+": "i"}, invert=["x"], sensitivity=2.0)
    made.inputs.feed(said(1, keys=["i"]))
    np.testing.assert_allclose(made.command(VIEW).delta[0], -0.1)
    with pytest.raises(UserError, match="keys"):
        device(keys={"x+": "a"})


def test_a_device_that_drives_by_itself_heeds_the_pages_buttons_alone():
    class Still:
        name, human = "still", False

        def reset(self):
            pass

        def command(self, view):
            return type(device().command(VIEW))(np.zeros(6), 1.0)

    made = PageButtons(Still())
    made.inputs.feed(said(0))
    made.inputs.feed(said(1, keys=["w"], presses={"ui:reset": 1, "key:r": 1}))
    command = made.command(VIEW)
    assert not command.delta.any() and command.events == (Event.RESET,) and not made.human
