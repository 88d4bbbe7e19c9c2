"""Inverse kinematics of several end-effectors of one body at once, by Pink: a quadratic program a step, within the joints' limits.

A target may be anywhere: what cannot be reached is approached as far as limits allow. Where the program has no solution the joints stay where they are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mimicctl.errors import UserError

STEPS = 3
"""Programs solved one after another in a call: enough for the way of a control step, and mostly for a jump of 14 cm (benchmarks/README.md)."""

# A metre of error weighs as much as 3 rad; Isaac Lab has 8, and a wrist that turns late. The posture decides what
# the targets leave open, where the elbow is, and moves a wrist by no more than hundredths of a millimetre.
_POSITION_COST, _ORIENTATION_COST, _POSTURE_COST = 1.0, 0.3, 0.001
# Levenberg-Marquardt: damping in proportion to the error, so that far targets are approached calmly and near ones are met.
_LM_DAMPING = 0.05
_DAMPING = 1e-8
# [m] What is farther would be damped to a standstill.
_LEAD = 0.3
# daqp is small, exact and free to use in anything; quadprog, as fast, is under the GPL.
_SOLVER = "daqp"


class PinkIK:
    """Joints that bring end-effectors to absolute poses. A call depends on its arguments alone; `held` counts and decides nothing.

    Attributes:
        joint_names: order of the joints in all arguments and results.
        joint_range: (J, 2) [rad].
        posture: (J,) [rad].
        held: configurations so far for which no step could be found.
    """

    def __init__(self, description: str, frames: Mapping[str, str], posture: Mapping[str, float]) -> None:
        """
        Args:
            description: of the robot, the text of a URDF or MJCF; poses are in the frame of its root link.
            frames: eef name to the link that is brought to its target.
            posture: joint name to the angle it has when it is free to choose [rad]; all other joints stand still at 0.

        Raises:
            UserError: the libraries are not installed, or robot and names do not fit.
        """
        pin, pink = _libraries()
        body = _read(pin, description)
        _demand("joint", posture, list(body.names)[1:])
        _demand("link", frames.values(), [frame.name for frame in body.frames])
        locked = [number for number, name in enumerate(body.names) if number and name not in posture]
        model = pin.buildReducedModel(body, locked, pin.neutral(body))
        self.joint_names = tuple(posture)
        # Pinocchio has its own order.
        own = list(model.names)[1:]
        self._own_order = np.array([self.joint_names.index(name) for name in own])
        self._our_order = np.array([own.index(name) for name in self.joint_names])
        self._lower, self._upper = model.lowerPositionLimit.copy(), model.upperPositionLimit.copy()
        self.joint_range = np.stack([self._lower, self._upper], axis=1)[self._our_order]
        self.posture = np.clip(list(posture.values()), *self.joint_range.T)
        self.held = 0
        self._frames = dict(frames)
        self._limit = pink.limits.ConfigurationLimit(model, config_limit_gain=1.0)
        self._configuration = pink.Configuration(model, model.createData(), self.posture[self._own_order], copy_data=False)
        self._reaching = {
            eef: pink.tasks.FrameTask(frame, position_cost=_POSITION_COST, orientation_cost=_ORIENTATION_COST, lm_damping=_LM_DAMPING)
            for eef, frame in frames.items()
        }
        resting = pink.tasks.PostureTask(cost=_POSTURE_COST)
        resting.set_target(self.posture[self._own_order])
        self._tasks = (*self._reaching.values(), resting)
        self._pin, self._pink = pin, pink

    def solve(self, starts: np.ndarray, targets: Mapping[str, np.ndarray], steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
        """Joints nearer to the targets than the starts; at them, if those are in reach and `steps` are enough for the way.

        Args:
            starts: (n, J) where the joints are [rad]; brought within their range if they are not.
            targets: eef name to (n, 4, 4) pose in the root link's frame.
            steps: programs to solve.

        Returns:
            (n, J) joints within their range [rad], and (n,) bool: no step was found, and the joints are where they were.
        """
        joints = np.clip(starts, *self.joint_range.T)
        held = np.zeros(len(joints), dtype=bool)
        # Pink solves one configuration at a time.
        for row, start in enumerate(joints[:, self._own_order]):
            solved = self._solve_one(start, {eef: pose[row] for eef, pose in targets.items()}, steps)
            if solved is None:
                held[row] = True
            else:
                joints[row] = solved[self._our_order]
        self.held += int(held.sum())
        return joints, held

    def eef_poses(self, joints: np.ndarray) -> dict[str, np.ndarray]:
        """Eef name to (n, 4, 4) in the root link's frame, with joints (n, J) [rad]."""
        found = {eef: np.zeros((len(joints), 4, 4)) for eef in self._frames}
        for row, own in enumerate(np.asarray(joints)[:, self._own_order]):
            self._configuration.update(own)
            for eef, frame in self._frames.items():
                found[eef][row] = self._configuration.get_transform_frame_to_world(frame).homogeneous
        return found

    def _solve_one(self, start: np.ndarray, targets: Mapping[str, np.ndarray], steps: int) -> np.ndarray | None:
        """(J,) in Pinocchio's order, as `start`."""
        if not (np.isfinite(start).all() and all(np.isfinite(pose).all() for pose in targets.values())):
            return None
        joints = start
        for _ in range(steps):
            self._configuration.update(joints)
            for eef, task in self._reaching.items():
                task.set_target(self._pin.SE3(targets[eef][:3, :3], self._within_lead(eef, targets[eef][:3, 3])))
            try:
                velocity = self._pink.solve_ik(self._configuration, self._tasks, 1.0, _SOLVER, damping=_DAMPING, limits=(self._limit,), safety_break=False)
            except self._pink.exceptions.NoSolutionFound:
                return None
            if not np.isfinite(velocity).all():
                return None
            # A limit is met to within rounding; the next step begins within it.
            joints = np.clip(joints + velocity, self._lower, self._upper)
        return joints

    def _within_lead(self, eef: str, target: np.ndarray) -> np.ndarray:
        """(3,) the position, no farther from where the eef is than a step is led by."""
        now = self._configuration.get_transform_frame_to_world(self._frames[eef]).translation
        way = target - now
        return now + way * (_LEAD / max(float(np.linalg.norm(way)), _LEAD))


def _libraries() -> tuple:
    """pinocchio and pink. UserError: they are not installed."""
    try:
        import daqp  # noqa: F401  to see that it is there: pink calls it by name
        import pink
        import pinocchio
    except ImportError as error:
        raise UserError("The inverse kinematics of humanoids are not installed.", where=str(error), do='pip install "mimicctl[humanoid]"') from None
    return pinocchio, pink


def _read(pin, description: str):  # a pinocchio.Model
    if "<robot" in description:
        return pin.buildModelFromXML(description)
    # MJCF is read from files alone.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "robot.xml"
        path.write_text(description)
        return pin.buildModelFromMJCF(str(path))


def _demand(kind: str, wanted: object, there: list[str]) -> None:
    if missing := sorted(set(wanted) - set(there)):
        raise UserError(f"The robot has no {kind} {', '.join(missing)}.", do=f"one of {', '.join(there)}")
