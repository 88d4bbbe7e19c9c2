"""A gamepad of the browser, emulated, drives a mobile base."""

from __future__ import annotations

import math

import pytest

from mimicctl.dataset.reader import Dataset
from tests.web.driving import Served, open_page, wait_for

pytestmark = pytest.mark.web

PLUG_IN = """
  globalThis.pad = { id: "Emulated pad", index: 0, connected: true, mapping: "standard", axes: [0, 0, 0, 0], buttons: Array.from({ length: 17 }, () => ({ pressed: false, value: 0 })) };
  navigator.getGamepads = () => [null, pad];
"""

SEE = """() => {
  const body = (name) => teleop.view.bodies[teleop.view.names.findIndex((one) => one.includes(name))];
  const at = (one) => { one.updateMatrixWorld(); const m = one.matrixWorld.elements; return [m[12], m[13], Math.atan2(m[1], m[0])]; };
  return { base: at(body("base_link")), mark: at(body("goal")), phase: document.getElementById("phase").dataset.phase, saved: document.getElementById("saved").textContent };
}"""


def test_a_base_is_driven_to_its_mark_by_gamepad(page, tmp_path):
    page.add_init_script(PLUG_IN)
    with Served(tmp_path, "record", "--web", "--task", "MuJoCo-Drive-Tiago-v0", "--num-demos", "1", "--speed", "slow") as served:
        open_page(page, served.link())
        wait_for(lambda: "Emulated pad" in page.inner_text("#pad"))

        def steer() -> bool:
            seen = page.evaluate(SEE)
            x, y, yaw = seen["base"]
            ahead, left = seen["mark"][0] - x, seen["mark"][1] - y
            turn = (seen["mark"][2] - yaw + math.pi) % (2 * math.pi) - math.pi
            # Isaac Lab's map: up is ahead, right is to the left, and right on the other stick turns to the left.
            stick = [math.cos(yaw) * left - math.sin(yaw) * ahead, -(math.cos(yaw) * ahead + math.sin(yaw) * left), turn, 0]
            firm = [math.copysign(min(1.0, 0.1 + 1.2 * abs(value)), value) if abs(value) > 0.03 else 0.0 for value in stick]
            page.evaluate("(axes) => { pad.axes = axes; }", [firm[0], firm[1], firm[2], 0])
            return seen["saved"] == "1" or page.inner_text("#phase") == "finished"

        wait_for(steer, 120)
        assert served.end()[0] == 0
    with Dataset(tmp_path / "datasets" / "dataset.hdf5") as dataset:
        episode = dataset.episode("demo_0")
    assert episode.success and episode.actions.shape[1] == 3 and episode.lineage["device"] == "web"
