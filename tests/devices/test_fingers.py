"""Fingers of a robot's hand that curl as a person's do."""

from __future__ import annotations

import numpy as np
import pytest

from mimicctl.config import RecordSettings
from mimicctl.devices import OperatorView
from mimicctl.devices.fingers import FINGERS, curl, gripper_of
from mimicctl.devices.hand_tracking import HandTracking
from mimicctl.devices.hands import hands_from_webxr
from mimicctl.tasks import find_task
from tests.devices import webxr

G1 = find_task("MuJoCo-PickPlace-G1-Pink-IK-Abs-v0")


def sample(**how):
    return hands_from_webxr({"right": webxr.hand(**how)})["right"]


@pytest.mark.parametrize("finger", FINGERS)
def test_a_finger_is_straight_in_a_flat_hand_and_curled_in_a_fist(finger):
    half = np.sin(np.pi / 8), np.cos(np.pi / 8)
    for quat in ((0, 0, 0, 1), (half[0], 0, 0, half[1]), (0, half[0], 0, half[1])):
        assert curl(sample(quat=quat), finger) == 0 and curl(sample(quat=quat, curl=1), finger) == 1
    curls = [curl(sample(curl=share), finger) for share in np.linspace(0, 1, 11)]
    assert np.all(np.diff(curls) >= 0) and 0.2 < curls[5] < 0.8


def test_each_joint_follows_its_finger_and_one_that_follows_none_stays_open():
    bent = sample(curl=0.5)
    found = gripper_of(bent, ("index", "thumb", ""))
    np.testing.assert_allclose(found, [1 - 2 * curl(bent, "index"), 1 - 2 * curl(bent, "thumb"), 1])


def test_joints_that_lie_on_one_another_have_no_curl():
    said = webxr.hand()
    said["joints"] = [[0.0, 0.0, 0.0]] * 25
    assert np.isnan(curl(hands_from_webxr({"right": said})["right"], "index"))


def test_both_hands_drive_wrists_and_fingers_of_a_humanoid():
    device = HandTracking(RecordSettings(hand_smoothing=0.0, hand_dead_bands=[0.0, 0.0]), G1, clock=lambda: 1.0)
    view = OperatorView(np.eye(4), others={"right": OperatorView(np.eye(4))})
    device.feed(hands_from_webxr({"left": webxr.hand(side="left"), "right": webxr.hand()}))
    still = device.command(view)
    assert not still.delta.any() and np.all(still.gripper == 1) and still.gripper.shape == (7,)
    # Turned about the way it points, which a gripper's wrist does not follow.
    turned = (0, 0, -np.sin(0.05), np.cos(0.05))
    device.feed(hands_from_webxr({"left": webxr.hand((0, 0.02, 0), side="left"), "right": webxr.hand(quat=turned, curl=1)}))
    command = device.command(view)
    np.testing.assert_allclose(G1.command_scale * command.delta, [0, 0, 0.02, 0, 0, 0], atol=1e-9)
    np.testing.assert_allclose(G1.command_scale * command.others["right"].delta, [0, 0, 0, 0.1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(command.others["right"].gripper, [-1] * 6 + [1])
    # What is not seen well leaves fingers where they are, and a controller's trigger closes them all.
    device.feed(hands_from_webxr({"left": webxr.hand(side="left"), "right": {**webxr.hand(), "joints": [[0.0, 0.0, 0.0]] * 25}}))
    np.testing.assert_allclose(device.command(view).others["right"].gripper, [-1] * 6 + [1])
    device.feed(hands_from_webxr({"left": webxr.hand(side="left"), "right": webxr.controller(squeeze=1)}))
    assert np.all(device.command(view).others["right"].gripper == 1)
    device.feed(hands_from_webxr({"left": webxr.hand(side="left"), "right": webxr.controller(squeeze=1, trigger=1)}))
    np.testing.assert_allclose(device.command(view).others["right"].gripper, [-1] * 6 + [1])
