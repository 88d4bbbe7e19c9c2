"""What WebXR says of hands, in the operator's frame, and what hands do."""

from __future__ import annotations

import numpy as np
import pytest

from mimicctl import poses
from mimicctl.devices.hands import INDEX_TIP, JOINTS, LITTLE_TIP, RING_TIP, grasps, guiding_pose, hands_from_webxr, pinches, squeezes
from tests.devices import webxr

UP_AXIS_TURN = (0, np.sin(np.pi / 4), 0, np.cos(np.pi / 4))
"""A quarter of a turn to the left, in WebXR's frame."""


def one(said):
    return hands_from_webxr({"right": said})["right"]


def test_the_joints_are_those_of_webxr_in_its_order():
    assert len(JOINTS) == 25 and JOINTS[0] == "wrist" and JOINTS[4] == "thumb-tip" and JOINTS[9] == "index-finger-tip"
    assert (JOINTS[5], JOINTS[-1]) == ("index-finger-metacarpal", "pinky-finger-tip") and (INDEX_TIP, RING_TIP, LITTLE_TIP) == (9, 19, 24)


@pytest.mark.parametrize(("place", "expected"), [((1, 0, 0), (0, -1, 0)), ((0, 1, 0), (0, 0, 1)), ((0, 0, -1), (1, 0, 0))])
def test_right_up_and_ahead_are_where_the_robot_has_them(place, expected):
    sample = one(webxr.hand(place))
    np.testing.assert_allclose(poses.position(sample.wrist), expected, atol=1e-12)
    np.testing.assert_allclose(sample.joints[0], expected, atol=1e-12)
    np.testing.assert_allclose(poses.rotation(sample.wrist), np.eye(3), atol=1e-12)


def test_a_hand_turned_to_the_left_has_its_fingers_to_the_left():
    sample = one(webxr.hand((0, 0, 0), UP_AXIS_TURN))
    np.testing.assert_allclose(poses.rotvec_from_matrix(poses.rotation(sample.wrist)), [0, 0, np.pi / 2], atol=1e-12)
    np.testing.assert_allclose(sample.joints[14], [0, 0.185, 0], atol=1e-12)
    # The joints are where the wrist's own frame has them, x along the hand.
    np.testing.assert_allclose((poses.inverse(sample.wrist) @ [*sample.joints[14], 1])[:3], [0.185, 0, 0], atol=1e-12)


def test_a_controller_has_its_buttons_where_xr_standard_puts_them():
    sample = one({"position": [0, 0, 0], "orientation": [0, 0, 0, 1], "buttons": [0.1, 0.9, 0, 0, 1, 0], "axes": [0, 0, 0.25, -1]})
    assert (sample.trigger, sample.squeeze, sample.primary, sample.secondary, sample.joints) == (0.1, 0.9, True, False, None)
    np.testing.assert_allclose(sample.thumbstick, [0.25, 1])
    bare = one({"position": [0, 0, 0], "orientation": [0, 0, 0, 1], "buttons": [1]})
    assert bare.trigger == 1 and not bare.squeeze and not bare.secondary and not bare.thumbstick.any()


@pytest.mark.parametrize(("finger", "tip"), [("index", INDEX_TIP), ("ring", RING_TIP), ("pinky", LITTLE_TIP)])
def test_a_thumb_touches_the_finger_that_it_touches_and_no_other(finger, tip):
    sample = one(webxr.hand(touching=finger))
    assert [pinches(sample, other) is True for other in (INDEX_TIP, RING_TIP, LITTLE_TIP)] == [other == tip for other in (INDEX_TIP, RING_TIP, LITTLE_TIP)]


def test_between_the_thresholds_nothing_is_said():
    assert [grasps(one(webxr.controller(trigger=pull))) for pull in (0, 0.39, 0.5, 0.61)] == [False, False, None, True]
    assert [squeezes(one(webxr.controller(squeeze=pull))) for pull in (0.39, 0.41, 0.61)] == [False, None, True]
    said = webxr.hand()
    for apart, verdict in ((0.02, True), (0.04, None), (0.06, False)):
        said["joints"][4] = np.add(said["joints"][9], [0, -apart, 0]).tolist()
        assert grasps(one(said)) is verdict


def test_what_guides_the_arm_is_the_wrist_or_the_fingers():
    sample = one(webxr.hand((1, 2, 3), UP_AXIS_TURN))
    np.testing.assert_array_equal(guiding_pose(sample, point="wrist", turn="wrist"), sample.wrist)
    fingers = guiding_pose(sample, point="pinch", turn="fingers")
    np.testing.assert_allclose(poses.position(fingers), (sample.joints[4] + sample.joints[9]) / 2)
    np.testing.assert_allclose(poses.rotation(fingers) @ poses.rotation(fingers).T, np.eye(3), atol=1e-12)
    assert np.linalg.det(poses.rotation(fingers)) > 0 and poses.rotation(fingers)[1, 0] > 0.9  # ahead is to the left
    pinched = poses.rotation(guiding_pose(one(webxr.hand((1, 2, 3), UP_AXIS_TURN, touching="index")), point="pinch", turn="fingers"))
    np.testing.assert_allclose(pinched @ pinched.T, np.eye(3), atol=1e-12)
    pile = webxr.hand() | {"joints": [[0, 0, 0]] * 25}
    assert guiding_pose(one(pile), point="wrist", turn="fingers") is None


def test_a_hand_that_is_not_seen_may_be_null_or_missing():
    assert set(hands_from_webxr({"left": None, "right": webxr.hand()})) == {"right"} and hands_from_webxr({}) == {}


WHOLE = {"position": [0, 0, 0], "orientation": [0, 0, 0, 1]}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([], "not an object"),
        ({"head": None}, '"head", which is no hand'),
        ({"left": 3}, "left is not an object"),
        ({"left": {**WHOLE, "velocity": 1}}, '"velocity", which means nothing'),
        ({"left": {"orientation": [0, 0, 0, 1]}}, "left.position must be 3 numbers"),
        ({"left": {**WHOLE, "position": [0, 0, float("nan")]}}, "left.position must be 3 numbers"),
        ({"left": {**WHOLE, "position": [0, 0, 1e9]}}, "between -100 and 100"),
        ({"left": {**WHOLE, "position": [0, 0, None]}}, "left.position must be"),
        ({"left": {**WHOLE, "position": [0, 0, "x"]}}, "left.position must be"),
        ({"left": {**WHOLE, "orientation": [0, 0, 0, 0]}}, "quaternion of length 1"),
        ({"left": {**WHOLE, "joints": [[0, 0, 0]] * 24}}, "left.joints must be 25 x 3"),
        ({"left": {**WHOLE, "joints": [[0, 0, 0]] * 24 + [[0, 0]]}}, "left.joints must be 25 x 3"),
        ({"left": {**WHOLE, "joints": None}}, "left.joints must be 25 x 3"),
        ({"left": {**WHOLE, "joints": [[0, 0, 0]] * 25, "radii": [1]}}, "left.radii must be 25"),
        ({"left": {**WHOLE, "buttons": [[1]]}}, "left.buttons must be"),
    ],
)
def test_what_is_no_hand_is_refused_with_the_reason(said, why):
    with pytest.raises(ValueError, match=why):
        hands_from_webxr(said)
