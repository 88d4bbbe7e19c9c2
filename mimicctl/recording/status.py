"""The live status of a session in the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from mimicctl.recording.quality import TakeQuality, hints_for
from mimicctl.recording.scene_view import draw_scene
from mimicctl.recording.session import Phase, Progress
from mimicctl.tasks import Subtask, TaskSpec, objective

_REDRAW = 0.1
_LINE_EVERY = 5.0


class StatusDisplay:
    """Redrawn in place on a terminal, with a picture of the scene; a line now and then elsewhere. A context manager."""

    def __init__(self, task: TaskSpec, help_text: str) -> None:
        self._task, self._help = task, help_text
        self._drawn = 0.0
        self._saved = -1
        self._judged = 0
        self._live = None

    def __enter__(self) -> StatusDisplay:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True, highlight=False), auto_refresh=False, transient=False)
            self._live.start()
        else:
            print(self._help, file=sys.stderr)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, progress: Progress) -> None:
        for last in range(self._judged + 1, len(progress.takes) + 1):
            self.say(take_line(progress.takes[:last]))
        self._judged = len(progress.takes)
        now = time.monotonic()
        if self._live is not None and now - self._drawn > _REDRAW:
            from rich.console import Group
            from rich.text import Text

            picture = draw_scene(self._task, progress.view)
            # The map last: in a low terminal it is what may be missing.
            lines = [Text(line, style="bold") for line in (status_line(self._task, progress), progress.beside) if line]
            self._live.update(Group(picture, *lines, Text(self._help, style="dim")), refresh=True)
            self._drawn = now
        elif self._live is None and (now - self._drawn > _LINE_EVERY or progress.saved != self._saved):
            print("  |  ".join(filter(None, (status_line(self._task, progress), progress.beside))), file=sys.stderr, flush=True)
            self._drawn, self._saved = now, progress.saved

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._live is not None:
            self._live.console.print(text, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)


def take_line(takes: Sequence[TakeQuality]) -> str:
    """How good the last take was, and what would make the next one better."""
    hints = hints_for(takes[-1], takes[:-1])
    return "\n  ".join([f"take {len(takes)}: {takes[-1].text()}", *hints])


def status_line(task: TaskSpec, progress: Progress) -> str:
    """For instance "saved 3 of 10  discarded 1  recording  step 84  success 0/10  20 Hz  41 demos/h  now: grasp green"."""
    rules = progress.rules
    wanted = f" of {rules.wanted}" if rules.wanted else ""
    kept = f"saved {progress.saved}{wanted}"
    if rules.by_hand and not progress.recorded:
        kept = f"rollouts {progress.saved}{wanted}, of which {progress.successes} succeeded"
    last = f" (last: {progress.outcomes[-1].value})" if progress.outcomes else ""
    device = f"  [{progress.device}]" if progress.device else ""
    swing = "" if progress.swing_cancellation is None else f"  swing cancellation {'on' if progress.swing_cancellation else 'off'}"
    pace = f"  {progress.demos_per_hour:.0f} demos/h" if progress.saved else ""
    return (
        f"{kept}  discarded {progress.discarded}{last}  {phase_text(progress)}  step {progress.steps}  "
        f"success {progress.held}/{rules.hold_needed}  {progress.rate:.0f} Hz{pace}{swing}  now: {current_subtask(task, progress.signals)}{device}"
    )


_WAITS_FOR = {"motion": "READY, records from the first movement", "command": "READY, starts when asked to"}


def phase_text(progress: Progress) -> str:
    """Where the session is, for an operator."""
    if progress.phase is Phase.READY:
        return _WAITS_FOR.get(progress.rules.start, "READY")
    if progress.phase is Phase.RECORDING and not progress.recorded:
        return "driving"
    if progress.phase in (Phase.COUNTDOWN, Phase.REST):
        return f"{progress.phase.value} {progress.remaining:.0f} s"
    return progress.phase.value


def current_subtask(task: TaskSpec, signals: dict[str, bool]) -> str:
    """The subtask after the last one whose signal is true now; of several eefs that of each."""
    now = {eef: objective(subtasks, _completed(subtasks, signals)) for eef, subtasks in task.subtasks.items()}
    return next(iter(now.values())) if len(now) == 1 else ", ".join(f"{eef} {name}" for eef, name in now.items())


def _completed(subtasks: Sequence[Subtask], signals: dict[str, bool]) -> int:
    done = [i for i, subtask in enumerate(subtasks) if subtask.term_signal and signals.get(subtask.term_signal)]
    return min(done[-1] + 1 if done else 0, len(subtasks) - 1)
