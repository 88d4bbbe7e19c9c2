"""A recording as a LeRobot dataset beside it, and that on the Hugging Face hub."""

from __future__ import annotations

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


def refuse_unfit(repo_id: str) -> None:
    """UserError if what `publish` needs is not installed, or nothing on the hub can have that name."""
    import_pyarrow()
    hub.refuse_misnamed(repo_id)


def publish(recording: Path, repo_id: str, *, anew: bool = False) -> Published:
    """Add what is new in `recording` to `<its name>_lerobot`, and send that, private. Demos that are marked as discarded stay behind.

    Args:
        anew: the recording has taken the place of another one, whose episodes are not to be sent.

    Raises:
        UserError: what is there is of another format, or the hub refuses. Recording and dataset stay, and the message says how to send them later.
    """
    folder = recording.with_name(f"{recording.stem}_lerobot")
    partial = folder.with_name(f"{folder.name}.partial")
    later = f"mimicctl dataset push {folder} --repo-id {repo_id}"
    try:
        to_go_on = not anew and partial.exists() and not folder.exists()
        made = to_lerobot(recording, folder, discarded=False, append=folder.exists() and not anew, resume=to_go_on, overwrite=anew)
    except UserError as error:
        how = "--overwrite" if anew else "--append" if folder.exists() else "--resume" if partial.exists() else ""
        convert = f"mimicctl convert hdf5-to-lerobot --input-file {recording} --output-dir {folder} --no-discarded {how}".rstrip()
        raise _with_a_way(error, f"{convert} && {later}") from None
    try:
        return Published(folder, made.episodes, hub.push(hub.packed(folder), repo_id))
    except UserError as error:
        raise _with_a_way(error, later) from None


def _with_a_way(error: UserError, later: str) -> UserError:
    """The same with the commands that send the recording later."""
    return type(error)(error.what, where=error.where, do=f"{error.do}\n      Nothing that was recorded is lost. To send it later: {later}")
