"""Withdrawing demonstrations: all that was made from them is found, planned, and purged or marked."""

from __future__ import annotations

import datetime
import json
import os
import shlex
import zipfile
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mimicctl
from mimicctl.dataset.committed_file import is_being_written
from mimicctl.errors import RunFailed, UserError, listed
from mimicctl.provenance.checkpoints import taint, taint_of
from mimicctl.provenance.graph import Graph, Place
from mimicctl.provenance.purge import Purge, carry_out, plan_purge
from mimicctl.provenance.purge_export import ExportPurge, carry_out_export, plan_export_purge
from mimicctl.provenance.search import Search
from mimicctl.provenance.workspace import DatasetFile, Run

RECORDS = "withdrawals"
"""Folder of the records of withdrawals, in the workspace."""


@dataclass(frozen=True)
class Withdrawal:
    """What is to be done.

    Attributes:
        asked: whose, or which, demos are withdrawn, in words.
        withdrawn: sha256 of the demos that are, and of all that was made from them.
        places: all of them that lie in the workspace.
        purges: datasets, LeRobot's among them, to be written anew, what was derived from others first: what is left of an interrupted withdrawal is found again.
        removed: files to be removed: videos of these demos, and normalisation parameters that were taken from them.
        tainted: checkpoints, and states to continue training from.
        kept: what was made with such a checkpoint (evaluations, films); it stays, since it is about a policy and not about a demo.
        ancestors: demos that a withdrawn one was made from, and that are not withdrawn by this.
        unseen: file to why it could not be told what it was made from.
        retrain: commands.
    """

    asked: str
    withdrawn: frozenset[str]
    places: tuple[Place, ...]
    purges: tuple[Purge | ExportPurge, ...]
    removed: tuple[Path, ...]
    tainted: tuple[Path, ...]
    kept: tuple[Path, ...]
    ancestors: tuple[Place, ...]
    unseen: dict[Path, str]
    retrain: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "asked": self.asked,
            "withdrawn": sorted(self.withdrawn),
            "datasets": [
                {"file": str(purge.path), "demos": dict(purge.demos), "entries_of_the_lineage": purge.records, "attempts": purge.attempts}
                | ({"encoded_again": list(purge.encoded)} if isinstance(purge, ExportPurge) else {})
                for purge in self.purges
            ],
            "removed": list(map(str, self.removed)),
            "tainted": list(map(str, self.tainted)),
            "kept": list(map(str, self.kept)),
            "made_from": [f"{place.file}:{place.demo}" for place in self.ancestors],
            "unseen": {str(path): why for path, why in self.unseen.items()},
            "retrain": list(self.retrain),
        }


def plan(graph: Graph, asked: str, sha256s: Iterable[str]) -> Withdrawal:
    """All that has to do with some demos and with whatever was made from them."""
    first = list(sha256s)
    withdrawn = frozenset([*first, *graph.descendants(first)])
    places = tuple(sorted(place for place, sha256 in graph.at.items() if sha256 in withdrawn))
    purges: list[Purge | ExportPurge] = [
        purge
        for file in graph.workspace.datasets
        if not (purge := plan_purge(file.path, withdrawn, {demo.name: demo.sha256 for demo in file.demos if demo.sha256 in withdrawn})).empty
    ]
    exports: dict[Path, list[DatasetFile]] = {}
    for file in graph.workspace.exports:
        exports.setdefault(file.path, []).append(file)
    purges += [purge for path, files in exports.items() if not (purge := plan_export_purge(path, files, withdrawn)).empty]
    depth = {purge.path: max((len(graph.ancestors([sha256])) for sha256 in purge.demos.values()), default=len(graph.nodes)) for purge in purges}
    runs = list(graph.runs_of(withdrawn))
    ancestors = {place for node in graph.ancestors(first).values() for place in node.places} - set(places)
    return Withdrawal(
        asked=asked,
        withdrawn=withdrawn,
        places=places,
        purges=tuple(sorted(purges, key=lambda purge: (-depth[purge.path], purge.path))),
        removed=tuple(sorted([*(video.path for video in graph.videos_of(withdrawn)), *(path for run in runs for path in run.derived if _is_statistic(path))])),
        tainted=tuple(sorted(checkpoint.path for checkpoint in graph.checkpoints_of(withdrawn) if taint_of(checkpoint.path) is None)),
        kept=tuple(sorted(path for run in runs for path in run.derived if not _is_statistic(path))),
        ancestors=tuple(sorted(ancestors)),
        unseen=dict(graph.workspace.unseen),
        retrain=tuple(map(retraining, runs)),
    )


def _is_statistic(path: Path) -> bool:
    return path.name == "normalization_params.txt"


def of_operator(graph: Graph, operator: str) -> list[str]:
    """
    Raises:
        UserError: no lineage names such an operator.
    """
    found = graph.recorded_by(operator)
    if not found:
        known = ", ".join(f"{name} ({count})" for name, count in sorted(graph.operators().items())) or "none"
        raise UserError(f'No lineage here names an operator "{operator}".', where=str(graph.workspace.folder), do=f"operators that are named: {known}")
    return found


def carry_out_all(
    graph: Graph, withdrawal: Withdrawal, *, at: datetime.datetime | None = None, on_step: Callable[[str], None] = lambda what: None
) -> tuple[Path, list[Path]]:
    """Do what is planned, checkpoints first and recordings last. Returns the record, and files that still hold bytes of withdrawn demos.

    Args:
        on_step: called with what is done next.

    Raises:
        UserError: a dataset is being written. Nothing was done.
        RunFailed: a file could not be read or written. What was done stays; doing it again goes on.
    """
    busy = [str(purge.path) for purge in withdrawal.purges if is_being_written(purge.path)]
    if busy:
        raise UserError("Another process is writing to datasets that are to be purged.", where=listed(busy), do="wait for it, or stop it; nothing was done")
    now = (at or datetime.datetime.now(datetime.UTC)).isoformat(timespec="seconds")
    record = _new_record(graph.workspace.folder, now)
    facts = {"record": record.name, "mimicctl": mimicctl.__version__, "at": now, "state": "begun", **withdrawal.as_dict()}
    _write_record(record, facts)
    search = Search.of(graph, withdrawal.withdrawn)
    try:
        for path in withdrawal.tainted:
            on_step(f"mark {graph.workspace.named(path)}")
            run = next((run for run in graph.workspace.runs if run.folder in path.parents), None)
            taint(path, {"record": record.name, "at": now, "why": f"see {RECORDS}/{record.name}", **({"retrain": retraining(run)} if run else {})})
        for path in withdrawal.removed:
            on_step(f"remove {graph.workspace.named(path)}")
            path.unlink(missing_ok=True)
        for purge in withdrawal.purges:
            on_step(f"purge {graph.workspace.named(purge.path)}")
            (carry_out_export if isinstance(purge, ExportPurge) else carry_out)(purge, withdrawal.withdrawn, record.name, now)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunFailed(f"The withdrawal is not complete: {reason}.", where=str(record), do="mend that, and withdraw again: it goes on") from None
    on_step("search for what is left")
    left = search.files_with_rests(path for path in _everything(graph.workspace.folder) if path != record)
    _write_record(record, {**facts, "state": "done", "bytes_still_found_in": list(map(str, left))})
    return record, left


def _everything(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _new_record(folder: Path, now: str) -> Path:
    records = folder / RECORDS
    records.mkdir(exist_ok=True)
    stem = "".join(c for c in now if c.isdigit())[:14]
    names = (f"{stem}{f'-{i}' if i else ''}.json" for i in range(1000))
    return next(path for name in names if not (path := records / name).exists())


def _write_record(path: Path, facts: dict[str, Any]) -> None:
    """For its owner alone: it may name people."""
    partial = path.with_name(f".{path.name}.partial")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(json.dumps(facts, indent=1))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def retraining(run: Run) -> str:
    """The command that trains a run anew, on what is left of its dataset."""
    facts, recipe = run.facts, run.facts.get("recipe") or {}
    dataset = facts.get("dataset") or {}
    words = ["mimicctl", "train", "--dataset", str(dataset.get("from") or dataset.get("file", "DATASET"))]
    if facts.get("algo"):
        words += ["--algo", str(facts["algo"])]
        recipe = facts.get("settings") or {}
    if str(recipe.get("description", "")).startswith("robomimic config"):
        words += ["--config-json", str(run.folder / "config.json")]
    elif recipe.get("name"):
        words += ["--recipe", str(recipe["name"])]
    words += ["--log-dir", str(run.folder.parent), "--name", run.folder.name]
    for key in ("steps", "epochs", "batch_size", "learning_rate", "save_every"):
        if recipe.get(key) is not None:
            words += [f"--{key.replace('_', '-')}", str(recipe[key])]
    for option in recipe.get("options") or ():
        words += ["--lerobot", str(option)]
    if facts.get("action_range"):
        words.append("--normalize-actions")
    if facts.get("seed") is not None:
        words += ["--seed", str(facts["seed"])]
    return shlex.join([*words, "--overwrite"])


def demos_named(graph: Graph, named: Collection[str]) -> list[str]:
    """sha256 of demos that are given as FILE:demo_3.

    Raises:
        UserError: one is not given so, or is not there.
    """
    found = []
    for text in named:
        file, colon, demo = text.rpartition(":")
        if not colon or not file:
            raise UserError(f'"{text}" does not say which demo of which file.', where="--demo", do="name it as in --demo datasets/dataset.hdf5:demo_3")
        found.append(graph.find(file, demo).sha256)
    return found
