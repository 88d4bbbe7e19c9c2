"""What is plotted of a demo: numbers over its steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from mimicctl.dataset.reader import Dataset
from mimicctl.tasks import twin_of

_MOST_POINTS = 4000
"""Of a line; longer demos are thinned out."""
_SKETCH_POINTS = 32
_GRIPPER = "gripper"
_LABELS = {
    "rel": ["x", "y", "z", "rx", "ry", "rz", _GRIPPER],
    "abs": ["x", "y", "z", "qx", "qy", "qz", "qw", _GRIPPER],
    "velocity": ["ahead", "left", "turn"],
}


def series_of(dataset: Dataset, name: str) -> dict[str, Any]:
    """Actions, eef positions and gripper as groups of lines at the steps `at`, and signals as the spans [first, last + 1) in which they are true. JSON-able.

    What the gripper is told, open or closed, is a signal too: as a line it would dwarf the others.
    """
    steps = dataset.length(name)
    at = np.unique(np.linspace(0, max(steps - 1, 0), min(steps, _MOST_POINTS)).astype(int)) if steps else np.zeros(0, int)
    groups = [
        {"title": title, "lines": [{"name": label, "values": _rounded(values[at])} for label, values in lines]} for title, lines in _groups(dataset, name)
    ]
    return {"steps": steps, "at": at.tolist(), "hz": dataset.control_hz, "groups": groups, "signals": _signals(dataset, name)}


def _groups(dataset: Dataset, name: str) -> Iterator[tuple[str, list[tuple[str, np.ndarray]]]]:
    group, steps = dataset.group(name), dataset.length(name)
    actions = np.asarray(group["actions"][()], float)
    labels = action_labels(dataset.task_id, actions.shape[1])
    yield "actions", [(label, column) for label, column in zip(labels, actions.T, strict=True) if label != _GRIPPER]
    for eef, path in eef_positions(dataset, name).items():
        yield f"{eef} position [m]", list(zip("xyz", path.T, strict=True))
    gripper = group.get("obs/gripper_pos")
    if isinstance(gripper, h5py.Dataset) and gripper.ndim == 2 and len(gripper) == steps:
        yield "gripper [m]", [(f"finger {i + 1}", column) for i, column in enumerate(np.asarray(gripper[()], float).T)]


def action_labels(task_id: str, width: int) -> list[str]:
    """What the numbers of an action are called: by the task's kind of control, or just counted."""
    task = twin_of(task_id)
    labels = _LABELS[task.control] if task else []
    return labels if len(labels) == width else [str(i) for i in range(width)]


def eef_positions(dataset: Dataset, name: str) -> dict[str, np.ndarray]:
    """Eef name to its way (T, 3), as far as the demo says: from the observations that end in `eef_pos`, or from the annotation."""
    group, steps = dataset.group(name), dataset.length(name)
    observed, poses = group.get("obs", {}), group.get("obs/datagen_info/eef_pose", {})
    found = {key.removesuffix("eef_pos").rstrip("_") or "eef": value for key, value in observed.items() if key.endswith("eef_pos")}
    found = {eef: value for eef, value in found.items() if isinstance(value, h5py.Dataset) and value.shape == (steps, 3)}
    if found:
        return {eef: np.asarray(value[()], float) for eef, value in found.items()}
    return {eef: np.asarray(value[:, :3, 3], float) for eef, value in poses.items() if isinstance(value, h5py.Dataset) and value.shape == (steps, 4, 4)}


def _signals(dataset: Dataset, name: str) -> dict[str, list[list[int]]]:
    """In the order in which they first become true."""
    group = dataset.group(name)
    actions = np.asarray(group["actions"][()])
    info = group.get("obs/datagen_info", {})
    found = {
        signal + suffix: _spans(np.asarray(values[()]).reshape(-1).astype(bool))
        for kind, suffix in (("subtask_start_signals", " starts"), ("subtask_term_signals", ""))
        for signal, values in info.get(kind, {}).items()
    }
    ordered = dict(sorted(found.items(), key=lambda item: item[1] or [[len(actions)]]))
    labels = action_labels(dataset.task_id, actions.shape[1])
    closed = {"closed": _spans(actions[:, labels.index(_GRIPPER)] < 0)} if _GRIPPER in labels else {}
    return closed | ordered


def _spans(true: np.ndarray) -> list[list[int]]:
    """[first, last + 1) of each stretch."""
    beside = np.concatenate([[False], true, [False]])
    return np.flatnonzero(beside[1:] != beside[:-1]).reshape(-1, 2).tolist()


def _rounded(values: np.ndarray) -> list[float | None]:
    """For JSON, which has no numbers that are none."""
    return [round(float(v), 5) if np.isfinite(v) else None for v in values]


def sketch_of(dataset: Dataset, name: str) -> np.ndarray:
    """(32, 3) float32: the way of the first eef in a few points; NaN if it is not known."""
    path = next(iter(eef_positions(dataset, name).values()), None)
    if path is None or not len(path):
        return np.full((_SKETCH_POINTS, 3), np.nan, np.float32)
    return path[np.linspace(0, len(path) - 1, _SKETCH_POINTS).round().astype(int)].astype(np.float32)
