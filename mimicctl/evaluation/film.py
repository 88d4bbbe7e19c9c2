"""Which film is of which rollout."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mimicctl.evaluation.rollouts import Rollout
from mimicctl.rendering.film import Film
from mimicctl.video import hidden_partial


def film_rollout(film: Film, folder: Path, rollout: Rollout, snapshots: np.ndarray) -> Path:
    """The rollout with `snapshots` (T, K) as rollout_007_success.mp4 or ..._failure.mp4 in `folder`."""
    name = f"rollout_{rollout.index:03d}"
    finished = film.write(folder / f"{name}_{'success' if rollout.success else 'failure'}.mp4", snapshots)
    for other in folder.glob(f"{name}_*.mp4"):
        if other != finished:
            other.unlink()
    return finished


def clear_unfinished(folders: Iterable[Path]) -> None:
    """Remove what was being written when the work was stopped."""
    for folder in folders:
        for partial in folder.glob(hidden_partial(folder / "rollout_*.mp4").name):
            partial.unlink()
