"""Reading lineages: who recorded a demo, what it is made of, and what a lineage tells of demos that lie elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_HOW = {
    "mimicctl annotate": "annotated",
    "mimicctl record --generate": "annotated",
    "mimicctl augment": "augmented",
    "mimicctl convert mp4-to-hdf5": "augmented",
    "mimicctl dataset render": "rendered",
    "mimicctl dataset convert-dialect": "converted",
    "mimicctl convert lerobot-to-hdf5": "converted",
    "mimicctl merge": "merged with fewer keys",
}
"""The command that made a file to what its demos are of their parents."""


@dataclass(frozen=True)
class Told:
    """What a lineage tells of a demo.

    Attributes:
        sha256: by which it is known.
        lineage: its own.
        parents: sha256 of what it was made from, to how ("annotated", "grasp_1 and stack_1").
    """

    sha256: str
    lineage: Mapping[str, Any]
    parents: Mapping[str, str]


def told_of_demo(sha256: str, lineage: Mapping[str, Any], parent: str, of_file: Mapping[str, Any]) -> Iterator[Told]:
    """The demo itself, and the one that it is a copy of.

    Args:
        parent: see `Seal`.
        of_file: lineage of the file it lies in.
    """
    made = origin(of_file, lineage)
    parents = segments(lineage, made)
    if parent and parent != sha256:  # what comes back from another format bit for bit is the same demo
        parents[parent] = _HOW.get(str(made.get("made_by")), "copied")
        # A copy in other pictures or another layout has the lineage of its parent as it was.
        inner = lineage.get("parent") if isinstance(lineage.get("parent"), dict) else lineage
        yield Told(parent, inner, segments(inner, made))
    yield Told(sha256, lineage, parents)


def told_of_inputs(of_file: Mapping[str, Any]) -> Iterator[Told]:
    """Source demos of generated files, from the lineage of one of these or of a file that has it among its inputs."""
    for entry in inputs(of_file):
        inner = entry.get("lineage") or {}
        for known in table(entry).values():
            if "withdrawn" not in known:
                yield from told_of_demo(str(known.get("sha256", "")), known.get("lineage") or {}, str(known.get("parent", "")), inner)
        yield from told_of_inputs(inner)


def inputs(of_file: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Entries of a file's inputs; what is none is passed over."""
    found = of_file.get("inputs")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def files_below(of_file: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Entries of all files that a file goes back to, its inputs first."""
    for entry in inputs(of_file):
        yield entry
        yield from files_below(entry.get("lineage") or {})


def table(entry: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Source demos that an input had, by name."""
    found = entry.get("demos")
    return {name: known for name, known in found.items() if isinstance(known, dict)} if isinstance(found, dict) else {}


def origin(of_file: Mapping[str, Any], lineage: Mapping[str, Any]) -> Mapping[str, Any]:
    """Lineage of the file in which a demo was first written, before files were merged."""
    merged = lineage.get("merged_from")
    while isinstance(merged, dict):
        each, number = inputs(of_file), merged.get("input")
        if not isinstance(number, int) or not 0 <= number < len(each):
            return {}
        of_file, merged = each[number].get("lineage") or {}, merged.get("merged_from")
    return of_file


def segments(lineage: Mapping[str, Any], of_file: Mapping[str, Any]) -> dict[str, str]:
    """Of a generated demo: sha256 of each source demo to the subtasks it supplied, by name if the file's lineage has them."""
    known = lineage.get("source_sha256")
    if not isinstance(known, dict):
        return {}
    sources = lineage.get("sources")
    each = sources if isinstance(sources, dict) else {"": sources or []}
    supplied: dict[str, list[str]] = defaultdict(list)
    subtasks = _subtasks(of_file)
    for eef, names in each.items():
        said = subtasks.get(eef) or next(iter(subtasks.values()), [])
        for i, name in enumerate(names):
            subtask = str(said[i].get("name", i + 1)) if i < len(said) and isinstance(said[i], dict) else f"subtask {i + 1}"
            supplied[name].append(f"{eef}: {subtask}" if eef else subtask)
    return {sha256: " and ".join(supplied.get(name, ["a segment"])) for name, sha256 in known.items()}


def _subtasks(of_file: Mapping[str, Any]) -> Mapping[str, Any]:
    """Eef to what is said of its subtasks, by the file or by the nearest that it was made from."""
    if isinstance(of_file.get("subtasks"), dict):
        return of_file["subtasks"]
    return next((found for entry in inputs(of_file) if (found := _subtasks(entry.get("lineage") or {}))), {})


def is_annotation(of_file: Mapping[str, Any]) -> bool:
    """Whether a file holds annotated demos: of `annotate`, or the sources that `record --generate` keeps."""
    return of_file.get("made_by") == "mimicctl annotate" or (of_file.get("made_by") == "mimicctl record --generate" and "recording" in of_file)


def annotation_method(of_file: Mapping[str, Any]) -> str:
    """Of a file of annotated demos: "auto", by the env's own signals, or "manual"."""
    return "auto" if "recording" in of_file else str(of_file.get("method", "unknown"))


def is_generation(of_file: Mapping[str, Any]) -> bool:
    return of_file.get("made_by") in ("mimicctl generate", "mimicctl record --generate") and not is_annotation(of_file)


def is_untraceable(lineage: Mapping[str, Any], parent: str) -> bool:
    """Whether it says that the demo was made from others, and not from which."""
    return ("parent" in lineage and not parent) or ("sources" in lineage and "source_sha256" not in lineage)


def recorded(lineage: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is said of how the demo was recorded, in its own lineage or that of a copy; {} of a generated one."""
    while "operator" not in lineage and isinstance(lineage.get("parent"), dict):
        lineage = lineage["parent"]
    return lineage if "operator" in lineage or "device" in lineage else {}
