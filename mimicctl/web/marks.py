"""What a person thinks of each demo, kept or discarded, as masks in the file. No data is ever removed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mimicctl.dataset.masks import DISCARDED, KEPT, change_masks
from mimicctl.dataset.reader import Dataset
from mimicctl.errors import UserError
from mimicctl.web.workspace import version_of

_KEYS = (KEPT, DISCARDED)


def mark_demos(path: Path, changes: Mapping[str, str], version: str) -> dict[str, tuple[str, ...]]:
    """Mark demos "kept" or "discarded", or "" for neither; the others stay as they are.

    Args:
        version: of the file that the person looked at.

    Returns:
        The masks.

    Raises:
        UserError: the file is another one by now or is being written, or there is no such demo or mark.
    """
    unknown = [mark for mark in changes.values() if mark not in (*_KEYS, "")]
    if unknown:
        raise UserError(f'A demo cannot be marked "{unknown[0]}".', do="choose kept, discarded, or none of them")

    def decide(dataset: Dataset) -> dict[str, list[str]]:
        if version_of(path) != version:
            raise UserError("The file has changed since you looked at it, so nothing was marked.", where=str(path), do="look again, then mark")
        missing = [name for name in changes if name not in dataset.demos]
        if missing:
            raise UserError(f"There is no {missing[0]}.", where=str(path), do="look again, then mark")
        before = {name: key for key in _KEYS for name in dataset.masks.get(key, ())}
        now = {**before, **changes}
        return {key: [name for name in dataset.demos if now.get(name) == key] for key in _KEYS}

    return change_masks(path, decide)
