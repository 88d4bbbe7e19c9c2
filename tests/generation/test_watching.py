"""A generation that is watched, interrupted, and whose workers are killed."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mimicctl.config import GenerateSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.errors import RunFailed, UserError
from mimicctl.generation.engine import generate
from mimicctl.generation.status import StatusFile, last_failures
from mimicctl.tasks import DEFAULT_TASK

_PATIENCE = 240


def run(path: Path, trials: int = 12, **settings):
    options = GenerateSettings(**{"output_file": str(path), "trials": trials, "workers": 1, "num_envs": 3, **settings})
    return generate(DEFAULT_TASK, 3, options, None)


def command(folder: Path, *flags: str) -> list[str]:
    shape = ["--seed", "3", "--workers", "2", "--num-envs", "2", "--status-file", "status.json", "--output-file", "a.hdf5"]
    return [sys.executable, "-m", "mimicctl", "generate", *shape, *flags]


def status_once(folder: Path, holds, child: subprocess.Popen | None = None) -> dict:
    """The first status for which `holds` is true."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        assert child is None or child.poll() is None, "ended too early"
        if (folder / "status.json").exists():
            status = json.loads((folder / "status.json").read_text())  # whole whenever it is read
            if holds(status):
                return status
        time.sleep(0.02)
    raise AssertionError("never came")


def workers_of(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def content(path: Path) -> tuple[str, list]:
    with Dataset(path) as dataset:
        return dataset.content_hash(), dataset.attempts()


def test_a_killed_worker_costs_nothing_and_is_told_of(tmp_path):
    child = subprocess.Popen(command(tmp_path, "--trials", "30"), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    status_once(tmp_path, lambda status: status["trials_done"] > 0, child)
    for _ in range(2):  # one, and later one of those that are there then
        os.kill(workers_of(child.pid)[0], signal.SIGKILL)
        time.sleep(0.2)
    log = child.communicate(timeout=_PATIENCE)[1]
    assert child.returncode == 0, log
    assert log.count("was killed (signal 9)") == 2 and "again that it had under way" in log
    assert content(tmp_path / "a.hdf5") == content(run(tmp_path / "b.hdf5", 30).path)


@pytest.mark.parametrize("stop", ["ctrl-c", "SIGTERM"])
def test_an_interrupted_run_keeps_its_demos_and_says_so(tmp_path, stop):
    terminal, inside = pty.openpty()
    child = subprocess.Popen(
        command(tmp_path, "--trials", "1000"), cwd=tmp_path, stdin=inside, stdout=inside, stderr=inside, start_new_session=True, preexec_fn=_take_terminal
    )
    os.close(inside)
    status = status_once(tmp_path, lambda status: status["successes"] > 3, child)
    assert status["state"] == "running" and status["workers_alive"] == 2 and status["pid"] == child.pid
    workers = workers_of(child.pid)
    if stop == "ctrl-c":
        os.write(terminal, b"\x03")  # to the whole foreground group, workers too
    else:
        child.terminate()
    text = _all_of(terminal)
    assert child.wait(_PATIENCE) == 130
    after = json.loads((tmp_path / "status.json").read_text())
    with Dataset(tmp_path / "a.partial.hdf5") as dataset:
        assert len(dataset) == after["successes"] >= status["successes"]
        assert after["state"] == "interrupted" and after["workers_alive"] == 0
        assert f"{len(dataset)} demonstrations are kept in" in text and "--resume" in text
        assert "Traceback" not in text
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_an_interruption_while_a_demo_is_written_comes_once_it_is_counted(tmp_path, monkeypatch):
    write = DatasetWriter.write

    def interrupted(writer, *episode) -> None:
        write(writer, *episode)
        if len(writer) == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(DatasetWriter, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a.hdf5", status_file=str(tmp_path / "status.json"))
    after = json.loads((tmp_path / "status.json").read_text())
    with Dataset(tmp_path / "a.partial.hdf5") as dataset:
        assert len(dataset) == after["successes"] == 2
        assert len(dataset.attempts()) == after["trials_done"]


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _all_of(terminal: int) -> str:
    """What is written to a terminal until all of its users are gone."""
    text = b""
    while True:
        try:
            text += os.read(terminal, 65536)
        except OSError:
            os.close(terminal)
            return text.decode(errors="replace").replace("\r\n", "")


def test_status_of_a_run_that_ended(tmp_path):
    made = run(tmp_path / "a.hdf5", 4, status_file=str(tmp_path / "sub" / "status.json"))
    status = json.loads((tmp_path / "sub" / "status.json").read_text())
    assert (status["state"], status["file"]) == ("finished", str(made.path))
    assert (status["successes"], status["goal"]) == (4, {"successes": 4})
    assert status["trials_begun"] >= status["trials_done"] == made.report.attempts
    assert status["success_rate_95"][0] < status["success_rate"] <= status["success_rate_95"][1] + 1e-9
    assert status["demos_per_hour"] > 0 and status["eta_seconds"] == 0 and status["started"] <= status["updated"]
    assert sorted(path.name for path in (tmp_path / "sub").iterdir()) == ["status.json"]


def test_status_of_a_run_that_failed_has_reasons(tmp_path):
    hopeless = {"subtasks": {"franka": [{"action_noise": 0.4}]}, "max_failures": 3}
    with pytest.raises(RunFailed):
        run(tmp_path / "a.hdf5", status_file=str(tmp_path / "status.json"), **hopeless)
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["state"] == "failed" and "3 attempts failed" in status["error"]
    assert len(status["last_failures"]) == 3 and all(failure["reason"] for failure in status["last_failures"])
    assert status["file"].endswith("a.partial.hdf5")


def test_a_status_file_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="status file"):
        run(tmp_path / "a.hdf5", status_file=str(tmp_path / "file" / "status.json"))
    assert not (tmp_path / "a.partial.hdf5").exists() and not (tmp_path / "a.hdf5").exists()


def test_status_beats_while_nothing_happens(tmp_path):
    path = tmp_path / "status.json"
    with StatusFile(path, lambda: {"trials_done": 0}):
        first = json.loads(path.read_text())
        end = time.monotonic() + _PATIENCE
        while json.loads(path.read_text())["updated"] == first["updated"]:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_last_failures_are_the_newest_five():
    attempts = [{"trial": i, "success": i % 2 == 0, "reason": f"r{i}"} for i in range(20)]
    assert [failure["trial"] for failure in last_failures(attempts)] == [19, 17, 15, 13, 11]
