"""Which link of the arm a point belongs to, and where on it: so that a painted material moves with the arm instead of staying in the room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimicctl.envs.mujoco import panda
from mimicctl.envs.mujoco.looks import link_parts
from mimicctl.envs.mujoco.scene import build_model
from mimicctl.tasks.spec import TaskSpec

_CELL, _MARGIN, _DETAIL = 0.01, 0.02, 0.02
"""Of the grids about the links, how far they go beyond them, and detail of the meshes that is left out [m]."""
_FAR = 1.0
"""Distance that is given to whatever is off a link's grid [m]."""
_APART = 0.37
"""Links are painted as if cut from places this far apart [m]: no two look the same."""


@dataclass(frozen=True)
class _Link:
    """How far places near a link are from its surface.

    Attributes:
        corner: (3,) of the grid, in the link's frame [m].
        distance: (X, Y, Z) at the centres of its cells [m].
    """

    corner: np.ndarray
    distance: np.ndarray

    @classmethod
    def of(cls, surface: np.ndarray) -> _Link:
        """From places (V, 3) all over the surface [m]."""
        corner = surface.min(axis=0) - _MARGIN
        shape = np.ceil((surface.max(axis=0) + _MARGIN - corner) / _CELL).astype(int)
        centres = corner + (np.moveaxis(np.indices(shape), 0, -1) + 0.5) * _CELL
        # One place a cell is enough, and with fewer of them all this takes no time.
        surface = np.unique(np.round(surface / _CELL), axis=0).astype(np.float32) * np.float32(_CELL)
        flat = centres.reshape(-1, 3).astype(np.float32)
        nearest = (flat**2).sum(axis=1) + ((surface**2).sum(axis=1) - 2 * flat @ surface.T).min(axis=1)
        return cls(corner.astype(np.float32), np.sqrt(nearest.clip(0)).reshape(shape))

    def distance_of(self, points: np.ndarray) -> np.ndarray:
        """(P,) of points (P, 3) in the link's frame [m]."""
        cell = np.floor((points - self.corner) / np.float32(_CELL)).astype(int)
        inside = ((cell >= 0) & (cell < self.distance.shape)).all(axis=1)
        found = np.full(len(points), _FAR, np.float32)
        found[inside] = self.distance[tuple(cell[inside].T)]
        return found


class RobotMaterial:
    """Places on the arm's links, which are known by the surfaces of the model that is drawn. No OpenGL is used."""

    def __init__(self, task: TaskSpec) -> None:
        import mujoco

        self._mujoco, self._model = mujoco, build_model(task)
        self._data = mujoco.MjData(self._model)
        surfaces = {i: _surface(self._model.body(i).name) for i in range(self._model.nbody)}
        self._links = {body: _Link.of(surface) for body, surface in surfaces.items() if len(surface)}

    def places(self, points: np.ndarray, qpos: np.ndarray) -> np.ndarray:
        """(P, 3) in the frames of the nearest links [m], of points (P, 3) in the env frame, with the arm at `qpos` (nq,)."""
        self._data.qpos[:] = qpos
        self._mujoco.mj_kinematics(self._model, self._data)
        local = {body: ((points - self._data.xpos[body]) @ self._data.xmat[body].reshape(3, 3)).astype(np.float32) for body in self._links}
        nearest = np.stack([link.distance_of(local[body]) for body, link in self._links.items()]).argmin(axis=0)
        places = np.stack([here + np.float32(_APART * body) for body, here in local.items()])
        return places[nearest, np.arange(len(points))]


def _surface(body: str) -> np.ndarray:
    """(V, 3) places all over a body's surface, in its frame [m]; none for what is no part of the arm."""
    parts = link_parts(body, _DETAIL) if body.startswith("panda_") else []
    if not parts:
        return np.zeros((0, 3))
    places = np.concatenate([np.concatenate([part.vertices, part.vertices[part.faces].mean(axis=1)]) for part in parts])
    return places * (-1, -1, 1) if body == panda.FINGER_BODIES[1] else places
