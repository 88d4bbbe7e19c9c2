"""Training and validation splits, as robomimic's filter keys: lists of demo names, no copy of the data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from mimicctl.dataset.committed_file import copy_file, write_lock
from mimicctl.dataset.reader import Dataset, demo_number
from mimicctl.dataset.writer import write_masks
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
    target = Path(path).expanduser().absolute()
    masks, present = _wanted_and_present(target, valid_fraction, seed)
    if present == masks:
        return masks
    # A recording that goes on in the meantime would be lost with the version that is replaced here.
    with write_lock(target):
        masks, present = _wanted_and_present(target, valid_fraction, seed)
        if present and not overwrite:
            raise UserError("The file has masks already, and they differ.", where=str(target), do="--overwrite replaces them")
        copy = target.with_name(f".{target.name}.split")
        try:
            copy_file(target, copy)
            with h5py.File(copy, "r+") as file:
                write_masks(file, masks)
            os.replace(copy, target)
        except OSError as error:
            raise UserError(f"Cannot write the masks: {error.strerror or error}.", where=str(target), do="make room, or the folder writable") from None
        finally:
            copy.unlink(missing_ok=True)
    return masks


def _wanted_and_present(path: Path, valid_fraction: float, seed: int) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    with Dataset(path) as dataset:
        masks = split_names(dataset.demos, valid_fraction=valid_fraction, seed=seed)
        return masks, {key: dataset.masks[key] for key in masks if key in dataset.masks}
