"""Teleoperation in the browser: pictures of the session go out, input comes in.

A session runs in one thread and calls `show` at every step; the sockets are served from another. A browser is sent a new picture only when it has
seen all but the last, so a slow one sees fewer pictures and never old ones, and the session waits for nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from mimicctl.config import RunConfig
from mimicctl.devices import Device, lacking, make_device, refuse_body
from mimicctl.devices.key_map import KeyMap
from mimicctl.devices.mapping import EVENTS
from mimicctl.recording.quality import hints_for
from mimicctl.recording.session import Phase, Progress
from mimicctl.recording.status import current_subtask, phase_text
from mimicctl.tasks.spec import TaskSpec
from mimicctl.web.inputs import LARGEST, Inputs, parse
from mimicctl.web.page_device import PageButtons, PageDevice
from mimicctl.web.scene import SceneModel

_MOST_SOCKETS = 8
_UNSEEN = 2
"""Pictures that may be under way to a browser."""
_LAST_WORDS = 0.5
"""[s] for which the server stays up after a session, so that pages hear how it ended."""
_MOST_REFUSED = 20
"""Messages that mean nothing, after which a socket is closed."""


@dataclass(frozen=True)
class _Picture:
    """
    Attributes:
        number: counts up.
        bodies: (B, 7) as bytes, see `SceneModel.frames`.
        status: JSON text.
    """

    number: int
    bodies: bytes
    status: str


@dataclass(eq=False)
class _Viewer:
    """One socket.

    Attributes:
        page: that it belongs to; empty before its first message.
        unseen: numbers of the pictures that were sent and not seen.
        refused: messages that meant nothing.
        ready: there is something to send, or room for it.
    """

    socket: web.WebSocketResponse
    page: str = ""
    unseen: deque[int] = field(default_factory=deque)
    refused: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)


class TeleopPage:
    """
    Args:
        task: whose scene is drawn.
        inputs: what pages say goes here.
        facts: what stays the same for the whole session, for the page.
    """

    def __init__(self, task: TaskSpec, inputs: Inputs, facts: Mapping[str, Any]) -> None:
        self._task, self._inputs, self._facts = task, inputs, dict(facts)
        self._scene = SceneModel(task)
        self._description = self._scene.description()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._viewers: set[_Viewer] = set()
        self._latest: _Picture | None = None
        self._outdated = False

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/api/teleop", self._about), web.get("/api/teleop/scene", self._describe_scene), web.get("/api/teleop/socket", self._serve)]

    # From the session's thread ------------------------------------------------------------------------------

    def show(self, progress: Progress) -> None:
        """Where the session is and what its scene looks like. While nobody looks no picture is made but the first."""
        if self._latest is not None and not self._viewers:
            self._outdated = True
        else:
            self._publish(progress, {"driver": self._inputs.driver})

    def finish(self, progress: Progress) -> None:
        """The session is over. Gives browsers a moment to hear of it."""
        self._publish(progress, {"over": True})
        time.sleep(_LAST_WORDS if self._viewers else 0.0)

    def _publish(self, progress: Progress, more: Mapping[str, Any]) -> None:
        if progress.snapshot is None:
            return
        bodies = self._scene.frames(progress.snapshot[None, : self._scene.nq])[0].tobytes()
        status = json.dumps(status_of(self._task, progress) | more)
        self._latest, self._outdated = _Picture(1 + (self._latest.number if self._latest else 0), bodies, status), False
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the server has ended
                self._loop.call_soon_threadsafe(self._wake)

    # In the server's thread -----------------------------------------------------------------------------------

    def _wake(self) -> None:
        for viewer in self._viewers:
            viewer.ready.set()

    async def _about(self, request: web.Request) -> web.Response:
        return web.json_response(self._facts)

    async def _describe_scene(self, request: web.Request) -> web.Response:
        return web.Response(body=self._description, content_type="application/octet-stream")

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if len(self._viewers) >= _MOST_SOCKETS:
            return web.json_response({"error": "Too many pages are open.", "where": "", "do": "close one of them"}, status=503)
        self._loop = asyncio.get_running_loop()
        viewer = _Viewer(web.WebSocketResponse(max_msg_size=LARGEST, heartbeat=10.0, compress=False))
        self._viewers.add(viewer)
        try:
            await viewer.socket.prepare(request)
            sending = asyncio.create_task(self._send_pictures(viewer))
            try:
                await self._receive(viewer)
            finally:
                sending.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                    await sending
        finally:
            self._viewers.discard(viewer)
            self._inputs.leave(viewer.page)
        return viewer.socket

    async def _receive(self, viewer: _Viewer) -> None:
        async for received in viewer.socket:
            try:
                if received.type is not WSMsgType.TEXT:
                    raise ValueError("it is not text")
                message = parse(received.data)
                if viewer.page not in ("", message.page):
                    raise ValueError("page: another one opened this socket")
            except ValueError as error:
                viewer.refused += 1
                if viewer.refused > _MOST_REFUSED:
                    await viewer.socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"too much that means nothing")
                    return
                await viewer.socket.send_str(json.dumps({"refused": str(error)[:200]}))
                continue
            viewer.page = message.page
            while viewer.unseen and viewer.unseen[0] <= message.seen:
                viewer.unseen.popleft()
            self._inputs.feed(message)
            viewer.ready.set()

    async def _send_pictures(self, viewer: _Viewer) -> None:
        """Each as a header (number of the picture and of the last message that a command has used, length of the status: uint32), the status padded to
        a multiple of four bytes, and the bodies.
        """
        sent, status = 0, ""
        viewer.ready.set()
        while True:
            await viewer.ready.wait()
            viewer.ready.clear()
            picture = self._latest
            if picture is None or self._outdated or picture.number == sent or len(viewer.unseen) >= _UNSEEN:
                continue
            sent = picture.number
            viewer.unseen.append(sent)
            # It hardly changes while nothing happens, and a phone has better things to do than to read it again.
            text = b"" if picture.status == status else picture.status.encode()
            status, text = picture.status, text + b" " * (-len(text) % 4)
            header = struct.pack("<III", sent, self._inputs.used(viewer.page), len(text))
            await viewer.socket.send_bytes(header + text + picture.bodies)


def open_teleop(run_config: RunConfig, task: TaskSpec, *, recording: bool, quiet: bool = False) -> tuple[Device, TeleopPage]:
    """A device for a session, and the page for it. The browser drives, unless the settings name another device than the keyboard.

    Args:
        quiet: the page says nothing aloud.
    """
    settings = run_config.record
    drives = settings.device == "keyboard"
    if drives:
        refuse_body(task, "--web")
    device = PageDevice(task, settings) if drives else PageButtons(make_device(task, settings, run_config.seed))
    facts = {
        "task": task.task_id,
        "description": task.description,
        "file": str(Path(settings.output_file).absolute()) if recording else "",
        "device": device.name,
        "session": settings.session,
        "quiet": quiet,
        "drives": drives,
        "hz": task.control_hz,
        "controls": _controls(device.key_map, task) if drives else [],
        "hands": drives and not task.on_floor,
        "keys": device.key_map.keys() if drives else [],
        "help": "" if drives else device.help(),
    }
    return device, TeleopPage(task, device.inputs, facts)


def _controls(keys: KeyMap, task: TaskSpec) -> list[tuple[str, list[str]]]:
    """What keys do, as far as the task's robot can. They have axes for one arm; of two, the hands of a headset drive each its own."""
    if len(task.eef_names) > 1:
        return [control for control in keys.controls() if control[0] in EVENTS]
    return [control for control in keys.controls() if control[0] not in lacking(task)]


def status_of(task: TaskSpec, progress: Progress) -> dict[str, Any]:
    """What the page shows of a session."""
    takes = progress.takes
    return {
        "phase": "driving" if progress.phase is Phase.RECORDING and not progress.recorded else progress.phase.value,
        "text": phase_text(progress),
        "held": progress.held,
        "needed": progress.rules.hold_needed,
        "steps": progress.steps,
        "hz": round(progress.rate),
        "saved": progress.saved,
        "wanted": progress.rules.wanted,
        "discarded": progress.discarded,
        "per_hour": round(progress.demos_per_hour),
        "subtask": current_subtask(task, progress.signals),
        "device": progress.device,
        "beside": progress.beside,
        "swing_cancellation": progress.swing_cancellation,
        "signals": {name: bool(value) for name, value in progress.signals.items()},
        "outcomes": len(progress.outcomes),
        "outcome": progress.outcomes[-1].value if progress.outcomes else "",
        "good": bool(progress.outcomes and progress.outcomes[-1].saved),
        "take": takes[-1].text() if takes else "",
        "hints": hints_for(takes[-1], takes[:-1]) if takes else [],
    }
