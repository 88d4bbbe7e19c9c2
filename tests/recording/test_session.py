"""The session as a state machine: what attempts wait for, and how they end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mimicctl.config import RunConfig
from mimicctl.dataset.reader import Dataset
from mimicctl.devices import Command, Event
from mimicctl.envs import make_env
from mimicctl.errors import UserError
from mimicctl.recording.files import recording_file
from mimicctl.recording.session import Outcome, Phase, Progress, Rules, run_session
from mimicctl.recording.status import phase_text, status_line
from mimicctl.tasks import DEFAULT_TASK
from tests.recording.operators import Says, ask

STILL = Command(np.zeros(6), 1.0)
MOVE = Command(np.array([0.02, 0, 0, 0, 0, 0]), 1.0)


@pytest.fixture(scope="module")
def env():
    made = make_env(DEFAULT_TASK)
    yield made
    made.close()


def drive(env, *commands: Command, failed=None, writer=None, **rules: object) -> tuple[Progress, list[tuple[Phase, int]]]:
    """The progress at the end, and the phase and the step of every moment."""
    progress, seen = Progress(Rules(**{"wanted": 0, "hold_needed": 10, **rules})), []
    run_session(env, Says(*commands), writer, progress, seed=1, failed=failed, on_step=lambda p: seen.append((p.phase, p.steps)))
    return progress, seen


def test_nothing_is_recorded_before_the_first_movement(env, monkeypatch):
    stepped = []
    step = env.step
    monkeypatch.setattr(env, "step", lambda actions, ids: (stepped.append(actions[0]), step(actions, ids)))
    progress, seen = drive(env, STILL, STILL, STILL, MOVE, MOVE, STILL, start="motion", step_hz=1000)
    assert seen[:4] == [(Phase.READY, 0)] * 4 and [phase for phase, _ in seen[4:]] == [Phase.RECORDING] * 3
    # The movement that began it is not lost to the episode: the hand goes on moving.
    assert len(stepped) == 2 and stepped[0][0] != 0 and progress.outcomes == []


def test_recording_waits_for_the_command(env):
    _, seen = drive(env, MOVE, MOVE, ask(Event.START), MOVE, start="command", step_hz=1000)
    assert [phase for phase, _ in seen] == [Phase.READY] * 3 + [Phase.RECORDING] * 2


def test_closing_the_gripper_is_a_movement(env):
    _, seen = drive(env, Command(np.zeros(6), -1.0), start="motion", step_hz=1000)
    assert [phase for phase, _ in seen] == [Phase.READY, Phase.RECORDING]


def test_closing_the_gripper_that_a_base_does_not_have_is_none():
    base = make_env("MuJoCo-Drive-Tiago-v0")
    _, seen = drive(base, Command(np.zeros(6), -1.0), MOVE, start="motion", step_hz=1000)
    assert [phase for phase, _ in seen] == [Phase.READY, Phase.READY, Phase.RECORDING]


def test_another_start_state_can_be_asked_for_before_it_begins(env):
    progress, seen = drive(env, ask(Event.RESET), start="command", step_hz=1000)
    assert progress.outcomes == [Outcome.DISCARDED] and progress.saved == 0
    assert [phase for phase, _ in seen] == [Phase.READY, Phase.REST, Phase.READY]


def test_countdown_and_rest_pass_and_are_told_of(env):
    told = []
    progress = Progress(Rules(0, 10, countdown=0.05, rest=0.05, step_hz=200))
    device = Says(*[STILL] * 200)

    def watch(p: Progress) -> None:
        told.append((p.phase, phase_text(p)))
        if p.phase is Phase.RECORDING:
            device.commands = [ask(Event.RESET), *[STILL] * 3]

    run_session(env, device, None, progress, seed=1, on_step=watch)
    phases = [phase for phase, _ in told]
    assert phases[0] is Phase.COUNTDOWN and told[0][1] == "countdown 0 s"
    assert phases.index(Phase.COUNTDOWN) < phases.index(Phase.RECORDING) < phases.index(Phase.REST)


def config(folder: Path, **record: object) -> RunConfig:
    return RunConfig.model_validate({"record": {"output_file": str(folder / "a.hdf5"), **record}})


def test_the_operator_saves_by_hand_and_failures_go_to_their_own_file(env, tmp_path):
    with recording_file(config(tmp_path, save_failed=True), env, resume=False, overwrite=False) as file:
        commands = [MOVE, MOVE, ask(Event.SAVE), MOVE, ask(Event.RESET), MOVE, MOVE, MOVE]
        progress, _ = drive(env, *commands, writer=file.writer, failed=file.failed)
    assert progress.outcomes == [Outcome.SAVED_BY_HAND, Outcome.DISCARDED] and progress.saved == 1
    with Dataset(tmp_path / "a.hdf5") as saved, Dataset(tmp_path / "a_failed.hdf5") as failed:
        assert [len(saved), len(failed)] == [1, 1]
        assert saved.length("demo_0") == 3 and failed.length("demo_0") == 2
        assert not saved.episode("demo_0").success
        assert saved.demo_lineage("demo_0")["outcome"] == "saved by the operator"
        assert failed.demo_lineage("demo_0")["attempt"] == 1
    with recording_file(config(tmp_path, save_failed=True), env, resume=True, overwrite=False) as file:
        assert (file.saved, file.next_attempt) == (1, 2)
    with pytest.raises(UserError, match="a_failed.hdf5|exists"), recording_file(config(tmp_path, save_failed=True), env, resume=False, overwrite=False):
        pass


def test_failures_are_kept_only_if_asked_for_and_there_are_any(env, tmp_path):
    for save_failed in (False, True):
        with recording_file(config(tmp_path, save_failed=save_failed), env, resume=False, overwrite=False) as file:
            assert (file.failed is not None) == save_failed
        assert not list(tmp_path.iterdir())


def test_the_status_line_says_what_is_waited_for(env):
    progress = Progress(Rules(wanted=3, hold_needed=10, start="motion"))
    assert "saved 0 of 3" in status_line(env.task, progress) and "records from the first movement" in status_line(env.task, progress)
    progress.phase, progress.saved = Phase.RECORDING, 2
    progress.outcomes = [Outcome.SAVED, Outcome.SAVED_BY_HAND, Outcome.DROPPED]
    line = status_line(env.task, progress)
    assert "discarded 1 (last: an object left the table)  recording" in line and "demos/h" in line
