"""What is installed, what is missing, and how to get it."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from mimicctl.envs.mujoco.gl import INSTALL
from mimicctl.errors import UserError

_TRAIN = 'pip install "mimicctl[train]" && pip install --no-deps robomimic==0.3.0'
_GL = f"{INSTALL}; only cameras need it"
_PROBE_SIMULATION = (
    "import numpy as np; from mimicctl.envs import make_env; from mimicctl.tasks import DEFAULT_TASK, find_task; "
    "env = make_env(DEFAULT_TASK); env.reset([0], [np.random.SeedSequence(0)]); "
    "env.step(np.zeros((1, find_task(DEFAULT_TASK).action_dim), np.float32)); print(DEFAULT_TASK, 'runs')"
)
_PROBE_TRAINING = (
    "from mimicctl.training.robomimic_seam import import_robomimic; import_robomimic(); import torch; "
    "print('works; GPU ' + torch.cuda.get_device_name(0) if torch.cuda.is_available() else 'works; no GPU visible, CPU only')"
)
_PROBE_IK = "from mimicctl.envs.mujoco import g1; print(g1.check_ik())"
_PATIENCE = 120.0
"""Seconds a probe may take; the first import of torch from a slow disk takes most of a minute."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        ok: False is a problem only where `needed` is True.
        needed: by the base install.
        do: how to get it.
    """

    what: str
    found: str
    ok: bool
    needed: bool = False
    do: str = ""


def examine() -> list[Finding]:
    """Look at this machine. Imports nothing heavy into this process."""
    python = f"{platform.python_version()} at {sys.executable}"
    findings = [
        Finding("Python", python, sys.version_info >= (3, 11), True, "install Python 3.11 or later"),
        Finding("machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{_memory()}", True),
        *(_package(name, least, needed=True, do=f'pip install "{name}>={least}"') for name, least in requirements().items()),
        _robots(),
    ]
    if all(f.ok for f in findings):
        # Seen to run, not just to be there: a wheel for another processor installs and then fails.
        findings.append(_probe("simulation", _PROBE_SIMULATION, needed=True, do="pip install --force-reinstall mujoco numpy"))
    findings += [_working_folder(), _terminal(), _gl()]
    findings += [_package(name, least, needed=False, do=_TRAIN) for name, least in requirements("train").items()]
    findings.append(_package("robomimic", "0.3.0", needed=False, do=_TRAIN))
    # A package of several extras is named with the last of them, which needs nothing that is hard to install.
    extras = {name: (least, extra) for extra in ("hub", "lerobot", "video", "teleop", "web", "plan", "humanoid") for name, least in requirements(extra).items()}
    findings += [_package(name, least, needed=False, do=f'pip install "mimicctl[{extra}]"') for name, (least, extra) in extras.items()]
    findings += _isaaclab()
    findings.append(_gr1())
    if all(importlib.util.find_spec(name) for name in ("torch", "torchvision", "robomimic")):
        findings.append(_probe("training", _PROBE_TRAINING, needed=False, do=_TRAIN))
    if all(importlib.util.find_spec(name) for name in ("pinocchio", "pink", "daqp")):
        findings.append(_probe("inverse kinematics", _PROBE_IK, needed=False, do='pip install --force-reinstall "mimicctl[humanoid]"'))
    return findings


def _isaaclab() -> list[Finding]:
    """It, its physics that need no Isaac Sim, and where it gets its robots from."""
    from mimicctl.envs.isaaclab.versions import INSTALL

    findings = [_package("isaaclab", "2.3", needed=False, do=INSTALL)]
    if findings[0].ok:
        findings += [_package(name, "0", needed=False, do=INSTALL) for name in ("ovphysx", "newton")]
        root = os.environ.get("ISAACSIM_ASSET_ROOT", "")
        there = not root or os.path.isdir(os.path.join(root, "Isaac"))
        do = "ISAACSIM_ASSET_ROOT is to name the folder that holds the folder Isaac"
        findings.append(Finding("Isaac Lab's assets", root or "NVIDIA's server", there, do=do))
    return findings


def requirements(extra: str = "") -> dict[str, str]:
    """Package to least version, as the installed mimicctl declares them: those of the base install, or those of an extra.

    Raises:
        UserError: mimicctl runs from a folder that was never installed.
    """
    try:
        lines = metadata.requires("mimicctl") or []
    except metadata.PackageNotFoundError:
        raise UserError("mimicctl itself is not installed.", where=sys.prefix, do="pip install . in its folder") from None
    found = {}
    for line in lines:
        named = re.match(r"([\w.-]+)[^;]*", line)
        of_extra = re.search(r"extra == ['\"](.+?)['\"]", line)
        if named and (of_extra.group(1) if of_extra else "") == extra:
            least = re.search(r">=\s*([\d.]+)", named.group())
            found[named.group(1)] = least.group(1) if least else "0"
    return found


def _package(name: str, least: str, *, needed: bool, do: str) -> Finding:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, "not installed", False, needed, do)
    new_enough = _release(version) >= _release(least)
    return Finding(name, version if new_enough else f"{version}, older than {least}", new_enough, needed, do)


def _release(version: str) -> tuple[int, ...]:
    """The leading numbers, for comparison: (2, 13, 0, 0) of "2.13.0+cpu"."""
    leading = re.match(r"\d*(\.\d+)*", version)
    numbers = [int(n) for n in leading.group().split(".") if n] if leading else []
    return tuple(numbers + [0] * (4 - len(numbers)))


def _memory() -> str:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return ""
    return f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB"


def _robots() -> Finding:
    from mimicctl.envs.mujoco.assets import robots_folder

    try:
        return Finding("robot models", str(robots_folder()), True, True)
    except UserError as error:
        return Finding("robot models", error.what, False, True, error.do)


def _gr1() -> Finding:
    from mimicctl.envs.mujoco.assets import GR1_INSTALL, gr1_files

    try:
        return Finding("model of the GR-1", str(gr1_files()["body"]), True)
    except UserError:
        return Finding("model of the GR-1", "not installed", False, False, f"{GR1_INSTALL} (160 MB; without its dependencies, its code is not used)")


def _working_folder() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    writable = os.access(Path.cwd(), os.W_OK)
    found = f"{Path.cwd()}, {free:.0f} GB free" + ("" if writable else ", not writable")
    return Finding("working folder", found, writable, True, "change to a folder you may write to")


def _terminal() -> Finding:
    if not sys.stdin.isatty():
        return Finding("keyboard teleop", "the input is not a terminal", False, False, "run in a terminal")
    if importlib.util.find_spec("termios") is None:
        return Finding("keyboard teleop", "this system has no POSIX terminal", False, False, "use Linux, macOS or WSL")
    size = shutil.get_terminal_size()
    return Finding("keyboard teleop", f"terminal {os.environ.get('TERM', '?')}, {size.columns} x {size.lines}", True)


def _gl() -> Finding:
    """Looked up, not opened: a driver may take a process with it."""
    found = [name for name in ("EGL", "OSMesa") if ctypes.util.find_library(name)]
    return Finding("off-screen OpenGL", ", ".join(found) or "neither EGL nor OSMesa", bool(found), False, _GL)


def _probe(what: str, code: str, *, needed: bool, do: str) -> Finding:
    """Run in a process of its own: imports take seconds, and a broken build may take the process with it."""
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=_PATIENCE, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return Finding(what, f"no answer in {_PATIENCE:.0f} s", False, needed, do)
    said = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or [f"ended with code {done.returncode}"]
    return Finding(what, said[-1], done.returncode == 0, needed, do)
