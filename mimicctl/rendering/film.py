"""Snapshots as videos, seen from in front of the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mimicctl.envs.base import MimicEnv
from mimicctl.envs.mujoco.gl import choose_gl
from mimicctl.envs.mujoco.rendering import TableView
from mimicctl.errors import UserError
from mimicctl.rendering.replay import reader_of
from mimicctl.tasks import TaskSpec, twin_of
from mimicctl.video import VideoWriter, import_av

_SIZE = (640, 480)
"""Width and height [pixels]; the codec wants even numbers."""


def prepare(task: TaskSpec) -> None:
    """See that videos of a task can be made here.

    Raises:
        UserError: the encoder or an OpenGL is missing; says how to get it. Or nothing draws the task.
    """
    drawn_as(task)
    import_av()
    choose_gl()


def drawn_as(task: TaskSpec) -> TaskSpec:
    """The task that is drawn for `task`: of one on Isaac Lab, which draws nothing here, that on MuJoCo.

    Raises:
        UserError: there is none.
    """
    shown = task if task.isaaclab is None else twin_of(task.task_id)
    if shown is None:
        what = f"What happens on Isaac Lab is drawn as the same task on MuJoCo, and there is none like {task.task_id}."
        raise UserError(what, where="--video", do="leave it out")
    return shown


class Film:
    """Draws what happened in an env and writes it as MP4. `prepare` comes first."""

    def __init__(self, env: MimicEnv) -> None:
        shown = drawn_as(env.task)
        self._view, self._rate = TableView(shown, *_SIZE), round(env.task.control_hz)
        self._env, self._reader = env, None if shown is env.task else reader_of(shown)

    def write(self, path: Path, snapshots: np.ndarray) -> Path:
        """Snapshots (T, K) at the task's own speed; the folder is made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._reader is not None:
            snapshots = self._reader.qpos_of(self._env.scene_state(snapshots))
        with VideoWriter(path, _SIZE, self._rate) as video:
            for snapshot in snapshots:
                video.write(self._view.picture(snapshot))
        return path

    def close(self) -> None:
        self._view.close()
