"""Marking subtask boundaries by hand: the state, apart from any terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

_MOVES = {".": 1, ",": -1, "]": 10, "[": -10}


@dataclass
class Marks:
    """Where the annotator is in a demo, and what is marked.

    Attributes:
        signals: to be marked, in order.
        length: control steps of the demo.
        step: that is being looked at.
        steps: marked so far, one a signal, strictly increasing.
        message: what came of the last key.
    """

    signals: tuple[str, ...]
    length: int
    step: int = 0
    steps: list[int] = field(default_factory=list)
    message: str = ""

    def press(self, key: str) -> None:
        """Move (",", ".", "[", "]"), mark ("s") or undo ("u", backspace); other keys do nothing."""
        self.message = ""
        if key in _MOVES:
            self.step = min(max(self.step + _MOVES[key], 0), self.length - 1)
        elif key == "s":
            self._mark()
        elif key in ("u", "\x7f") and self.steps:
            self.step = self.steps.pop()
        elif key == "n":
            self.message = f"{self.signals[len(self.steps)]} is not marked yet"

    def _mark(self) -> None:
        if self.complete():
            self.message = "everything is marked; N accepts, U undoes"
        elif self.step <= (self.steps[-1] if self.steps else 0):
            self.message = "a mark must come after the one before it"
        else:
            self.steps.append(self.step)

    def complete(self) -> bool:
        return len(self.steps) == len(self.signals)

    def prompt(self) -> str:
        todo = "all marked, N accepts" if self.complete() else f"mark where {self.signals[len(self.steps)]} becomes true"
        return f"step {self.step} of {self.length}: {todo}" + (f" ({self.message})" if self.message else "")

    def timeline(self, width: int) -> str:
        """The demo as a bar, with marks and the current step."""
        bar = ["─"] * width
        for number, step in enumerate(self.steps, 1):
            bar[step * width // self.length] = str(number)
        bar[self.step * width // self.length] = "▲"
        return "".join(bar)


def signals_from(signals: Sequence[str], steps: Sequence[int], length: int) -> dict[str, np.ndarray]:
    """Datagen info of marked signals: false before the mark, true from it on."""
    return {f"subtask_term_signals/{s}": np.arange(length) >= step for s, step in zip(signals, steps, strict=True)}
