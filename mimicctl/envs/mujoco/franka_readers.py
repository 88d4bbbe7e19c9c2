"""Which reader understands a task of one Franka Panda."""

from __future__ import annotations

from mimicctl.envs.mujoco.franka import FrankaReader
from mimicctl.envs.mujoco.franka_cubes import CubesReader
from mimicctl.envs.mujoco.franka_organizer import OrganizerReader
from mimicctl.tasks.spec import PutInto, TaskSpec


def reader_class(task: TaskSpec) -> type[FrankaReader]:
    """By what the task's success asks for."""
    return OrganizerReader if isinstance(task.goal, PutInto) else CubesReader
