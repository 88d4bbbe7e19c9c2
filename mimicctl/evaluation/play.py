"""Rolling checkpoints out, in this process or in several; the results are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mimicctl.config import EvalSettings
from mimicctl.crew import Activity, NextNumber, results_here, results_of_jobs
from mimicctl.envs import make_env, worker_processes
from mimicctl.evaluation.checkpoints import labels_of
from mimicctl.evaluation.film import clear_unfinished, film_rollout
from mimicctl.evaluation.rollouts import Rollout, roll_out
from mimicctl.evaluation.sight import sight_of, view_of
from mimicctl.rendering.film import Film
from mimicctl.tasks import TaskSpec


@dataclass(frozen=True)
class _Job:
    """What every worker is told.

    Attributes:
        rollouts: of each checkpoint. Rollout i of checkpoint k has the number k * rollouts + i among all.
        films: for each checkpoint the folder of its videos; empty for none.
        filmed: how many rollouts of each checkpoint.
    """

    task: TaskSpec
    checkpoints: tuple[Path, ...]
    rollouts: int
    horizon: int
    seed: int
    num_envs: int
    action_range: tuple[float, float] | None
    films: tuple[Path, ...] = ()
    filmed: int = 0


def play(
    checkpoints: Sequence[Path],
    task: TaskSpec,
    settings: EvalSettings,
    videos: Path | None = None,
    *,
    on_event: Callable[[str], None] = lambda text: None,
) -> Iterator[tuple[Path, Rollout]]:
    """Roll every checkpoint out on the same start states: a checkpoint and one of its rollouts, in the order they get ready.

    A result depends on the checkpoint, the task, `seed`, `horizon` and the rollout's number: not on `workers` or `num_envs`, or on workers that were
    killed. On Isaac Lab that is so for start states alone. Close the iterator to stop.

    Args:
        videos: where the first `settings.video` rollouts of each checkpoint are filmed to.
        on_event: called with a sentence when something went wrong that the run gets over.

    Raises:
        RunFailed: worker processes failed again and again.
    """
    workers, num_envs = spread_over(task, settings)
    films = tuple(videos / label for label in labels_of(checkpoints)) if settings.video and videos else ()
    filmed = settings.video if films else 0
    job = _Job(task, tuple(checkpoints), settings.rollouts, settings.horizon, settings.seed, num_envs, settings.action_range, films, filmed)
    numbers = range(len(checkpoints) * settings.rollouts)
    if workers > 1:
        activity = Activity(on_event=on_event)
        # A worker needs no preparation but `partial`: hardly any begins its run twice.
        results = results_of_jobs(partial, (_roll_out, job), numbers, workers=workers, at_once=num_envs, activity=activity, do="use fewer --workers")
    else:
        results = results_here(partial(_roll_out, job), numbers)
    try:
        with closing(results):
            yield from results
    finally:
        clear_unfinished(films)


def spread_over(task: TaskSpec, settings: EvalSettings) -> tuple[int, int]:
    """Worker processes, and envs in each of them."""
    workers = min(worker_processes(task, settings.workers), settings.rollouts)
    return workers, min(settings.num_envs, -(-settings.rollouts // workers))


def _roll_out(job: _Job, next_number: NextNumber) -> Iterator[tuple[int, tuple[Path, Rollout]]]:
    """Roll out numbers as long as there are any: in one checkpoint after the other, as they come."""
    from mimicctl.training.policies import load_policy

    with ExitStack() as stack:
        stack.enter_context(one_thread())
        env = stack.enter_context(closing(make_env(job.task, job.num_envs)))
        film = stack.enter_context(closing(Film(env))) if job.films else None
        upcoming = _Upcoming(next_number, job.rollouts)
        while not upcoming.empty():
            place = upcoming.checkpoint
            checkpoint = job.checkpoints[place]
            policy = load_policy(checkpoint, seed=job.seed, action_range=job.action_range)
            view = view_of(policy, job.task)
            with closing(sight_of(view, env)) if view else nullcontext() as sight:
                rollouts = roll_out(env, policy, upcoming.of(place), horizon=job.horizon, seed=job.seed, recorded=job.filmed, sight=sight)
                for rollout, snapshots in rollouts:
                    if film is not None and snapshots is not None:
                        film_rollout(film, job.films[place], rollout, snapshots)
                    yield place * job.rollouts + rollout.index, (checkpoint, rollout)


class _Upcoming:
    """Numbers as they come, told apart by their checkpoints."""

    def __init__(self, next_number: NextNumber, rollouts: int) -> None:
        self._next_number, self._rollouts = next_number, rollouts
        self._number = next_number()

    def empty(self) -> bool:
        return self._number is None

    @property
    def checkpoint(self) -> int:
        """That of the next number."""
        return self._number // self._rollouts

    def of(self, checkpoint: int) -> Iterator[int]:
        """Rollouts of a checkpoint, until the next number is of another one or there is none."""
        while not self.empty() and self.checkpoint == checkpoint:
            yield self._number % self._rollouts
            self._number = self._next_number()


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread, as in a worker: how sums are split up over threads would show in the last digit."""
    from mimicctl.training.robomimic_seam import import_torch

    torch = import_torch()

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
