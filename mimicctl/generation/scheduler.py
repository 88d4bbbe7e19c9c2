"""Running trials in this process or in several, delivered in the order of their numbers either way."""

from __future__ import annotations

import itertools
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Iterator
from multiprocessing.sharedctypes import Synchronized

from mimicctl.envs import make_env
from mimicctl.errors import RunFailed
from mimicctl.generation.source import SourcePool
from mimicctl.generation.trial import TrialResult, TrialSettings, run_trials

_POLL = 0.5


def results_in_order(pool: SourcePool, settings: TrialSettings, *, first: int, last: int | None, num_envs: int, workers: int) -> Iterator[TrialResult]:
    """Results of trials `first`, `first + 1`, ... up to `last` exclusive (None: without end), in that order.

    Which process or env runs a trial changes nothing about it. Close the iterator to stop.
    """
    many = workers > 1
    unordered = _in_workers(pool, settings, first, last, num_envs, workers) if many else _in_process(pool, settings, first, last, num_envs)
    try:
        yield from _ordered(unordered, first)
    finally:
        unordered.close()


def _ordered(results: Iterator[TrialResult], first: int) -> Iterator[TrialResult]:
    early: dict[int, TrialResult] = {}
    expected = first
    for result in results:
        early[result.index] = result
        while expected in early:
            yield early.pop(expected)
            expected += 1


def _in_process(pool: SourcePool, settings: TrialSettings, first: int, last: int | None, num_envs: int) -> Iterator[TrialResult]:
    numbers = itertools.count(first)

    def next_index() -> int | None:
        number = next(numbers)
        return number if last is None or number < last else None

    env = make_env(settings.task, num_envs)
    try:
        yield from run_trials(env, pool, settings, next_index)
    finally:
        env.close()


def _in_workers(pool: SourcePool, settings: TrialSettings, first: int, last: int | None, num_envs: int, workers: int) -> Iterator[TrialResult]:
    context = multiprocessing.get_context("spawn")
    counter, results = context.Value("q", first), context.SimpleQueue()
    arguments = (pool, settings, counter, last, num_envs, results)
    processes = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(workers)]
    with _one_thread_each():
        for process in processes:
            process.start()
    try:
        running = workers
        while running:
            if not _wait_for(results):
                _check_alive(processes)
                continue
            result = results.get()
            if result is None:
                running -= 1
            elif isinstance(result, str):
                raise RunFailed(f"A worker process failed: {result}", do="run again with --workers 1 --debug for the traceback")
            else:
                yield result
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _work(
    pool: SourcePool,
    settings: TrialSettings,
    counter: Synchronized,
    last: int | None,
    num_envs: int,
    results: multiprocessing.queues.SimpleQueue,
) -> None:
    """Body of a worker process: take the next number, run it, send the result, until there are no more."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def next_index() -> int | None:
        with counter.get_lock():
            number = counter.value
            counter.value += 1
        return number if last is None or number < last else None

    try:
        env = make_env(settings.task, num_envs)
        for result in run_trials(env, pool, settings, next_index):
            results.put(result)
        results.put(None)
    except Exception as error:
        results.put(f"{type(error).__name__}: {error}")


def _end_with_parent() -> None:
    """A parent that was killed cannot stop its workers, and one that waits to hand over a result would wait for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _wait_for(results: multiprocessing.queues.SimpleQueue) -> bool:
    """Whether a result is there within `_POLL` seconds."""
    return bool(multiprocessing.connection.wait([results._reader], _POLL))


def _check_alive(processes: list[multiprocessing.Process]) -> None:
    dead = [p for p in processes if p.exitcode not in (None, 0)]
    if dead:
        raise RunFailed(f"A worker process died (exit code {dead[0].exitcode}), perhaps for want of memory.", do="use fewer --workers; --resume continues")


class _one_thread_each:
    """While workers are started: keep numpy's linear algebra from starting threads of its own in each of them."""

    _names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in self._names}
        os.environ.update(dict.fromkeys(self._names, "1"))

    def __exit__(self, *exception: object) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
