"""The physics model of a task on a floor: a base, crates that it does not move, and a mark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mimicctl.envs.mujoco.objects import add_objects
from mimicctl.envs.mujoco.panda import FIXTURE_TYPE, OBJECT_TYPE
from mimicctl.envs.mujoco.scene import object_addresses, set_solver
from mimicctl.envs.mujoco.tiago import BASE_JOINTS, load_tiago
from mimicctl.tasks.spec import ObjectSpec, TaskSpec

if TYPE_CHECKING:
    import mujoco

_HALF = 6.0
_MARK_HEIGHT = 0.002


@dataclass(frozen=True)
class FloorLayout:
    """Where things are in the model's vectors.

    Attributes:
        base_qpos: indices of x, y and yaw into qpos, and into qvel.
        objects: object name to (first qpos index, first qvel index) of its free joint.
    """

    base_qpos: np.ndarray
    objects: dict[str, tuple[int, int]]


def build_floor_spec(task: TaskSpec, *, meshes: bool = False) -> mujoco.MjSpec:
    """Robot, floor and objects.

    Args:
        meshes: the robot looks like itself; see `load_tiago`.
    """
    import mujoco

    spec = load_tiago(meshes=meshes)
    spec.modelname = task.task_id
    set_solver(spec)
    spec.worldbody.add_geom(
        name="ground",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[_HALF, _HALF, 1.0],
        rgba=[0.62, 0.62, 0.64, 1.0],
        contype=FIXTURE_TYPE,
        conaffinity=OBJECT_TYPE,
    )
    for item in task.objects:
        if item.is_mark:
            _add_mark(spec, item)
    add_objects(spec, [item for item in task.objects if not item.is_mark])
    return spec


def _add_mark(spec: mujoco.MjSpec, item: ObjectSpec) -> None:
    """A disc and an arrow over it that points along the mark's x. It has joints so that it can be put anywhere, and weighs and touches nothing."""
    import mujoco

    body = spec.worldbody.add_body(name=item.name, gravcomp=1.0, mass=1.0, inertia=[1.0, 1.0, 1.0], explicitinertial=True)
    body.add_freejoint(name=item.name)
    kinds, radius = mujoco.mjtGeom, item.edge / 2
    drawn = {"contype": 0, "conaffinity": 0, "mass": 0.0}
    solid = (*item.rgba[:3], 1.0)
    body.add_geom(name=item.name, type=kinds.mjGEOM_CYLINDER, pos=[0, 0, _MARK_HEIGHT], size=[radius, _MARK_HEIGHT, 0], rgba=item.rgba, **drawn)
    body.add_geom(name=f"{item.name}/shaft", type=kinds.mjGEOM_BOX, pos=[radius, 0, 0.008], size=[2 * radius, 0.02, 0.004], rgba=solid, **drawn)
    for side in (1, -1):
        turn = [np.cos(-side * np.pi / 8), 0, 0, np.sin(-side * np.pi / 8)]
        place = [2.7 * radius, side * 0.3 * radius, 0.008]
        body.add_geom(name=f"{item.name}/barb_{side}", type=kinds.mjGEOM_BOX, pos=place, quat=turn, size=[0.45 * radius, 0.02, 0.004], rgba=solid, **drawn)


def floor_layout(model: mujoco.MjModel, task: TaskSpec) -> FloorLayout:
    """Look the names up once."""
    return FloorLayout(np.array([model.joint(name).qposadr[0] for name in BASE_JOINTS]), object_addresses(model, task))
