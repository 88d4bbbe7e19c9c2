"""What devices are there, and what one does: the meter, the survey and the command."""

from __future__ import annotations

import json
import time

import easyhid
import numpy as np
import pytest

from mimicctl.devices import Command, Event, Reading, survey
from mimicctl.devices.meter import Meter, bar, draw
from tests.devices.test_spacemouse import COMPACT, Interface


def test_a_bar_shows_where_it_is_and_where_it_has_been():
    assert bar(0, 0, 0) == " " * 20 + "│" + " " * 20
    assert bar(1, 0, 1) == " " * 20 + "│" + "█" * 20
    assert bar(-0.5, -1, 0.25) == "·" * 10 + "█" * 10 + "│" + "·" * 5 + " " * 15


def test_a_meter_adds_up_presses_reach_and_fresh_input():
    meter, now = Meter(), time.monotonic()
    said = [
        Reading(np.array([0.5, 0, 0, 0, 0, 0]), toggles=1, at=now - 0.03),
        Reading(np.array([-1.0, 0, 0, 0, 0, 0.2]), events=(Event.RESET,), at=now - 0.01),
        Reading(np.zeros(6), toggles=2, at=now - 0.01, note="refused"),
    ]
    assert "no input yet" in draw(meter).plain and meter.facts()["age_ms"] is None
    for reading in said:
        meter.add(reading, Command(0.05 * reading.axes, -1.0))
    facts = meter.facts()
    assert (facts["gripper_toggles"], facts["resets"], facts["readings_with_input"]) == (3, 1, 2)
    assert facts["reach"]["x"] == [-1.0, 0.5] and facts["reach"]["yaw"] == [0.0, 0.2] and facts["reach"]["y"] == [0, 0]
    assert facts["age_ms"]["median"] >= 20
    shown = draw(meter).plain
    assert "gripper closed, changed 3 times" in shown and "discard asked for 1 times" in shown and "1 readings a second" in shown and "refused" in shown


@pytest.fixture
def plugged(monkeypatch):
    def plug(*interfaces: Interface) -> list[survey.Found]:
        monkeypatch.setattr(easyhid, "Enumeration", lambda: type("Found", (), {"find": lambda self: list(interfaces)})())
        return [found for found in survey.survey() if found.device == "spacemouse"]

    return plug


def test_what_is_plugged_in_is_listed_once_with_its_number(plugged, tmp_path):
    (none,) = plugged()
    assert not none.ready and "plug it in" in none.do
    (tmp_path / "hidraw").touch()
    readable = str(tmp_path / "hidraw")
    left, again, right = Interface(COMPACT, "L", path=readable), Interface(COMPACT, "L", path="/dev/no"), Interface(COMPACT, "R", path="/dev/no")
    found = plugged(left, again, right)
    assert [(each.what, each.ready) for each in found] == [("SpaceMouseCompact, serial number L", True), ("SpaceMouseCompact, serial number R", False)]
    assert "udevadm" in found[1].do


def test_the_list_as_it_is_typed(mimicctl):
    done = mimicctl("devices", "list", "--json")
    found = {each["device"]: each for each in json.loads(done.stdout)}
    assert {"keyboard", "spacemouse", "scripted"} <= set(found)
    assert found["scripted"]["ready"] and not found["keyboard"]["ready"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "scripted"], "has no axes to show"),
        (["--device", "joypad"], 'no device "joypad"'),
        (["--invert", "up"], 'no axis "up"'),
        ([], "the input is none"),
    ],
)
def test_what_cannot_be_tried_is_said(mimicctl, arguments, message):
    done = mimicctl("devices", "test", "--seconds", "1", *arguments)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
