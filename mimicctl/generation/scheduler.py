"""Running trials in this process, in several, or on a Ray cluster, delivered in the order of their numbers every way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial

from mimicctl.config import GenerateSettings
from mimicctl.crew import Activity, NextNumber, Run, results_here, results_of_jobs
from mimicctl.envs import make_env
from mimicctl.envs.base import MakeEnv, MimicEnv
from mimicctl.generation.source import SourcePool
from mimicctl.generation.trial import TrialResult, TrialSettings, run_trials


def results_in_order(
    pool: SourcePool, trial_settings: TrialSettings, numbers: range, settings: GenerateSettings, workers: int, activity: Activity, envs: MakeEnv = make_env
) -> Iterator[TrialResult]:
    """Results of the trials `numbers`, in that order.

    Which process, env or machine runs a trial, and how often it is tried, changes nothing about it. Close the iterator to stop.

    Args:
        envs: of this process.
    """
    if settings.engine == "ray":
        from mimicctl.generation.ray_engine import results_from_ray

        yield from results_from_ray(pool, trial_settings, numbers, settings, activity)
        return
    if workers > 1:
        do = "use fewer --workers; --resume continues"
        arguments = (pool, trial_settings, settings.num_envs)
        results = results_of_jobs(prepare_trials, arguments, numbers, workers=workers, at_once=settings.num_envs, activity=activity, do=do)
    else:
        results = _in_this_process(pool, trial_settings, numbers, settings.num_envs, activity, envs)
    with closing(results):
        yield from _ordered(results, numbers)


def _ordered(results: Iterator[TrialResult], numbers: range) -> Iterator[TrialResult]:
    early: dict[int, TrialResult] = {}
    expected = iter(numbers)
    wanted = next(expected, None)
    for result in results:
        early[result.index] = result
        while wanted in early:
            yield early.pop(wanted)
            wanted = next(expected, None)


def _in_this_process(pool: SourcePool, settings: TrialSettings, numbers: range, num_envs: int, activity: Activity, envs: MakeEnv) -> Iterator[TrialResult]:
    with closing(envs(settings.task, num_envs)) as env:
        yield from results_here(partial(_numbered, env, pool, settings), numbers, activity)


def prepare_trials(pool: SourcePool, settings: TrialSettings, num_envs: int) -> Run:
    """Make the envs of a worker process, which last as long as it does."""
    return partial(_numbered, make_env(settings.task, num_envs), pool, settings)


def _numbered(env: MimicEnv, pool: SourcePool, settings: TrialSettings, next_number: NextNumber) -> Iterator[tuple[int, TrialResult]]:
    for result in run_trials(env, pool, settings, next_number):
        yield result.index, result
