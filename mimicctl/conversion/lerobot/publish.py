"""A recording as a LeRobot dataset beside it, and that on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mimicctl.conversion.lerobot import hub
from mimicctl.conversion.lerobot.parquet import import_pyarrow
from mimicctl.conversion.lerobot.to_lerobot import to_lerobot
from mimicctl.errors import UserError


@dataclass(frozen=True)
class Published:
    """What was sent.

    Attributes:
        folder: the LeRobot dataset.
        episodes: of all sessions.
    """

    folder: Path
    episodes: int
    address: str


def require_packages() -> None:
    """UserError if what `publish` needs is not installed."""
    import_pyarrow()
    hub.import_hub()


def publish(recording: Path, repo_id: str, *, on_progress: Callable[[int, int], None] = lambda done, total: None) -> Published:
    """Add what is new in `recording` to `<its name>_lerobot`, and send that, private. Demos that are marked as discarded stay behind.

    Raises:
        UserError: what is there is of another format, or the hub refuses. Recording and dataset stay, and the message says how to send them later.
    """
    folder = recording.with_name(f"{recording.stem}_lerobot")
    begun = folder.with_name(f"{folder.name}.partial").exists()
    try:
        made = to_lerobot(recording, folder, discarded=False, append=folder.exists(), resume=begun and not folder.exists(), on_progress=on_progress)
        address = hub.push(hub.packed(folder), repo_id)
    except UserError as error:
        convert = f"mimicctl convert hdf5-to-lerobot --input-file {recording} --output-dir {folder}{' --append' if folder.exists() else ''}"
        later = f"mimicctl dataset push {folder} --repo-id {repo_id}"
        do = f"{error.do}\n      Nothing that was recorded is lost. To send it later: {convert} && {later}"
        raise UserError(error.what, where=error.where, do=do) from None
    return Published(folder, made.episodes, address)
