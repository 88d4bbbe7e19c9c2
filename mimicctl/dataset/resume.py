"""What a batch command does about output that is there already: continue it, replace it, or refuse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.writer import partial_path, refuse_existing
from mimicctl.errors import UserError
from mimicctl.tasks.fingerprint import KEY, changed_parts


def find_unfinished(output: Path, lineage: Mapping[str, Any], *, resume: bool, overwrite: bool) -> bool:
    """Whether there is a run to continue at `partial_path(output)`; if not, the way is free for a new one.

    A finished output is moved back to where it is continued.

    Args:
        lineage: of the run that is asked for; one with another lineage is not continued.

    Raises:
        UserError: there is something, and neither was asked for; or the run to resume was another one.
    """
    partial = partial_path(output)
    found = partial if partial.exists() else output
    if resume and found.exists():
        with Dataset(found, need_demos=False) as dataset:
            _refuse_different_run(dataset, lineage)
        if found == output:
            output.rename(partial)
        return True
    if not overwrite:
        refuse_existing(output)
        if partial.exists():
            raise UserError(
                "An earlier run was interrupted and its demonstrations are still there.",
                where=str(partial),
                do="--resume continues it, --overwrite starts again",
            )
    partial.unlink(missing_ok=True)
    return False


def _decisive(value: Any) -> Any:
    """Of inputs, their hashes: what is said about them (`mimicctl provenance set`) changes nothing that is made of them."""
    if isinstance(value, list):
        return [{k: v for k, v in entry.items() if k not in ("lineage", "demos")} if isinstance(entry, dict) else entry for entry in value]
    return value


def _refuse_different_run(dataset: Dataset, lineage: Mapping[str, Any]) -> None:
    before = dataset.lineage
    now = json.loads(json.dumps(lineage))
    different = [key for key in now if key != KEY and _decisive(before.get(key)) != _decisive(now[key])]
    parts = changed_parts(before, now)
    if different or parts:
        changed = [*different, *(f"the task's {part}" for part in parts)]
        repeat = "repeat the flags of that run" if different else "change the task back"
        raise UserError(
            f"The run to resume was another one: {', '.join(changed)} changed since.",
            where=str(dataset.path),
            do=f"{repeat}, or --overwrite to start again",
        )
