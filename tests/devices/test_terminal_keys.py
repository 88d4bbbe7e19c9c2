"""Keys by kitty's keyboard protocol: a pseudo-terminal whose other end answers as such a terminal does."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mimicctl.devices.keyboard import Keyboard
from mimicctl.devices.terminal_keys import TerminalKeys
from mimicctl.errors import UserError


class Emulator:
    """The other end of a pseudo-terminal.

    Args:
        speaks: it knows kitty's protocol.
        knows: flags that it has.
        silent: it answers nothing at all.
        meanwhile: typed before each answer.
    """

    def __init__(self, *, speaks: bool = True, knows: int = 31, silent: bool = False, meanwhile: str = "") -> None:
        self.master, self.slave = pty.openpty()
        self._speaks, self._knows, self._silent, self._meanwhile = speaks, knows, silent, meanwhile
        self.flags, self.focus_told, self.received = [0], False, b""
        self._ended = False
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def _answer(self) -> None:
        while not self._ended:
            if not select.select([self.master], [], [], 0.02)[0]:
                continue
            try:
                data = os.read(self.master, 4096)
            except OSError:
                return
            self.received += data
            for asked in re.finditer(rb"\x1b\[(\?u|c|>(\d+)u|<u|\?1004([hl]))", data):
                if not self._silent:
                    self._obey(asked)

    def _obey(self, asked: re.Match[bytes]) -> None:
        if asked[1] == b"c":
            self.type(self._meanwhile)
            os.write(self.master, b"\x1b[?62;4c")
        elif asked[3]:
            self.focus_told = asked[3] == b"h"
        elif not self._speaks:
            return
        elif asked[1] == b"?u":
            os.write(self.master, b"\x1b[?%du" % self.flags[-1])
        elif asked[1] == b"<u":
            self.flags.pop()
        else:
            self.flags.append(int(asked[2]) & self._knows)

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def end(self) -> None:
        self._ended = True
        self._thread.join()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(monkeypatch) -> Iterator[Callable[..., Emulator]]:
    """An emulator whose other end is stdin."""
    made = []

    def make(**how: object) -> Emulator:
        made.append(Emulator(**how))
        made.append(os.fdopen(os.dup(made[0].slave)))
        monkeypatch.setattr(sys, "stdin", made[1])
        monkeypatch.setenv("TERM", "xterm-256color")
        return made[0]

    yield make
    for each in reversed(made):
        each.end() if isinstance(each, Emulator) else each.close()


def until(so: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not so():
        assert time.monotonic() < end
        time.sleep(0.005)


def typed(keys: TerminalKeys, emulator: Emulator, sequence: str) -> list[str]:
    """What is made of a sequence, to the end of which a key says that it has come."""
    emulator.type(sequence + "\x1b[33u")
    found: list[str] = []
    until(lambda: found.extend(keys.typed()) or "!" in found)
    keys.down.discard("!")
    return [key for key in found if key != "!"]


W, A = 119, 97


def key(code: int, kind: int = 1, held: int = 0) -> str:
    return f"\x1b[{code};{held + 1}:{kind}u"


@pytest.fixture
def kitty(terminal):
    emulator, keys = terminal(), TerminalKeys()
    keys.open()
    assert keys.reports_releases
    yield lambda sequence: typed(keys, emulator, sequence), keys, emulator
    keys.close()


def test_a_key_is_down_from_its_press_to_its_release(kitty):
    see, keys, _ = kitty
    assert see(key(W)) == ["w"] and keys.down == {"w"}
    assert see(key(W, 2) * 3 + key(A)) == ["a"] and keys.down == {"w", "a"}
    assert see(key(W, 3, held=4)) == [] and keys.down == {"a"}
    assert see("\x1b[119u" + key(W, 3)) == ["w"] and keys.down == {"a"}


def test_keys_with_names_shift_locks_and_other_forms(kitty):
    see, keys, _ = kitty
    assert see("\x1b[119:87;2u" + key(A, held=64) + "\x1b[97;1:1;97u" + "\x1b[13u" + "\x1b[32;1:1u") == ["w", "a", "a", "\n", " "]
    assert see("\x1b[A" + "\x1b[1;1:1B" + "\x1b[1;1:3B" + "\x1bOC") == ["up", "down", "right"] and "down" not in keys.down
    # Alone: shift; with alt: w; a function key; and a mouse, which nobody asked for.
    assert see("\x1b[57441u" + key(W, held=2) + "\x1b[15~" + "\x1b[<0;3;4M" + "\x1bx")[1:] == []


def test_a_sequence_that_comes_in_pieces_is_one(kitty):
    see, keys, emulator = kitty
    for piece in ("\x1b", "[11", "9;1:", "1u"):
        emulator.type(piece)
        time.sleep(0.02)
        assert piece == "1u" or keys.typed() == []
    assert see("") == ["w"]


def test_a_window_that_loses_the_focus_lets_go_of_all_keys(kitty):
    see, keys, emulator = kitty
    assert emulator.focus_told
    assert see(key(W) + "\x1b[O") == ["w"] and keys.down == set()
    assert see("\x1b[I" + key(W, 2)) == [] and keys.down == set()


def test_control_c_and_z_are_still_signals(kitty, monkeypatch):
    see, keys, emulator = kitty
    raised = []
    with monkeypatch.context() as patch:
        patch.setattr(signal, "raise_signal", lambda number: raised.append((number, len(emulator.flags))))
        assert see(key(99, held=4)) == []
        assert see(key(122, held=4) + key(W)) == ["w"]
    # While a signal may stop or end the process, the terminal is as it was before.
    assert raised == [(signal.SIGINT, 1), (signal.SIGTSTP, 1)] and keys.reports_releases
    with pytest.raises(KeyboardInterrupt):
        see(key(99, held=4))


def test_the_terminal_is_given_back_as_it_was(terminal):
    emulator, keys = terminal(), TerminalKeys()
    before = termios.tcgetattr(emulator.slave)
    keys.open()
    assert not termios.tcgetattr(emulator.slave)[3] & termios.ICANON and emulator.flags == [0, 11]
    emulator.type(key(W))
    keys.close()
    keys.close()
    assert termios.tcgetattr(emulator.slave) == before and not keys.down
    until(lambda: emulator.flags == [0] and not emulator.focus_told)
    assert not select.select([emulator.slave], [], [], 0)[0]  # nothing is left for the shell
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("how", [{"speaks": False}, {"knows": 1}, {"knows": 3}, {"silent": True}])
def test_terminals_that_do_not_tell_of_releases_are_read_as_before(terminal, how):
    emulator, keys = terminal(**how), TerminalKeys()
    keys.open()
    assert not keys.reports_releases
    emulator.type("wW\x1b[Aq\x1b[1;5Cx\x1bOD\r")
    found: list[str] = []
    until(lambda: found.extend(keys.typed()) or "\n" in found)
    assert found == ["w", "w", "up", "q", "x", "left", "\n"] and not keys.down
    keys.close()
    until(lambda: emulator.flags == [0])


def test_what_is_typed_while_the_terminal_is_asked_is_not_lost(terminal):
    keys = TerminalKeys()
    terminal(meanwhile="k")
    keys.open()
    assert keys.typed() == ["k", "k"]
    keys.close()


def test_no_terminal_is_an_error(monkeypatch, tmp_path):
    with (tmp_path / "file").open("w+") as file:
        monkeypatch.setattr(sys, "stdin", file)
        with pytest.raises(UserError, match="the input is none"):
            TerminalKeys().open()


def test_a_held_key_moves_from_press_to_release_without_a_gap_and_a_tap_once(terminal):
    emulator, keyboard = terminal(), Keyboard()
    keyboard.start()
    try:
        assert "tells of releases" in keyboard.help()
        emulator.type(key(W))
        until(lambda: keyboard.read().axes[0] == 1)
        time.sleep(0.3)  # longer than any tap, and no repeat came
        assert keyboard.read().axes[0] == 1
        emulator.type(key(A) + key(A, 3) + key(W, 3))
        readings = []
        until(lambda: readings.append(keyboard.read().axes) or readings[-1][0] == 0 or readings[-1][1])
        tap = next(axes for axes in readings if axes[1])
        np.testing.assert_array_equal(tap[:2], [0, 1])
        assert not keyboard.read().axes.any()
        emulator.type(key(W) + key(108))
        until(lambda: keyboard.read().let_go)
        assert not keyboard.read().axes.any()  # W is down, and was let go of by L
        emulator.type(key(W, 2))
        time.sleep(0.05)
        assert not keyboard.read().axes.any()
    finally:
        keyboard.close()


def run_in(emulator: Emulator, program: str) -> subprocess.Popen:
    setup = f"import os; os.setsid(); import fcntl, termios; fcntl.ioctl({emulator.slave}, termios.TIOCSCTTY, 0); os.dup2({emulator.slave}, 0)\n"
    environ = os.environ | {"TERM": "xterm"}
    return subprocess.Popen([sys.executable, "-c", setup + program], pass_fds=[emulator.slave], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.parametrize(("ending", "code"), [("kill", -signal.SIGTERM), ("raise ValueError", 1)])
def test_a_program_that_is_ended_or_crashes_gives_the_terminal_back(ending, code):
    emulator = Emulator()
    program = f"""
from mimicctl.devices.keyboard import Keyboard
import time
keyboard = Keyboard()
keyboard.start()
try:
    while True:
        if {ending == "kill"}:
            time.sleep(0.01)
        else:
            {"pass" if ending == "kill" else ending}
finally:
    keyboard.close()
"""
    before = termios.tcgetattr(emulator.slave)
    running = run_in(emulator, program)
    if ending == "kill":
        until(lambda: len(emulator.flags) == 2)
        running.terminate()
    running.wait(30)
    assert running.returncode == code, running.stderr.read()
    until(lambda: emulator.flags == [0])
    assert termios.tcgetattr(emulator.slave) == before
    running.stderr.close()
    emulator.end()


@pytest.mark.parametrize(("speaks", "told"), [(True, "tells of releases"), (False, "No key-up from this terminal")])
def test_devices_test_says_which_of_the_two_is_in_use(speaks, told):
    emulator = Emulator(speaks=speaks)
    program = "import sys; sys.argv[1:] = ['devices', 'test', '--device', 'keyboard', '--seconds', '0.2']; from mimicctl.cli.app import main; main()"
    running = run_in(emulator, program)
    _, shown = running.communicate(timeout=30)
    assert running.returncode == 0 and told in shown.decode()
    emulator.end()
