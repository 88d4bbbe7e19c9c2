"""Names of videos: `demo_<number>_<rest>.mp4`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_NAME = re.compile(r"demo_(\d+)(?:_(.*))?")


def video_name(demo: str, key: str) -> str:
    return f"{demo}_{key}.mp4"


def parse_video_name(path: Path) -> tuple[int, str] | None:
    """Number of the demo and what follows it; None if the name does not begin with a demo."""
    match = _NAME.fullmatch(path.stem)
    return (int(match[1]), match[2] or "") if match else None


def in_natural_order(paths: Iterable[Path]) -> list[Path]:
    """Numbers in names compare as numbers: demo_2 comes before demo_10."""
    return sorted(paths, key=lambda path: [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)])
