"""Drawing recorded scenes in worker processes, delivered in the order they were handed in.

Drawing takes far more time than the physics did. A scene is a row of joint positions, so any process can draw any step.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mimicctl.dataset.frames import Frames
from mimicctl.envs.mujoco.cameras import SceneRenderer, cameras_of
from mimicctl.envs.mujoco.gl import choose_gl
from mimicctl.envs.mujoco.looks import RenderingMode
from mimicctl.errors import RunFailed
from mimicctl.processes import end_with_parent, one_thread_each
from mimicctl.tasks import TaskSpec

Item = TypeVar("Item")

_STEPS = 16
"""A job of a worker [control steps]: long enough for the exchange not to count, short enough to stop soon."""

_AHEAD = 2
"""Episodes drawn beyond the one that is waited for, plus one for every eight workers."""


@dataclass(frozen=True)
class Drawing:
    """What is drawn.

    Attributes:
        image_size: height and width of every camera [pixels]; None: the task's own.
    """

    task: TaskSpec
    mode: RenderingMode
    image_size: int | None = None


def check_opengl() -> None:
    """UserError if nothing can be drawn here: to know before any work is done."""
    choose_gl()


def frames_in_order(scenes: Iterable[tuple[Item, np.ndarray | None]], drawing: Drawing, workers: int) -> Iterator[tuple[Item, dict[str, Frames]]]:
    """Each item of `scenes` with the images of its joint positions (T, nq) by observation key; with none for None.

    A few episodes are under way at a time, however many there are. Close the iterator to stop.

    Raises:
        UserError: no off-screen OpenGL works here.
        RunFailed: a worker died.
    """
    check_opengl()
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(drawing,))
    waiting: deque[tuple[Item, list[Future]]] = deque()
    try:
        for item, qpos in scenes:
            waiting.append((item, _submit(pool, qpos)))
            while len(waiting) > _AHEAD + workers // 8:
                yield _collect(*waiting.popleft())
        while waiting:
            yield _collect(*waiting.popleft())
    except BrokenProcessPool:
        raise RunFailed(
            "A process that draws died, perhaps in its graphics driver or for want of memory.",
            do="use fewer --workers, or another OpenGL (MUJOCO_GL=osmesa); --resume continues",
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, qpos: np.ndarray | None) -> list[Future]:
    if qpos is None:
        return []
    with one_thread_each():
        return [pool.submit(_draw, qpos[start : start + _STEPS]) for start in range(0, len(qpos), _STEPS)]


def _collect(item: Item, parts: Sequence[Future]) -> tuple[Item, dict[str, Frames]]:
    done = [part.result() for part in parts]
    return item, {key: Frames.joined([frames[key] for frames in done]) for key in done[0]} if done else {}


_drawing: Drawing
_renderer: SceneRenderer | None = None
"""Of a worker process, which has one for all its jobs."""


def _begin(drawing: Drawing) -> None:
    global _drawing
    _drawing = drawing
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    threading.Thread(target=end_with_parent, daemon=True).start()


def _draw(qpos: np.ndarray) -> dict[str, Frames]:
    """A job: the images of a few steps."""
    global _renderer
    if _renderer is None:
        _renderer = SceneRenderer(_drawing.task, _drawing.mode, cameras_of(_drawing.task, _drawing.image_size))
    steps = [_renderer.images(row) for row in qpos]
    return {key: Frames.of(np.stack([step[key] for step in steps])) for key in steps[0]}
