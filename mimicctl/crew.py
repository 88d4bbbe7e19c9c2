"""Numbered jobs in processes of this machine. A process that dies is replaced, and what it had under way is done again.

Every process has a pipe of its own and nothing else in common with the others: no lock that a killed process could take with it.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import multiprocessing.connection
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from mimicctl.errors import RunFailed, UserError
from mimicctl.processes import SPAWN, as_user_error, become_worker, one_thread_each
from mimicctl.tasks import told_of_tasks

_MOST_LOSSES = 5
"""Times that a job may be lost. What kills its process every time ends the run, be it the job or a machine without memory."""

_AHEAD = 2
"""Jobs in the pipe of a process beyond those it works on, so that it need not wait for the next one."""

_LAST_WORDS = 5.0
"""Seconds that a process has to end once its pipe is closed."""

Item = TypeVar("Item")
NextNumber = Callable[[], int | None]
Run = Callable[[NextNumber], Iterator[tuple[int, Any]]]


@dataclass
class Activity:
    """What is going on, for those who watch: kept up by whatever runs the jobs.

    Attributes:
        begun: jobs handed out; one that is done again counts once.
        workers: processes at work.
        on_event: called with a sentence when something happened that a person should know of.
    """

    begun: int = 0
    workers: int = 0
    on_event: Callable[[str], None] = lambda text: None


def results_of_jobs(
    prepare: Callable[..., Run],
    arguments: tuple[Any, ...],
    numbers: Iterable[int | None],
    *,
    workers: int,
    at_once: int,
    activity: Activity,
    do: str,
    sent: Callable[[int], Any] = lambda number: number,
) -> Iterator[Any]:
    """What becomes of each of `numbers`, each once, in the order it comes. Close the iterator to stop.

    Args:
        prepare: a function of a module, called once in each process with `arguments`. It returns `run`, which takes numbers from the function it is
            given until that returns None, and yields (number, result). `run` is called again when there is more.
        numbers: None among them says that there is none until more results have been taken.
        at_once: jobs that a process works on at a time.
        do: what to do about processes that die again and again.
        sent: what a process gets instead of a number, if that does not say enough; a few kilobytes at most, which a pipe holds.

    Raises:
        UserError: raised in a process.
        RunFailed: another exception in a process, or a job that was lost too often.
    """
    crew = _Crew(prepare, arguments, iter(numbers), at_once + _AHEAD, activity, do, sent)
    try:
        crew.hire(workers)
        while crew.busy():
            for connection in multiprocessing.connection.wait([worker.connection for worker in crew.workers]):
                yield from crew.answer(connection)
            if not crew.busy():
                crew.deal()
    finally:
        crew.dismiss()


def results_here(run: Run, numbers: Iterable[int], activity: Activity | None = None) -> Iterator[Any]:
    """As `results_of_jobs`, in this process. Close the iterator to stop."""
    activity, left = activity or Activity(), iter(numbers)

    def next_number() -> int | None:
        number = next(left, None)
        activity.begun += number is not None
        return number

    activity.workers = 1
    with closing(run(next_number)) as answers:
        for _, result in answers:
            yield result


def results_in_order(
    items: Iterable[tuple[Item, Sequence[Any]]], prepare: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...], workers: int, *, do: str
) -> Iterator[tuple[Item, list[Any]]]:
    """Each item with what became of each of its jobs, in the order they are handed in.

    A few jobs are under way at a time, however many there are. Close the iterator to stop.

    Args:
        items: with their jobs, few or many, of a few kilobytes each.
        prepare: a function of a module, called once in each process with `arguments`. It returns what is done with a job.
        do: what to do about processes that die again and again.

    Raises:
        UserError, RunFailed: as `results_of_jobs`.
    """
    fresh = itertools.count()
    parcels: dict[int, Sequence[Any]] = {}
    waiting: deque[tuple[Item, list[int]]] = deque()
    done: dict[int, list[Any]] = {}
    most = workers * (1 + _AHEAD)

    def numbers() -> Iterator[int | None]:
        for item, jobs in items:
            # An item without jobs is sent round too: it comes out in its turn, and not only with the next that has some.
            mine = list(itertools.islice(fresh, max(1, len(jobs))))
            waiting.append((item, mine))
            for i, number in enumerate(mine):
                # Results that wait for an earlier item take up memory; those of the first item wait for nothing but each other.
                while len(waiting) > 1 and len(parcels) + len(done) >= most:
                    yield None
                parcels[number] = jobs[i : i + 1]
                yield number

    results = results_of_jobs(
        _prepare_parcels,
        (prepare, arguments),
        numbers(),
        workers=workers,
        at_once=1,
        activity=Activity(),
        do=do,
        sent=lambda number: (number, parcels[number]),
    )
    with closing(results):
        for number, made in results:
            del parcels[number]
            done[number] = made
            while waiting and all(number in done for number in waiting[0][1]):
                item, mine = waiting.popleft()
                yield item, [result for number in mine for result in done.pop(number)]


def _prepare_parcels(prepare: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...]) -> Run:
    work = prepare(*arguments)

    def run(next_parcel: Callable[[], tuple[int, Sequence[Any]] | None]) -> Iterator[tuple[int, Any]]:
        for number, jobs in iter(next_parcel, None):
            yield number, (number, [work(job) for job in jobs])

    return run


@dataclass
class _Worker:
    """A process.

    Attributes:
        under_way: numbers that it was handed and has not answered.
        waits: it was told that there is nothing more for now.
    """

    process: multiprocessing.Process
    connection: Connection
    under_way: set[int] = field(default_factory=set)
    waits: bool = False

    def tell(self, parcel: Any) -> None:
        self.waits = parcel is None
        with contextlib.suppress(OSError):  # it is dead, which the other direction will tell
            self.connection.send(parcel)


class _Crew:
    def __init__(
        self,
        prepare: Callable[..., Run],
        arguments: tuple[Any, ...],
        numbers: Iterator[int | None],
        share: int,
        activity: Activity,
        do: str,
        sent: Callable[[int], Any],
    ) -> None:
        self.workers: list[_Worker] = []
        self._body = (prepare, arguments, told_of_tasks())
        self._fresh, self._again = numbers, []  # the second is a heap
        self._losses: Counter[int] = Counter()
        self._share, self._activity, self._do, self._sent = share, activity, do, sent

    def hire(self, count: int) -> None:
        with one_thread_each():
            for _ in range(count):
                ours, theirs = SPAWN.Pipe()
                process = SPAWN.Process(target=_body, args=(*self._body, theirs), daemon=True)
                self.workers.append(_Worker(process, ours))
                try:
                    process.start()
                except OSError as error:
                    raise RunFailed(f"The system starts no more processes: {error.strerror}.", do=self._do) from None
                theirs.close()
        self._activity.workers = len(self.workers)
        self.deal()

    def busy(self) -> bool:
        return any(worker.under_way for worker in self.workers)

    def answer(self, connection: Connection) -> Iterator[Any]:
        """Take what a process sent, and hand it the next number."""
        worker = next(worker for worker in self.workers if worker.connection is connection)
        try:
            answer = connection.recv()
        except (EOFError, OSError):
            self._replace(worker)
            return
        if isinstance(answer, UserError):
            raise answer
        number, result = answer
        worker.under_way.remove(number)
        self.deal()
        yield result

    def dismiss(self) -> None:
        started = [worker for worker in self.workers if worker.process.pid is not None]
        for worker in started:
            worker.process.terminate()
        for worker in started:
            worker.process.join()
        for worker in self.workers:
            worker.connection.close()
        self._activity.workers = 0

    def deal(self) -> None:
        """One number to each process in turn until all have enough, so that a small run is spread too."""
        hungry = [worker for worker in self.workers if len(worker.under_way) < self._share]
        while hungry:
            for worker in hungry:
                number = self._next()
                if number is None:
                    # Whoever works waits for its next number, unless told that there is none.
                    for other in self.workers:
                        if not other.waits and len(other.under_way) < self._share:
                            other.tell(None)
                    return
                worker.under_way.add(number)
                worker.tell(self._sent(number))
            hungry = [worker for worker in hungry if len(worker.under_way) < self._share]

    def _next(self) -> int | None:
        if self._again:
            return heapq.heappop(self._again)
        number = next(self._fresh, None)
        self._activity.begun += number is not None
        return number

    def _replace(self, worker: _Worker) -> None:
        worker.process.join(_LAST_WORDS)
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        self.workers.remove(worker)
        for number in worker.under_way:
            self._losses[number] += 1
            heapq.heappush(self._again, number)
        lost, fate = len(worker.under_way), _fate(worker.process.exitcode)
        if any(self._losses[number] >= _MOST_LOSSES for number in worker.under_way):
            raise RunFailed(f"{_MOST_LOSSES} worker processes died over the same work; the last one {fate}.", do=self._do)
        self._activity.on_event(f"A worker process {fate}. Another takes its place and does the {lost} again that it had under way.")
        self.hire(1)


def _fate(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "was killed (signal 9), by someone or for want of memory"
    if code is not None and code < 0:
        return f"died of signal {-code} ({signal.Signals(-code).name})"
    return f"ended with exit code {code}"


def _body(prepare: Callable[..., Run], arguments: tuple[Any, ...], of_tasks: tuple[tuple[str, ...], bool | None], connection: Connection) -> None:
    """Body of a process."""
    become_worker(*of_tasks)
    try:
        run = prepare(*arguments)
        while True:
            first = connection.recv()
            if first is None:
                continue
            numbers = itertools.chain([first], iter(connection.recv, None))
            for answer in run(lambda: next(numbers, None)):  # noqa: B023 (used up before the next round)
                connection.send(answer)
    except MemoryError:
        os._exit(1)  # as if the system had killed it: with luck there is room for the next one
    except Exception as error:
        connection.send(as_user_error(error))
