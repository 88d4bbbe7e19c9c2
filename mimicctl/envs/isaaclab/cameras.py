"""Cameras of an Isaac Lab task, read off its config."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mimicctl.envs.isaaclab import versions
from mimicctl.tasks.spec import CameraSpec, Modality

DATA_TYPES: dict[str, Modality] = {
    "rgb": "rgb",
    "distance_to_image_plane": "depth",
    "normals": "normals",
    "semantic_segmentation": "segmentation",
}
"""Isaac Lab's names of what a camera measures to ours. Images of anything else are not drawn."""


def cameras_in(config: Any) -> tuple[CameraSpec, ...]:
    """The cameras that observations are taken from, with what of theirs is observed. Of lenses, pinholes are known."""
    seen: dict[str, list[Modality]] = {}
    for _, _, term in _image_terms(config):
        measured = term.params.get("data_type") or getattr(term.func, "default_data_type", "rgb")
        name = term.params["sensor_cfg"].name
        if measured in DATA_TYPES and hasattr(getattr(config.scene, name).spawn, "focal_length"):
            seen.setdefault(name, []).append(DATA_TYPES[measured])
    return tuple(_camera(name, getattr(config.scene, name), tuple(dict.fromkeys(modalities))) for name, modalities in seen.items())


def _camera(name: str, sensor: Any, modalities: tuple[Modality, ...]) -> CameraSpec:
    import torch
    from isaaclab.utils.math import convert_camera_frame_orientation_convention

    turn = convert_camera_frame_orientation_convention(torch.tensor([sensor.offset.rot], dtype=torch.float64), origin=sensor.offset.convention, target="ros")
    above = sensor.prim_path.split("/")[1:-1]
    return CameraSpec(
        name=name,
        parent=above[-1].rpartition("?")[2] if above else "",
        position=tuple(map(float, sensor.offset.pos)),
        quat=tuple(versions.reordered(turn[0].numpy(), 0).tolist()),
        height=sensor.height,
        width=sensor.width,
        modalities=modalities,
        focal_length=float(sensor.spawn.focal_length),
        horizontal_aperture=float(sensor.spawn.horizontal_aperture),
        clip=tuple(map(float, sensor.spawn.clipping_range)),
    )


def leave_out(config: Any) -> None:
    """Take the cameras, and all that is observed by them, out of a config: the physics are the same, and nothing waits for images."""
    for group, name, _ in list(_image_terms(config)):
        setattr(group, name, None)
    for name in _sensors(config):
        setattr(config.scene, name, None)


def _sensors(config: Any) -> list[str]:
    from isaaclab.sensors import CameraCfg

    return [name for name, item in vars(config.scene).items() if isinstance(item, CameraCfg)]


def _image_terms(config: Any) -> Iterator[tuple[Any, str, Any]]:
    """Observation group, name and config of every term that reads a camera."""
    sensors = set(_sensors(config))
    for group in vars(config.observations).values():
        for name, term in vars(group).items() if hasattr(group, "__dict__") else ():
            read = getattr(term, "params", {}).get("sensor_cfg")
            if read is not None and read.name in sensors:
                yield group, name, term
