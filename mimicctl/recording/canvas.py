"""Drawing in characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rich.text import Text

COLUMNS = 36
"""Characters across: two canvases and a line between them fit into any terminal."""


class Canvas:
    """A grid of characters over a rectangle of the scene: `across` grows to the left, `up` upwards."""

    def __init__(self, across: tuple[float, float], up: tuple[float, float], rows: int = 14) -> None:
        self._across, self._up, self._rows = across, up, rows
        self._cells = [[(" ", "")] * COLUMNS for _ in range(rows)]

    def _column(self, across: float) -> int:
        low, high = self._across
        return round((high - across) / (high - low) * (COLUMNS - 1))

    def _row(self, up: float) -> int:
        low, high = self._up
        return round((high - up) / (high - low) * (self._rows - 1))

    def put(self, across: float, up: float, character: str, style: str) -> None:
        row, column = self._row(up), self._column(across)
        if 0 <= row < self._rows and 0 <= column < COLUMNS:
            self._cells[row][column] = (character, style)

    def put_within(self, across: float, up: float, character: str, style: str) -> None:
        """At the edge, if it lies beyond."""
        self.put(float(np.clip(across, *self._across)), float(np.clip(up, *self._up)), character, style)

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


def side_by_side(left: Canvas, right: Canvas) -> Text:
    from rich.text import Text

    text = Text()
    for one, other in zip(left.rows(), right.rows(), strict=True):
        text.append_text(one).append(" │ ").append_text(other).append("\n")
    return text
