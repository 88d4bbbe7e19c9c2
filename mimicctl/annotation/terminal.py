"""Annotation by hand, in the terminal."""

from __future__ import annotations

import sys
import termios
import tty
from dataclasses import dataclass
from pathlib import Path

from mimicctl.annotation.auto import DemoAnnotation
from mimicctl.annotation.session import ManualSession
from mimicctl.errors import UserError
from mimicctl.recording.scene_view import draw_scene
from mimicctl.recording.session import look

_HELP = ", . or arrows: 1 step   [ ]: 10 steps   Tab: next suggestion   S mark   U undo   N accept, next demo   Q skip this demo   Ctrl-C stop"
_ARROWS = {"\x1b[C": ".", "\x1b[D": ","}
_MOVES = {".": 1, ",": -1, "]": 10, "[": -10}


def annotate_by_hand(
    input_file: Path, output_file: str, *, task_id: str = "", starts: bool = False, resume: bool = False, overwrite: bool = False
) -> tuple[Path, list[DemoAnnotation]]:
    """Show each demo step by step and let a person mark where its subtasks end. Ctrl-C ends it and keeps what was accepted.

    Raises:
        UserError: the input is no terminal, or no recording of a known task, or the output exists.
        RunFailed: nothing was accepted.
    """
    if not sys.stdin.isatty():
        raise UserError("Annotating by hand needs a terminal.", where="stdin", do="run it in a terminal, or use --auto or --web")
    with ManualSession(input_file, output_file, task_id=task_id, starts=starts, resume=resume, overwrite=overwrite) as session:
        try:
            for name in session.names:
                if not (session.verdict(name) or session.problem(name)):
                    _mark(session, name)
        except KeyboardInterrupt:
            if not any(session.verdict(name) == "accepted" for name in session.names):
                raise
        return session.output, session.finish()


@dataclass
class Cursor:
    """Where the annotator is in a demo.

    Attributes:
        step: that is being looked at.
        message: what came of the last key.
    """

    session: ManualSession
    name: str
    step: int = 0
    message: str = ""

    @property
    def length(self) -> int:
        return self.session.judged(self.name).marks.length

    def press(self, key: str) -> None:
        """Move, mark ("s"), undo ("u", backspace), accept ("n") or skip ("q"); other keys do nothing."""
        self.message = ""
        if key in _MOVES:
            self.step = min(max(self.step + _MOVES[key], 0), self.length - 1)
        elif key == "\t":
            ahead = [s for s in self.session.look(self.name).suggestions if s.step > self.step]
            self.step, self.message = (ahead[0].step, ahead[0].label) if ahead else (self.step, "no suggestion further on")
        elif key == "s":
            following = self.session.judged(self.name).marks.next()
            self.message = self.session.mark(self.name, *following, self.step) if following else "everything is marked; N accepts, U undoes"
        elif key in ("u", "\x7f"):
            undone = self.session.undo(self.name)
            self.step = self.step if undone is None else undone
        elif key == "n":
            self.message = self.session.accept(self.name)
        elif key == "q":
            self.session.skip(self.name)

    def prompt(self) -> str:
        following = self.session.judged(self.name).marks.next()
        todo = f"mark where {self._label(*following)}" if following else "all marked, N accepts"
        return f"step {self.step} of {self.length}: {todo}" + (f" ({self.message})" if self.message else "")

    def _label(self, eef: str, number: int) -> str:
        label = self.session.tracks[eef].boundaries[number].label
        return f"{label} ({eef})" if len(self.session.tracks) > 1 else label

    def timeline(self, width: int) -> str:
        """The demo as a bar, with suggestions, marks and the current step."""
        bar = ["─"] * width
        for suggestion in self.session.look(self.name).suggestions:
            bar[suggestion.step * width // self.length] = "·"
        for steps in self.session.judged(self.name).marks.steps.values():
            for number, step in enumerate(steps, 1):
                if step is not None:
                    bar[step * width // self.length] = str(number % 10)
        bar[self.step * width // self.length] = "▲"
        return "".join(bar)


def _mark(session: ManualSession, name: str) -> None:
    """Show a demo until it is accepted or skipped."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    cursor = Cursor(session, name)
    snapshots = session.look(name).snapshots
    descriptor = sys.stdin.fileno()
    saved = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        with Live(console=Console(stderr=True), auto_refresh=False) as live:
            while not session.verdict(name):
                picture = draw_scene(session.task, look(session.env, snapshots[cursor.step], 0))
                live.update(
                    Group(Text(name, style="bold"), picture, Text(cursor.timeline(60)), Text(cursor.prompt(), style="bold"), Text(_HELP, style="dim")),
                    refresh=True,
                )
                cursor.press(_read_key())
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, saved)


def _read_key() -> str:
    """One key, arrows as the punctuation that does the same; end of input is Ctrl-C."""
    key = sys.stdin.read(1)
    if not key:
        raise KeyboardInterrupt
    if key == "\x1b":
        return _ARROWS.get(key + sys.stdin.read(2), "")
    return key.lower()
