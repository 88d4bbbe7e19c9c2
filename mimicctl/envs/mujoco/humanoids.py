"""The humanoids there are, by `TaskSpec.robot`."""

from __future__ import annotations

from mimicctl.envs.mujoco.g1 import G1
from mimicctl.envs.mujoco.gr1 import GR1T2
from mimicctl.envs.mujoco.mobile_g1 import MOBILE_G1

BODIES = {"g1": G1, "gr1t2": GR1T2, "mobile_g1": MOBILE_G1}
