"""The scene in characters: what an operator over SSH has instead of a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mimicctl import poses
from mimicctl.devices.base import OperatorView
from mimicctl.recording.canvas import COLUMNS, Canvas, side_by_side
from mimicctl.recording.floor_view import draw_floor
from mimicctl.tasks import TaskSpec

if TYPE_CHECKING:
    from rich.text import Text

_Y, _X, _Z = (-0.24, 0.24), (0.30, 0.70), (0.0, 0.36)
_STYLES = {"blue": "blue", "red": "red", "green": "green"}


def draw_scene(task: TaskSpec, view: OperatorView | None) -> Text:
    """Top view (left: robot below, its left to the left) and front view (right), with the gripper and distances; of a floor, see `draw_floor`.

    Args:
        view: None before the first look.
    """
    from rich.text import Text

    if view is None:
        return Text("")
    if task.robot == "tiago":
        return draw_floor(task, view)
    top, front = Canvas(_Y, _X), Canvas(_Y, _Z)
    for item in sorted(task.objects, key=lambda o: view.object_poses[o.name][2, 3]):
        x, y, z = poses.position(view.object_poses[item.name])
        style = _STYLES.get(item.label, "white")
        top.box(y, x, item.edge / 2, item.edge / 2, "█", style)
        front.box(y, z, item.edge / 2, item.edge / 2, "█", style)
    _draw_gripper(top, front, view)
    text = Text("top: robot below, +x up, +y left".ljust(COLUMNS + 3) + "front: +z up, +y left\n", style="dim")
    return text.append_text(side_by_side(top, front)).append(_distances(task, view))


def _draw_gripper(top: Canvas, front: Canvas, view: OperatorView) -> None:
    x, y, z = poses.position(view.eef_pose)
    jaw = poses.rotation(view.eef_pose)[:, 1] * (view.gripper_opening + 0.008)
    front.put(y, z + 0.06, "┳", "bold yellow")
    for side in (1, -1):
        finger = poses.position(view.eef_pose) + side * jaw
        top.put(finger[1], finger[0], "▪", "bold yellow")
        front.put(finger[1], z, "┃", "bold yellow")
        front.put(finger[1], z + 0.03, "┃", "bold yellow")
    top.put(y, x, "+", "bold yellow")


def _distances(task: TaskSpec, view: OperatorView) -> str:
    """From the tool point to each object, in centimetres, in the directions of the keys."""
    eef = poses.position(view.eef_pose)
    parts = []
    for item in task.objects:
        x, y, z = 100 * (poses.position(view.object_poses[item.name]) - eef)
        parts.append(f"{item.label} x{x:+5.1f} y{y:+5.1f} z{z:+5.1f}")
    return f"to go [cm]: {'   '.join(parts)}   gripper {1000 * 2 * view.gripper_opening:.0f} mm"
