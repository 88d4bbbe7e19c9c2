"""Filter keys of a file that is there already: lists of demo names, changed without touching the data.

Two of them are a person's judgement (`mimicctl web`): `kept` and `discarded`. What is discarded stays in the file, and nothing is learnt,
annotated or generated from it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import h5py

from mimicctl.dataset.committed_file import copy_file, write_lock
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.writer import write_masks
from mimicctl.errors import UserError

KEPT, DISCARDED = "kept", "discarded"


def without_discarded(dataset: Dataset, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """`names` (all demos) but for those in `mask/discarded`."""
    discarded = set(dataset.masks.get(DISCARDED, ()))
    return tuple(name for name in (dataset.demos if names is None else names) if name not in discarded)


def change_masks(path: Path, decide: Callable[[Dataset], Mapping[str, Sequence[str]]]) -> dict[str, tuple[str, ...]]:
    """Set the filter keys that `decide` names; one without demos is removed. Others stay as they are.

    The file is changed in a copy that then takes its place, so that an interruption leaves one or the other whole.

    Args:
        decide: what the keys should be, from the file as it is. It is asked again once nobody else can change the file, and may refuse.

    Raises:
        UserError: the file cannot be read or written, or another process is writing it.
    """
    wanted, differs = _decided(path, decide)
    if not differs:
        return wanted
    # A recording that goes on in the meantime would be lost with the version that is replaced here.
    with write_lock(path):
        wanted, _ = _decided(path, decide)
        copy = path.with_name(f".{path.name}.masks")
        try:
            copy_file(path, copy)
            with h5py.File(copy, "r+") as file:
                write_masks(file, wanted)
            os.replace(copy, path)
        except OSError as error:
            raise UserError(f"Cannot write the masks: {error.strerror or error}.", where=str(path), do="make room, or the folder writable") from None
        finally:
            copy.unlink(missing_ok=True)
    return wanted


def _decided(path: Path, decide: Callable[[Dataset], Mapping[str, Sequence[str]]]) -> tuple[dict[str, tuple[str, ...]], bool]:
    """What is wanted, and whether the file has something else."""
    with Dataset(path) as dataset:
        wanted = {key: tuple(names) for key, names in decide(dataset).items()}
        return wanted, any(dataset.masks.get(key, ()) != names for key, names in wanted.items())
