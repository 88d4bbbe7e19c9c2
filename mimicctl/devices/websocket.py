"""Hardware of one's own over a WebSocket, for programs that have those more easily than UDP.

A web page anywhere can open a socket to this machine without asking its user; a browser says with `Origin` which page it is, and whatever says so is
refused. There is no password beside: whoever else reaches the port drives the robot.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from mimicctl.devices.base import Reading
from mimicctl.devices.messages import LARGEST, Inbox, address_text, cannot_listen, listening_address
from mimicctl.errors import RunFailed, UserError

if TYPE_CHECKING:
    from aiohttp import web

SETTING = "record.websocket_address"
_MOST_SOCKETS = 8
_HEARTBEAT = 10.0
"""[s] A sender whose network is gone says no goodbye; one that does not answer for so long gives up its place."""
_START_SECONDS = 20.0


class MessageServer:
    """Takes WebSockets in a thread of its own.

    Args:
        address: "host:port" to listen on.
        largest: [bytes] of a message; a socket that sends a longer one is closed.
        put: called with each message and the socket it came by, in that thread.
        ended: called when a socket has come to its end.
        refused: called with the reason when a socket was refused or closed for what it sent.
    """

    def __init__(
        self,
        address: str,
        largest: int,
        put: Callable[[str | bytes, Hashable], None],
        *,
        ended: Callable[[Hashable], None] = lambda socket: None,
        refused: Callable[[str], None] = lambda why: None,
    ) -> None:
        self._address, self._largest = listening_address(address, SETTING), largest
        self._put, self._ended, self._refused = put, ended, refused
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._sockets: set[web.WebSocketResponse] = set()
        self._found: tuple[str, int] | None = None

    def start(self) -> None:
        """
        Raises:
            UserError: aiohttp is missing, or the address cannot be had.
        """
        try:
            import aiohttp  # noqa: F401  to see that it is there
        except ImportError:
            what = "WebSockets need a package that is not installed: aiohttp."
            raise UserError(what, where="--device", do='pip install "mimicctl[teleop]"') from None
        listening: concurrent.futures.Future[tuple[str, int]] = concurrent.futures.Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listening)), name="websocket", daemon=True)
        self._thread.start()
        try:
            self._found = listening.result(_START_SECONDS)
        except OSError as error:
            self._thread = None
            raise cannot_listen(self._address, SETTING, error) from None

    def close(self) -> None:
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join()
            self._thread = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, the port that was found if 0 was asked for."""
        if self._thread is None:
            raise RunFailed("The device is not started.", where="--device")
        return self._found

    def url(self) -> str:
        return f"ws://{address_text(self._address if self._thread is None else self._found)}"

    async def _serve(self, listening: concurrent.futures.Future[tuple[str, int]]) -> None:
        from aiohttp import WSCloseCode, web

        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_get("/", self._accept)
        runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, *self._address).start()
        except BaseException as error:
            listening.set_exception(error)
        else:
            listening.set_result(runner.addresses[0][:2])
            await self._end.wait()
            await asyncio.gather(*(each.close(code=WSCloseCode.GOING_AWAY) for each in self._sockets if each.prepared))
        finally:
            await runner.cleanup()

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import WSCloseCode, WSMsgType, web

        if "Origin" in request.headers:
            self._refused(f"web pages may not drive the robot, and {request.headers['Origin']!r} tried.")
            raise web.HTTPForbidden(text="Web pages may not drive the robot.\n")
        if len(self._sockets) >= _MOST_SOCKETS:
            self._refused(f"there are {_MOST_SOCKETS} sockets already.")
            raise web.HTTPServiceUnavailable(text=f"There are {_MOST_SOCKETS} sockets already.\n")
        opened = web.WebSocketResponse(max_msg_size=self._largest + 1, heartbeat=_HEARTBEAT, compress=False)
        self._sockets.add(opened)
        try:
            await opened.prepare(request)
            async for message in opened:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._put(message.data, opened)
                elif getattr(message.data, "code", None) == WSCloseCode.MESSAGE_TOO_BIG:
                    self._refused(f"it is longer than {self._largest} bytes.")
        finally:
            self._sockets.discard(opened)
            self._ended(opened)
        return opened


class WebSocketSource:
    """Axes, as `UdpSource` takes them.

    Args:
        address: "host:port" to listen on; the host is 127.0.0.1 unless others are to be heard.
    """

    name = "websocket"

    def __init__(self, address: str) -> None:
        self._inbox = Inbox()
        self._server = MessageServer(address, LARGEST, self._inbox.put, ended=self._inbox.forget, refused=self._inbox.refuse)
        self.start, self.close = self._server.start, self._server.close

    @property
    def address(self) -> tuple[str, int]:
        return self._server.address

    def reset(self) -> None:
        self._inbox.forget_resets()

    def read(self) -> Reading:
        return self._inbox.read()

    def help(self) -> str:
        return (
            f'  {self._server.url()}: {{"axes": [x, y, z, roll, pitch, yaw], "gripper": 1 or -1, "resets": 0}}\n'
            "  A higher number of resets discards and starts again. Ctrl-C stops."
        )
