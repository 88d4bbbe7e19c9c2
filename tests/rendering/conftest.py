"""Tests marked `render` are skipped, with the reason, where nothing can be drawn."""

from __future__ import annotations

import pytest

from mimicctl.envs.mujoco.gl import choose_gl
from mimicctl.errors import UserError

VISUOMOTOR = "MuJoCo-Stack-Cube-Franka-IK-Rel-Visuomotor-v0"
COSMOS = "MuJoCo-Stack-Cube-Franka-IK-Rel-Visuomotor-Cosmos-v0"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    drawing = [item for item in items if item.get_closest_marker("render")]
    if not drawing:
        return
    try:
        choose_gl()
    except UserError as error:
        for item in drawing:
            item.add_marker(pytest.mark.skip(reason=str(error)))
