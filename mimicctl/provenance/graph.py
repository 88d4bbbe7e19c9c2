"""Which demos were made from which, over all files of a workspace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimicctl.errors import UserError
from mimicctl.provenance.lineages import recorded, told_of_demo, told_of_inputs
from mimicctl.provenance.workspace import CheckpointFile, Run, VideoFile, Workspace


@dataclass(frozen=True, order=True)
class Place:
    """Where a demo lies."""

    file: Path
    demo: str


@dataclass
class Node:
    """A demo, wherever and however often it lies in files.

    Attributes:
        sha256: of its arrays, by which it is known.
        places: none of a demo that others tell of and that is not here.
        lineage: its own, or as others tell it.
        parents, children: sha256 to how the one was made from the other.
    """

    sha256: str
    places: list[Place] = field(default_factory=list)
    lineage: Mapping[str, Any] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    children: dict[str, str] = field(default_factory=dict)

    @property
    def recording(self) -> Mapping[str, Any]:
        """What is said of how it was recorded; {} of a demo that was made from others."""
        return recorded(self.lineage)

    @property
    def operator(self) -> str:
        return str(self.recording.get("operator") or "")


class Graph:
    """All demos of a workspace, and those that they tell of."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.nodes: dict[str, Node] = {}
        self.at: dict[Place, str] = {}
        for dataset in [*workspace.datasets, *workspace.exports]:
            for told in told_of_inputs(dataset.lineage):
                self._learn(told)
            for demo in dataset.demos:
                for told in told_of_demo(demo.sha256, demo.lineage, demo.parent, dataset.lineage):
                    self._learn(told, here=told.sha256 == demo.sha256)
                place = Place(dataset.path, demo.name)
                self.nodes[demo.sha256].places.append(place)
                self.at[place] = demo.sha256

    def _learn(self, told: Any, *, here: bool = False) -> None:
        if not told.sha256:
            return
        node = self.nodes.setdefault(told.sha256, Node(told.sha256))
        if not node.lineage or (here and (not node.places or (told.lineage.get("operator") and not node.lineage.get("operator")))):
            node.lineage = told.lineage  # what lies here knows better than what others tell of it
        for parent, how in told.parents.items():
            node.parents.setdefault(parent, how)
            self.nodes.setdefault(parent, Node(parent)).children.setdefault(told.sha256, how)

    def find(self, file: str | Path, demo: str) -> Node:
        """
        Raises:
            UserError: there is no such demo.
        """
        path = Path(file).expanduser().absolute()
        if (place := Place(path, demo)) in self.at:
            return self.nodes[self.at[place]]
        names = [known.demo for known in self.at if known.file == path]
        if names:
            raise UserError(f"There is no {demo}.", where=str(path), do=f"it has {names[0]} to {names[-1]}")
        raise UserError("There is no such dataset in the workspace.", where=f"{path} in {self.workspace.folder}", do="give the --workspace that it lies in")

    def ancestors(self, sha256s: Iterable[str]) -> dict[str, Node]:
        return self._reached(sha256s, lambda node: node.parents)

    def descendants(self, sha256s: Iterable[str]) -> dict[str, Node]:
        return self._reached(sha256s, lambda node: node.children)

    def _reached(self, sha256s: Iterable[str], onward: Any) -> dict[str, Node]:
        """What can be reached from some demos, without them, nearest first."""
        start = list(sha256s)
        seen, found = set(start), {}
        queue = start
        for sha256 in queue:
            for other in onward(self.nodes[sha256]):
                if other not in seen:
                    seen.add(other)
                    found[other] = self.nodes[other]
                    queue.append(other)
        return found

    def recorded_by(self, operator: str) -> list[str]:
        """Demos that lineages say `operator` recorded, and copies that say it of their parent."""
        return [sha256 for sha256, node in self.nodes.items() if node.operator == operator]

    def operators(self) -> dict[str, int]:
        """Operator to the number of demos of theirs that were made from no other."""
        counts: dict[str, int] = defaultdict(int)
        for node in self.nodes.values():
            if node.operator and not node.parents:
                counts[node.operator] += 1
        return dict(counts)

    def checkpoints_of(self, sha256s: Iterable[str]) -> Iterator[CheckpointFile]:
        wanted = set(sha256s)
        return (checkpoint for checkpoint in self.workspace.checkpoints if checkpoint.demos & wanted)

    def runs_of(self, sha256s: Iterable[str]) -> Iterator[Run]:
        wanted = set(sha256s)
        tainted = {checkpoint.run for checkpoint in self.checkpoints_of(wanted)}
        return (run for run in self.workspace.runs if run.demos & wanted or run.folder in tainted)

    def videos_of(self, sha256s: Iterable[str]) -> Iterator[VideoFile]:
        """Videos of demos, and those that demos took their pictures from."""
        wanted = set(sha256s)
        shown_in = {str(made.get("video_sha256")) for sha256 in wanted if isinstance(made := self.nodes[sha256].lineage.get("augmented"), dict)}
        return (video for video in self.workspace.videos if video.sha256 in wanted or video.file_sha256 in shown_in)
