"""Training and validation splits, as robomimic's filter keys: lists of demo names, no copy of the data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mimicctl.dataset.masks import change_masks, without_discarded
from mimicctl.dataset.reader import Dataset, demo_number
from mimicctl.errors import UserError


def split_names(names: Sequence[str], *, valid_fraction: float = 0.2, seed: int = 0) -> dict[str, tuple[str, ...]]:
    """Divide demo names by chance into "train" and "valid"; at least one of each where there are two."""
    order = np.random.default_rng(seed).permutation(len(names))
    count = min(max(round(valid_fraction * len(names)), 1 if valid_fraction else 0), len(names) - 1)
    valid = {names[i] for i in order[:count]}
    ordered = sorted(names, key=demo_number)
    return {"train": tuple(n for n in ordered if n not in valid), "valid": tuple(n for n in ordered if n in valid)}


def split_file(path: str | Path, *, valid_fraction: float = 0.2, seed: int = 0, filter_key: str = "", overwrite: bool = False) -> dict[str, tuple[str, ...]]:
    """Write `mask/train` and `mask/valid`. Demos in `mask/discarded` are in neither.

    Args:
        filter_key: divide the demos of this mask only.

    Raises:
        UserError: the file cannot be read, has no such filter key, or has other masks and `overwrite` is not set.
    """

    def decide(dataset: Dataset) -> dict[str, tuple[str, ...]]:
        masks = split_names(_to_divide(dataset, filter_key), valid_fraction=valid_fraction, seed=seed)
        present = {key: dataset.masks[key] for key in masks if key in dataset.masks}
        if present and present != {key: names for key, names in masks.items() if names} and not overwrite:
            raise UserError("The file has masks already, and they differ.", where=str(dataset.path), do="--overwrite replaces them")
        return masks

    return change_masks(Path(path).expanduser().absolute(), decide)


def _to_divide(dataset: Dataset, filter_key: str) -> tuple[str, ...]:
    if filter_key and filter_key not in dataset.masks:
        having = ", ".join(dataset.masks) or "none"
        raise UserError(f"There is no mask/{filter_key} in the file.", where=str(dataset.path), do=f"filter keys it has: {having}")
    names = without_discarded(dataset, dataset.masks[filter_key] if filter_key else None)
    if not names:
        raise UserError("There is no demonstration to divide: all are discarded.", where=str(dataset.path), do="keep some of them (mimicctl web)")
    return names
