"""What a policy's cameras see while it is rolled out: live images, drawn as those it learnt from were."""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl.envs import make_renderer
from mimicctl.envs.base import MimicEnv
from mimicctl.envs.isaaclab.drawing import SceneRenderer as NewtonRenderer
from mimicctl.envs.isaaclab.drawing import pose_rows
from mimicctl.envs.mujoco.appearance import Appearance
from mimicctl.errors import RunFailed, UserError
from mimicctl.processes import SPAWN, as_user_error, become_worker, one_thread_each
from mimicctl.tasks import CameraSpec, RenderingMode, TaskSpec, told_of_tasks

if TYPE_CHECKING:
    from mimicctl.training.policy import Policy


@dataclasses.dataclass(frozen=True)
class View:
    """What is to be drawn for a policy.

    Attributes:
        cameras: those that it looks through, with images of the size it learnt from.
    """

    task: TaskSpec
    mode: RenderingMode
    cameras: tuple[CameraSpec, ...]


def view_of(policy: Policy, task: TaskSpec) -> View | None:
    """None for a policy without images.

    Args:
        task: has the cameras that the policy looks through.
    """
    if not policy.rgb_keys:
        return None
    sizes = {key: policy.obs_shapes[key][1:] for key in policy.rgb_keys}
    cameras = (
        dataclasses.replace(camera, height=sizes[camera.name][0], width=sizes[camera.name][1], modalities=("rgb",))
        for camera in task.cameras
        if camera.name in sizes
    )
    lineage = policy.facts.get("dataset", {}).get("lineage", {})
    return View(task, rendering_mode_in(lineage) or "balanced", tuple(cameras))


def rendering_mode_in(lineage: Mapping[str, Any]) -> RenderingMode | None:
    """How the images of a dataset with this lineage were drawn, or those of the first of its inputs that says so; None if none does."""
    for settings in (lineage.get("render"), lineage.get("settings")):
        if isinstance(settings, Mapping) and "rendering_mode" in settings:
            return settings["rendering_mode"]
    found = (rendering_mode_in(part.get("lineage") or {}) for part in lineage.get("inputs", ()))
    return next((mode for mode in found if mode), None)


def sight_of(view: View, env: MimicEnv) -> Sight | SightElsewhere:
    """What draws a view of `env`. `require_renderer` comes first."""
    return Sight(view) if view.task.isaaclab is None else SightElsewhere(view, env)


class Sight:
    """Draws a view of envs on MuJoCo."""

    def __init__(self, view: View) -> None:
        self._renderer = make_renderer(view.task, view.mode, view.cameras)

    def images(self, snapshots: np.ndarray) -> dict[str, np.ndarray]:
        """Observation key to (n, H, W, 3) uint8 of snapshots (n, K), which begin with joint positions."""
        return self._renderer.images_of(snapshots)

    def wear(self, appearance: Appearance) -> None:
        """Draw the scene so from now on."""
        self._renderer.wear(appearance)

    def close(self) -> None:
        self._renderer.close()


class SightElsewhere:
    """Draws a view of envs on Isaac Lab, in a process of its own: a process has one simulation, and the envs' is in this one.

    Raises:
        UserError: this is a worker process.
    """

    def __init__(self, view: View, env: MimicEnv) -> None:
        if multiprocessing.current_process().daemon:  # which may start none itself
            what = "On Isaac Lab a policy that sees images is rolled out in one process, beside the one that draws for it."
            raise UserError(what, where="--workers", do="leave it out, and give more --num-envs")
        self._env = env
        self._connection, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_draw, args=(view, env.num_envs, told_of_tasks(), theirs), daemon=True)
        with one_thread_each():
            self._process.start()
        theirs.close()

    def images(self, snapshots: np.ndarray) -> dict[str, np.ndarray]:
        """As `Sight.images`, of snapshots of the env.

        Raises:
            UserError: the scene cannot be drawn.
            RunFailed: the process has died.
        """
        try:
            self._connection.send(pose_rows(self._env.scene_state(snapshots)))
            answer = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise RunFailed(f"The process that draws for the policy has died (exit code {self._process.exitcode}).", do="run again") from None
        if isinstance(answer, UserError):
            raise answer
        return answer

    def close(self) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.join()


def _draw(view: View, at_once: int, of_tasks: tuple[tuple[str, ...], bool | None], connection: Connection) -> None:
    """Body of the process: rows of poses come, and their images go."""
    become_worker(*of_tasks)
    try:
        renderer = NewtonRenderer(view.task, view.mode, view.cameras, at_once)
        while True:
            connection.send(renderer.images_of(connection.recv()))
    except EOFError:
        pass  # nobody looks any more
    except Exception as error:
        connection.send(as_user_error(error))
