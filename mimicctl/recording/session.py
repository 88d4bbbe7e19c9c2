"""From device and env to episodes: attempts that end in a saved demonstration or are discarded."""

from __future__ import annotations

import datetime
import getpass
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol

import numpy as np

import mimicctl
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.devices import Command, Device, Event, OperatorView
from mimicctl.envs.base import MimicEnv
from mimicctl.envs.conditions import conditions_of
from mimicctl.errors import UserError
from mimicctl.recording.quality import TakeQuality, quality_of
from mimicctl.schema import Episode
from mimicctl.tasks import TaskSpec

_SEED_SPACE = 1_000_003
"""First word of the spawn key of recordings, so that no trial or rollout starts where a recording did."""

_DROPPED = -0.05
"""[m] An object lower than this has left the table."""


class Outcome(Enum):
    """How an attempt ended."""

    SAVED = "saved"
    SAVED_BY_HAND = "saved by the operator"
    DISCARDED = "discarded by the operator"
    DROPPED = "an object left the table"
    TIMED_OUT = "timed out"

    @property
    def saved(self) -> bool:
        return self in (Outcome.SAVED, Outcome.SAVED_BY_HAND)


class Phase(Enum):
    """Where a session is, in this order for each attempt."""

    READY = "ready"  # the scene is reset and waits for the operator
    COUNTDOWN = "countdown"
    RECORDING = "recording"
    REST = "rest"


@dataclass(frozen=True)
class Rules:
    """How attempts begin and end.

    Attributes:
        wanted: demonstrations; 0 is without end.
        hold_needed: consecutive steps that success must hold to count, and to be saved by itself.
        by_hand: the operator ends each attempt and keeps it, by `Event.START` or `Event.SAVE`; success saves nothing, and no time runs out.
        start: what recording waits for: "at_once" nothing, "motion" the first command that moves, "command" `Event.START`.
        countdown, rest: seconds before recording and after each attempt.
        step_hz: control steps per second of wall clock; 0 is as fast as it goes.
    """

    wanted: int
    hold_needed: int
    by_hand: bool = False
    start: str = "at_once"
    countdown: float = 0.0
    rest: float = 0.0
    step_hz: float = 0.0


@dataclass
class Progress:
    """What a status line or a page shows; the session keeps it up to date.

    Attributes:
        phase: where the attempt under way is.
        remaining: seconds left of a countdown or a rest.
        held: consecutive steps success has held.
        done: whether it has held for long enough at some time in the attempt under way.
        steps: of the attempt under way.
        rate: control steps per second of wall clock, lately.
        saved: demonstrations.
        successes: attempts that were kept in this session and in which success held.
        outcomes: how the attempts before this one ended.
        takes: how good those were that were saved.
        signals: subtask signals true now.
        swing_cancellation: whether it is on; None where nothing hangs.
        view, snapshot: of the scene now; None before the first.
        recorded: whether what is saved is kept; else somebody just drives.
        device: what the device says of itself, if it does.
        beside: how what goes on beside the recording stands, if anything does.
        began: when the session began, `time.monotonic()`.
    """

    rules: Rules
    phase: Phase = Phase.READY
    remaining: float = 0.0
    held: int = 0
    done: bool = False
    steps: int = 0
    rate: float = 0.0
    saved: int = 0
    successes: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    takes: list[TakeQuality] = field(default_factory=list)
    signals: dict[str, bool] = field(default_factory=dict)
    recorded: bool = True
    device: str = ""
    beside: str = ""
    swing_cancellation: bool | None = None
    view: OperatorView | None = None
    snapshot: np.ndarray | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def finished(self) -> bool:
        return 0 < self.rules.wanted <= self.saved

    @property
    def discarded(self) -> int:
        return sum(not outcome.saved for outcome in self.outcomes)

    @property
    def demos_per_hour(self) -> float:
        """Saved in this session."""
        return 3600 * sum(outcome.saved for outcome in self.outcomes) / max(time.monotonic() - self.began, 1e-6)


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


class Autopilot(Protocol):
    """What drives in place of the operator, who begins and ends each attempt."""

    def begin(self, attempt: int) -> None:
        """A new attempt, by its number."""

    def act(self, snapshot: np.ndarray) -> np.ndarray:
        """(A,) float32 action for the env of this snapshot (K,)."""


class _Quit(Exception):
    """The operator has had enough."""


def run_session(
    env: MimicEnv,
    device: Device,
    writer: DatasetWriter | None,
    progress: Progress,
    *,
    seed: int,
    operator: str = "",
    consent_id: str = "",
    first_attempt: int = 0,
    failed: DatasetWriter | None = None,
    autopilot: Autopilot | None = None,
    seed_space: int = _SEED_SPACE,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Let the device drive env 0 until the wanted number of demonstrations is saved, or the operator quits.

    Success that has held saves the episode by itself. What is saved is committed before the next attempt begins, so
    an interruption loses the attempt under way and nothing else.

    Args:
        writer: None to drive without recording.
        consent_id: of the operator's consent, for the lineage.
        first_attempt: number of the first attempt; start states follow from seed and number.
        failed: where the episodes go that were recorded and not saved; None to drop them.
        autopilot: drives in place of the device, which is asked for events alone.
        seed_space: first word of the spawn key of start states.
        on_step: called at every control step, and as often while nothing is recorded.
    """
    progress.recorded = writer is not None
    session = _Session(env, device, progress, on_step, autopilot)
    attempt = first_attempt
    try:
        while not progress.finished:
            outcome, episode = session.attempt(np.random.SeedSequence(seed, spawn_key=(seed_space, attempt)), attempt)
            if episode is not None:
                take = quality_of(episode, env.task.control_hz, env.gripper_actions(episode.actions), progress.held)
                conditions = conditions_of({"sim_args": env.sim_args})
                facts = {"seed": seed, "attempt": attempt, "step_hz": progress.rules.step_hz, "outcome": outcome.value, "quality": take.facts(), **conditions}
                episode.lineage = lineage_of(device, operator, consent_id, **facts)
                if outcome.saved and autopilot is None:
                    progress.takes.append(take)
                target = writer if outcome.saved else failed
                if target is not None:
                    target.write(episode)
            progress.saved += outcome.saved
            progress.successes += outcome.saved and progress.done
            progress.outcomes.append(outcome)
            attempt += 1
            progress.phase = Phase.REST
            on_step(progress)
            if not progress.finished:
                session.pass_time(Phase.REST, progress.rules.rest)
    except _Quit:
        return


class _Session:
    """The loop of one attempt, and what it needs."""

    def __init__(self, env: MimicEnv, device: Device, progress: Progress, on_step: Callable[[Progress], None], autopilot: Autopilot | None) -> None:
        self._env, self._device, self._progress, self._on_step, self._autopilot = env, device, progress, on_step, autopilot
        self._pacer = Pacer(progress.rules.step_hz)
        self._idle = Pacer(progress.rules.step_hz or env.task.control_hz)

    def attempt(self, seed: np.random.SeedSequence, number: int) -> tuple[Outcome, Episode | None]:
        """From a new start state to how it ended, and what was recorded, if that had begun."""
        env, progress = self._env, self._progress
        env.reset([0], [seed])
        self._device.reset()
        snapshots, actions = [env.snapshot([0])[0]], []
        progress.held, progress.steps, progress.done = 0, 0, False
        if self._autopilot:
            self._autopilot.begin(number)
        if not self._wait_for_start(snapshots[0]):
            return Outcome.DISCARDED, None
        # With switches as they are now.
        snapshots[0] = env.snapshot([0])[0]
        progress.phase, outcome = Phase.RECORDING, None
        while outcome is None:
            self._look(snapshots[-1])
            self._on_step(progress)
            command = self._command()
            if (action := self._action(snapshots[-1], command)) is not None:
                env.step(action[None], [0])
                actions.append(action)
                snapshots.append(env.snapshot([0])[0])
                progress.held = progress.held + 1 if env.success(snapshots[-1]) else 0
                progress.done |= progress.held >= progress.rules.hold_needed
                progress.steps += 1
            outcome = self._verdict(snapshots[-1], command.events)
            self._pacer.wait()
            progress.rate = self._pacer.rate
        self._on_step(progress)
        if not actions:
            return Outcome.DISCARDED, None
        episode = env.episode(np.stack(snapshots), np.stack(actions), with_datagen_info=False)
        episode.success = progress.held >= progress.rules.hold_needed
        return outcome, episode

    def pass_time(self, phase: Phase, seconds: float) -> bool:
        """Stay in a phase for so long. False if the operator asked for another start state."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._progress.phase, self._progress.remaining = phase, left
            self._on_step(self._progress)
            if Event.RESET in self._command().events:
                return False
            self._idle.wait()
        self._progress.remaining = 0.0
        return True

    def _wait_for_start(self, snapshot: np.ndarray) -> bool:
        """Until recording is to begin. False if the operator asked for another start state instead."""
        rules, progress = self._progress.rules, self._progress
        progress.phase = Phase.READY
        self._look(snapshot)
        while rules.start != "at_once":
            self._on_step(progress)
            command = self._command()
            if Event.RESET in command.events:
                return False
            if Event.SWITCH in command.events and self._env.task.swing_cancellation is not None:
                self._env.switch_swing_cancellation()
                self._look(snapshot)
            if Event.START in command.events or (rules.start == "motion" and self._moves(command)):
                break
            self._idle.wait()
        return self.pass_time(Phase.COUNTDOWN, rules.countdown)

    def _action(self, snapshot: np.ndarray, command: Command) -> np.ndarray | None:
        """(A,) of the env's next step; None while nobody drives."""
        if self._autopilot:
            return self._autopilot.act(snapshot)
        if command.idle or command.action is not None:
            return command.action
        each = commands_of(self._env.task, command)
        deltas, grippers = ({eef: getattr(one, part) for eef, one in each.items()} for part in ("delta", "gripper"))
        return self._env.command_to_action(snapshot, deltas, grippers)

    def _moves(self, command: Command) -> bool:
        """Whether it moves anything; a base has no gripper that closing would move."""
        if command.idle or command.action is not None:
            return not command.idle
        each = commands_of(self._env.task, command).values()
        return any(one.delta.any() or (np.any(np.less(one.gripper, 0)) and not self._env.task.on_floor) for one in each)

    def _command(self) -> Command:
        command = self._device.command(self._progress.view)
        self._progress.device = getattr(self._device, "state", "")
        if Event.QUIT in command.events:
            raise _Quit
        return command

    def _look(self, snapshot: np.ndarray) -> None:
        self._progress.snapshot = snapshot
        self._progress.swing_cancellation = self._env.task.swing_cancellation
        self._progress.view = look(self._env, snapshot, self._progress.held)
        self._progress.signals = {name: bool(value) for name, value in self._env.signals(snapshot).items()}

    def _verdict(self, snapshot: np.ndarray, events: Sequence[Event]) -> Outcome | None:
        """How the attempt has just ended, if it has. Success that has held wins over a late discard."""
        by_hand = self._progress.rules.by_hand
        if self._progress.held >= self._progress.rules.hold_needed and not by_hand:
            return Outcome.SAVED
        if Event.SAVE in events or (by_hand and Event.START in events):
            return Outcome.SAVED_BY_HAND
        if Event.RESET in events:
            return Outcome.DISCARDED
        if any(pose[2, 3] < _DROPPED for pose in self._env.object_poses(snapshot).values()):
            return Outcome.DROPPED
        return Outcome.TIMED_OUT if self._progress.steps >= self._env.task.horizon and not by_hand else None


def commands_of(task: TaskSpec, command: Command) -> dict[str, Command]:
    """The command of each eef."""
    first, *rest = task.eef_names
    missing = [eef for eef in rest if eef not in command.others]
    if missing:
        what = f"The device drives one arm, and {task.task_id} has {len(task.eef_names)}: nothing moves {' and '.join(missing)}."
        raise UserError(what, where="--device", do="use one that drives both: hands or scripted")
    return {first: command} | {eef: command.others[eef] for eef in rest}


def look(env: MimicEnv, snapshot: np.ndarray, held: int) -> OperatorView:
    """What the operator sees of one env."""
    objects, openings = env.object_poses(snapshot), env.gripper_opening(snapshot)
    swung = env.swung_to(snapshot) if env.task.swing_cancellation is not None else {}
    views = {eef: OperatorView(pose, objects, float(openings[eef]), swung.get(eef), held) for eef, pose in env.eef_poses(snapshot).items()}
    first = env.task.eef_names[0]
    return replace(views.pop(first), others=views)


def lineage_of(device: Device, operator: str, consent_id: str = "", **facts: Any) -> dict[str, Any]:
    """Who and what made an episode. A scripted operator is never passed off as a person."""
    input_facts = {"input": device.facts()} if hasattr(device, "facts") else {}
    return {
        "made_by": "mimicctl record",
        "version": mimicctl.__version__,
        "device": device.name,
        "operator": (operator or getpass.getuser()) if device.human else device.name,
        **({"consent_id": consent_id} if consent_id else {}),
        "human": device.human,
        "recorded_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **input_facts,
        **facts,
    }
