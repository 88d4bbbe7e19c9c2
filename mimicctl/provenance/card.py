"""A dataset card in the manner of Hugging Face: a README.md with front matter, statistics, pictures, lineage and limitations."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mimicctl.errors import UserError
from mimicctl.provenance.checklist import Answer, checklist
from mimicctl.provenance.lineages import inputs
from mimicctl.provenance.manifest import UNKNOWN, Known, as_yaml, manifest
from mimicctl.provenance.trace import Item, Link, Trace, as_svg
from mimicctl.statistics import rate_text

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_card(known: Known, folder: Path, *, license: str = "", overwrite: bool = False) -> tuple[Path, ...]:
    """README.md, manifest.yaml, lengths.svg and lineage.svg. Cards are published, so people are numbered in it and not named.

    Args:
        license: of the dataset itself, by its SPDX id; "" if that is not known.

    Raises:
        UserError: one of them is there.
    """
    made = manifest(known)
    names = _numbered(made)
    made = _renamed(made, names)
    answers = [replace(answer, evidence=_renamed(answer.evidence, names)) for answer in checklist(known)]
    texts = {
        "README.md": _readme(known, made, answers, license),
        "manifest.yaml": as_yaml(made),
        "lengths.svg": lengths_svg(list(known.info.lengths.values())),
        "lineage.svg": as_svg(file_trace(known, made)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    there = [folder / name for name in texts if (folder / name).exists()]
    if there and not overwrite:
        raise UserError("The file exists already.", where=str(there[0]), do="--overwrite replaces it, or choose another --output-dir")
    for name, text in texts.items():
        partial = folder / f".{name}.partial"
        partial.write_text(text)
        os.replace(partial, folder / name)
    return tuple(folder / name for name in texts)


def _numbered(made: Mapping[str, Any]) -> dict[str, str]:
    """Name of each person to what stands for it."""
    operators = made["operators"] if made["operators"] != UNKNOWN else []
    people = [one["operator"] for one in operators if one["human"] and one["operator"] != UNKNOWN]
    return {name: f"operator {number}" for number, name in enumerate(people, start=1)}


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """With numbers instead of names, wherever a name stands as a word."""
    if isinstance(value, dict):
        return {key: _renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, names) for inner in value]
    if not isinstance(value, str) or not names:
        return value
    longest_first = sorted(map(re.escape, names), key=len, reverse=True)
    return re.sub(rf"(?<![\w-])({'|'.join(longest_first)})(?![\w-])", lambda found: names[found.group()], value)


def _readme(known: Known, made: Mapping[str, Any], answers: Sequence[Answer], license: str) -> str:
    name = known.file.path.stem
    front = {
        "pretty_name": name,
        "license": license.lower() or "unknown",
        "task_categories": ["robotics"],
        "tags": ["robotics", "imitation-learning", "hdf5", "mimicctl", *(["synthetic"] if made["synthetic"] else [])],
        "size_categories": [next((label for most, label in _SIZES if made["demos"] < most), "n>1M")],
    }
    parts = [
        f"---\n{as_yaml(front)}---\n",
        f"# {name}\n",
        f"{_summary(made)}\n",
        f"## Statistics\n\n{_table(('', ''), _statistics(known, made))}\n![How long the demonstrations are](lengths.svg)\n",
        f"## Observations and actions\n\n{_table(('key', 'shape', 'type'), _keys(known))}",
        f"## Where it comes from\n\n![What it was made from](lineage.svg)\n\n{_table(('operator', 'consent', 'seed demonstrations'), _operators(made))}",
        f"## What may be done with it\n\n{_table(('question', 'state', 'evidence'), [(a.question, a.state, a.evidence) for a in answers])}",
        f"## Limitations\n\n{_limitations(made, answers)}",
        f"## Manifest\n\n```yaml\n{as_yaml(made)}```\n",
    ]
    return "\n".join(parts)


def _summary(made: Mapping[str, Any]) -> str:
    kind = "generated" if made["synthetic"] else "recorded"
    seeds = f" from {made['num_seed_demos']} seed demonstrations" if kind == "generated" else ""
    cameras = f"with images of {', '.join(made['cameras'])}" if made["cameras_enabled"] else "without camera images"
    return (
        f"{made['demos']} demonstrations of the task `{made['task']}`, {kind}{seeds}, {cameras}. "
        f"One HDF5 file in Isaac Lab's layout, `{made['dataset']}`, that Isaac Lab, robomimic and mimicctl read."
    )


def _statistics(known: Known, made: Mapping[str, Any]) -> list[tuple[str, Any]]:
    lengths = np.array(list(known.info.lengths.values()) or [0])
    rows = [
        ("demonstrations", made["demos"]),
        ("of which succeeded", known.info.succeeded),
        ("control steps", made["steps"]),
        ("steps a demonstration", f"{lengths.min()} to {lengths.max()}, median {np.median(lengths):.0f}"),
        ("masks", ", ".join(f"{key}: {count}" for key, count in made["masks"].items()) or "none"),
    ]
    if known.info.attempts:
        rows.append(("generation", rate_text(known.info.attempts_succeeded, known.info.attempts)))
    return [*rows, ("size of the file", f"{known.info.size / 1e6:.1f} MB")]


def _keys(known: Known) -> list[tuple[str, str, str]]:
    return [
        (f"`{key}`", f"(T{''.join(f', {n}' for n in shape)})", dtype) for key, (shape, dtype) in known.info.keys.items() if key.startswith(("obs/", "actions"))
    ]


def _operators(made: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    if made["operators"] == UNKNOWN:
        return [(UNKNOWN, UNKNOWN, UNKNOWN)]
    return [
        (one["operator"] if one["human"] else f"{one['operator']} (no person)", ", ".join(one["consent_ids"]) if one["human"] else "-", one["seed_demos"])
        for one in made["operators"]
    ]


def _limitations(made: Mapping[str, Any], answers: Sequence[Answer]) -> str:
    said = [f"Open: {answer.question} {answer.evidence[0].upper()}{answer.evidence[1:]}." for answer in answers if answer.state == "open"]
    if made["unknown"]:
        said.append(f"Nobody recorded: {', '.join(made['unknown'])}.")
    if made["synthetic"]:
        said.append("Generated demonstrations were kept because they succeeded, so start states from which that is hard are rarer than they were drawn.")
        said.append("They move as their seed demonstrations did: what was never shown is not in them.")
    if str(made["task"]).startswith("MuJoCo"):
        said.append("It was simulated. Contacts, delays and camera images of a real robot differ.")
    if made["withdrawn"]:
        said.append(f"Demonstrations were withdrawn from it {len(made['withdrawn'])} times.")
    return "".join(f"- {line}\n" for line in said)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in line) + " |\n" for line in lines)


# Pictures -----------------------------------------------------------------------------------------------------


def file_trace(known: Known, made: Mapping[str, Any]) -> Trace:
    """The files that a file goes back to, and the operators of its seed demos."""
    items: dict[str, Item] = {}
    links: dict[tuple[str, str], Link] = {}

    def add(key: str, name: str, lineage: Mapping[str, Any]) -> None:
        items[key] = Item("dataset", name, (str(lineage.get("made_by") or "made by nobody knows what"),))
        entries = inputs(lineage)
        for entry in entries:
            below = str(entry.get("sha256") or entry.get("file_sha256") or entry.get("file"))
            add(below, str(entry.get("file") or "a file"), entry.get("lineage") or {})
            links[below, key] = Link(below, key, str(lineage.get("made_by") or "").removeprefix("mimicctl "))
        if not entries and made["operators"] != UNKNOWN:
            for one in made["operators"]:
                items[f"operator {one['operator']}"] = Item("operator", one["operator"], (f"{one['seed_demos']} seed demos",))
                links[f"operator {one['operator']}", key] = Link(f"operator {one['operator']}", key, "recorded")

    add("this", known.file.path.name, known.file.lineage)
    return Trace("this", items, tuple(links.values()))


_BARS = 24


def lengths_svg(lengths: Sequence[int]) -> str:
    """A histogram."""
    counts, edges = np.histogram(lengths or [0], bins=min(_BARS, max(1, len(set(lengths)))))
    width, height, left, bottom = 640, 220, 48, 36
    step, most = (width - left - 16) / len(counts), max(1, counts.max())
    bars = "".join(
        f'<rect x="{left + i * step + 1:.1f}" y="{height - bottom - count / most * 160:.1f}" width="{step - 2:.1f}" height="{count / most * 160:.1f}" fill="#6b9bd1"/>'
        for i, count in enumerate(counts.tolist())
    )
    labels = "".join(
        f'<text x="{x:.0f}" y="{height - bottom + 16}" text-anchor="middle" fill="#555">{edge:.0f}</text>'
        for x, edge in ((left, edges[0]), ((left + width - 16) / 2, (edges[0] + edges[-1]) / 2), (width - 16, edges[-1]))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">'
        f'<rect width="{width}" height="{height}" fill="white"/>{bars}<path d="M{left} {height - bottom} H{width - 16}" stroke="#999"/>{labels}'
        f'<text x="{left - 6}" y="{height - bottom - 152}" text-anchor="end" fill="#555">{most}</text>'
        f'<text x="{(left + width) / 2:.0f}" y="{height - 6}" text-anchor="middle" fill="#555">control steps</text></svg>\n'
    )
