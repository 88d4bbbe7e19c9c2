"""A person's fingers to those of Unitree's G1, by the real dex-retargeting where it is installed, and what is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mimicctl.devices.dexterous import FingerRetargeter, Fingertip, RobotHand, _hand_alone, g1_hand
from mimicctl.devices.hands import hands_from_webxr
from mimicctl.envs.mujoco.assets import robots_folder
from mimicctl.errors import UserError
from tests.devices import webxr

URDF = robots_folder() / "g1_description" / "urdf" / "g1_29dof_with_hand_rev_1_0.urdf"
TURNED = (0, np.sin(0.4), 0, np.cos(0.4))


def test_the_hand_is_cut_out_of_the_robot_with_its_joints_and_tips():
    alone = _hand_alone(g1_hand("left", URDF))
    revolute = [joint.get("name") for joint in alone.iter("joint") if joint.get("type") == "revolute"]
    assert len(revolute) == 7 and all(name.startswith("left_hand_") for name in revolute)
    assert {"left_hand_palm_link", "left_hand_thumb_2_link_tip"} <= {link.get("name") for link in alone.iter("link")}
    assert alone.find(".//mesh") is None


def test_a_link_that_does_not_exist_and_a_file_that_is_none_are_named(tmp_path):
    with pytest.raises(UserError, match='no link "pinky"'):
        _hand_alone(RobotHand(URDF, "left_hand_palm_link", 0.0, (Fingertip("thumb-tip", "pinky", (0, 0, 0)),)))
    (tmp_path / "broken.urdf").write_text("<robot")
    for path in (tmp_path / "broken.urdf", tmp_path / "none.urdf"):
        with pytest.raises(UserError, match="cannot be read"):
            _hand_alone(g1_hand("left", path))


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch):
    for name in ("dex_retargeting", "dex_retargeting.retargeting_config"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match="packages that are not installed") as caught:
        FingerRetargeter(g1_hand("left", URDF))
    assert "mimicctl[dexterous]" in caught.value.do


@pytest.fixture
def fingers():
    pytest.importorskip("dex_retargeting.retargeting_config", reason="needs the extra dexterous")

    def angles(side: str, *poses_of_hand: str) -> dict[str, np.ndarray]:
        """What is touched, and the angles of the robot's hand after the person's has been so for a while, by joint."""
        retargeter, found = FingerRetargeter(g1_hand(side, URDF), smoothing=0.0), {}
        for touching in poses_of_hand:
            sample = hands_from_webxr({side: webxr.hand((0.3, 1.2, -0.4), TURNED, touching=touching, side=side)})[side]
            for _ in range(5):
                found[touching] = dict(zip(retargeter.joint_names, retargeter.angles(sample), strict=True))
        return found

    return angles


def tips(side: str, angles: dict[str, float]) -> list[np.ndarray]:
    """Where MuJoCo has the fingertips of the hand in the palm's frame, thumb first: another reading of the same URDF."""
    import mujoco

    from mimicctl.envs.mujoco.assets import read_urdf

    model = mujoco.MjModel.from_xml_string(read_urdf(str(URDF.relative_to(robots_folder())), visuals=False))
    data = mujoco.MjData(model)
    for name, angle in angles.items():
        data.joint(name).qpos = angle
    mujoco.mj_kinematics(model, data)
    hand = g1_hand(side, URDF)
    palm = data.body(hand.palm)
    world = [data.body(tip.link).xpos + data.body(tip.link).xmat.reshape(3, 3) @ tip.offset for tip in hand.tips]
    return [palm.xmat.reshape(3, 3).T @ (place - palm.xpos) for place in world]


@pytest.mark.parametrize("side", ["left", "right"])
def test_fingers_that_pinch_touch_and_those_that_do_not_stay_straight(fingers, side):
    found = fingers(side, "", "index", "middle", "")
    for touching, touched, other in (("index", 1, 2), ("middle", 2, 1)):
        at = tips(side, found[touching])
        assert np.linalg.norm(at[0] - at[touched]) < 0.005 and np.linalg.norm(at[0] - at[other]) > 0.08
    opened = tips(side, found[""])
    assert min(np.linalg.norm(opened[0] - opened[1]), np.linalg.norm(opened[0] - opened[2])) > 0.06
    assert all(tip[0] > 0.16 for tip in opened[1:])  # straight ahead


def test_left_and_right_are_mirrored(fingers):
    left, right = (fingers(side, "index")["index"] for side in ("left", "right"))
    for name, angle in right.items():
        sign = 1 if "thumb_0" in name else -1
        assert left[name.replace("right", "left")] == pytest.approx(sign * angle, abs=0.02)


def test_a_controller_has_no_fingers(fingers):
    with pytest.raises(ValueError, match="no fingers"):
        FingerRetargeter(g1_hand("left", URDF)).angles(hands_from_webxr({"left": webxr.controller()})["left"])
