"""What the cameras of an Isaac Lab task see, drawn by Newton's renderer, which needs neither Isaac Sim nor a GPU.

A simulation of its own draws recorded states and is never stepped. So pictures hang neither on the physics that made a state, nor on when they are drawn:
live for a policy, or long after an episode was recorded.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mimicctl.envs.isaaclab import launch, versions
from mimicctl.envs.isaaclab.cameras import DATA_TYPES, leave_out
from mimicctl.envs.isaaclab.rows import Rows, flat
from mimicctl.envs.mujoco.appearance import PLAIN, Appearance
from mimicctl.errors import UserError
from mimicctl.tasks.spec import CameraSpec, IsaacLab, RenderingMode, TaskSpec

_AT_ONCE = 16
"""States drawn together by default: small images take little longer so than one by one."""

_POSED = ("root_pose", "joint_position")
"""Of a state, what a picture depends on."""


def require_renderer(task: TaskSpec) -> None:
    """UserError where Newton is not installed."""
    versions.physics_of(_drawn_on(task))


def pose_rows(states: Mapping[str, np.ndarray]) -> np.ndarray:
    """(..., K) of recorded states (path to (..., D)): what `SceneRenderer` takes."""
    return np.concatenate([states[path] for path in sorted(states) if path.endswith(_POSED)], axis=-1)


class SceneRenderer:
    """Draws what `cameras` see. It is the only simulation of its process.

    Args:
        at_once: states that are drawn together.

    Raises:
        UserError: the environment cannot be made.
    """

    def __init__(self, task: TaskSpec, mode: RenderingMode, cameras: Sequence[CameraSpec], at_once: int = _AT_ONCE) -> None:
        self._task, self._cameras, self._at_once = task, tuple(cameras), at_once
        how = _drawn_on(task)
        self._env = launch.start(_config(how, at_once, mode, self._cameras), how)
        self._state = {path: value.clone() for path, value in sorted(flat(self._env.scene.get_state(is_relative=True)))}
        self._layout = Rows({path: value for path, value in self._state.items() if path.endswith(_POSED)})

    def images_of(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Observation key to (n, H, W, C) of states as rows (n, K) of `pose_rows`; docs/cameras.md has what is in them.

        Raises:
            UserError: they are of another scene.
        """
        if rows.shape[-1] != self._layout.width:
            what = f"The recorded states do not fit {self._task.task_id}: {rows.shape[-1]} numbers say where things are, not {self._layout.width}."
            raise UserError(what, do="give the --task that they were recorded on, with cameras")
        seen = [self._draw(rows[first : first + self._at_once]) for first in range(0, len(rows), self._at_once)]
        return {key: np.concatenate([images[key] for images in seen]) for key in seen[0]}

    def _draw(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        import torch

        # An env too many shows what the last one shows.
        whole = np.concatenate([rows, np.repeat(rows[-1:], self._at_once - len(rows), axis=0)]).astype(np.float32)
        nested: dict[str, dict[str, dict[str, Any]]] = {}
        for path, value in self._state.items():
            kind, asset, name = path.split("/")
            if name in _POSED:
                placed = self._layout.read(whole, path)
                placed = versions.restored(placed, 3) if name == "root_pose" else placed
                value = torch.as_tensor(np.ascontiguousarray(placed), device=self._env.device)
            nested.setdefault(kind, {}).setdefault(asset, {})[name] = value
        with torch.inference_mode():
            self._env.scene.reset_to(nested, is_relative=True)
            self._env.sim.forward()
            return {key: image[: len(rows)] for camera in self._cameras for key, image in self._look(camera).items()}

    def _look(self, camera: CameraSpec) -> dict[str, np.ndarray]:
        sensor = self._env.scene[camera.name]
        sensor.update(dt=0.0, force_recompute=True)
        measured = {DATA_TYPES[name]: versions.tensor(image).cpu().numpy() for name, image in sensor.data.output.items() if name in DATA_TYPES}
        if "normals" in measured:
            measured["normals"] = (measured["normals"] + 1) / 2
        return {camera.key(modality): measured[modality].copy() for modality in camera.modalities}

    def wear(self, appearance: Appearance) -> None:
        if appearance != PLAIN:
            raise ValueError("Newton's renderer draws a scene in no other light or materials.")

    def close(self) -> None:
        launch.close_simulation()


def _drawn_on(task: TaskSpec) -> IsaacLab:
    return dataclasses.replace(task.isaaclab, physics="newton", visualizer="")


def _config(how: IsaacLab, num_envs: int, mode: RenderingMode, cameras: Sequence[CameraSpec]) -> Any:
    """A config whose cameras are these, pointed at Newton's renderer."""
    from isaaclab_newton.renderers import NewtonWarpRendererCfg

    config = launch.config_of(how, num_envs)
    sensors = {camera: getattr(config.scene, camera.name) for camera in cameras}
    leave_out(config)
    for camera, sensor in sensors.items():
        sensor.renderer_cfg = NewtonWarpRendererCfg(
            enable_textures=mode != "performance",
            enable_shadows=mode == "quality",
            semantic_segmentation_mapping=getattr(sensor.renderer_cfg, "semantic_segmentation_mapping", {}),
        )
        sensor.data_types = [name for name, modality in DATA_TYPES.items() if modality in camera.modalities]
        sensor.height, sensor.width = camera.height, camera.width
        sensor.update_latest_camera_pose = True  # 3.0.0 leaves a camera on a hand where the hand was at first
        sensor.prim_path = _found(config, sensor.prim_path)
        setattr(config.scene, camera.name, sensor)
    # Nothing is drawn by chance.
    for name in list(vars(config.events)) if config.events else ():
        setattr(config.events, name, None)
    return config


def _found(config: Any, path: str) -> str:
    """The path of a camera with the expression in it replaced by what it finds in the asset that the camera is on: 3.0.0's Newton takes it by the letter."""
    from isaaclab.utils.assets import retrieve_file_path
    from pxr import Usd

    above, _, name = path.rpartition("/")
    for asset in vars(config.scene).values():
        root, usd = getattr(asset, "prim_path", None), getattr(getattr(asset, "spawn", None), "usd_path", None)
        if usd and above.startswith(f"{root}/"):
            stage = Usd.Stage.Open(retrieve_file_path(usd))
            inside = stage.GetDefaultPrim().GetPath()
            parts = (str(prim.GetPath().MakeRelativePath(inside)) for prim in stage.Traverse())
            found = next((part for part in parts if re.fullmatch(above.removeprefix(f"{root}/"), part)), None)
            if found:
                return f"{root}/{found}/{name}"
    return path
