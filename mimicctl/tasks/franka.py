"""What tasks of the Franka Panda have in common."""

from __future__ import annotations

from mimicctl.tasks.spec import CameraSpec, HandBox

HOME = (0.0444, -0.1894, -0.1107, -2.5148, 0.0044, 2.3775, 0.6952)
"""Arm joints at reset [rad], Isaac Lab's."""

TOOL_OFFSET = 0.1034
"""From the hand frame to the observed end-effector frame, along the hand's z [m]. Absolute control aims the hand."""

POINTING_DOWN = (1.0, 0.0, 0.0, 0.0)
"""xyzw quaternion of a hand above the table. Its w is 0, so a sign rule by w would make quaternions jump to and fro in
observations and actions; the side of this one is the sign that they keep."""

# The hand above the tool point, and its fingers, open.
HAND = (
    HandBox((0.0, 0.0, -0.0714), (0.0316, 0.1025, 0.034)),
    HandBox((0.0, 0.0, -0.018), (0.011, 0.0635, 0.0275)),
)

# Isaac Lab's: cameras of the stack, and colours of what every scene has in segmentations.
TABLE_CAM = CameraSpec("table_cam", "", (1.0, 0.0, 0.4), (-0.61237, -0.61237, 0.35355, 0.35355), 200, 200)
WRIST_CAM = CameraSpec("wrist_cam", "panda_hand", (0.13, 0.0, -0.15), (0.03701, 0.03701, -0.70614, -0.70614), 200, 200)
SCENE_COLORS = {"table": (255, 237, 218), "ground": (100, 100, 100), "robot": (204, 110, 248), "background": (200, 200, 200)}
