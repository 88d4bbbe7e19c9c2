"""Attempts of the scripted operator at a task, as a recording session makes them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from mimicctl.config import RecordSettings
from mimicctl.devices import make_device
from mimicctl.envs.base import MimicEnv
from mimicctl.recording.session import Progress, Rules, run_session
from mimicctl.schema import Episode


@dataclass(frozen=True)
class Attempt:
    """One attempt.

    Attributes:
        name: "attempt 3", or of the demo in its file.
        outcome: how it ended, for people.
        saved: whether it is a demonstration.
    """

    name: str
    episode: Episode
    outcome: str
    saved: bool


class _Enough(Exception):
    """All attempts that were asked for have ended."""


class _Shelf:
    """Where a session writes what it recorded, in memory."""

    def __init__(self) -> None:
        self.episodes: list[Episode] = []

    def write(self, episode: Episode) -> None:
        self.episodes.append(episode)


def attempts_of_operator(env: MimicEnv, count: int, seed: int, on_attempt: Callable[[int], None] = lambda done: None) -> list[Attempt]:
    """So many attempts in env 0, successful or not, each on a start state of its own."""
    progress = Progress(Rules(wanted=0, hold_needed=env.task.success_hold_steps))
    shelf = _Shelf()

    def watch(progress: Progress) -> None:
        on_attempt(len(progress.outcomes))
        if len(progress.outcomes) == count:
            raise _Enough

    with suppress(_Enough):
        run_session(env, make_device(env.task, RecordSettings(device="scripted"), seed), shelf, progress, seed=seed, failed=shelf, on_step=watch)
    ended = zip(shelf.episodes, progress.outcomes, strict=True)
    return [Attempt(f"attempt {number}", episode, outcome.value, outcome.saved) for number, (episode, outcome) in enumerate(ended, 1)]
