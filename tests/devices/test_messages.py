"""Messages of one's own hardware, and the inbox that holds the latest, without any socket."""

from __future__ import annotations

import json

import pytest

from mimicctl.devices import Event, Reading
from mimicctl.devices import messages as module
from mimicctl.devices.messages import Inbox, listening_address, parse
from mimicctl.errors import UserError


def axes(*values: float) -> list[float]:
    return [*values, *[0.0] * (6 - len(values))]


@pytest.fixture
def take():
    """Put messages in, and read."""
    inbox = Inbox()

    def taken(*messages: dict) -> Reading:
        for message in messages:
            inbox.put(json.dumps(message))
        return inbox.read()

    return taken


def test_the_last_message_counts_and_late_or_doubled_ones_do_not(take):
    assert take({"axes": axes(0.1), "n": 5}, {"axes": axes(0.3), "n": 7}, {"axes": axes(0.2), "n": 6}).axes[0] == 0.3
    assert take({"axes": axes(0.4), "n": 7}).axes[0] == 0.4  # the same number again
    assert take({"axes": axes(0.5)}).axes[0] == 0.5


def test_a_sender_that_was_started_anew_is_heard(take):
    assert take({"axes": axes(0.1), "n": 50_000}, {"axes": axes(0.9), "n": 1}).axes[0] == 0.9


def test_resets_are_counted_from_what_the_first_message_says(take):
    assert take({"axes": axes(), "resets": 4}).events == ()
    assert take({"axes": axes(), "resets": 5}, {"axes": axes(), "resets": 5}).events == (Event.RESET,)
    assert take({"axes": axes(), "resets": 5}).events == ()
    assert take({"axes": axes(), "resets": 0}).events == ()


def test_silence_stops_the_arm_and_keeps_the_gripper(take, monkeypatch):
    take({"axes": axes(1), "gripper": -1})
    monkeypatch.setattr(module, "_STALE", 0.0)
    reading = take()
    assert not reading.axes.any() and reading.gripper == -1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff\xfe", "not JSON"),
        (b"[1,2,3,4,5,6]", "not an object"),
        (b"[" * 2000, "not JSON"),
        (b'{"axes": [0,0,0,0,0,0]' + b" " * 3000 + b"}", "longer than 2048 bytes"),
        (b'{"axes": [0,0,0,0,0]}', "six finite numbers"),
        (b'{"axes": [0,0,0,0,0,NaN]}', "six finite numbers"),
        (b'{"axes": [0,0,0,0,0,1e999]}', "six finite numbers"),
        (b'{"axes": [0,0,0,0,0,true]}', "six finite numbers"),
        (b'{"axes": [0,0,0,0,0,0], "gripper": 0.5}', "1 .open. or -1"),
        (b'{"axes": [0,0,0,0,0,0], "n": -1}', "n must be a whole number"),
        (b'{"axes": [0,0,0,0,0,0], "resets": 1.5}', "resets must be a whole number"),
        (b'{"axes": [0,0,0,0,0,0], "button": 1}', '"button", which means nothing'),
    ],
)
def test_messages_that_mean_nothing_are_refused_with_the_reason(data, why):
    with pytest.raises(ValueError, match=why):
        parse(data)


def test_what_is_no_message_is_told_of_until_one_comes_that_is():
    inbox = Inbox()
    inbox.put(b"hello")
    assert "not JSON" in inbox.read().note and inbox.read().at is None
    inbox.put('{"axes": [1, 0, 0, 0, 0, 0]}')
    assert not inbox.read().note and inbox.read().axes[0] == 1


def test_each_sender_counts_by_itself():
    inbox = Inbox()

    def put(sender: str, x: float, n: int, resets: int) -> Reading:
        inbox.put(json.dumps({"axes": axes(x), "n": n, "resets": resets}), sender)
        return inbox.read()

    for i in range(3):
        first, second = put("a", 0.1, 100 + i, 7), put("b", 0.2, 1 + i, 0)
        assert (first.axes[0], second.axes[0], first.events, second.events) == (0.1, 0.2, (), ())
    assert put("a", 0.3, 90, 7).axes[0] == 0.2  # late
    assert put("b", 0.4, 9, 1).events == (Event.RESET,)
    inbox.forget("a")
    reading = put("a", 0.5, 1, 9)
    assert reading.axes[0] == 0.5 and reading.events == ()


@pytest.mark.parametrize("address", ["8900", "localhost", "localhost:x", ":8900", "localhost:70000"])
def test_addresses_that_are_none_are_refused(address):
    with pytest.raises(UserError, match="no address to listen on"):
        listening_address(address, "record.udp_address")
