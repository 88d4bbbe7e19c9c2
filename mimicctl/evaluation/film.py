"""Rollouts as videos."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mimicctl.envs.mujoco.gl import choose_gl
from mimicctl.envs.mujoco.rendering import TableView
from mimicctl.errors import UserError
from mimicctl.evaluation.rollouts import Rollout
from mimicctl.tasks import TaskSpec

_SIZE = (640, 480)
"""Width and height [pixels]; the codec wants even numbers."""
_UNFINISHED = ".partial.mp4"


def prepare() -> None:
    """See that videos can be made here.

    Raises:
        UserError: the encoder or an OpenGL is missing; says how to get it.
    """
    if importlib.util.find_spec("av") is None:
        raise UserError("Videos need a package that is not installed: av.", where="--video", do='pip install "mimicctl[video]"')
    choose_gl()


class Film:
    """Renders rollouts and writes them as MP4. `prepare` comes first."""

    def __init__(self, task: TaskSpec) -> None:
        self._view, self._rate = TableView(task, *_SIZE), round(task.control_hz)

    def write(self, folder: Path, rollout: Rollout, snapshots: np.ndarray) -> Path:
        """The rollout with `snapshots` (T, K), at its own speed, as rollout_007_success.mp4 or ..._failure.mp4 in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        name = f"rollout_{rollout.index:03d}"
        partial = folder / f"{name}{_UNFINISHED}"
        _encode(partial, (self._view.picture(snapshot) for snapshot in snapshots), _SIZE, self._rate)
        for old in folder.glob(f"{name}_*.mp4"):
            old.unlink()
        finished = folder / f"{name}_{'success' if rollout.success else 'failure'}.mp4"
        os.replace(partial, finished)
        return finished

    def close(self) -> None:
        self._view.close()


def clear_unfinished(folders: Iterable[Path]) -> None:
    """Remove what was being written when the work was stopped."""
    for folder in folders:
        for partial in folder.glob(f"*{_UNFINISHED}"):
            partial.unlink()


def _encode(path: Path, pictures: Iterable[np.ndarray], size: tuple[int, int], rate: int) -> None:
    """RGB pictures (H, W, 3) uint8 of `size` (W, H) to H.264, `rate` a second, in the colour format that every player knows."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, width=size[0], height=size[1], pix_fmt="yuv420p", options={"crf": "20"})
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
