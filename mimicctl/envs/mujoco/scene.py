"""The physics model of a task on a table: the arm or arms, the task's objects, solver settings, and where everything sits in qpos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mimicctl.envs.mujoco import panda
from mimicctl.envs.mujoco.cable_robot import load_cable_robot
from mimicctl.envs.mujoco.humanoids import BODIES
from mimicctl.envs.mujoco.objects import FRICTION, SOLREF, add_objects
from mimicctl.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import mujoco

PHYSICS_DT = 0.005
"""[s] Twice Isaac Lab's rate per control step; 2 ms gains no grasps and costs twice as much, 10 ms drops cubes."""

_TABLE_HALF = (0.35, 0.60, 0.35)


@dataclass(frozen=True)
class Layout:
    """Where things are in the model's vectors.

    Attributes:
        arm_qpos, finger_qpos: indices into qpos, and, the arm's joints being hinges and slides, into qvel.
        objects: name of an object, or of each of its instances, to (first qpos index, first qvel index) of its free joint.
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
        friction=FRICTION,
        solref=SOLREF,
        **table_type,
    )
    for obstacle in task.obstacles:
        box = mujoco.mjtGeom.mjGEOM_BOX
        spec.worldbody.add_geom(name=obstacle.name, type=box, pos=obstacle.centre, size=obstacle.half_size, rgba=obstacle.rgba, solref=SOLREF, **table_type)
    add_objects(spec, task.objects)
    return spec


def _robot(task: TaskSpec, meshes: bool) -> mujoco.MjSpec:
    if task.robot in BODIES:
        return BODIES[task.robot].load(meshes)
    if task.robot == "cable_robot":
        return load_cable_robot()
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
    """Name of an object, or of each of its instances, to (first qpos index, first qvel index) of its free joint."""
    joints = {body.name: model.joint(body.name) for body in task.bodies}
    return {name: (int(joint.qposadr[0]), int(joint.dofadr[0])) for name, joint in joints.items()}
