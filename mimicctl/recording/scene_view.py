"""The scene in characters: what an operator over SSH has instead of a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.devices.base import OperatorView
from mimicctl.recording.canvas import COLUMNS, Canvas, side_by_side
from mimicctl.recording.floor_view import draw_floor
from mimicctl.tasks import LiftTogether, TaskSpec, Tray

if TYPE_CHECKING:
    from rich.text import Text

_Y, _X, _Z = (-0.24, 0.24), (0.30, 0.70), (0.0, 0.36)
_WIDE_Y = (-0.42, 0.42)
"""For two arms."""
_STYLES = {"blue": "blue", "red": "red", "green": "green", "bottom": "blue", "middle": "red", "top": "green"}
"""Of an object, by its label. What may look like this or like that has the colour of its place in the stack: that is what an operator has to tell apart."""


def draw_scene(task: TaskSpec, view: OperatorView | None) -> Text:
    """Top view (left: robot below, its left to the left) and front view (right), with the gripper and distances; of a floor, see `draw_floor`.

    Args:
        view: None before the first look.
    """
    from rich.text import Text

    if view is None:
        return Text("")
    if task.on_floor or task.has_body:
        return draw_floor(task, view)
    across = _WIDE_Y if view.others else _Y
    top, front = Canvas(across, _X), Canvas(across, _Z)
    for item in sorted(task.objects, key=lambda o: view.object_poses[o.name][2, 3]):
        style = _STYLES.get(item.label, "white")
        if item.tray is not None:
            _draw_tray(top, front, view.object_poses[item.name], item.tray, style)
            continue
        x, y, z = poses.position(view.object_poses[item.name])
        top.box(y, x, item.edge / 2, item.edge / 2, "█", style)
        front.box(y, z, item.edge / 2, item.edge / 2, "█", style)
    for seen in (view, *view.others.values()):
        _draw_gripper(top, front, seen)
    text = Text("top: robot below, +x up, +y left".ljust(COLUMNS + 3) + "front: +z up, +y left\n", style="dim")
    return text.append_text(side_by_side(top, front)).append(_distances(task, view))


def _draw_tray(top: Canvas, front: Canvas, pose: np.ndarray, tray: Tray, style: str) -> None:
    """Its plate, and the bars at its ends."""
    half_x, half_y, _ = tray.half_size
    for along in np.linspace(-half_x, half_x, 12):
        for across in np.linspace(-half_y, half_y, 24):
            x, y, z, _ = pose @ np.array([along, across, 0.0, 1.0])
            top.put(y, x, "█", style)
            front.put(y, z, "▄", style)
    for side in (1, -1):
        for along in np.linspace(-tray.bar[0], tray.bar[0], 6):
            x, y, z, _ = pose @ np.array([along, side * tray.handle[0], tray.handle[1], 1.0])
            top.put(y, x, "▒", "yellow")
            front.put(y, z, "▒", "yellow")


def _draw_gripper(top: Canvas, front: Canvas, view: OperatorView) -> None:
    x, y, z = poses.position(view.gripper_pose)
    jaw = poses.rotation(view.gripper_pose)[:, 1] * (view.gripper_opening + 0.008)
    front.put(y, z + 0.06, "┳", "bold yellow")
    for side in (1, -1):
        finger = poses.position(view.gripper_pose) + side * jaw
        top.put(finger[1], finger[0], "▪", "bold yellow")
        front.put(finger[1], z, "┃", "bold yellow")
        front.put(finger[1], z + 0.03, "┃", "bold yellow")
    top.put(y, x, "+", "bold yellow")


def _distances(task: TaskSpec, view: OperatorView) -> Text:
    """From the tool point to each object, or to its own handle, in centimetres, in the directions of the keys."""
    from rich.text import Text

    if isinstance(task.goal, LiftTogether):
        tray, views = view.object_poses[task.goal.object_name], dict(zip(task.eef_names, (view, *view.others.values()), strict=True))
        ways = {eef: (tray @ np.array([*task.goal.handles[eef], 1.0]))[:3] - poses.position(seen.eef_pose) for eef, seen in views.items()}
        parts = [f"{_way(eef, way)} gripper {_millimetres(views[eef])}" for eef, way in ways.items()]
        return Text(f"to go [cm]: {'   '.join(parts)}")
    text = Text("to go [cm]: ")
    for item in task.objects:
        way = poses.position(view.object_poses[item.name]) - poses.position(view.gripper_pose)
        text.append(f"{_way(item.label, way)}   ", style=_STYLES.get(item.label, ""))
    return text.append(f"gripper {_millimetres(view)}")


def _way(label: str, metres: np.ndarray) -> str:
    x, y, z = 100 * metres
    return f"{label} x{x:+5.1f} y{y:+5.1f} z{z:+5.1f}"


def _millimetres(view: OperatorView) -> str:
    return f"{1000 * 2 * view.gripper_opening:.0f} mm"
