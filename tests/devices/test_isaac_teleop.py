"""Isaac Teleop handed through: what it refuses, and how its actions and events drive a session.

Isaac Lab's own device is stood in for here by what its class promises (actions or None, `last_control_events`, `reset`); tests/isaaclab/test_teleop.py
has the real one.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from mimicctl.config import RecordSettings, RunConfig
from mimicctl.dataset.reader import Dataset
from mimicctl.devices import Event, OperatorView, isaac_teleop, make_device
from mimicctl.devices.isaac_teleop import IsaacTeleop
from mimicctl.envs import make_env
from mimicctl.errors import RunFailed, UserError
from mimicctl.recording.files import recording_file
from mimicctl.recording.session import Outcome, Progress, Rules, run_session
from mimicctl.tasks import DEFAULT_TASK, find_task
from mimicctl.tasks.spec import IsaacLab
from tests.recording.operators import Says

VIEW = OperatorView(np.eye(4))
ON_ISAACLAB = replace(find_task(DEFAULT_TASK), isaaclab=IsaacLab("Isaac-Stack-Cube-Franka-IK-Abs-Mimic-v0"))


@dataclass(frozen=True)
class Said:
    """As Isaac Lab's ControlEvents."""

    is_active: bool | None = None
    should_reset: bool = False


class Tensor(np.ndarray):
    """What is asked of one of torch's."""

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> np.ndarray:
        return self.view(np.ndarray)


class StandIn:
    """For Isaac Lab's IsaacTeleopDevice: steps of (action or None, what the client said), the last one for ever.

    As the real one does, it tells of a reset that it was asked for in the next step, as if the client had, unless the client has just done so.
    """

    def __init__(self, *steps: tuple[list[float] | None, Said]) -> None:
        self.steps, self.asked, self.last_control_events = list(steps), [], Said()

    def __enter__(self) -> StandIn:
        self.asked.append("enter")
        return self

    def __exit__(self, *exception: object) -> None:
        self.asked.append("exit")

    def request_start(self) -> None:
        self.asked.append("start")

    def reset(self) -> None:
        self._pulse = not self.last_control_events.should_reset

    def advance(self) -> Tensor | None:
        action, said = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        self.last_control_events = Said(said.is_active, said.should_reset or getattr(self, "_pulse", False))
        self._pulse = False
        return None if action is None else np.array(action, dtype=np.float32).view(Tensor)


@pytest.fixture
def package(monkeypatch):
    """The packages, as if they were installed: `create` makes the device, and `config` is what a task has."""
    module = ModuleType("isaaclab_teleop")
    module.CLOUDXR_JS_ENV, module.CLOUDXR_AVP_ENV, module.CLOUDXR_STANDALONE_ENV = "js.env", "avp.env", "standalone.env"
    config = SimpleNamespace(teleoperation_active_default=False)
    monkeypatch.setitem(sys.modules, "isaaclab_teleop", module)
    monkeypatch.setattr(isaac_teleop, "missing", lambda: "")
    monkeypatch.setattr("mimicctl.envs.isaaclab.launch.config_of", lambda how, num_envs: SimpleNamespace(isaac_teleop=config))
    monkeypatch.setattr("mimicctl.devices.isaac_teleop.metadata.version", lambda name: "0.0")
    return SimpleNamespace(module=module, config=config)


def started(package, *steps: tuple[list[float] | None, Said], **settings: object) -> tuple[IsaacTeleop, StandIn]:
    theirs = StandIn(*steps)
    package.module.create_isaac_teleop_device = lambda config, **how: theirs
    device = make_device(ON_ISAACLAB, RecordSettings(device="isaac-teleop", **settings), 0)
    device.start()
    return device, theirs


def events(device: IsaacTeleop, steps: int) -> list[tuple[Event, ...]]:
    return [device.command(VIEW).events for _ in range(steps)]


def test_on_mujoco_it_is_refused_before_anything_is_written(mimicctl, tmp_path):
    for command in ("record", "teleop"):
        done = mimicctl(command, "--device", "isaac-teleop")
        assert done.returncode == 2 and "drives tasks of Isaac Lab" in done.stderr and "--device hands" in done.stderr
        assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize("absent", ["isaaclab", "isaaclab_teleop", "isaacteleop"])
def test_a_package_that_is_not_installed_is_named(monkeypatch, absent):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == absent else object())
    with pytest.raises(UserError, match="not installed") as refused:
        make_device(ON_ISAACLAB, RecordSettings(device="isaac-teleop"), 0)
    assert "isaaclab[teleop]" in refused.value.do and (absent == "isaaclab" or absent in refused.value.what)


def test_a_task_without_a_pipeline_is_refused(package, monkeypatch):
    monkeypatch.setattr("mimicctl.envs.isaaclab.launch.config_of", lambda how, num_envs: SimpleNamespace(isaac_teleop=None))
    with pytest.raises(UserError, match="no pipeline") as refused:
        make_device(ON_ISAACLAB, RecordSettings(device="isaac-teleop"), 0)
    assert "Isaac-Stack-Cube-Franka-IK-Abs-v0" in refused.value.do


@pytest.mark.parametrize(
    ("error", "profile", "what", "do"),
    [
        (SystemExit(1), "cloudxrjs", "licence", "ISAACLAB_CXR_ACCEPT_EULA=1"),
        (RuntimeError("CloudXR EULA was not accepted"), "avp", "licence", "ISAACLAB_CXR_ACCEPT_EULA=1"),
        (ModuleNotFoundError("No module named 'dex_retargeting'"), "cloudxrjs", "dex_retargeting", "isaaclab[teleop]"),
        (RuntimeError("NV_CXR_RUNTIME_DIR is not set"), "none", "no runtime: NV_CXR_RUNTIME_DIR", "XR_RUNTIME_JSON"),
        (RuntimeError("XR_ERROR_FORM_FACTOR_UNAVAILABLE\nmore"), "cloudxrjs", "XR_ERROR_FORM_FACTOR_UNAVAILABLE.", "NVIDIA GPU"),
    ],
)
def test_why_it_does_not_start_is_said_and_what_it_began_is_ended(package, error, profile, what, do):
    class Fails(StandIn):
        def __enter__(self):
            raise error

    theirs = Fails()
    package.module.create_isaac_teleop_device = lambda config, **how: theirs
    device = make_device(ON_ISAACLAB, RecordSettings(device="isaac-teleop", cloudxr_env=profile), 0)
    with pytest.raises(UserError) as refused:
        device.start()
    assert what in refused.value.what and do in refused.value.do
    assert refused.value.where == (sys.prefix if isinstance(error, ImportError) else f"--device isaac-teleop, record.cloudxr_env = {profile}")
    assert refused.value.exit_code == 2 and theirs.asked == ["exit"]


@pytest.mark.parametrize(
    ("profile", "file", "asked"),
    [
        ("cloudxrjs", "js.env", ["enter"]),
        ("avp", "avp.env", ["enter"]),
        ("standalone", "standalone.env", ["enter", "start"]),  # no headset that could say start
        ("none", None, ["enter"]),
        ("/tmp/mine.env", "/tmp/mine.env", ["enter"]),
    ],
)
def test_which_runtime_it_starts(package, profile, file, asked):
    made, theirs = [], StandIn()
    package.module.create_isaac_teleop_device = lambda config, **how: made.append((config, how)) or theirs
    device = make_device(ON_ISAACLAB, RecordSettings(device="isaac-teleop", cloudxr_env=profile), 0)
    device.start()
    assert made == [(package.config, {"sim_device": "cpu", "cloudxr_env_file": file, "use_kit_xr_bridge": False})]
    device.close()
    assert theirs.asked == [*asked, "exit"]
    device.close()  # once is enough


def test_it_idles_until_the_client_starts_and_gives_actions_as_they_are(package):
    device, _ = started(package, (None, Said()), ([1.0, 2.0], Said(False)), ([3.0, 4.0], Said(True)), ([5.0, 6.0], Said(True)), ([7.0, 8.0], Said(False)))
    waits, paused, begun, driven, stopped = (device.command(VIEW) for _ in range(5))
    assert [each.idle for each in (waits, paused, begun, driven, stopped)] == [True, True, False, False, True]
    assert waits.action is None and paused.action is None and stopped.action is None
    np.testing.assert_array_equal(driven.action, np.array([5, 6], dtype=np.float32))
    assert begun.events == (Event.START,) and not waits.events + paused.events + driven.events + stopped.events


def test_without_a_client_it_drives_if_the_task_says_so(package):
    package.config.teleoperation_active_default = True
    device, _ = started(package, ([1.0], Said(None)))
    assert not device.command(VIEW).idle


def test_stop_keeps_in_a_session_and_a_reset_discards(package):
    steps = ([1.0], Said(True)), ([1.0], Said(False)), ([1.0], Said(True)), ([1.0], Said(False, True)), ([1.0], Said(False))
    device, _ = started(package, *steps, session=True)
    # A reset pauses too; that is not the stop that keeps.
    assert events(device, 5) == [(Event.START,), (Event.SAVE,), (Event.START,), (Event.RESET,), ()]


def test_a_reset_that_the_session_asked_for_is_not_taken_for_the_clients(package):
    device, _ = started(package, ([1.0], Said(True)), ([1.0], Said(True)), ([1.0], Said(True)), ([1.0], Said(False, True)), ([1.0], Said(False)))
    device.reset()
    assert events(device, 1) == [(Event.START,)]
    device.reset()
    assert events(device, 3) == [(), (), (Event.RESET,)]
    # Now the session begins another attempt. The client's reset was told already, and the next one is told again.
    device.reset()
    assert events(device, 1) == [()]
    device._device.steps = [([1.0], Said(False, True))]
    assert events(device, 1) == [(Event.RESET,)]


def test_a_runtime_that_ends_ends_the_session(package):
    device, theirs = started(package, ([1.0], Said(True)))
    theirs.advance = lambda: (_ for _ in ()).throw(RuntimeError("XR_ERROR_INSTANCE_LOST"))
    with pytest.raises(RunFailed, match="XR_ERROR_INSTANCE_LOST") as failed:
        device.command(VIEW)
    assert "--resume" in failed.value.do


def test_it_records_an_episode_with_its_actions_and_a_pause_is_not_in_it(package, tmp_path):
    """On MuJoCo, whose env takes actions as Isaac Lab's does: those of the scripted operator from the same start state."""
    config = RunConfig(record={"output_file": str(tmp_path / "recording.hdf5"), "operator": "Ann"})
    with contextlib.closing(make_env("MuJoCo-Lift-Cube-Franka-IK-Abs-v0")) as env:
        wanted = []
        step, env.step = env.step, lambda actions, ids: (wanted.append(actions[0].copy()), step(actions, ids))
        progress = Progress(Rules(wanted=1, hold_needed=10))
        run_session(env, make_device(env.task, RecordSettings(device="scripted"), 3), None, progress, seed=3)
        assert progress.outcomes == [Outcome.SAVED]
        env.step = step
        half = len(wanted) // 2
        first, then = ([(list(map(float, action)), Said(True)) for action in part] for part in (wanted[:half], wanted[half:]))
        device, _ = started(package, (None, Said()), (first[0][0], Said(False)), *first, *[(first[-1][0], Said(False))] * 25, *then)
        config = config.model_copy(update={"task": env.task.task_id})
        with recording_file(config, env, resume=False, overwrite=False) as file:
            progress = Progress(Rules(wanted=1, hold_needed=10, start="motion", step_hz=5000))
            run_session(env, device, file.writer, progress, seed=3, operator="Ann")
        assert progress.outcomes == [Outcome.SAVED]
    with Dataset(tmp_path / "recording.hdf5") as dataset:
        episode, lineage = dataset.episode("demo_0"), dataset.demo_lineage("demo_0")
    # The first action was looked at when it began, and counts from the second on.
    np.testing.assert_allclose(episode.actions, np.stack(wanted[1:] + wanted[-1:])[: len(episode)], atol=1e-6)
    assert episode.success and len(wanted) - 1 <= len(episode) <= len(wanted)
    assert (lineage["device"], lineage["human"], lineage["operator"]) == ("isaac-teleop", True, "Ann")
    assert lineage["input"] == {"isaacteleop": "0.0", "cloudxr_env": "cloudxrjs"}


def test_an_attempt_that_nobody_drove_leaves_nothing(package, tmp_path):
    config = RunConfig(record={"output_file": str(tmp_path / "recording.hdf5")})
    with contextlib.closing(make_env(DEFAULT_TASK)) as env, recording_file(config, env, resume=False, overwrite=False) as file:
        idle = started(package, ([0.0] * 7, Said(False)))[0].command(VIEW)
        progress = Progress(Rules(wanted=0, hold_needed=10, start="at_once", step_hz=5000))
        run_session(env, Says(idle, replace(idle, events=(Event.RESET,)), idle), file.writer, progress, seed=1, failed=file.writer)
        assert progress.outcomes == [Outcome.DISCARDED] and progress.steps == 0 and not len(file.writer)


def test_it_is_listed_with_what_keeps_it_from_being_used(monkeypatch):
    from mimicctl.devices.survey import survey

    monkeypatch.setattr(isaac_teleop, "missing", lambda: "isaacteleop is not installed")
    (found,) = (each for each in survey() if each.device == "isaac-teleop")
    assert not found.ready and found.what == "isaacteleop is not installed" and "isaaclab[teleop]" in found.do
    monkeypatch.setattr(isaac_teleop, "missing", lambda: "")
    assert next(each for each in survey() if each.device == "isaac-teleop").ready
