"""`mimicctl dataset push` and `pull`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from mimicctl.cli.common import Json, Outcome, Overwrite, note, show, size_text

RepoId = Annotated[str, typer.Option("--repo-id", help="On the hub: <user or organisation>/<name>.")]


def push(
    folder: Annotated[Path, typer.Argument(help="LeRobot dataset (mimicctl convert hdf5-to-lerobot).")],
    repo_id: RepoId,
    public: Annotated[bool, typer.Option("--public", help="For everybody to see (private).")] = False,
    sidecar: Annotated[bool, typer.Option("--sidecar/--no-sidecar", help="With the folder mimicctl: states, lineage, operators.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Send a LeRobot dataset to the Hugging Face hub, private unless you say otherwise."""
    from mimicctl.conversion.lerobot import hub

    parcel = hub.packed(folder, sidecar=sidecar)
    if parcel.operators:
        note(f"The lineage names {', '.join(parcel.operators)} as operators; --no-sidecar leaves it out.")
    facts = [("folder", parcel.folder), ("to", f"{repo_id}, {'public' if public else 'private'}"), ("episodes", parcel.episodes)]
    facts.append(("files", f"{len(parcel.files)}, {size_text(parcel.size)}"))
    data = {"folder": str(parcel.folder), "repo_id": repo_id, "public": public, "files": [str(path) for path in parcel.files], "size": parcel.size}
    if dry_run:
        show(Outcome("Nothing was sent. This would be:", facts, data=data | {"sent": False}), as_json)
        return
    address = hub.push(parcel, repo_id, public=public)
    show(Outcome("Sent.", [*facts, ("address", address)], data=data | {"sent": True, "address": address}), as_json)


def pull(
    repo_id: RepoId,
    output_dir: Annotated[Path, typer.Option(help="Folder for the dataset.")] = Path("datasets/lerobot"),
    revision: Annotated[Optional[str], typer.Option(help="Branch, tag or commit (main).", show_default=False)] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Fetch a LeRobot dataset (v3.0) from the Hugging Face hub."""
    from mimicctl.conversion.lerobot import hub

    dataset = hub.pull(repo_id, output_dir, revision=revision, overwrite=overwrite)
    facts = [("folder", dataset.root), ("episodes", len(dataset.episodes)), ("frames", dataset.info["total_frames"])]
    data = {"folder": str(dataset.root), "episodes": len(dataset.episodes), "frames": dataset.info["total_frames"]}
    show(Outcome("Fetched.", facts, next_command=f"mimicctl convert lerobot-to-hdf5 --input-dir {output_dir}", data=data), as_json)
