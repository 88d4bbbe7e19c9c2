"""From device and env to episodes: attempts that end in a saved demonstration or are discarded."""

from __future__ import annotations

import datetime
import getpass
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

import mimicctl
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.devices import Device, Event, OperatorView
from mimicctl.envs.base import MimicEnv
from mimicctl.schema import Episode

_SEED_SPACE = 1_000_003
"""First word of the spawn key of recordings, so that no trial or rollout starts where a recording did."""

_DROPPED = -0.05
"""[m] An object lower than this has left the table."""


class Outcome(Enum):
    """How an attempt ended."""

    SAVED = "saved"
    DISCARDED = "discarded by the operator"
    DROPPED = "an object left the table"
    TIMED_OUT = "timed out"


@dataclass
class Progress:
    """What a status line shows; the session keeps it up to date.

    Attributes:
        held: consecutive steps success has held.
        steps: of the attempt under way.
        rate: control steps per second of wall clock, lately.
        saved, wanted: demonstrations; wanted 0 is without end.
        outcomes: how the attempts before this one ended.
        signals: subtask signals true now.
    """

    wanted: int
    hold_needed: int
    held: int = 0
    steps: int = 0
    rate: float = 0.0
    saved: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    signals: dict[str, bool] = field(default_factory=dict)
    view: OperatorView | None = None

    @property
    def discarded(self) -> int:
        return sum(outcome is not Outcome.SAVED for outcome in self.outcomes)


class Pacer:
    """Keeps a loop at `hz` steps per second; 0 is as fast as it goes. Measures what came of it."""

    def __init__(self, hz: float) -> None:
        self._period = 1.0 / hz if hz else 0.0
        self._due = self._last = time.monotonic()
        self.rate = 0.0

    def wait(self) -> None:
        self._due = max(self._due + self._period, time.monotonic() - self._period)
        time.sleep(max(0.0, self._due - time.monotonic()))
        now = time.monotonic()
        elapsed, self._last = max(now - self._last, 1e-6), now
        self.rate = 1.0 / elapsed if not self.rate else 0.9 * self.rate + 0.1 / elapsed


def run_session(
    env: MimicEnv,
    device: Device,
    writer: DatasetWriter | None,
    progress: Progress,
    *,
    seed: int,
    step_hz: float,
    operator: str = "",
    first_attempt: int = 0,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Let the device drive env 0 until the wanted number of demonstrations is saved.

    Success that has held saves the episode by itself. What is saved is committed before the next attempt begins, so
    an interruption loses the attempt under way and nothing else.

    Args:
        writer: None to drive without recording.
        first_attempt: number of the first attempt; start states follow from seed and number.
    """
    pacer, attempt = Pacer(step_hz), first_attempt
    while not progress.wanted or progress.saved < progress.wanted:
        outcome, episode = _attempt(env, device, progress, pacer, np.random.SeedSequence(seed, spawn_key=(_SEED_SPACE, attempt)), on_step)
        if outcome is Outcome.SAVED and writer is not None:
            episode.lineage = lineage_of(device, operator, seed=seed, attempt=attempt, step_hz=step_hz)
            writer.write(episode)
        progress.saved += outcome is Outcome.SAVED
        progress.outcomes.append(outcome)
        attempt += 1


def _attempt(
    env: MimicEnv,
    device: Device,
    progress: Progress,
    pacer: Pacer,
    seed: np.random.SeedSequence,
    on_step: Callable[[Progress], None],
) -> tuple[Outcome, Episode]:
    env.reset([0], [seed])
    device.reset()
    snapshots, actions = [env.snapshot([0])[0]], []
    progress.held = progress.steps = 0
    outcome = None
    while outcome is None:
        progress.view = look(env, snapshots[-1], progress.held)
        progress.signals = {name: bool(value) for name, value in env.signals(snapshots[-1]).items()}
        on_step(progress)
        command = device.command(progress.view)
        action = env.command_to_action(snapshots[-1], command.delta, command.gripper)
        env.step(action[None], [0])
        actions.append(action)
        snapshots.append(env.snapshot([0])[0])
        progress.held = progress.held + 1 if env.success(snapshots[-1]) else 0
        progress.steps += 1
        outcome = _verdict(env, snapshots[-1], progress, Event.RESET in command.events)
        pacer.wait()
        progress.rate = pacer.rate
    on_step(progress)
    episode = env.episode(np.stack(snapshots), np.stack(actions), with_datagen_info=False)
    episode.success = outcome is Outcome.SAVED
    return outcome, episode


def _verdict(env: MimicEnv, snapshot: np.ndarray, progress: Progress, discard: bool) -> Outcome | None:
    """How the attempt has just ended, if it has. Success that has held wins over a late discard."""
    if progress.held >= progress.hold_needed:
        return Outcome.SAVED
    if discard:
        return Outcome.DISCARDED
    if any(pose[2, 3] < _DROPPED for pose in env.object_poses(snapshot).values()):
        return Outcome.DROPPED
    return Outcome.TIMED_OUT if progress.steps >= env.task.horizon else None


def look(env: MimicEnv, snapshot: np.ndarray, held: int) -> OperatorView:
    """What the operator sees of one env."""
    eef = env.task.eef_names[0]
    return OperatorView(env.eef_poses(snapshot)[eef], env.object_poses(snapshot), float(env.gripper_opening(snapshot)), held)


def lineage_of(device: Device, operator: str, **facts: Any) -> dict[str, Any]:
    """Who and what made an episode. A scripted operator is never passed off as a person."""
    return {
        "made_by": "mimicctl record",
        "version": mimicctl.__version__,
        "device": device.name,
        "operator": (operator or getpass.getuser()) if device.human else device.name,
        "human": device.human,
        "recorded_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **facts,
    }
