"""Hardware of one's own over UDP, by real sockets."""

from __future__ import annotations

import json
import socket
import time

import numpy as np
import pytest

from mimicctl.devices import OperatorView
from mimicctl.devices.driving import Driven, shaping
from mimicctl.devices.udp import UdpSource
from mimicctl.errors import UserError


@pytest.fixture
def source():
    made = UdpSource("127.0.0.1:0")
    made.start()
    yield made
    made.close()


def test_what_is_sent_moves_the_arm(source):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(json.dumps({"axes": [0.5, -3, 0, 0, 0, 0], "gripper": -1}).encode(), source.address)
    end = time.monotonic() + 20
    while source.read().at is None and time.monotonic() < end:
        time.sleep(0.01)
    command = Driven(source, shaping((0.1, 0.1))).command(OperatorView(np.eye(4)))
    np.testing.assert_allclose(command.delta, [0.05, -0.1, 0, 0, 0, 0])
    assert command.gripper == -1


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
