"""The physics model of a task on a table: the arm or arms, the task's objects, solver settings, and where everything sits in qpos."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mimicctl.envs.mujoco import g1, panda
from mimicctl.tasks.spec import ObjectSpec, TaskSpec

if TYPE_CHECKING:
    import mujoco

PHYSICS_DT = 0.005
"""[s] Twice Isaac Lab's rate per control step; 2 ms gains no grasps and costs twice as much, 10 ms drops cubes."""

_TABLE_HALF = (0.35, 0.60, 0.35)
_FRICTION = (1.0, 0.005, 0.0001)
_SOLREF = (0.01, 1.0)
_OBJECT_CONTACT = {
    "friction": _FRICTION,
    "solref": _SOLREF,
    "condim": 4,
    "contype": panda.OBJECT_TYPE,
    "conaffinity": panda.ROBOT_TYPE | panda.OBJECT_TYPE | panda.FIXTURE_TYPE,
}
_HANDLE_RGBA = (0.85, 0.70, 0.30, 1.0)

_SPOKE_RGBA, _POST_RGBA, _RIM_PARTS = (0.60, 0.60, 0.62, 1.0), (0.60, 0.10, 0.10, 1.0), 18


@dataclass(frozen=True)
class Layout:
    """Where things are in the model's vectors.

    Attributes:
        arm_qpos, finger_qpos: indices into qpos, and, the arm's joints being hinges and slides, into qvel.
        objects: object name to (first qpos index, first qvel index) of its free joint.
        hand_body: body id of the hand.
    """

    arm_qpos: np.ndarray
    finger_qpos: np.ndarray
    objects: dict[str, tuple[int, int]]
    hand_body: int
    arm_range: np.ndarray
    arm_ctrl: np.ndarray
    finger_ctrl: np.ndarray


def build_model(task: TaskSpec) -> mujoco.MjModel:
    """Compile the model of `task`."""
    return build_spec(task).compile()


def build_spec(task: TaskSpec, *, meshes: bool = False) -> mujoco.MjSpec:
    """What `build_model` compiles; all that is needed to simulate, and nothing for the eye but, if asked for, a humanoid's meshes."""
    import mujoco

    spec = _robot(task, meshes)
    spec.modelname = task.task_id
    set_solver(spec)
    table_type = {"contype": panda.FIXTURE_TYPE, "conaffinity": panda.ROBOT_TYPE | panda.OBJECT_TYPE}
    spec.worldbody.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[0.5, 0.0, -_TABLE_HALF[2]],
        size=_TABLE_HALF,
        rgba=[0.72, 0.60, 0.45, 1.0],
        friction=_FRICTION,
        solref=_SOLREF,
        **table_type,
    )
    for obstacle in task.obstacles:
        box = mujoco.mjtGeom.mjGEOM_BOX
        spec.worldbody.add_geom(name=obstacle.name, type=box, pos=obstacle.centre, size=obstacle.half_size, rgba=obstacle.rgba, solref=_SOLREF, **table_type)
    for item in task.objects:
        if item.tray is not None:
            add_tray(spec, item)
        elif item.wheel is not None:
            add_wheel(spec, item)
        else:
            add_cube(spec, item)
    return spec


def _robot(task: TaskSpec, meshes: bool) -> mujoco.MjSpec:
    if task.robot == "g1":
        return g1.load_g1(meshes=meshes)
    return panda.load_pandas(task.bases) if task.bases else panda.load_panda()


def set_solver(spec: mujoco.MjSpec) -> None:
    import mujoco

    option = spec.option
    option.timestep = PHYSICS_DT
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    # What holds a grasp: elliptic cones with a high impratio, and enough line-search iterations for them.
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 10.0
    option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    option.iterations = 50
    option.ls_iterations = 50
    # Cubes that lie still are left out until something touches them: a third less time in the solver.
    option.enableflags |= mujoco.mjtEnableBit.mjENBL_SLEEP


def add_cube(spec: mujoco.MjSpec, item: ObjectSpec) -> None:
    import mujoco

    body = _add_object(spec, item)
    body.add_geom(name=item.name, type=mujoco.mjtGeom.mjGEOM_BOX, size=[item.edge / 2] * 3, mass=item.mass, rgba=item.rgba, **_OBJECT_CONTACT)


def add_tray(spec: mujoco.MjSpec, item: ObjectSpec) -> None:
    """Plate, four walls, and at either end a bar on two posts."""
    import mujoco

    body, tray = _add_object(spec, item), item.tray
    (x, y, z), (bar_x, bar_y, bar_z), (handle_y, handle_z) = tray.half_size, tray.bar, tray.handle
    wall, post = 0.003, 0.005
    wall_z, post_z = z + tray.rim / 2, (handle_z - bar_z) / 2
    parts = [("plate", (0, 0, 0), (x, y, z))]
    for side, sign in (("left", 1), ("right", -1)):
        parts += [
            (f"{side}_wall", (0, sign * (y - wall), wall_z), (x, wall, tray.rim / 2)),
            (f"{side}_ledge", (0, sign * (y + handle_y + bar_y) / 2, 0), (bar_x, (handle_y + bar_y - y) / 2, z)),
            (f"{side}_bar", (0, sign * handle_y, handle_z), tray.bar),
            *((f"{side}_post_{end}", (end * (bar_x - post), sign * handle_y, post_z), (post, bar_y, post_z)) for end in (-1, 1)),
        ]
    parts += [(f"wall_{end}", (end * (x - wall), 0, wall_z), (wall, y, tray.rim / 2)) for end in (-1, 1)]
    volume = sum(float(np.prod(size)) for _, _, size in parts)
    for name, centre, size in parts:
        rgba = _HANDLE_RGBA if name.endswith("_bar") or "_post_" in name else item.rgba
        mass = item.mass * float(np.prod(size)) / volume
        body.add_geom(name=f"{item.name}/{name}", type=mujoco.mjtGeom.mjGEOM_BOX, pos=centre, size=size, mass=mass, rgba=rgba, **_OBJECT_CONTACT)


def add_wheel(spec: mujoco.MjSpec, item: ObjectSpec) -> None:
    """Rim of capsules, three spokes, and a post to stand on."""
    import mujoco

    body, wheel = _add_object(spec, item), item.wheel
    turns = 2 * np.pi * np.arange(_RIM_PARTS + 1) / _RIM_PARTS
    ring = [(wheel.radius * np.cos(turn), wheel.radius * np.sin(turn), 0.0) for turn in turns]
    hub = (0.0, 0.0, -wheel.dish)
    tubes = [(f"rim_{i}", start, end, wheel.tube, 0.6 / _RIM_PARTS, item.rgba) for i, (start, end) in enumerate(itertools.pairwise(ring))]
    tubes += [(f"spoke_{i}", hub, ring[i * _RIM_PARTS // 3], 0.007, 0.1 / 3, _SPOKE_RGBA) for i in range(3)]
    for name, start, end, radius, share, rgba in tubes:
        capsule = {"type": mujoco.mjtGeom.mjGEOM_CAPSULE, "fromto": [*start, *end], "size": [radius, 0, 0]}
        body.add_geom(name=f"{item.name}/{name}", mass=share * item.mass, rgba=rgba, **capsule, **_OBJECT_CONTACT)
    half = (wheel.height - wheel.dish) / 2
    post = {"type": mujoco.mjtGeom.mjGEOM_CYLINDER, "pos": [0.0, 0.0, half - wheel.height], "size": [wheel.foot, half, 0]}
    body.add_geom(name=f"{item.name}/post", mass=0.3 * item.mass, rgba=_POST_RGBA, **post, **_OBJECT_CONTACT)


def _add_object(spec: mujoco.MjSpec, item: ObjectSpec) -> mujoco.MjsBody:
    body = spec.worldbody.add_body(name=item.name, pos=[0.5, 0.0, item.rest_height])
    body.add_freejoint(name=item.name)
    return body


def layout_of(model: mujoco.MjModel, task: TaskSpec, prefix: str = "") -> Layout:
    """Look the names up once; of one arm of several, whose names begin with `prefix`."""

    def addresses(names: tuple[str, ...]) -> np.ndarray:
        return np.array([model.joint(prefix + name).qposadr[0] for name in names])

    def actuators(names: tuple[str, ...]) -> np.ndarray:
        return np.array([model.actuator(prefix + name).id for name in names])

    return Layout(
        arm_qpos=addresses(panda.ARM_JOINTS),
        finger_qpos=addresses(panda.FINGER_JOINTS),
        objects=object_addresses(model, task),
        hand_body=model.body(prefix + panda.HAND_BODY).id,
        arm_range=np.array([model.joint(prefix + name).range for name in panda.ARM_JOINTS]),
        arm_ctrl=actuators(panda.ARM_JOINTS),
        finger_ctrl=actuators(panda.FINGER_JOINTS),
    )


def object_addresses(model: mujoco.MjModel, task: TaskSpec) -> dict[str, tuple[int, int]]:
    """Object name to (first qpos index, first qvel index) of its free joint."""
    joints = {item.name: model.joint(item.name) for item in task.objects}
    return {name: (int(joint.qposadr[0]), int(joint.dofadr[0])) for name, joint in joints.items()}
