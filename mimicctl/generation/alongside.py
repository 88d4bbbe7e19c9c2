"""Generating while somebody records: in a process of low priority that the recording never waits for, or in step with it; and to the end once it is over."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from mimicctl.envs import make_env
from mimicctl.envs.base import MakeEnv
from mimicctl.envs.shared import SharedEnv
from mimicctl.errors import UserError
from mimicctl.generation.engine import Generated, generate
from mimicctl.generation.growing import GrowingPool, GrowingRun
from mimicctl.processes import SPAWN, become_worker, one_thread_each
from mimicctl.statistics import wilson_interval
from mimicctl.tasks import told_of_tasks

_NICENESS = 10
_LAST_WORDS = 10.0
"""Seconds that the process has to end. All that it has committed is kept however it ends."""


@dataclass(frozen=True)
class Standing:
    """How the generation stands.

    Attributes:
        pool: source demos.
        left_out: recorded demos that are none.
        attempts, successes: of the trials so far, those of earlier runs included.
        waits: for another demo to join the pool.
    """

    pool: int = 0
    left_out: int = 0
    attempts: int = 0
    successes: int = 0
    waits: bool = False

    def text(self) -> str:
        """For instance "sources 3  generated 160 of 166 (96 %, 92-99), waits for the next demo"."""
        left_out = f" ({self.left_out} left out)" if self.left_out else ""
        low, high = wilson_interval(self.successes, self.attempts)
        share = f" of {self.attempts} ({100 * self.successes / self.attempts:.0f} %, {100 * low:.0f}-{100 * high:.0f})" if self.attempts else ""
        return f"sources {self.pool}{left_out}  generated {self.successes}{share}{', waits for the next demo' if self.waits else ''}"


class Alongside:
    """What generates meanwhile. A context manager, which ends it.

    What is recorded it reads from the file, and it writes files of its own: all that the recording does for it is to give it a nudge when there is a demo more, and to look whether
    it has said something. Neither can wait: a nudge that there is no room for is left out, since there are others on their way.

    Args:
        recording: the file that is being written.
        shared: whose envs it works with, in step with the recording; None: it has a process and envs of its own.
    """

    def __init__(self, run: GrowingRun, recording: Path, shared: SharedEnv | None = None) -> None:
        self._worker = _InProcess(run, recording) if shared is None else _InStep(run, recording, shared)
        self._standing, self._seen = Standing(), 0

    def __enter__(self) -> Alongside:
        self._told, tells = SPAWN.Pipe(duplex=False)
        nudged, self._nudge = SPAWN.Pipe(duplex=False)
        os.set_blocking(self._nudge.fileno(), False)
        self._worker.start(nudged, tells)
        self._ended = False
        return self

    def __exit__(self, *exception: object) -> None:
        self._worker.stop()
        self._told.close()  # it need not wait for somebody who listens
        self._nudge.close()
        self._worker.wait()

    def follow(self, saved: int, say: Callable[[str], None]) -> str:
        """How it stands, for a status line.

        Args:
            saved: demonstrations that are in the recording.
            say: told what a person should know.
        """
        if saved != self._seen:
            self._seen = saved
            with suppress(OSError):  # no room; or it has died, which is found out below
                self._nudge.send(None)
        while not self._ended and self._told.poll():
            try:
                told = self._told.recv()
            except (EOFError, OSError):
                self._ended = True
                say(f"{self._worker.died()} Nothing is lost: it is made up for after the last demonstration.")
                break
            if isinstance(told, Standing):
                self._standing = told
            else:
                say(told)
        return self._standing.text() + (", stopped" if self._ended else "")


class _InProcess:
    """Works in a process of its own, of low priority."""

    def __init__(self, run: GrowingRun, recording: Path) -> None:
        self._arguments = (run, recording, told_of_tasks())

    def start(self, nudged: Connection, tells: Connection) -> None:
        self.process = SPAWN.Process(target=_body, args=(*self._arguments, nudged, tells))
        with one_thread_each():
            self.process.start()
        nudged.close()
        tells.close()

    def stop(self) -> None:
        self.process.terminate()

    def wait(self) -> None:
        self.process.join(_LAST_WORDS)
        self.process.kill()
        self.process.join()

    def died(self) -> str:
        self.process.join(_LAST_WORDS)
        return f"The process that generates has died (exit code {self.process.exitcode})."


def _body(run: GrowingRun, recording: Path, of_tasks: tuple[tuple[str, ...], bool | None], nudged: Connection, tells: Connection) -> None:
    become_worker(*of_tasks)
    os.nice(_NICENESS)
    with suppress(KeyboardInterrupt):
        _generate_beside(run, recording, nudged, _Teller(tells), make_env, _beside_a_person(run.settings.workers))


class _InStep:
    """Works in a thread, and steps its envs when the recording does."""

    def __init__(self, run: GrowingRun, recording: Path, shared: SharedEnv) -> None:
        self._run, self._recording, self._shared = run, recording, shared

    def start(self, nudged: Connection, tells: Connection) -> None:
        self._thread = threading.Thread(target=self._work, args=(nudged, tells), daemon=True)
        self._thread.start()

    def _work(self, nudged: Connection, tells: Connection) -> None:
        with closing(tells), suppress(SystemExit):
            _generate_beside(self._run, self._recording, nudged, _Teller(tells), self._shared.part, workers=1)

    def stop(self) -> None:
        self._shared.end()

    def wait(self) -> None:
        self._thread.join()

    def died(self) -> str:
        return "The thread that generates has died."


class _Teller:
    """Sends what both threads of the process have to say."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._one_at_a_time = connection, threading.Lock()
        self._facts: dict[str, int | bool] = {}

    def say(self, text: str) -> None:
        with self._one_at_a_time, suppress(OSError):  # nobody listens any more: it is about to be ended
            self._connection.send(text)

    def stand(self, **facts: int | bool) -> None:
        with self._one_at_a_time, suppress(OSError):
            self._facts |= facts
            self._connection.send(Standing(**self._facts))


def _generate_beside(run: GrowingRun, recording: Path, nudged: Connection, teller: _Teller, envs: MakeEnv, workers: int) -> None:
    """One thread takes demos in, one generates. Ends when nobody asks any more, since a person wants to hear of each demo to the last."""

    def pool_changed() -> None:
        teller.stand(pool=len(pool), left_out=len(pool.left_out), waits=pool.waits)

    with GrowingPool(run, envs, complete=False, on_change=pool_changed) as pool:
        pool_changed()
        if threading.current_thread() is threading.main_thread():
            # From here on there are files to close; what is interrupted before, in the middle of an import, would only complain.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        taking = threading.Thread(target=_take_in, args=(pool, recording, nudged, teller), daemon=True)
        taking.start()
        try:
            generate(
                run.task_id,
                run.seed,
                run.settings.model_copy(update={"workers": workers}),
                None,
                growing=pool,
                envs=envs,
                rendering=run.rendering,
                resume=True,
                on_progress=lambda attempts, successes: teller.stand(attempts=attempts, successes=successes, waits=False),
                on_event=teller.say,
            )
        except UserError as error:
            teller.say(f"Generation has stopped, the recording goes on: {error}")
        taking.join()


def _take_in(pool: GrowingPool, recording: Path, nudged: Connection, teller: _Teller) -> None:
    """What is in the recording already, and what comes, until nobody asks any more."""
    try:
        with closing(nudged), suppress(EOFError, SystemExit):
            _take_in_each(pool, recording, nudged, teller)
            while True:
                nudged.recv()
    finally:
        pool.close()  # nobody need wait for another demo


def _take_in_each(pool: GrowingPool, recording: Path, nudged: Connection, teller: _Teller) -> None:
    try:
        while True:
            for found in pool.take_in(recording):
                if found.problem:
                    teller.say(not_joined(found.name, found.problem))
            nudged.recv()
    except EOFError:
        raise
    except Exception as error:  # whatever it is: a person records, and what could not be taken in now is tried again afterwards
        teller.say(f"Nothing more joins the sources for now: {error if isinstance(error, UserError) else f'{type(error).__name__}: {error}'}")


def _beside_a_person(workers: int) -> int:
    """Worker processes that leave the recording a core of its own, if there are several."""
    cores = os.cpu_count() or 1
    return max(1, min(workers or cores, cores - 1))


def not_joined(name: str, problem: str) -> str:
    return f"{name} is recorded, but it is no source: {problem.rstrip('.')}."


@dataclass(frozen=True)
class Completed:
    """What came of a run.

    Attributes:
        pool: the file of the sources.
        sources: demos in it.
        left_out: recorded demo to why it is no source.
    """

    made: Generated
    pool: Path
    sources: int
    left_out: dict[str, str]


def complete(run: GrowingRun, envs: MakeEnv = make_env, *, on_progress: Callable[[int, int], None], on_event: Callable[[str], None]) -> Completed:
    """Once everything is recorded: take in what is left of it, and generate to the goal.

    Raises:
        RunFailed: as `generate`; or no recorded demo is a source.
    """
    with GrowingPool(run, envs, complete=True) as pool:
        for found in pool.take_in(run.recording):
            if found.problem:
                on_event(not_joined(found.name, found.problem))
        made = generate(
            run.task_id, run.seed, run.settings, None, growing=pool, envs=envs, rendering=run.rendering, resume=True, on_progress=on_progress, on_event=on_event
        )
        return Completed(made, pool.finish(), len(pool), pool.left_out)
