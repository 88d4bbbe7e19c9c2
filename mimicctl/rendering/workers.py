"""Drawing recorded scenes in worker processes, delivered in the order they were handed in.

Drawing takes far more time than the physics did. A scene is a row of joint positions, so any process can draw any step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from mimicctl.crew import Item, results_in_order
from mimicctl.dataset.frames import Frames
from mimicctl.envs.mujoco.appearance import PLAIN, Appearance
from mimicctl.envs.mujoco.cameras import SceneRenderer, cameras_of
from mimicctl.envs.mujoco.gl import choose_gl
from mimicctl.envs.mujoco.looks import RenderingMode
from mimicctl.tasks import TaskSpec

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


def check_opengl() -> None:
    """UserError if nothing can be drawn here: to know before any work is done."""
    choose_gl()


def frames_in_order(
    scenes: Iterable[tuple[Item, np.ndarray | None]], drawing: Drawing, workers: int, appearance_of: Callable[[Item], Appearance] = lambda item: PLAIN
) -> Iterator[tuple[Item, dict[str, Frames]]]:
    """Each item of `scenes` with the images of its joint positions (T, nq) by observation key; with none for None.

    A few episodes are under way at a time, however many there are. Close the iterator to stop.

    Args:
        appearance_of: what an item's images look like.

    Raises:
        UserError: no off-screen OpenGL works here.
        RunFailed: workers died again and again.
    """
    check_opengl()
    jobs = ((item, _jobs(qpos, appearance_of(item))) for item, qpos in scenes)
    do = "use fewer --workers, or another OpenGL (MUJOCO_GL=osmesa); --resume continues"
    with closing(results_in_order(jobs, _prepare, (drawing,), workers, do=do)) as drawn:
        for item, done in drawn:
            yield item, {key: Frames.joined([frames[key] for frames in done]) for key in done[0]} if done else {}


def _jobs(qpos: np.ndarray | None, appearance: Appearance) -> list[tuple[np.ndarray, Appearance]]:
    return [] if qpos is None else [(qpos[start : start + _STEPS], appearance) for start in range(0, len(qpos), _STEPS)]


def _prepare(drawing: Drawing) -> Callable[[tuple[np.ndarray, Appearance]], dict[str, Frames]]:
    """How a worker process draws a few steps. The renderer is made when it is wanted, which takes seconds."""
    renderer: SceneRenderer | None = None

    def draw(job: tuple[np.ndarray, Appearance]) -> dict[str, Frames]:
        nonlocal renderer
        qpos, appearance = job
        renderer = renderer or SceneRenderer(drawing.task, drawing.mode, cameras_of(drawing.task, drawing.image_size))
        renderer.wear(appearance)
        steps = [renderer.images(row) for row in qpos]
        return {key: Frames.of(np.stack([step[key] for step in steps])) for key in steps[0]}

    return draw
