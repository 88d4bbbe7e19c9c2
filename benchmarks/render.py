"""How fast cameras draw: python benchmarks/render.py [--steps N]

Prints images per second of CPU time and of wall clock for each rendering mode and image size, drawn in this process from the states of the
bundled demonstrations, and what an image takes on disk. Software OpenGL may use threads, so CPU time counts all of them.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from mimicctl.dataset.frames import compressed
from mimicctl.dataset.reader import Dataset
from mimicctl.envs.mujoco.cameras import SceneRenderer, cameras_of
from mimicctl.envs.mujoco.gl import choose_gl
from mimicctl.generation.engine import bundled_source
from mimicctl.rendering.replay import positions_of
from mimicctl.tasks import find_task

TASKS = {"rgb": "MuJoCo-Stack-Cube-Franka-IK-Rel-Visuomotor-v0", "all": "MuJoCo-Stack-Cube-Franka-IK-Rel-Visuomotor-Cosmos-v0"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150, help="control steps drawn for each row")
    options = parser.parse_args()
    print(f"{choose_gl()}: {gl_renderer()}")
    for cameras, task_id in TASKS.items():
        task = find_task(task_id)
        with Dataset(bundled_source(task)) as dataset:
            qpos = positions_of(task)(dataset.episode(dataset.demos[0]))
        for size in (84, 200):
            for mode in ("performance", "balanced", "quality"):
                steps = options.steps if mode != "quality" else max(options.steps // 5, 5)
                measure(f"{cameras:<4} {size:>3} {mode:<12}", SceneRenderer(task, mode, cameras_of(task, size)), qpos[:: max(len(qpos) // steps, 1)][:steps])


def measure(label: str, renderer: SceneRenderer, qpos: np.ndarray) -> None:
    images = renderer.images(qpos[len(qpos) // 2])
    size = sum(len(compressed(image)) for image in images.values())
    wall, cpu = time.perf_counter(), time.process_time()
    for row in qpos:
        renderer.images(row)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    count = len(images) * len(qpos)
    rates = f"{len(qpos) / cpu:7.1f} steps/CPU-s {count / cpu:7.1f} images/CPU-s {count / wall:7.1f} images/s"
    print(f"{label} {len(images)} images a step {rates} {size / 1000:7.1f} kB a step", flush=True)
    renderer.close()


def gl_renderer() -> str:
    from mimicctl.envs.mujoco.gl import new_context

    context = new_context(8, 8)
    from OpenGL import GL

    name = GL.glGetString(GL.GL_RENDERER).decode()
    context.free()
    return name


if __name__ == "__main__":
    main()
