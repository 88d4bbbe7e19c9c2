"""Whether what lies in a workspace is still what was once written, and was made from what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mimicctl.dataset.reader import Dataset, file_sha256
from mimicctl.dataset.seals import Seal, attributes_sha256, demo_sha256, lineage_is_sealed, seals_of
from mimicctl.errors import listed
from mimicctl.provenance.checkpoints import demos_in, facts_of
from mimicctl.provenance.lineages import inputs, table
from mimicctl.provenance.workspace import DatasetFile, Workspace

_SAME_NAMES = ("mimicctl dataset render", "mimicctl dataset convert-dialect")
"""Commands that make files whose demos are called as those they are made from."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was, or (a note) that nobody can tell.

    Attributes:
        demo: "" if it is about the file as a whole.
    """

    severity: Literal["error", "note"]
    file: Path
    demo: str
    what: str


def verify(workspace: Workspace, files: Sequence[DatasetFile] | None = None, on_demo: Callable[[], None] = lambda: None) -> Iterator[Finding]:
    """Read every demo again and compare it with its seal, then each file with those that it says it was made from.

    Args:
        files: look into these datasets alone; None for all, and the runs too.
        on_demo: called as each demo is read.
    """
    known = _Known(workspace)
    for file in workspace.datasets if files is None else files:
        yield from _seals(file, on_demo)
        yield from _log(file)
        yield from _parents(file, known)
        yield from _inputs(file, known)
    if files is not None:
        return
    for run in workspace.runs:
        for checkpoint in workspace.checkpoints:
            if checkpoint.run != run.folder or not (facts := facts_of(checkpoint.path)):
                continue
            if demos_in(facts) != demos_in(run.facts):
                yield Finding(
                    "error",
                    checkpoint.path,
                    "",
                    "was trained on other demos than its run says: another checkpoint has taken its place, or its lineage.json was changed",
                )
    for path, why in workspace.unseen.items():
        yield Finding("note", path, "", why)


# A file and its seals -----------------------------------------------------------------------------------------


def _seals(file: DatasetFile, on_demo: Callable[[], None]) -> Iterator[Finding]:
    with Dataset(file.path, need_demos=False) as dataset:
        if not dataset.demos and not dataset.seals:
            return
        hdf5 = next(iter(dataset.group(name).file for name in dataset.demos), None)
        rows = seals_of(hdf5) if hdf5 is not None else tuple(dataset.seals.values())
        if not rows:
            yield Finding("note", file.path, "", f"none of its {len(dataset)} demos has a seal: another program or an earlier version wrote it")
            return
        yield from _chain(file.path, rows)
        for name in dataset.demos:
            on_demo()
            seal = dataset.seals.get(name)
            if seal is None:
                yield Finding("error", file.path, name, "has no seal: it was put in later, by another program")
                continue
            if dataset.demo_sha256(name) != seal.content:
                yield Finding("error", file.path, name, "was edited: its arrays are not those that were written")
            if attributes_sha256(dataset.group(name)) != seal.attributes:
                yield Finding("error", file.path, name, "its attributes were changed (lineage, success, seed or num_samples)")
        for name in dataset.seals.keys() - set(dataset.demos):
            yield Finding("error", file.path, name, "was removed, without mimicctl provenance withdraw")
        if hdf5 is not None and not lineage_is_sealed(hdf5):
            yield Finding("error", file.path, "", "the lineage of the file was changed")


def _chain(path: Path, rows: tuple[Seal, ...]) -> Iterator[Finding]:
    before = ""
    for i, row in enumerate(rows):
        if row.chained(before) != row.chain:
            after = f"after that of {rows[i - 1].demo}" if i else "at the beginning"
            yield Finding("error", path, row.demo, f"the chain of seals is broken {after}: this seal was replaced, or one before it taken out")
        before = row.chain


# A file and what it says it is made of ------------------------------------------------------------------------


def _log(file: DatasetFile) -> Iterator[Finding]:
    """Generated demos against the log of attempts, and against the table of source demos: a forged parent has to be forged everywhere."""
    with Dataset(file.path, need_demos=False) as dataset:
        trials = {attempt.get("trial"): attempt for attempt in dataset.attempts()}
    # A file that was converted there and back has the generated one among its inputs.
    entries = [nearer for entry in inputs(file.lineage) for nearer in (entry, *inputs(entry.get("lineage") or {}))] if trials else []
    tables = [found for entry in entries if (found := table(entry))]
    for demo in file.demos:
        attempt = trials.get(demo.lineage.get("trial"))
        if attempt is None:
            continue
        if attempt.get("sources") != demo.lineage.get("sources"):
            yield Finding("error", file.path, demo.name, f"says it was made from {_names(demo.lineage)}; the log of its trial says {_names(attempt)}")
        claimed = demo.lineage.get("source_sha256")
        for name, sha256 in claimed.items() if isinstance(claimed, dict) else ():
            entry = next((known[name] for known in tables if name in known), None)
            if entry is None or entry.get("sha256") != sha256:
                yield Finding("error", file.path, demo.name, f"names a source {name} ({sha256[:12]}) that was not among those of the run")


def _names(told: Mapping[str, Any]) -> str:
    sources = told.get("sources")
    each = sources.values() if isinstance(sources, dict) else [sources or ["nothing"]]
    return ", ".join(dict.fromkeys(str(name) for names in each for name in names))


def _parents(file: DatasetFile, known: _Known) -> Iterator[Finding]:
    """Copies share the motion of what they are copies of, where that lies here."""
    if file.lineage.get("made_by") == "mimicctl dataset convert-dialect":
        return  # actions may be in other conventions now
    with Dataset(file.path, need_demos=False) as dataset:
        for demo in file.demos:
            said = demo.lineage.get("parent") if isinstance(demo.lineage.get("parent"), dict) else {}
            noted, own = str(said.get("actions_sha256") or ""), ""
            parent = known.actions_of(demo.parent) if demo.parent else ""
            if noted or parent:
                own = _actions_sha256(dataset, demo.name)
            if noted and noted != own:
                yield Finding("error", file.path, demo.name, f"says it was made from {said.get('demo')} with other actions than its own: a forged parent")
            elif parent and parent != own:
                yield Finding("error", file.path, demo.name, f"does not move as {known.name_of(demo.parent)}, which it says it was made from: a forged parent")


def _actions_sha256(dataset: Dataset, name: str) -> str:
    return hashlib.sha256(np.ascontiguousarray(dataset.group(name)["actions"][()]).data).hexdigest()


def _inputs(file: DatasetFile, known: _Known) -> Iterator[Finding]:
    for number, entry in enumerate(inputs(file.lineage)):
        name = str(entry.get("file") or "")
        expected = _taken_from(file, number, entry)
        here = known.file_named(name, entry, expected, beside=file.path)
        if here is None:
            yield Finding("note", file.path, "", f"was made from {name or 'a file without name'}, which is not here")
            continue
        if known.is_same(here, entry):
            continue
        now = {demo.name: demo.sha256 for demo in here.demos}
        gone = known.withdrawn_from(here)
        other = [demo for demo, sha256 in expected.items() if now.get(demo) != sha256 and gone.get(demo) != sha256]
        relative = known.workspace.named(here.path)
        if not expected:
            yield Finding("note", file.path, "", f"was made from another version of {relative}; which demos of it were used is not known")
        elif len(other) == len(expected) and not gone:
            yield Finding("error", file.path, "", f"was made from another file than {relative}: none of the {len(expected)} demos is the same (a swapped file)")
        elif other:
            yield Finding("error", file.path, "", f"was made from other demos than {relative} has now: {listed(other).replace(chr(10) + '      ', ', ')}")
        else:
            why = "demos have been withdrawn from it since" if gone else "it has gone on since, and the demos that were used are the same"
            yield Finding("note", file.path, "", f"was made from an earlier version of {relative}: {why}")


def _taken_from(file: DatasetFile, number: int, entry: Mapping[str, Any]) -> dict[str, str]:
    """Demos of an input to what they were known by when the file was made from them."""
    if known := table(entry):
        return {name: str(one.get("sha256")) for name, one in known.items()}
    taken = {}
    for demo in file.demos:
        merged, parent = demo.lineage.get("merged_from"), demo.lineage.get("parent")
        if isinstance(merged, dict):
            if merged.get("input") == number and demo.sealed:
                taken[str(merged.get("demo"))] = demo.parent if demo.parent and file.lineage.get("dropped_keys") else demo.sha256
        elif demo.parent:
            named = isinstance(parent, dict) and file.lineage.get("made_by") not in _SAME_NAMES
            taken[str(parent.get("demo")) if named else demo.name] = demo.parent
    return taken


class _Known:
    """What lies in the workspace, to be asked for; what takes long is looked up once."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._places = {demo.sha256: (file, demo) for file in workspace.datasets for demo in file.demos}
        self._hashes: dict[tuple[Path, str], str] = {}
        self._actions: dict[str, str] = {}

    def file_named(self, name: str, entry: Mapping[str, Any], expected: Mapping[str, str], *, beside: Path) -> DatasetFile | None:
        """The file of that name which an entry among inputs tells of, or the one that is most like it: there may be several in different folders."""
        found = [file for file in self.workspace.datasets if file.path.name == name and file.path != beside]

        def likeness(file: DatasetFile) -> tuple[bool, int, bool]:
            same = sum(expected.get(demo.name) == demo.sha256 for demo in file.demos)
            return len(found) > 1 and self.is_same(file, entry), same, file.path.parent == beside.parent

        return max(found, key=likeness, default=None)

    def is_same(self, file: DatasetFile, entry: Mapping[str, Any]) -> bool:
        """Whether a file is the one that an entry among inputs tells of."""
        kind = "sha256" if "sha256" in entry else "file_sha256"
        if (file.path, kind) not in self._hashes:
            if kind == "sha256":
                with Dataset(file.path, need_demos=False) as dataset:
                    self._hashes[file.path, kind] = dataset.content_hash()
            else:
                self._hashes[file.path, kind] = file_sha256(file.path)
        return self._hashes[file.path, kind] == entry.get(kind)

    def withdrawn_from(self, file: DatasetFile) -> dict[str, str]:
        """Demo to what it was known by."""
        entries = file.lineage.get("withdrawn")
        return (
            {name: sha256 for entry in entries if isinstance(entry, dict) for name, sha256 in entry.get("demos", {}).items()}
            if isinstance(entries, list)
            else {}
        )

    def actions_of(self, sha256: str) -> str:
        """sha256 of the actions of a demo; "" if it does not lie here as it was written, or may be in other conventions than copies of it."""
        if sha256 not in self._places:
            return ""
        if sha256 not in self._actions:
            file, demo = self._places[sha256]
            with Dataset(file.path) as dataset:
                comparable = demo.sealed and dataset.dialect.kind == "isaaclab3" and demo_sha256(dataset.group(demo.name)) == sha256
                self._actions[sha256] = _actions_sha256(dataset, demo.name) if comparable else ""
        return self._actions[sha256]

    def name_of(self, sha256: str) -> str:
        file, demo = self._places[sha256]
        return f"{demo.name} of {self.workspace.named(file.path)}"
