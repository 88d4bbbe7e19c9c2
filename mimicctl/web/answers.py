"""Requests and answers of the pages that look at files: work is done in a thread, so that nobody waits for somebody else's file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

from mimicctl.errors import UserError


async def answer(work: Callable[..., Any], *arguments: Any) -> web.Response:
    """What `work` returns: bytes as they are, anything else as JSON."""
    found = await asyncio.to_thread(work, *arguments)
    if isinstance(found, bytes):
        return web.Response(body=found, content_type="application/octet-stream")
    return web.json_response(found)


async def fields_of(request: web.Request, **kinds: type) -> list[Any]:
    """Fields of a JSON body, each of its kind.

    Raises:
        UserError: one is missing, or something else.
    """
    try:
        body = await request.json()
    except ValueError:
        body = None
    values = [body.get(name) if isinstance(body, dict) else None for name in kinds]
    for (name, kind), value in zip(kinds.items(), values, strict=True):
        if type(value) is not kind:
            raise UserError(f"The request should have {name}, {kind.__name__}.", do="reload the page")
    return values


def number_in(request: web.Request, name: str) -> int:
    """A number that is part of the path; routes let only digits through."""
    return int(request.match_info[name])
