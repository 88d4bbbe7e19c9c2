"""Work shared out over processes, which end with their parent however it ends."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import multiprocessing.queues
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

from mimicctl.errors import RunFailed
from mimicctl.tasks import look_in, looked_in

_POLL = 0.5
SPAWN = multiprocessing.get_context("spawn")

_AHEAD = 2
"""Items under way beyond the one that is waited for, plus one for every eight workers."""

Item = TypeVar("Item")


class SharedNumbers:
    """`first`, `first + 1`, ... up to `last` exclusive (None: without end); each is handed out once, to whichever process asks."""

    def __init__(self, first: int, last: int | None) -> None:
        self._next, self._last = SPAWN.Value("q", first), last

    def __iter__(self) -> SharedNumbers:
        return self

    def __next__(self) -> int:
        with self._next.get_lock():
            number = self._next.value
            self._next.value += 1
        if self._last is not None and number >= self._last:
            raise StopIteration
        return number


def results_of(work: Callable[..., Iterator[Any]], arguments: tuple[Any, ...], workers: int, *, do: str) -> Iterator[Any]:
    """What `work(*arguments)` yields in each of `workers` processes, in the order it comes. Close the iterator to stop them.

    Args:
        work: a function of a module. Every process calls it, so its arguments say what they share out, as `SharedNumbers` do.
        do: what to do about a process that died.

    Raises:
        RunFailed: a process died, or `work` raised.
    """
    results = SPAWN.SimpleQueue()
    processes = [SPAWN.Process(target=_run, args=(work, arguments, results, looked_in()), daemon=True) for _ in range(workers)]
    try:
        with one_thread_each():
            for process in processes:
                process.start()
        running = workers
        while running:
            if not multiprocessing.connection.wait([results._reader], _POLL):
                _check_alive(processes, do)
                continue
            result = results.get()
            if isinstance(result, Failed):
                raise result.as_error()
            if isinstance(result, _Finished):
                running -= 1
            else:
                yield result
    finally:
        started = [process for process in processes if process.pid is not None]
        for process in started:
            process.terminate()
        for process in started:
            process.join()


def results_in_order(
    items: Iterable[tuple[Item, Sequence[Any]]],
    work: Callable[[Any], Any],
    workers: int,
    *,
    begin: Callable[..., None],
    arguments: tuple[Any, ...],
    died: RunFailed,
) -> Iterator[tuple[Item, list[Any]]]:
    """Each item with what `work(job)` made of each of its jobs in `workers` processes, in the order they are handed in.

    A few items are under way at a time, however many there are. Close the iterator to stop.

    Args:
        items: with their jobs, few or many.
        begin: called in each process first, with `arguments`.
        died: what is raised when a process dies.
    """
    pool = ProcessPoolExecutor(workers, SPAWN, initializer=_begin, initargs=(begin, arguments, looked_in()))
    waiting: deque[tuple[Item, list[Future]]] = deque()
    try:
        for item, jobs in items:
            with one_thread_each():
                waiting.append((item, [pool.submit(work, job) for job in jobs]))
            while len(waiting) > _AHEAD + workers // 8:
                yield _collected(*waiting.popleft())
        while waiting:
            yield _collected(*waiting.popleft())
    except BrokenProcessPool:
        raise died from None
    finally:
        pool.shutdown(cancel_futures=True)


def _collected(item: Item, parts: Sequence[Future]) -> tuple[Item, list[Any]]:
    return item, [part.result() for part in parts]


def _begin(begin: Callable[..., None], arguments: tuple[Any, ...], task_paths: tuple[str, ...]) -> None:
    become_worker(task_paths)
    begin(*arguments)


def become_worker(task_paths: tuple[str, ...]) -> None:
    """What a fresh process does first: it knows the tasks that its parent knows, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    threading.Thread(target=_end_with_parent, daemon=True).start()
    look_in(task_paths)


class _Finished:
    """A process's last word."""


@dataclass(frozen=True)
class Failed:
    """An exception in a process, as text: not every exception can be sent."""

    what: str

    @classmethod
    def of(cls, error: Exception) -> Failed:
        return cls(f"{type(error).__name__}: {error}")

    def as_error(self) -> RunFailed:
        return RunFailed(f"A worker process failed: {self.what}", do="run again with --workers 1 --debug for the traceback")


def _run(work: Callable[..., Iterator[Any]], arguments: tuple[Any, ...], results: multiprocessing.queues.SimpleQueue, task_paths: tuple[str, ...]) -> None:
    """Body of a process."""
    become_worker(task_paths)
    try:
        for result in work(*arguments):
            results.put(result)
        results.put(_Finished())
    except Exception as error:
        results.put(Failed.of(error))


def _end_with_parent() -> None:
    """A parent that was killed cannot stop its workers, and one that waits to hand over a result would wait for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _check_alive(processes: list[multiprocessing.Process], do: str) -> None:
    dead = [p for p in processes if p.exitcode not in (None, 0)]
    if dead:
        raise RunFailed(f"A worker process died (exit code {dead[0].exitcode}), perhaps for want of memory.", do=do)


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
