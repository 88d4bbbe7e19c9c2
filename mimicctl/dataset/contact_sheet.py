"""A sheet of a dataset's camera images: each camera and modality of a few demos at a few steps, to see at a glance what is in the file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from mimicctl.dataset.reader import Dataset
from mimicctl.errors import UserError

_CELL = 128
"""Least height of an image on the sheet [pixels]."""
_MARGIN, _LABEL = 4, 150
_DEPTH_RANGE = 1.5
"""Farther than this is black [m], as in Isaac Lab's videos."""


def contact_sheet(input_file: Path, output_file: Path, *, demos: int, steps: int, overwrite: bool = False) -> tuple[Path, list[str]]:
    """Write a PNG with a row for each camera key of each of the first `demos` demos, and `steps` columns from its first step to its last.

    Returns:
        The picture and the camera keys on it.

    Raises:
        UserError: the dataset has no images, or the picture exists or cannot be written.
    """
    from PIL import Image, ImageDraw

    output = Path(output_file).expanduser().absolute()
    if output.suffix.lower() != ".png":
        raise UserError(f'A contact sheet is a PNG picture; "{output.name}" should end in .png.', where=str(output), do="add the suffix")
    if output.exists() and not overwrite:
        raise UserError("The file exists already.", where=str(output), do="--overwrite replaces it")
    with Dataset(input_file) as dataset:
        keys = image_keys(dataset.group(dataset.demos[0]))
        if not keys:
            do = f"add some: mimicctl dataset render {input_file}"
            raise UserError("The demonstrations have no camera images.", where=str(dataset.path), do=do)
        labels, rows = [], []
        for name in dataset.demos[:demos]:
            at = np.linspace(0, dataset.length(name) - 1, steps).astype(int)
            for key in keys:
                labels.append(f"{name}\n{key}\nstep " + (f"{at[0]} to {at[-1]}" if steps > 1 else f"{at[0]}"))
                rows.append([as_picture(key, image) for image in _images(dataset, name, key, at)])
    cells = [[Image.fromarray(picture) for picture in row] for row in rows]
    cells = [[_enlarged(cell) for cell in row] for row in cells]
    heights = [max(cell.height for cell in row) + _MARGIN for row in cells]
    width = _LABEL + max(sum(cell.width + _MARGIN for cell in row) for row in cells)
    sheet = Image.new("RGB", (width, sum(heights) + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    top = _MARGIN
    for label, row, height in zip(labels, cells, heights, strict=True):
        draw.multiline_text((_MARGIN, top), label, fill="black")
        left = _LABEL
        for cell in row:
            sheet.paste(cell, (left, top))
            left += cell.width + _MARGIN
        top += height
    _save(sheet, output)
    return output, keys


def image_keys(demo: h5py.Group) -> list[str]:
    """Observation keys of a demo that hold images (T, H, W, C)."""
    observed = demo.get("obs", {})
    return [key for key in observed if isinstance(observed[key], h5py.Dataset) and observed[key].ndim == 4 and observed[key].shape[-1] in (1, 3, 4)]


def as_picture(key: str, image: np.ndarray) -> np.ndarray:
    """An image (H, W, C) of any modality as RGB (H, W, 3) uint8: depth near to far as white to black, nothing there as black too."""
    if "depth" in key:
        depth = image[..., 0]
        shade = np.where((depth > 0) & np.isfinite(depth), 1 - depth / _DEPTH_RANGE, 0)
        return np.repeat((255 * np.clip(shade, 0, 1)).astype(np.uint8)[..., None], 3, axis=-1)
    if image.dtype != np.uint8:
        image = (255 * np.clip(np.nan_to_num(image), 0, 1)).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image[..., :3])


def _images(dataset: Dataset, name: str, key: str, steps: Sequence[int]) -> list[np.ndarray]:
    stored = dataset.group(name).get(f"obs/{key}")
    if stored is None or len(stored) <= max(steps):
        raise UserError(f"{key} is missing or too short, though {dataset.demos[0]} has it.", where=f"{name} of {dataset.path}", do="mimicctl dataset check")
    return [stored[step] for step in steps]


def _enlarged(cell):
    times = -(-_CELL // cell.height)
    return cell.resize((cell.width * times, cell.height * times), 0) if times > 1 else cell


def _save(sheet, output: Path) -> None:
    """In one piece or not at all."""
    unfinished = output.with_name(f".{output.name}.unfinished")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(unfinished, format="PNG")
        os.replace(unfinished, output)
    except OSError as error:
        raise UserError(f"Cannot write the picture: {error.strerror or error}.", where=str(output), do="choose another --output-file") from None
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
