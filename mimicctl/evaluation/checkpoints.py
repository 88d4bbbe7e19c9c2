"""Which checkpoints to evaluate, on which task, and what to call them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimicctl import schema
from mimicctl.envs import make_env, require_renderer
from mimicctl.envs.conditions import FORMAT_VERSION, MIXED, SWING_CANCELLATION, changes, conditions_of
from mimicctl.errors import UserError
from mimicctl.provenance.checkpoints import refuse_tainted
from mimicctl.rendering.replay import with_cameras
from mimicctl.tasks import TaskSpec, find_task, on_isaaclab
from mimicctl.tasks.fingerprint import changes_since
from mimicctl.training.lerobot_trainer import checkpoints_in, is_checkpoint

if TYPE_CHECKING:
    from mimicctl.training.policy import Policy


def find_checkpoints(path: Path, *, best: bool = False) -> list[Path]:
    """The file itself, or every checkpoint of a run folder in order of epochs.

    Args:
        best: of a folder, only the last checkpoint and the one that validated best.

    Raises:
        UserError: there is none.
    """
    if path.is_file() or is_checkpoint(path):
        return [path]
    if not path.exists():
        raise UserError("There is no such file or folder.", where=str(path), do="give --checkpoint a .pth file, a folder pretrained_model or a run folder")
    folder = path / "models" if (path / "models").is_dir() else path
    found = sorted(folder.glob("*.pth"), key=lambda p: (epoch_of(p), len(p.name))) or checkpoints_in(path)
    if not found:
        raise UserError("There are no checkpoints here.", where=str(path), do="train first (mimicctl train), or give --checkpoint")
    last = max(found, key=epoch_of)
    return [c for c in found if "best" in c.name or c == last] if best else found


def last_run(log_dir: Path) -> Path:
    """The run folder that was written to last.

    Raises:
        UserError: there is none.
    """
    runs = [path for path in log_dir.glob("*") if (path / "config.json").is_file() and (path / "models").is_dir()]
    runs += [path for path in log_dir.glob("*") if checkpoints_in(path)]
    if not runs:
        raise UserError("There is no trained policy.", where=str(log_dir.absolute()), do="train one (mimicctl train), or give --checkpoint")
    return max(runs, key=lambda run: max(path.stat().st_mtime for path in (run / "models", run / "lerobot" / "checkpoints") if path.is_dir()))


def epoch_of(path: Path) -> int:
    """Of LeRobot's, the step; -1 if the name does not say."""
    if path.is_dir():
        return int(path.parent.name) if path.parent.name.isdigit() else -1
    match = re.search(r"epoch_(\d+)", path.name)
    return int(match.group(1)) if match else -1


def run_folder(source: Path) -> Path:
    """Where a run keeps what is not a checkpoint, from its folder or one of its checkpoints."""
    if is_checkpoint(source):
        return source.parents[3] if source.parent.parent.name == "checkpoints" else source
    if source.is_dir():
        return source
    return source.parent.parent if source.parent.name == "models" else source.parent


def labels_of(checkpoints: Sequence[Path]) -> list[str]:
    """A short name for each: what tells it from the others."""
    # LeRobot's are all called pretrained_model, in folders of their steps.
    named = [path.parent if path.is_dir() and path.name == "pretrained_model" else path.with_suffix("") for path in checkpoints]
    whole = [Path(os.path.abspath(path)) for path in named]
    shared = os.path.commonpath([path.parent for path in whole])
    names = [path.relative_to(shared) for path in whole]
    short = ["/".join(part for part in name.parts if part != "models") for name in names]
    return short if len(set(short)) == len(short) else [str(name) for name in names]


def task_of(
    checkpoints: Sequence[Path],
    task_id: str = "",
    action_range: tuple[float, float] | None = None,
    *,
    need_images: bool = False,
    allow_tainted: bool = False,
    num_envs: Callable[[TaskSpec], int] = lambda task: 1,
    on_event: Callable[[str], None] = lambda text: None,
) -> TaskSpec:
    """The task to roll all of them out on. Each is loaded, so that none turns out unfit after hours.

    Args:
        task_id: "" to take the checkpoints' word for it.
        action_range: see `Policy`.
        need_images: refuse policies that see none.
        allow_tainted: also take policies whose demonstrations have been withdrawn.
        num_envs: that the rollouts will have; Isaac Lab then goes on with the same ones.
        on_event: called with a sentence if the task is no longer what a policy learnt.

    Raises:
        UserError: a checkpoint cannot be loaded, does not say its task, or was trained on another one; or it sees images, and nothing draws them here, or
            other looks of them are needed and the task is on Isaac Lab.
    """
    from mimicctl.training.policies import load_policy

    refuse_tainted(checkpoints, allow_tainted)
    policies = [load_policy(path, action_range=action_range) for path in checkpoints]
    for policy in policies:
        if need_images:
            _refuse_looks_of_isaaclab(policy, task_id or _env_name(policy))
        if need_images and not policy.rgb_keys:
            raise UserError(
                "The policy sees no camera images, so the look of the scene changes nothing for it.",
                where=str(policy.path),
                do="mimicctl eval play says how often it succeeds; or train on a dataset with images (mimicctl train --recipe image-mlp)",
            )
    task = _task_of(policies[0], task_id)
    env = make_env(task, num_envs(task))
    now = {**env.sim_args, FORMAT_VERSION: schema.FORMAT_VERSION}
    given = {key: value.shape[1:] for key, value in env.observations(env.snapshot()).items()}
    env.close()
    for policy in policies:
        named = _task_of(policy, task_id)
        if named != task:
            raise UserError(
                f"The checkpoints are of different tasks: this one of {named.task_id}, the first of {task.task_id}.",
                where=str(policy.path),
                do="evaluate them one task at a time, or give --task",
            )
        _check_fit(policy, task, given)
        if altered := changes_since(policy.facts.get("dataset", {}).get("lineage", {}), task):
            on_event(f"{policy.path}: {altered}")
        if changed := changes(_learnt_under(policy), now):
            on_event(f"{policy.path}: {changed}, since the policy learnt.{_switch_back(policy, task)}")
    if any(policy.rgb_keys for policy in policies):
        require_renderer(task)
    return task


def _task_of(policy: Policy, task_id: str) -> TaskSpec:
    """With cameras if the policy sees images: the physics are the same."""
    task = find_task(task_id) if task_id else _task_named_in(policy)
    if not policy.rgb_keys or (task.isaaclab is not None and task.cameras):
        return task
    if task.isaaclab is not None:
        what = f"The policy sees camera images ({', '.join(policy.rgb_keys)}), and {task.task_id} has no cameras."
        raise UserError(what, where=str(policy.path), do="give the --task of the same name with cameras (...-Visuomotor-...)")
    return with_cameras(task.task_id)


def _env_name(policy: Policy) -> str:
    """The env it learnt in; "" if it does not say."""
    return str(policy.env_args.get("env_name") or "")


def _learnt_under(policy: Policy) -> dict[str, Any]:
    """Conditions of what it learnt from, and the format that it learnt in."""
    return conditions_of(policy.env_args) | {key: policy.facts[key] for key in (FORMAT_VERSION,) if key in policy.facts}


def _switch_back(policy: Policy, task: TaskSpec) -> str:
    """How to evaluate with the switch where it was, if that is not where it is."""
    learnt = conditions_of(policy.env_args).get(SWING_CANCELLATION)
    if learnt in (None, MIXED, task.swing_cancellation):
        return ""
    return f" {'--swing-cancellation' if learnt else '--no-swing-cancellation'} evaluates as it was."


def _refuse_looks_of_isaaclab(policy: Policy, task_id: str) -> None:
    """UserError where other looks of Isaac Lab would be needed, before it is started."""
    if on_isaaclab(task_id):
        what = "eval robust changes light, background and textures, and what draws on Isaac Lab without Isaac Sim draws a scene as it is."
        do = "give a --task on MuJoCo; how often a policy succeeds on Isaac Lab as it is, mimicctl eval play says"
        raise UserError(what, where=f"{policy.path} on {task_id}", do=do)


def _task_named_in(policy: Policy) -> TaskSpec:
    name = _env_name(policy)
    if not name:
        raise UserError("The checkpoint does not say which task it was trained on.", where=str(policy.path), do="give the --task")
    try:
        return find_task(name)
    except UserError as error:
        raise UserError(error.what, where=str(policy.path), do=f"{error.do}; --task chooses one") from None


def _check_fit(policy: Policy, task: TaskSpec, given: Mapping[str, tuple[int, ...]]) -> None:
    """UserError unless the task gives what the policy observes, in the same shapes (images are drawn in any), and takes its actions."""
    where, do = str(policy.path), "give the --task it was trained on"
    if task.isaaclab and not on_isaaclab(_env_name(policy)):
        do = "train on demonstrations of Isaac Lab (mimicctl generate --task Isaac-...), or give the --task it was trained on"
    given = {**given, **{camera.name: policy.obs_shapes.get(camera.name, ()) for camera in task.cameras if camera.name in policy.rgb_keys}}
    missing = [key for key in policy.obs_keys if key not in given]
    if missing:
        raise UserError(f"The policy observes {', '.join(missing)}, which {task.task_id} does not give.", where=where, do=do)
    for key in policy.obs_keys:
        wanted = policy.obs_shapes[key]
        if wanted != given[key]:
            raise UserError(f"The policy observes {key} in shape {wanted}; {task.task_id} gives {given[key]}.", where=where, do=do)
    if policy.action_dim != task.action_dim:
        raise UserError(f"The policy's actions are {policy.action_dim} numbers; {task.task_id} takes {task.action_dim}.", where=where, do=do)
