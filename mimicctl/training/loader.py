"""Training data in memory: batches gathered by index, from one table of numbers and one of images a camera.

Samples and padding are those of robomimic's `SequenceDataset`: one sample per step of every demo, its frames repeated at
the beginning (frame stack) and at the end (sequence).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mimicctl.dataset.reader import Dataset
from mimicctl.errors import UserError
from mimicctl.schema import INTENDED_ACTIONS
from mimicctl.training.images import check_images, colour_statistics
from mimicctl.training.recipes import Recipe

if TYPE_CHECKING:
    import torch

    from mimicctl.training.turning import Turning

_LEAST_STD = 1e-3
"""Observations that hardly vary are centred, but not blown up."""


@dataclass
class Frames:
    """Every step of some demos.

    Attributes:
        obs: key to (F, D) float32.
        actions: (F, A) float32; or what else a network is to give, as `training.chunks` writes it.
        first, last: (F,) index of the first and last frame of each frame's demo.
        images: key to (F, H, W, 3) uint8.
    """

    obs: dict[str, np.ndarray]
    actions: np.ndarray
    first: np.ndarray
    last: np.ndarray
    images: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What a network sees of each observation: (D,), or (3, H, W) of images."""
        seen = {key: (3, *frames.shape[1:3]) for key, frames in self.images.items()}
        return {key: values.shape[1:] for key, values in self.obs.items()} | seen


def load_frames(dataset: Dataset, names: Sequence[str], obs_keys: Sequence[str], labels: str = "actions") -> Frames:
    """Read demos that `check_demos` has passed, all but their images.

    Args:
        labels: what to learn, "actions" or `INTENDED_ACTIONS`, which are the actions where a demo has no others.

    Raises:
        UserError: all demos are empty, or a value is not finite.
    """
    lengths = [dataset.length(name) for name in names]
    if not sum(lengths):
        raise UserError("The demonstrations are empty.", where=str(dataset.path), do="mimicctl dataset check shows which")
    columns = {key: np.concatenate([_read(dataset, name, f"obs/{key}") for name in names]) for key in obs_keys}
    actions = np.concatenate([_read(dataset, name, labels if labels in dataset.group(name) else "actions") for name in names])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    first = np.repeat(starts, lengths)
    return Frames(columns, actions, first, np.repeat(starts + np.array(lengths) - 1, lengths))


def check_demos(dataset: Dataset, names: Sequence[str], obs_keys: Sequence[str], rgb_keys: Sequence[str] = ()) -> None:
    """UserError unless every demo has numeric tables of actions and `obs_keys`, of its own length and of the widths of the first demo, and
    images under `rgb_keys`."""
    paths = ["actions", INTENDED_ACTIONS, *(f"obs/{key}" for key in obs_keys)]
    widths: dict[str, tuple[int, str]] = {}
    for name in names:
        _check_keys(dataset, name, (*obs_keys, *rgb_keys))
        demo = dataset.group(name)
        for path in paths:
            if path == INTENDED_ACTIONS and path not in demo:
                continue
            array = demo[path]
            if array.ndim != 2 or len(array) != dataset.length(name) or array.dtype.kind not in "fiub":
                wanted = f"a table of numbers ({dataset.length(name)}, D)"
                raise UserError(f"{path} of {name} is {array.shape} {array.dtype}, not {wanted}.", where=str(dataset.path), do="mimicctl dataset check")
            width, first = widths.setdefault(path, (array.shape[1], name))
            if array.shape[1] != width:
                what = f"{path} of {name} has {array.shape[1]} columns, that of {first} has {width}."
                raise UserError(what, where=str(dataset.path), do="mimicctl dataset check shows which demos differ; leave them out")
    check_images(dataset, names, rgb_keys)


def _check_keys(dataset: Dataset, name: str, obs_keys: Sequence[str]) -> None:
    """UserError with a list of asked and present keys unless the demo has actions and all of `obs_keys`."""
    where = str(dataset.path)
    demo = dataset.group(name)
    if "actions" not in demo:
        raise UserError(f"{name} has no actions.", where=where, do="mimicctl dataset check shows which demos lack them; leave them out")
    present = sorted(key for key in demo.get("obs", ()) if key != "datagen_info")
    missing = [key for key in obs_keys if key not in present]
    if not missing:
        return
    near = {key: difflib.get_close_matches(key, present, 1) for key in missing}
    asked = ", ".join(f"{key} (nearest: {near[key][0]})" if near[key] else key for key in missing)
    raise UserError(
        f"{name} lacks observations that the policy is to see.\n"
        f"  asked for and missing: {asked}\n"
        f"  present and not asked for: {', '.join(key for key in present if key not in obs_keys) or 'none'}",
        where=where,
        do="choose a recipe or --config-json whose keys the dataset has",
    )


def _read(dataset: Dataset, name: str, path: str) -> np.ndarray:
    array = dataset.as_xyzw(path, dataset.group(name)[path][()]).astype(np.float32)
    if not np.all(np.isfinite(array)):
        raise UserError(f"{path} of {name} holds NaN or infinite numbers.", where=str(dataset.path), do="mimicctl dataset check shows where")
    return array


def action_range(dataset: Dataset) -> tuple[float, float]:
    """One minimum and one maximum over all numbers in all actions of all demos, as Isaac Lab takes them.

    Raises:
        UserError: they are the same, or a value is not finite.
    """
    actions = [_read(dataset, name, "actions") for name in dataset.demos if dataset.length(name)]
    low, high = float(min(a.min() for a in actions)), float(max(a.max() for a in actions))
    if high <= low:
        raise UserError("All actions are the same number, so they cannot be normalised.", where=str(dataset.path), do="leave out --normalize-actions")
    return low, high


def observation_statistics(frames: Frames) -> dict[str, dict[str, np.ndarray]]:
    """Mean and standard deviation (1, ...) of each observation, the form robomimic stores."""
    return colour_statistics(frames.images) | {
        key: {
            "mean": values.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32),
            "std": np.maximum(values.std(axis=0, keepdims=True, dtype=np.float64), _LEAST_STD).astype(np.float32),
        }
        for key, values in frames.obs.items()
    }


class GatherLoader:
    """Batches by index, in the shape robomimic's algorithms take.

    Args:
        stats: applied to the observations.
        action_range: (minimum, maximum) that actions are mapped from to [-1, 1]; None leaves them.
        turning: applied to each batch before anything else.
        noise: standard deviation of what is added to the observations of each batch but for images, from torch's own generator.
        device: where batches go. Numbers live there, images in the machine's memory, whence a batch of them is moved as bytes.
    """

    def __init__(
        self,
        frames: Frames,
        recipe: Recipe,
        *,
        stats: Mapping[str, Mapping[str, np.ndarray]] | None = None,
        action_range: tuple[float, float] | None = None,
        turning: Turning | None = None,
        noise: float = 0.0,
        device: str = "cpu",
    ) -> None:
        import torch

        # One tensor for all keys: one gather a batch instead of one a key.
        self._keys = list(frames.obs)
        self._widths = [frames.obs[key].shape[1] for key in self._keys]
        packed = np.concatenate([*frames.obs.values(), frames.actions], axis=1)
        self._images = {key: torch.from_numpy(images) for key, images in frames.images.items()}
        # One number a colour, whatever the size of the images.
        self._colours = {
            key: None if stats is None else [torch.from_numpy(stats[key][name][0, :, :1, :1].copy()).to(device) for name in ("mean", "std")]
            for key in self._images
        }
        self._device = device
        self._frames = torch.from_numpy(np.ascontiguousarray(packed, dtype=np.float32)).to(device)
        width = frames.actions.shape[1]
        low, high = action_range or (-1.0, 1.0)
        centre = [np.zeros(w) if stats is None else stats[key]["mean"][0] for key, w in zip(self._keys, self._widths, strict=True)]
        scale = [np.ones(w) if stats is None else stats[key]["std"][0] for key, w in zip(self._keys, self._widths, strict=True)]
        centre, scale = [*centre, np.full(width, (low + high) / 2)], [*scale, np.full(width, (high - low) / 2)]
        self._centre, self._scale = (torch.from_numpy(np.concatenate(part).astype(np.float32)).to(device) for part in (centre, scale))
        self._turning = turning
        self._first = torch.from_numpy(frames.first).to(device)
        self._last = torch.from_numpy(frames.last).to(device)
        self._noise = noise
        self._offsets = torch.arange(1 - recipe.frame_stack, recipe.seq_length, device=device)

    def __len__(self) -> int:
        return len(self._frames)

    def batch(self, samples: torch.Tensor) -> dict:
        """Samples (B,) as {"obs": key to (B, S, D), or (B, S, 3, H, W) of images, "actions": (B, S, A)}, S = frame_stack - 1 + seq_length."""
        import torch

        steps = samples[:, None] + self._offsets
        steps = torch.minimum(torch.maximum(steps, self._first[samples, None]), self._last[samples, None])
        frames, observed = self._frames[steps], sum(self._widths)
        if self._turning is not None:
            frames = self._turning(frames)
        frames = (frames - self._centre) / self._scale
        if self._noise:
            frames[..., :observed] += self._noise * torch.randn_like(frames[..., :observed])
        parts = frames.split([*self._widths, frames.shape[-1] - observed], dim=-1)
        pictures = {key: self._pictures(key, steps) for key in self._images}
        return {"obs": dict(zip(self._keys, parts, strict=False)) | pictures, "actions": parts[-1]}

    def _pictures(self, key: str, steps: torch.Tensor) -> torch.Tensor:
        """Images of frames (B, S), from 0 to 1 or normalised: (B, S, 3, H, W) float32."""
        images = self._images[key]
        bytes_ = images.index_select(0, steps.flatten().to(images.device)).to(self._device)
        pictures = bytes_.permute(0, 3, 1, 2).contiguous().float() / 255
        if self._colours[key] is not None:
            mean, std = self._colours[key]
            pictures = pictures.sub_(mean).div_(std)
        return pictures.view(*steps.shape, *pictures.shape[1:])
