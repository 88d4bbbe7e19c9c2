"""Adding camera images to a dataset: every recorded state is drawn, none is simulated again."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

import mimicctl
from mimicctl.config import RenderSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.resume import find_unfinished
from mimicctl.dataset.writer import DatasetWriter, checked_output, partial_path
from mimicctl.envs import require_renderer
from mimicctl.envs.isaaclab.drawing import pose_rows
from mimicctl.envs.mujoco.cable_reader import CableReader
from mimicctl.envs.mujoco.cameras import CHANNELS, cameras_of, image_shapes
from mimicctl.envs.mujoco.franka_readers import reader_class
from mimicctl.envs.mujoco.humanoid_reader import HumanoidReader
from mimicctl.envs.mujoco.locomanipulation import LocomanipulationReader
from mimicctl.envs.mujoco.reader import SceneReader
from mimicctl.errors import UserError
from mimicctl.rendering.workers import Drawing, frames_in_order
from mimicctl.schema import Episode
from mimicctl.tasks import TaskSpec, canonical_id, family_of, find_task, list_tasks, with_family
from mimicctl.tasks.fingerprint import KEY, fingerprint


@dataclasses.dataclass(frozen=True)
class Rendered:
    """What was made.

    Attributes:
        keys: observation key to the shape (H, W, C) and dtype of its images.
        demos, steps: in the file.
        resumed_at: demos that an earlier run had drawn.
    """

    path: Path
    task: TaskSpec
    keys: dict[str, tuple[tuple[int, int, int], str]]
    demos: int
    steps: int
    resumed_at: int


def with_cameras(task_id: str) -> TaskSpec:
    """The task if it has cameras, else the first of its family that does.

    Raises:
        UserError: there is none.
    """
    task = find_task(task_id)
    seen = next((candidate for candidate in with_family(task) if candidate.cameras), None)
    if seen is None:
        having = ", ".join(t.task_id for t in list_tasks() if t.cameras)
        raise UserError(f"{task.task_id} has no cameras.", where="--task", do=f"tasks with cameras: {having}")
    return seen


def drawing_settings(settings: RenderSettings) -> dict[str, Any]:
    """The settings that decide what the images look like, for the lineage."""
    return {"rendering_mode": settings.rendering_mode, "image_size": settings.image_size}


def positions_of(task: TaskSpec) -> Callable[[Episode], np.ndarray]:
    """How to get from a recorded episode to the rows (T, K) that a `Renderer` takes of what its observations belong to: the states before each action.

    The function raises a UserError for an episode without states, or with those of another scene.
    """
    rows_of = pose_rows if task.isaaclab is not None else reader_of(task).qpos_of

    def positions(episode: Episode) -> np.ndarray:
        if not episode.states or not episode.initial_state:
            raise UserError("The demonstration has no recorded states, so it cannot be drawn.", do="record it again, or leave it out")
        before = {path: np.concatenate([first, episode.states[path][:-1]]) for path, first in episode.initial_state.items() if path in episode.states}
        return rows_of(before)

    return positions


def reader_of(task: TaskSpec) -> SceneReader:
    """What reads joint positions off recorded states, on MuJoCo."""
    if task.robot == "cable_robot":
        return CableReader.of(task)
    if not task.is_humanoid:
        return reader_class(task).of(task)
    return (LocomanipulationReader if task.has_body else HumanoidReader).of_states(task)


def render_file(
    input_file: Path,
    output_file: Path,
    settings: RenderSettings,
    *,
    task_id: str = "",
    resume: bool = False,
    overwrite: bool = False,
    on_start: Callable[[int], None] = lambda steps: None,
    on_demo: Callable[[int], None] = lambda steps: None,
) -> Rendered:
    """Write a copy of a dataset that has the images of a task's cameras; images of the same cameras that it had are replaced.

    Demos are finished in order and committed one by one, beside the output, which appears when all are there.

    Args:
        task_id: the task whose cameras look; "" for the dataset's own, or the first of its family that has any.
        on_start: called with the number of steps to draw.
        on_demo: called with the number drawn so far.

    Raises:
        UserError: the dataset has no states or is of another task, the output exists, or nothing draws here.
    """
    output = checked_output(output_file)
    with Dataset(input_file) as dataset:
        task = with_cameras(task_id or dataset.task_id)
        positions = positions_of(task)
        refuse_unfit(dataset, task, output)
        require_renderer(task)
        lineage = _lineage(dataset, task, settings)
        resumed = find_unfinished(output, lineage, resume=resume, overwrite=overwrite)
        cameras = cameras_of(task, settings.image_size)
        stale = {f"obs/{camera.key(modality)}" for camera in cameras for modality in CHANNELS}
        env_args = {key: value for key, value in dataset.env_args.items() if key not in ("env_name", "type")}
        with DatasetWriter(partial_path(output), task_id=task.task_id, lineage=lineage, env_args=env_args) as writer:
            left, drawn = dataset.demos[len(writer) :], 0
            done = len(writer)
            on_start(sum(dataset.length(name) for name in left))
            drawing = Drawing(task, settings.rendering_mode, settings.image_size)
            with closing(frames_in_order(scenes_of(dataset, left, positions), drawing, settings.workers or os.cpu_count() or 1)) as frames:
                for name, images in frames:
                    writer.write_copy(dataset, name, images, leave_out=stale)
                    drawn += dataset.length(name)
                    on_demo(drawn)
            writer.write_extras(dataset)
            writer.finish(output)
        return Rendered(output, task, image_shapes(cameras), len(dataset), dataset.total, done if resumed else 0)


def scenes_of(dataset: Dataset, names: Sequence[str], positions: Callable[[Episode], np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Demos with their rows (T, K)."""
    for name in names:
        try:
            yield name, positions(dataset.episode(name, only=("actions", "states/", "initial_state/")))
        except UserError as error:
            raise UserError(error.what, where=f"{name} of {dataset.path}", do=error.do) from None


def refuse_unfit(dataset: Dataset, task: TaskSpec, output: Path) -> None:
    """UserError if the dataset is of another task, has demos without states, or would be replaced by `output`."""
    recorded_on = canonical_id(dataset.task_id)
    if recorded_on and family_of(recorded_on) != family_of(task.task_id):
        raise UserError(
            f"The demonstrations are of another task, {dataset.task_id}.",
            where=str(dataset.path),
            do=f"give the task they were recorded on, or demonstrations of {task.task_id}",
        )
    if output == dataset.path:
        raise UserError("The output would replace the dataset that is read.", where=str(output), do="choose another --output-file")
    for _ in scenes_of(dataset, dataset.demos, positions_of(task)):
        pass  # an hour of drawing should not end at a demo that has no states


def _lineage(dataset: Dataset, task: TaskSpec, settings: RenderSettings) -> dict[str, Any]:
    return {
        "made_by": "mimicctl dataset render",
        "version": mimicctl.__version__,
        "task": task.task_id,
        KEY: fingerprint(task),
        "settings": drawing_settings(settings),
        "inputs": [{"file": dataset.path.name, "sha256": dataset.content_hash(), "lineage": dataset.lineage}],
    }
