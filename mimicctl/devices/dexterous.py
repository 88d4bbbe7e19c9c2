"""From the joints of a person's hand to the joint angles of a robot's, by dex-retargeting (the extra `dexterous`).

DexPilot's method: the robot's fingertips are to be where the person's are as seen from the wrist, and where two of the person's fingertips pinch, the
robot's are to touch.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from mimicctl import poses
from mimicctl.devices.hands import JOINTS, HandSample
from mimicctl.errors import UserError


@dataclass(frozen=True)
class Fingertip:
    """One of a robot's hand.

    Attributes:
        follows: the joint of a person's hand, of `JOINTS`.
        link: the robot's last link of that finger.
        offset: (3,) of the tip in the frame of that link [m].
    """

    follows: str
    link: str
    offset: tuple[float, float, float]


@dataclass(frozen=True)
class RobotHand:
    """A robot's hand as part of a URDF.

    Attributes:
        palm: the link that all fingers grow from; it stands for the wrist.
        roll: [rad] about the palm's x axis, which goes along the fingers, from the axes of a `HandSample.wrist` (z out of the back of the hand).
        tips: the thumb's first.
        scale: size of the robot's hand by a person's.
    """

    urdf: Path
    palm: str
    roll: float
    tips: tuple[Fingertip, ...]
    scale: float = 1.0


def g1_hand(side: str, urdf: Path) -> RobotHand:
    """The three-fingered hand of Unitree's G1 (`g1_29dof_with_hand_rev_1_0.urdf`), whose palms face each other: "left" or "right"."""
    sign = 1.0 if side == "right" else -1.0
    tips = (
        Fingertip("thumb-tip", f"{side}_hand_thumb_2_link", (0.0, sign * 0.045, 0.0)),
        Fingertip("index-finger-tip", f"{side}_hand_index_1_link", (0.045, 0.0, 0.0)),
        Fingertip("middle-finger-tip", f"{side}_hand_middle_1_link", (0.045, 0.0, 0.0)),
    )
    return RobotHand(urdf, f"{side}_hand_palm_link", sign * np.pi / 2, tips)


class FingerRetargeter:
    """Keeps the last angles, from which the search for the next ones begins.

    Args:
        hand: which.
        smoothing: share of the last angles in the next.

    Raises:
        UserError: a package is missing, or the URDF has no such hand.
    """

    def __init__(self, hand: RobotHand, *, smoothing: float = 0.3) -> None:
        self._turn = poses.matrix_from_rotvec(np.array([hand.roll, 0.0, 0.0]))
        followed = [0, *(JOINTS.index(tip.follows) for tip in hand.tips)]
        self._solver = _solver(hand, smoothing)
        pairs = self._solver.optimizer.generate_link_indices(len(hand.tips))
        self._origins, self._tasks = (np.array([followed[i] for i in indices]) for indices in pairs)
        self.joint_names: tuple[str, ...] = tuple(self._solver.joint_names)

    def angles(self, sample: HandSample) -> np.ndarray:
        """(J,) [rad] in the order of `joint_names`.

        Raises:
            ValueError: the sample has no joints, as of a controller.
        """
        if sample.joints is None:
            raise ValueError("A controller has no fingers.")
        in_palm = sample.joints @ poses.rotation(sample.wrist) @ self._turn.T
        return np.asarray(self._solver.retarget(in_palm[self._tasks] - in_palm[self._origins]), dtype=np.float64)


def _solver(hand: RobotHand, smoothing: float):  # SeqRetargeting of dex-retargeting
    try:
        from dex_retargeting.retargeting_config import RetargetingConfig
    except ImportError as error:
        what = f"Dexterous hands need packages that are not installed ({error.name or error})."
        raise UserError(what, where="dex-retargeting", do='pip install "mimicctl[dexterous]"') from None
    with tempfile.TemporaryDirectory() as folder:
        urdf = Path(folder) / "hand.urdf"
        ElementTree.ElementTree(_hand_alone(hand)).write(urdf)
        # A thumb and finger nearer than the first pinch, and do so until they are farther apart than the second.
        config = {"type": "DexPilot", "urdf_path": str(urdf), "wrist_link_name": hand.palm, "project_dist": 0.03, "escape_dist": 0.05}
        config |= {"finger_tip_link_names": [_tip_name(tip) for tip in hand.tips], "scaling_factor": hand.scale, "low_pass_alpha": 1.0 - smoothing}
        return RetargetingConfig.from_dict(config).build()


def _tip_name(tip: Fingertip) -> str:
    return f"{tip.link}_tip"


def _hand_alone(hand: RobotHand) -> ElementTree.Element:
    """The URDF's links from the palm on, without what they look like, and a link at each fingertip."""
    try:
        robot = ElementTree.parse(hand.urdf).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise UserError(f"The URDF cannot be read: {error}.", where=str(hand.urdf), do="check the path") from None
    links = {link.get("name") for link in robot.iter("link")}
    for name in (hand.palm, *(tip.link for tip in hand.tips)):
        if name not in links:
            raise UserError(f'The URDF has no link "{name}".', where=str(hand.urdf), do="name the links of the hand as the URDF does")
    alone = ElementTree.Element("robot", name="hand")
    ElementTree.SubElement(alone, "link", name=hand.palm)
    grown = [hand.palm]
    for parent in grown:
        for joint in robot.findall("joint"):
            if joint.find("parent").get("link") == parent:
                child = joint.find("child").get("link")
                alone.append(joint)
                ElementTree.SubElement(alone, "link", name=child)
                grown.append(child)
    for tip in hand.tips:
        ElementTree.SubElement(alone, "link", name=_tip_name(tip))
        joint = ElementTree.SubElement(alone, "joint", name=f"{_tip_name(tip)}_joint", type="fixed")
        ElementTree.SubElement(joint, "origin", xyz=" ".join(map(str, tip.offset)), rpy="0 0 0")
        ElementTree.SubElement(joint, "parent", link=tip.link)
        ElementTree.SubElement(joint, "child", link=_tip_name(tip))
    return alone
