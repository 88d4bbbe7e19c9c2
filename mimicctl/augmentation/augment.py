"""Copies of a dataset's demos that look different: the same motion in other rooms. Which engine makes the images is the user's choice."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import mimicctl
from mimicctl.augmentation.procedural import NEEDED, paint_demo, painted_cameras
from mimicctl.augmentation.robot_material import RobotMaterial
from mimicctl.config import RenderSettings
from mimicctl.crew import results_in_order
from mimicctl.dataset.frames import Frames, write_frames
from mimicctl.dataset.reader import Dataset, demo_number, file_sha256
from mimicctl.dataset.resume import find_unfinished
from mimicctl.dataset.writer import DatasetWriter, checked_output, copy_demo, partial_path
from mimicctl.envs import require_renderer
from mimicctl.envs.mujoco.appearance import PLAIN, Appearance, randomised
from mimicctl.envs.mujoco.cameras import CHANNELS
from mimicctl.errors import RunFailed, UserError, listed
from mimicctl.rendering.replay import drawing_settings, positions_of, refuse_unfit, scenes_of, with_cameras
from mimicctl.rendering.workers import Drawing, frames_in_order
from mimicctl.schema import LINEAGE_ATTR
from mimicctl.settings import AugmentSettings
from mimicctl.tasks import TaskSpec, with_family
from mimicctl.tasks.fingerprint import KEY, fingerprint


@dataclasses.dataclass(frozen=True)
class Copy:
    """A demo of the output.

    Attributes:
        demo: of the input, that it is made of.
        number: 0, 1, ... of the demo's augmented copies; None: the demo without augmentation.
    """

    demo: str
    number: int | None
    appearance: Appearance


@dataclasses.dataclass(frozen=True)
class Augmented:
    """What was made.

    Attributes:
        copies: the demos of the output, in order.
        keys: observation keys whose images were made.
        light_only: those of them in which only the light is another.
        steps: in the file.
        resumed_at: demos that an earlier run had made.
    """

    path: Path
    task: TaskSpec
    copies: tuple[Copy, ...]
    keys: tuple[str, ...]
    light_only: tuple[str, ...]
    steps: int
    resumed_at: int


def plan_copies(demos: Sequence[str], seed: int, copies: int, *, with_originals: bool) -> tuple[Copy, ...]:
    """What the output holds. A copy looks as seed, demo number and copy number say, whatever else is made."""
    originals = [Copy(name, None, PLAIN) for name in demos] if with_originals else []
    return tuple(originals + [Copy(name, number, _drawn(seed, name, number)) for number in range(copies) for name in demos])


def _drawn(seed: int, name: str, number: int) -> Appearance:
    return randomised(np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(demo_number(name), number))))


def augment(
    input_file: Path,
    settings: AugmentSettings,
    rendering: RenderSettings,
    *,
    seed: int,
    task_id: str = "",
    resume: bool = False,
    overwrite: bool = False,
    on_start: Callable[[int, int], None] = lambda steps, done: None,
    on_steps: Callable[[int], None] = lambda steps: None,
) -> Augmented:
    """Write a dataset of augmented demos: everything of the demos they are made of but the images. Committed one by one, beside the output.

    Args:
        rendering: how `rerender` draws; its workers do not count, those of `settings` do.
        seed: of the appearances.
        task_id: whose cameras look; "" for the dataset's own, or the first of its family that has what the engine needs.
        on_start: called with the number of steps of the output, and of those that an earlier run made.
        on_steps: called with the number of steps made so far.

    Raises:
        UserError: the dataset lacks what the engine needs, the output exists, or (rerender) no OpenGL works here. Nothing was written.
        RunFailed: workers died again and again; `resume` continues.
    """
    output = checked_output(settings.output_file)
    with Dataset(input_file) as dataset:
        task = (_task_seen_whole if settings.engine == "procedural" else with_cameras)(task_id or dataset.task_id)
        refuse_unfit(dataset, task, output)
        if settings.engine == "procedural":
            _check_images(dataset, task)
            keys = tuple(camera.name for camera in task.cameras if camera.name in dataset.group(dataset.demos[0])["obs"])
        else:
            _refuse_isaaclab(task)
            require_renderer(task)
            keys = tuple(camera.key(modality) for camera in task.cameras for modality in camera.modalities)
        copies = plan_copies(dataset.demos, seed, settings.copies, with_originals=settings.with_originals)
        lineage = _lineage(dataset, task, settings, rendering, seed)
        resumed = find_unfinished(output, lineage, resume=resume, overwrite=overwrite)
        stored_as = {"task_id": task.task_id if settings.engine == "rerender" else dataset.task_id, "format_version": dataset.format_version}
        env_args = {key: value for key, value in dataset.env_args.items() if key not in ("env_name", "type")}
        with DatasetWriter(partial_path(output), lineage=lineage, env_args=env_args, **stored_as) as writer:
            done, steps = len(writer), sum(dataset.length(copy.demo) for copy in copies)
            made = sum(dataset.length(copy.demo) for copy in copies[:done])
            on_start(steps, made)
            workers = settings.workers or os.cpu_count() or 1
            engine = _painted(dataset, task, copies[done:], workers) if settings.engine == "procedural" else None
            stale = {camera.key(modality) for camera in task.cameras for modality in CHANNELS} if engine is None else set()
            with closing(engine or _redrawn(dataset, task, copies[done:], rendering, workers)) as results:
                for copy, images in results:
                    fill = _filling(dataset, copy, images, stale | images.keys(), settings.engine, seed)
                    writer.append(fill, dataset.length(copy.demo), parent=dataset.demo_sha256(copy.demo))
                    made += dataset.length(copy.demo)
                    on_steps(made)
            writer.describe(lineage, _masks(dataset, copies))
            writer.finish(output)
    whole = {camera.name for camera in painted_cameras(task)} if settings.engine == "procedural" else set(keys)
    return Augmented(output, task, copies, keys, tuple(key for key in keys if key not in whole), steps, done if resumed else 0)


# What the engines need ---------------------------------------------------------------------------------------


def _refuse_isaaclab(task: TaskSpec) -> None:
    if task.isaaclab is not None:
        do = "draw the demonstrations on the same task of MuJoCo (--task MuJoCo-...), or give --engine procedural"
        raise UserError("What draws on Isaac Lab has no other light or materials.", where=f"--engine rerender on {task.task_id}", do=do)


def _task_seen_whole(task_id: str) -> TaskSpec:
    """The task if a camera of it sees all that painting needs, else the first of its family of which that is true."""
    task = with_cameras(task_id)
    found = next((candidate for candidate in with_family(task) if painted_cameras(candidate)), None)
    if found is None:
        raise UserError(f"No camera of {task.task_id} sees depth, normals and segmentation.", where="--task", do="--engine rerender needs none of them")
    return found


def _check_images(dataset: Dataset, task: TaskSpec) -> None:
    """UserError unless every demo has every image that is painted from, one for each step, all of a size."""
    problems: dict[str, list[str]] = {}
    for name in dataset.demos:
        obs, length = dataset.group(name).get("obs", {}), dataset.length(name)
        shapes = {key: obs[key].shape if key in obs else None for camera in painted_cameras(task) for key in map(camera.key, NEEDED)}
        missing = [f"obs/{key}" for key, shape in shapes.items() if shape is None]
        if missing:
            problems.setdefault(f"has no {', '.join(missing)}", []).append(name)
            continue
        channels = {camera.key(modality): CHANNELS[modality][0] for camera in painted_cameras(task) for modality in NEEDED}
        size = next(iter(shapes.values()))[1:3]
        unfit = [f"obs/{key} is {shape}" for key, shape in shapes.items() if len(shape) != 4 or shape[:3] != (length, *size) or shape[3] < channels[key]]
        others = [camera.name for camera in task.cameras if camera not in painted_cameras(task) and camera.name in obs]
        unfit += [f"obs/{key} is {obs[key].dtype}" for key in others if obs[key].dtype != np.uint8 or obs[key].ndim != 4 or len(obs[key]) != length]
        unfit += [f"obs/{c.name} is {obs[c.name].dtype}" for c in painted_cameras(task) if obs[c.name].dtype != np.uint8]
        if unfit:
            problems.setdefault(f"of {length} steps: {', '.join(unfit)}", []).append(name)
    if problems:
        raise UserError(
            f"Images are missing or do not fit in {sum(map(len, problems.values()))} of {len(dataset)} demos; the procedural engine needs colour, depth, normals and segmentation.",
            where=listed([f"{name}{f' (and {len(more)} more)' if more else ''} {problem}, in {dataset.path}" for problem, (name, *more) in problems.items()]),
            do=f"mimicctl dataset render {dataset.path} --task {task.task_id} adds them, or --engine rerender, which needs no images",
        )


# The engines -------------------------------------------------------------------------------------------------


def _redrawn(dataset: Dataset, task: TaskSpec, copies: Sequence[Copy], rendering: RenderSettings, workers: int) -> Iterator[tuple[Copy, dict[str, Frames]]]:
    positions = positions_of(task)
    scenes = ((copy, next(scenes_of(dataset, [copy.demo], positions))[1]) for copy in copies)
    drawing = Drawing(task, rendering.rendering_mode, rendering.image_size)
    return frames_in_order(scenes, drawing, workers, appearance_of=lambda copy: copy.appearance)


def _painted(dataset: Dataset, task: TaskSpec, copies: Sequence[Copy], workers: int) -> Iterator[tuple[Copy, dict[str, Frames]]]:
    jobs = ((copy, () if copy.number is None else (copy,)) for copy in copies)
    with closing(results_in_order(jobs, _prepare, (dataset.path, task), workers, do="use fewer --workers; --resume continues")) as painted:
        for copy, done in painted:
            yield copy, done[0] if done else {}


def _prepare(path: Path, task: TaskSpec) -> Callable[[Copy], dict[str, Frames]]:
    """How a worker process paints a demo."""
    material: RobotMaterial | None = None

    def paint(copy: Copy) -> dict[str, Frames]:
        nonlocal material
        material = material or RobotMaterial(task)
        with Dataset(path) as dataset:
            _, qpos = next(scenes_of(dataset, [copy.demo], positions_of(task)))
            return paint_demo(dataset.group(copy.demo)["obs"], qpos, task, copy.appearance, material)

    return paint


# The output --------------------------------------------------------------------------------------------------


def _filling(dataset: Dataset, copy: Copy, images: dict[str, Frames], leave_out: set[str], engine: str, seed: int) -> Callable[[h5py.Group], None]:
    def fill(target: h5py.Group) -> None:
        try:
            copy_demo(dataset.group(copy.demo), target, leave_out=leave_out)
        except RuntimeError:
            raise RunFailed("The demo cannot be copied: the file is damaged.", where=f"{copy.demo} of {dataset.path}", do="mimicctl dataset check") from None
        for key, frames in images.items():
            write_frames(target, f"obs/{key}", frames)
        if copy.number is not None:
            target.attrs[LINEAGE_ATTR] = json.dumps(_demo_lineage(dataset, copy, engine, seed))

    return fill


def _demo_lineage(dataset: Dataset, copy: Copy, engine: str, seed: int) -> dict[str, Any]:
    actions = np.ascontiguousarray(dataset.group(copy.demo)["actions"][()])
    return {
        "parent": {"demo": copy.demo, "actions_sha256": hashlib.sha256(actions.data).hexdigest(), **dataset.demo_lineage(copy.demo)},
        "augmented": {"engine": engine, "seed": seed, "copy": copy.number, "appearance": copy.appearance.as_dict()},
    }


def _lineage(dataset: Dataset, task: TaskSpec, settings: AugmentSettings, rendering: RenderSettings, seed: int) -> dict[str, Any]:
    how = {"engine": settings.engine, "copies": settings.copies, "with_originals": settings.with_originals}
    return {
        "made_by": "mimicctl augment",
        "version": mimicctl.__version__,
        "task": task.task_id,
        KEY: fingerprint(task),
        "seed": seed,
        "settings": how | (drawing_settings(rendering) if settings.engine == "rerender" else {}),
        "inputs": [{"file": dataset.path.name, "file_sha256": file_sha256(dataset.path), "lineage": dataset.lineage}],
    }


def _masks(dataset: Dataset, copies: Sequence[Copy]) -> dict[str, tuple[str, ...]]:
    """A demo is for training or validation as the one it was made from: they share the motion."""
    return {key: tuple(f"demo_{i}" for i, copy in enumerate(copies) if copy.demo in names) for key, names in dataset.masks.items()}
