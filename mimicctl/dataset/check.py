"""Finding, before training does, what would break it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mimicctl.dataset.dialect import ASIDE, suspicion
from mimicctl.dataset.info import keys_of
from mimicctl.dataset.reader import Dataset, demo_number, whole_number
from mimicctl.errors import UserError
from mimicctl.schema import INTENDED_ACTIONS

_RELATIVE_ACTION_DIM = 7


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        severity: an error breaks training; a warning is worth knowing.
        demo, key: where; "" for the file as a whole.
    """

    severity: Literal["error", "warning"]
    demo: str
    key: str
    what: str
    do: str


def check(dataset: Dataset) -> Iterator[Finding]:
    """Everything that is wrong with a dataset, one demo in memory at a time."""
    yield from _check_file(dataset)
    if not dataset.demos:
        return
    reference = keys_of(dataset.group(dataset.demos[0]))
    for name in dataset.demos:
        yield from _check_keys(dataset, name, reference)
        yield from _check_demo(dataset, name)


def _check_file(dataset: Dataset) -> Iterator[Finding]:
    if not dataset.demos:
        yield Finding("error", "", "data", "there are no demonstrations", "record or generate some")
        return
    readable = True
    try:
        if not dataset.env_args:
            yield Finding("error", "", "data.attrs[env_args]", "missing; robomimic reads the env from it", "write the file again with mimicctl")
    except UserError as error:
        readable = False
        yield Finding("error", "", "data.attrs[env_args]", error.what, error.do)
    numbers = [demo_number(name) for name in dataset.demos]
    missing = sorted(set(range(max(numbers) + 1)) - set(numbers))
    if missing:
        shown = ", ".join(str(n) for n in missing[:5]) + (" ..." if len(missing) > 5 else "")
        yield Finding("warning", "", "data", f"gaps in the numbering: no demo {shown}", "nothing, unless a script counts from 0")
    said, steps = dataset.group(dataset.demos[0]).parent.attrs.get("total"), dataset.total
    if said is not None and whole_number(said) != steps:
        yield Finding("warning", "", "data.attrs[total]", f"says {said} steps, there are {steps}", "nothing; it is recomputed on reading")
    # What kind of file it is can be told with its env_args alone.
    if readable and (odd := suspicion(dataset)):
        what, _, do = odd.partition(": ")
        yield Finding("warning", "", "attrs[format_version]", what, do)
    yield from _check_masks(dataset)


def _check_masks(dataset: Dataset) -> Iterator[Finding]:
    masks = dataset.masks
    if not {"train", "valid"} <= masks.keys():
        yield Finding("warning", "", "mask", "no mask/train and mask/valid", "mimicctl dataset split (training does it by itself)")
    for key, names in masks.items():
        absent = sorted(set(names) - set(dataset.demos))
        if absent:
            yield Finding("error", absent[0], f"mask/{key}", f"names {len(absent)} demos that are not there", "mimicctl dataset split --overwrite")
    both = set(masks.get("train", ())) & set(masks.get("valid", ()))
    if both:
        yield Finding("error", sorted(both)[0], "mask", f"{len(both)} demos are in train and in valid", "mimicctl dataset split --overwrite")


def _check_keys(dataset: Dataset, name: str, reference: dict[str, tuple[tuple[int, ...], str]]) -> Iterator[Finding]:
    keys = keys_of(dataset.group(name))
    for key in sorted(reference.keys() - keys.keys() - {INTENDED_ACTIONS}):
        yield Finding("error", name, key, f"missing, though {dataset.demos[0]} has it", "leave the demo out, or record it again")
    for key in sorted(keys.keys() - reference.keys() - {INTENDED_ACTIONS}):
        yield Finding("error", name, key, f"{dataset.demos[0]} does not have it", "leave the demo out, or record it again")
    for key in sorted(keys.keys() & reference.keys()):
        if keys[key] != reference[key]:
            yield Finding(
                "error", name, key, f"is {_shape(keys[key])}, but {_shape(reference[key])} in {dataset.demos[0]}", "use demos of one task and version"
            )


def _shape(key: tuple[tuple[int, ...], str]) -> str:
    return f"(T{''.join(f', {n}' for n in key[0])}) {key[1]}"


def _check_demo(dataset: Dataset, name: str) -> Iterator[Finding]:
    steps = dataset.length(name)
    if steps == 0:
        yield Finding("error", name, "actions", "the demo is empty", "leave it out")
        return
    attributes = dataset.attributes(name)
    if whole_number(attributes.get("num_samples")) != steps:
        said = attributes.get("num_samples", "nothing")
        yield Finding("error", name, "attrs[num_samples]", f"says {said}, there are {steps} actions", "write the demo again")
    if "success" in attributes and not attributes["success"]:
        yield Finding("warning", name, "attrs[success]", "the demo is marked as a failure", "leave it out of training")
    for path, array in dataset.arrays(name):
        yield from _check_array(name, path, array, steps)


def _check_array(name: str, path: str, array: np.ndarray, steps: int) -> Iterator[Finding]:
    if array.dtype.kind not in "biuf":
        yield Finding("error", name, path, f"holds {array.dtype}, not numbers", "leave the demo out")
        return
    # Manual annotation writes signals as (1, T).
    length = array.size if "_signals/" in path else len(array) if array.ndim else 0
    expected = 1 if path.removeprefix(ASIDE).startswith("initial_state/") else steps
    if length != expected:
        yield Finding("error", name, path, f"has {length} steps, not {expected}", "leave the demo out")
        return
    if np.issubdtype(array.dtype, np.floating) and not np.all(np.isfinite(array)):
        step = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0])
        yield Finding("error", name, path, f"NaN or infinite, first at step {step}", "leave the demo out")
    elif path == "actions" and array.ndim == 2 and array.shape[1] == _RELATIVE_ACTION_DIM and np.abs(array).max() > 1 + 1e-6:
        step = int(np.argmax(np.abs(array).max(axis=1) > 1 + 1e-6))
        yield Finding("error", name, path, f"out of [-1, 1], first at step {step}", "record it again, or train with --normalize-actions")
