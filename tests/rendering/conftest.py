"""Tasks with cameras."""

from __future__ import annotations

VISUOMOTOR = "MuJoCo-Stack-Cube-Franka-IK-Rel-Visuomotor-v0"
COSMOS = "MuJoCo-Stack-Cube-Franka-IK-Rel-Visuomotor-Cosmos-v0"
