"""Isaac Lab's task ids: of 2.x and 3.x, of a task and of its Mimic environment."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

from mimicctl.errors import UserError
from mimicctl.tasks import canonical_id


def stem_of(task_id: str) -> str:
    """What ids of the same task have in common: `Isaac-Stack-Cube-Franka-IK-Rel-Mimic-v0` and `IsaacContrib-Stack-Cube-Franka-IK-Rel` are one."""
    return re.sub(r"^Isaac-|-v\d+$", "", canonical_id(task_id))


def registered_as(task_id: str, registry: Collection[str]) -> tuple[str, str]:
    """How the installed Isaac Lab calls a task, and the Mimic environment of it.

    Raises:
        UserError: it has no such task, or no Mimic environment of it.
    """
    stem = stem_of(task_id)
    same = [known for known in registry if known.startswith("Isaac") and stem_of(known) == stem]
    mimic = next((known for known in same if "-Mimic" in known), None)
    if mimic is None:
        all_mimic = sorted(known for known in registry if known.startswith("Isaac") and "-Mimic" in known)
        near = difflib.get_close_matches(stem, [stem_of(known) for known in all_mimic], n=1, cutoff=0.4)
        hint = next((known for known in all_mimic if near and stem_of(known) == near[0]), "")
        do = f"did you mean {hint}?" if hint else "its tasks that can be generated for have -Mimic in their names"
        what = (
            f'Isaac Lab has "{same[0]}", but no Mimic environment of it, which says what its subtasks are.' if same else f'Isaac Lab has no task "{task_id}".'
        )
        raise UserError(what, where="--task", do=do)
    return next((known for known in same if "-Mimic" not in known), mimic), mimic
