"""A finished dataset folder takes the place of another one. Folders that are something else are never removed."""

from __future__ import annotations

import shutil
from pathlib import Path

from mimicctl.conversion.lerobot.folder import INFO
from mimicctl.errors import UserError


def refuse_stranger(folder: Path) -> None:
    """UserError unless the folder may be replaced: it is a LeRobot dataset, empty, or not there."""
    if folder.exists() and not (folder / INFO).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        what = "There is something else of that name, and not a LeRobot dataset; it is not replaced."
        raise UserError(what, where=str(folder), do="choose another --output-dir")


def put_in_place(work: Path, folder: Path) -> None:
    """Rename; the old dataset goes only when the new one has its name."""
    old = folder.with_name(f".{folder.name}.old")
    if old.exists():
        shutil.rmtree(old)
    if folder.exists():
        folder.rename(old)
    work.rename(folder)
    if old.exists():
        shutil.rmtree(old)
