"""Rollouts as videos."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mimicctl.envs.mujoco.gl import choose_gl
from mimicctl.envs.mujoco.rendering import TableView
from mimicctl.evaluation.rollouts import Rollout
from mimicctl.tasks import TaskSpec
from mimicctl.video import VideoWriter, hidden_partial, import_av

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
    """Renders rollouts and writes them as MP4. `prepare` comes first."""

    def __init__(self, task: TaskSpec) -> None:
        self._view, self._rate = TableView(task, *_SIZE), round(task.control_hz)

    def write(self, folder: Path, rollout: Rollout, snapshots: np.ndarray) -> Path:
        """The rollout with `snapshots` (T, K), at its own speed, as rollout_007_success.mp4 or ..._failure.mp4 in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        name = f"rollout_{rollout.index:03d}"
        finished = folder / f"{name}_{'success' if rollout.success else 'failure'}.mp4"
        with VideoWriter(finished, _SIZE, self._rate) as video:
            for snapshot in snapshots:
                video.write(self._view.picture(snapshot))
        for other in folder.glob(f"{name}_*.mp4"):
            if other != finished:
                other.unlink()
        return finished

    def close(self) -> None:
        self._view.close()


def clear_unfinished(folders: Iterable[Path]) -> None:
    """Remove what was being written when the work was stopped."""
    for folder in folders:
        for partial in folder.glob(hidden_partial(folder / "rollout_*.mp4").name):
            partial.unlink()
