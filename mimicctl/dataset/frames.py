"""Camera images on disk: each frame a chunk of its own, compressed by whoever drew it.

HDF5 compresses in the one process that writes. Frames that come compressed, exactly as its filters would, are only put in place.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import h5py
import numpy as np

_GZIP_LEVEL = 2


@dataclass(frozen=True)
class Frames:
    """The images of one observation key over an episode.

    Attributes:
        shape: (H, W, C), or (H, W), of one.
        dtype: of a value.
        chunks: T compressed frames.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[bytes, ...]

    @classmethod
    def of(cls, images: np.ndarray) -> Frames:
        """Compress (T, H, W, C)."""
        return cls(images.shape[1:], images.dtype, tuple(compressed(image) for image in images))

    @classmethod
    def joined(cls, parts: Sequence[Frames]) -> Frames:
        """One after the other."""
        return cls(parts[0].shape, parts[0].dtype, tuple(chunk for part in parts for chunk in part.chunks))

    def __len__(self) -> int:
        return len(self.chunks)


def compressed(image: np.ndarray) -> bytes:
    """One frame as HDF5's shuffle and gzip filters store it: first bytes of all values, then their second bytes, ..., deflated."""
    values = np.ascontiguousarray(image)
    shuffled = values.reshape(-1).view(np.uint8).reshape(-1, values.itemsize).T
    return zlib.compress(np.ascontiguousarray(shuffled), _GZIP_LEVEL)


def write_frames(group: h5py.Group, path: str, frames: Frames) -> None:
    """Store `frames` as the dataset `path` of `group`."""
    dataset = group.create_dataset(
        path,
        shape=(len(frames), *frames.shape),
        dtype=frames.dtype,
        chunks=(1, *frames.shape),
        shuffle=frames.dtype.itemsize > 1,
        compression="gzip",
        compression_opts=_GZIP_LEVEL,
    )
    for i, chunk in enumerate(frames.chunks):
        dataset.id.write_direct_chunk((i, *[0] * len(frames.shape)), chunk)
