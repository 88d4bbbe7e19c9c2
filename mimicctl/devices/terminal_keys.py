"""The keys of a terminal, as they are typed: which were pressed, and, where the terminal tells, which are down.

Terminals that speak kitty's keyboard protocol (kitty, foot, WezTerm, Ghostty, Alacritty, iTerm2 and others) report when a key is released; it is asked
for, and given back at the end. All others report presses alone, and auto-repeat as further presses.

Source: https://sw.kovidgoyal.net/kitty/keyboard-protocol/
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
import termios
import threading
import time
import tty

from mimicctl.errors import UserError

_ARROWS = dict(zip("ABCD", ("up", "down", "right", "left"), strict=True))
_SAME = {"\r": "\n"}

# Disambiguate, report releases, and report keys that make text in that way, too: without the last, letters have no releases.
_FLAGS = 0b1011
_NEEDED = 0b1010
_ASK, _ANSWER = b"\x1b[?u", re.compile(rb"\x1b\[\?(\d+)u")
# Every terminal answers this one, so that nobody waits for the answer of one that does not know the other.
_ASK_KIND, _KIND = b"\x1b[c", re.compile(rb"\x1b\[\?[\d;]*c")
_PATIENCE = 0.3
"""[s] for an answer; over a slow connection it comes later and is dropped, and so is the protocol."""
# Told when the window loses the focus: a key released elsewhere is not reported.
_PUSH, _POP = b"\x1b[>%du\x1b[?1004h" % _FLAGS, b"\x1b[?1004l\x1b[<u"

_STROKE = re.compile(
    r"\x1b\[(?P<code>\d+)(?::[\d:]*)?(?:;(?P<held>\d*)(?::(?P<kind>\d+))?)?(?:;[\d:]*)?u"
    r"|\x1b(?:\[|O)(?:1;(?P<arrow_held>\d*)(?::(?P<arrow_kind>\d+))?)?(?P<arrow>[ABCD])"
    r"|(?P<focus>\x1b\[[IO])"
    r"|\x1b[\[O][^@-~]*[@-~]|\x1b.?"
    r"|(?P<text>.)",
    re.DOTALL,
)
_UNFINISHED = re.compile(r"\x1b([\[O][^@-~]*)?$")
_CTRL, _OTHERS = 0b100, 0b111010
"""Modifiers: control, and those with which a key is not itself; shift and the locks do not count."""
_PRESS, _REPEAT, _RELEASE = 1, 2, 3
_SIGNALS = {"c": signal.SIGINT, "z": signal.SIGTSTP, "\\": signal.SIGQUIT}
"""What the terminal's driver makes of control and a key where it sees them as such."""


class TerminalKeys:
    """Keys of stdin between `open` and `close`.

    Attributes:
        reports_releases: `down` is what is held; otherwise nobody knows.
        down: keys held now.
    """

    def __init__(self) -> None:
        self.reports_releases = False
        self.down: set[str] = set()
        self._saved: list | None = None
        self._pending = b""
        self._handlers: dict[int, object] = {}

    def open(self) -> None:
        """
        Raises:
            UserError: stdin is no terminal.
        """
        if not sys.stdin.isatty():
            raise UserError("The keyboard device reads a terminal, and the input is none.", where="stdin", do="run it in a terminal, or use --device scripted")
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is signal.SIG_DFL:
                    self._handlers[number] = signal.signal(number, self._end)
        self._enter()

    def close(self) -> None:
        """Give the terminal back as it was. More than once is as good as once."""
        self._leave()
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    def _end(self, number: int, frame: object) -> None:
        self.close()
        signal.raise_signal(number)

    def _enter(self) -> None:
        descriptor = sys.stdin.fileno()
        self._saved = termios.tcgetattr(descriptor)
        # cbreak, not raw: Ctrl-C stays a signal.
        tty.setcbreak(descriptor)
        if os.environ.get("TERM") != "dumb" and self._flags() is not None:
            self._write(_PUSH)
            self.reports_releases = ((self._flags() or 0) & _NEEDED) == _NEEDED
            if not self.reports_releases:
                self._write(_POP)

    def _leave(self) -> None:
        if self._saved is None:
            return
        saved, self._saved = self._saved, None
        if self.reports_releases:
            self._write(_POP)
            # Until its answer the terminal may send sequences, which would be typed into the shell.
            self._flags()
            self._pending = b""
        self.reports_releases = False
        self.down.clear()
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, saved)

    def _write(self, data: bytes) -> None:
        # Not stdout, which may be a file while the keyboard is a terminal.
        try:
            descriptor = os.open(os.ttyname(sys.stdin.fileno()), os.O_WRONLY | os.O_NOCTTY)
        except OSError:
            return  # the terminal is gone
        try:
            with contextlib.suppress(OSError):  # it went just now
                os.write(descriptor, data)
        finally:
            os.close(descriptor)

    def _flags(self) -> int | None:
        """Of kitty's protocol, as they are in force; None if the terminal does not speak it. What is typed meanwhile is kept."""
        self._write(_ASK + _ASK_KIND)
        end = time.monotonic() + _PATIENCE
        while not _KIND.search(self._pending) and time.monotonic() < end:
            self._pending += self._waiting(max(0.0, end - time.monotonic()))
        answer = _ANSWER.search(self._pending)
        self._pending = _KIND.sub(b"", _ANSWER.sub(b"", self._pending))
        return int(answer[1]) if answer else None

    @staticmethod
    def _waiting(seconds: float = 0.0) -> bytes:
        """What is there to be read, at the latest after so many seconds."""
        descriptor, data = sys.stdin.fileno(), b""
        while select.select([descriptor], [], [], 0.0 if data else seconds)[0]:
            chunk = os.read(descriptor, 1024)
            if not chunk:
                break
            data += chunk
        return data

    def typed(self) -> list[str]:
        """Keys pressed since the last look, in lower case. Auto-repeat is among them only where releases are not reported."""
        text = (self._pending + self._waiting()).decode(errors="ignore")
        # A lone escape is the beginning of a sequence only where the escape key has one of its own.
        unfinished = _UNFINISHED.search(text)
        if unfinished and not (self.reports_releases or unfinished[1]):
            unfinished = None
        cut = unfinished.start() if unfinished else len(text)
        self._pending = text[cut:].encode()
        pressed = []
        for stroke in _STROKE.finditer(text[:cut]):
            pressed += self._pressed(stroke)
        return pressed

    def _pressed(self, stroke: re.Match[str]) -> list[str]:
        """The key, if it was pressed; `down` follows."""
        if stroke["focus"]:
            self.down.clear()
        if stroke["text"]:
            key = _SAME.get(stroke["text"], stroke["text"].lower())
            held, kind = 0, _PRESS
        elif stroke["arrow"]:
            key = _ARROWS[stroke["arrow"]]
            held, kind = int(stroke["arrow_held"] or 1) - 1, int(stroke["arrow_kind"] or _PRESS)
        elif stroke["code"] and int(stroke["code"]) <= sys.maxunicode:
            key = chr(int(stroke["code"]))
            key = _SAME.get(key, key)
            held, kind = int(stroke["held"] or 1) - 1, int(stroke["kind"] or _PRESS)
        else:
            return []
        if kind == _RELEASE:
            self.down.discard(key)
            return []
        if kind == _REPEAT:
            return []
        if held & _CTRL and key in _SIGNALS:
            self._raise(_SIGNALS[key])
        if held & (_CTRL | _OTHERS):
            return []
        if self.reports_releases:
            self.down.add(key)
        return [key]

    def _raise(self, number: int) -> None:
        """With the terminal as it was before, since the signal may stop or end this process."""
        self._leave()
        signal.raise_signal(number)
        self._enter()
