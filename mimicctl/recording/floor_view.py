"""A floor in characters: from above, and as the base sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.devices.base import OperatorView
from mimicctl.recording.canvas import COLUMNS, Canvas, side_by_side
from mimicctl.tasks import TaskSpec

if TYPE_CHECKING:
    from rich.text import Text

_ROWS = 14
_Y, _X = (-2.7, 2.7), (-0.8, 3.6)
_BESIDE, _AHEAD = (-2.7, 2.7), (-1.4, 3.0)
_ARROWS = "↑↖←↙↓↘→↗"
_BODY = (0.12, 0.22)
"""[m] Half of a humanoid, from chest to back and from elbow to elbow."""
_SPACING = 0.08
"""[m] Between the points that an outline is filled with: less than a character is wide."""


def draw_floor(task: TaskSpec, view: OperatorView) -> Text:
    """The room (left: +x up, +y to the left) and the same about the base, or body, which looks up (right), with the way to the mark, or to each object."""
    from rich.text import Text

    room, around = Canvas(_Y, _X, _ROWS), Canvas(_BESIDE, _AHEAD, _ROWS)
    back = poses.inverse(view.eef_pose)
    for canvas, frame in ((room, np.eye(4)), (around, back)):
        for item in task.objects:
            pose = frame @ view.object_poses[item.name]
            if item.is_mark:
                _fill(canvas, pose, (item.edge / 2, item.edge / 2), "░", item.label)
                tip = pose @ np.array([item.edge, 0.0, 0.0, 1.0])
                canvas.put_within(tip[1], tip[0], _ARROWS[_eighth(pose)], f"bold {item.label}")
            else:
                _fill(canvas, pose, (item.edge / 2, item.edge / 2), "█", "yellow")
        base = frame @ view.eef_pose
        _fill(canvas, base, _BODY if task.has_body else task.hand[0].half_size[:2], "▒", "bold cyan")
        for hand in view.others.values():
            x, y, _ = poses.position(frame @ hand.eef_pose)
            canvas.put_within(y, x, "+", "bold yellow")
        x, y, _ = poses.position(base)
        canvas.put(y, x, _ARROWS[_eighth(base)], "bold white")
    text = Text().append("room: +x up, +y left".ljust(COLUMNS + 3) + "base: its front up, its left to the left\n", style="dim")
    text.append_text(side_by_side(room, around))
    if not task.has_body:
        return text.append(_way_to_go(task, back @ view.object_poses[task.goal.mark]))
    ways = ((item.label, poses.position(back @ view.object_poses[item.name])) for item in task.objects)
    return text.append("to go: " + "   ".join(f"{label} x{way[0]:+5.2f} m  y{way[1]:+5.2f} m" for label, way in ways))


def _fill(canvas: Canvas, pose: np.ndarray, half_size: tuple[float, float], character: str, style: str) -> None:
    steps = [np.linspace(-half, half, max(2, int(np.ceil(2 * half / _SPACING)) + 1)) for half in half_size]
    for along in steps[0]:
        for across in steps[1]:
            x, y, _, _ = pose @ np.array([along, across, 0.0, 1.0])
            canvas.put(y, x, character, style)


def _eighth(pose: np.ndarray) -> int:
    return round(np.arctan2(pose[1, 0], pose[0, 0]) / (np.pi / 4)) % 8


def _way_to_go(task: TaskSpec, mark: np.ndarray) -> str:
    """In the directions of the keys, in the base's frame."""
    x, y, _ = poses.position(mark)
    turn = np.degrees(np.arctan2(mark[1, 0], mark[0, 0]))
    there, turned = np.hypot(x, y) < task.goal.distance, abs(np.radians(turn)) < task.goal.angle
    state = "on the mark" + (": stand still" if turned else ", turn") if there else ""
    return f"to go: x{x:+5.2f} m  y{y:+5.2f} m  turn{turn:+5.0f}°   {state}".rstrip()
