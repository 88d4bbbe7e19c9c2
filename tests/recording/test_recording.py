"""Recording through a real pseudo-terminal, and sessions killed at random."""

from __future__ import annotations

import os
import pty
import random
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from mimicctl.dataset.reader import Dataset
from mimicctl.devices import Event
from mimicctl.envs import make_env
from mimicctl.recording.scene_view import draw_scene
from mimicctl.recording.session import Outcome, Progress, Rules, look, run_session
from tests.recording.operators import Says, ask

KILLS = int(os.environ.get("TEST_KILLS", "8"))


class Terminal:
    """mimicctl in a pseudo-terminal of its own."""

    def __init__(self, cwd: Path, *arguments: str) -> None:
        self.pid, self.descriptor = pty.fork()
        if not self.pid:
            os.chdir(cwd)
            os.execv(sys.executable, [sys.executable, "-m", "mimicctl", *arguments])
        self.output = ""

    def read(self, seconds: float) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.descriptor], [], [], 0.05)[0]:
                try:
                    self.output += os.read(self.descriptor, 65536).decode(errors="ignore")
                except OSError:
                    break
        return self.output

    def wait_for(self, text: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while text not in self.output:
            assert time.monotonic() < end, f"{text!r} did not appear in {self.output[-2000:]!r}"
            self.read(0.1)

    def type(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())

    def finish(self) -> int:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            self.read(0.1)
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError("it does not end")


def test_keys_typed_in_a_terminal_are_obeyed_and_the_terminal_is_given_back(tmp_path):
    terminal = Terminal(tmp_path, "record", "--device", "keyboard", "--num-demos", "1")
    terminal.wait_for("saved 0 of 1")
    before = termios.tcgetattr(terminal.descriptor)
    assert not before[3] & termios.ICANON
    terminal.type("k")
    terminal.wait_for("gripper 0 mm")
    terminal.type("wwww")
    terminal.type("r")
    terminal.wait_for("discarded 1")
    terminal.type("\x03")
    assert terminal.finish() == 130
    assert "everything saved so far is kept" in terminal.output
    assert not list(tmp_path.rglob("*.hdf5"))


def test_discarding_starts_again_from_another_state(env):
    progress = Progress(Rules(1, 10))
    seen = []

    class Enough(Exception):
        pass

    def watch(progress: Progress) -> None:
        if progress.steps == 0:
            seen.append(progress.view.object_poses["cube_1"].copy())
        if len(progress.outcomes) == 2:
            raise Enough

    with pytest.raises(Enough):
        run_session(env, Says(then=ask(Event.RESET)), None, progress, seed=1, on_step=watch)
    assert progress.outcomes == [Outcome.DISCARDED] * 2
    assert not np.array_equal(seen[0], seen[1])


def test_recorded_demos_are_labelled_with_who_made_them(mimicctl, tmp_path):
    done = mimicctl("record", "--device", "scripted", "--num-demos", "1", "--speed", "fast", "--operator", "ada")
    assert done.returncode == 0, done.stderr
    assert "put down to scripted, not to ada" in done.stderr
    with Dataset(tmp_path / "datasets" / "dataset.hdf5") as dataset:
        lineage = dataset.demo_lineage("demo_0")
        assert lineage["device"] == "scripted" and lineage["human"] is False and lineage["operator"] == "scripted"
        assert dataset.episode("demo_0").success


def test_resume_goes_on_with_new_start_states_and_overwrite_replaces(mimicctl, tmp_path):
    path = tmp_path / "datasets" / "dataset.hdf5"
    flags = ("record", "--device", "scripted", "--speed", "fast", "--num-demos")
    assert mimicctl(*flags, "1").returncode == 0
    assert mimicctl(*flags, "1").returncode == 2
    assert mimicctl(*flags, "2", "--resume").returncode == 0
    with Dataset(path) as dataset:
        assert len(dataset) == 2
        starts = [dataset.episode(name).initial_state["rigid_object/cube_1/root_pose"] for name in dataset.demos]
        assert not np.array_equal(*starts)
        assert [dataset.demo_lineage(name)["attempt"] for name in dataset.demos] == [0, 1]
    assert mimicctl(*flags, "1", "--overwrite").returncode == 0
    with Dataset(path) as dataset:
        assert len(dataset) == 1


def test_killed_recording_keeps_every_committed_demo(tmp_path):
    path = tmp_path / "datasets" / "dataset.hdf5"
    command = [sys.executable, "-m", "mimicctl", "record", "--device", "scripted", "--speed", "fast", "--num-demos", "1000"]
    held = 0
    for attempt in range(KILLS):
        child = subprocess.Popen(
            [*command, *(["--resume"] if path.exists() else [])], cwd=tmp_path, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
        )
        told = held
        for line in child.stderr:
            if line.startswith("saved "):
                told = int(line.split()[1])
                if told > held:
                    break
        time.sleep(random.Random(attempt).uniform(0, 0.3))
        child.send_signal(signal.SIGKILL)
        child.wait()
        with h5py.File(path, "r") as file:
            assert len(file["data"]) >= told > held
            held = len(file["data"])
            for demo in file["data"].values():
                assert len(demo["actions"]) == demo.attrs["num_samples"] == len(demo["states/rigid_object/cube_3/root_pose"])


def test_arrows_typed_in_a_terminal_drive_a_base(tmp_path):
    terminal = Terminal(tmp_path, "record", "--device", "keyboard", "--task", "MuJoCo-Drive-Tiago-v0", "--num-demos", "1")
    terminal.wait_for("READY, records from the first movement")
    assert "base: its front up" in terminal.output and "or arrows" in terminal.output
    terminal.type("\x1b[A\x1b[A\x1b[A")
    terminal.wait_for("recording  step")
    terminal.type("\x03")
    assert terminal.finish() == 130


def test_a_floor_is_drawn_from_above_and_about_the_base():
    env = make_env("MuJoCo-Drive-Tiago-v0")
    env.reset([0], [np.random.SeedSequence(3)])
    for _ in range(40):
        env.step(np.array([[0, 0, 0.8]], np.float32))
    text = draw_scene(env.task, look(env, env.snapshot()[0], 0))
    rows = [line.split("│") for line in text.plain.splitlines()[1:-1]]
    room, around = ("\n".join(row[side] for row in rows) for side in (0, 1))
    # It has turned to its left: in the room, not about itself.
    assert "←" in room and "▒" in room and "▒" in around and any("▒↑▒" in row[1] for row in rows)
    assert "█" in room and "░" in room
    mark = np.linalg.inv(env.eef_poses(env.snapshot()[0])["base"]) @ env.object_poses(env.snapshot()[0])["goal"]
    assert f"to go: x{mark[0, 3]:+5.2f} m  y{mark[1, 3]:+5.2f} m" in text.plain


def test_the_scene_is_drawn_with_its_cubes_and_distances(env):
    text = draw_scene(env.task, look(env, env.snapshot()[0], 0))
    assert "to go [cm]: blue x" in text.plain and text.plain.count("█") >= 9
    assert {"red", "blue", "green"} <= {str(span.style) for span in text.spans}
