"""Whether the stack can be built through tracked hands, and how old samples are when the arm obeys them.

    python benchmarks/hands.py [--attempts 20] [--seconds 20]

There is no person here. The scripted operator looks at the scene, and a controller is moved as it would move the arm, a quarter of the way per control
step; the arm sees the controller alone. Shaky tracking has a tremor of 0.5 mm and 4 mrad and misses one control step in fifty. In relative mode the clutch is
released and the hand brought back whenever it is 15 cm away. The scripted operator never tries again what failed, so its own rate is the measure.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time

import numpy as np

from mimicctl import poses
from mimicctl.config import RecordSettings
from mimicctl.devices import Command, OperatorView, make_device
from mimicctl.devices.hand_tracking import HandTracking
from mimicctl.devices.hands import HandSample
from mimicctl.envs import make_env
from mimicctl.recording.session import Pacer, Progress, Rules, run_session
from mimicctl.statistics import rate_text
from mimicctl.tasks import TaskSpec, find_task

TASKS = ("MuJoCo-Stack-Cube-Franka-IK-Rel-v0", "MuJoCo-Stack-Cube-Franka-IK-Abs-v0")
SEED = 11
EAGERNESS = 0.25
FAR = 0.15
TREMOR = np.repeat([0.0005, 0.004], 3)


class Person:
    """The scripted operator with a controller in the hand. A clock of its own, so that nothing waits."""

    name, human = "hands", False

    def __init__(self, task: TaskSpec, mode: str, shaky: bool) -> None:
        self._now, self._shaky, self._unit, self._lifts = 0.0, shaky, task.command_scale, mode == "relative"
        self._tracking = HandTracking(RecordSettings(hand_mode=mode, hand_yaw_only=False), task, clock=lambda: self._now)
        self._operator = make_device(task, RecordSettings(device="scripted"), SEED)
        self._rng = np.random.default_rng(SEED)
        self.reset()

    def reset(self) -> None:
        self._tracking.reset(), self._operator.reset()
        self._hand, self._lifted, self._trigger = np.eye(4), 0, 0.0

    def command(self, view: OperatorView) -> Command:
        self._now += 0.05
        if self._lifted:
            self._lifted -= 1
            self._hand = poses.apply_delta(self._hand, 0.5 * poses.delta_between(self._hand, np.eye(4)))
        else:
            wanted = self._operator.command(view)
            self._trigger = float(wanted.gripper < 0)
            self._hand = poses.apply_delta(self._hand, EAGERNESS * self._unit * wanted.delta)
            self._lifted = 6 * (self._lifts and np.linalg.norm(poses.position(self._hand)) > FAR)
        seen = poses.apply_delta(self._hand, TREMOR * self._rng.standard_normal(6)) if self._shaky else self._hand
        lost = self._shaky and self._rng.random() < 0.02
        self._tracking.feed({} if lost else {"right": HandSample(seen, trigger=self._trigger, squeeze=float(not self._lifted))})
        return self._tracking.command(view)


class Enough(Exception):
    """As many attempts as were wanted."""


def stacks(task: TaskSpec, device: object, attempts: int) -> str:
    """Success rate and median length."""
    env, progress, steps = make_env(task, 1), Progress(Rules(wanted=0, hold_needed=10)), {}

    def watch(now: Progress) -> None:
        if len(now.outcomes) == attempts:
            raise Enough
        steps[len(now.outcomes)] = now.steps

    try:
        run_session(env, device, None, progress, seed=SEED, on_step=watch)
    except Enough:
        pass
    finally:
        env.close()
    saved = [steps[i] for i, outcome in enumerate(progress.outcomes) if outcome.saved]
    return f"{rate_text(len(saved), attempts)} | {statistics.median(saved):.0f} steps" if saved else rate_text(0, attempts)


def ages(seconds: float, hz: float, load: int) -> str:
    """Ages of samples in a loop that steps the default task, while a thread feeds `hz` samples a second and others compute."""
    task = find_task(TASKS[0])
    env, device, ended = make_env(task, 1), HandTracking(RecordSettings(hand_clutch="always"), task), threading.Event()

    def feed() -> None:
        pacer, i = Pacer(hz), 0
        while not ended.is_set():
            device.feed({"right": HandSample(poses.apply_delta(np.eye(4), np.array([0.05 * np.sin(i / hz), 0, 0, 0, 0, 0])))})
            pacer.wait()
            i += 1

    def compute() -> None:
        while not ended.is_set():
            sum(i * i for i in range(1000))

    threads = [threading.Thread(target=feed), *(threading.Thread(target=compute) for _ in range(load))]
    for thread in threads:
        thread.start()
    pacer, end = Pacer(task.control_hz), time.monotonic() + seconds
    env.reset([0], [np.random.SeedSequence(SEED)])
    device.reset()
    while time.monotonic() < end:
        snapshot = env.snapshot([0])[0]
        command = device.command(OperatorView(env.eef_poses(snapshot)["franka"]))
        env.step(env.command_to_action(snapshot, {"franka": command.delta}, {"franka": command.gripper})[None], [0])
        pacer.wait()
    ended.set()
    for thread in threads:
        thread.join()
    env.close()
    facts = device.facts()
    age = facts["age_ms"]
    return f"{facts['samples'] / seconds:.0f} a second fed | {age['median']:.1f} ms | {age['p99']:.1f} ms | {facts['late_samples']} late | {pacer.rate:.1f} Hz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    asked = parser.parse_args()
    for task_id in TASKS:
        task = find_task(task_id)
        print(
            f"{task_id} | the scripted operator itself | {stacks(task, make_device(task, RecordSettings(device='scripted'), SEED), asked.attempts)}", flush=True
        )
        for mode in ("relative", "absolute"):
            for shaky in (False, True):
                print(f"{task_id} | {mode}, {'shaky' if shaky else 'steady'} | {stacks(task, Person(task, mode, shaky), asked.attempts)}", flush=True)
    for load in (0, 1, 4):
        print(f"{load} threads that compute | {ages(asked.seconds, 90.0, load)}", flush=True)


if __name__ == "__main__":
    main()
