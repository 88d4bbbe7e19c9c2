"""How long a key takes from the browser to a command, and whether the robot waits for a browser that is slow.

    python benchmarks/web.py [--seconds 60]

Needs Chromium and playwright. Everything is on this machine, so browser and session have the same clock. The 3-D view runs; by software, if there is no
GPU. The slow browser is the same with its processor throttled to a twentieth.
"""

from __future__ import annotations

import argparse
import random
import shutil
import socket
import threading
import time
from contextlib import closing

import numpy as np

from mimicctl.config import RunConfig
from mimicctl.devices import Command, OperatorView
from mimicctl.envs import make_env
from mimicctl.recording.session import Progress, Rules, run_session
from mimicctl.tasks import DEFAULT_TASK, find_task
from mimicctl.web.server import WebServer
from mimicctl.web.teleop import open_teleop

FLAGS = ["--no-sandbox", "--disable-background-networking", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


class Watched:
    """A device that notes when its commands are made, and when one begins to move."""

    name, human = "web", True

    def __init__(self, device) -> None:
        self._device, self._moving = device, False
        self.made: list[float] = []
        self.began: list[float] = []

    def reset(self) -> None:
        self._device.reset()

    def facts(self) -> dict:
        return self._device.facts()

    def command(self, view: OperatorView) -> Command:
        command = self._device.command(view)
        self.made.append(time.time())
        moving = bool(command.delta.any())
        if moving and not self._moving:
            self.began.append(time.time())
        self._moving = moving
        return command


class Operator(threading.Thread):
    """Taps a key now and then, in a browser."""

    def __init__(self, link: str, seconds: float, slowed: float) -> None:
        super().__init__()
        self.link, self.seconds, self.slowed = link, seconds, slowed
        self.pressed: list[float] = []
        self.pictures = 0.0
        self.loops: list[float] = []

    def run(self) -> None:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as started:
            chromium = shutil.which("chromium") or shutil.which("google-chrome")
            browser = started.chromium.launch(executable_path=chromium, args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(self.link)
            page.wait_for_selector("#drive:not([hidden])")
            page.wait_for_timeout(4000)
            page.evaluate("globalThis.pressed = []; addEventListener('keydown', (e) => pressed.push(performance.timeOrigin + e.timeStamp), true)")
            if self.slowed > 1:
                page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": self.slowed})
            draw, until, before = random.Random(0), time.monotonic() + self.seconds, page.evaluate("teleop.link.pictures")
            while time.monotonic() < until:
                page.keyboard.down("q" if len(self.loops) % 2 else "e")
                page.wait_for_timeout(200)
                page.keyboard.up("q" if len(self.loops) % 2 else "e")
                page.wait_for_timeout(draw.uniform(200, 400))
                self.loops.append(page.evaluate("teleop.link.loopMs ?? NaN"))
            self.pressed = [at / 1000 for at in page.evaluate("pressed")]
            self.pictures = (page.evaluate("teleop.link.pictures") - before) / self.seconds
            page.click("[data-action=quit]")
            page.wait_for_timeout(500)
            browser.close()


def measure(seconds: float, slowed: float) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    task = find_task(DEFAULT_TASK)
    device, page = open_teleop(RunConfig(), task, recording=False)
    watched = Watched(device)
    progress = Progress(Rules(wanted=0, hold_needed=10, step_hz=task.control_hz))
    with closing(make_env(task)) as env, WebServer(page.routes(), {"teleop.html": "Drive"}, port=port) as server:
        operator = Operator(server.link(), seconds, slowed)
        operator.start()
        run_session(env, watched, None, progress, seed=0, on_step=page.show)
        page.finish(progress)
        operator.join()
    first = operator.pressed[0]
    steps = np.diff([at for at in watched.made if first < at < first + seconds])
    # Each press is paired with the first command that began to move after it.
    delays = 1000 * np.array([next(at for at in watched.began if at > pressed) - pressed for pressed in operator.pressed if pressed < watched.began[-1]])
    middle, late, worst = np.percentile(delays, [50, 99, 100])
    return (
        f"| {'as it is' if slowed == 1 else f'slowed {slowed:g} times'} | {len(delays)} | {middle:.0f} | {late:.0f} | {worst:.0f} | {1 / steps.mean():.2f} | {1000 * np.percentile(steps, 99):.0f} | "
        f"{1000 * steps.max():.0f} | {operator.pictures:.1f} | {np.nanmedian(operator.loops):.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args()
    print(
        "| browser | key presses | to the command [ms]: median | 99 % | worst | commands a second | step [ms]: 99 % | worst | pictures a second | input to picture [ms], median |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for slowed in (1, 20):
        print(measure(asked.seconds, slowed), flush=True)


if __name__ == "__main__":
    main()
