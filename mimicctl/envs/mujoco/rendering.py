"""A fixed view of a task, for people: what videos show."""

from __future__ import annotations

import numpy as np

from mimicctl import poses
from mimicctl.envs.mujoco.appearance import Appearance
from mimicctl.envs.mujoco.cameras import SceneRenderer
from mimicctl.tasks.spec import CameraSpec, TaskSpec

_VIEWS = {  # by robot: where to look, where from, and how far can be seen
    "franka": ((0.38, 0.0, 0.22), (1.30, -0.77, 0.71), 10.0),
    "dual_franka": ((0.30, 0.0, 0.25), (1.60, -0.95, 0.95), 10.0),
    "g1": ((0.25, -0.08, 0.15), (1.35, 0.45, 0.75), 10.0),
    "gr1t2": ((0.28, -0.08, 0.15), (1.45, 0.48, 0.80), 10.0),
    "mobile_g1": ((0.0, -0.70, -0.15), (2.45, -2.05, 1.25), 12.0),
    "cable_robot": ((0.42, 0.0, 0.46), (2.15, -0.48, 1.20), 12.0),
    "tiago": ((1.35, -0.05, 0.10), (-1.9, -2.2, 2.9), 20.0),
}


class TableView:
    """A camera that sees the robot, or both, and all of the reset range: in front of the table, or above the floor behind the base. `choose_gl` comes first.

    Args:
        width, height: of a picture [pixels].
    """

    def __init__(self, task: TaskSpec, width: int, height: int) -> None:
        self._renderer = SceneRenderer(task, "balanced", [_view(task, width, height)])

    def wear(self, appearance: Appearance) -> None:
        """Show the scene so from now on."""
        self._renderer.wear(appearance)

    def picture(self, snapshot: np.ndarray) -> np.ndarray:
        """RGB (height, width, 3) uint8 of one env's snapshot (K,), which begins with its joint positions."""
        return self._renderer.images(snapshot[: self._renderer.nq])["view"]

    def close(self) -> None:
        self._renderer.close()


def _view(task: TaskSpec, width: int, height: int) -> CameraSpec:
    look_at, stand_at, far = _VIEWS[task.robot]
    forward = np.array(look_at) - stand_at
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    quat = poses.quat_from_matrix(np.stack([right, np.cross(forward, right), forward], axis=1))
    # The lens that shows as much from top to bottom whatever the width: 45 degrees.
    aperture = 24.0 * 2 * np.tan(np.radians(22.5)) * width / height
    return CameraSpec("view", "", stand_at, tuple(quat), height, width, horizontal_aperture=float(aperture), clip=(0.05, far))
