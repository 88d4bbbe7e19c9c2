"""The model that is drawn: the joints of the physics model with the robot's visual meshes, a room, light and cameras.

It is never stepped. Its qpos is laid out as the physics model's, which it leaves alone: what is drawn cannot change what happens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.envs.mujoco import panda
from mimicctl.envs.mujoco.appearance import DEFAULT_DIRECTION
from mimicctl.envs.mujoco.assets import robots_folder
from mimicctl.envs.mujoco.collada import Part, read_parts, simplified
from mimicctl.envs.mujoco.dressing import add_canvases
from mimicctl.envs.mujoco.floor import build_floor_spec
from mimicctl.envs.mujoco.humanoids import BODIES
from mimicctl.envs.mujoco.labels import add_labels
from mimicctl.envs.mujoco.objects import add_part
from mimicctl.envs.mujoco.scene import build_spec
from mimicctl.tasks.spec import CameraSpec, RenderingMode, TaskSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import mujoco


@dataclass(frozen=True)
class _Effort:
    """What a rendering mode spends.

    Attributes:
        mesh_cell: detail of the robot smaller than this is left out [m]; 0: the meshes as they are.
        samples: per pixel, against jagged edges; 0: one.
        shadows: whether the light casts any.
    """

    mesh_cell: float
    samples: int
    shadows: bool


_EFFORTS: dict[RenderingMode, _Effort] = {
    "performance": _Effort(mesh_cell=0.012, samples=0, shadows=False),
    "balanced": _Effort(mesh_cell=0.005, samples=4, shadows=False),
    "quality": _Effort(mesh_cell=0.0, samples=4, shadows=True),
}

_MESHES = "panda_description/meshes/visual"
_HALF_TURN = (0.0, 0.0, 0.0, 1.0)
"""wxyz about z: the right finger's mesh is the left one's."""

# Isaac Lab's table: its top is the plane z = 0. An arm stands on it, 1.05 m above the floor; a humanoid behind it.
_FAR, _HALF_WIDTH, _TOP, _LEG = 1.05, 0.70, 0.04, 0.03
_NEAR, _FLOOR_Z = -0.15, -1.05
_LEG_RGBA, _FLOOR_RGBA = (0.30, 0.30, 0.32, 1.0), (0.55, 0.55, 0.57, 1.0)
_TILES = ((0.60, 0.61, 0.63), (0.66, 0.67, 0.69))
_SKY_HIGH, _SKY_LOW = (0.82, 0.82, 0.82), (0.62, 0.62, 0.62)


def build_looks(task: TaskSpec, mode: RenderingMode, cameras: Sequence[CameraSpec]) -> mujoco.MjModel:
    """Compile what is drawn of `task`.

    Geoms are named after the class they count to in a segmentation: "robot/...", "table/...", "ground", and the names of the objects.
    """
    import mujoco

    effort = _EFFORTS[mode]
    spec = _floor(task) if task.robot == "tiago" else _table(task, effort)
    # Where sleep is allowed, what stands still, lamps too, is looked at once and never again.
    spec.option.enableflags &= ~mujoco.mjtEnableBit.mjENBL_SLEEP.value
    _add_sky(spec)
    _light(spec, shadows=effort.shadows)
    spec.visual.quality.offsamples = effort.samples
    spec.visual.global_.offheight = max(camera.height for camera in cameras)
    spec.visual.global_.offwidth = max(camera.width for camera in cameras)
    spec.stat.extent = 1.0  # the clip planes are multiples of it
    for camera in cameras:
        _add_camera(spec, camera)
    return spec.compile()


def _table(task: TaskSpec, effort: _Effort) -> mujoco.MjSpec:
    spec = build_spec(task, meshes=True)
    # MuJoCo drops shapes that collide with nothing when it reads a URDF.
    spec.compiler.discardvisual = False
    _dress_robot(spec, effort.mesh_cell)
    _furnish(spec, task)
    _decorate(spec, task)
    add_canvases(spec)
    return spec


def _floor(task: TaskSpec) -> mujoco.MjSpec:
    spec = build_floor_spec(task, meshes=True)
    _tile(spec)
    return spec


def _tile(spec: mujoco.MjSpec) -> None:
    """Tiles of half a metre, from which distances can be told."""
    import mujoco

    spec.add_texture(
        name="tiles",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        rgb1=_TILES[0],
        rgb2=_TILES[1],
        width=256,
        height=256,
    )
    material = spec.add_material(name="tiles", texrepeat=[2.0, 2.0], texuniform=True)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "tiles"
    ground = spec.geom("ground")
    ground.material, ground.rgba = "tiles", [1.0, 1.0, 1.0, 1.0]


def _dress_robot(spec: mujoco.MjSpec, mesh_cell: float) -> None:
    import mujoco

    for body in [body for body in spec.bodies if panda.link_of(body.name)]:
        for geom in list(body.geoms):
            spec.delete(geom)
        # Hand and fingers are what the cameras see from near.
        link = panda.link_of(body.name)
        near = link in (panda.HAND_BODY, *panda.FINGER_BODIES)
        for i, part in enumerate(link_parts(link, mesh_cell / 2 if near else mesh_cell)):
            name = f"robot/{body.name}_{i}"
            mesh = spec.add_mesh(name=name, uservert=part.vertices.ravel(), userface=part.faces.ravel())
            # The meshes are not closed, so they have no volume to take an inertia from; nobody asks for it.
            mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
            turned = _HALF_TURN if link == panda.FINGER_BODIES[1] else (1.0, 0.0, 0.0, 0.0)
            _add_shape(body, name, mujoco.mjtGeom.mjGEOM_MESH, meshname=name, rgba=part.rgba, quat=turned)


def link_parts(body: str, mesh_cell: float) -> list[Part]:
    """The visual meshes of a body of the arm, in its frame; none for a frame without a shape. The right finger's are the left one's, to be turned round."""
    link = "finger" if body in panda.FINGER_BODIES else body.removeprefix("panda_")
    path = robots_folder() / _MESHES / f"{link}.dae"
    if not path.is_file():
        return []
    parts = read_parts(path)
    if mesh_cell:
        parts = [simplified(part, mesh_cell) for part in parts]
    return [part for part in parts if len(part.faces) > 1]


def _decorate(spec: mujoco.MjSpec, task: TaskSpec) -> None:
    """What objects have for the eye alone."""
    for item in task.bodies:
        for number, part in enumerate(item.parts):
            if not part.solid:
                add_part(spec, spec.body(item.name), f"{item.name}/{number}", part, contype=0, conaffinity=0, mass=0.0)
        add_labels(spec, item)


def _add_shape(body: mujoco.MjsBody, name: str, kind: mujoco.mjtGeom, **fields) -> mujoco.MjsGeom:
    return body.add_geom(name=name, type=kind, contype=0, conaffinity=0, mass=0.0, **fields)


def _furnish(spec: mujoco.MjSpec, task: TaskSpec) -> None:
    import mujoco

    table = spec.geom("table")
    near, floor = (table.pos[0] - table.size[0], BODIES[task.robot].floor) if task.is_humanoid else (_NEAR, _FLOOR_Z)
    spec.delete(table)
    world = spec.worldbody
    _add_wood(spec)
    _add_table(spec, "table", ((near + _FAR) / 2, 0.0, 0.0), ((_FAR - near) / 2, _HALF_WIDTH), floor)
    _add_shape(world, "ground", mujoco.mjtGeom.mjGEOM_PLANE, pos=[0.0, 0.0, floor], size=[5.0, 5.0, 1.0], rgba=_FLOOR_RGBA)
    if task.has_body:
        _tile(spec)
    for obstacle in task.obstacles:
        if obstacle.name.endswith("table"):
            spec.delete(spec.geom(obstacle.name))
            (x, y, z), half = obstacle.centre, obstacle.half_size
            _add_table(spec, f"table/{obstacle.name}", (x, y, z + half[2]), half[:2], floor)


def _add_table(spec: mujoco.MjSpec, name: str, top: tuple[float, float, float], half: tuple[float, float], floor: float) -> None:
    """
    Args:
        top: middle of its top [m].
        half: half its length and width [m].
        floor: height of what its legs stand on [m].
    """
    import mujoco

    box, (x, y, high) = mujoco.mjtGeom.mjGEOM_BOX, top
    _add_shape(spec.worldbody, f"{name}/top", box, pos=[x, y, high - _TOP / 2], size=[*half, _TOP / 2], material="wood")
    length, (out_x, out_y) = (high - _TOP - floor) / 2, (side - _LEG - 0.02 for side in half)
    for i, (dx, dy) in enumerate((dx, dy) for dx in (-out_x, out_x) for dy in (-out_y, out_y)):
        _add_shape(spec.worldbody, f"{name}/leg_{i}", box, pos=[x + dx, y + dy, floor + length], size=[_LEG, _LEG, length], rgba=_LEG_RGBA)


def _add_sky(spec: mujoco.MjSpec) -> None:
    import mujoco

    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=_SKY_HIGH,
        rgb2=_SKY_LOW,
        width=64,
        height=64 * 6,
    )


def _add_wood(spec: mujoco.MjSpec) -> None:
    """Boards of light wood. Without grain, which would make up most of a compressed picture."""
    import mujoco

    size, shades = 256, np.array([0.0, 0.03, -0.02, 0.015, -0.035, 0.02, -0.01, 0.035])
    across = np.arange(size) * len(shades) / size
    shade = 1 + shades[across.astype(int)] - np.where(across % 1 < 0.04, 0.10, 0.0)
    pixels = np.broadcast_to(255 * np.array([0.77, 0.65, 0.49]) * shade[:, None], (size, size, 3)).astype(np.uint8)
    texture = spec.add_texture(name="wood", type=mujoco.mjtTexture.mjTEXTURE_2D, width=size, height=size, nchannel=3)
    texture.data = pixels.tobytes()
    material = spec.add_material(name="wood", rgba=[1.0, 1.0, 1.0, 1.0], specular=0.0, shininess=0.0)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "wood"


def _light(spec: mujoco.MjSpec, *, shadows: bool) -> None:
    """Even light from all around, as under Isaac Lab's dome, and a weaker lamp that gives shapes their shading."""
    import mujoco

    headlight = spec.visual.headlight
    headlight.ambient, headlight.diffuse, headlight.specular = [0.5] * 3, [0.12] * 3, [0.0] * 3
    spec.worldbody.add_light(
        name="lamp",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        # Shadows reach no farther from here than the clip distance.
        pos=[0.45, -0.05, 1.05],
        dir=DEFAULT_DIRECTION,
        diffuse=[0.42] * 3,
        specular=[0.08] * 3,
        castshadow=shadows,
    )
    spec.visual.quality.shadowsize = 2048


def _add_camera(spec: mujoco.MjSpec, camera: CameraSpec) -> None:
    # MuJoCo's cameras look along -z with y up.
    axes = poses.matrix_from_quat(np.array(camera.quat)) @ np.diag([1.0, -1.0, -1.0])
    body = spec.body(camera.parent) if camera.parent else spec.worldbody
    quat = poses.wxyz_from_xyzw(poses.quat_from_matrix(axes))
    body.add_camera(name=camera.name, pos=camera.position, quat=quat, fovy=np.degrees(camera.vertical_fov))
