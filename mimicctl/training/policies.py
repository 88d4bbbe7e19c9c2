"""A checkpoint, whoever trained it, as something that acts."""

from __future__ import annotations

from pathlib import Path

from mimicctl.errors import UserError
from mimicctl.training.lerobot_policy import LeRobotPolicy
from mimicctl.training.policy import Policy


def load_policy(path: Path, seed: int = 0, *, together: int | None = None, action_range: tuple[float, float] | None = None) -> Policy | LeRobotPolicy:
    """Robomimic's checkpoints are files, LeRobot's folders. For the arguments see `Policy`.

    Raises:
        UserError: it cannot be loaded.
    """
    if not path.is_dir():
        return Policy(path, seed=seed, together=together, action_range=action_range)
    if action_range:
        raise UserError("A policy of LeRobot's knows its own actions.", where=str(path), do="leave out --norm-factor-min and --norm-factor-max")
    return LeRobotPolicy(path, seed=seed)
