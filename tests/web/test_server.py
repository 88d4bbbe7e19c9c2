"""Who is let in: real sockets against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp import web

from mimicctl.errors import UserError
from mimicctl.web import access as access_module
from mimicctl.web import server as server_module
from mimicctl.web.access import Access, stored_secret
from mimicctl.web.server import WebServer
from tests.web.client import free_port


async def _answer(request: web.Request) -> web.Response:
    return web.json_response({"said": await request.json() if request.can_read_body else None})


async def _echo(request: web.Request) -> web.WebSocketResponse:
    opened = web.WebSocketResponse(max_msg_size=1000)
    await opened.prepare(request)
    async for message in opened:
        await opened.send_str(message.data)
    return opened


ROUTES = [web.get("/api/thing", _answer), web.post("/api/thing", _answer), web.get("/api/socket", _echo)]


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer(ROUTES, {"teleop.html": "Drive"}, port=free_port()) as started:
        yield started


def origin_of(server: WebServer) -> str:
    return server.link().split("/#")[0]


def token_of(server: WebServer) -> str:
    return server.link().split("#")[1]


def visit(server: WebServer, work):
    """What `work` gives, a coroutine function of a client session that keeps cookies."""

    async def run():
        async with aiohttp.ClientSession(origin_of(server), cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            return await work(session)

    return asyncio.run(run())


async def join(session: aiohttp.ClientSession, server: WebServer, token: str | None = None) -> int:
    async with session.post("/api/join", json={"token": token or token_of(server)}, headers={"Origin": origin_of(server)}) as answer:
        return answer.status


def test_a_link_lets_in_one_browser(server):
    token = token_of(server)

    async def first(session):
        assert await join(session, server, token) == 200
        async with session.get("/api/thing") as answer:
            return answer.status

    async def second(session):
        return await join(session, server, token), (await session.get("/api/thing")).status

    assert visit(server, first) == 200
    assert visit(server, second) == (403, 401)


@pytest.mark.parametrize("token", ["", "nonsense", "ü", 7, None, ["a"]])
def test_what_is_no_token_lets_nobody_in(server, token):
    async def work(session):
        async with session.post("/api/join", json={"token": token}, headers={"Origin": origin_of(server)}) as answer:
            return answer.status, await answer.json(), session.cookie_jar.filter_cookies(origin_of(server))

    status, told, cookies = visit(server, work)
    assert status == 403 and "newest link" in told["do"] and not cookies


def test_without_a_cookie_there_are_files_and_nothing_else(server):
    async def work(session):
        return [(await session.get(path)).status for path in ("/", "/teleop.js", "/vendor/three.min.js", "/api/thing", "/api/pages", "/api/socket")]

    assert visit(server, work)[:3] == [200, 200, 200]
    assert visit(server, work)[3:] == [401, 401, 401]


def test_nothing_outside_of_the_package_is_served(server):
    async def work(session):
        paths = ["/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "/vendor/../../server.py", "//etc/passwd", "/vendor/"]
        return [(await session.get(aiohttp.client.URL(origin_of(server) + path, encoded=True))).status for path in paths]

    assert set(visit(server, work)) <= {403, 404}


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://127.0.0.1", "https://127.0.0.1:{port}", "http://127.0.0.1:{port}.evil.example"]
)
def test_a_page_of_somebody_else_changes_nothing(server, origin):
    headers = {"Origin": origin.format(port=server.access.cookie.split("_")[1])} if origin else {}

    async def work(session):
        assert await join(session, server) == 200
        posted = (await session.post("/api/thing", json={}, headers=headers)).status
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect("/api/socket", headers=headers)
        return posted, refused.value.status

    assert visit(server, work) == (403, 403)


def test_our_own_page_may(server):
    async def work(session):
        await join(session, server)
        headers = {"Origin": origin_of(server)}
        async with session.post("/api/thing", json={"a": 1}, headers=headers) as answer:
            assert await answer.json() == {"said": {"a": 1}}
        async with session.ws_connect("/api/socket", headers=headers) as opened:
            await opened.send_str("hello")
            return (await opened.receive()).data

    assert visit(server, work) == "hello"


def test_a_name_that_resolves_to_us_is_not_ours(server):
    async def work(session):
        await join(session, server)
        return [(await session.get("/api/thing", headers={"Host": host})).status for host in ("evil.example", "127.0.0.1:1", "localhost")]

    assert visit(server, work) == [403, 403, 403]


def test_a_cookie_lasts_over_a_restart_and_no_longer_than_half_a_day(server, monkeypatch):
    cookie = server.access.redeem(token_of(server))
    port = int(server.access.cookie.split("_")[1])
    secret = stored_secret(access_module.state_folder())
    again, elsewhere = (Access(["127.0.0.1"], each, secure=False, secret=secret) for each in (port, port + 1))
    assert again.admits(cookie)
    # Cookies do not know ports, so the name has to.
    assert not elsewhere.admits(cookie)
    assert not Access(["127.0.0.1"], port, secure=False, secret=b"other" * 7).admits(cookie)
    now = time.time()
    monkeypatch.setattr(access_module.time, "time", lambda: now + access_module.SESSION_SECONDS + 1)
    assert not again.admits(cookie)


@pytest.mark.parametrize(
    "change", [lambda c: "9" + c[1:], lambda c: c[:-1], lambda c: c + "0", lambda c: "", lambda c: "x.y.z", lambda c: "٣" + c[1:], lambda c: c.replace(".", "")]
)
def test_a_cookie_that_was_changed_is_worth_nothing(server, change):
    cookie = server.access.redeem(token_of(server))
    assert server.access.admits(cookie) and not server.access.admits(change(cookie))


def test_links_that_nobody_uses_do_not_add_up(server):
    first = token_of(server)
    for _ in range(100):
        server.access.new_token()
    assert server.access.redeem(first) is None


def test_the_secret_is_the_users_own(tmp_path):
    secret = stored_secret(tmp_path / "s")
    assert stored_secret(tmp_path / "s") == secret and (tmp_path / "s" / "web-secret").stat().st_mode & 0o777 == 0o600
    (tmp_path / "s" / "web-secret").write_bytes(b"short")
    assert len(stored_secret(tmp_path / "s")) == 32
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="secret"):
        stored_secret(tmp_path / "file")


def test_too_large_a_body_or_message_is_refused_and_the_server_lives(server):
    async def work(session):
        await join(session, server)
        headers = {"Origin": origin_of(server)}
        status = (await session.post("/api/thing", data=b"[" + b"1," * 400_000 + b"1]", headers=headers)).status
        async with session.ws_connect("/api/socket", headers=headers) as opened:
            await opened.send_str("x" * 100_000)
            closed = (await opened.receive()).type
        return status, closed, (await session.get("/api/thing")).status

    assert visit(server, work) == (413, aiohttp.WSMsgType.CLOSE, 200)


def test_two_hundred_idle_sockets_keep_nobody_out(server, monkeypatch):
    port = int(server.access.cookie.split("_")[1])
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            opened = stack.enter_context(socket.socket())
            opened.settimeout(5)
            with contextlib.suppress(OSError):
                opened.connect(("127.0.0.1", port))

        async def work(session):
            return await join(session, server)

        until = time.monotonic() + 60
        while True:
            # The door is full of people who say nothing; they are sent away after a while.
            with contextlib.suppress(aiohttp.ClientError):
                assert visit(server, work) == 200
                break
            assert time.monotonic() < until
            time.sleep(0.5)


def test_a_port_that_is_taken_is_one_clear_error(server):
    port = int(server.access.cookie.split("_")[1])
    with pytest.raises(UserError, match=str(port)), WebServer(ROUTES, {"teleop.html": "Drive"}, port=port):
        pass


def test_nobody_else_on_the_network_is_served_unless_asked_for(server, monkeypatch):
    asked = []
    real = asyncio.BaseEventLoop.create_server
    monkeypatch.setattr(
        asyncio.BaseEventLoop, "create_server", lambda loop, factory, host, port, **other: asked.append(host) or real(loop, factory, host, port, **other)
    )
    with WebServer(ROUTES, {"teleop.html": "Drive"}, port=free_port()):
        pass
    monkeypatch.setattr(server_module, "lan_addresses", lambda: ["192.0.2.7"])
    with WebServer(ROUTES, {"teleop.html": "Drive"}, port=free_port(), lan=True) as on_lan:
        assert on_lan.link().startswith("https://192.0.2.7:")
    assert asked == ["127.0.0.1", "0.0.0.0"]
    monkeypatch.setattr(server_module, "lan_addresses", lambda: [])
    with pytest.raises(UserError, match="no network"):
        WebServer(ROUTES, {"teleop.html": "Drive"}, port=free_port(), lan=True)


def test_on_a_network_it_is_https_with_a_certificate_that_stays_the_same(monkeypatch, tmp_path):
    monkeypatch.setattr(server_module, "lan_addresses", lambda: ["127.0.0.1"])
    certificate = tmp_path / "state" / "mimicctl" / "web-certificate.pem"

    async def work(session):
        async with session.get("/teleop.js", ssl=False) as answer:
            told = answer.headers
        async with session.post("/api/join", json={"token": token_of(server)}, headers={"Origin": origin_of(server)}, ssl=False) as answer:
            return told, answer.headers["Set-Cookie"], answer.status

    found = []
    for _ in range(2):
        with WebServer(ROUTES, {"teleop.html": "Drive"}, port=free_port(), lan=True) as server:
            told, cookie, status = visit(server, work)
        found.append(certificate.read_bytes())
        assert status == 200 and "Secure" in cookie and "HttpOnly" in cookie and "SameSite=Strict" in cookie
        assert "default-src 'self'" in told["Content-Security-Policy"] and told["X-Content-Type-Options"] == "nosniff"
    assert found[0] == found[1] and certificate.stat().st_mode & 0o777 == 0o600


def test_errors_of_ours_reach_the_page(tmp_path):
    async def fail(request):
        raise UserError("It is broken.", where="there", do="mend it")

    with WebServer([web.get("/api/fail", fail)], {"teleop.html": "Drive"}, port=free_port()) as server:

        async def work(session):
            await join(session, server)
            async with session.get("/api/fail") as answer:
                return answer.status, json.loads(await answer.text())

        assert visit(server, work) == (400, {"error": "It is broken.", "where": "there", "do": "mend it"})
