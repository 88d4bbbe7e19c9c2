"""What demos are made of, found out without reading their arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mimicctl.dataset.content import Content, Unfamiliar
from mimicctl.dataset.info import keys_of
from mimicctl.dataset.layout import Alike, members, root_of, survey
from mimicctl.dataset.reader import Dataset, json_object
from mimicctl.schema import LINEAGE_ATTR

Keys = Mapping[str, tuple[tuple[int, ...], str]]
"""Path of an array to its shape without the first axis and its dtype."""


@dataclass(frozen=True)
class Outline:
    """A demo.

    Attributes:
        steps: control steps, from the actions themselves.
        attributes: strings and numbers.
    """

    keys: Keys
    steps: int
    attributes: dict[str, Any]

    @property
    def lineage(self) -> dict[str, Any]:
        return json_object(self.attributes.get(LINEAGE_ATTR))


@dataclass(frozen=True)
class Inventory:
    """Where everything that belongs to the demos of a file is, by its bytes.

    Attributes:
        names: of the demos, and of whatever else is among them.
        headers: of each.
        kinds: what they are; `which` counts the names.
        tables: where the root group, the group of the demos and all members of the root group have their headers, and the first two their symbol table nodes.
    """

    names: tuple[str, ...]
    headers: np.ndarray
    kinds: tuple[Alike, ...]
    tables: np.ndarray


def inventory_of(path: Path) -> Inventory | None:
    """None of a file that is not of the classic kind, or is damaged."""
    try:
        with Content(path) as content:
            top, root = members(content, root_of(content))
            if "data" not in top:
                return None
            headers, table = members(content, top["data"])
            kinds = tuple(survey(content, list(headers.values())))
    except Unfamiliar:
        return None
    tables = np.concatenate([root, table, list(top.values())]).astype(np.int64)
    return Inventory(tuple(headers), np.array(list(headers.values()), np.int64), kinds, tables)


def outlines(dataset: Dataset, inventory: Inventory | None) -> dict[str, Outline]:
    """Every demo, in natural order."""
    if inventory is None or not set(inventory.names).issuperset(dataset.demos):
        return {name: Outline(keys_of(dataset.group(name)), dataset.length(name), dataset.attributes(name)) for name in dataset.demos}
    found: dict[str, Outline] = {}
    for alike in inventory.kinds:
        none = np.zeros(len(alike.which), np.int64)
        steps = next((array.shapes[:, 0] for array in alike.arrays if array.path == "actions" and array.shapes.shape[1]), none)
        for i, keys, length, attributes in zip(alike.which.tolist(), _keys(alike), steps.tolist(), alike.attributes, strict=True):
            found[inventory.names[i]] = Outline(keys, length, attributes)
    return {name: found[name] for name in dataset.demos}


def _keys(alike: Alike) -> list[Keys]:
    """Those of each of the demos. Where the shapes are the same too, they share them."""
    axes = [array.shapes[:, 1:] for array in alike.arrays]
    every = np.concatenate([np.zeros((len(alike.which), 0), np.int64), *axes], axis=1)
    _, first, kind = np.unique(every, axis=0, return_index=True, return_inverse=True)
    kinds = [{array.path: (tuple(sizes[i].tolist()), str(array.dtype)) for array, sizes in zip(alike.arrays, axes, strict=True)} for i in first]
    return [kinds[k] for k in kind.ravel()]
