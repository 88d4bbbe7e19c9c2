"""Facts that people add to a file: who recorded it and consented, what the licences are, what it may be used for."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import h5py

from mimicctl.dataset.committed_file import copy_file, write_lock
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.seals import Seal, attributes_sha256, lineage_is_sealed, replace_seals, seals_of
from mimicctl.errors import UserError, listed
from mimicctl.provenance.lineages import inputs, recorded
from mimicctl.schema import LINEAGE_ATTR

PARTS = ("robot", "objects", "textures", "scene")
"""What assets are of."""


@dataclass(frozen=True)
class Terms:
    """Of a file. What nobody said is None, or empty.

    Attributes:
        synthesis: whether the operators know that more demonstrations are made from theirs, and agreed.
        annotator: who marked the subtasks.
        annotation_license: of those marks.
        licenses: part (`PARTS`) to the licence of its assets.
        downstream: what the data may be used for.
        camera_review: what came of looking at what the cameras show.
        deletion_policy: what happens to derived data when a demonstration is withdrawn.
    """

    synthesis: bool | None = None
    annotator: str | None = None
    annotation_license: str | None = None
    licenses: Mapping[str, str] | None = None
    downstream: Sequence[str] | None = None
    camera_review: str | None = None
    deletion_policy: str | None = None

    def said(self) -> dict[str, Any]:
        """What was said, JSON-able."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}


def terms_in(lineage: Mapping[str, Any]) -> dict[str, Any]:
    """The terms of a file: its own, and where it says nothing, those that all its inputs have in common.

    A file made of several may be used for what each of them may be used for, and has the licences of all of them.
    """
    own = lineage.get("terms") if isinstance(lineage.get("terms"), dict) else {}
    below = [terms_in(entry.get("lineage") or {}) for entry in inputs(lineage)]
    merged: dict[str, Any] = {}
    for key in {key for terms in below for key in terms}:
        values = [terms.get(key) for terms in below]
        if key == "downstream" and None not in values:
            merged[key] = [use for use in values[0] if all(use in other for other in values)]
        elif key == "licenses":
            parts = {part for value in values for part in value or {}}
            each = {part: {(value or {}).get(part) for value in values} for part in parts}
            merged[key] = {part: " and ".join(sorted(found)) for part, found in each.items() if None not in found}
        elif all(value == values[0] for value in values):
            merged[key] = values[0]
    if "licenses" in merged and "licenses" in own:
        own = {**own, "licenses": {**merged["licenses"], **own["licenses"]}}
    return {**merged, **own}


def set_terms(
    path: str | Path, terms: Terms, *, operator: str = "", consent_id: str = "", demos: Sequence[str] = (), overwrite: bool = False
) -> tuple[str, ...]:
    """Write facts into the lineages of a file: of the file as a whole, or (operator and consent) of recorded demos. Returns the demos that were told.

    Args:
        demos: names; all of them if empty.
        overwrite: replace what is said otherwise.

    Raises:
        UserError: nothing was said, the file says otherwise, its demos were not recorded but generated, or it is not as it was written. It stays as it was.
    """
    path = Path(path).expanduser().absolute()
    said, about = terms.said(), {key: value for key, value in (("operator", operator), ("consent_id", consent_id)) if value}
    if not said and not about:
        raise UserError("There is nothing to set.", do="say for instance --operator NAME --consent-id ID; --help has all")
    if demos and not about:
        raise UserError("Single demos have an operator and a consent of their own; all else is about the file.", where="--demo", do="leave out --demo")
    with write_lock(path):
        with Dataset(path, need_demos=False) as dataset:
            told = tuple(demos or dataset.demos) if about else ()
            lineages = {name: _with(dataset, name, about, overwrite) for name in told}
            lineage = _with_terms(dataset, said, overwrite)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        amended = {"at": now, "set": sorted([*said, *about]), **({"demos": list(demos)} if demos else {})}
        lineage["amended"] = [*(lineage.get("amended") or []), amended]
        _write(path, lineage, lineages)
    return told


def _with(dataset: Dataset, name: str, about: Mapping[str, str], overwrite: bool) -> dict[str, Any]:
    """The lineage of a demo with what is to be said."""
    lineage = dataset.demo_lineage(name) if name in dataset.demos else None
    if lineage is None:
        dataset.group(name)  # says which there are
        raise UserError(f"{name} is not a demonstration.", where=str(dataset.path))
    if "sources" in lineage:
        what = f"{name} was generated, so nobody recorded it: its operators are those of its source demos."
        raise UserError(what, where=str(dataset.path), do="set it in the file of the recording, or of the annotated demos")
    before = recorded(lineage)
    other = [f"{key} is {before[key]!r}" for key, value in about.items() if before.get(key) and before[key] != value]
    if other and not overwrite:
        raise UserError(f"{name} says otherwise: {', '.join(other)}.", where=str(dataset.path), do="--overwrite replaces it, or choose demos with --demo")
    return {**lineage, **about}


def _with_terms(dataset: Dataset, said: Mapping[str, Any], overwrite: bool) -> dict[str, Any]:
    lineage = dataset.lineage
    before = lineage.get("terms") if isinstance(lineage.get("terms"), dict) else {}
    after = dict(before)
    for key, value in said.items():
        pairs = {**before.get(key, {}), **value} if isinstance(value, dict) else value
        clash = (
            any(before.get(key, {}).get(part, said_of) != said_of for part, said_of in value.items())
            if isinstance(value, dict)
            else key in before and before[key] != value
        )
        if clash and not overwrite:
            raise UserError(f"The file says otherwise: {key} is {before[key]!r}.", where=str(dataset.path), do="--overwrite replaces it")
        after[key] = pairs
    return {**lineage, **({"terms": after} if after else {})}


def _write(path: Path, lineage: Mapping[str, Any], lineages: Mapping[str, Mapping[str, Any]]) -> None:
    """In a copy that then takes the file's place."""
    copy = path.with_name(f".{path.name}.terms")
    try:
        copy_file(path, copy)
        with h5py.File(copy, "r+") as file:
            rows = seals_of(file)
            _refuse_changed(path, file, rows)
            for name, of_demo in lineages.items():
                file["data"][name].attrs[LINEAGE_ATTR] = json.dumps(of_demo)
            file["data"].attrs[LINEAGE_ATTR] = json.dumps(lineage)
            if rows:
                replace_seals(file, [_renewed(row, file) if row.demo in lineages else row for row in rows])
        os.replace(copy, path)
    except OSError as error:
        raise UserError(f"Cannot write the file: {error.strerror or error}.", where=str(path), do="make room, or the folder writable") from None
    finally:
        copy.unlink(missing_ok=True)


def _renewed(row: Seal, file: h5py.File) -> Seal:
    return Seal(row.demo, row.content, row.parent, attributes_sha256(file["data"][row.demo]))


def _refuse_changed(path: Path, file: h5py.File, rows: Sequence[Seal]) -> None:
    """New seals must not hide what old ones would tell."""
    before, wrong = "", []
    for row in rows:
        if row.chained(before) != row.chain or row.demo not in file["data"] or attributes_sha256(file["data"][row.demo]) != row.attributes:
            wrong.append(row.demo)
        before = row.chain
    if wrong or (rows and not lineage_is_sealed(file)):
        where = f"{path}: {listed(wrong[:3]).replace(chr(10) + '      ', ', ')}" if wrong else str(path)
        raise UserError("The file is not as it was written, and to set something would hide that.", where=where, do="see mimicctl provenance verify")
