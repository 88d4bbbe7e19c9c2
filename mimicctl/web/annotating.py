"""The annotator's part of the server: sessions, one a recording, and what a person does in them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from mimicctl.annotation.session import ManualSession
from mimicctl.errors import UserError
from mimicctl.web.answers import answer, fields_of, number_in
from mimicctl.web.stage import Stages
from mimicctl.web.workspace import Workspace


class Annotations:
    """The sessions of a workspace. A context manager.

    Args:
        output_of: where the annotated demos of a recording go.
        starts: mark where subtasks start too.
    """

    def __init__(self, workspace: Workspace, output_of: Callable[[Path], Path], *, starts: bool = False) -> None:
        self._workspace, self._output_of, self._starts = workspace, output_of, starts
        self._sessions: dict[int, ManualSession] = {}
        # One for all: whoever annotates looks at one demo at a time.
        self._lock = threading.Lock()

    def __enter__(self) -> Annotations:
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            for session in self._sessions.values():
                session.close()
            self._sessions.clear()

    def adopt(self, session: ManualSession) -> None:
        """Show a session that is open already; it is closed with the others."""
        self._sessions[self._workspace.number_of(session.input.absolute())] = session

    def status(self, number: int) -> dict[str, Any]:
        """What there is to begin with; the session's own state once it is open."""
        with self._lock:
            if number in self._sessions:
                return self._state(number)
            path = self._workspace.path(number)
            output = self._output_of(path)
            return {"open": False, "input": str(path), "output": str(output), "marked": ManualSession.notes_of(output).exists(), "written": output.exists()}

    def open(self, number: int, begin: str) -> dict[str, Any]:
        """Begin "new", "resume" or "overwrite" a session; one that is open stays as it is."""
        if begin not in ("new", "resume", "overwrite"):
            raise UserError(f'A session cannot begin with "{begin}".', do="reload the page")
        with self._lock:
            if number not in self._sessions:
                path = self._workspace.path(number)
                how = {"resume": begin == "resume", "overwrite": begin == "overwrite"}
                self._sessions[number] = ManualSession(path, self._output_of(path), starts=self._starts, **how)
            return self._state(number)

    def with_session(self, number: int, work: Callable[[ManualSession], Any]) -> Any:
        """What `work` finds, or does, in a session; one at a time.

        Raises:
            UserError: the session is not open.
        """
        with self._lock:
            if number not in self._sessions:
                raise UserError("This recording is not being annotated.", do="go to the list and begin")
            return work(self._sessions[number])

    def _state(self, number: int) -> dict[str, Any]:
        session = self._sessions[number]
        return {
            "open": True,
            "file": number,
            "input": str(session.input),
            "output": str(session.output),
            "written": session.output.exists(),
            "task": session.task.task_id,
            "hz": session.task.control_hz,
            "tracks": {
                eef: [{"kind": b.kind, "subtask": b.subtask, "signal": b.signal, "label": b.label} for b in track.boundaries]
                for eef, track in session.tracks.items()
            },
            "last": {eef: subtasks[-1].name for eef, subtasks in session.task.subtasks.items()},
            "demos": [{"name": name, "verdict": session.verdict(name)} for name in session.names],
        }


def routes(annotations: Annotations, stages: Stages) -> list[web.RouteDef]:
    """See the functions of `_Annotator`."""
    annotator = _Annotator(annotations, stages)
    session = r"/api/annotations/{file:\d{1,6}}"
    return [
        web.get(session, annotator.status),
        web.post(session, annotator.open),
        web.post(session + "/finish", annotator.finish),
        web.get(session + "/demos/{demo}", annotator.demo),
        web.get(session + "/demos/{demo}/frames", annotator.frames),
        web.post(session + "/demos/{demo}/{change:mark|clear|undo|accept|skip}", annotator.change),
    ]


class _Annotator:
    def __init__(self, annotations: Annotations, stages: Stages) -> None:
        self._annotations, self._stages = annotations, stages

    async def status(self, request: web.Request) -> web.Response:
        return await answer(self._annotations.status, number_in(request, "file"))

    async def open(self, request: web.Request) -> web.Response:
        (begin,) = await fields_of(request, begin=str)
        return await answer(self._annotations.open, number_in(request, "file"), begin)

    async def demo(self, request: web.Request) -> web.Response:
        return await self._in_session(request, lambda session: _seen(session, _demo(session, request)))

    async def frames(self, request: web.Request) -> web.Response:
        """Float32 (T + 1, B, 7) of the replayed demo."""

        def work(session: ManualSession) -> bytes:
            return self._stages.frames_of(session.task, session.look(_demo(session, request)).snapshots).astype("<f4").tobytes()

        return await self._in_session(request, work)

    async def change(self, request: web.Request) -> web.Response:
        """Mark, clear, undo, accept or skip. The answer is the demo as it is then, why not if so (`refusal`), and where something was undone (`step`)."""
        kind = request.match_info["change"]
        where = {"mark": {"eef": str, "number": int, "step": int}, "clear": {"eef": str, "number": int}}.get(kind, {})
        values = await fields_of(request, **where) if where else []

        def work(session: ManualSession) -> dict[str, Any]:
            name, refusal, step = _demo(session, request), "", None
            if where and not (values[0] in session.tracks and 0 <= values[1] < len(session.tracks[values[0]].boundaries)):
                raise UserError("This task has no such boundary.", do="reload the page")
            if kind == "mark":
                refusal = session.mark(name, *values)
            elif kind == "clear":
                session.clear(name, *values)
            elif kind == "undo":
                step = session.undo(name)
            elif kind == "accept":
                refusal = session.accept(name)
            else:
                session.skip(name)
            return {**_seen(session, name), "refusal": refusal, "step": step}

        return await self._in_session(request, work)

    async def finish(self, request: web.Request) -> web.Response:
        def work(session: ManualSession) -> dict[str, Any]:
            found = session.finish()
            return {
                "output": str(session.output),
                "written": sum(bool(a.written_as) for a in found),
                "left_out": [[a.name, a.problem] for a in found if a.problem],
            }

        return await self._in_session(request, work)

    async def _in_session(self, request: web.Request, work: Callable[[ManualSession], Any]) -> web.Response:
        return await answer(self._annotations.with_session, number_in(request, "file"), work)


def _demo(session: ManualSession, request: web.Request) -> str:
    name = request.match_info["demo"]
    if name not in session.names:
        raise UserError(f"There is no {name} to annotate.", where=str(session.input), do="choose one of the list")
    return name


def _seen(session: ManualSession, name: str) -> dict[str, Any]:
    """A demo as the page shows it."""
    seen, judged = session.look(name), session.judged(name)
    marks = judged.marks
    following = marks.next()
    return {
        "name": name,
        "length": marks.length,
        "replayed": seen.replayed,
        "success": seen.success,
        "suggestions": [vars(suggestion) for suggestion in seen.suggestions],
        "steps": marks.steps,
        "ranges": {eef: [marks.range(eef, i) for i in range(len(steps))] for eef, steps in marks.steps.items()},
        "next": following and {"eef": following[0], "number": following[1]},
        "verdict": judged.verdict,
        "can_undo": marks.changed,
    }
