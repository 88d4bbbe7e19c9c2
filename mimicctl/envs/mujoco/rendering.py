"""Pictures of a scene, off screen: which OpenGL works here, and a fixed view of the table.

A scene for the eye is built beside the one that is simulated and posed from its snapshots, so rendering cannot change what is simulated.
"""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np

from mimicctl.envs.mujoco import panda
from mimicctl.envs.mujoco.assets import robots_folder
from mimicctl.envs.mujoco.scene import build_spec
from mimicctl.errors import UserError
from mimicctl.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import mujoco

_BACKENDS = {"Linux": ("egl", "osmesa"), "Darwin": ("cgl",), "Windows": ("wgl",)}
_PATIENCE = 60.0
"""Seconds that a backend has for its first picture."""
_PROBE = """
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
renderer = mujoco.Renderer(model, 16, 16)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer.update_scene(data)
renderer.render()
"""

_LOOK_AT, _DISTANCE, _AZIMUTH, _ELEVATION = (0.38, 0.0, 0.22), 1.30, 140.0, -22.0
_WHITE, _DARK, _GREY = (0.93, 0.93, 0.92, 1.0), (0.25, 0.26, 0.28, 1.0), (0.45, 0.47, 0.50, 1.0)


def choose_gl() -> str:
    """Have MuJoCo render with an OpenGL that works here: what MUJOCO_GL names, else EGL, else OSMesa. Processes started later inherit it.

    Each is tried in a process of its own, because a driver may take its process with it.

    Returns:
        its name, as MUJOCO_GL has it.

    Raises:
        UserError: none works.
    """
    asked = os.environ.get("MUJOCO_GL", "")
    candidates = list(dict.fromkeys(name for name in (asked, *_BACKENDS.get(platform.system(), ())) if name))
    for name in candidates:
        if _works(name):
            os.environ["MUJOCO_GL"] = name
            if "mujoco" in sys.modules:
                # MuJoCo looks at the variable once, when it is imported.
                importlib.reload(importlib.import_module("mujoco.rendering.classic.gl_context"))
            return name
    raise UserError(
        "Pictures need off-screen OpenGL, and none works here.",
        where=f"tried {', '.join(candidates)}",
        do="apt-get install libegl1 libgl1-mesa-dri (or libosmesa6)",
    )


def _works(backend: str) -> bool:
    environment = {**os.environ, "MUJOCO_GL": backend}
    try:
        done = subprocess.run([sys.executable, "-c", _PROBE], env=environment, capture_output=True, stdin=subprocess.DEVNULL, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


class TableView:
    """A camera in front of the table that sees the arm and all of the reset range. `choose_gl` comes first.

    Args:
        width, height: of a picture [pixels].
    """

    def __init__(self, task: TaskSpec, width: int, height: int) -> None:
        import mujoco

        self._mujoco = mujoco
        self._model = _visible_model(task, width, height)
        self._data = mujoco.MjData(self._model)
        self._camera = mujoco.MjvCamera()
        self._camera.lookat[:] = _LOOK_AT
        self._camera.distance, self._camera.azimuth, self._camera.elevation = _DISTANCE, _AZIMUTH, _ELEVATION
        self._renderer = mujoco.Renderer(self._model, height, width)

    def picture(self, snapshot: np.ndarray) -> np.ndarray:
        """RGB (height, width, 3) uint8 of one env's snapshot (K,)."""
        self._data.qpos[:] = snapshot[: self._model.nq]
        self._mujoco.mj_forward(self._model, self._data)
        self._renderer.update_scene(self._data, self._camera)
        return self._renderer.render()

    def close(self) -> None:
        self._renderer.close()


def _visible_model(task: TaskSpec, width: int, height: int) -> mujoco.MjModel:
    """The task's model with meshes over the arm's collision shapes, which are not drawn, light, a floor and a sky."""
    import mujoco

    spec = build_spec(task)
    spec.compiler.discardvisual = False
    _add_meshes(spec)
    world, box = spec.worldbody, mujoco.mjtGeom.mjGEOM_BOX
    intangible = {"contype": 0, "conaffinity": 0}
    world.add_geom(name="pedestal", type=box, pos=[-0.04, 0.0, -0.35], size=[0.12, 0.12, 0.35], rgba=_GREY, **intangible)
    world.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, pos=[0.0, 0.0, -0.70], size=[3.0, 3.0, 0.1], rgba=(0.80, 0.82, 0.85, 1.0), **intangible)
    gradient = mujoco.mjtBuiltin.mjBUILTIN_GRADIENT
    spec.add_texture(
        name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=gradient, rgb1=[0.86, 0.90, 0.94], rgb2=[0.60, 0.66, 0.74], width=64, height=64
    )
    world.add_light(pos=[0.9, -0.8, 1.8], dir=[-0.35, 0.55, -1.6], castshadow=True, diffuse=[0.55] * 3, ambient=[0.10] * 3, specular=[0.2] * 3)
    world.add_light(pos=[1.2, 0.9, 1.5], dir=[-0.5, -0.6, -1.0], castshadow=False, diffuse=[0.25] * 3, specular=[0.0] * 3)
    visual = spec.visual
    visual.headlight.ambient, visual.headlight.diffuse, visual.headlight.specular = [0.3] * 3, [0.2] * 3, [0.0] * 3
    visual.global_.offwidth, visual.global_.offheight = width, height
    return spec.compile()


def _add_meshes(spec: mujoco.MjSpec) -> None:
    """The meshes that come with the robot; MuJoCo reads its STL files, not the COLLADA ones beside them."""
    import mujoco

    folder = robots_folder() / "panda_description" / "meshes" / "collision"
    for body in spec.bodies:
        finger = body.name in panda.FINGER_BODIES
        part = "finger" if finger else body.name.removeprefix("panda_")
        path = folder / f"{part}.stl"
        if not path.is_file():
            continue
        if spec.mesh(part) is None:
            spec.add_mesh(name=part, file=str(path))
        # Both fingers have one mesh; the right one is turned about z.
        turn = [0.0, 0.0, 0.0, 1.0] if body.name == panda.FINGER_BODIES[1] else [1.0, 0.0, 0.0, 0.0]
        colour = _DARK if finger or body.name == panda.HAND_BODY else _WHITE
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=part, quat=turn, rgba=colour, contype=0, conaffinity=0, mass=0, group=1)
