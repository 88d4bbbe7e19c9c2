"""Training and validation splits, as robomimic's filter keys: lists of demo names, no copy of the data."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from mimicctl.dataset.reader import Dataset, demo_number
from mimicctl.errors import UserError


def split_names(names: Sequence[str], *, valid_fraction: float = 0.2, seed: int = 0) -> dict[str, tuple[str, ...]]:
    """Divide demo names by chance into "train" and "valid"; at least one of each where there are two."""
    order = np.random.default_rng(seed).permutation(len(names))
    count = min(max(round(valid_fraction * len(names)), 1 if valid_fraction else 0), len(names) - 1)
    valid = {names[i] for i in order[:count]}
    ordered = sorted(names, key=demo_number)
    return {"train": tuple(n for n in ordered if n not in valid), "valid": tuple(n for n in ordered if n in valid)}


def split_file(path: str | Path, *, valid_fraction: float = 0.2, seed: int = 0, overwrite: bool = False) -> dict[str, tuple[str, ...]]:
    """Write `mask/train` and `mask/valid`.

    The file is changed in a copy that then takes its place, so that an interruption leaves one or the other whole.

    Raises:
        UserError: the file cannot be read, or has other masks and `overwrite` is not set.
    """
    with Dataset(path) as dataset:
        masks = split_names(dataset.demos, valid_fraction=valid_fraction, seed=seed)
        present = {key: dataset.masks[key] for key in masks if key in dataset.masks}
        target = dataset.path
    if present == masks:
        return masks
    if present and not overwrite:
        raise UserError("The file has masks already, and they differ.", where=str(target), do="--overwrite replaces them")
    copy = target.with_name(f".{target.name}.split")
    try:
        shutil.copy2(target, copy)
        with h5py.File(copy, "r+") as file:
            write_masks(file, masks)
        os.replace(copy, target)
    except OSError as error:
        raise UserError(f"Cannot write the masks: {error.strerror or error}.", where=str(target), do="make the folder writable") from None
    finally:
        copy.unlink(missing_ok=True)
    return masks


def write_masks(file: h5py.File, masks: Mapping[str, Sequence[str]]) -> None:
    """Set filter keys, byte strings as robomimic writes them."""
    group = file.require_group("mask")
    for key, names in masks.items():
        if key in group:
            del group[key]
        group.create_dataset(key, data=np.array([n.encode() for n in names], dtype="S"))
