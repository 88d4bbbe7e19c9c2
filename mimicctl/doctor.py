"""What is installed, what is missing, and how to get it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from mimicctl.errors import UserError

_TRAIN = 'pip install "mimicctl[train]" && pip install --no-deps robomimic==0.3.0'
_PROBE_TORCH = (
    "from mimicctl.training.robomimic_seam import import_robomimic; import_robomimic(); import torch; "
    "print('GPU ' + torch.cuda.get_device_name(0) if torch.cuda.is_available() else 'no GPU, CPU only')"
)


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
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    findings = [
        Finding("Python", f"{platform.python_version()} at {sys.executable}", sys.version_info >= (3, 11), True, "install Python 3.11 or later"),
        Finding("machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB", True),
    ]
    for package in ("typer", "rich", "pydantic", "numpy", "h5py", "mujoco", "gymnasium"):
        findings.append(_package(package, needed=True, do=f"pip install {package}"))
    findings += [_robots(), _working_folder(), _terminal()]
    for package in ("torch", "torchvision", "robomimic", "matplotlib", "tensorboard"):
        findings.append(_package(package, needed=False, do=_TRAIN))
    if all(importlib.util.find_spec(name) for name in ("torch", "torchvision", "robomimic")):
        findings.append(_training_imports())
    return findings


def _package(name: str, *, needed: bool, do: str) -> Finding:
    try:
        return Finding(name, metadata.version(name), True, needed)
    except metadata.PackageNotFoundError:
        return Finding(name, "not installed", False, needed, do)


def _robots() -> Finding:
    from mimicctl.envs.mujoco.assets import robots_folder

    try:
        return Finding("robot models", str(robots_folder()), True, True)
    except UserError as error:
        return Finding("robot models", error.what, False, True, error.do)


def _working_folder() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    writable = os.access(Path.cwd(), os.W_OK)
    return Finding("working folder", f"{Path.cwd()}, {free:.0f} GB free" + ("" if writable else ", not writable"), writable, True, "change to another folder")


def _terminal() -> Finding:
    tty = sys.stdin.isatty()
    return Finding("keyboard teleop", f"terminal {os.environ.get('TERM', '?')}" if tty else "the input is not a terminal", tty, False, "run in a terminal")


def _training_imports() -> Finding:
    """In a process of its own: torch takes seconds, and a broken build may take the process with it."""
    done = subprocess.run([sys.executable, "-c", _PROBE_TORCH], capture_output=True, text=True, timeout=120)
    if done.returncode == 0:
        return Finding("training", f"works; {done.stdout.strip().splitlines()[-1]}", True)
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return Finding("training", f"does not import: {last}", False, False, _TRAIN)
