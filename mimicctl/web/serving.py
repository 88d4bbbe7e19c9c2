"""Opening the web app beside a command: where it is, and who came in."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import segno
from aiohttp import web

from mimicctl.web.server import WebServer


@contextmanager
def serving(routes: Sequence[web.RouteDef], pages: Mapping[str, str], *, port: int, lan: bool, say: Callable[[str], None]) -> Iterator[WebServer]:
    """Serve while the block runs, and say by which links browsers come in: one at the start, another whenever one was used.

    Args:
        say: prints text for the user; called from other threads too.
    """

    def joined(address: str) -> None:
        say(f"A browser came in from {address}. For another one: {server.link()}")

    server = WebServer(routes, pages, port=port, lan=lan, on_join=joined)
    with server:
        say(_invitation(server, lan))
        yield server


def _invitation(server: WebServer, lan: bool) -> str:
    link = server.link()
    lines = [f"Open {link}", "The link lets in one browser."]
    if lan:
        lines.append("The certificate is made by this machine, so browsers warn: choose to go on. Their secure connection is what headsets ask for.")
        picture = io.StringIO()
        segno.make(link, error="l").terminal(picture, compact=True, border=2)
        lines.append(picture.getvalue())
    return "\n".join(lines)
