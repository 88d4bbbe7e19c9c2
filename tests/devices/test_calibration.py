"""Which way axes go, asked of a hand that is made up."""

from __future__ import annotations

import numpy as np
import pytest

from mimicctl.devices import AXES, Reading
from mimicctl.devices.calibration import Moved, inverted, store, watch_axis
from mimicctl.errors import UserError


class Hand:
    """A source whose axes follow a script of (from this second on, axis, deflection)."""

    def __init__(self, *script: tuple[float, str, float]) -> None:
        self._script, self.now = script, 0.0

    def read(self) -> Reading:
        axes = np.zeros(6)
        for start, axis, value in self._script:
            if self.now >= start:
                axes[:] = 0
                axes[AXES.index(axis)] = value
        return Reading(axes)

    def watch(self, asked: str) -> Moved | None:
        def sleep(seconds: float) -> None:
            self.now += seconds

        return watch_axis(self, asked, timeout=10, clock=lambda: self.now, sleep=sleep)


def test_an_axis_that_is_held_is_found_with_its_sign():
    hand = Hand((1, "z", -0.8), (2, "z", 0.0))
    assert hand.watch("z") == Moved("z", "z", -1.0) and 2 <= hand.now < 2.1


def test_a_touch_and_a_slight_push_are_not_meant():
    assert Hand((1, "x", 1.0), (1.2, "x", 0.0), (3, "y", 0.3)).watch("x") is None


def test_the_strongest_axis_counts():
    hand = Hand((1, "yaw", 0.9), (1.2, "roll", 0.9), (4, "roll", 0.0))
    assert hand.watch("roll") == Moved("roll", "roll", 1.0)


def test_signs_become_inversions_and_axes_that_were_left_out_stay():
    moves = [Moved("x", "x", -1.0), Moved("y", "y", 1.0)]
    assert inverted(moves, ["y", "yaw"]) == ["x", "yaw"] and inverted([], ["y"]) == ["y"]
    with pytest.raises(UserError, match="x was asked for and z moved"):
        inverted([Moved("x", "z", 1.0)], [])


def test_the_rest_of_a_config_file_stays(tmp_path):
    path = tmp_path / "mimicctl.toml"
    store(["x"], path)
    assert path.read_text() == '[record]\ninvert = ["x"]\n'
    path.write_text('seed = 4  # mine\n\n[record]\n# what I sit at\ndevice = "spacemouse"\ninvert = ["z"]\n\n[train]\nepochs = 3\n')
    store(["yaw", "x"], path)
    said = path.read_text()
    assert "# mine" in said and "# what I sit at" in said and "epochs = 3" in said and 'invert = ["yaw", "x"]' in said and '"z"' not in said
    path.write_text("record = [1\n")
    with pytest.raises(UserError, match="cannot be changed"):
        store([], path)
    assert path.read_text() == "record = [1\n" and [each.name for each in tmp_path.iterdir()] == ["mimicctl.toml"]


def test_devices_without_axes_are_refused(mimicctl):
    done = mimicctl("devices", "calibrate", "--device", "scripted")
    assert done.returncode == 2 and "has no axes" in done.stderr


def test_as_it_is_typed_nothing_moved_changes_nothing(mimicctl, tmp_path):
    done = mimicctl("devices", "calibrate", "--device", "udp", "--seconds", "1", "-o", "record.udp_address=127.0.0.1:0", "-o", 'record.invert=["z"]')
    assert done.returncode == 0 and "yaw stays as it is" in done.stderr
    assert (tmp_path / "mimicctl.toml").read_text() == '[record]\ninvert = ["z"]\n'
