"""A session at the page: begun and ended by one button, with a switch for swing cancellation."""

from __future__ import annotations

import pytest

from mimicctl.dataset.reader import Dataset
from tests.web.driving import Served, open_page, wait_for

pytestmark = pytest.mark.web

CABLES = """() => teleop.view.cables.map(({ ends, shape }) => {
  const carriage = teleop.view.bodies[ends[1].body].position, half = shape.scale.z / 2;
  const tip = shape.position.clone().set(0, 0, half).applyQuaternion(shape.quaternion).add(shape.position);
  return { length: shape.scale.z, off: tip.distanceTo(carriage) };
})"""


def test_one_button_begins_and_ends_and_another_switches_swing_cancellation(page, tmp_path):
    with Served(tmp_path, "record", "--session", "--web", "--task", "MuJoCo-Pick-Stringman-v0") as served:
        open_page(page, served.link())
        wait_for(lambda: page.inner_text("[data-action=switch]") == "Swing cancellation on")
        page.click("[data-action=switch]")
        wait_for(lambda: page.inner_text("[data-action=switch]") == "Swing cancellation off")
        page.click("[data-action=start]")
        wait_for(lambda: page.inner_text("[data-action=start]").startswith("End") and page.is_disabled("[data-action=switch]"))
        page.click("[data-action=start]")
        wait_for(lambda: page.inner_text("#saved") == "1" and page.inner_text("[data-action=start]").startswith("Begin"))
        cables = page.evaluate(CABLES)
        # Each ends at the carriage, wherever that is.
        assert len(cables) == 4 and all(0.4 < cable["length"] < 1.2 and cable["off"] < 1e-3 for cable in cables)
        page.click("[data-action=quit]")
        assert served.end()[0] == 0
    with Dataset(tmp_path / "datasets" / "dataset.hdf5") as dataset:
        assert [dataset.demo_lineage(name)["swing_cancellation"] for name in dataset.demos] == [False]
