"""Demonstrations played again: by their actions or their states, compared with what was recorded, filmed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimicctl.annotation.auto import refuse_unreplayable
from mimicctl.dataset.reader import Dataset
from mimicctl.devices import OperatorView
from mimicctl.envs import make_env
from mimicctl.envs.base import held_for
from mimicctl.envs.replay import Divergence, by_actions, by_states, divergence
from mimicctl.errors import UserError
from mimicctl.recording.session import Pacer, look
from mimicctl.rendering.film import Film, prepare
from mimicctl.tasks import task_read_as


@dataclass(frozen=True)
class Played:
    """One demo that was played.

    Attributes:
        success: whether it ends in success.
        divergence: from the recording; None if that was not asked for.
        video: where it was filmed to.
    """

    name: str
    steps: int
    success: bool
    divergence: Divergence | None = None
    video: Path | None = None


def play(
    path: Path,
    names: Sequence[str] = (),
    *,
    task_id: str = "",
    states: bool = False,
    tolerance: float | None = None,
    videos: Path | None = None,
    step_hz: float = 0.0,
    on_step: Callable[[str, int, OperatorView], None] = lambda name, step, view: None,
) -> Iterator[Played]:
    """Play demos one after the other; close the iterator to stop.

    Args:
        names: which; empty for all.
        task_id: "" to take the file's word for it.
        states: put the scene into each recorded state instead of giving the actions to the physics.
        tolerance: for comparing with the recorded states; None not to.
        videos: folder for a film of each.
        step_hz: steps a second of wall clock; 0 is as fast as it goes.
        on_step: called with the demo, the step and what is seen.

    Raises:
        UserError: the file has no such demos, or they cannot be played.
    """
    with ExitStack() as stack:
        dataset = stack.enter_context(Dataset(path))
        task = task_read_as(dataset.task_id, task_id)
        refuse_unreplayable(dataset, task)
        unknown = [name for name in names if name not in dataset.demos]
        if unknown:
            what = f"There is no {unknown[0]} in the file; it has {dataset.demos[0]} to {dataset.demos[-1]}."
            raise UserError(what, where=str(path), do="mimicctl dataset info shows them")
        if videos is not None:
            prepare(task)
        env = stack.enter_context(closing(make_env(task)))
        film = None if videos is None else stack.enter_context(closing(Film(env)))
        for name in names or dataset.demos:
            episode = dataset.episode(name)
            if (states or tolerance is not None) and not episode.states:
                raise UserError(f"{name} has no recorded states.", where=str(path), do="leave out --states and --verify")
            pacer, snapshots = Pacer(step_hz), []
            for snapshot in by_states(env, episode) if states else by_actions(env, episode):
                snapshots.append(snapshot)
                on_step(name, len(snapshots) - 1, look(env, snapshot, 0))
                pacer.wait()
            seen = np.stack(snapshots)
            success = held_for(env.success(seen)) > 0
            apart = None if tolerance is None else divergence(env, episode, seen, tolerance)
            filmed = None if film is None else film.write(videos / f"{name}.mp4", seen)
            yield Played(name, len(episode), success, apart, filmed)
