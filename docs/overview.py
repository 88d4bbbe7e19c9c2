"""The table at the top of docs/tasks.md and its pictures, made from the tasks themselves and from what benchmarks/tasks.py has measured.

python docs/overview.py                    # draws pictures that are missing, and writes the table anew
python docs/overview.py --draw ID ...      # draws these again
python docs/overview.py --draw all

A picture shows the scripted operator at work, or, where it has no way, a demonstration that is generated for it; of a task with cameras, what they see of that;
of one whose objects are one of several instances, four of them.
Needs off-screen OpenGL, as videos do. A task that does not run here, for want of an extra for instance, is skipped, and the reason is said.
"""

from __future__ import annotations

import argparse
import runpy
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mimicctl.authoring.attempts import attempts_of_operator
from mimicctl.config import GenerateSettings
from mimicctl.dataset.contact_sheet import as_picture
from mimicctl.dataset.reader import Dataset
from mimicctl.envs import make_env
from mimicctl.envs.mujoco.cameras import SceneRenderer, cameras_of
from mimicctl.envs.mujoco.gl import choose_gl
from mimicctl.envs.mujoco.rendering import TableView
from mimicctl.errors import UserError
from mimicctl.generation.engine import generate
from mimicctl.schema import Episode
from mimicctl.tasks import Arrive, HandOver, Lift, LiftTogether, PutInto, Stack, TaskSpec, list_tasks, origin_of

DOCS = Path(__file__).parent
PAGE, PICTURES = DOCS / "tasks.md", DOCS / "pictures"
BEGIN, END = "<!-- made by docs/overview.py -->\n", "<!-- /made -->\n"
SIZE = (320, 240)
SEED = 4

MOMENTS = {Stack: 0.72, Lift: 1.0, LiftTogether: 1.0, PutInto: 0.68, HandOver: 0.5, Arrive: 0.25}
"""By goal: how far into an attempt one sees best what it is about, as a share of its steps."""

OVER_OBSTACLES = 0.4
"""The same where something is in the way: on the way over it."""

CROPS = {"franka": (0.15, 0.0, 0.99, 0.84)}
"""By robot: the part of the view of videos that something happens in, left, top, right, bottom as shares of it; all of it where none is named."""

ROBOTS = {"franka": "Franka Panda", "dual_franka": "two Franka Pandas", "tiago": "TIAGo Pro", "cable_robot": "gripper on four cables"}
"""Those whose names would not be read off `TaskSpec.robot`."""


def own_tasks() -> list[TaskSpec]:
    """Those that come with mimicctl."""
    return [task for task in list_tasks() if origin_of(task) == "mimicctl"]


def picture_of(task: TaskSpec) -> Path:
    return PICTURES / f"{task.task_id}.png"


def draw(task: TaskSpec) -> None:
    """Make a task's picture.

    Raises:
        UserError: the task does not run here, or there is no OpenGL.
    """
    choose_gl()
    count = 4 if any(item.instances for item in task.objects) else 1
    with closing(make_env(task)) as env:
        snapshots = [_moment(task, env, episode) for episode in _attempts(task, env, count)]
    pictures = [_through_cameras(task, snapshot) if task.cameras else _from_outside(task, snapshot) for snapshot in snapshots]
    picture = pictures[0] if count == 1 else _sheet(pictures, 2)
    PICTURES.mkdir(exist_ok=True)
    # The palette that leaves small things their colours: the usual one spends all 256 on wood and walls.
    picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(picture_of(task), optimize=True)


def _attempts(task: TaskSpec, env: Any, count: int) -> list[Episode]:
    """The operator's, or generated ones."""
    try:
        return [attempt.episode for attempt in attempts_of_operator(env, count, SEED)]
    except UserError:
        settings = {"trials": count, "workers": 1, "use_skillgen": bool(task.obstacles) and task.names_starts}
        with tempfile.TemporaryDirectory() as folder:
            made = generate(task.task_id, SEED, GenerateSettings(output_file=f"{folder}/some.hdf5", **settings), None)
            with Dataset(made.path) as dataset:
                return [dataset.episode(name) for name in dataset.demos]


def _moment(task: TaskSpec, env: Any, episode: Episode) -> np.ndarray:
    """(K,) when one sees best what the task is about."""
    share = OVER_OBSTACLES if task.obstacles else MOMENTS.get(type(task.goal), 0.75)
    step = round(share * (len(episode.actions) - 1))
    env.reset_to([0], [{path: values[step] for path, values in episode.states.items()}])
    return env.snapshot([0])[0]


def _from_outside(task: TaskSpec, snapshot: np.ndarray) -> Image.Image:
    """As in videos, with smooth edges."""
    times = 3
    with closing(TableView(task, times * SIZE[0], times * SIZE[1])) as view:
        whole = Image.fromarray(view.picture(snapshot))
    box = [round(share * side) for share, side in zip(CROPS.get(task.robot, (0, 0, 1, 1)), 2 * whole.size, strict=True)]
    return whole.resize(SIZE, Image.Resampling.LANCZOS, box=box)


def _through_cameras(task: TaskSpec, snapshot: np.ndarray) -> Image.Image:
    """All images of all cameras side by side, in two rows where there are more than two."""
    with closing(SceneRenderer(task, "balanced", cameras_of(task))) as renderer:
        seen = [Image.fromarray(as_picture(key, image)) for key, image in renderer.images(snapshot[: renderer.nq]).items()]
    return _sheet(seen, len(seen) if len(seen) < 3 else -(-len(seen) // 2))


def _sheet(images: list[Image.Image], columns: int) -> Image.Image:
    """As wide as every picture."""
    width = SIZE[0] // columns
    height = round(width * images[0].height / images[0].width)
    sheet = Image.new("RGB", (SIZE[0], height * -(-len(images) // columns)), "white")
    for place, image in enumerate(images):
        sheet.paste(image.resize((width, height), Image.Resampling.LANCZOS), (place % columns * width, place // columns * height))
    return sheet


def table() -> Iterator[str]:
    """Lines of Markdown, a row for each task."""
    measured = runpy.run_path(str(DOCS.parent / "benchmarks" / "tasks.py"))
    yield "| | task | robot: eefs; actions | subtasks | success | generated (95 % interval) | policy |"
    yield "|---|---|---|---|---|---|---|"
    for task in own_tasks():
        results = dict(measured["measured"](measured["FOLDER"], task))
        # That of the task's own recipe, or of another one where only that was measured.
        policy = results.get("policy") or next((result for name, result in results.items() if name.startswith("policy")), None)
        picture = picture_of(task)
        cells = [
            f'<img src="pictures/{picture.name}" width="160" alt="">' if picture.exists() else "",
            f"`{task.task_id}`: {task.description[0].lower()}{task.description[1:].rstrip('.')}",
            f"{ROBOTS.get(task.robot, task.robot)}: {', '.join(task.eef_names)}; {task.action_dim} actions",
            "; ".join(dict.fromkeys(", ".join(subtask.name for subtask in subtasks) for subtasks in task.subtasks.values())),
            task.goal.text,
            measured["rate"](results["generate"]) if "generate" in results else "not measured",
            measured["in_words"](policy) if policy else "not measured",
        ]
        yield f"| {' | '.join(cells)} |"


def page() -> str:
    """docs/tasks.md with the table as it should be."""
    before, rest = PAGE.read_text().split(BEGIN)
    return before + BEGIN + "".join(f"{line}\n" for line in table()) + END + rest.split(END)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", nargs="+", default=[], metavar="ID", help='draw these again; "all": every one')
    asked = parser.parse_args().draw
    for task in own_tasks():
        if picture_of(task).exists() and not {"all", task.task_id} & set(asked):
            continue
        try:
            draw(task)
        except UserError as error:
            print(f"{task.task_id} is skipped: {error.what} ({error.do})", file=sys.stderr)
        else:
            print(f"{picture_of(task)}: {picture_of(task).stat().st_size / 1000:.0f} kB", flush=True)
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
