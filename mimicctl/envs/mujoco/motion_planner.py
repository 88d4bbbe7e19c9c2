"""Ways for a Panda's hand that meet nothing: planned in joint space by OMPL, and rehearsed as the controller will follow them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.envs.base import Way
from mimicctl.envs.mujoco import panda
from mimicctl.envs.mujoco.env import MujocoEnv
from mimicctl.envs.mujoco.ik import joint_step
from mimicctl.envs.mujoco.scene import build_spec
from mimicctl.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import mujoco
    from ompl import base

_EEF = "franka"

_CLEARANCES, _REHEARSED_CLEARANCE = (0.04, 0.06, 0.08), 0.01
"""[m] Between what moves and what does not: on the planned way, the next where the last was too little, and where the hand comes that lags behind
its targets and so cuts corners. The latter leaves room for the noise of the action."""

_TOUCHING = 0.003
"""[m] By which a pair that is near one another where the way begins or ends may come nearer on it."""

_RISE, _RISE_STEP = 0.16, 0.01
"""[m] How far above its ends the way may leave and arrive, and in which steps that is tried."""

_ROAM = 0.8
"""[rad] How far a joint may go beyond its values at both ends: wider, and the arm flails; narrower, and there is no way round."""

_RANGE, _RESOLUTION = 0.4, 0.03
"""[rad] Reach of a branch of the tree, and distance between two states that are checked."""

_BUDGET = 6000
"""States checked in a search, and again in smoothing what it found. Counted, not timed: the same way is found on any machine."""

_PACES = (1.0, 0.5)
"""Shares of the bridge's pace at which each way is rehearsed."""

_ARRIVED, _LONGEST_WAIT = 0.005, 20
"""[m] How near the hand must have come to the end of the way, and control steps that it is waited for."""

_IK_STEPS, _IK_NEAR = 120, 1e-4


class PandaMotionPlanner:
    """See `MotionPlanner` for the contract. The arm's links are not checked against each other."""

    def __init__(self, task: TaskSpec) -> None:
        import mujoco

        self._mujoco = mujoco
        self._rehearsal = MujocoEnv(task)
        self._reader, self._layout = self._rehearsal.reader, self._rehearsal.layout
        self._model = model = _model_with_margin(task)
        self._data = mujoco.MjData(model)
        self._robot = np.array([bool(panda.link_of(model.body(body).name)) for body in model.geom_bodyid])
        names = {obstacle.name for obstacle in task.obstacles}
        self._obstacle = np.array([model.geom(geom).name in names for geom in range(model.ngeom)])
        self._grasp = np.eye(4)
        self._held: str | None = None
        self._clearance = _CLEARANCES[0]

    def way(
        self, snapshot: np.ndarray, start: np.ndarray, segment: np.ndarray, grippers: np.ndarray, held: str | None, step: float, turn: float, seed: int
    ) -> Way | None:
        end = segment[0]
        self._data.qpos[:] = self._reader.qpos(snapshot)
        self._held = None
        if held is not None:
            self._held = self._reader.task.object(held).bodies[int(self._reader.instance_in_focus(snapshot, held))].name
            self._grasp = poses.inverse(self._reader.eef_pose(snapshot)) @ self._reader.object_pose(snapshot, held)
        for self._clearance in _CLEARANCES:
            corners = self._corners(snapshot, start, end, seed)
            if corners is None:
                continue
            path = np.stack([self._eef_pose(arm) for arm in _densely(corners)])
            for pace in _PACES:
                targets = self._rehearsed(snapshot, _timed(path, pace * step, pace * turn), end, grippers[0], corners)
                if targets is not None:
                    return Way(targets, self._room(segment, grippers))
        return None

    def _corners(self, snapshot: np.ndarray, start: np.ndarray, end: np.ndarray, seed: int) -> np.ndarray | None:
        """Joints (n, 7) on a way from `start` to `end`; None if none was found."""
        ends = self._ends(snapshot, start, end)
        if ends is None:
            return None
        leaving, arriving = ends
        between = self._search(leaving[-1], arriving[0], seed)
        return None if between is None else np.concatenate([leaving[:-1], between, arriving[1:]])

    # Where it begins and ends ------------------------------------------------------------------------------

    def _ends(self, snapshot: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Joints (n, 7) straight up from `start` and (m, 7) straight down to `end`, whose upper ends are clear; None where the arm does not reach."""
        arm = self._reader.qpos(snapshot)[self._layout.arm_qpos]
        leaving = self._up_from(start, arm)
        arriving = None if leaving is None else self._up_from(end, leaving[-1])
        return None if arriving is None else (leaving, arriving[::-1])

    def _up_from(self, pose: np.ndarray, near: np.ndarray) -> np.ndarray | None:
        column, higher = [], pose.copy()
        for _ in range(round(_RISE / _RISE_STEP) + 1):
            solved = self._inverse(higher, near)
            if solved is None:
                return None
            column.append(solved)
            if self._is_clear(solved):
                return np.stack(column)
            near, higher[2, 3] = solved, higher[2, 3] + _RISE_STEP
        return None

    def _inverse(self, pose: np.ndarray, near: np.ndarray) -> np.ndarray | None:
        """Arm joints (7,) of an eef pose, on the branch of `near`; None where none are found."""
        arm = near
        jacobian = np.zeros((6, self._model.nv))
        for _ in range(_IK_STEPS):
            error = poses.delta_between(self._eef_pose(arm), pose)
            if np.abs(error).max() < _IK_NEAR:
                return arm
            self._mujoco.mj_comPos(self._model, self._data)
            point = self._data.xpos[self._layout.hand_body] + panda.TOOL_OFFSET * self._data.xmat[self._layout.hand_body][2::3]
            self._mujoco.mj_jac(self._model, self._data, jacobian[:3], jacobian[3:], point, self._layout.hand_body)
            # Far away a full step overshoots.
            error *= min(1.0, 0.3 / np.abs(error).max())
            arm = np.clip(arm + joint_step(jacobian[None, :, :7], error[None])[0], *self._layout.arm_range.T)
        return None

    # Kinematics and collisions ----------------------------------------------------------------------------------

    def _eef_pose(self, arm: np.ndarray) -> np.ndarray:
        self._data.qpos[self._layout.arm_qpos] = arm
        self._mujoco.mj_kinematics(self._model, self._data)
        hand = self._layout.hand_body
        return poses.along_z(poses.compose(self._data.xmat[hand].reshape(3, 3), self._data.xpos[hand]), panda.TOOL_OFFSET)

    def _near(self, arm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (n, 2) of a geom that moves and one that does not, nearer than the clearance, and their gaps (n,) [m]."""
        eef, data, moving = self._eef_pose(arm), self._data, self._robot
        if self._held is not None:
            pose, first = eef @ self._grasp, self._layout.objects[self._held][0]
            data.qpos[first : first + 3] = poses.position(pose)
            data.qpos[first + 3 : first + 7] = poses.wxyz_from_xyzw(poses.quat_from_matrix(poses.rotation(pose)))
            self._mujoco.mj_kinematics(self._model, data)
            moving = moving | (self._model.geom_bodyid == self._model.body(self._held).id)
        self._mujoco.mj_collision(self._model, data)
        pairs, gaps = data.contact.geom, data.contact.dist
        meant = (moving[pairs[:, 0]] != moving[pairs[:, 1]]) & (gaps < self._clearance)
        return pairs[meant], gaps[meant]

    def _is_clear(self, arm: np.ndarray) -> bool:
        return not len(self._near(arm)[1])

    # The search ------------------------------------------------------------------------------------------------

    def _search(self, start: np.ndarray, end: np.ndarray, seed: int) -> np.ndarray | None:
        """Corners (n, 7) of a clear way between two clear configurations, shortened; None if the budget ran out."""
        from ompl import base, geometric, util

        # OMPL warns that a seed set after the first draw may not repeat. All that draws is made anew after it, so it does.
        util.noOutputHandler()
        util.RNG.setSeed(seed)
        bounds = base.RealVectorBounds(7)
        low, high = self._layout.arm_range.T
        low, high = np.maximum(low, np.minimum(start, end) - _ROAM), np.minimum(high, np.maximum(start, end) + _ROAM)
        for joint in range(7):
            bounds.setLow(joint, low[joint])
            bounds.setHigh(joint, high[joint])
        space = base.RealVectorStateSpace(7)
        space.setBounds(bounds)
        setup = geometric.SimpleSetup(space)
        checked = 0

        def valid(state: base.State) -> bool:
            nonlocal checked
            checked += 1
            return self._is_clear(_joints(state))

        setup.setStateValidityChecker(valid)
        information = setup.getSpaceInformation()
        information.setStateValidityCheckingResolution(_RESOLUTION / space.getMaximumExtent())
        planner = geometric.RRTConnect(information)
        planner.setRange(_RANGE)
        setup.setPlanner(planner)
        setup.setStartAndGoalStates(_state(space, start), _state(space, end))
        setup.solve(base.PlannerTerminationCondition(lambda: checked >= _BUDGET))
        if not setup.haveExactSolutionPath():
            return None
        path = setup.getSolutionPath()
        geometric.PathSimplifier(information).simplify(path, base.PlannerTerminationCondition(lambda: checked >= 2 * _BUDGET))
        return np.stack([_joints(state) for state in path.getStates()])

    # The rehearsal ----------------------------------------------------------------------------------------------

    def _rehearsed(self, snapshot: np.ndarray, targets: np.ndarray, end: np.ndarray, gripper: np.ndarray, corners: np.ndarray) -> np.ndarray | None:
        """Drive the arm to `targets` by the env's own controller, and wait for it at the end.

        Returns:
            The targets with those of the wait; None if the arm comes near what it is not near at either end anyway, or does not arrive.
        """
        allowed: dict[tuple[int, int], float] = {}
        for arm in (self._reader.qpos(snapshot)[self._layout.arm_qpos], corners[0], corners[-1]):
            for pair, gap in self._near_by_pair(arm):
                allowed[pair] = min(gap - _TOUCHING, allowed.get(pair, _REHEARSED_CLEARANCE))
        env = self._rehearsal
        env.put([0], snapshot[None])
        for waited in range(-len(targets), _LONGEST_WAIT):
            row = env.snapshot()
            if waited >= 0 and np.linalg.norm(poses.position(self._reader.eef_pose(row[0])) - poses.position(end)) < _ARRIVED:
                return np.concatenate([targets, np.repeat(end[None], waited, axis=0)])
            self._drive(targets[waited] if waited < 0 else end, gripper)
            arm = self._reader.qpos(env.snapshot()[0])[self._layout.arm_qpos]
            if any(gap < allowed.get(pair, _REHEARSED_CLEARANCE) for pair, gap in self._near_by_pair(arm)):
                return None
        return None

    def _room(self, segment: np.ndarray, grippers: np.ndarray) -> float:
        """The least gap between robot and obstacles [m] when it goes on from where the rehearsal has come to; no more than the least clearance."""
        env, data, room = self._rehearsal, self._data, _CLEARANCES[0]
        for target, gripper in zip(segment, grippers, strict=True):
            self._drive(target, gripper)
            data.qpos[:] = self._reader.qpos(env.snapshot()[0])
            self._mujoco.mj_kinematics(self._model, data)
            self._mujoco.mj_collision(self._model, data)
            pairs = data.contact.geom
            meant = np.any(self._obstacle[pairs], axis=1) & np.any(self._robot[pairs], axis=1)
            room = min(room, np.min(data.contact.dist[meant], initial=room))
        return float(room)

    def _drive(self, target: np.ndarray, gripper: np.ndarray) -> None:
        env = self._rehearsal
        env.step(env.target_poses_to_actions(env.eef_poses(env.snapshot()), {_EEF: target[None]}, {_EEF: gripper[None]}))

    def _near_by_pair(self, arm: np.ndarray) -> Iterator[tuple[tuple[int, int], float]]:
        pairs, gaps = self._near(arm)
        yield from zip(map(tuple, pairs.tolist()), gaps.tolist(), strict=True)


def _model_with_margin(task: TaskSpec) -> mujoco.MjModel:
    """The task's model, in which whatever comes within the largest clearance is a contact."""
    import mujoco

    spec = build_spec(task)
    # What sleeps is left out of collisions.
    spec.option.enableflags &= ~mujoco.mjtEnableBit.mjENBL_SLEEP.value
    for geom in spec.geoms:
        geom.margin = max(_CLEARANCES)
    return spec.compile()


def _state(space: base.RealVectorStateSpace, joints: np.ndarray) -> base.State:
    state = space.allocState()
    for joint, angle in enumerate(joints):
        state[joint] = angle
    return state


def _joints(state: base.State) -> np.ndarray:
    return np.array([state[joint] for joint in range(7)])


def _densely(corners: np.ndarray) -> Iterator[np.ndarray]:
    """Joints on the lines between corners (n, 7), as near to one another as those that are checked."""
    for a, b in itertools.pairwise(corners):
        count = max(1, int(np.ceil(np.abs(b - a).max() / _RESOLUTION)))
        for i in range(count):
            yield a + (b - a) * (i / count)
    yield corners[-1]


def _timed(path: np.ndarray, step: float, turn: float) -> np.ndarray:
    """Poses (L, 4, 4) along `path` (n, 4, 4), both ends left out, at most `step` [m] and `turn` [rad] apart, slower towards the ends."""
    metres = np.linalg.norm(np.diff(poses.position(path), axis=0), axis=-1)
    radians = poses.rotation_angle(poses.rotation(path[1:]), poses.rotation(path[:-1]))
    along = np.concatenate([[0.0], np.cumsum(np.maximum(metres / step, radians / turn))])
    count = max(1, int(np.ceil(1.5 * along[-1])) - 1)
    fraction = np.arange(1, count + 1) / (count + 1)
    wanted = along[-1] * fraction**2 * (3 - 2 * fraction)
    before = np.clip(np.searchsorted(along, wanted, side="right") - 1, 0, len(path) - 2)
    span = along[before + 1] - along[before]
    share = np.divide(wanted - along[before], span, out=np.zeros_like(span), where=span > 0)
    return np.concatenate([poses.interpolate(path[i], path[i + 1], np.array([part])) for i, part in zip(before, share, strict=True)])
