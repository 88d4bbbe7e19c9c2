"""The scene in characters: what an operator over SSH has instead of a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.devices.base import OperatorView
from mimicctl.tasks import TaskSpec

if TYPE_CHECKING:
    from rich.text import Text

_COLUMNS, _ROWS = 36, 14
_Y, _X, _Z = (-0.24, 0.24), (0.30, 0.70), (0.0, 0.36)
_STYLES = {"blue": "blue", "red": "red", "green": "green"}


def draw_scene(task: TaskSpec, view: OperatorView | None) -> Text:
    """Top view (left: robot below, its left to the left) and front view (right), with the gripper and distances.

    Args:
        view: None before the first look.
    """
    from rich.text import Text

    if view is None:
        return Text("")
    top, front = _Canvas(_Y, _X), _Canvas(_Y, _Z)
    for item in sorted(task.objects, key=lambda o: view.object_poses[o.name][2, 3]):
        x, y, z = poses.position(view.object_poses[item.name])
        style = _STYLES.get(item.label, "white")
        top.box(y, x, item.edge / 2, item.edge / 2, "█", style)
        front.box(y, z, item.edge / 2, item.edge / 2, "█", style)
    _draw_gripper(top, front, view)
    text = Text("top: robot below, +x up, +y left".ljust(_COLUMNS + 3) + "front: +z up, +y left\n", style="dim")
    for left, right in zip(top.rows(), front.rows(), strict=True):
        text.append_text(left).append(" │ ").append_text(right).append("\n")
    return text.append(_distances(task, view))


def _draw_gripper(top: _Canvas, front: _Canvas, view: OperatorView) -> None:
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


class _Canvas:
    """A grid of characters over a rectangle of the scene: `across` grows to the left, `up` upwards."""

    def __init__(self, across: tuple[float, float], up: tuple[float, float]) -> None:
        self._across, self._up = across, up
        self._cells = [[(" ", "")] * _COLUMNS for _ in range(_ROWS)]

    def _column(self, across: float) -> int:
        low, high = self._across
        return round((high - across) / (high - low) * (_COLUMNS - 1))

    def _row(self, up: float) -> int:
        low, high = self._up
        return round((high - up) / (high - low) * (_ROWS - 1))

    def put(self, across: float, up: float, character: str, style: str) -> None:
        row, column = self._row(up), self._column(across)
        if 0 <= row < _ROWS and 0 <= column < _COLUMNS:
            self._cells[row][column] = (character, style)

    def box(self, across: float, up: float, half_across: float, half_up: float, character: str, style: str) -> None:
        for a in np.linspace(across - half_across, across + half_across, 5):
            for u in np.linspace(up - half_up * 0.7, up + half_up * 0.7, 3):
                self.put(float(a), float(u), character, style)

    def rows(self) -> list[Text]:
        from rich.text import Text

        drawn = []
        for cells in self._cells:
            line = Text()
            for character, style in cells:
                line.append(character, style=style)
            drawn.append(line)
        return drawn
