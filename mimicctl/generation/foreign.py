"""Source demonstrations in the names and frames of the task they are to serve, whoever recorded them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mimicctl import poses
from mimicctl.dataset.dialect import SAID, refuse_without_poses
from mimicctl.dataset.reader import Dataset
from mimicctl.errors import UserError
from mimicctl.schema import Episode
from mimicctl.tasks import TaskSpec, family_of, on_isaaclab, twin_of
from mimicctl.tasks.franka import TOOL_OFFSET

_SETTING = "generate.names"


def source_episodes(dataset: Dataset, task: TaskSpec, demos: Sequence[str], names: Mapping[str, str]) -> Iterator[tuple[str, Episode]]:
    """Annotated demos with what they hold called as the task calls it.

    Args:
        names: of objects, signals and eefs, the file's to the task's; those that are called the same are left out.

    Raises:
        UserError: the demos are of a task that this one cannot use, or names do not fit.
    """
    refuse_without_poses(dataset)
    _refuse_other_task(dataset, task)
    twin = twin_of(dataset.task_id)
    # Isaac Lab's files have the poses that absolute control aims the hand at; ours those of the tool point, which relative control moves in both.
    aims_hand = dataset.dialect.from_isaaclab and twin is not None and twin.control == "abs" and twin.robot == "franka"
    for demo in demos:
        episode = dataset.episode(demo)
        if not episode.datagen_info:
            do = f"annotate it first: mimicctl annotate --auto --input-file {dataset.path}"
            raise UserError("The source demonstrations are not annotated: they hold no poses of eef and objects.", where=f"{demo} of {dataset.path}", do=do)
        info = _renamed(episode.datagen_info, task, names, f"{demo} of {dataset.path}")
        if aims_hand:
            info |= {path: poses.along_z(value, TOOL_OFFSET) for path, value in info.items() if path.startswith("target_eef_pose/")}
        yield demo, replace(episode, datagen_info=info)


def _refuse_other_task(dataset: Dataset, task: TaskSpec) -> None:
    """UserError for another task's demos. MimicGen's are of envs that are none of ours, so there names decide."""
    dialect = dataset.dialect
    twin = twin_of(dataset.task_id)
    if dialect.kind == "mimicgen" and not twin:
        robot = dialect.robot
        if robot not in ("", "Panda"):
            what = f"The demonstrations are of a {robot}, whose eef frame is not known here."
            raise UserError(what, where=str(dataset.path), do="give demonstrations of a Panda")
        return
    read_as = twin.task_id if twin else dataset.task_id
    if not dialect.env_name:
        return
    if family_of(read_as) in {family_of(name) for name in (task.task_id, task.sources_of) if name}:
        if on_isaaclab(dataset.task_id) != on_isaaclab(task.task_id) and (task.is_humanoid or (twin is not None and twin.is_humanoid)):
            what = f"The source demonstrations are of {dialect.env_name}, and {task.task_id} looks along another axis: humanoids face +y in Isaac Lab, +x on MuJoCo."
            raise UserError(what, where=str(dataset.path), do=f"give demonstrations of {task.task_id}")
        return
    if twin:
        do = f"give --task {twin.task_id}, or demonstrations of {task.task_id}"
        raise UserError(f"The source demonstrations are of another task, {dialect.env_name}.", where=str(dataset.path), do=do)
    what = f"The source demonstrations are of {dialect.env_name}, which no task here is the twin of ({SAID[dialect.kind]} file)."
    raise UserError(what, where=str(dataset.path), do=f"give demonstrations of {task.task_id}; mimicctl tasks lists what there is")


def _renamed(info: dict[str, np.ndarray], task: TaskSpec, names: Mapping[str, str], where: str) -> dict[str, np.ndarray]:
    known = {"object_pose": [item.name for item in task.objects], "eef_pose": list(task.eef_names), "subtask_term_signals": list(task.term_signals)}
    found = {group: [path.partition("/")[2] for path in info if path.startswith(f"{group}/")] for group in known}
    own = {name for group in known.values() for name in group}
    for theirs, ours in names.items():
        if not any(theirs in group for group in found.values()):
            what = f'The file holds nothing called "{theirs}"; it has {_list(found)}.'
            raise UserError(what, where=f"{_SETTING}, {where}", do="name what is in the file on the left, and what it is called here on the right")
        if ours not in own:
            raise UserError(f'{task.task_id} has nothing called "{ours}"; it has {_list(known)}.', where=_SETTING, do="name one of these on the right")
    if twice := sorted({ours for ours in names.values() if list(names.values()).count(ours) > 1}):
        raise UserError(f"Two names stand for {twice[0]}.", where=_SETTING, do="give each its own")
    names = dict(names)
    if len(found["eef_pose"]) == len(known["eef_pose"]) == 1:  # one hand is one hand
        names.setdefault(found["eef_pose"][0], known["eef_pose"][0])
    renamed = {f"{group}/{names.get(name, name)}": value for (group, _, name), value in ((path.partition("/"), value) for path, value in info.items())}
    missing = {group: [name for name in wanted if f"{group}/{name}" not in renamed] for group, wanted in known.items()}
    if any(missing.values()):
        spare = {group: [name for name in found[group] if name not in names and name not in own] for group in known}
        flags = [f"-o {_SETTING}.{name}=<{' or '.join(missing[group])}>" for group in known if missing[group] for name in spare[group]]
        enough = all(len(spare[group]) >= len(missing[group]) for group in known)
        what = f"The demonstrations hold nothing called {_list(missing)}, which {task.task_id} asks for; they have {_list(found)}."
        do = f"say what is what: {' '.join(flags)}" if enough else "give the --task they are of, or annotate them again"
        raise UserError(what, where=where, do=do)
    return renamed


def _list(groups: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(name for group in groups.values() for name in group) or "nothing"
