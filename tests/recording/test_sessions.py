"""Sessions: begun, ended and discarded by the buttons of a pad, said aloud, continued if the format is the same, sent if asked for."""

from __future__ import annotations

from functools import partial

import h5py
import numpy as np
import pytest

from mimicctl.config import RecordSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.devices import Command, Event
from mimicctl.envs import make_env
from mimicctl.recording.cues import Cues, Voice
from mimicctl.recording.rules import for_device, rules_of
from mimicctl.recording.session import Outcome, Phase, Progress, Rules, run_session
from mimicctl.recording.status import status_line
from mimicctl.tasks import find_task
from tests.pads import SPOKEN, run_with_pad
from tests.recording.operators import Says, ask

HANGING = "MuJoCo-Pick-Stringman-v0"
MOVE = Command(np.array([0.02, 0, 0, 0, 0, 0]), 1.0)


@pytest.fixture
def with_pad(tmp_path):
    return partial(run_with_pad, tmp_path)


def test_start_begins_and_keeps_and_select_discards(with_pad, tmp_path):
    done = with_pad("START START START BACK START START", "record", "--session", "--task", HANGING)
    assert done.returncode == 0, done.stderr
    with Dataset(tmp_path / "datasets" / "dataset.hdf5") as dataset:
        assert len(dataset) == 2
        lineages = [dataset.demo_lineage(name) for name in dataset.demos]
        assert [one["attempt"] for one in lineages] == [0, 2] and all(one["outcome"] == "saved by the operator" for one in lineages)
        assert all(one["swing_cancellation"] is True and one["controller_version"] == "1.0" for one in lineages)
        assert dataset.env_args["sim_args"]["swing_cancellation"] is True and dataset.format_version == 1
        assert not dataset.episode("demo_0").success
    spoken = (tmp_path / SPOKEN).read_text().replace("\n", ". ")
    places = [spoken.index(cue) for cue in ("ready", "recording", "saved, 1", "discarded", "saved, 2")]
    assert places == sorted(places)


def test_a_session_goes_on_with_a_file_that_is_there(with_pad, tmp_path):
    for _ in range(2):
        assert with_pad("START START", "record", "--session", "--task", HANGING).returncode == 0
    with Dataset(tmp_path / "datasets" / "dataset.hdf5") as dataset:
        assert [dataset.demo_lineage(name)["attempt"] for name in dataset.demos] == [0, 1]


def test_the_left_stick_switches_swing_cancellation_and_each_demo_says_what_it_was(with_pad, mimicctl, tmp_path):
    done = with_pad("START START LEFTSTICK START START", "record", "--session", "--task", HANGING)
    assert "Swing cancellation was on and is off from here on." in done.stderr, done.stderr
    with Dataset(tmp_path / "datasets" / "dataset.hdf5") as dataset:
        assert [dataset.demo_lineage(name)["swing_cancellation"] for name in dataset.demos] == [True, False]
        assert dataset.env_args["sim_args"]["swing_cancellation"] == "mixed"
    # Each is played again as it was recorded.
    verified = mimicctl("replay", "--verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_file_is_of_the_setting_that_its_demos_had_not_of_the_one_that_it_was_begun_with(with_pad, tmp_path):
    assert with_pad("LEFTSTICK START START", "record", "--session", "--task", HANGING).returncode == 0
    with Dataset(tmp_path / "datasets" / "dataset.hdf5") as dataset:
        assert dataset.env_args["sim_args"]["swing_cancellation"] is False
        assert dataset.env_args["sim_args"]["controller_version"] == "1.0" and dataset.control_hz
    done = with_pad("START START", "record", "--session", "--task", HANGING)
    assert "swing cancellation was off and is on" in done.stderr
    done = with_pad("START START", "record", "--session", "--task", HANGING)
    assert "swing cancellation was mixed and is on" in done.stderr


def test_another_setting_of_swing_cancellation_is_warned_of_with_both_values(with_pad, tmp_path):
    assert with_pad("START START", "record", "--session", "--task", HANGING).returncode == 0
    done = with_pad("START START", "record", "--session", "--task", HANGING, "--no-swing-cancellation")
    assert done.returncode == 0 and "swing cancellation was on and is off" in done.stderr
    with Dataset(tmp_path / "datasets" / "dataset.hdf5") as dataset:
        assert len(dataset) == 2


def test_another_controller_is_warned_of_with_both_versions(with_pad, tmp_path):
    assert with_pad("START START", "record", "--session", "--task", HANGING).returncode == 0
    with h5py.File(tmp_path / "datasets" / "dataset.hdf5", "r+") as file:
        file["data"].attrs["env_args"] = file["data"].attrs["env_args"].replace('"controller_version": "1.0"', '"controller_version": "0.9"')
    done = with_pad("START START", "record", "--session", "--task", HANGING)
    assert done.returncode == 0 and "controller version was 0.9 and is 1.0" in done.stderr


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda file: file["data/demo_0/obs"].move("swing", "sway"), "no swing, not swing of shape (3,)"),
        (lambda file: file["data/demo_0"].__delitem__("states/articulation/robot/swing_cancellation"), "no states/articulation/robot/swing_cancellation"),
        (lambda file: _replace(file, "data/demo_0/actions", np.zeros((4, 8), np.float32)), "actions of 8 numbers, not 7"),
        (lambda file: file.attrs.__setitem__("format_version", 0), "format_version 0, not 1"),
    ],
    ids=["observation", "state", "actions", "quaternions"],
)
def test_a_file_of_another_format_is_refused_with_what_differs_and_stays_as_it_is(with_pad, tmp_path, change, named):
    assert with_pad("START START", "record", "--session", "--task", HANGING).returncode == 0
    path = tmp_path / "datasets" / "dataset.hdf5"
    with h5py.File(path, "r+") as file:
        change(file)
    before = path.read_bytes()
    done = with_pad("START START", "record", "--session", "--task", HANGING)
    assert done.returncode == 2 and "another format; nothing was added" in done.stderr and named in done.stderr, done.stderr
    assert path.read_bytes() == before


def _replace(file: h5py.File, path: str, values: np.ndarray) -> None:
    del file[path]
    file[path] = values


def test_a_session_needs_somebody_with_a_button(mimicctl, tmp_path):
    refused = mimicctl("record", "--session", "--device", "scripted")
    assert refused.returncode == 2 and "begun and ended by a person" in refused.stderr
    assert not list(tmp_path.rglob("*.hdf5"))


@pytest.mark.parametrize("flags", [("--session",), ("--upload", "someone/cubes")])
def test_what_does_not_go_with_generating_meanwhile_is_refused(mimicctl, tmp_path, flags):
    refused = mimicctl("record", "--generate", "--device", "scripted", *flags)
    assert refused.returncode == 2 and f"--generate does not go with {flags[0]}." in refused.stderr
    assert not list(tmp_path.rglob("*.hdf5*"))


def test_nothing_hangs_where_there_is_an_arm(mimicctl):
    refused = mimicctl("record", "--no-swing-cancellation", "--device", "scripted")
    assert refused.returncode == 2 and "Nothing hangs and swings" in refused.stderr and HANGING in refused.stderr


def test_success_saves_nothing_in_a_session_and_no_time_runs_out(env, monkeypatch):
    monkeypatch.setattr(env, "success", lambda rows: np.ones(rows.shape[:-1], bool))
    device = Says(ask(Event.START), *[MOVE] * 30, ask(Event.START))
    progress = Progress(Rules(0, 10, by_hand=True, start="command", step_hz=1000))
    steps = []
    run_session(env, device, None, progress, seed=1, on_step=lambda p: steps.append(p.steps))
    assert progress.outcomes == [Outcome.SAVED_BY_HAND] and max(steps) == 31
    assert (progress.saved, progress.successes) == (1, 1)


def test_an_autopilot_drives_between_start_and_start(env):
    driven = []

    class Pilot:
        def begin(self, attempt: int) -> None:
            driven.append(attempt)

        def act(self, snapshot: np.ndarray) -> np.ndarray:
            driven.append("act")
            return np.array([0, 0, 0, 0, 0, 0, 1], np.float32)

    device = Says(MOVE, ask(Event.START), MOVE, ask(Event.START), ask(Event.START), ask(Event.RESET))
    progress = Progress(Rules(0, 10, by_hand=True, start="command", step_hz=1000))
    run_session(env, device, None, progress, seed=1, autopilot=Pilot())
    assert driven == [0, "act", "act", 1, "act", 2]
    assert progress.outcomes == [Outcome.SAVED_BY_HAND, Outcome.DISCARDED] and (progress.saved, progress.successes) == (1, 0)
    assert "rollouts 1, of which 0 succeeded" in status_line(env.task, progress)


def test_settings_make_the_rules():
    task = find_task(HANGING)
    session = RecordSettings(session=True, gamepad_map={"reset": "b"})
    assert rules_of(session, task, 0, human=True) == Rules(0, 10, by_hand=True, start="command", step_hz=20.0)
    assert for_device(session).gamepad_map == {"start": "start", "reset": "b", "save": "a"}
    usual = RecordSettings(gamepad_map={"reset": "b"})
    assert for_device(usual) is usual and rules_of(usual, task, 3, human=False) == Rules(3, 10)
    assert (usual.speaks, session.speaks, RecordSettings(session=True, cues=False).speaks) == (False, True, False)


def test_a_gripper_that_does_not_hang_has_no_switch(env):
    progress = Progress(Rules(0, 10, start="command", step_hz=1000))
    run_session(env, Says(ask(Event.SWITCH), ask(Event.START)), None, progress, seed=1)
    assert progress.swing_cancellation is None


def test_cues_say_what_changed_and_nothing_twice():
    said: list[str] = []
    cues, progress = Cues(said.append), Progress(Rules(0, 10))
    for phase in (Phase.READY, Phase.READY, Phase.RECORDING, Phase.RECORDING):
        progress.phase = phase
        cues.follow(progress)
    progress.outcomes, progress.saved, progress.phase = [Outcome.SAVED_BY_HAND], 3, Phase.REST
    cues.follow(progress)
    progress.outcomes.append(Outcome.DISCARDED)
    cues.follow(progress)
    assert said == ["ready", "recording", "saved, 3", "discarded"]


def test_a_machine_that_cannot_speak_is_silent(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with Voice() as voice:
        assert voice.name == ""
        voice.say("ready")


def test_a_voice_does_not_interrupt_itself_and_nobody_waits_for_it(monkeypatch, tmp_path):
    speaker = tmp_path / "espeak"
    speaker.write_text(f'#!/bin/sh\n/bin/sleep 0.2\necho "$1" >> "{tmp_path}/spoken.txt"\n')
    speaker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with Voice() as voice:
        for cue in ("ready", "recording", "discarded"):
            voice.say(cue)
        assert voice.name == "espeak" and not (tmp_path / "spoken.txt").exists()
        voice._speaking.wait()
        voice.go_on()
    assert (tmp_path / "spoken.txt").read_text().splitlines() == ["ready", "recording. discarded"]


def test_the_switch_is_part_of_a_recorded_state():
    env = make_env(HANGING)
    env.switch_swing_cancellation()
    state = env.scene_state(env.snapshot([0])[0])
    env.switch_swing_cancellation()
    env.reset_to([0], [state])
    assert env.task.swing_cancellation is True and not env.reader.switch_of(env.scene_state(env.snapshot([0])[0]))
    env.close()
