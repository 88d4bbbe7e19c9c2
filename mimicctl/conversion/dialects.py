"""A dataset in the conventions of another tool: Isaac Lab 2 and 3, MimicGen, robomimic. What is the same in both is copied as it is stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import mimicctl
from mimicctl.dataset import mimicgen
from mimicctl.dataset.dialect import ASIDE, SAID, Dialect, Kind, to_isaaclab3
from mimicctl.dataset.mimicgen import Leaves
from mimicctl.dataset.quaternions import quaternion_columns, wxyz_from_xyzw
from mimicctl.dataset.reader import Dataset, file_sha256, is_demo_name
from mimicctl.dataset.seals import Seal, attributes_sha256, demo_sha256, replace_seals
from mimicctl.dataset.whole_file import META_BLOCK, checked_whole_output, refuse_full_disk, whole_file
from mimicctl.dataset.writer import write_array
from mimicctl.errors import UserError
from mimicctl.schema import FORMAT_VERSION, LINEAGE_ATTR

# Families of Isaac Lab's tasks whose ids begin with IsaacContrib and have no version in 3.0. Those for Mimic kept their names, but for the bin's.
_RENAMED = ("Stack-Cube-Franka-", "Stack-Cube-Bin-Franka-", "Stack-Cube-Instance-Randomize-Franka-", "PickPlace-GR1T2-", "NutPour-GR1T2-", "ExhaustPipe-GR1T2-")
_INTERFACE = "datagen_info."
"""How attributes of MimicGen's group are called on the demo where there is no such group."""


@dataclass(frozen=True)
class Plan:
    """What a conversion does to every demo, found out on the first one.

    Attributes:
        source: what the file is.
        changed: arrays of the output that are computed anew.
        aside: arrays that the target has no place for, kept below `mimicctl/aside`.
        remarks: what one should know before it is written, as sentences.
    """

    source: Dialect
    to: Kind
    env_name: str
    changed: tuple[str, ...]
    aside: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Converted:
    path: Path
    demos: int


def plan_conversion(dataset: Dataset, to: Kind, source: Kind | None = None) -> Plan:
    """What would be done, and everything about it that is not obvious. Nothing is written.

    Args:
        source: what the file is, where it would be taken for something else.

    Raises:
        UserError: the file is in that dialect already, or cannot be put into it; every demo that speaks against it is named.
    """
    dialect = replace(dataset.dialect, kind=source) if source else dataset.dialect
    relabelled = source is not None and source != dataset.dialect.kind
    if dialect.kind == to and not relabelled:
        raise UserError(
            f"The file is {SAID[to]}'s already.", where=str(dataset.path), do="leave it as it is; where it was taken for the wrong one, give --from"
        )
    _refuse_unfit(dataset, dialect, to)
    first = dataset.demos[0]
    before = leaves_of(dataset.group(first))
    after = convert_leaves(before, dialect, to, first)
    changed = tuple(path for path, leaf in after.items() if isinstance(leaf, np.ndarray))
    aside = tuple(path.removeprefix(ASIDE) for path in after if path.startswith(ASIDE))
    return Plan(dialect, to, env_name_for(dataset.task_id, to), changed, aside, tuple(_remarks(before, after, dialect, to)))


def convert(
    file: str | Path,
    to: Kind,
    output: str | Path,
    *,
    source: Kind | None = None,
    overwrite: bool = False,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Converted:
    """Write a dataset in another dialect to a file of its own, which appears when it is complete.

    Args:
        source: what the file is, where it would be taken for something else.
        on_plan: called before anything is written.
        on_progress: called with demos done and demos in all.

    Raises:
        UserError: it cannot be converted, or the output exists.
        RunFailed: it could not be written. The output is as it was.
    """
    target = checked_whole_output([file], output, overwrite=overwrite)
    with Dataset(file) as dataset:
        plan = plan_conversion(dataset, to, source)
        refuse_full_disk(target, dataset.path.stat().st_size)
        on_plan(plan)
        with whole_file(target, "Converting") as partial:
            _write(dataset, plan, partial, on_progress)
        return Converted(target, len(dataset))


def leaves_of(demo: h5py.Group) -> Leaves:
    """Every array of a demo, unread."""
    found: Leaves = {}
    demo.visititems(lambda path, item: found.__setitem__(path, item) if isinstance(item, h5py.Dataset) else None)
    return found


def convert_leaves(leaves: Leaves, dialect: Dialect, to: Kind, where: str) -> Leaves:
    """A demo's arrays in another dialect, by way of Isaac Lab 3's. What stays as it is stays unread."""
    if "actions" not in leaves:
        raise UserError("The demo has no actions.", where=where, do="leave it out, or record it again")
    common = to_isaaclab3(leaves, dialect, where)
    if to == "isaaclab2":
        columns = {path: quaternion_columns(path, leaf.shape, dialect.layouts) for path, leaf in common.items()}
        common = common | {path: wxyz_from_xyzw(np.asarray(common[path]), found) for path, found in columns.items() if found}
    elif to == "mimicgen":
        controller = mimicgen.controller_of(dialect.env_args, where)
        common = mimicgen.actions_to_robosuite(mimicgen.info_to_mimicgen(common, dialect.robot, where), controller, where)
    elif to == "robomimic" and mimicgen.is_robosuite(dialect.env_args):
        common = mimicgen.actions_to_robosuite(common, mimicgen.controller_of(dialect.env_args, where), where)
    return {path if _has_place(path, to) else ASIDE + path: leaf for path, leaf in common.items()}


def _has_place(path: str, to: Kind) -> bool:
    if to in ("isaaclab2", "isaaclab3"):
        return path != "states" and not path.startswith("datagen_info/")
    if path.startswith(("states/", "initial_state/", "obs/datagen_info/")) or path == "processed_actions":
        return False
    return to == "mimicgen" or not path.startswith("datagen_info/")


def env_name_for(env_name: str, to: Kind) -> str:
    """The id that this generation of Isaac Lab has for one of its envs; the names of others stay."""
    base = env_name.rsplit(":", 1)[-1]
    family = base.split("-", 1)[-1]
    if not family.startswith(_RENAMED) or not base.startswith("Isaac") or ("-Mimic" in base and "-Bin-" not in base):
        return env_name
    if to == "isaaclab3":
        return f"IsaacContrib-{family.removesuffix('-v0')}"
    return f"Isaac-{family.removesuffix('-v0')}-v0" if to == "isaaclab2" else env_name


# What speaks against it, and what should be known -------------------------------------------------------------


def _refuse_unfit(dataset: Dataset, dialect: Dialect, to: Kind) -> None:
    """UserError unless every demo has what the target needs, by names and shapes alone."""
    if to != "mimicgen":
        return
    if dialect.layouts.actions and dialect.layouts.actions != "vv.":
        what = "MimicGen's files of robosuite hold relative actions of one arm, and these are not."
        raise UserError(what, where=f"{dataset.path}, task {dialect.env_name}", do="convert a dataset of relative control")
    needed = ("eef_pose", "target_eef_pose", "object_pose")
    for name in dataset.demos:
        info = dataset.group(name).get(f"{ASIDE}datagen_info") or dataset.group(name).get("obs/datagen_info") or ()
        if dialect.kind in ("isaaclab2", "isaaclab3") and any(group not in info for group in needed):
            do = f"annotate it first: mimicctl annotate --input-file {dataset.path.name}"
            raise UserError("The demo is not annotated, so there are no poses for MimicGen.", where=f"{name} of {dataset.path}", do=do)
        if dialect.kind == "robomimic" and not info:
            do = "prepare it where it was recorded (MimicGen's prepare_src_dataset.py)"
            raise UserError("The demo holds no poses of eef and objects.", where=f"{name} of {dataset.path}", do=do)


def _remarks(before: Leaves, after: Leaves, dialect: Dialect, to: Kind) -> Iterator[str]:
    kinds = {dialect.kind, to}
    if "isaaclab2" in kinds:
        unknown = sorted(path for path, leaf in before.items() if quaternion_columns(path, leaf.shape, dialect.layouts) is None)
        if unknown:
            yield f"Not known here, and left as they are: which columns of {', '.join(unknown)} are quaternions, for the task {dialect.env_name or 'not said'}."
    if "isaaclab2" in kinds and kinds & {"mimicgen", "robomimic"}:
        yield "Quaternions in observations: robosuite's are xyzw, and are taken to be, and written as, that."
    if "mimicgen" in kinds and len(kinds) > 1:
        yield "Target poses are computed anew: MimicGen stores what its controller is told, Isaac Lab the eef moved by the raw action. They come back to within 1e-6."
        robot = dialect.robot
        if robot not in ("", "Panda"):
            yield f"The frame of the {robot}'s eef stays robosuite's; only the Panda's is known here."
    rescaled = to == "mimicgen" or dialect.kind == "mimicgen" or ("robomimic" in kinds and mimicgen.is_robosuite(dialect.env_args))
    if rescaled and len(kinds) > 1 and kinds != {"mimicgen", "robomimic"}:
        yield "Actions are rescaled (robosuite: 1 is 5 cm or 0.5 rad unless the file says otherwise, and +1 closes the gripper; Isaac Lab: half a metre, +1 opens)."
    if to == "mimicgen" and float(np.abs(np.asarray(after["actions"])).max(initial=0.0)) > 1 + 1e-6:
        yield "Some actions ask for more than robosuite's controller does in one step, and it would clip them; MimicGen generates from the poses."
    if dialect.kind == "mimicgen" and to in ("isaaclab2", "isaaclab3"):
        world = " They stay in robosuite's world, where the table is 0.8 m high." if mimicgen.is_robosuite(dialect.env_args) else ""
        yield f"Poses are rounded to float32.{world}"
    if to in ("isaaclab2", "isaaclab3") and not any(path.startswith("initial_state/") for path in after):
        yield "There is no initial_state, so the demos cannot be replayed in Isaac Lab."


# Writing ------------------------------------------------------------------------------------------------------


def _write(dataset: Dataset, plan: Plan, path: Path, on_progress: Callable[[int, int], None]) -> None:
    with ExitStack() as stack:
        output = stack.enter_context(h5py.File(path, "w", meta_block_size=META_BLOCK))
        source = dataset.group(dataset.demos[0]).file
        output.attrs.update(source.attrs)
        # robomimic and MimicGen do not look at it; for mimicctl it says that quaternions are xyzw.
        output.attrs["format_version"] = FORMAT_VERSION
        if plan.to == "isaaclab2":
            del output.attrs["format_version"]
        for name in source:
            if name != "data":
                source.copy(name, output)
        data = output.create_group("data")
        data.attrs.update(source["data"].attrs)
        for name in source["data"]:
            if not is_demo_name(name):
                source.copy(f"data/{name}", data)
        seals = []
        for done, name in enumerate(dataset.demos, start=1):
            _write_demo(dataset.group(name), data.create_group(name), plan, f"{name} of {dataset.path}")
            seals.append(Seal(name, demo_sha256(data[name]), dataset.demo_sha256(name), attributes_sha256(data[name])))
            on_progress(done, len(dataset))
        if "env_args" in data.attrs:
            data.attrs["env_args"] = json.dumps({**dataset.env_args, "env_name": plan.env_name})
        data.attrs["total"] = dataset.total
        data.attrs[LINEAGE_ATTR] = json.dumps(_lineage(dataset, plan))
        replace_seals(output, seals)


def _write_demo(demo: h5py.Group, copy: h5py.Group, plan: Plan, where: str) -> None:
    for path, leaf in convert_leaves(leaves_of(demo), plan.source, plan.to, where).items():
        if isinstance(leaf, np.ndarray):
            write_array(copy, path, leaf)
        else:
            folder, _, name = path.rpartition("/")
            demo.file.copy(leaf, copy.require_group(folder) if folder else copy, name)
    copy.attrs.update(_attributes(demo, plan.source.kind, plan.to))
    copy.attrs["num_samples"] = len(demo["actions"])
    if plan.to == "mimicgen":
        group = copy["datagen_info"]
        for key in [key for key in copy.attrs if key.startswith(_INTERFACE)]:
            group.attrs[key.removeprefix(_INTERFACE)] = copy.attrs.pop(key)


def _attributes(demo: h5py.Group, source: Kind, to: Kind) -> Mapping[str, Any]:
    """Those of the demo; attributes of MimicGen's group, which is about to go, among them."""
    attributes = dict(demo.attrs)
    if source == "mimicgen" and to != "mimicgen" and "datagen_info" in demo:
        attributes |= {_INTERFACE + key: value for key, value in demo["datagen_info"].attrs.items()}
    return attributes


def _lineage(dataset: Dataset, plan: Plan) -> dict[str, Any]:
    return {
        "made_by": "mimicctl dataset convert-dialect",
        "version": mimicctl.__version__,
        "task": plan.env_name,
        "from": plan.source.kind,
        "to": plan.to,
        "inputs": [{"file": dataset.path.name, "file_sha256": file_sha256(dataset.path), "task": dataset.task_id, "lineage": dataset.lineage}],
    }


def in_words(plan: Plan) -> list[str]:
    """What is said before anything is written."""
    words = [f"{SAID[plan.source.kind]} to {SAID[plan.to]}."]
    if plan.env_name != plan.source.env_name:
        words.append(f"The task {plan.source.env_name} is called {plan.env_name} there.")
    if plan.aside:
        groups = dict.fromkeys(_group_of(path) for path in plan.aside)
        words.append(
            f"No place in the target for {', '.join(groups)}: kept below {ASIDE.rstrip('/')}, which other tools look past; converting back puts it in place."
        )
    return [*words, *plan.remarks]


def _group_of(path: str) -> str:
    return "obs/datagen_info" if path.startswith("obs/datagen_info/") else path.partition("/")[0]
