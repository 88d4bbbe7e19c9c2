"""The server of the web app: files of the package, the routes it is given, and who may use them. Runs in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from mimicctl.errors import RunFailed, UserError
from mimicctl.web.access import SESSION_SECONDS, Access, state_folder, stored_secret
from mimicctl.web.certificates import lan_addresses, server_context

DEFAULT_PORT = 8765

_STATIC = Path(__file__).parent / "static"
_LOOPBACK = ("127.0.0.1", "localhost")
_MOST_CONNECTIONS = 128
_PATIENCE = 10.0
"""[s] A connection that has asked for nothing by then is closed."""
_LARGEST_BODY = 256 * 1024

_HEADERS = {
    # Nothing is loaded from anywhere else, and no other page may show ours in a frame.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class WebServer:
    """Serves on loopback, or with `lan` on every network of this machine, by HTTPS. A context manager.

    Args:
        routes: beside the package's own files. Their paths begin with /api/, and nobody gets there without a cookie of ours.
        pages: file name and title of those that there is something to show on, in the order of the navigation; the first is the front page.
        on_join: called with the address of a browser that came in by a link, from the server's thread.

    Raises:
        UserError: the port is taken, or there is no network.
    """

    def __init__(
        self,
        routes: Sequence[web.RouteDef],
        pages: Mapping[str, str],
        *,
        port: int = DEFAULT_PORT,
        lan: bool = False,
        on_join: Callable[[str], None] = lambda address: None,
    ) -> None:
        folder = state_folder()
        outside = lan_addresses() if lan else []
        if lan and not outside:
            raise UserError("This machine has no network that others could come by.", where="--lan", do="connect it, or leave --lan out")
        hosts = (*outside, *_LOOPBACK)
        self.access = Access(hosts, port, secure=lan, secret=stored_secret(folder))
        self._ssl = server_context(hosts, folder) if lan else None
        self._bind, self._host, self._port = ("0.0.0.0" if lan else _LOOPBACK[0]), hosts[0], port
        self._routes, self._pages, self._on_join = routes, dict(pages), on_join
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._busy: set[int] = set()  # connections that have asked for something
        self._ready: threading.Event = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="web", daemon=True)

    def __enter__(self) -> WebServer:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            what = f"Port {self._port} cannot be served on: {self._failure.strerror}."
            raise UserError(what, where="--port", do="end what uses it, or choose another port")
        return self

    def __exit__(self, *exception: object) -> None:
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=10)

    def link(self) -> str:
        """An address that lets one browser in, once."""
        return f"{'https' if self.access.secure else 'http'}://{self._host}:{self._port}/#{self.access.new_token()}"

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(middlewares=[_answer_errors, self._guard], client_max_size=_LARGEST_BODY)
        app.on_response_prepare.append(_add_headers)
        app.add_routes(
            [web.post("/api/join", self._join), web.get("/api/pages", self._list_pages), web.get("/", self._front), *self._routes, web.static("/", _STATIC)]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        server = None
        try:
            server = await self._loop.create_server(_bounded(runner.server), self._bind, self._port, ssl=self._ssl)
            self._ready.set()
            await self._until_stopped(runner.server)
        except OSError as error:
            self._failure = error
        finally:
            self._ready.set()
            if server is not None:
                server.close()
            await runner.cleanup()

    async def _until_stopped(self, server: web.Server) -> None:
        """Meanwhile close connections that say nothing."""
        silent: set[int] = set()
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _PATIENCE)
            there = {id(connection): connection for connection in server.connections}
            self._busy &= set(there)
            for number in silent & set(there) - self._busy:
                there[number].force_close()
            silent = set(there) - self._busy

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        self._busy.add(id(request.protocol))
        access = self.access
        if request.host not in access.hosts:
            return _refusal(403, f"This server is not called {request.host}.", "open the link that mimicctl printed")
        if not request.path.startswith("/api/"):
            return await handler(request)
        upgrading = request.headers.get("Upgrade", "").lower() == "websocket"
        if (request.method != "GET" or upgrading) and request.headers.get("Origin") not in access.origins:
            return _refusal(403, "That came from a page that is not ours.", "open the link that mimicctl printed")
        if request.path != "/api/join" and not access.admits(request.cookies.get(access.cookie, "")):
            return _refusal(401, "This browser was not let in.", "open the link that mimicctl printed; each link lets in one browser")
        return await handler(request)

    async def _front(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(_STATIC / next(iter(self._pages)))

    async def _list_pages(self, request: web.Request) -> web.Response:
        return web.json_response([{"href": f"/{name}", "title": title} for name, title in self._pages.items()])

    async def _join(self, request: web.Request) -> web.Response:
        try:
            token = (await request.json())["token"]
        except (ValueError, TypeError, KeyError):
            token = None
        cookie = self.access.redeem(token) if isinstance(token, str) else None
        if cookie is None:
            return _refusal(403, "This link has been used, or is of an earlier start.", "open the newest link that mimicctl printed; each lets in one browser")
        response = web.json_response({})
        response.set_cookie(self.access.cookie, cookie, max_age=SESSION_SECONDS, httponly=True, samesite="Strict", secure=self.access.secure, path="/")
        self._on_join(request.remote or "")
        return response


@web.middleware
async def _answer_errors(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """Our own errors say what, where and what to do; the page shows it."""
    try:
        return await handler(request)
    except UserError as error:
        return _refusal(500 if isinstance(error, RunFailed) else 400, error.what, error.do, error.where)


def _refusal(status: int, what: str, do: str, where: str = "") -> web.Response:
    return web.json_response({"error": what, "where": where, "do": do}, status=status)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


def _bounded(server: web.Server) -> Callable[[], asyncio.Protocol]:
    """Makes the protocol of a new connection, or, beyond so many of them, one that hangs up."""

    def make() -> asyncio.Protocol:
        return server() if len(server.connections) < _MOST_CONNECTIONS else _Full()

    return make


class _Full(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.abort()
