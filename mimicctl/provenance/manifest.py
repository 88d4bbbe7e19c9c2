"""What is known of a dataset, from what its files recorded, in the fields that a reader of it asks for. What nobody recorded is said to be unknown."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimicctl.dataset.info import DatasetInfo, describe
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.seals import seals_of
from mimicctl.errors import UserError
from mimicctl.provenance.graph import Graph, Node
from mimicctl.provenance.lineages import annotation_method, files_below, inputs, is_annotation, is_generation, is_untraceable
from mimicctl.provenance.terms import PARTS, terms_in
from mimicctl.provenance.workspace import DatasetFile, Workspace, read_dataset, scan

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Known:
    """A dataset, and what its lineage leads to.

    Attributes:
        seeds: recorded demos that it goes back to.
        untraceable: demos of which it cannot be told what they were made from.
    """

    info: DatasetInfo
    file: DatasetFile
    graph: Graph
    seeds: tuple[Node, ...]
    untraceable: tuple[str, ...]
    terms: Mapping[str, Any]
    head: str


def known_of(path: Path, workspace: Path | None = None) -> Known:
    """
    Args:
        workspace: folder in which the files that it was made from lie, which may have been told more since. None to go by the file alone.

    Raises:
        UserError: the file cannot be read, or does not lie in the workspace.
    """
    path = path.expanduser().absolute()
    info, file = describe(path), read_dataset(path)
    found = scan(workspace) if workspace else Workspace(path.parent, datasets=[file])
    if path not in {dataset.path for dataset in found.datasets}:
        raise UserError("The file does not lie in the workspace.", where=f"{path} and {workspace}", do="give the --workspace that it lies in")
    graph = Graph(found)
    demos = {demo.sha256 for demo in file.demos}
    reached = {**{sha256: graph.nodes[sha256] for sha256 in demos}, **graph.ancestors(demos)}
    seeds = tuple(node for node in reached.values() if not node.parents)
    blind = tuple(demo.name for demo in file.demos if is_untraceable(demo.lineage, demo.parent) or not demo.lineage)
    with Dataset(path, need_demos=False) as dataset:
        rows = seals_of(dataset.group(dataset.demos[0]).file) if dataset.demos else ()
    terms = {**terms_in(file.lineage), **_agreed(found, seeds)}
    return Known(info, file, graph, seeds, blind, terms, rows[-1].chain if rows else "")


def _agreed(found: Workspace, seeds: Collection[Node]) -> dict[str, bool]:
    """Whether operators agreed to synthesis, by what their recordings say now: one that did not is enough, and one that is silent leaves it to the file itself."""
    terms = {file.path: terms_in(file.lineage) for file in found.datasets}
    said = [{terms[place.file].get("synthesis") for place in node.places if place.file in terms} - {None} for node in seeds]
    if any(False in each for each in said):
        return {"synthesis": False}
    return {"synthesis": True} if said and all(said) else {}


def manifest(known: Known) -> dict[str, Any]:
    """JSON-able."""
    lineage, info, terms = known.file.lineage, known.info, known.terms
    with Dataset(known.file.path, need_demos=False) as dataset:
        content = dataset.content_hash()
    files = list(files_below(lineage))
    lineages = [lineage, *(entry.get("lineage") or {} for entry in files)]
    recordings = [_named(entry) for entry in files if _made_by(entry) == "mimicctl record" or not _made_by(entry)]
    recordings += [{"file": str(of["recording"])} for of in lineages if is_annotation(of) and of.get("recording")]
    generated = any(map(is_generation, lineages))
    methods = {annotation_method(of) for of in lineages if is_annotation(of)}
    unmarked = "none: by the env's own signals" if methods == {"auto"} else UNKNOWN if methods else "none"
    cameras = {key.removeprefix("obs/"): list(shape) for key, (shape, _) in info.keys.items() if len(shape) == 3 and key.startswith("obs/")}
    made = {
        "dataset": known.file.path.name,
        "sha256": content,
        "seal": known.head or UNKNOWN,
        "task": info.task_id or UNKNOWN,
        "demos": len(info.lengths),
        "steps": sum(info.lengths.values()),
        "masks": info.masks,
        "source_seed": _once(recordings) or ("itself" if lineage.get("made_by") == "mimicctl record" else UNKNOWN),
        "source_annotation": _once(
            [{**_named(entry), "method": annotation_method(entry["lineage"])} for entry in files if is_annotation(entry.get("lineage") or {})]
        )
        or ("itself" if is_annotation(lineage) else "none"),
        "teleop_device": sorted({str(node.recording["device"]) for node in known.seeds if node.recording.get("device")}) or UNKNOWN,
        "num_seed_demos": len(known.seeds) if not known.untraceable else UNKNOWN,
        "operators": operators(known) or UNKNOWN,
        "operator_consent_id": sorted({str(node.recording["consent_id"]) for node in known.seeds if node.recording.get("consent_id")}) or UNKNOWN,
        "consent_covers_synthesis": terms.get("synthesis", UNKNOWN),
        "annotator": terms.get("annotator", unmarked),
        "annotation_license": terms.get("annotation_license", unmarked.partition(":")[0]),
        "synthetic": generated,
        "generation_num_trials": info.attempts or (UNKNOWN if generated else "none"),
        "generation_successes": info.attempts_succeeded or (UNKNOWN if generated else "none"),
        "num_envs": "not recorded: what is made does not depend on it" if generated else "none",
        "cameras_enabled": bool(cameras),
        "cameras": cameras or "none",
        "rendering_mode": _rendering(lineage) or (UNKNOWN if cameras else "none"),
        "camera_review": terms.get("camera_review", UNKNOWN if cameras else "none"),
        "command": lineage.get("made_by", UNKNOWN),
        "pipeline": pipeline(known),
        "asset_licenses": licenses(known),
        "asset_license_review": "done" if UNKNOWN not in licenses(known).values() else "required",
        "downstream_allowed": terms.get("downstream", UNKNOWN),
        "deletion_policy": terms.get("deletion_policy", UNKNOWN),
        "withdrawn": [{key: entry.get(key) for key in ("record", "at")} | {"demos": len(entry.get("demos", {}))} for entry in lineage.get("withdrawn", [])],
    }
    return {**made, "unknown": [key for key, value in made.items() if value == UNKNOWN or (isinstance(value, dict) and UNKNOWN in value.values())]}


def _made_by(entry: Mapping[str, Any]) -> str:
    return str((entry.get("lineage") or {}).get("made_by") or entry.get("made_by") or "")


def _named(entry: Mapping[str, Any]) -> dict[str, str]:
    kind = "sha256" if "sha256" in entry else "file_sha256"
    return {"file": str(entry.get("file", UNKNOWN)), kind: str(entry.get(kind, UNKNOWN))}


def _once(values: list[dict[str, str]]) -> list[dict[str, str]]:
    return [value for i, value in enumerate(values) if value not in values[:i]]


def pipeline(known: Known) -> list[dict[str, Any]]:
    """What made each of the files that a file goes back to, with versions and settings, the latest first."""
    stages = []
    for name, of in [
        (known.file.path.name, known.file.lineage),
        *((str(entry.get("file")), entry.get("lineage") or {}) for entry in files_below(known.file.lineage)),
    ]:
        said = {key: of[key] for key in ("version", "physics", "task", "method", "seed", "settings", "render") if key in of}
        stage = {"file": name, "made_by": str(of.get("made_by") or UNKNOWN), **said}
        if stage not in stages:
            stages.append(stage)
    return stages


def operators(known: Known) -> list[dict[str, Any]]:
    """Each with their consents and the number of their seed demos."""
    found: dict[str, list[Node]] = defaultdict(list)
    for node in known.seeds:
        found[node.operator or UNKNOWN].append(node)
    return [
        {
            "operator": name,
            "human": any(node.recording.get("human", True) for node in nodes),
            "consent_ids": sorted({str(node.recording.get("consent_id") or UNKNOWN) for node in nodes}),
            "seed_demos": len(nodes),
        }
        for name, nodes in sorted(found.items())
    ]


def _rendering(lineage: Mapping[str, Any]) -> str:
    for part in (lineage.get("render"), lineage.get("settings")):
        if isinstance(part, dict) and part.get("rendering_mode"):
            return str(part["rendering_mode"])
    return next((found for entry in inputs(lineage) if (found := _rendering(entry.get("lineage") or {}))), "")


def licenses(known: Known) -> dict[str, str]:
    """Part of the assets to its licence: as a person set it, else as the files that were recorded or generated noted it."""
    said = known.terms.get("licenses") or {}
    noted: dict[str, Counter[str]] = defaultdict(Counter)
    for of in (known.file.lineage, *(entry.get("lineage") or {} for entry in files_below(known.file.lineage))):
        for part, asset in (of.get("assets") or {}).items():
            noted[part][f"{asset.get('license', UNKNOWN)} ({asset.get('source', UNKNOWN)})"] += 1
    return {part: said.get(part) or " and ".join(noted[part]) or UNKNOWN for part in PARTS}


# As text ------------------------------------------------------------------------------------------------------


def as_yaml(value: Any, indent: int = 0) -> str:
    """Mappings, lists and plain values; strings that YAML would read as something else are quoted as in JSON."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{pad}{_scalar(key)}:{_below(inner, indent)}" for key, inner in value.items())
    if isinstance(value, list) and value:
        return "".join(
            f"{pad}- {as_yaml(inner, indent + 1).lstrip() if isinstance(inner, (dict, list)) and inner else _scalar(inner) + chr(10)}" for inner in value
        )
    return f"{pad}{_scalar(value)}\n"


def _below(value: Any, indent: int) -> str:
    return f"\n{as_yaml(value, indent + 1)}" if isinstance(value, (dict, list)) and value else f" {_scalar(value)}\n"


_PLAIN = re.compile(r"[A-Za-z_][\w .,/()+-]*[\w)]|[A-Za-z_]")
_NOT_TEXT = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
