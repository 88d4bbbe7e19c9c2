"""LeRobot datasets to the Hugging Face hub and from it. Nothing else in this project speaks to it, and nothing goes there but by `push`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mimicctl.conversion.lerobot.folder import VERSION, LeRobotFolder
from mimicctl.conversion.lerobot.replacing import put_in_place, refuse_stranger
from mimicctl.conversion.lerobot.sidecar import FOLDER, FOLDERS, Sidecar
from mimicctl.dataset.reader import json_object
from mimicctl.errors import RunFailed, UserError, listed
from mimicctl.schema import LINEAGE_ATTR

_INSTALL = 'pip install "mimicctl[hub]"'
_LOGIN = "hf auth login, with a token that may do this"


@dataclass(frozen=True)
class Parcel:
    """What a push would send.

    Attributes:
        files: paths in the dataset.
        size: bytes of all.
        operators: people whom the sidecar names.
    """

    folder: Path
    files: tuple[Path, ...]
    size: int
    operators: tuple[str, ...]
    episodes: int


def packed(folder: str | Path, *, sidecar: bool = True) -> Parcel:
    """What there is to push.

    Args:
        sidecar: with the folder `mimicctl`.

    Raises:
        UserError: it is no dataset of this version, or files of it are damaged.
    """
    dataset = LeRobotFolder(folder)
    if problems := dataset.damage():
        raise UserError("Files of the dataset are damaged; nothing was sent.", where=listed(problems), do="make it again")
    root = dataset.root
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)]
    if not sidecar:
        files = [path for path in files if path.relative_to(root).parts[0] != FOLDER]
    operators = _operators(root) if sidecar else ()
    return Parcel(root, tuple(path.relative_to(root) for path in files), sum(path.stat().st_size for path in files), operators, len(dataset.episodes))


def push(parcel: Parcel, repo_id: str, *, public: bool = False) -> str:
    """Upload a dataset; files that are there already with the same content are not sent again. Returns its address.

    Files of the dataset that was there before, and is not in this one, go in the same commit, so that what was withdrawn is not found there any more; the hub keeps earlier commits.

    Args:
        repo_id: `<user or organisation>/<name>`; made, private, if it is not there.
        public: make it for everybody, or add to one that is.

    Raises:
        UserError: the hub refuses, or the repository is public and that was not asked for.
    """
    refuse_misnamed(repo_id)
    hub = import_hub()
    with _hub_errors(repo_id):
        api = hub.HfApi()
        address = str(api.create_repo(repo_id, repo_type="dataset", private=not public, exist_ok=True))
        if not public and api.repo_info(repo_id, repo_type="dataset").private is False:
            raise UserError("The repository is public; nothing was sent.", where=address, do="--public to send it there, or name another --repo-id")
        names = [str(path) for path in parcel.files]
        api.upload_folder(
            repo_id=repo_id,
            repo_type="dataset",
            folder_path=parcel.folder,
            allow_patterns=names,
            delete_patterns=[f"{name}/*" for name in FOLDERS],
            commit_message=f"mimicctl: {parcel.episodes} episodes",
        )
        if "README.md" not in names:
            api.upload_file(
                repo_id=repo_id, repo_type="dataset", path_or_fileobj=_card(parcel).encode(), path_in_repo="README.md", commit_message="Dataset card"
            )
        # LeRobot looks for the version that it can read among the tags.
        if any(tag.name == VERSION for tag in api.list_repo_refs(repo_id, repo_type="dataset").tags):
            api.delete_tag(repo_id, tag=VERSION, repo_type="dataset")
        api.create_tag(repo_id, tag=VERSION, repo_type="dataset")
    return address


def pull(repo_id: str, folder: str | Path, *, revision: str | None = None, overwrite: bool = False) -> LeRobotFolder:
    """Download a dataset. An interrupted download goes on with the files that are there.

    Args:
        folder: gets its name when everything is there.
        revision: branch, tag or commit.

    Raises:
        UserError: the hub refuses, it is no dataset of this version, or the folder exists.
    """
    hub = import_hub()
    target = Path(folder).expanduser().absolute()
    if target.exists() and not overwrite:
        raise UserError("The folder exists already.", where=str(target), do="--overwrite replaces it, or choose another --output-dir")
    refuse_stranger(target)
    partial = target.with_name(f"{target.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    with _hub_errors(repo_id):
        hub.snapshot_download(repo_id, repo_type="dataset", revision=revision, local_dir=partial)
    dataset = LeRobotFolder(partial)
    if problems := dataset.damage():
        raise RunFailed("Files of the dataset are damaged.", where=listed(problems), do="pull it again; if that does not help, it is so on the hub")
    shutil.rmtree(partial / ".cache", ignore_errors=True)  # what the download knew of itself
    put_in_place(partial, target)
    return LeRobotFolder(target)


def refuse_misnamed(repo_id: str) -> None:
    """UserError if nothing on the hub can have that name, or huggingface_hub is not installed."""
    import_hub()
    from huggingface_hub.utils import validate_repo_id

    with _hub_errors(repo_id):
        validate_repo_id(repo_id)
    if "/" not in repo_id:  # the hub would put it under one's own name, and not find it there
        raise _misnamed(repo_id)


def import_hub() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError:
        raise UserError("The hub needs huggingface_hub, which is not installed.", do=_INSTALL) from None
    return huggingface_hub


@contextmanager
def _hub_errors(repo_id: str) -> Iterator[None]:
    """What the hub and its client say, as an error of ours."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        kind = type(error).__name__
        if status in (401, 403) or kind == "LocalTokenNotFoundError":
            raise UserError("The hub does not know you, or you may not do this there.", where=repo_id, do=_LOGIN) from None
        if status == 404:
            raise UserError("The hub has no such dataset, or it is not yours to see.", where=repo_id, do=f"check the name; {_LOGIN}") from None
        if kind == "HFValidationError":
            raise _misnamed(repo_id) from None
        said = str(error).strip().splitlines()
        raise RunFailed(
            f"The hub cannot be reached, or gave up ({kind}: {said[0] if said else ''}).", where=repo_id, do="try again later; what was sent is not sent again"
        ) from None


def _misnamed(repo_id: str) -> UserError:
    return UserError("This is no name of a dataset on the hub.", where=repo_id, do="give <user>/<name>")


def _operators(root: Path) -> tuple[str, ...]:
    """Whoever is called an operator anywhere in the lineage of the episodes."""
    with Sidecar(root) as sidecar:
        lineages = [json_object(demo.attrs.get(LINEAGE_ATTR)) for demo in sidecar.demos()]
    found: dict[str, None] = {}

    def look(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(operator := value.get("operator"), str) and operator:
                found[operator] = None
            for inner in value.values():
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    look(lineages)
    return tuple(found)


def _card(parcel: Parcel) -> str:
    """What the hub needs to show the table, and no more."""
    dataset = LeRobotFolder(parcel.folder)
    tasks = "\n".join(f"- {task}" for task in dataset.tasks)
    return f"""---
task_categories: [robotics]
tags: [LeRobot]
configs:
- config_name: default
  data_files: data/*/*.parquet
---

{len(dataset.episodes)} episodes, {dataset.info["total_frames"]} frames at {dataset.fps:g} frames per second, robot {dataset.info.get("robot_type")}.

{tasks}
"""
