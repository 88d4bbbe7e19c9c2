"""A task's cameras: pictures of a scene whose joint positions are given. docs/cameras.md says what is in them."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl.envs.mujoco.appearance import Appearance
from mimicctl.envs.mujoco.dressing import Dresser
from mimicctl.envs.mujoco.gl import new_context
from mimicctl.envs.mujoco.looks import build_looks
from mimicctl.tasks.spec import CameraSpec, Modality, RenderingMode, TaskSpec

if TYPE_CHECKING:
    import mujoco

CHANNELS: dict[Modality, tuple[int, str]] = {"rgb": (3, "uint8"), "depth": (1, "float32"), "normals": (3, "float32"), "segmentation": (4, "uint8")}
"""Channels and dtype of each modality's image (H, W, C)."""

_UNLABELLED = (150, 150, 150)

_FLAT = (0, 6)
"""mjGEOM_PLANE and mjGEOM_BOX: their normals are known exactly."""

_NORMAL_STEPS = 512
"""Stored normals of curved shapes are multiples of one over this."""


def cameras_of(task: TaskSpec, image_size: int | None = None) -> tuple[CameraSpec, ...]:
    """The task's cameras, or the same with square images of `image_size` pixels."""
    if image_size is None:
        return task.cameras
    return tuple(dataclasses.replace(camera, height=image_size, width=image_size) for camera in task.cameras)


def image_shapes(cameras: Sequence[CameraSpec]) -> dict[str, tuple[tuple[int, int, int], str]]:
    """Observation key to the shape (H, W, C) and dtype of its images."""
    return {
        camera.key(modality): ((camera.height, camera.width, CHANNELS[modality][0]), CHANNELS[modality][1])
        for camera in cameras
        for modality in camera.modalities
    }


class SceneRenderer:
    """Draws what `cameras` see. `choose_gl` comes first. Holds a GL context, which belongs to the thread that made it.

    Attributes:
        nq: joint positions of the scene, as many as the physics has.
    """

    def __init__(self, task: TaskSpec, mode: RenderingMode, cameras: Sequence[CameraSpec]) -> None:
        import mujoco

        self._mujoco, self._cameras = mujoco, tuple(cameras)
        self._model = build_looks(task, mode, cameras)
        self.nq = self._model.nq
        self._dresser: Dresser | None = None
        self._data = mujoco.MjData(self._model)
        self._scene = mujoco.MjvScene(self._model, maxgeom=self._model.ngeom + 100)
        self._option = mujoco.MjvOption()
        glob = self._model.vis.global_
        self._gl = new_context(glob.offwidth, glob.offheight)
        self._smooth = self._drawing_context()
        # Edges smoothed over several samples are right for a picture; a measurement must come from one surface.
        self._model.vis.quality.offsamples = 0
        self._sharp = self._drawing_context()
        # What MuJoCo would free by itself it would free in whichever context is current, and that may be another renderer's.
        self._free = weakref.finalize(self, _free, self._gl, self._smooth, self._sharp)
        self._palette = _palette(task, self._model)

    def _drawing_context(self) -> mujoco.MjrContext:
        mujoco = self._mujoco
        context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        return context

    def wear(self, appearance: Appearance) -> None:
        """Draw the scene so from now on. Takes a second at most, and no time if it looks so already."""
        if self._dresser is None:
            self._dresser = Dresser(self._model)
        if appearance == self._dresser.worn:
            return
        self._gl.make_current()
        for texture in self._dresser.put_on(appearance):
            self._mujoco.mjr_uploadTexture(self._model, self._smooth, texture)

    def images(self, qpos: np.ndarray) -> dict[str, np.ndarray]:
        """Observation key to (H, W, C) of the scene with joint positions `qpos` (nq,)."""
        self._gl.make_current()
        self._data.qpos[:] = qpos
        self._mujoco.mj_kinematics(self._model, self._data)
        self._mujoco.mj_camlight(self._model, self._data)
        if self._model.ntendon:  # cables are drawn
            self._mujoco.mj_comPos(self._model, self._data)
            self._mujoco.mj_tendon(self._model, self._data)
        return {key: image for camera in self._cameras for key, image in self._look(camera).items()}

    def images_of(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Observation key to (n, H, W, C) of scenes whose rows (n, K) begin with joint positions."""
        seen = [self.images(row[: self.nq]) for row in rows]
        return {key: np.stack([images[key] for images in seen]) for key in seen[0]}

    def close(self) -> None:
        """Harmless when closed already."""
        self._free()

    def _look(self, camera: CameraSpec) -> dict[str, np.ndarray]:
        self._aim(camera)
        images, wanted = {}, set(camera.modalities)
        if "rgb" in wanted:
            images[camera.key("rgb")] = self._picture(camera)
        if wanted - {"rgb"}:
            geoms, raw_depth = self._identify(camera)
            if "segmentation" in wanted:
                images[camera.key("segmentation")] = self._palette[geoms]
            if "depth" in wanted:
                images[camera.key("depth")] = np.where(geoms < 0, np.float32(0), _metres(raw_depth, camera.clip))[..., None]
            if "normals" in wanted:
                images[camera.key("normals")] = self._normals(camera, geoms)
        return {key: images[key] for key in (camera.key(modality) for modality in camera.modalities)}

    def _aim(self, camera: CameraSpec) -> None:
        mujoco = self._mujoco
        self._model.vis.map.znear, self._model.vis.map.zfar = camera.clip
        view = mujoco.MjvCamera()
        view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, self._model.camera(camera.name).id
        mujoco.mjv_updateScene(self._model, self._data, self._option, None, view, mujoco.mjtCatBit.mjCAT_ALL.value, self._scene)

    def _picture(self, camera: CameraSpec) -> np.ndarray:
        """(H, W, 3) uint8"""
        flags = self._mujoco.mjtRndFlag
        colours = np.empty((camera.height, camera.width, 3), np.uint8)
        self._draw(self._smooth, camera, (flags.mjRND_SHADOW, flags.mjRND_SKYBOX, flags.mjRND_CULL_FACE), colours, None)
        return colours[::-1]

    def _draw(self, context: mujoco.MjrContext, camera: CameraSpec, flags: Sequence[mujoco.mjtRndFlag], colours: np.ndarray, depth: np.ndarray | None) -> None:
        """Fill `colours` (H, W, 3) uint8 and raw `depth` (H, W) float32, bottom row first."""
        self._scene.flags[:] = 0
        for flag in flags:
            self._scene.flags[flag] = 1
        rect = self._mujoco.MjrRect(0, 0, camera.width, camera.height)
        self._mujoco.mjr_setBuffer(self._mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, context)
        self._mujoco.mjr_render(rect, self._scene, context)
        self._mujoco.mjr_readPixels(colours, depth, rect, context)

    def _identify(self, camera: CameraSpec) -> tuple[np.ndarray, np.ndarray]:
        """Geom id (H, W) of what each pixel shows, -1 for nothing, and its raw depth (H, W)."""
        flags = self._mujoco.mjtRndFlag
        colours = np.empty((camera.height, camera.width, 3), np.uint8)
        depth = np.empty((camera.height, camera.width), np.float32)
        self._draw(self._sharp, camera, (flags.mjRND_SEGMENT, flags.mjRND_IDCOLOR, flags.mjRND_CULL_FACE), colours, depth)
        shown = colours[..., 0] + (colours[..., 1].astype(np.int32) << 8)
        geoms = np.full(self._scene.ngeom + 1, -1, np.int32)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            geoms[geom.segid + 1] = geom.objid
        return geoms[shown][::-1], depth[::-1]

    def _normals(self, camera: CameraSpec, geoms: np.ndarray) -> np.ndarray:
        """Surface normals (H, W, 3) in the env frame as (n + 1) / 2.

        The scene is drawn once more in white under six lights, of which each pair brightens a colour by the normal's share of an axis: so a
        normal is read off as a colour, in steps of 1/255. On flat shapes it is then replaced by the nearest axis of the shape, which is exact.
        """
        self._light_axes()
        colours = np.empty((camera.height, camera.width, 3), np.uint8)
        self._draw(self._sharp, camera, (self._mujoco.mjtRndFlag.mjRND_CULL_FACE,), colours, None)
        normals = colours[::-1] * np.float32(1 / 127.5) - np.float32(1)
        normals /= np.sqrt(np.einsum("hwi,hwi->hw", normals, normals))[..., None]
        flat = np.isin(self._model.geom_type[geoms], _FLAT) & (geoms >= 0)
        normals[geoms < 0] = 0.0
        # Bits beyond what was measured would be noise that does not compress.
        stored = np.round((normals + np.float32(1)) * np.float32(_NORMAL_STEPS / 2)) / np.float32(_NORMAL_STEPS)
        stored[flat] = (_nearest_axis(normals[flat], self._data.geom_xmat[geoms[flat]].reshape(-1, 3, 3)) + 1) / 2
        return stored

    def _light_axes(self) -> None:
        """White matt shapes, grey all over, and for each axis a lamp that adds half of a colour and an opposite one that takes half away."""
        scene = self._scene
        for geom in scene.geoms[: scene.ngeom]:
            geom.matid, geom.rgba[:] = -1, 1.0
            geom.emission = geom.specular = geom.shininess = geom.reflectance = 0.0
        scene.nlight = 6
        for i, lamp in enumerate(scene.lights[:6]):
            axis, sign = i // 2, 1 - 2 * (i % 2)
            lamp.type, lamp.headlight, lamp.castshadow, lamp.texid = self._mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, 0, 0, -1
            lamp.pos[:], lamp.dir[:], lamp.diffuse[:], lamp.specular[:], lamp.ambient[:] = 0.0, 0.0, 0.0, 0.0, 0.5 if i == 0 else 0.0
            lamp.attenuation[:] = (1.0, 0.0, 0.0)
            lamp.dir[axis], lamp.diffuse[axis] = -sign, 0.5 * sign


def _free(gl: Any, *contexts: mujoco.MjrContext) -> None:
    gl.make_current()
    for context in contexts:
        context.free()
    gl.free()


def _palette(task: TaskSpec, model: mujoco.MjModel) -> np.ndarray:
    """RGBA (ngeom + 1, 4) uint8 of each geom's class; the last row, which -1 finds, is the background's. Isaac Lab's grey where a task names no colour."""
    classes = [model.geom(i).name.split("/")[0] for i in range(model.ngeom)]
    return np.array([(*task.semantic_colors.get(name, _UNLABELLED), 255) for name in [*classes, "background"]], np.uint8)


def _metres(raw: np.ndarray, clip: tuple[float, float]) -> np.ndarray:
    """Distance along the camera's z axis [m] from raw depth, which runs from 1 at the near plane to 0 at the far one."""
    near, far = clip
    return (near * far / (near + raw.astype(np.float64) * (far - near))).astype(np.float32)


def _nearest_axis(normals: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Of the six directions +-x, +-y, +-z of each frame (P, 3, 3), the one nearest to each normal (P, 3)."""
    along = np.einsum("pi,pij->pj", normals, frames)
    axis, rows = np.argmax(np.abs(along), axis=1), np.arange(len(normals))
    return frames[rows, :, axis] * np.sign(along[rows, axis])[:, None]
