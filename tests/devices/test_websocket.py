"""Hardware of one's own over WebSockets, by real sockets."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable

import aiohttp
import numpy as np
import pytest

from mimicctl.config import RecordSettings
from mimicctl.devices import OperatorView, make_device
from mimicctl.devices.driving import Driven, shaping
from mimicctl.devices.websocket import _MOST_SOCKETS, WebSocketSource
from mimicctl.errors import UserError
from mimicctl.tasks import DEFAULT_TASK, find_task
from tests.devices import webxr


@pytest.fixture
def source():
    made = WebSocketSource("127.0.0.1:0")
    made.start()
    yield made
    made.close()


@pytest.fixture
def connect(source):
    """Sockets to the source, which are closed in the end."""
    with Sockets(source.help().split()[0].rstrip(":")) as sockets:
        yield sockets.open


class Sockets:
    """Clients in a loop of their own, used from a test as if there were none."""

    def __init__(self, url: str) -> None:
        self._url, self._loop = url, asyncio.new_event_loop()
        self._session: aiohttp.ClientSession | None = None

    def __enter__(self) -> Sockets:
        async def session() -> aiohttp.ClientSession:
            return aiohttp.ClientSession()

        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._session = self.wait(session())
        return self

    def __exit__(self, *exception: object) -> None:
        self.wait(self._session.close())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def open(self, **options: object) -> Socket:
        return Socket(self, self.wait(self._session.ws_connect(self._url, **options)))


class Socket:
    def __init__(self, sockets: Sockets, opened: aiohttp.ClientWebSocketResponse) -> None:
        self._sockets, self._opened = sockets, opened

    def say(self, message: dict | str) -> None:
        self._sockets.wait(self._opened.send_str(message if isinstance(message, str) else json.dumps(message)))

    def close(self) -> None:
        self._sockets.wait(self._opened.close())

    def is_ended(self) -> bool:
        """By the other side. With which code is up to how fast both are."""
        self._sockets.wait(self._opened.receive())
        return self._opened.closed


def until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not so():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_what_is_sent_moves_the_arm(source, connect):
    connect().say({"axes": [0.5, -3, 0, 0, 0, 0], "gripper": -1})
    until(lambda: source.read().at is not None)
    command = Driven(source, shaping((0.1, 0.1))).command(OperatorView(np.eye(4)))
    np.testing.assert_allclose(command.delta, [0.05, -0.1, 0, 0, 0, 0])
    assert command.gripper == -1


def test_the_last_message_counts_whichever_socket_it_came_by(source, connect):
    first, second = connect(), connect()
    for socket, value in ((first, 0.1), (second, 0.2), (first, 0.3)):
        socket.say({"axes": [value, 0, 0, 0, 0, 0]})
        until(lambda value=value: source.read().axes[0] == value)


@pytest.mark.parametrize(("said", "why"), [("hello", "not JSON"), ('{"axes": [1]}', "six finite numbers"), ("[]", "not an object")])
def test_a_wrong_message_is_told_of_and_the_next_right_one_obeyed(source, connect, said, why):
    socket = connect()
    socket.say(said)
    until(lambda: why in source.read().note)
    socket.say({"axes": [1, 0, 0, 0, 0, 0]})
    until(lambda: source.read().axes.any())
    assert not source.read().note


def test_a_message_that_is_too_long_ends_its_socket_and_no_other(source, connect):
    other, socket = connect(), connect()
    socket.say(json.dumps({"axes": [1, 0, 0, 0, 0, 0]}) + " " * 100_000)
    assert socket.is_ended()
    until(lambda: "longer than 2048 bytes" in source.read().note)
    assert not source.read().axes.any()
    other.say({"axes": [1, 0, 0, 0, 0, 0]})
    until(lambda: source.read().axes.any())


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:8901"])
def test_web_pages_are_refused(source, connect, origin):
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        connect(origin=origin)
    assert caught.value.status == 403
    assert "web pages may not drive" in source.read().note


def test_a_sender_that_comes_back_is_heard_from_its_first_message(source, connect):
    first = connect()
    first.say({"axes": [0.1, 0, 0, 0, 0, 0], "n": 50, "resets": 2})
    until(lambda: source.read().axes.any())
    first.close()
    connect().say({"axes": [0.2, 0, 0, 0, 0, 0], "n": 1, "resets": 9})
    until(lambda: source.read().axes[0] == 0.2)
    assert source.read().events == ()


def test_there_are_so_many_sockets_and_no_more_and_a_closed_one_gives_up_its_place(source, connect):
    opened = [connect() for _ in range(_MOST_SOCKETS)]
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        connect()
    assert caught.value.status == 503
    opened[0].close()

    def again() -> bool:
        try:
            connect()
        except aiohttp.WSServerHandshakeError:
            return False
        return True

    until(again)


def test_closing_ends_open_sockets_the_thread_and_frees_the_port(source, connect):
    socket, (_, port) = connect(), source.address
    source.close()
    assert socket.is_ended()
    assert "websocket" not in {thread.name for thread in threading.enumerate()}
    again, other = WebSocketSource(f"127.0.0.1:{port}"), WebSocketSource(f"127.0.0.1:{port}")
    again.start()
    with pytest.raises(UserError, match="Cannot listen on 127.0.0.1"):
        other.start()
    again.close()
    other.close()


def test_hands_come_by_the_same_way():
    device = make_device(find_task(DEFAULT_TASK), RecordSettings(device="hands", hand_clutch="always", websocket_address="127.0.0.1:0"), 1)
    view = OperatorView(np.eye(4))
    device.start()
    try:
        with Sockets(device.help().split()[2]) as sockets:
            socket = sockets.open()
            socket.say({"right": webxr.hand(), "left": webxr.hand(side="left")})
            until(lambda: not device.command(view).delta.any() and device.state == "following")
            socket.say({"right": webxr.hand((0, 0.1, 0), touching="index")})
            until(lambda: device.command(view).delta[2] > 0)
            assert device.command(view).gripper == -1
            socket.say({"right": {"position": [0, 0, 0]}})
            until(lambda: device.command(view) and "right.orientation must be 4 numbers" in device.state)
    finally:
        device.close()


def test_the_address_is_looked_at_before_anything_is_started(mimicctl):
    done = mimicctl("teleop", "--device", "hands", "-o", "record.websocket_address=localhost")
    assert done.returncode == 2 and "no address to listen on" in done.stderr and "record.websocket_address" in done.stderr
