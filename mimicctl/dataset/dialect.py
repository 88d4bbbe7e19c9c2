"""Whose conventions a file follows, told from what is in it, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import h5py
import numpy as np

from mimicctl.dataset import mimicgen
from mimicctl.dataset.mimicgen import Leaves
from mimicctl.dataset.quaternions import Layouts, layouts_of, quaternion_columns, xyzw_from_wxyz
from mimicctl.errors import UserError
from mimicctl.schema import FORMAT_VERSION, LINEAGE_ATTR
from mimicctl.tasks import TaskSpec, canonical_id, twin_of

if TYPE_CHECKING:
    from mimicctl.dataset.reader import Dataset

Kind = Literal["isaaclab2", "isaaclab3", "mimicgen", "robomimic"]

SAID = {"isaaclab2": "Isaac Lab 2.x", "isaaclab3": "Isaac Lab 3.x", "mimicgen": "MimicGen", "robomimic": "robomimic"}
ASIDE = "mimicctl/aside/"
"""Below a demo: what the file's dialect has no place for, under the path where another dialect has one. Other tools look past it."""

_ISAACLAB_ONLY = ("initial_state", "processed_actions", "obs/datagen_info")
_ROBOMIMIC_ONLY = ("rewards", "dones")


@dataclass(frozen=True)
class Dialect:
    """What one has to know to read a file's arrays.

    Attributes:
        ours: mimicctl wrote it, in Isaac Lab 3's layout.
    """

    kind: Kind
    env_name: str = ""
    env_args: Mapping[str, Any] = field(default_factory=dict)
    ours: bool = False

    @property
    def layouts(self) -> Layouts:
        return layouts_of(self.env_name)

    @property
    def robot(self) -> str:
        return mimicgen.robot_of(self.env_args)

    @property
    def from_isaaclab(self) -> bool:
        """Whether an env of Isaac Lab recorded it, whatever it was written by since."""
        return canonical_id(self.env_name).startswith("Isaac")


def recognise(file: h5py.File, demo: h5py.Group | None, env_args: Mapping[str, Any], format_version: int) -> Dialect:
    """By the arrays of a demo: `format_version` alone would take robomimic's and MimicGen's files for Isaac Lab's."""
    env_name = str(env_args.get("env_name", ""))
    generation: Kind = "isaaclab3" if format_version >= FORMAT_VERSION else "isaaclab2"
    if demo is None:
        kind = generation
    elif isinstance(demo.get("datagen_info"), h5py.Group):
        kind = "mimicgen"
    elif any(path in demo for path in _ISAACLAB_ONLY) or isinstance(demo.get("states"), h5py.Group):
        kind = generation
    elif mimicgen.is_robosuite(env_args) or any(path in demo for path in _ROBOMIMIC_ONLY) or f"{ASIDE}states" in demo:
        kind = "robomimic"
    else:
        # Demos of nothing but actions and observations are Isaac Lab's if they are from one of its envs or say their format.
        isaac = format_version or LINEAGE_ATTR in file["data"].attrs or env_name.rsplit(":", 1)[-1].startswith("Isaac")
        kind = generation if isaac else "robomimic"
    return Dialect(kind, env_name, env_args, ours=kind == "isaaclab3" and LINEAGE_ATTR in file["data"].attrs and not env_name.startswith("Isaac"))


def to_isaaclab3(leaves: Leaves, dialect: Dialect, where: str) -> Leaves:
    """The arrays of a demo as Isaac Lab 3 has them, which is how mimicctl thinks of them. What was set aside is back in its place.

    Raises:
        UserError: the demo is not what its dialect says.
    """
    leaves = {path.removeprefix(ASIDE): leaf for path, leaf in leaves.items()}
    if dialect.kind == "isaaclab2":
        columns = {path: quaternion_columns(path, leaf.shape, dialect.layouts) for path, leaf in leaves.items()}
        return leaves | {path: xyzw_from_wxyz(leaves[path], found) for path, found in columns.items() if found}
    if dialect.kind == "mimicgen":
        controller = mimicgen.controller_of(dialect.env_args, where)
        return mimicgen.info_to_isaaclab(mimicgen.actions_to_isaaclab(leaves, controller, where), dialect.robot, where)
    if dialect.kind == "robomimic" and mimicgen.is_robosuite(dialect.env_args):
        return mimicgen.actions_to_isaaclab(leaves, mimicgen.controller_of(dialect.env_args, where), where)
    return leaves


def understood(dataset: Dataset, task_id: str = "", names: Mapping[str, str] | None = None) -> str:
    """One sentence: what the file was taken for. Of its arrays it looks at the first demo's.

    Args:
        task_id: that the user asked for; "" if none was.
        names: the file's to the task's, where they differ.
    """
    dialect = dataset.dialect
    parts = ["mimicctl file (Isaac Lab 3.x layout)" if dialect.ours else f"{SAID[dialect.kind]} file"]
    if dialect.kind != "robomimic":
        parts[0] += f", {'annotated' if info_names(dataset) else 'not annotated'}"
    parts.append(_order(dialect))
    twin = twin_of(dialect.env_name) or (twin_of(task_id) if dialect.kind == "mimicgen" else None)
    as_it_is = bool(task_id) and canonical_id(task_id) == canonical_id(dialect.env_name)
    parts.append(f"task {dialect.env_name or 'not said'}{'' if as_it_is else _read_as(dialect, twin)}")
    called = {name: f"{name} ({ours})" for name, ours in (names or {}).items()}
    found = info_names(dataset)
    parts += [f"{label} {', '.join(called.get(name, name) for name in found[group])}" for label, group in _GROUPS if found.get(group)]
    return "; ".join(parts) + "."


def _read_as(dialect: Dialect, twin: TaskSpec | None) -> str:
    if twin:
        return "" if twin.task_id == dialect.env_name else f" read as {twin.task_id}"
    if dialect.kind == "mimicgen":
        return ", which serves the --task that has the same objects (generate.names says which is which)"
    return ", which no task here is the twin of" if dialect.env_name else ""


_GROUPS = (("eef", "eef_pose"), ("objects", "object_pose"), ("signals", "subtask_term_signals"))


def _order(dialect: Dialect) -> str:
    if dialect.kind in ("mimicgen", "robomimic"):
        return "poses as matrices" if dialect.kind == "mimicgen" else "arrays taken as they are"
    return f"quaternions {'wxyz' if dialect.kind == 'isaaclab2' else 'xyzw'}"


def info_names(dataset: Dataset) -> dict[str, list[str]]:
    """Names in the first demo's annotation: "eef_pose", "object_pose", "subtask_term_signals" to names. Empty if it has none."""
    demo = dataset.group(dataset.demos[0]) if dataset.demos else {}
    if dataset.dialect.kind == "mimicgen":
        info = demo["datagen_info"]
        robot = dataset.dialect.robot or "Panda"
        found = {"eef_pose": [f"of the {robot}"] if "eef_pose" in info else [], "object_pose": list(info.get("object_poses", ()))}
    elif "obs/datagen_info" in demo:
        info = demo["obs/datagen_info"]
        found = {group: list(info.get(group, ())) for group in ("eef_pose", "object_pose")}
    else:
        return {}
    return found | {"subtask_term_signals": list(info.get("subtask_term_signals", ()))}


def suspicion(dataset: Dataset) -> str:
    """A sentence if quaternions look like the other order: a robot's base stands upright and mostly unturned. "" if nothing is odd.

    Isaac Lab 3's own conversion from videos forgets `format_version`, for instance.
    """
    if dataset.dialect.kind not in ("isaaclab2", "isaaclab3") or not dataset.demos:
        return ""
    robots = dataset.group(dataset.demos[0]).get("initial_state/articulation", {})
    for name in robots:
        pose = np.asarray(robots[name].get("root_pose", np.zeros((0, 7))))
        if pose.shape != (1, 7):
            continue
        first, last = pose[0, 3], pose[0, 6]
        looks = "isaaclab3" if abs(last) > 0.99 and abs(first) < 1e-3 else "isaaclab2" if abs(first) > 0.99 and abs(last) < 1e-3 else ""
        if looks and looks != dataset.dialect.kind:
            said, seen = ("wxyz", "xyzw") if looks == "isaaclab3" else ("xyzw", "wxyz")
            return (
                f"By its format_version quaternions are {said}, but {name}'s root_pose looks like {seen}: if it is, "
                f"mimicctl dataset convert-dialect FILE --from {looks} --to isaaclab3 puts it right."
            )
    return ""


def refuse_without_poses(dataset: Dataset) -> None:
    """UserError for a plain robomimic file, which has nothing to move segments by."""
    if dataset.dialect.kind == "robomimic":
        do = "prepare it where it was recorded (MimicGen's prepare_src_dataset.py for robosuite), or train on it as it is"
        if ASIDE.rstrip("/") in dataset.group(dataset.demos[0]):
            do = f"put it back: mimicctl dataset convert-dialect {dataset.path} --to isaaclab3"
        what = "This is a plain robomimic file: it holds no poses of eef and objects, so its demonstrations cannot be moved or annotated."
        raise UserError(what, where=str(dataset.path), do=do)
