"""`mimicctl record --web` in a process of its own, and an operator at its page who sees where things are and presses keys or moves hands."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.web.client import free_port

LIFT = "MuJoCo-Lift-Cube-Franka-IK-Rel-v0"
_LINK = re.compile(r"https?://\S+#\S+")


class Served:
    """A command that serves the web app, until the block ends.

    Attributes:
        log: what it has written to stderr so far.
    """

    def __init__(self, folder: Path, *arguments: str, port: int | None = None) -> None:
        self.port = port or free_port()
        command = [sys.executable, "-m", "mimicctl", *arguments, "--port", str(self.port)]
        self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.log: list[str] = []
        self._reader = threading.Thread(target=lambda: self.log.extend(iter(self.process.stderr.readline, "")), daemon=True)
        self._reader.start()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def link(self) -> str:
        """The newest that was printed."""
        return wait_for(lambda: (_LINK.findall("".join(self.log)) or [""])[-1] or self._ended())

    def _ended(self) -> str:
        assert self.process.poll() is None, "".join(self.log)
        return ""

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> tuple[int, str]:
        """Exit code and stdout, once it has ended by itself."""
        stdout = self.process.communicate(timeout=60)[0]
        return self.process.returncode, stdout


def wait_for(condition: Callable[[], object], seconds: float = 60.0):
    """What the condition gives once it is true."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "nothing came of it"
        time.sleep(0.05)
    return found


def open_page(page, link: str) -> None:
    """And wait until it shows the scene and is in touch with the session."""
    page.goto(link)
    page.wait_for_selector("#drive:not([hidden])")
    wait_for(lambda: page.evaluate("globalThis.teleop?.link.pictures > 2"))


def lift_the_cube(page, operator) -> None:
    """Until a demonstration is saved, trying again when the cube stays behind.

    Args:
        operator: `go` moves the tool point to where a function of what is seen says, also turning the jaw if asked to; `grip` opens or closes.
    """
    for _ in range(6):
        operator.go(lambda seen: [*seen["cube"][:2], seen["cube"][2] + 0.12], 0.02)
        operator.go(lambda seen: [*seen["cube"][:2], seen["cube"][2] + 0.07], turn=True)
        operator.go(lambda seen: seen["cube"])
        operator.grip(closed=True)
        page.wait_for_timeout(700)
        before = page.evaluate(SEE)
        operator.go(lambda seen, before=before: [*before["eef"][:2], before["eef"][2] + 0.17], 0.02)
        if page.evaluate(SEE)["cube"][2] > before["cube"][2] + 0.1:
            break
        operator.grip(closed=False)
    wait_for(lambda: page.inner_text("#saved") == "1")


SEE = """() => {
  const body = (name) => teleop.view.bodies[teleop.view.names.indexOf(name)];
  const hand = body("panda_hand"), m = hand.matrix.elements, cube = body("cube");
  hand.updateMatrix(); cube.updateMatrix();
  const c = cube.matrix.elements;
  return {
    // The tool point, 0.1034 m along the hand's z.
    eef: [0, 1, 2].map((i) => m[12 + i] + 0.1034 * m[8 + i]), jaw: Math.atan2(m[5], m[4]),
    cube: [c[12], c[13], c[14]], yaw: Math.atan2(c[1], c[0]),
    phase: document.getElementById("phase").dataset.phase, saved: Number(document.getElementById("saved").textContent),
  };
}"""
"""Where the robot's tool point and the cube are, as the page draws them, and what the page says."""
