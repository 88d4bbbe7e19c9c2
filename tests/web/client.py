"""A browser that is none: real sockets, a cookie, and the Origin that our own pages have."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from http.cookiejar import CookieJar
from typing import Any

from aiohttp import web

from mimicctl.web.server import WebServer


class Client:
    """Came in by a link of `server`."""

    def __init__(self, server: WebServer) -> None:
        self.base, token = server.link().split("/#")
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar())).open
        self.post("/api/join", {"token": token})

    def get(self, path: str) -> Any:
        return json.loads(self.bytes(path))

    def bytes(self, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.base + path, data=body, headers={"Origin": self.base, "Content-Type": "application/json"})
        with self._open(request, timeout=60) as response:
            return response.read()

    def post(self, path: str, body: Any = None) -> Any:
        return json.loads(self.bytes(path, json.dumps({} if body is None else body).encode()))

    def refused(self, path: str, body: Any = None) -> dict[str, Any]:
        """What the server says to a request that it refuses, and `status`."""
        try:
            self.bytes(path, None if body is None else json.dumps(body).encode())
        except urllib.error.HTTPError as error:
            answer = error.read()
            return {"status": error.code, **(json.loads(answer) if answer.startswith(b"{") else {})}
        raise AssertionError(f"{path} was not refused")

    def images(self, path: str) -> list[bytes]:
        """JPEGs that each come after their length."""
        data, found = self.bytes(path), []
        while data:
            (size,) = struct.unpack_from("<I", data)
            found.append(data[4 : 4 + size])
            data = data[4 + size :]
        return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def served(routes: Sequence[web.RouteDef], pages: Mapping[str, str]) -> Iterator[WebServer]:
    with WebServer(routes, pages, port=free_port()) as server:
        yield server
