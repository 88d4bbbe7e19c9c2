"""How well policies bear another look of the scene: the same start states under each of several kinds of change."""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mimicctl.config import EvalSettings, RobustSettings
from mimicctl.crew import Activity, NextNumber, results_here, results_of_jobs
from mimicctl.envs import make_env
from mimicctl.envs.mujoco.appearance import SETTINGS, Appearance
from mimicctl.errors import UserError
from mimicctl.evaluation.checkpoints import epoch_of, find_checkpoints
from mimicctl.evaluation.play import one_thread
from mimicctl.evaluation.rollouts import Rollout, roll_out
from mimicctl.evaluation.sight import Sight, View, view_of
from mimicctl.tasks import TaskSpec

_LOOKS = 2_000_029
"""First word of the spawn key of appearances."""

_SEED_LIMIT = 10_000
"""Seeds that nobody named are below this, as Isaac Lab's."""


@dataclass(frozen=True)
class Cell:
    """What rollouts are counted together: a checkpoint under one setting, from the start states of one seed."""

    seed: int
    setting: str
    checkpoint: Path


def chosen_checkpoints(sources: Sequence[Path], start_epoch: int) -> list[Path]:
    """Those of every run folder from an epoch on, but for the extra copy that validated best, and every file that is named.

    Raises:
        UserError: there is none.
    """
    found: list[Path] = []
    for source in sources:
        every = find_checkpoints(source)
        late = every if source.is_file() else [path for path in every if epoch_of(path) >= start_epoch and "best" not in path.name]
        if not late:
            last = max(epoch_of(path) for path in every)
            raise UserError(f"No checkpoint is of epoch {start_epoch} or later; the last is of {last}.", where=str(source), do="lower --start-epoch")
        found += late
    return list({path.resolve(): path for path in found}.values())


def chosen_seeds(settings: RobustSettings, seed: int) -> list[int]:
    """Those that were named, or else `num_seeds` that `seed` chooses."""
    if settings.seeds:
        return list(dict.fromkeys(settings.seeds))
    return [int(drawn) for drawn in np.random.default_rng(seed).choice(_SEED_LIMIT, settings.num_seeds, replace=False)]


def cells_of(seeds: Sequence[int], settings: Sequence[str], checkpoints: Sequence[Path]) -> list[Cell]:
    """In the order they are rolled out, Isaac Lab's: all settings and checkpoints of a seed before the next."""
    return [Cell(*each) for each in itertools.product(seeds, settings, checkpoints)]


@dataclass(frozen=True)
class _Job:
    """What every worker is told.

    Attributes:
        left: the rollouts that are still to be done, in order; their numbers are their places here.
    """

    task: TaskSpec
    left: tuple[tuple[Cell, int], ...]
    horizon: int
    action_range: tuple[float, float] | None


def roll_out_cells(
    cells: Sequence[Cell],
    done: Mapping[Cell, Collection[int]],
    task: TaskSpec,
    robust: RobustSettings,
    settings: EvalSettings,
    *,
    on_event: Callable[[str], None] = lambda text: None,
) -> Iterator[tuple[Cell, Rollout]]:
    """Roll every cell out but for the rollouts that are `done`: a cell and one of its rollouts, in the order they get ready.

    Rollout number i of a seed begins in the same state under every setting and with every checkpoint, and under one setting every checkpoint sees
    the same appearance in it. A result does not depend on `workers`, on workers that were killed, or on what was done before. Close the iterator to
    stop.

    Args:
        on_event: called with a sentence when something went wrong that the run gets over.

    Raises:
        RunFailed: worker processes failed again and again.
    """
    left = tuple((cell, i) for cell in cells for i in range(robust.rollouts) if i not in done.get(cell, ()))
    workers = min(settings.workers or os.cpu_count() or 1, len(left))
    job = _Job(task, left, settings.horizon, settings.action_range)
    numbers = range(len(left))
    if workers > 1:
        activity, do = Activity(on_event=on_event), "use fewer --workers; --resume continues"
        results = results_of_jobs(partial, (_roll_out, job), numbers, workers=workers, at_once=1, activity=activity, do=do)
    else:
        results = results_here(partial(_roll_out, job), numbers)
    with closing(results):
        yield from results


def _roll_out(job: _Job, next_number: NextNumber) -> Iterator[tuple[int, tuple[Cell, Rollout]]]:
    """Do one rollout after the other, as long as there are any."""
    from mimicctl.training.policies import load_policy

    with ExitStack() as stack:
        stack.enter_context(one_thread())
        env = stack.enter_context(closing(make_env(job.task)))
        eyes = _Eyes(stack)
        loaded, policy = None, None
        for number in iter(next_number, None):
            cell, index = job.left[number]
            if loaded != (cell.checkpoint, cell.seed):
                loaded = cell.checkpoint, cell.seed
                policy = load_policy(cell.checkpoint, seed=cell.seed, together=1, action_range=job.action_range)
            sight = eyes.of(view_of(policy, job.task))
            sight.wear(appearance_of(cell, index))
            for rollout, _ in roll_out(env, policy, iter([index]), horizon=job.horizon, seed=cell.seed, sight=sight):
                yield number, (cell, rollout)


class _Eyes:
    """Of a worker: one sight a view, since to make one takes seconds."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._sights: list[tuple[View, Sight]] = []

    def of(self, view: View) -> Sight:
        for known, sight in self._sights:
            if known == view:
                return sight
        self._sights.append((view, self._stack.enter_context(closing(Sight(view)))))
        return self._sights[-1][1]


def appearance_of(cell: Cell, index: int) -> Appearance:
    """How the scene looks in rollout `index` of a cell; the checkpoint makes no difference."""
    # By a number of the name itself, so that a setting draws the same whichever others there are.
    spawn_key = (_LOOKS, zlib.crc32(cell.setting.encode()), index)
    return SETTINGS[cell.setting](np.random.default_rng(np.random.SeedSequence(cell.seed, spawn_key=spawn_key)))
