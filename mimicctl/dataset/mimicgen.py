"""MimicGen's files of robosuite, and what is different about them: layout, actions, targets, the eef frame, the sign of the gripper.

Everything here maps between the arrays of a demo as MimicGen stores them and as Isaac Lab does. An array that is the same in both is passed on as
it is stored, unread.

| | MimicGen, robosuite | Isaac Lab |
|---|---|---|
| relative action of 1 | 5 cm, 0.5 rad (OSC_POSE) | half a metre, half a radian |
| gripper | +1 closes | +1 opens |
| target pose | what the controller is told | the eef moved by the raw action: as far again |
| eef frame | grip site: fingers along x | panda_hand: fingers along y |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from mimicctl import poses
from mimicctl.errors import UserError

Leaves = dict[str, h5py.Dataset | np.ndarray]
"""Arrays by their path below the demo: as they are stored, or in memory where something about them has changed."""

_RELATIVE_SCALE = 0.5
"""What Isaac Lab's relative control multiplies an action by."""

_EEF_NAMES = {"Panda": "franka"}
_ACTIONS = ("actions", "intended_actions")
_AGAIN = "annotate the demo again (MimicGen's prepare_src_dataset.py, or mimicctl annotate)"
_ROBOSUITE_TYPE = 1
"""`env_args["type"]`: robomimic's number for robosuite."""


@dataclass(frozen=True)
class Controller:
    """robosuite's relative OSC_POSE.

    Attributes:
        limits: what an action of 1 means along and about each axis [m, rad].
    """

    limits: tuple[float, ...] = (0.05, 0.05, 0.05, 0.5, 0.5, 0.5)

    @property
    def action_scale(self) -> np.ndarray:
        """(7,): an action of robosuite times this is one of Isaac Lab, which opens its gripper with the other sign."""
        return np.array([*(limit / _RELATIVE_SCALE for limit in self.limits), -1.0])


def is_robosuite(env_args: Mapping[str, Any]) -> bool:
    return env_args.get("type") == _ROBOSUITE_TYPE


def robot_of(env_args: Mapping[str, Any]) -> str:
    """robosuite's name of the robot; "" if the file does not say."""
    kwargs = env_args.get("env_kwargs")
    robots = kwargs.get("robots") if isinstance(kwargs, dict) else None
    return str(robots[0] if isinstance(robots, list) and robots else robots or "")


def controller_of(env_args: Mapping[str, Any], where: str) -> Controller:
    """Of the env that the actions are for; robosuite's default where the file does not say.

    Raises:
        UserError: it is not a relative OSC_POSE, so that actions mean something else, or makes no sense.
    """
    arms = [part for part in _tables(env_args.get("env_kwargs")) if "output_max" in part or "control_delta" in part]
    if not arms:
        return Controller()
    # Bases and torsos have controllers of their own.
    arm = next((part for part in arms if part.get("type") == "OSC_POSE"), arms[0])
    absolute = arm.get("control_delta") is False or arm.get("input_type") == "absolute"
    if absolute or arm.get("type", "OSC_POSE") != "OSC_POSE":
        kind = f"{'absolute ' if absolute else ''}{arm.get('type', 'OSC_POSE')}"
        raise UserError(f"The actions are for the controller {kind}; only relative OSC_POSE is read.", where=where, do="convert it with robosuite first")
    given = arm.get("output_max", Controller.limits)
    try:
        limits = np.broadcast_to(np.asarray(given, float), 6)
    except (TypeError, ValueError):
        limits = np.zeros(6)
    if not np.all((limits > 0) & np.isfinite(limits)):
        what = f"output_max of the controller is {given}; it must be one number above 0, or six."
        raise UserError(what, where=where, do="mend env_args of the file, or record it again")
    return Controller(tuple(map(float, limits)))


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    """Every table inside a JSON value."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _tables(inner)


def actions_to_isaaclab(leaves: Leaves, controller: Controller, where: str) -> Leaves:
    """With actions (T, 7) in Isaac Lab's units and with its sign of the gripper."""
    return leaves | {path: (_single_arm(leaves[path], where) * controller.action_scale).astype(np.float32) for path in _ACTIONS if path in leaves}


def actions_to_robosuite(leaves: Leaves, controller: Controller, where: str) -> Leaves:
    """Inverse of `actions_to_isaaclab`."""
    return leaves | {path: _single_arm(leaves[path], where) / controller.action_scale for path in _ACTIONS if path in leaves}


def _single_arm(actions: h5py.Dataset | np.ndarray, where: str) -> np.ndarray:
    if actions.ndim != 2 or actions.shape[1] != 7:
        what = f"MimicGen's files of robosuite hold relative actions of one arm (T, 7), and these actions are {actions.shape}."
        raise UserError(what, where=where, do="this kind of file cannot hold them, or is not read")
    return np.asarray(actions, np.float64)


def info_to_isaaclab(leaves: Leaves, robot: str, where: str) -> Leaves:
    """With `datagen_info` as Isaac Lab has it, below `obs`; what it has no place for keeps its path.

    Args:
        robot: robosuite's name; "" is taken for a Panda.

    Raises:
        UserError: poses or signals are not of the demo's length.
    """
    eef = _EEF_NAMES.get(robot or "Panda", robot.lower())
    steps = len(leaves["actions"])
    kept: Leaves = {}
    for path, leaf in leaves.items():
        if not path.startswith("datagen_info/"):
            kept[path] = leaf
            continue
        group, _, name = path.removeprefix("datagen_info/").partition("/")
        if group == "eef_pose":
            kept[f"obs/datagen_info/eef_pose/{eef}"] = _hand_frame(_poses(leaf, steps, path, where), robot).astype(np.float32)
        elif group == "object_poses":
            kept[f"obs/datagen_info/object_pose/{name}"] = _poses(leaf, steps, path, where).astype(np.float32)
        elif group == "subtask_term_signals":
            kept[f"obs/datagen_info/{group}/{name}"] = _signal(leaf, steps, path, where).astype(bool)
        elif group == "target_pose":
            eefs, told = (_hand_frame(_poses(leaves.get(p), steps, p, where), robot) for p in ("datagen_info/eef_pose", path))
            further = poses.apply_delta(eefs, poses.delta_between(eefs, told) / _RELATIVE_SCALE)
            kept[f"obs/datagen_info/target_eef_pose/{eef}"] = further.astype(np.float32)
        elif group != "gripper_action":  # that is a column of the actions
            kept[path] = leaf
    return kept


def info_to_mimicgen(leaves: Leaves, robot: str, where: str) -> Leaves:
    """Inverse of `info_to_isaaclab`; actions are still Isaac Lab's.

    Raises:
        UserError: there are no poses, or several eefs, or they are not of the demo's length.
    """
    steps = len(leaves["actions"])
    prefix = "obs/datagen_info/"
    eefs = [path for path in leaves if path.startswith(f"{prefix}eef_pose/")]
    if len(eefs) != 1:
        found = f"{len(eefs)} eefs" if eefs else "none"
        raise UserError(f"MimicGen's files hold the poses of one eef; here are {found}.", where=where, do="annotate it first (mimicctl annotate)" * (not eefs))
    eef = eefs[0].removeprefix(f"{prefix}eef_pose/")
    eef_poses, told = (_poses(leaves.get(path), steps, path, where) for path in (eefs[0], f"{prefix}target_eef_pose/{eef}"))
    orthonormal = poses.pose_from_quat(poses.position(eef_poses), poses.quat_from_matrix(poses.rotation(eef_poses)))
    target = poses.apply_delta(orthonormal, poses.delta_between(orthonormal, told) * _RELATIVE_SCALE)
    moved: Leaves = {
        "datagen_info/eef_pose": _grip_frame(eef_poses, robot),
        "datagen_info/target_pose": _grip_frame(target, robot),
        "datagen_info/gripper_action": -np.asarray(leaves["actions"], np.float64)[:, -1:],
    }
    for path, leaf in leaves.items():
        group, _, name = path.removeprefix(prefix).partition("/")
        if not path.startswith(prefix):
            moved[path] = leaf
        elif group == "object_pose":
            moved[f"datagen_info/object_poses/{name}"] = leaf
        elif group == "subtask_term_signals":
            moved[f"datagen_info/{group}/{name}"] = _signal(leaf, steps, path, where).astype(np.int64)
        elif group not in ("eef_pose", "target_eef_pose"):
            moved[path] = leaf
    return moved


def _poses(leaf: h5py.Dataset | np.ndarray | None, steps: int, path: str, where: str) -> np.ndarray:
    """Of a path that may be missing."""
    array = np.zeros(0) if leaf is None else np.asarray(leaf)
    if array.shape != (steps, 4, 4) or array.dtype.kind not in "fiu" or not np.all(np.isfinite(array)):
        raise UserError(f"{path} is not a finite ({steps}, 4, 4) array of poses.", where=where, do=_AGAIN)
    return array.astype(np.float64)


def _signal(leaf: h5py.Dataset | np.ndarray, steps: int, path: str, where: str) -> np.ndarray:
    """(T,), which may be stored as (T, 1)."""
    array = np.asarray(leaf)
    if array.shape not in ((steps,), (steps, 1)) or array.dtype.kind not in "bfiu":
        raise UserError(f"{path} is not a signal of the {steps} steps of the demo: it is {array.shape}.", where=where, do=_AGAIN)
    return array.reshape(-1)


def _hand_frame(grip_site: np.ndarray, robot: str) -> np.ndarray:
    """The Panda's grip site is a quarter turn about z away from `panda_hand`. Along z it is 45 mm from where the fingers begin, as Isaac Lab's tool
    point is. Frames of other robots are left as they are."""
    if robot not in ("", "Panda"):
        return grip_site
    turned = np.array(grip_site)
    turned[..., :3, 0], turned[..., :3, 1] = grip_site[..., :3, 1], -grip_site[..., :3, 0]
    return turned


def _grip_frame(hand: np.ndarray, robot: str) -> np.ndarray:
    """Inverse of `_hand_frame`."""
    if robot not in ("", "Panda"):
        return hand
    turned = np.array(hand)
    turned[..., :3, 0], turned[..., :3, 1] = -hand[..., :3, 1], hand[..., :3, 0]
    return turned
