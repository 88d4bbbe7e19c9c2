"""Prompts for video augmentation, put together from templates.

A template file is a JSON object of sections, each a list of entries; a prompt has one entry of each section, in the order of the file. An entry
is text, or {"text": ..., "fits": [places]}: entries are combined only if there is a place that all of them fit, so that no fluorescent tubes hang
in a sitting room. Without "fits" an entry fits everywhere; Isaac Lab's template files, which have text only, are read too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

import mimicctl
from mimicctl.errors import UserError
from mimicctl.tasks import find_task

_REDRAWS = 200
"""Of a prompt that was drawn before, until it is taken that there are no more."""


@dataclass(frozen=True)
class Entry:
    """One choice of a section. No places: it fits everywhere."""

    text: str
    places: frozenset[str]


Templates = Mapping[str, Sequence[Entry]]


def bundled_templates(task_id: str) -> Path:
    """The templates that come with a task.

    Raises:
        UserError: there is no such task, or it has none.
    """
    task = find_task(task_id)
    if not task.prompt_templates:
        raise UserError(f"No prompt templates come with {task.task_id}.", do="write some (docs/cosmos.md) and give --templates-path")
    return Path(str(resources.files(mimicctl) / "data" / task.prompt_templates))


def load_templates(path: Path) -> Templates:
    """Read and check a template file. Values that are no lists, and empty lists, are passed over.

    Raises:
        UserError: it cannot be read, or some place has no entry in some section.
    """
    where, do = str(path.absolute()), "a JSON object of lists of text is wanted (docs/cosmos.md)"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"Cannot read the templates: {error.strerror}.", where=where, do="check --templates-path") from None
    except ValueError as error:
        raise UserError(f"The templates are not JSON: {error}.", where=where, do=do) from None
    lists = {name: entries for name, entries in content.items() if isinstance(entries, list) and entries} if isinstance(content, dict) else {}
    if not lists:
        raise UserError("There are no sections in the templates.", where=where, do=do)
    templates = {name: [_entry(entry, f"{name}[{i}] of {where}") for i, entry in enumerate(entries)] for name, entries in lists.items()}
    for name, entries in templates.items():
        for place in sorted(_places(templates)):
            if not _fitting(entries, frozenset([place])):
                raise UserError(f'No entry of the section "{name}" fits "{place}", which entries of other sections are for.', where=where, do="add one")
    return templates


def _entry(given: object, where: str) -> Entry:
    text, places = (given.get("text"), given.get("fits", [])) if isinstance(given, dict) else (given, [])
    if not isinstance(text, str) or not text.strip() or not isinstance(places, list) or not all(isinstance(place, str) for place in places):
        raise UserError("This is no template entry.", where=where, do='write text, or {"text": "...", "fits": ["place", ...]}')
    return Entry(" ".join(text.split()), frozenset(places))  # a prompt is one line


def _places(templates: Templates) -> frozenset[str]:
    return frozenset(place for entries in templates.values() for entry in entries for place in entry.places)


def _fitting(entries: Sequence[Entry], places: frozenset[str]) -> list[Entry]:
    return [entry for entry in entries if not entry.places or entry.places & places]


def make_prompts(templates: Templates, count: int, seed: int) -> list[str]:
    """Draw prompts, all different as long as there are enough combinations. The first ones do not depend on `count`."""
    prompts: list[str] = []
    seen: set[str] = set()
    for i in range(count):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(i,)))
        prompt = _draw(templates, rng)
        for _ in range(_REDRAWS):
            if prompt not in seen:
                break
            prompt = _draw(templates, rng)
        seen.add(prompt)
        prompts.append(prompt)
    return prompts


def _draw(templates: Templates, rng: np.random.Generator) -> str:
    places, chosen = _places(templates), []
    for entries in templates.values():
        # Whichever place is left, every section has an entry for it: `load_templates` has seen to that.
        fitting = _fitting(entries, places) if places else list(entries)
        entry = fitting[rng.integers(len(fitting))]
        places = places & entry.places if entry.places else places
        chosen.append(entry.text)
    return " ".join(chosen)


def write_prompts(prompts: Sequence[str], path: str | Path, *, overwrite: bool = False) -> Path:
    """One prompt a line. The file appears when it is complete.

    Raises:
        UserError: the file exists, or cannot be written.
    """
    path = Path(path).expanduser().absolute()
    if path.exists() and not overwrite:
        raise UserError("The file exists already.", where=str(path), do="--overwrite replaces it, or choose another --output-path")
    write_text(path, "".join(f"{prompt}\n" for prompt in prompts))
    return path


def read_prompts(path: str | Path) -> list[str]:
    """Lines that are not empty.

    Raises:
        UserError: the file cannot be read, or has none.
    """
    path = Path(path).expanduser().absolute()
    try:
        prompts = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read the prompts: {getattr(error, 'strerror', None) or 'not text'}.", where=str(path), do="mimicctl cosmos prompts") from None
    if not prompts:
        raise UserError("There are no prompts in the file.", where=str(path), do="mimicctl cosmos prompts --overwrite")
    return prompts


def write_text(path: Path, text: str) -> None:
    """Write beside `path` and rename.

    Raises:
        UserError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"Cannot write: {error.strerror}.", where=str(path), do="choose another place") from None
    finally:
        partial.unlink(missing_ok=True)
