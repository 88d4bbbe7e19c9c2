"""Painting over recorded images: other materials where segmentation and depth say that a thing is, other light by its normals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import h5py
import numpy as np

from mimicctl import poses
from mimicctl.augmentation.robot_material import RobotMaterial
from mimicctl.conversion.encodings import segmentation
from mimicctl.dataset.frames import Frames, compressed
from mimicctl.envs.mujoco.appearance import PLAIN, Appearance
from mimicctl.envs.mujoco.dressing import tint_of
from mimicctl.surfaces import paint
from mimicctl.tasks.spec import CameraSpec, Modality, TaskSpec

NEEDED: tuple[Modality, ...] = ("rgb", "depth", "normals", "segmentation")
"""Of a camera whose images are painted over."""

_AMBIENT, _LAMP = 0.55, 0.45
"""What a surface gets from all around, and from the lamp if it faces it."""
_SHADOW = 0.8
"""A table darker than this share of what is usual on it lies in shadow."""


def painted_cameras(task: TaskSpec) -> list[CameraSpec]:
    """Those that stand still and see all that is needed."""
    return [camera for camera in task.cameras if not camera.parent and set(NEEDED) <= set(camera.modalities)]


def paint_demo(obs: h5py.Group, qpos: np.ndarray, task: TaskSpec, appearance: Appearance, material: RobotMaterial) -> dict[str, Frames]:
    """The images of a demo's cameras in another appearance, by observation key.

    Cameras with colours alone are given the light that falls on what lies flat, and keep their materials.

    Args:
        obs: the demo's observations.
        qpos: (T, nq) joint positions that they belong to.
    """
    painted = painted_cameras(task)
    made = {}
    for camera in task.cameras:
        if camera.name in obs:
            images = _painted(obs, qpos, task, camera, appearance, material) if camera in painted else _lit(obs[camera.name], appearance)
            stored = obs[camera.name]
            made[camera.name] = Frames((*stored.shape[1:3], 3), np.dtype(np.uint8), tuple(compressed(image) for image in images))
    return made


def _painted(obs: h5py.Group, qpos: np.ndarray, task: TaskSpec, camera: CameraSpec, appearance: Appearance, material: RobotMaterial) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 of each step."""
    rgb, depth, normals, classes = (obs[camera.key(modality)] for modality in NEEDED)
    rays, position, rotation = _view(camera, rgb.shape[1:3])
    colours, gain = task.semantic_colors, appearance.gain.astype(np.float32)
    # What stands still before a camera that does is painted once: `canvas` where `done`.
    canvas, done = np.zeros((*rays.shape[:2], 3), np.float32), np.zeros(rays.shape[:2], bool)
    behind = None if appearance.background is None else gain * paint(appearance.background, rays @ rotation.T)
    usual = None
    for step in range(len(rgb)):
        picture, seen = rgb[step][..., :3].astype(np.float32) * np.float32(1 / 255), segmentation(classes[step][None])[0]
        facing = normals[step][..., :3] * np.float32(2) - np.float32(1)
        now, before = _light(facing, appearance), _light(facing, PLAIN)
        result = picture * (now / before)
        table = _is(seen, colours["table"])
        if appearance.table is not None and table.any():
            fresh = table & ~done
            canvas[fresh] = paint(appearance.table, _points(fresh, depth[step], rays, position, rotation))
            done |= fresh
            brightness = picture[table].mean(axis=1)
            usual = float(np.median(brightness)) if usual is None else usual
            shadow = (brightness / max(_SHADOW * usual, 1e-3)).clip(max=1)
            result[table] = canvas[table] * now[table] * shadow[:, None]
        robot = _is(seen, colours["robot"])
        if appearance.robot is not None and robot.any():
            places = material.places(_points(robot, depth[step], rays, position, rotation), qpos[step])
            result[robot] *= paint(appearance.robot, places)
        away = _is(seen, colours["background"]) | _is(seen, colours["ground"])
        result[away] = picture[away] * gain if behind is None else behind[away]
        yield _bytes(result)


def _lit(images: h5py.Dataset, appearance: Appearance) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 of each step, in another light only."""
    up = np.array([0, 0, 1], np.float32)
    change = _light(up, appearance) / _light(up, PLAIN)
    table = _bytes(np.arange(256, dtype=np.float32)[:, None] / 255 * change)
    for image in images:
        yield np.stack([table[image[..., channel], channel] for channel in range(3)], axis=-1)


def _light(normals: np.ndarray, appearance: Appearance) -> np.ndarray:
    """(..., 3) what falls on surfaces with `normals` (..., 3), about 1 on a table under the plain light."""
    towards = -np.array(appearance.light_direction)
    shaped = (normals @ (towards / np.linalg.norm(towards)).astype(np.float32)).clip(0)
    around, lamp = appearance.gain * _AMBIENT * tint_of(appearance.background), appearance.gain * _LAMP
    return around.astype(np.float32) + shaped[..., None] * lamp.astype(np.float32)


def _view(camera: CameraSpec, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rays (H, W, 3) of the pixels, one long along the camera's z, in its frame; its position (3,) and rotation (3, 3) in the env frame."""
    height, width = size
    focal = width * camera.focal_length / camera.horizontal_aperture
    x, y = np.meshgrid((np.arange(width) + 0.5 - width / 2) / focal, (np.arange(height) + 0.5 - height / 2) / focal)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1).astype(np.float32)
    return rays, np.array(camera.position, np.float32), poses.matrix_from_quat(np.array(camera.quat)).astype(np.float32)


def _points(where: np.ndarray, depth: np.ndarray, rays: np.ndarray, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(P, 3) in the env frame of the pixels `where` [m]."""
    distance = np.nan_to_num(depth[where].reshape(-1, 1), posinf=0.0)
    return (rays[where] * distance) @ rotation.T + position


def _is(seen: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """(H, W) where a segmentation (H, W, 3) has a colour."""
    return (seen[..., 0] == colour[0]) & (seen[..., 1] == colour[1]) & (seen[..., 2] == colour[2])


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values.clip(0, 1) * np.float32(255)).astype(np.uint8)
