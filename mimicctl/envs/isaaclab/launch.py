"""Isaac Lab in this process: started once, with one environment at a time, as it cannot have two."""

from __future__ import annotations

import atexit
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

from mimicctl.envs.isaaclab import versions
from mimicctl.envs.isaaclab.cameras import leave_out
from mimicctl.errors import RunFailed, UserError
from mimicctl.tasks.spec import IsaacLab

_LAST_LINES = 30
"""Of what Isaac Lab said, shown when it fails in a way that is not known."""


@dataclass(frozen=True)
class Simulation:
    """A running environment.

    Attributes:
        env: Isaac Lab's, with no terminations of its own: it resets when it is told to and not otherwise.
        succeeded: its success term, (N,) bool tensor; None if the task has none.
    """

    env: Any
    how: IsaacLab
    succeeded: Callable[[], Any] | None


_started: set[str] = set()
_running: Simulation | None = None
_of_running = ExitStack()
_log: io.BufferedRandom | None = None
_STREAMS = {1: "stdout", 2: "stderr"}
_taken: list[int] = []
"""File descriptors that are native code's alone."""


def registry() -> list[str]:
    """Ids of all environments that Isaac Lab knows, its Mimic ones among them.

    Raises:
        UserError: Isaac Lab is not installed.
    """
    import gymnasium

    _import_tasks(IsaacLab(env_id=""))
    return list(gymnasium.registry)


def config_of(how: IsaacLab, num_envs: int) -> Any:
    """A fresh config of the environment, with dictionaries as observations.

    Raises:
        UserError: it cannot be made: a bad override, assets or packages that are missing.
    """
    _import_tasks(how)
    versions.require_device(how)
    with _heard("make the config of", how.env_id):
        config = versions.parse_config(how.env_id, how, num_envs)
    config.observations.policy.concatenate_terms = False
    return config


def open_simulation(how: IsaacLab, num_envs: int) -> Simulation:
    """The environment, running. One that was opened before is used again if it is the same, and closed otherwise.

    Raises:
        UserError: it cannot be made.
    """
    global _running
    if _running is not None and _running.how == how and _running.env.num_envs == num_envs:
        return _running
    config = config_of(how, num_envs)
    leave_out(config)
    success = getattr(config.terminations, "success", None)
    env = start(config, how)
    _running = Simulation(env, how, (lambda: success.func(env, **success.params)) if success is not None else None)
    return _running


def start(config: Any, how: IsaacLab) -> Any:
    """The environment of a config of `config_of`, running until another is asked for.

    Raises:
        UserError: it cannot be made.
    """
    close_simulation()
    # An environment that ended episodes by itself would start the next one in the middle of a trial.
    for name in list(vars(config.terminations)):
        setattr(config.terminations, name, None)
    with _heard("start", how.env_id):
        import gymnasium
        import torch

        if how.device == "cpu":
            torch.set_num_threads(1)  # tensors of a few numbers: handing them out costs more than working on them
        _of_running.enter_context(versions.simulation(config, how))
        env = gymnasium.make(how.env_id, cfg=config).unwrapped
        _of_running.callback(env.close)
        env.reset()
    _stop_listening()
    return env


def close_simulation() -> None:
    """End what runs, if anything does."""
    global _running
    _running = None
    with redirect_stdout(io.StringIO()):
        _of_running.close()


def _import_tasks(how: IsaacLab) -> None:
    versions.require()
    if "tasks" in _started:
        return
    _keep_the_terminal()
    with _heard("start", "Isaac Lab"):
        versions.start_app(how)
        import isaaclab_mimic.envs  # noqa: F401  registers the environments
        import isaaclab_tasks  # noqa: F401  the same

    atexit.register(close_simulation)
    _started.add("tasks")


# What it says ---------------------------------------------------------------------------------------------


def _keep_the_terminal() -> None:
    """Send what native code writes to a log of its own, from now on.

    The physics' and Warp's own code writes to file descriptors 1 and 2, also while it steps. There it would be part of a command's result and tear
    its progress bar; Python's streams keep the terminal, and stay the objects that others hold: pytest's report, handlers of logs.
    """
    global _log
    _log = tempfile.TemporaryFile()
    for number, name in _STREAMS.items():
        stream = getattr(sys, name)
        try:
            if stream.fileno() != number:
                continue
        except (AttributeError, OSError):
            continue  # a test or a notebook keeps what is written
        stream.flush()
        terminal = os.dup(number)
        os.dup2(_log.fileno(), number)
        _taken.append(number)
        raw = getattr(stream.buffer, "raw", stream.buffer)  # Python's -u leaves the buffer out
        raw.__init__(terminal, "wb", closefd=False)


def _stop_listening() -> None:
    """What native code says while it steps is of no use, and in a long run it is gigabytes: Newton's solver has a line for every step that is hard."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in _taken:
        os.dup2(nowhere, number)
    os.close(nowhere)


@contextmanager
def _heard(doing: str, what: str) -> Iterator[None]:
    """What Isaac Lab prints and logs goes to the log, and is shown if it fails."""
    said = io.TextIOWrapper(_log, encoding="utf-8", errors="replace", write_through=True) if _log else io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            yield
    except UserError:
        raise
    except Exception as error:
        understood = _understood(error, doing, what)
        if _log and isinstance(understood, RunFailed):
            _log.seek(0)
            print("\n".join(_log.read().decode(errors="replace").splitlines()[-_LAST_LINES:]), file=sys.stderr)
        raise understood from error
    finally:
        if _log:
            said.detach()


def _understood(error: Exception, doing: str, what: str) -> UserError:
    """The failure in words, with the way out where it is known."""
    text = str(error).strip().splitlines()
    first = text[0] if text else type(error).__name__
    if isinstance(error, FileNotFoundError):
        root = os.environ.get("ISAACSIM_ASSET_ROOT", "")
        do = "check ISAACSIM_ASSET_ROOT" if root else "let the machine reach NVIDIA's asset server, or set ISAACSIM_ASSET_ROOT to a folder with the assets"
        return UserError(f"An asset of Isaac Lab cannot be found: {first}", where=what, do=do)
    if isinstance(error, ImportError):
        return UserError(f"Isaac Lab cannot {doing} {what}: {first}", where=sys.prefix, do=f"install what is missing, or Isaac Lab anew: {versions.INSTALL}")
    return RunFailed(
        f"Isaac Lab could not {doing} {what} ({type(error).__name__}: {first}).", where=what, do="see its own words above; --debug has the traceback"
    )
