"""What a task is, as a few characters for each of its parts: they tell whether two files were made on the same one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from mimicctl.tasks.spec import TaskSpec

KEY = "task_spec"
"""Of a fingerprint in a file's lineage."""

_ELSEWHERE = {"task_id", "subtasks", "constraints", "generation", "isaaclab"}
"""In the lineage in full; `generation` among the settings, of `isaaclab` what matters, as its physics."""

_SWITCHES = {"swing_cancellation"}
"""Not the task, but how it is run: `conditions` say what has changed."""

_NO_MATTER = {"description", "obs_layout", "sources_of", "source_demos", "prompt_templates"}
"""Nothing that happens in a trial depends on these."""


def fingerprint(task: TaskSpec) -> dict[str, str]:
    """Part of a task to a hash of its contents; parts that are as they are by default are left out."""
    return {name: _hash(value) for name, value in _said(task) if name not in _ELSEWHERE | _NO_MATTER}


def changed_parts(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Parts in which the tasks of two lineages differ; none where one of them has no fingerprint, as in files from before there were any."""
    if KEY not in before or KEY not in now:
        return []
    return [name for name in {**now[KEY], **before[KEY]} if before[KEY].get(name) != now[KEY].get(name)]


def changes_since(lineage: Mapping[str, Any], task: TaskSpec) -> str:
    """A sentence about the parts in which a task has changed since data with this lineage was made on it; "" if none is known."""
    now = {KEY: fingerprint(task)}
    parts = dict.fromkeys(part for made in _made_on(lineage, task.task_id) for part in changed_parts(made, now) if part not in _SWITCHES)
    return f"{task.task_id} has changed since the data was made: its {', '.join(parts)}." if parts else ""


def _made_on(lineage: Mapping[str, Any], task_id: str) -> Iterator[Mapping[str, Any]]:
    """The latest files with a fingerprint that data comes from: several if it was merged."""
    if KEY in lineage:
        if lineage.get("task") == task_id:
            yield lineage
        return
    for part in lineage.get("inputs", ()):
        yield from _made_on(part.get("lineage") or {}, task_id)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(_plain(value), sort_keys=True).encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        # With its kind, since goals of different kinds may have the same fields.
        return {"": type(value).__name__} | {name: _plain(inner) for name, inner in _said(value)}
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return float(value) if type(value) is int else value


def _said(value: Any) -> Iterator[tuple[str, Any]]:
    """Fields that are not as they are by default, so that a field which a later version adds changes no hash."""
    for item in dataclasses.fields(value):
        default = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
        if getattr(value, item.name) != default:
            yield item.name, getattr(value, item.name)
