"""The vocabulary of the files: names, attributes and one demonstration in memory, in the layout it has on disk.

The layout is Isaac Lab's (see docs/files.md), so its file handler and robomimic's dataset class read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

FORMAT_VERSION = 1
"""Root attribute `format_version`: 1 says quaternions are xyzw; missing or 0, wxyz (Isaac Lab 3)."""

LINEAGE_ATTR = "mimicctl_lineage"
"""Attribute on `data` and on every demo: one JSON document that says where it came from."""

ATTEMPTS_PATH = "mimicctl/attempts"
"""Generated files only: one JSON line per attempt, failed ones too, in the order of their trial number."""

SEALS_PATH = "mimicctl/seals"
"""A row a demo: hashes of what it was when it was written (`dataset.seals`)."""

INTENDED_ACTIONS = "intended_actions"
"""Of a generated demo: its actions before noise was added. Other demos have none, since theirs are what was intended."""

GYM_ENV_TYPE = 2
"""`env_args["type"]`: robomimic's number for a gym environment."""


@dataclass
class Episode:
    """What is stored under `data/demo_<k>`.

    Dictionaries are keyed by the path below their group ("articulation/robot/root_pose"). The first
    axis is time, T steps, but for `initial_state`, where it is 1. `obs[t]` and `actions[t]` belong to the
    start of step t, `states[t]` to its end. Quaternions are xyzw.

    Attributes:
        actions: (T, A) float32, as given to the env, before any scaling.
        processed_actions: (T, P) float32, what the controller was told.
        obs: observation key to (T, ...).
        states: scene state after each step.
        initial_state: scene state before the first, each (1, ...).
        datagen_info: "object_pose/<object>", "eef_pose/<eef>", "target_eef_pose/<eef>": (T, 4, 4) float32,
            "subtask_term_signals/<signal>": (T,) bool. Empty until annotated.
        intended_actions: (T, A) float32, generated demos only: the actions before noise was added to them, which are the better
            labels to learn from (DART, Laskey et al., 2017). Empty where nothing was added.
        success: whether the task's success condition held.
        seed: of the reset, if one was set.
        lineage: where the episode came from, JSON-able (section "Lineage" of docs/files.md).
    """

    actions: np.ndarray
    processed_actions: np.ndarray
    obs: dict[str, np.ndarray]
    states: dict[str, np.ndarray]
    initial_state: dict[str, np.ndarray]
    datagen_info: dict[str, np.ndarray] = field(default_factory=dict)
    intended_actions: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    success: bool = False
    seed: int | None = None
    lineage: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.actions)
