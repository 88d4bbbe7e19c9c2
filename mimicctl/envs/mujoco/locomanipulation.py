"""A Unitree G1 that goes from place to place and works with its hands, as a `NavigatingEnv`.

Actions are Isaac Lab's: wrists and fingers as of `humanoid`, in the env frame, then of the eef `body` its velocities ahead, to its left [m/s] and round [rad/s],
in its own frame, and the height of its hips above the floor [m].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from mimicctl import poses
from mimicctl.envs.base import Snapshot
from mimicctl.envs.mujoco import mobile_g1
from mimicctl.envs.mujoco.drive import AHEAD, PLANE, STANDING, rotated
from mimicctl.envs.mujoco.humanoid import HumanoidEnv
from mimicctl.envs.mujoco.humanoid_body import HumanoidBody
from mimicctl.envs.mujoco.humanoid_reader import HumanoidLayout, HumanoidReader
from mimicctl.envs.mujoco.mobile_g1 import FLOOR_Z, HIP_HEIGHT, HIP_RANGE, MAX_SPEED
from mimicctl.tasks.spec import BODY, TaskSpec, layout_width

if TYPE_CHECKING:
    import mujoco

HAND = "right"
"""The one that carries."""

_BODY_PART = 4
_LIFTED, _HELD_HIGH = 0.02, 0.05
_ARRIVED = 0.55
"""[m] Between pelvis and object, across: the hand can reach it."""
_ON_ITS_WAY = (0.15, 0.3)
"""[m/s], [rad/s] A robot that is sent faster is on its way, and one that is faster, too; not one that corrects where it stands."""
_CRUISE, _GAIN, _BRAKE, _FASTER = (0.5, 0.7), 2.5, (0.6, 1.0), (0.12, 0.25)
"""How its controller drives it, across and round [m, rad, s]: speed at most, speed for what is left of the way, braking, and how much faster than it goes it
is sent, so that what it carries stays in its hand."""
_TILTED = 0.2
_STILL = 0.1
"""[m/s] Half of what Isaac Lab asks for; a wheel that lies on its rim rocks on."""
_WITHDRAWN = 0.25
"""[m] That the wrist is away from what it has let go of."""
_LEEWAY = 0.03


@dataclass(frozen=True)
class LocomanipulationLayout(HumanoidLayout):
    """
    Attributes:
        base: indices of x, y, yaw and z into qpos, and into qvel.
        base_ctrl: of their servos.
        legs: indices of the joints that follow z.
    """

    base: np.ndarray
    base_ctrl: np.ndarray
    legs: np.ndarray

    @classmethod
    def of(cls, model: mujoco.MjModel, task: TaskSpec, body: HumanoidBody) -> Self:
        return super().of(
            model,
            task,
            body,
            base=np.array([model.joint(name).qposadr[0] for name in mobile_g1.BASE_JOINTS]),
            base_ctrl=np.array([model.actuator(name).id for name in mobile_g1.BASE_JOINTS]),
            legs=np.array([model.joint(name).qposadr[0] for name in mobile_g1.LEG_JOINTS]),
        )

    @property
    def state(self) -> np.ndarray:
        """(38,) arms, left hand, right hand, base, legs."""
        return np.concatenate([self.joints, self.base, self.legs])


@dataclass(frozen=True)
class LocomanipulationReader(HumanoidReader):
    """A row is as that of any humanoid."""

    kind_of_layout = LocomanipulationLayout

    layout: LocomanipulationLayout

    def base(self, rows: np.ndarray) -> np.ndarray:
        """(..., 4) x, y [m], yaw [rad], not wrapped, and the height of the hips above where they usually are [m]."""
        return self.qpos(rows)[..., self.layout.base]

    def root_pose(self, rows: np.ndarray) -> np.ndarray:
        x, y, yaw, z = np.moveaxis(self.base(rows), -1, 0)
        return poses.yaw_pose(np.stack([x, y, z], axis=-1) + self.body.root, yaw)

    def velocity(self, rows: np.ndarray) -> np.ndarray:
        """(..., 3) ahead and to the left [m/s], and turning [rad/s]."""
        return rotated(self.qvel(rows)[..., self.layout.base[:3]], -self.base(rows)[..., 2])

    def standing(self, rows: np.ndarray) -> np.ndarray:
        """(...) bool"""
        return ~_faster(self.velocity(rows), STANDING)

    def navigation(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(...) bool: on its way; and at its goal: it was sent no farther, and stands."""
        asked = self.last_action(rows)[..., -_BODY_PART:-1]
        sent = _faster(asked, _ON_ITS_WAY)
        return sent | _faster(self.velocity(rows), _ON_ITS_WAY), ~sent & self.standing(rows)

    # Signals and success ------------------------------------------------------------------------------

    def signals(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        goal = self.task.goal
        up = self.object_position(rows, goal.object_name)[..., 2] - self.task.object(goal.object_name).rest_height
        closed = self.openness(rows, HAND) < 0
        at_object, at_container = (self._arrived(rows, name) for name in (goal.object_name, goal.container))
        return {
            "at_object": at_object,
            "object_lifted": (up > _HELD_HIGH) & closed,
            "at_bin": at_container,
            f"idle_{HAND}": at_object,
            f"grasp_{HAND}": (up > _LIFTED) & closed,
            f"carry_{HAND}": at_container,
        }

    def _arrived(self, rows: np.ndarray, name: str) -> np.ndarray:
        away = self.root_pose(rows)[..., :2, 3] - self.object_position(rows, name)[..., :2]
        return (np.linalg.norm(away, axis=-1) < _ARRIVED) & self.standing(rows)

    def success(self, rows: np.ndarray) -> np.ndarray:
        goal = self.task.goal
        container = self.object_pose(rows, goal.container)
        inside = poses.inverse(container) @ self.object_pose(rows, goal.object_name)
        x, y, floor = goal.inside
        there = (np.abs(inside[..., 0, 3]) < x) & (np.abs(inside[..., 1, 3]) < y)
        low = inside[..., 2, 3] < floor + self.task.object(goal.object_name).rest_height + _LEEWAY
        upright = container[..., 2, 2] > np.cos(_TILTED)
        away = np.linalg.norm(poses.position(self.eef_pose(rows, HAND)) - self.object_position(rows, goal.object_name), axis=-1) > _WITHDRAWN
        still = np.linalg.norm(self.object_velocity(rows, goal.object_name)[..., :3], axis=-1) < _STILL
        return there & low & upright & away & still & (self.openness(rows, HAND) > 0.7)

    # What the file holds --------------------------------------------------------------------------------

    def observations(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Isaac Lab's, with the wheel alone in `object`; and in `nearby` what a policy needs to know of where things are, all in the frame of the pelvis:
        position of each object, cosine and sine of their yaws, and of each wrist its position and its first two axes."""
        pelvis = self.root_pose(rows)
        here = poses.inverse(pelvis)
        away = [(here @ self.object_pose(rows, item.name))[..., :3, 3] for item in self.task.objects]
        wrists = [here @ self.eef_pose(rows, eef) for eef in self.layout.wrists]
        hands = [part for wrist in wrists for part in (wrist[..., :3, 3], wrist[..., :3, 0], wrist[..., :3, 1])]
        seen = super().observations(rows)
        values = {
            "object": seen["object"][..., : layout_width(self.task.obs_layout["object"])],
            "body_eef_pos": poses.position(pelvis),
            "body_eef_quat": poses.quat_from_matrix(poses.rotation(pelvis)),
            "body_velocity": self.velocity(rows),
            "nearby": np.concatenate([*away, self.relative_yaws(rows, poses.rotation(pelvis), self.task.objects), *hands], axis=-1),
        }
        return seen | {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in values.items()}

    def scene_state(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        x, y, yaw, z = np.moveaxis(self.qvel(rows)[..., self.layout.base], -1, 0)
        still = np.zeros_like(x)
        return super().scene_state(rows) | {"articulation/robot/root_velocity": np.stack([x, y, z, still, still, yaw], axis=-1).astype(np.float32)}


def _faster(velocity: np.ndarray, than: tuple[float, float]) -> np.ndarray:
    """(...) bool, of planar velocities (..., 3)."""
    return (np.linalg.norm(velocity[..., :2], axis=-1) > than[0]) | (np.abs(velocity[..., 2]) > than[1])


def _ahead(pose: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """(..., 4, 4) where `velocity` (..., 3) would take a body in the time that its targets are ahead."""
    step = AHEAD * velocity
    return pose @ poses.yaw_pose(np.concatenate([step[..., :2], np.zeros_like(step[..., :1])], axis=-1), step[..., 2])


def _next_velocity(way: np.ndarray, velocity: np.ndarray, cruise: float, brake: float, faster: float) -> np.ndarray:
    """(..., D) to be asked for with `way` (..., D) left, at `velocity` (..., D)."""
    left = np.linalg.norm(way, axis=-1, keepdims=True)
    speed = np.minimum(np.minimum(_GAIN * left, np.sqrt(2 * brake * left)), cruise)
    wanted = way * (speed / np.maximum(left, 1e-9))
    change = wanted - velocity
    size = np.linalg.norm(change, axis=-1, keepdims=True)
    return velocity + change * np.minimum(1.0, faster / np.maximum(size, 1e-9))


class LocomanipulationEnv(HumanoidEnv):
    """See `NavigatingEnv` for the contract."""

    reader: LocomanipulationReader
    kind_of_reader = LocomanipulationReader

    def navigation(self, snapshot: Snapshot) -> tuple[np.ndarray, np.ndarray]:
        return self.reader.navigation(snapshot)

    def on_the_way(self, snapshot: Snapshot, goal: np.ndarray) -> np.ndarray:
        """Straight there, turning meanwhile: it picks up speed and brakes gently, and is at its hips' height at once."""
        here, velocity = self.reader.root_pose(snapshot), self.reader.velocity(snapshot)
        away = poses.inverse(here) @ goal
        turn = np.arctan2(away[..., 1, 0], away[..., 0, 0])[..., None]
        parts = [(away[..., :2, 3], velocity[..., :2]), (turn, velocity[..., 2:])]
        asked = [_next_velocity(*part, *limits) for part, limits in zip(parts, zip(_CRUISE, _BRAKE, _FASTER, strict=True), strict=True)]
        target = _ahead(here, np.concatenate(asked, axis=-1))
        target[..., 2, 3] = goal[..., 2, 3]
        return target

    # Life of an env -------------------------------------------------------------------------------------

    def _arms_at_rest(self, task: TaskSpec) -> np.ndarray:
        return self._ik.posture  # its home is where it stands

    def _place_robot(self, qpos: np.ndarray, rng: np.random.Generator) -> None:
        super()._place_robot(qpos, rng)
        qpos[self.layout.base[:3]] = np.array(self.task.home) + self.task.reset.base_noise * rng.standard_normal(3)
        qpos[self.layout.legs] = np.tile(mobile_g1.leg_angles(np.array(HIP_HEIGHT)), 2)

    def _hold_still(self, data: mujoco.MjData) -> None:
        super()._hold_still(data)
        data.ctrl[self.layout.base_ctrl] = [0.0, 0.0, 0.0, data.qpos[self.layout.base[3]]]

    def _servo_targets(self, ids: Sequence[int], actions: np.ndarray) -> np.ndarray:
        controls = super()._servo_targets(ids, actions)
        velocity = np.clip(actions[:, -_BODY_PART:-1], -np.array(MAX_SPEED), MAX_SPEED)
        controls[:, self.layout.base_ctrl[:3]] = rotated(velocity, self.reader.base(self._rows[list(ids)])[:, 2])
        controls[:, self.layout.base_ctrl[3]] = np.clip(actions[:, -1], *HIP_RANGE) - HIP_HEIGHT
        return controls

    # Reading snapshots ------------------------------------------------------------------------------------

    def eef_poses(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {BODY: self.reader.root_pose(snapshot), **super().eef_poses(snapshot)}

    def gripper_opening(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {BODY: np.zeros(snapshot.shape[:-1]), **super().gripper_opening(snapshot)}

    # Actions ------------------------------------------------------------------------------------------------

    def command_to_action(self, snapshot: Snapshot, deltas: Mapping[str, np.ndarray], grippers: Mapping[str, float | np.ndarray]) -> np.ndarray:
        """Of the body, velocities: ahead, to its left, up with its hips [m/s] and round [rad/s]."""
        now, wanted = self.eef_poses(snapshot), deltas[BODY]
        targets = {side: poses.apply_delta(now[side], self.task.command_scale * deltas[side]) for side in self.body.wrists}
        targets[BODY] = _ahead(now[BODY], wanted[list(PLANE)])
        targets[BODY][2, 3] += AHEAD * wanted[2]
        return self.target_poses_to_actions(now, targets, {side: np.atleast_1d(grippers[side]) for side in self.body.wrists})

    def target_poses_to_actions(self, eef_poses: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray], grippers: Mapping[str, np.ndarray]) -> np.ndarray:
        actions = super().target_poses_to_actions(eef_poses, targets, grippers)
        body = targets[BODY]
        away = poses.inverse(eef_poses[BODY]) @ body
        turn = np.arctan2(away[..., 1, 0], away[..., 0, 0])
        velocity = np.clip(np.concatenate([away[..., :2, 3], turn[..., None]], axis=-1) / AHEAD, -np.array(MAX_SPEED), MAX_SPEED)
        actions[..., -_BODY_PART:] = np.concatenate([velocity, body[..., 2, 3:4] - FLOOR_Z], axis=-1)
        return actions

    def noisy_actions(self, actions: np.ndarray, noise: Mapping[str, np.ndarray]) -> np.ndarray:
        noisy = super().noisy_actions(actions, noise)
        noisy[..., -_BODY_PART:-1] += noise[BODY][..., PLANE].astype(np.float32)
        return noisy

    def actions_to_target_poses(self, eef_poses: Mapping[str, np.ndarray], actions: np.ndarray) -> dict[str, np.ndarray]:
        body = _ahead(eef_poses[BODY], np.asarray(actions[..., -_BODY_PART:-1], dtype=np.float64))
        body[..., 2, 3] = FLOOR_Z + actions[..., -1]
        return {BODY: body, **super().actions_to_target_poses(eef_poses, actions)}

    def gripper_actions(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        return {BODY: actions[..., :0], **super().gripper_actions(actions)}

    # Recording ----------------------------------------------------------------------------------------------

    def _processed(self, actions: np.ndarray, after: Snapshot) -> np.ndarray:
        """The joints of arms and hands as their servos were told, and what the body was."""
        return np.concatenate([super()._processed(actions, after), actions[:, -_BODY_PART:]], axis=-1)
