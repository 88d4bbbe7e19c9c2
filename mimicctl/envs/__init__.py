"""Environments: what runs a task."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib import metadata
from typing import TYPE_CHECKING

import mimicctl
from mimicctl.errors import UserError
from mimicctl.tasks import find_task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mimicctl.envs.base import MimicEnv, MotionPlanner, Renderer
    from mimicctl.tasks import CameraSpec, RenderingMode, TaskSpec

__all__ = [
    "assets_of",
    "make_env",
    "make_planner",
    "make_renderer",
    "physics_of",
    "require_humanoid",
    "require_planner",
    "require_renderer",
    "worker_processes",
]

_HUMANOID = {"pinocchio": "pin", "pink": "pin-pink", "daqp": "daqp"}
"""What moves the arms of humanoids: modules and the packages that they are in."""


def make_env(task: str | TaskSpec, num_envs: int = 1) -> MimicEnv:
    """The env that runs `task`, given by id or as a spec.

    Raises:
        UserError: no such task, or its assets are missing.
    """
    spec = find_task(task) if isinstance(task, str) else task
    if spec.isaaclab is not None:
        from mimicctl.envs.isaaclab.env import IsaacLabEnv

        return IsaacLabEnv(spec, num_envs)
    if spec.robot == "tiago":
        from mimicctl.envs.mujoco.drive import DriveEnv

        return DriveEnv(spec, num_envs)
    if spec.robot == "cable_robot":
        from mimicctl.envs.mujoco.cable_env import CableEnv

        return CableEnv(spec, num_envs)
    if spec.robot == "dual_franka":
        from mimicctl.envs.mujoco.dual_franka import DualFrankaEnv

        return DualFrankaEnv(spec, num_envs)
    if spec.is_humanoid:
        require_humanoid(spec)
        if spec.has_body:
            from mimicctl.envs.mujoco.locomanipulation import LocomanipulationEnv

            return LocomanipulationEnv(spec, num_envs)
        from mimicctl.envs.mujoco.humanoid import HumanoidEnv

        return HumanoidEnv(spec, num_envs)
    from mimicctl.envs.mujoco.env import MujocoEnv

    return MujocoEnv(spec, num_envs)


def require_humanoid(task: TaskSpec) -> None:
    """UserError if `task` is of a humanoid and the libraries for its arms are not installed."""
    if task.is_humanoid and (missing := [name for name in _HUMANOID if importlib.util.find_spec(name) is None]):
        what = f"{task.task_id} has a humanoid, and what moves its arms is not installed: {', '.join(_HUMANOID[name] for name in missing)}."
        raise UserError(what, where=sys.prefix, do='pip install "mimicctl[humanoid]"')


def require_renderer(task: TaskSpec) -> None:
    """UserError if nothing draws `task` here: to know before any work is done."""
    if task.isaaclab is not None:
        from mimicctl.envs.isaaclab.drawing import require_renderer as require
    else:
        from mimicctl.envs.mujoco.gl import choose_gl

        choose_gl()
        return
    require(task)


def make_renderer(task: TaskSpec, mode: RenderingMode, cameras: Sequence[CameraSpec]) -> Renderer:
    """What draws `task`. `require_renderer` comes first. On Isaac Lab it ends the envs of this process, which has one simulation.

    Raises:
        UserError: the task's assets are missing.
    """
    if task.isaaclab is not None:
        from mimicctl.envs.isaaclab.drawing import SceneRenderer as NewtonRenderer

        return NewtonRenderer(task, mode, cameras)
    from mimicctl.envs.mujoco.cameras import SceneRenderer

    return SceneRenderer(task, mode, cameras)


def physics_of(task: TaskSpec) -> str:
    """What computes the physics of `task`, with its version, for the lineage."""
    if task.isaaclab is not None:
        from mimicctl.envs.isaaclab.versions import physics_text

        return physics_text(task.isaaclab)
    return f"mujoco {metadata.version('mujoco')}"


def assets_of(task: TaskSpec) -> dict[str, dict[str, str]]:
    """Where robot, objects, textures and scene are from and under which licence, for the lineage; {} where that is not known (Isaac Lab's are the user's own)."""
    if task.isaaclab is not None:
        return {}
    ours = {"source": f"mimicctl {mimicctl.__version__}", "license": "Apache-2.0"}
    return {
        "robot": ours if task.robot == "cable_robot" else _wheel("robosuite" if task.robot == "gr1t2" else "example-robot-data"),
        "objects": ours,
        "textures": ours,
        "scene": ours,
    }


def _wheel(package: str) -> dict[str, str]:
    try:
        said = metadata.metadata(package)
    except metadata.PackageNotFoundError:  # its files were put somewhere by themselves
        return {"source": package, "license": "unknown"}
    return {"source": f"{package} {said['Version']}", "license": str(said["License-Expression"] or said["License"] or "unknown")}


def worker_processes(task: TaskSpec, wanted: int) -> int:
    """How many work on a task: as many as are `wanted`, or, for 0, one a core. Isaac Lab steps many envs in one process, and starting it takes seconds and gigabytes."""
    return wanted or (1 if task.isaaclab is not None else os.cpu_count() or 1)


def require_planner(task: TaskSpec) -> None:
    """UserError if nothing plans ways for the robot of `task`, or OMPL is not installed."""
    if task.robot != "franka" or task.isaaclab is not None:
        raise UserError(f"There is no planner for the robot of {task.task_id}.", where="--bridge plan", do="use --bridge arch")
    if importlib.util.find_spec("ompl") is None:
        raise UserError("Planning needs OMPL, which is not installed.", where="--bridge plan", do='pip install "mimicctl[plan]"')


def make_planner(task: TaskSpec) -> MotionPlanner:
    """What plans ways for the robot of `task`.

    Raises:
        UserError: see `require_planner`.
    """
    require_planner(task)
    from mimicctl.envs.mujoco.motion_planner import PandaMotionPlanner

    return PandaMotionPlanner(task)
