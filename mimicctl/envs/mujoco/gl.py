"""Off-screen OpenGL: which library makes it, and a context to draw in.

EGL draws on a GPU or in software, OSMesa in software only. Which of them works shows on trying, and a driver that
fails may take its process with it: so the trying is done in a process of its own.
"""

from __future__ import annotations

import functools
import importlib
import os
import platform
import subprocess
import sys
from contextlib import suppress
from typing import Any

from mimicctl.errors import UserError

INSTALL = "apt-get install libegl1 libopengl0 libgl1 libgl1-mesa-dri (or, less to download: libosmesa6)"

_VARIABLE = "MUJOCO_GL"
_LIBRARIES = {"Linux": ("egl", "osmesa"), "Darwin": ("cgl",), "Windows": ("wgl",)}
_OWN_MODULES = ("egl", "osmesa", "cgl")
_TRY = (
    "from mimicctl.envs.mujoco.gl import new_context; import mujoco; c = new_context(8, 8); mujoco.MjrContext(mujoco.MjModel.from_xml_string('<mujoco/>'), 100)"
)
_PATIENCE = 60.0
"""Seconds a driver may take to start."""


def choose_gl() -> str:
    """The library to draw with: what MUJOCO_GL names if that works, else the first that does.

    MUJOCO_GL says so afterwards, to MuJoCo and to processes started later.

    Raises:
        UserError: none works.
    """
    asked = os.environ.get(_VARIABLE, "").lower()
    candidates = list(dict.fromkeys(name for name in (asked, *_LIBRARIES.get(platform.system(), ())) if name))
    failures = {}
    for name in candidates:
        failures[name] = _failure(name)
        if not failures[name]:
            os.environ[_VARIABLE] = name
            return name
    tried = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
    raise UserError("Pictures need off-screen OpenGL, and none works here.", where=f"tried {tried}", do=INSTALL)


@functools.cache
def _failure(name: str) -> str:
    """Why `name` does not work; "" if it does."""
    environment = {**os.environ, _VARIABLE: name}
    try:
        done = subprocess.run([sys.executable, "-c", _TRY], env=environment, capture_output=True, text=True, timeout=_PATIENCE, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"no answer in {_PATIENCE:g} s"
    if done.returncode == 0:
        return ""
    errors = [line for line in done.stderr.splitlines() if "Error" in line and not line.startswith(" ")]
    return errors[0] if errors else f"ended with code {done.returncode}"


def new_context(width: int, height: int) -> Any:
    """A current GL context for images of this size, of the library that `choose_gl` chose.

    It is made by MuJoCo's module of that name: `mujoco.GLContext` is decided when mujoco is first imported, which may be long past.
    """
    _load_triton()
    name = os.environ.get(_VARIABLE, "").lower()
    context = importlib.import_module(f"mujoco.{name}" if name in _OWN_MODULES else "mujoco").GLContext(width, height)
    context.make_current()
    return context


def _load_triton() -> None:
    """PyTorch's triton and Mesa each bring an LLVM of their own, and triton crashes the process if its own is loaded second (triton 3.9, Mesa 22.3).

    PyTorch loads it where it is built for CUDA, which is what PyPI has for Linux, GPU or not. A fifth of a second.
    """
    with suppress(Exception):  # not installed, or it does not work, which is for whoever needs it to say
        importlib.import_module("triton")
