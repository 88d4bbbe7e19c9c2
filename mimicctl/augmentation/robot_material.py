"""Which link of the arm a point belongs to, and where on it: so that a painted material moves with the arm instead of staying in the room."""

from __future__ import annotations

import numpy as np

from mimicctl.envs.mujoco.scene import build_model
from mimicctl.tasks.spec import TaskSpec

_APART = 0.37
"""Links are painted as if cut from places this far apart [m]: no two look the same."""


class RobotMaterial:
    """Places on the arm's links. The links are known by the shapes that the physics model has for them, no OpenGL is used."""

    def __init__(self, task: TaskSpec) -> None:
        import mujoco

        self._mujoco, self._model = mujoco, build_model(task)
        self._data = mujoco.MjData(self._model)
        objects = {item.name for item in task.objects}
        names = [self._model.body(body).name for body in self._model.geom_bodyid]
        self._shapes = [i for i, name in enumerate(names) if name != "world" and name not in objects]

    def places(self, points: np.ndarray, qpos: np.ndarray) -> np.ndarray:
        """(P, 3) in the frames of the nearest links [m], of points (P, 3) in the env frame, with the arm at `qpos` (nq,)."""
        self._data.qpos[:] = qpos
        self._mujoco.mj_kinematics(self._model, self._data)
        far = np.stack([self._distance(points, shape) for shape in self._shapes])
        link = self._model.geom_bodyid[self._shapes][far.argmin(axis=0)]
        found = np.empty_like(points)
        for body in np.unique(link):
            here = link == body
            found[here] = (points[here] - self._data.xpos[body]) @ self._data.xmat[body].reshape(3, 3) + _APART * body
        return found

    def _distance(self, points: np.ndarray, shape: int) -> np.ndarray:
        """(P,) from the surface of a capsule or a box, negative inside [m]."""
        size = self._model.geom_size[shape]
        local = (points - self._data.geom_xpos[shape]) @ self._data.geom_xmat[shape].reshape(3, 3)
        if self._model.geom_type[shape] == self._mujoco.mjtGeom.mjGEOM_CAPSULE:
            local[:, 2] -= local[:, 2].clip(-size[1], size[1])
            return np.linalg.norm(local, axis=1) - size[0]
        beyond = np.abs(local) - size
        return np.linalg.norm(beyond.clip(0), axis=1) + beyond.max(axis=1).clip(max=0)
