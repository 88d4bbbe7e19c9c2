"""Hardware of one's own over UDP, by real sockets."""

from __future__ import annotations

import json
import socket
import time

import numpy as np
import pytest

from mimicctl.devices import Event, OperatorView
from mimicctl.devices import udp as module
from mimicctl.devices.driving import Driven, shaping
from mimicctl.devices.udp import UdpSource, parse
from mimicctl.errors import UserError


@pytest.fixture
def source():
    made = UdpSource("127.0.0.1:0")
    made.start()
    yield made
    made.close()


def axes(*values: float) -> list[float]:
    return [*values, *[0.0] * (6 - len(values))]


@pytest.fixture
def take():
    """Messages without a socket: what the thread does with them."""
    made = UdpSource("127.0.0.1:0")

    def taken(*messages: dict) -> module.Reading:
        for message in messages:
            made._take(parse(json.dumps(message).encode()))
        return made.read()

    return taken


def test_what_is_sent_moves_the_arm(source):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(json.dumps({"axes": axes(0.5, -3), "gripper": -1}).encode(), source.address)
    end = time.monotonic() + 20
    while source.read().at is None and time.monotonic() < end:
        time.sleep(0.01)
    command = Driven(source, shaping((0.1, 0.1))).command(OperatorView(np.eye(4)))
    np.testing.assert_allclose(command.delta, [0.05, -0.1, 0, 0, 0, 0])
    assert command.gripper == -1


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


def test_a_wrong_message_is_told_of_and_the_next_right_one_obeyed(source):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for data, known in ((b"hello", lambda: "not JSON" in source.read().note), (b'{"axes": [1,0,0,0,0,0]}', lambda: source.read().axes.any())):
            end = time.monotonic() + 20
            sender.sendto(data, source.address)
            while not known():
                assert time.monotonic() < end
                time.sleep(0.01)
    assert not source.read().note


def test_its_thread_ends_and_the_port_is_free_again(source):
    _, port = source.address
    source.close()
    again = UdpSource(f"127.0.0.1:{port}")
    again.start()
    other = UdpSource(f"127.0.0.1:{port}")
    with pytest.raises(UserError, match="Cannot listen"):
        other.start()
    again.close()


@pytest.mark.parametrize("address", ["8900", "localhost", "localhost:x", ":8900", "localhost:70000"])
def test_addresses_that_are_none_are_refused(address):
    with pytest.raises(UserError, match="no address to listen on"):
        UdpSource(address)
