"""How a check says that something is wrong."""

from __future__ import annotations


class Wrong(Exception):
    """What a check found wrong, and what to do."""

    def __init__(self, what: str, do: str) -> None:
        super().__init__(what)
        self.what, self.do = what, do
