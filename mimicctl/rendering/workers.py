"""Drawing recorded scenes in worker processes, delivered in the order they were handed in.

Drawing takes far more time than the physics did. A scene is a row of numbers, so any process can draw any step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from mimicctl.crew import Item, results_in_order
from mimicctl.dataset.frames import Frames
from mimicctl.envs import make_renderer, require_renderer
from mimicctl.envs.base import Renderer
from mimicctl.envs.mujoco.appearance import PLAIN, Appearance
from mimicctl.envs.mujoco.cameras import cameras_of
from mimicctl.tasks import RenderingMode, TaskSpec

_STEPS = 16
"""A job of a worker [control steps]: long enough for the exchange not to count, short enough to stop soon."""


@dataclass(frozen=True)
class Drawing:
    """What is drawn.

    Attributes:
        image_size: height and width of every camera [pixels]; None: the task's own.
    """

    task: TaskSpec
    mode: RenderingMode
    image_size: int | None = None


def frames_in_order(
    scenes: Iterable[tuple[Item, np.ndarray | None]], drawing: Drawing, workers: int, appearance_of: Callable[[Item], Appearance] = lambda item: PLAIN
) -> Iterator[tuple[Item, dict[str, Frames]]]:
    """Each item of `scenes` with the images of its rows (T, K), see `Renderer`, by observation key; with none for None.

    A few episodes are under way at a time, however many there are. Close the iterator to stop.

    Args:
        appearance_of: what an item's images look like.

    Raises:
        UserError: nothing draws here.
        RunFailed: workers died again and again.
    """
    require_renderer(drawing.task)
    jobs = ((item, _jobs(rows, appearance_of(item))) for item, rows in scenes)
    do = "use fewer --workers, or another OpenGL (MUJOCO_GL=osmesa); --resume continues"
    with closing(results_in_order(jobs, _prepare, (drawing,), workers, do=do)) as drawn:
        for item, done in drawn:
            yield item, {key: Frames.joined([frames[key] for frames in done]) for key in done[0]} if done else {}


def _jobs(rows: np.ndarray | None, appearance: Appearance) -> list[tuple[np.ndarray, Appearance]]:
    return [] if rows is None else [(rows[start : start + _STEPS], appearance) for start in range(0, len(rows), _STEPS)]


def _prepare(drawing: Drawing) -> Callable[[tuple[np.ndarray, Appearance]], dict[str, Frames]]:
    """How a worker process draws a few steps. The renderer is made when it is wanted, which takes seconds."""
    renderer: Renderer | None = None

    def draw(job: tuple[np.ndarray, Appearance]) -> dict[str, Frames]:
        nonlocal renderer
        rows, appearance = job
        renderer = renderer or make_renderer(drawing.task, drawing.mode, cameras_of(drawing.task, drawing.image_size))
        renderer.wear(appearance)
        return {key: Frames.of(images) for key, images in renderer.images_of(rows).items()}

    return draw
