"""Which numbers of a file are quaternions, and turning them from one order into the other.

Isaac Lab 2 writes w, x, y, z everywhere, Isaac Lab 3 x, y, z, w. Its own converter turns datasets called `root_pose` alone; observations and
absolute actions hold quaternions too, which only their names and the task tell.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mimicctl import poses
from mimicctl.tasks import twin_of
from mimicctl.tasks.spec import LETTER_WIDTH, layout_width

_NAMES = ("quat", "orientations", "_rot")
"""What names of observations end in that hold nothing but quaternions."""

_ACTIONS = ("actions", "intended_actions", "obs/actions")
_LINK_STATE = 13  # position, quaternion, velocities
_NO_QUATERNIONS = {7: "vv.", 3: "..."}
"""Widths of actions that, of an unknown task, are taken for relative ones of an arm or velocities of a base."""


@dataclass(frozen=True)
class Layouts:
    """What the columns of a task's arrays are, as `TaskSpec.obs_layout` and `action_layout` say it: "v" vector, "q" quaternion, "." number.

    Attributes:
        actions: "" if it is not known.
        obs: by observation key.
    """

    actions: str = ""
    obs: dict[str, str] = field(default_factory=dict)


# Isaac Lab's humanoids, which are nobody's twins: the poses of both hands, then fingers (and the base).
_HUMANOID_OBS = {"object": "vqvv"}
_FOREIGN = {"GR1T2": Layouts("vqvq" + 22 * ".", _HUMANOID_OBS), "G1-Abs": Layouts("vqvq" + 18 * ".", _HUMANOID_OBS)}


def layouts_of(env_name: str) -> Layouts:
    """Of the arrays that an env records, as far as it is known here."""
    if task := twin_of(env_name):
        return Layouts(task.action_layout, task.obs_layout)
    arm = Layouts("vq.") if "-IK-Abs" in env_name else Layouts()
    return next((layouts for part, layouts in _FOREIGN.items() if part in env_name), arm)


def quaternion_columns(path: str, shape: tuple[int, ...], layouts: Layouts) -> tuple[int, ...] | None:
    """First column of each quaternion in the last axis of the array at `path` below a demo; None if that cannot be told."""
    width, name = (shape[-1] if len(shape) > 1 else 0), path.rsplit("/", 1)[-1]
    if not width or "datagen_info/" in path:
        return ()
    if name == "root_pose":
        return (3,) if width == 7 else ()
    if path in _ACTIONS:
        return _columns(_fitting(layouts.actions, width) or _NO_QUATERNIONS.get(width))
    if path == "processed_actions":
        # What absolute control is told is its action, with both fingers in place of the gripper.
        arm = layouts.actions.rstrip(".")
        return _columns(arm) if "q" in arm and width >= layout_width(arm) else ()
    if not path.startswith("obs/"):
        return ()
    if name == "robot_links_state" and width % _LINK_STATE == 0:
        return tuple(range(3, width, _LINK_STATE))
    if layout := _fitting(layouts.obs.get(name, ""), width):
        return _columns(layout)
    if name.endswith(_NAMES) and width % 4 == 0:
        return tuple(range(0, width, 4))
    return None if name == "object" else ()


def _fitting(layout: str, width: int) -> str | None:
    return layout if layout and layout_width(layout) == width else None


def _columns(layout: str | None) -> tuple[int, ...] | None:
    if layout is None:
        return None
    starts = np.cumsum([0, *(LETTER_WIDTH[letter] for letter in layout)])
    return tuple(int(start) for start, letter in zip(starts, layout, strict=False) if letter == "q")


def xyzw_from_wxyz(array: np.ndarray, columns: tuple[int, ...]) -> np.ndarray:
    """A copy with the quaternions that begin at `columns` of the last axis turned round."""
    turned = np.array(array)
    for first in columns:
        turned[..., first : first + 4] = poses.xyzw_from_wxyz(turned[..., first : first + 4])
    return turned


def wxyz_from_xyzw(array: np.ndarray, columns: tuple[int, ...]) -> np.ndarray:
    """Inverse of `xyzw_from_wxyz`."""
    turned = np.array(array)
    for first in columns:
        turned[..., first : first + 4] = poses.wxyz_from_xyzw(turned[..., first : first + 4])
    return turned
