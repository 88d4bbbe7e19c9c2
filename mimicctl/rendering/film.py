"""Snapshots as videos, seen from in front of the table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mimicctl.envs.mujoco.gl import choose_gl
from mimicctl.envs.mujoco.rendering import TableView
from mimicctl.tasks import TaskSpec
from mimicctl.video import VideoWriter, import_av

_SIZE = (640, 480)
"""Width and height [pixels]; the codec wants even numbers."""


def prepare() -> None:
    """See that videos can be made here.

    Raises:
        UserError: the encoder or an OpenGL is missing; says how to get it.
    """
    import_av()
    choose_gl()


class Film:
    """Draws what happened in a task and writes it as MP4. `prepare` comes first."""

    def __init__(self, task: TaskSpec) -> None:
        self._view, self._rate = TableView(task, *_SIZE), round(task.control_hz)

    def write(self, path: Path, snapshots: Iterable[np.ndarray]) -> Path:
        """Snapshots (K,) at the task's own speed; the folder is made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, _SIZE, self._rate) as video:
            for snapshot in snapshots:
                video.write(self._view.picture(snapshot))
        return path

    def close(self) -> None:
        self._view.close()
