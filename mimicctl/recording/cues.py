"""Spoken cues, so that the operator's eyes can stay on the robot. They are said by a program of the system; without one the terminal's bell rings."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable

from mimicctl.recording.session import Phase, Progress

_SPEAKERS = {"say": (), "spd-say": ("--wait",), "espeak-ng": (), "espeak": ()}
"""Programs that say their last argument aloud, those that sound best first, and what they are told beside it."""


class Cues:
    """Says what has changed in a session since the last look.

    Args:
        speak: takes each cue.
    """

    def __init__(self, speak: Callable[[str], None]) -> None:
        self._speak = speak
        self._phase: Phase | None = None
        self._outcomes = 0
        self._swing: bool | None = None

    def follow(self, progress: Progress) -> None:
        if len(progress.outcomes) > self._outcomes:
            self._outcomes = len(progress.outcomes)
            self._speak(f"saved, {progress.saved}" if progress.outcomes[-1].saved else "discarded")
        if self._swing not in (None, progress.swing_cancellation):
            self._speak(f"swing cancellation {'on' if progress.swing_cancellation else 'off'}")
        self._swing = progress.swing_cancellation
        if progress.phase is not self._phase:
            self._phase = progress.phase
            if progress.phase in (Phase.READY, Phase.RECORDING):
                self._speak(progress.phase.value)


class Voice:
    """Speaks without making anybody wait. A context manager; what is begun is said to its end.

    Cues that come while one is spoken are said after it, together.
    """

    def __init__(self) -> None:
        found = next((name for name in _SPEAKERS if shutil.which(name)), None)
        self._command = [found, *_SPEAKERS[found]] if found else []
        self._speaking: subprocess.Popen[bytes] | None = None
        self._waiting: list[str] = []

    def __enter__(self) -> Voice:
        return self

    def __exit__(self, *exception: object) -> None:
        self._waiting.clear()
        if self._speaking is not None:
            try:
                self._speaking.wait(timeout=2.0)
            except subprocess.TimeoutExpired:
                self._speaking.kill()
                self._speaking.wait()

    @property
    def name(self) -> str:
        """What speaks; "" for nothing."""
        return self._command[0] if self._command else ""

    def say(self, text: str) -> None:
        if self._command:
            self._waiting.append(text)
            self.go_on()
        elif sys.stderr.isatty():
            sys.stderr.write("\a")
            sys.stderr.flush()

    def go_on(self) -> None:
        """Say what is waiting, if nothing is being said. To be called now and then."""
        if not self._waiting or (self._speaking is not None and self._speaking.poll() is None):
            return
        text, self._waiting = ". ".join(self._waiting), []
        quiet = subprocess.DEVNULL
        try:
            self._speaking = subprocess.Popen([*self._command, text], stdin=quiet, stdout=quiet, stderr=quiet)
        except OSError:  # a silent machine is no error
            self._command = []
