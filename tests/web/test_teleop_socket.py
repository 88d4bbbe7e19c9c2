"""The socket of a teleoperation page: real sockets, with a session that is moved by the test."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import struct
import time

import aiohttp
import numpy as np
import pytest

from mimicctl.config import RunConfig
from mimicctl.envs import make_env
from mimicctl.recording.session import Phase, Progress, Rules, look
from mimicctl.tasks import DEFAULT_TASK, find_task
from mimicctl.web.server import WebServer
from mimicctl.web.teleop import open_teleop
from tests.web.client import free_port
from tests.web.test_server import join, origin_of, visit

TASK = find_task(DEFAULT_TASK)


@pytest.fixture(scope="module")
def progress():
    env = make_env(TASK)
    shown = Progress(Rules(wanted=3, hold_needed=10), phase=Phase.RECORDING, snapshot=env.snapshot([0])[0])
    shown.view = look(env, shown.snapshot, 0)
    yield shown
    env.close()


@pytest.fixture
def teleop():
    device, page = open_teleop(RunConfig(), TASK, recording=True)
    with WebServer(page.routes(), {"teleop.html": "Drive"}, port=free_port()) as server:
        yield device, page, server


def opened(teleop, work):
    """What `work` gives, a coroutine function of an open socket."""
    _, _, server = teleop

    async def run(session):
        await join(session, server)
        async with session.ws_connect("/api/teleop/socket", headers={"Origin": origin_of(server)}, max_msg_size=0) as socket:
            return await work(socket)

    return visit(server, run)


def unpacked(data: bytes):
    """Number, last message used, status (None if it is as before), bodies."""
    number, used, length = struct.unpack_from("<III", data)
    status = json.loads(data[12 : 12 + length]) if length else None
    return number, used, status, np.frombuffer(data, "<f4", offset=12 + length)


def test_a_picture_has_the_bodies_and_the_status_once(teleop, progress):
    device, page, _ = teleop

    async def work(socket):
        page.show(progress)
        first = unpacked((await socket.receive()).data)
        await socket.send_str(json.dumps({"page": "a", "n": 1, "seen": first[0]}))
        while not device.inputs.driver:
            await asyncio.sleep(0.01)
        page.show(progress)
        second = unpacked((await socket.receive()).data)
        page.show(progress)
        return first, second, unpacked((await socket.receive()).data)

    first, second, third = opened(teleop, work)
    assert first[2]["phase"] == "recording" and first[2]["wanted"] == 3 and len(first[3]) == 17 * 7
    # The driver became known in between; after that nothing changed.
    assert second[0] > first[0] and second[2]["driver"] == "a" and third[2] is None


def test_whoever_comes_late_or_again_is_told_how_things_stand(teleop, progress):
    _, page, _ = teleop
    page.show(progress)

    async def work(socket):
        return unpacked((await socket.receive()).data)

    assert opened(teleop, work)[2]["phase"] == opened(teleop, work)[2]["phase"] == "recording"


def test_pictures_are_made_for_those_who_look_and_never_shown_late(teleop, progress, monkeypatch):
    _, page, _ = teleop
    drawn, draw = [], page._scene.frames
    monkeypatch.setattr(page._scene, "frames", lambda qpos: drawn.append(1) or draw(qpos))
    for _ in range(50):
        page.show(progress)
    assert len(drawn) == 1
    later = dataclasses.replace(progress, saved=2)

    async def work(socket):
        await asyncio.sleep(0.1)
        page.show(later)
        return unpacked((await socket.receive()).data)

    assert opened(teleop, work)[2]["saved"] == 2 and len(drawn) == 2


def test_a_browser_that_has_not_seen_is_sent_no_more_and_then_the_newest(teleop, progress):
    _, page, _ = teleop

    async def work(socket):
        numbers = []
        for _ in range(100):
            page.show(progress)
            await asyncio.sleep(0.002)
        while True:
            try:
                numbers.append(unpacked((await asyncio.wait_for(socket.receive(), 0.3)).data)[0])
            except TimeoutError:
                break
        await socket.send_str(json.dumps({"page": "a", "n": 1, "seen": numbers[-1]}))
        return numbers, unpacked((await socket.receive()).data)[0]

    numbers, after = opened(teleop, work)
    assert len(numbers) == 2 and after == 100


def test_the_session_waits_for_no_browser(teleop, progress):
    _, page, _ = teleop

    async def work(socket):
        # It never reads.
        await asyncio.to_thread(lambda: [page.show(progress) for _ in range(2000)])
        return page._latest.number

    assert opened(teleop, work) == 2000


def test_input_reaches_the_device_and_the_picture_says_which(teleop, progress):
    device, page, _ = teleop

    async def work(socket):
        await socket.send_str(json.dumps({"page": "a", "n": 7, "keys": ["w"]}))
        until = time.monotonic() + 10
        while not device.command(progress.view).delta.any():
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        page.show(progress)
        while (picture := unpacked((await socket.receive()).data))[1] == 0:
            pass
        return picture[1]

    assert opened(teleop, work) == 7


def test_nonsense_is_answered_and_too_much_of_it_ends_the_line(teleop, progress):
    device, _, _ = teleop

    async def work(socket):
        answers = []
        for _ in range(30):
            try:
                await socket.send_str("{}")
            except (ConnectionError, aiohttp.ClientError):
                break
            answers.append(await socket.receive())
            if answers[-1].type is not aiohttp.WSMsgType.TEXT:
                break
        return answers

    answers = opened(teleop, work)
    assert "page" in json.loads(answers[0].data)["refused"] and len(answers) == 21
    assert answers[-1].type is aiohttp.WSMsgType.CLOSE and answers[-1].data == aiohttp.WSCloseCode.POLICY_VIOLATION

    async def large(socket):
        await socket.send_str("x" * 100_000)
        return (await socket.receive()).data

    assert opened(teleop, large) == aiohttp.WSCloseCode.MESSAGE_TOO_BIG

    async def binary(socket):
        await socket.send_bytes(b"\x00")
        return json.loads((await socket.receive()).data)

    assert "text" in opened(teleop, binary)["refused"]
    assert not device.command(progress.view).delta.any()


def test_one_socket_speaks_for_one_page(teleop):
    async def work(socket):
        await socket.send_str(json.dumps({"page": "a", "n": 1}))
        await socket.send_str(json.dumps({"page": "b", "n": 1}))
        return json.loads((await socket.receive()).data)

    assert "another" in opened(teleop, work)["refused"]


def test_a_ninth_page_is_sent_away(teleop, progress):
    _, page, server = teleop
    page.show(progress)

    async def work(session):
        await join(session, server)
        headers = {"Origin": origin_of(server)}
        sockets = [await session.ws_connect("/api/teleop/socket", headers=headers) for _ in range(8)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect("/api/teleop/socket", headers=headers)
        await sockets[0].close()
        again = await session.ws_connect("/api/teleop/socket", headers=headers)
        told = unpacked((await again.receive()).data)[2]["phase"]
        for socket in (*sockets, again):
            await socket.close()
        return refused.value.status, told

    assert visit(server, work) == (503, "recording")


def test_the_end_of_a_session_is_told(teleop, progress):
    _, page, _ = teleop

    async def work(socket):
        page.show(progress)
        first = unpacked((await socket.receive()).data)
        await socket.send_str(json.dumps({"page": "a", "n": 1, "seen": first[0]}))
        await asyncio.to_thread(page.finish, progress)
        while True:
            status = unpacked((await socket.receive()).data)[2]
            if status and status.get("over"):
                return True

    assert opened(teleop, work)


@pytest.mark.parametrize(("task", "turns"), [(DEFAULT_TASK, ["roll", "pitch", "yaw"]), ("MuJoCo-Pick-Stringman-v0", ["yaw"])])
def test_the_page_offers_no_keys_for_what_the_robot_cannot_do(task, turns):
    _, page = open_teleop(RunConfig(), find_task(task), recording=True)
    offered = [name for name, _ in page._facts["controls"]]
    assert [name for name in offered if name in ("roll", "pitch", "yaw")] == turns and {"x", "gripper", "start"} <= set(offered)


def test_the_scene_and_the_facts_are_there_to_be_fetched(teleop):
    _, _, server = teleop

    async def work(session):
        await join(session, server)
        async with session.get("/api/teleop") as answer:
            facts = await answer.json()
        async with session.get("/api/teleop/scene") as answer:
            return facts, await answer.read()

    facts, scene = visit(server, work)
    assert facts["task"] == DEFAULT_TASK and facts["drives"] and ["x", ["w", "s"]] in facts["controls"]
    length = struct.unpack_from("<I", scene)[0]
    text = json.loads(scene[4 : 4 + length])
    last = text["meshes"][-1]
    assert len(scene) == 4 + length + 12 * text["vertices"] + 12 * (last["face"] + last["faces"])
    assert {geom["name"] for geom in text["geoms"]} >= {"cube_1", "table/top", "ground"}
