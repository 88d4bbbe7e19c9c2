"""Processes that work for this one: they know what it knows, and end with it however it ends."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from mimicctl.errors import RunFailed, UserError
from mimicctl.tasks import cancel_swing, look_in

SPAWN = multiprocessing.get_context("spawn")


def become_worker(task_paths: tuple[str, ...], swing_cancelled: bool | None) -> None:
    """What a fresh process does first: it knows the tasks that its parent knows (`told_of_tasks`), and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    threading.Thread(target=_end_with_parent, daemon=True).start()
    look_in(task_paths)
    cancel_swing(swing_cancelled)


@contextmanager
def interruptions_wait() -> Iterator[None]:
    """Ctrl-C and SIGTERM that come meanwhile act at the end: what is done in here is done wholly, or not at all if it fails itself."""
    if threading.current_thread() is not threading.main_thread():  # no other thread is ever interrupted
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    came: list[int] = []
    try:
        for number in handlers:
            signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def as_user_error(error: Exception) -> UserError:
    """An exception in a process as one that can be sent: not every one can."""
    if isinstance(error, UserError):
        return error
    return RunFailed(f"A worker process failed: {type(error).__name__}: {error}", do="run again with --workers 1 --debug for the traceback")


def _end_with_parent() -> None:
    """A parent that was killed cannot stop its workers, and one that waits to hand over a result would wait for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl


def ended_with_this() -> Callable[[], object] | None:
    """`preexec_fn` of a program that is to be ended when this process is killed, instead of working on for nobody. None where the system knows no such thing."""
    return partial(_end_on_parents_death, ctypes.CDLL(None).prctl) if sys.platform == "linux" else None


def _end_on_parents_death(prctl: Callable[[int, int], int]) -> None:
    prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


class one_thread_each:
    """While workers are started: keep linear algebra and software OpenGL from starting threads of their own in each of them."""

    _names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LP_NUM_THREADS")

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in self._names}
        os.environ.update(dict.fromkeys(self._names, "1"))

    def __exit__(self, *exception: object) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
