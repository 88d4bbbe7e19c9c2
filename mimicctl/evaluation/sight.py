"""What a policy's cameras see while it is rolled out: live images, drawn as those it learnt from were."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl.envs.mujoco.appearance import Appearance
from mimicctl.envs.mujoco.cameras import SceneRenderer
from mimicctl.envs.mujoco.looks import RenderingMode
from mimicctl.tasks import CameraSpec, TaskSpec

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


class Sight:
    """Draws a view of envs. `choose_gl` comes first."""

    def __init__(self, view: View) -> None:
        self._renderer = SceneRenderer(view.task, view.mode, view.cameras)

    def images(self, snapshots: np.ndarray) -> dict[str, np.ndarray]:
        """Observation key to (n, H, W, 3) uint8 of snapshots (n, K), which begin with joint positions."""
        seen = [self._renderer.images(snapshot[: self._renderer.nq]) for snapshot in snapshots]
        return {key: np.stack([images[key] for images in seen]) for key in seen[0]}

    def wear(self, appearance: Appearance) -> None:
        """Draw the scene so from now on."""
        self._renderer.wear(appearance)

    def close(self) -> None:
        self._renderer.close()
