"""Rollouts on disk as they are finished, so that an evaluation that was cut off goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mimicctl.dataset.reader import file_sha256
from mimicctl.errors import UserError
from mimicctl.evaluation.robust import Cell
from mimicctl.evaluation.rollouts import Rollout
from mimicctl.tasks.fingerprint import KEY, changed_parts


class Journal:
    """A file of JSON lines: what is evaluated, then a rollout a line. A context manager.

    Args:
        identity: what must be the same for rollouts to count together.
        checkpoints: told apart by their content, so that a folder may move and a retrained checkpoint is noticed.
        resume: keep the rollouts that are there.
        overwrite: begin anew.

    Attributes:
        done: cell to the rollouts that were there, by number.

    Raises:
        UserError: the file exists and neither was asked for, or it is of another evaluation.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], checkpoints: Sequence[Path], *, resume: bool, overwrite: bool) -> None:
        if resume and overwrite:
            raise UserError("An evaluation is either continued or replaced.", where="--resume --overwrite", do="give one of them")
        if path.exists() and not (resume or overwrite):
            raise UserError("This was evaluated before.", where=str(path), do="--resume continues it, --overwrite replaces it, --log-dir puts it elsewhere")
        self._digests = {checkpoint: file_sha256(checkpoint) for checkpoint in checkpoints}
        self.done: dict[Cell, dict[int, Rollout]] = {}
        whole = self._read(path, identity) if resume and path.exists() else []
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without the half line that a kill may have left; beside the file and renamed, so that a kill now loses nothing.
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text("".join(f"{line}\n" for line in whole or [json.dumps(dict(identity))]))
        partial.replace(path)
        self._file = open(path, "a", encoding="utf-8")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def add(self, cell: Cell, rollout: Rollout) -> None:
        line = {"seed": cell.seed, "setting": cell.setting, "checkpoint": self._digests[cell.checkpoint], **asdict(rollout)}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def _read(self, path: Path, identity: Mapping[str, Any]) -> list[str]:
        """Fill `done`; the whole lines of the file."""
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        try:
            begun = json.loads(lines[0]) if lines else dict(identity)
            entries = [json.loads(line) for line in lines[1:]]
            rollouts = [Rollout(*(entry[key] for key in ("index", "success", "reached", "steps"))) for entry in entries]
            places = [(entry["seed"], entry["setting"], entry["checkpoint"]) for entry in entries]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"The rollouts of the earlier run cannot be read ({error}).", where=str(path), do="--overwrite starts again") from None
        changed = [f"  {key}: {begun.get(key)} then, {value} now" for key, value in identity.items() if key != KEY and begun.get(key) != value]
        changed += [f"  the task: its {part} has changed" for part in changed_parts(begun, identity)]
        if changed:
            what = "\n".join(["This was begun with other settings.", *changed])
            raise UserError(what, where=str(path), do="give those, --overwrite to start again, or another --log-dir")
        named = {digest: checkpoint for checkpoint, digest in self._digests.items()}
        for (seed, setting, digest), rollout in zip(places, rollouts, strict=True):
            if digest in named:
                self.done.setdefault(Cell(seed, setting, named[digest]), {})[rollout.index] = rollout
        return lines
