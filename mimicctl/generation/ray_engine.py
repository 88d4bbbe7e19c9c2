"""Trials as tasks of a Ray cluster, which does again what a lost process or machine had under way."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mimicctl.config import GenerateSettings
from mimicctl.crew import Activity, Run
from mimicctl.errors import RunFailed, UserError
from mimicctl.generation.source import SourcePool
from mimicctl.generation.trial import TrialResult, TrialSettings

_ROUNDS = 4
"""Trials of a task, per env. More cost less, and more is done again after a loss."""

_RETRIES = 10
"""Times that Ray does a task again whose process or machine was lost. What the memory monitor ended it does again without end."""

_PATIENCE = 5.0
"""Seconds in which the head of a cluster has to answer."""

_NICENESS = 0
"""Of the workers of a cluster that is started here. Ray's own 15 lets whatever else the machine does go first, and the run crawl."""

_AHEAD = 2
"""Tasks that are handed in and not done, per core, so that none waits for work."""

_HELD = 6
"""Tasks under way per core, those included that are done before their turn: results must not pile up behind a slow one."""


def results_from_ray(pool: SourcePool, trial_settings: TrialSettings, numbers: range, settings: GenerateSettings, activity: Activity) -> Iterator[TrialResult]:
    """Results of the trials `numbers`, in that order. Close the iterator to stop.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
        RunFailed: a trial raised, or a task was lost too often.
    """
    ray = _connected(settings)
    from ray.exceptions import RayError, RayTaskError

    try:
        task = ray.remote(num_cpus=1, max_retries=_RETRIES, retry_exceptions=[MemoryError])(_run_share)
        common = ray.put((pool, trial_settings, settings.num_envs))
        under_way: deque[Any] = deque()
        pending: list[Any] = []
        shares = _shares(numbers, settings.num_envs, lambda: _cores(ray, settings))
        while True:
            cores = _cores(ray, settings)
            while len(pending) < _AHEAD * cores and len(under_way) < _HELD * cores and (share := next(shares, None)):
                pending.append(task.remote(common, share))
                under_way.append(pending[-1])
                activity.begun += len(share)
            activity.workers = min(len(pending), cores)
            if not under_way:
                break
            if pending:
                _, pending = ray.wait(pending, fetch_local=False)
            while under_way and under_way[0] not in pending:
                yield from ray.get(under_way.popleft())
    except RayTaskError as error:
        raise RunFailed(f"A Ray task failed: {error.cause}", do="run again with --engine pool --workers 1 --debug for the traceback") from None
    except RayError as error:
        first_line = str(error).strip().splitlines()[0]
        raise RunFailed(f"Ray gave up on a task: {type(error).__name__}: {first_line}", do="see to the cluster (ray status); --resume continues") from None
    finally:
        activity.workers = 0
        ray.shutdown()


def _connected(settings: GenerateSettings) -> Any:
    """The module ray, connected to the cluster: that of `address`, that of RAY_ADDRESS as inside a Ray job, or one started here for this run."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UserError("Ray is not installed.", do='pip install "mimicctl[ray]"') from None
    address = settings.address or os.environ.get("RAY_ADDRESS") or "local"
    _refuse_deaf(address)
    own = {}
    if address == "local":
        own = {"num_cpus": settings.workers or None, "include_dashboard": False, "_system_config": {"worker_niceness": _NICENESS}}
    try:
        ray.init(address, logging_level=logging.ERROR, **own)
    except Exception as error:  # nothing more particular, if a node of its own is not up within half a minute
        why = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        if address == "local":
            raise RunFailed(f"Ray did not start: {why}.", do="on a busy machine try again later, or do without: --engine pool") from None
        raise _no_cluster(address, why) from None
    return ray


def _refuse_deaf(address: str) -> None:
    """UserError if nobody listens there: Ray itself would try for minutes."""
    found = re.fullmatch(r"(?:ray://)?\[?([^/\]]+?)\]?:(\d{1,5})", address)
    if found:
        try:
            socket.create_connection((found[1], int(found[2])), _PATIENCE).close()
        except (OSError, OverflowError) as error:
            raise _no_cluster(address, getattr(error, "strerror", None) or str(error)) from None


def _no_cluster(address: str, why: str) -> UserError:
    return UserError(f"No connection to a Ray cluster: {why}.", where=address, do="ray status --address HOST:PORT shows whether it runs")


def _cores(ray: Any, settings: GenerateSettings) -> int:
    """Tasks that can run at once. A cluster grows and shrinks."""
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    return min(cores, settings.workers or cores)


def _shares(numbers: range, num_envs: int, cores: Callable[[], int]) -> Iterator[range]:
    """The numbers in pieces. Towards the end they are smaller, so that all cores are busy until then, but fill the envs of a core where there are enough."""
    while numbers:
        even = -(-len(numbers) // cores())
        size = min(num_envs * _ROUNDS, max(even // 2, min(even, num_envs)))
        yield numbers[:size]
        numbers = numbers[size:]


_prepared: list[Run] = []
"""The envs of this process, once it has them: Ray gives a process task after task of one run."""


def _run_share(common: tuple[SourcePool, TrialSettings, int], share: Sequence[int]) -> list[TrialResult]:
    """A task."""
    from mimicctl.generation.scheduler import prepare_trials

    if not _prepared:
        _prepared.append(prepare_trials(*common))
    left = iter(share)
    return [result for _, result in sorted(_prepared[0](lambda: next(left, None)), key=lambda answer: answer[0])]
