"""The humanoids there are, by `TaskSpec.robot`."""

from __future__ import annotations

from mimicctl.envs.mujoco.g1 import G1

BODIES = {"g1": G1}
