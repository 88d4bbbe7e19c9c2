"""Isaac Lab's own teleoperation, Isaac Teleop, handed through: what it makes of headsets, controllers and leader arms is the env's action as it is.

Isaac Lab 3 has it in a task's config (`isaac_teleop`: a pipeline of retargeters, and where the operator stands in the scene) and in its package
`isaaclab_teleop`, which runs such a pipeline on the package `isaacteleop`. Its `IsaacTeleopDevice` gives an action (A,), or None until its session has
begun, and tells of a client's start, stop and reset. Here it has an OpenXR session of its own and draws nothing in the headset (Isaac Lab's way without
`--xr`).
"""

from __future__ import annotations

import importlib.util
import sys
from contextlib import redirect_stdout
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl.devices.base import Command, Event, OperatorView
from mimicctl.errors import RunFailed, UserError
from mimicctl.tasks.spec import TaskSpec

if TYPE_CHECKING:
    from mimicctl.config import RecordSettings

NAME = "isaac-teleop"
INSTALL = 'in the Python 3.12 of Isaac Lab 3: pip install "isaaclab[teleop]==3.0.0"'
_DRIVABLE = "Isaac-Stack-Cube-Franka-IK-Abs-v0"
"""A task that has a pipeline, to name where another has none."""

_HEADSETLESS, _RUNNING = "standalone", "none"
_PROFILES = {"cloudxrjs": "CLOUDXR_JS_ENV", "avp": "CLOUDXR_AVP_ENV", _HEADSETLESS: "CLOUDXR_STANDALONE_ENV"}
"""Names of Isaac Lab's `--cloudxr_env` to what `isaaclab_teleop` calls their files."""


def missing() -> str:
    """What keeps Isaac Teleop from being used in this Python; "" for nothing."""
    for module, what in (("isaaclab", "Isaac Lab"), ("isaaclab_teleop", "Isaac Lab's package isaaclab_teleop, which 3.0 has"), ("isaacteleop", "isaacteleop")):
        if importlib.util.find_spec(module) is None:
            return f"{what} is not installed"
    return ""


class IsaacTeleop:
    """A device of a person that makes the env's actions itself. Its client's start begins, stop pauses (in a session: keeps), reset discards.

    Args:
        task: of Isaac Lab, with a pipeline in its config.

    Raises:
        UserError: the task has none, or the packages are not installed.
    """

    name, human = NAME, True

    def __init__(self, task: TaskSpec, settings: RecordSettings) -> None:
        self._config, self._sim_device = _pipeline_of(task), task.isaaclab.device
        self._profile, self._stop_keeps = settings.cloudxr_env, settings.session
        self._active = self._config.teleoperation_active_default
        self._device: Any = None
        self._echo = False
        self.state = ""

    def start(self) -> None:
        import isaaclab_teleop

        file = getattr(isaaclab_teleop, _PROFILES[self._profile]) if self._profile in _PROFILES else self._profile
        try:
            # What it says, and asks about the licence of CloudXR, is no part of a command's result.
            with redirect_stdout(sys.stderr):
                self._device = isaaclab_teleop.create_isaac_teleop_device(
                    self._config, sim_device=self._sim_device, cloudxr_env_file=None if file == _RUNNING else file, use_kit_xr_bridge=False
                )
                self._device.__enter__()
        except (Exception, SystemExit) as error:  # it exits where the licence is not accepted
            self.close()
            raise _not_started(error, self._profile) from error
        if self._profile == _HEADSETLESS:
            self._device.request_start()  # there is no client that would say so

    def reset(self) -> None:
        # A reset that was asked for here is told as if the operator had; one that the operator has just asked for is not told again.
        self._echo = not self._device.last_control_events.should_reset
        self._device.reset()

    def command(self, view: OperatorView) -> Command:
        try:
            action = self._device.advance()
        except Exception as error:
            what = f"Isaac Teleop has ended ({type(error).__name__}: {error})."
            raise RunFailed(what, where=f"--device {NAME}", do="see to runtime and headset; mimicctl record --resume goes on") from error
        events = self._events()
        driving = action is not None and self._active
        self.state = "" if driving else "paused, the headset's start goes on" if action is not None else "waits for the headset"
        return Command(np.zeros(6), 1.0, events, action=action.cpu().numpy().astype(np.float32) if driving else None, idle=not driving)

    def _events(self) -> tuple[Event, ...]:
        """What its client asked for since the last step; follows whether it drives."""
        said, was = self._device.last_control_events, self._active
        if said.is_active is not None:  # else it has no client that could say
            self._active = said.is_active
        if said.should_reset:
            ours, self._echo = self._echo, False
            if not ours:
                return (Event.RESET,)
        if self._active and not was:
            return (Event.START,)
        return (Event.SAVE,) if was and not self._active and self._stop_keeps else ()

    def facts(self) -> dict[str, str]:
        """For the lineage."""
        return {"isaacteleop": metadata.version("isaacteleop"), "cloudxr_env": self._profile}

    def help(self) -> str:
        stop = "keeps the take" if self._stop_keeps else "pauses, the scene stands still meanwhile"
        return f"  Isaac Teleop drives, by the pipeline of the task. Its client's start begins, stop {stop}, reset discards. Ctrl-C here ends it."

    def close(self) -> None:
        if self._device is not None:
            with redirect_stdout(sys.stderr):
                self._device.__exit__(None, None, None)
            self._device = None


def _pipeline_of(task: TaskSpec) -> Any:
    """The field `isaac_teleop` of the task's config, an `IsaacTeleopCfg`."""
    where = f"--device {NAME}"
    if task.isaaclab is None:
        what = f"{task.task_id} runs on MuJoCo, and Isaac Teleop drives tasks of Isaac Lab."
        raise UserError(what, where=where, do=f"use --device hands, or --web with a headset; or give --task {_DRIVABLE}")
    if lacks := missing():
        raise UserError(f"Isaac Teleop cannot be used: {lacks}.", where=sys.prefix, do=INSTALL)
    from mimicctl.envs.isaaclab.launch import config_of

    config = getattr(config_of(task.isaaclab, 1), "isaac_teleop", None)
    if config is None:
        what = f"The config of {task.task_id} has no pipeline of Isaac Teleop (isaac_teleop)."
        raise UserError(what, where=where, do=f"choose another device, or give --task {_DRIVABLE}, which has one")
    return config


def _not_started(error: BaseException, profile: str) -> UserError:
    where, first = f"--device {NAME}, record.cloudxr_env = {profile}", str(error).strip().partition("\n")[0] or type(error).__name__
    if isinstance(error, ImportError):
        return UserError(f"The pipeline of the task needs what is not installed: {first}.", where=sys.prefix, do=INSTALL)
    # Its versions exit or raise.
    if isinstance(error, SystemExit) or "EULA" in first:
        do = "answer its question in a terminal, or set ISAACLAB_CXR_ACCEPT_EULA=1"
        return UserError("The licence of NVIDIA CloudXR is not accepted.", where=where, do=do)
    if profile == _RUNNING:
        return UserError(f"Isaac Teleop finds no runtime: {first}.", where=where, do="start CloudXR and set NV_CXR_RUNTIME_DIR and XR_RUNTIME_JSON as it says")
    do = f"CloudXR needs an NVIDIA GPU, and a headset that is connected unless record.cloudxr_env is {_HEADSETLESS}; docs/teleop.md has the other ways"
    return UserError(f"Isaac Teleop cannot be started: {first}.", where=where, do=do)
