"""What is in a dataset file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mimicctl.dataset.dialect import suspicion, understood
from mimicctl.dataset.reader import Dataset

_SIGNALS = ("obs/datagen_info/subtask_term_signals", "datagen_info/subtask_term_signals")
"""Isaac Lab's and MimicGen's."""


@dataclass(frozen=True)
class DatasetInfo:
    """A summary.

    Attributes:
        understood: whose conventions the file follows, and what is in it, as a sentence.
        suspicion: a sentence if its quaternions look like another order than it says.
        lengths: control steps of each demo.
        keys: path below a demo to (shape without the first axis, dtype), from the first demo.
        succeeded: demos whose attribute says so.
        annotated: demos with subtask signals.
        attempts, attempts_succeeded: of the generation run that made it; 0 for other files.
    """

    path: Path
    size: int
    task_id: str
    format_version: int
    understood: str
    suspicion: str
    lengths: dict[str, int]
    keys: dict[str, tuple[tuple[int, ...], str]]
    succeeded: int
    annotated: int
    masks: dict[str, int]
    attempts: int
    attempts_succeeded: int
    lineage: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        values = dict(vars(self))
        values["path"] = str(self.path)
        values["keys"] = {key: {"shape": list(shape), "dtype": dtype} for key, (shape, dtype) in self.keys.items()}
        values["demos"] = len(self.lengths)
        values["total_steps"] = sum(self.lengths.values())
        return values


def describe(path: str | Path) -> DatasetInfo:
    """Summarise a file without loading its arrays.

    Raises:
        UserError: it cannot be read.
    """
    with Dataset(path, need_demos=False) as dataset:
        attempts = dataset.attempts()
        return DatasetInfo(
            path=dataset.path,
            size=dataset.path.stat().st_size,
            task_id=dataset.task_id,
            format_version=dataset.format_version,
            understood=understood(dataset),
            suspicion=suspicion(dataset),
            lengths=dataset.lengths,
            keys=keys_of(dataset.group(dataset.demos[0])) if dataset.demos else {},
            succeeded=sum(bool(dataset.attributes(name).get("success", False)) for name in dataset.demos),
            annotated=sum(any(path in dataset.group(name) for path in _SIGNALS) for name in dataset.demos),
            masks={key: len(names) for key, names in dataset.masks.items()},
            attempts=len(attempts),
            attempts_succeeded=sum(bool(attempt.get("success")) for attempt in attempts),
            lineage=dataset.lineage,
        )


def keys_of(demo: h5py.Group) -> dict[str, tuple[tuple[int, ...], str]]:
    """Path of every array of a demo to its shape without the first axis and its dtype."""
    keys: dict[str, tuple[tuple[int, ...], str]] = {}

    def visit(path: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            keys[path] = (tuple(item.shape or ())[1:], str(np.dtype(item.dtype)))

    demo.visititems(visit)
    return keys
