"""Rolling checkpoints out, in this process or in several; the results are the same."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from mimicctl.config import EvalSettings
from mimicctl.envs import make_env
from mimicctl.evaluation.checkpoints import labels_of
from mimicctl.evaluation.film import clear_unfinished, film_rollout
from mimicctl.evaluation.rollouts import Rollout, roll_out
from mimicctl.evaluation.sight import Sight, view_of
from mimicctl.processes import SharedNumbers, results_of
from mimicctl.rendering.film import Film
from mimicctl.tasks import TaskSpec


@dataclass(frozen=True)
class _Job:
    """What every worker is told.

    Attributes:
        films: for each checkpoint the folder of its videos; empty for none.
        filmed: how many rollouts of each checkpoint.
    """

    task: TaskSpec
    checkpoints: tuple[Path, ...]
    horizon: int
    seed: int
    num_envs: int
    action_range: tuple[float, float] | None
    films: tuple[Path, ...] = ()
    filmed: int = 0


def play(checkpoints: Sequence[Path], task: TaskSpec, settings: EvalSettings, videos: Path | None = None) -> Iterator[tuple[Path, Rollout]]:
    """Roll every checkpoint out on the same start states: a checkpoint and one of its rollouts, in the order they get ready.

    A result depends on the checkpoint, the task, `seed`, `horizon` and the rollout's number: not on `workers` or `num_envs`. Close the
    iterator to stop.

    Args:
        videos: where the first `settings.video` rollouts of each checkpoint are filmed to.

    Raises:
        RunFailed: a worker process failed.
    """
    workers = min(settings.workers or os.cpu_count() or 1, settings.rollouts)
    films = tuple(videos / label for label in labels_of(checkpoints)) if settings.video and videos else ()
    num_envs = min(settings.num_envs, -(-settings.rollouts // workers))
    job = _Job(task, tuple(checkpoints), settings.horizon, settings.seed, num_envs, settings.action_range, films, settings.video if films else 0)
    if workers > 1:
        shared = [SharedNumbers(0, settings.rollouts) for _ in checkpoints]
        results = results_of(_work, (job, shared), workers, do="use fewer --workers")
    else:
        results = _work(job, [iter(range(settings.rollouts)) for _ in checkpoints])
    try:
        with closing(results):
            yield from results
    finally:
        clear_unfinished(films)


def _work(job: _Job, numbers: Sequence[Iterator[int]]) -> Iterator[tuple[Path, Rollout]]:
    """For one checkpoint after the other: take the next number and roll it out, until there are no more."""
    from mimicctl.training.policy import Policy

    with ExitStack() as stack:
        stack.enter_context(one_thread())
        env = stack.enter_context(closing(make_env(job.task, job.num_envs)))
        film = stack.enter_context(closing(Film(job.task))) if job.films else None
        for i, checkpoint in enumerate(job.checkpoints):
            policy = Policy(checkpoint, seed=job.seed, action_range=job.action_range)
            view = view_of(policy, job.task)
            with closing(Sight(view)) if view else nullcontext() as sight:
                for rollout, snapshots in roll_out(env, policy, numbers[i], horizon=job.horizon, seed=job.seed, recorded=job.filmed, sight=sight):
                    if film is not None and snapshots is not None:
                        film_rollout(film, job.films[i], rollout, snapshots)
                    yield checkpoint, rollout


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread, as in a worker: how sums are split up over threads would show in the last digit."""
    from mimicctl.training.robomimic_seam import import_robomimic

    import_robomimic()
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
