"""Marking subtask boundaries by hand: the rules and the state, apart from any terminal or web page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mimicctl.errors import UserError
from mimicctl.tasks import Subtask, TaskSpec


@dataclass(frozen=True)
class Boundary:
    """A step to be marked.

    Attributes:
        kind: whether the subtask starts or ends here.
        subtask: its name.
        signal: what becomes true.
        least: control steps from the boundary before it, or from the first step.
    """

    kind: Literal["start", "end"]
    subtask: str
    signal: str
    least: int

    @property
    def path(self) -> str:
        """In the datagen info of an episode."""
        return f"subtask_{'start' if self.kind == 'start' else 'term'}_signals/{self.signal}"

    @property
    def label(self) -> str:
        return f"{self.signal} {'starts' if self.kind == 'start' else 'becomes true'}"


@dataclass(frozen=True)
class Track:
    """What is to be marked for one end-effector.

    Attributes:
        boundaries: in order.
        rest: control steps there must be from the last boundary to the last step of the demo.
    """

    boundaries: tuple[Boundary, ...]
    rest: int


def tracks_of(task: TaskSpec, *, starts: bool = False) -> dict[str, Track]:
    """What is to be marked for each eef: where each subtask but the last ends, and with `starts` where each begins.

    Distances are those that leave every segment a step in each draw of the task's offsets.

    Raises:
        UserError: `starts`, and the task does not name its start signals.
    """
    if starts:
        refuse_nameless_starts(task)
    return {eef: _track(subtasks, starts) for eef, subtasks in task.subtasks.items()}


def refuse_nameless_starts(task: TaskSpec) -> None:
    """UserError unless the task says what its start signals are called."""
    if not task.names_starts:
        raise UserError(f"{task.task_id} does not name its start signals.", where="start_signals", do="leave it off, or choose another --task")


def _track(subtasks: Sequence[Subtask], starts: bool) -> Track:
    boundaries: list[Boundary] = []
    late = 0  # the most that the end before may be put off
    for number, subtask in enumerate(subtasks):
        low, high = subtask.term_offset_range
        earliest, latest = subtask.start_offset_range
        if starts:
            boundaries.append(Boundary("start", subtask.name, str(subtask.start_signal), max(1, (late + 1 if number else 0) - earliest)))
            # Segments end one step after their mark, whence the ones. A signal that is true at the first step never rises.
            room = max(1, latest - low)
        else:
            room = max(1, -low) if number == 0 else max(1, late - low + 1)
        if subtask is not subtasks[-1]:
            boundaries.append(Boundary("end", subtask.name, str(subtask.term_signal), room))
            late = high
    return Track(tuple(boundaries), room if boundaries else 0)


@dataclass
class Marks:
    """What is marked in a demo.

    Attributes:
        tracks: eef to what is to be marked.
        length: control steps of the demo.
        steps: eef to the marked step of each boundary; None: not yet.
    """

    tracks: Mapping[str, Track]
    length: int
    steps: dict[str, list[int | None]] = field(default_factory=dict)
    _before: list[tuple[str, int, int | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for eef, track in self.tracks.items():
            self.steps.setdefault(eef, [None] * len(track.boundaries))

    def next(self, eef: str | None = None) -> tuple[str, int] | None:
        """Eef and number of the first boundary that is not marked, of `eef` or of all; None if all are."""
        for name in [eef] if eef else self.tracks:
            if None in self.steps[name]:
                return name, self.steps[name].index(None)
        return None

    def complete(self) -> bool:
        return self.next() is None

    def refusal(self, eef: str, number: int, step: int) -> str:
        """Why boundary `number` of `eef` cannot be at `step`; "" if it can."""
        low, high = self.range(eef, number)
        if low <= step <= high:
            return ""
        name = self.tracks[eef].boundaries[number].label
        if low > high:
            return f"there is no room between the marks beside it for where {name}"
        return f"{name} at step {low} to {high}, not {step}: marks go in order, and every subtask needs room"

    def range(self, eef: str, number: int) -> tuple[int, int]:
        """First and last step that boundary `number` of `eef` may be marked at, between those that are."""
        track, steps = self.tracks[eef], self.steps[eef]
        low = 0
        for boundary, step in zip(track.boundaries[:number], steps[:number], strict=True):
            low = step if step is not None else low + boundary.least
        low += track.boundaries[number].least
        high = self.length - 1 - track.rest
        for i in range(len(steps) - 1, number, -1):
            high = (steps[i] if steps[i] is not None else high) - track.boundaries[i].least
        return low, high

    def mark(self, eef: str, number: int, step: int) -> str:
        """Set a boundary, anew if it was set. Returns why not; "" if it is done."""
        refusal = self.refusal(eef, number, step)
        if not refusal:
            self._set(eef, number, step)
        return refusal

    def clear(self, eef: str, number: int) -> None:
        """Take a mark away."""
        self._set(eef, number, None)

    def _set(self, eef: str, number: int, step: int | None) -> None:
        self._before.append((eef, number, self.steps[eef][number]))
        self.steps[eef][number] = step

    @property
    def changed(self) -> bool:
        """Whether there is something to undo."""
        return bool(self._before)

    def undo(self) -> int | None:
        """Take the last change back, if there was one; the step where it was made, if it was a mark."""
        if not self._before:
            return None
        eef, number, before = self._before.pop()
        now, self.steps[eef][number] = self.steps[eef][number], before
        return now

    def signals(self) -> dict[str, np.ndarray]:
        """Datagen info of marked signals: (T,) bool, false before the mark, true from it on."""
        return {
            boundary.path: np.arange(self.length) >= step
            for eef, track in self.tracks.items()
            for boundary, step in zip(track.boundaries, self.steps[eef], strict=True)
            if step is not None
        }
