"""Running trials in this process or in several, delivered in the order of their numbers either way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from mimicctl.envs import make_env
from mimicctl.generation.source import SourcePool
from mimicctl.generation.trial import TrialResult, TrialSettings, run_trials
from mimicctl.processes import SharedNumbers, results_of


def results_in_order(pool: SourcePool, settings: TrialSettings, *, first: int, last: int | None, num_envs: int, workers: int) -> Iterator[TrialResult]:
    """Results of trials `first`, `first + 1`, ... up to `last` exclusive (None: without end), in that order.

    Which process or env runs a trial changes nothing about it. Close the iterator to stop.
    """
    if workers > 1:
        arguments = (pool, settings, SharedNumbers(first, last), num_envs)
        unordered = results_of(_work, arguments, workers, do="use fewer --workers; --resume continues")
    else:
        unordered = _work(pool, settings, itertools.islice(itertools.count(first), None if last is None else max(last - first, 0)), num_envs)
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


def _work(pool: SourcePool, settings: TrialSettings, numbers: Iterator[int], num_envs: int) -> Iterator[TrialResult]:
    """Take the next number and run it, until there are no more."""
    env = make_env(settings.task, num_envs)
    try:
        yield from run_trials(env, pool, settings, lambda: next(numbers, None))
    finally:
        env.close()
