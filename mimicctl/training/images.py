"""Camera images for training: checked, decoded once, kept where a batch can be gathered from them."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mimicctl.dataset.reader import Dataset
from mimicctl.errors import UserError

_SHARE = 0.6
"""Of the free memory that images may fill; the network and the rest of the machine want some too."""

_MEASURED = 2000
"""Images that mean and spread of the colours are taken from, spread evenly over all."""


def check_images(dataset: Dataset, names: Sequence[str], keys: Sequence[str]) -> None:
    """UserError unless every demo has colour images under `keys`, as many as it has steps and as large as those of the first demo."""
    sizes: dict[str, tuple[tuple[int, ...], str]] = {}
    for name in names:
        for key in keys:
            array, steps = dataset.group(name)[f"obs/{key}"], dataset.length(name)
            if array.ndim != 4 or len(array) != steps or array.shape[3] != 3 or array.dtype != np.uint8:
                what = f"obs/{key} of {name} is {array.shape} {array.dtype}, not colour images ({steps}, H, W, 3) uint8."
                raise UserError(what, where=str(dataset.path), do="leave the key out, or draw the images again (mimicctl dataset render)")
            size, first = sizes.setdefault(key, (array.shape[1:3], name))
            if array.shape[1:3] != size:
                what = f"Images {key} of {name} are {array.shape[1]} x {array.shape[2]}, those of {first} are {size[0]} x {size[1]}."
                raise UserError(what, where=str(dataset.path), do="draw them all again (mimicctl dataset render)")


def bytes_of(dataset: Dataset, names: Sequence[str], keys: Sequence[str]) -> int:
    """Of all their images, decoded."""
    return sum(dataset.group(name)[f"obs/{key}"].nbytes for name in names for key in keys)


def scratch_for(size: int, folder: Path) -> Path | None:
    """Where `size` bytes of images are kept: None for memory, or a folder of this file system for a file that is mapped into it.

    Args:
        folder: of the run; it need not exist yet.

    Raises:
        UserError: they fit in neither.
    """
    memory = free_memory()
    if size <= _SHARE * memory:
        return None
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    disk = shutil.disk_usage(existing).free
    if size <= 0.9 * disk:
        return existing
    raise UserError(
        f"The images take {size / 1e9:.1f} GB decoded; {memory / 1e9:.1f} GB of memory and {disk / 1e9:.1f} GB of disk are free.",
        where=str(existing),
        do="put fewer demos into mask/train, use smaller images (mimicctl dataset render --image-size 84), or put --log-dir on a larger disk",
    )


def free_memory() -> int:
    """Bytes that this process may still take, which in a container are fewer than the machine has."""
    import psutil

    free = psutil.virtual_memory().available
    try:
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):
        return free
    return min(free, max(0, limit - used))


def load_images(
    dataset: Dataset, names: Sequence[str], keys: Sequence[str], scratch: Path | None, on_demo: Callable[[], None] = lambda: None
) -> dict[str, np.ndarray]:
    """Images of demos that `check_images` has passed, key to (F, H, W, 3) uint8.

    Args:
        scratch: what `scratch_for` said. A file there has no name, so it is gone with this process, however that ends.
        on_demo: called after each demo.
    """
    frames = sum(dataset.length(name) for name in names)
    images = {key: _room((frames, *dataset.group(names[0])[f"obs/{key}"].shape[1:]), scratch) for key in keys}
    first = 0
    for name in names:
        last = first + dataset.length(name)
        for key in keys:
            if last > first:
                dataset.group(name)[f"obs/{key}"].read_direct(images[key], dest_sel=np.s_[first:last])
        first = last
        on_demo()
    return images


def _room(shape: tuple[int, ...], scratch: Path | None) -> np.ndarray:
    if scratch is None:
        return np.empty(shape, np.uint8)
    with tempfile.TemporaryFile(dir=scratch) as file:
        if hasattr(os, "posix_fallocate"):
            # Or else a disk that fills up later would end the process without a word.
            os.posix_fallocate(file.fileno(), 0, math.prod(shape))
        return np.memmap(file, np.uint8, "w+", shape=shape)


def colour_statistics(images: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Mean and standard deviation of each colour of each camera, from 0 to 1, as (1, 3, H, W): the form that robomimic applies."""
    found = {}
    for key, frames in images.items():
        some = frames[np.linspace(0, len(frames) - 1, min(len(frames), _MEASURED)).astype(int)] / np.float32(255)
        shape = (1, 3, *frames.shape[1:3])
        mean, std = some.mean(axis=(0, 1, 2), dtype=np.float64), some.std(axis=(0, 1, 2), dtype=np.float64)
        values = {"mean": mean, "std": np.maximum(std, 1 / 255)}
        found[key] = {name: np.broadcast_to(value.astype(np.float32)[None, :, None, None], shape) for name, value in values.items()}
    return found
