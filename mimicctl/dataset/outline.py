"""What demos are made of, found out without reading their arrays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mimicctl.dataset.info import keys_of
from mimicctl.dataset.layout import Content, Unfamiliar, members, root_of, survey
from mimicctl.dataset.reader import Dataset, json_object
from mimicctl.schema import LINEAGE_ATTR

_AT_ONCE = 128
"""Demos that are looked into at a time."""

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


def outlines(dataset: Dataset) -> dict[str, Outline]:
    """Every demo, in natural order."""
    try:
        return dict(_from_bytes(dataset))
    except Unfamiliar:
        return {name: Outline(keys_of(dataset.group(name)), dataset.length(name), dataset.attributes(name)) for name in dataset.demos}


def _from_bytes(dataset: Dataset) -> Iterator[tuple[str, Outline]]:
    with Content(dataset.path) as content:
        headers, _ = members(content, members(content, root_of(content))[0]["data"])
        alike: dict[tuple, Keys] = {}  # most demos have the same arrays: each kind is kept once
        for i in range(0, len(dataset.demos), _AT_ONCE):
            names = dataset.demos[i : i + _AT_ONCE]
            found = survey(content, [headers[name] for name in names])
            content.release()
            arrays: dict[int, list[tuple]] = defaultdict(list)
            for k, path, shape, dtype in found.arrays:
                arrays[k].append((path, shape[1:], dtype))
            steps = {k: shape[0] for k, path, shape, _ in found.arrays if path == "actions" and shape}
            for k, name in enumerate(names):
                kinds = tuple(arrays[k])
                if kinds not in alike:
                    alike[kinds] = {path: (shape, str(dtype)) for path, shape, dtype in kinds}
                yield name, Outline(alike[kinds], steps.get(k, 0), found.attributes[k])
