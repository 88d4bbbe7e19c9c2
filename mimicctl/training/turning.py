"""The same demonstrations with the whole scene turned.

To an arm on a fixed base it is all one where about its vertical axis things are: turn the scene, and the same joint motions but for the
base's own do the same to it. So every demonstration stands for as many as there are angles, and a network that sees them
turned learns what to do from how things lie to one another, not by heart for each of the scenes it was shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mimicctl.tasks import twin_of
from mimicctl.tasks.spec import LETTER_WIDTH, layout_width

if TYPE_CHECKING:
    import torch

    from mimicctl.training.chunks import Chunks


class Turning:
    """Turns packed frames about z.

    Turning a vector mixes its x and y; turning a quaternion (xyzw) from the left mixes x with y and w with z, by half the angle.

    Args:
        layout: one letter a part, in the order of the columns: v for a vector or rotation vector (3), q for a quaternion (4), . for a
            number that stays (1).
        limit: largest angle [rad].
    """

    def __init__(self, layout: str, limit: float, device: str = "cpu") -> None:
        import torch

        pairs = list(_pairs(layout))
        self._limit = limit
        self._first, self._second = (torch.tensor([pair[i] for pair in pairs], device=device) for i in (0, 1))
        self._share = torch.tensor([pair[2] for pair in pairs], device=device)

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames (B, S, W), each of the B samples turned by an angle of its own."""
        import torch

        angle = self._limit * (2 * torch.rand(len(frames), 1, 1, device=frames.device) - 1) * self._share
        cos, sin = torch.cos(angle), torch.sin(angle)
        first, second = frames[..., self._first], frames[..., self._second]
        turned = frames.clone()
        turned[..., self._first] = cos * first - sin * second
        turned[..., self._second] = sin * first + cos * second
        return turned


def _pairs(layout: str) -> Iterator[tuple[int, int, float]]:
    column = 0
    for part in layout:
        if part == "v":
            yield column, column + 1, 1.0
        elif part == "q":
            yield column, column + 1, 0.5
            yield column + 3, column + 2, 0.5
        column += LETTER_WIDTH[part]


def packed_layout(task_id: str, widths: Mapping[str, int], action_dim: int, keys: Sequence[str], chunks: Chunks | None = None) -> str | None:
    """Layout of the observations `keys` followed by the actions, or by chunks of them; None for a task, or a key of it, that says nothing of its parts.

    Args:
        widths: columns of each key.
    """
    task = twin_of(task_id)
    if task is None:
        return None
    parts = [task.obs_layout.get(key) for key in keys] + [chunks.layout if chunks else task.action_layout]
    if None in parts:
        return None
    fits = [layout_width(part) for part in parts] == [*(widths[key] for key in keys), action_dim]
    return "".join(parts) if fits else None
