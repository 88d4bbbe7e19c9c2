"""What tasks of the Franka Panda have in common."""

from __future__ import annotations

from mimicctl.tasks.spec import HandBox

HOME = (0.0444, -0.1894, -0.1107, -2.5148, 0.0044, 2.3775, 0.6952)
"""Arm joints at reset [rad], Isaac Lab's."""

# The hand above the tool point, and its fingers, open.
HAND = (
    HandBox((0.0, 0.0, -0.0714), (0.0316, 0.1025, 0.034)),
    HandBox((0.0, 0.0, -0.018), (0.011, 0.0635, 0.0275)),
)
