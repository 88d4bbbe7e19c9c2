"""Synthetic episodes in the layout of the files: cheap, and different from one another."""

from __future__ import annotations

import numpy as np

from mimicctl.schema import Episode


def make_episode(number: int = 0, steps: int = 20, **changes: object) -> Episode:
    """An episode whose numbers tell which one it is."""
    rng = np.random.default_rng(number)

    def table(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.2, (steps, *shape)).clip(-1, 1).astype(np.float32)

    def state(length: int) -> dict[str, np.ndarray]:
        pose = np.tile(np.array([number, 0, 0.02, 0, 0, 0, 1], np.float32), (length, 1))
        return {"rigid_object/cube_1/root_pose": pose, "articulation/robot/joint_position": np.zeros((length, 9), np.float32)}

    fields = {
        "actions": table(7),
        "processed_actions": table(8),
        "obs": {"eef_pos": table(3), "eef_quat": table(4), "gripper_pos": table(2), "object": table(39), "joint_vel": table(9)},
        "states": state(steps),
        "initial_state": state(1),
        "success": True,
        "lineage": {"number": number},
    }
    return Episode(**{**fields, **changes})
