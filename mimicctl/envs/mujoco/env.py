"""`MimicEnv` on MuJoCo: N independent scenes of one model, stepped one after the other in this process."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.envs.base import Snapshot
from mimicctl.envs.mujoco import panda
from mimicctl.envs.mujoco.franka_cubes import CubesReader, along_z
from mimicctl.envs.mujoco.ik import joint_step
from mimicctl.envs.mujoco.scene import PHYSICS_DT, build_model, layout_of
from mimicctl.schema import Episode
from mimicctl.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import mujoco

_EEF = "franka"
_PLACEMENT_TRIES = 5000


class MujocoEnv:
    """See `MimicEnv` for the contract.

    A start state is rounded to float32, the precision of the file, before anything moves; actions are too. So
    an episode replayed from its file repeats bit for bit.

    Attributes:
        physics_seconds: CPU time of this thread spent inside MuJoCo's step so far [s].
    """

    def __init__(self, task: TaskSpec, num_envs: int = 1) -> None:
        import mujoco

        self.task, self.num_envs = task, num_envs
        self.model = build_model(task)
        self.layout = layout_of(self.model, task)
        self.reader = CubesReader(task, self.layout, self.model.nq, self.model.nv)
        self.physics_seconds = 0.0
        self._mujoco = mujoco
        self._data = [mujoco.MjData(self.model) for _ in range(num_envs)]
        self._substeps = round(1.0 / (task.control_hz * PHYSICS_DT))
        self._rows = np.zeros((num_envs, self.reader.width))
        self._jacobian = np.zeros((num_envs, 6, self.model.nv))
        self.reset(range(num_envs), np.random.SeedSequence(0).spawn(num_envs))

    @property
    def sim_args(self) -> dict[str, float]:
        return {"dt": PHYSICS_DT, "decimation": self._substeps, "render_interval": self._substeps, "num_envs": self.num_envs}

    # Life of an env -------------------------------------------------------------------------------------

    def reset(self, env_ids: Sequence[int], seeds: Sequence[np.random.SeedSequence]) -> None:
        for env_id, seed in zip(env_ids, seeds, strict=True):
            rng = np.random.default_rng(seed)
            qpos = self.model.qpos0.copy()
            noisy = np.array(self.task.home) + self.task.reset.joint_noise * rng.standard_normal(7)
            qpos[self.layout.arm_qpos] = np.clip(noisy, *self.layout.arm_range.T)
            qpos[self.layout.finger_qpos] = panda.FINGER_OPEN
            for item, pose in zip(self.task.objects, draw_cube_poses(self.task, rng), strict=True):
                first = self.layout.objects[item.name][0]
                qpos[first : first + 3] = poses.position(pose)
                qpos[first + 3 : first + 7] = poses.wxyz_from_xyzw(poses.quat_from_matrix(poses.rotation(pose)))
            self._start(env_id, qpos, np.zeros(self.model.nv))

    def reset_to(self, env_ids: Sequence[int], states: Sequence[Mapping[str, np.ndarray]]) -> None:
        for env_id, state in zip(env_ids, states, strict=True):
            self._start(env_id, *self._vectors_of(state))

    def _vectors_of(self, state: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        flat = {key: np.asarray(value).reshape(-1) for key, value in state.items()}
        qvel = np.zeros(self.model.nv)
        qvel[np.concatenate([self.layout.arm_qpos, self.layout.finger_qpos])] = self.reader.state_entry(flat, "articulation/robot/joint_velocity", 9)
        for name, (_, first) in self.layout.objects.items():
            pose = self.reader.state_entry(flat, f"rigid_object/{name}/root_pose", 7)
            velocity = self.reader.state_entry(flat, f"rigid_object/{name}/root_velocity", 6)
            qvel[first : first + 3] = velocity[:3]
            qvel[first + 3 : first + 6] = poses.matrix_from_quat(pose[3:]).T @ velocity[3:]
        return self.reader.qpos_of(flat), qvel

    def _start(self, env_id: int, qpos: np.ndarray, qvel: np.ndarray) -> None:
        data = self._data[env_id]
        self._mujoco.mj_resetData(self.model, data)
        data.qpos[:], data.qvel[:] = qpos.astype(np.float32), qvel.astype(np.float32)
        data.ctrl[self.layout.arm_ctrl] = data.qpos[self.layout.arm_qpos]
        data.ctrl[self.layout.finger_ctrl] = panda.FINGER_OPEN
        self.reader.last_action(self._rows[env_id])[:] = 0.0
        self._look(env_id)

    def step(self, actions: np.ndarray, env_ids: Sequence[int] | None = None) -> None:
        ids = range(self.num_envs) if env_ids is None else env_ids
        actions = np.asarray(actions, dtype=np.float32)
        arm, fingers = self._servo_targets(ids, actions.astype(np.float64))
        started = time.thread_time()
        for row, env_id in enumerate(ids):
            data = self._data[env_id]
            data.ctrl[:7] = arm[row]
            data.ctrl[7:] = fingers[row]
            self._mujoco.mj_step(self.model, data, nstep=self._substeps)
        self.physics_seconds += time.thread_time() - started
        for row, env_id in enumerate(ids):
            self.reader.last_action(self._rows[env_id])[:] = actions[row]
            self._look(env_id)

    def _servo_targets(self, ids: Sequence[int], actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Joint targets (n, 7) and finger targets (n, 1), from where the arm is now."""
        index = list(ids)
        rows = self._rows[index]
        offset = panda.IK_OFFSET if self.task.control == "rel" else 0.0
        if self.task.control == "rel":
            error = self.task.action_scale * actions[:, :6]
        else:
            target = poses.pose_from_quat(actions[:, :3], actions[:, 3:7])
            error = poses.delta_between(self.reader.hand_pose(rows), target)
        arm_now = self.reader.qpos(rows)[:, self.layout.arm_qpos]
        step = joint_step(self._point_jacobian(index, rows, offset), error)
        arm = np.clip(arm_now + step, *self.layout.arm_range.T)
        return arm, np.where(actions[:, -1:] < 0, 0.0, panda.FINGER_OPEN)

    def _point_jacobian(self, index: list[int], rows: np.ndarray, offset: float) -> np.ndarray:
        """(n, 6, 7) Jacobian of the point `offset` metres along the hand's z axis."""
        jacobian = self._jacobian[index][..., :7]
        start = self.reader.nq + self.reader.nv
        x, y, z = (offset * rows[:, start + 5 : start + 12 : 3]).T[:, :, None]
        wx, wy, wz = jacobian[:, 3], jacobian[:, 4], jacobian[:, 5]
        # A point on the body moves with v + w x r.
        jacobian[:, 0] += wy * z - wz * y
        jacobian[:, 1] += wz * x - wx * z
        jacobian[:, 2] += wx * y - wy * x
        return jacobian

    def _look(self, env_id: int) -> None:
        """Bring kinematics up to the state and refresh the env's row."""
        model, data, row = self.model, self._data[env_id], self._rows[env_id]
        self._mujoco.mj_kinematics(model, data)
        self._mujoco.mj_comPos(model, data)
        hand = self.layout.hand_body
        jacobian = self._jacobian[env_id]
        self._mujoco.mj_jacBody(model, data, jacobian[:3], jacobian[3:], hand)
        nq, nv = model.nq, model.nv
        row[:nq] = data.qpos
        row[nq : nq + nv] = data.qvel
        row[nq + nv : nq + nv + 3] = data.xpos[hand]
        row[nq + nv + 3 : nq + nv + 12] = data.xmat[hand]
        row[-9:] = data.ctrl

    def get_state(self, env_ids: Sequence[int]) -> list[tuple[mujoco.MjData, np.ndarray]]:
        # MuJoCo's own state vectors leave out which bodies are asleep.
        return [(copy.copy(self._data[i]), self._rows[i].copy()) for i in env_ids]

    def set_state(self, env_ids: Sequence[int], states: Sequence[tuple[mujoco.MjData, np.ndarray]]) -> None:
        for env_id, (data, row) in zip(env_ids, states, strict=True):
            self._mujoco.mj_copyData(self._data[env_id], self.model, data)
            self._rows[env_id] = row
            hand = self.layout.hand_body
            self._mujoco.mj_jacBody(self.model, data, self._jacobian[env_id][:3], self._jacobian[env_id][3:], hand)

    def snapshot(self, env_ids: Sequence[int] | None = None) -> Snapshot:
        return self._rows.copy() if env_ids is None else self._rows[list(env_ids)]

    def close(self) -> None:
        self._data.clear()

    # Reading snapshots ------------------------------------------------------------------------------------

    def eef_poses(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {_EEF: self.reader.eef_pose(snapshot)}

    def object_poses(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {item.name: self.reader.object_pose(snapshot, item.name) for item in self.task.objects}

    def signals(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return self.reader.signals(snapshot)

    def success(self, snapshot: Snapshot) -> np.ndarray:
        return self.reader.success(snapshot)

    def observations(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return self.reader.observations(snapshot)

    def scene_state(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return self.reader.scene_state(snapshot)

    def gripper_opening(self, snapshot: Snapshot) -> np.ndarray:
        return self.reader.fingers(snapshot)[..., 0]

    # Actions ------------------------------------------------------------------------------------------------

    def command_to_action(self, snapshot: Snapshot, delta: np.ndarray, gripper: float) -> np.ndarray:
        # A relative action is scaled by the controller; an absolute one names the place itself.
        scale = 1.0 if self.task.control == "rel" else self.task.command_scale
        target = poses.apply_delta(self.reader.eef_pose(snapshot), scale * delta)
        return self.target_poses_to_actions({_EEF: self.reader.eef_pose(snapshot)}, {_EEF: target}, {_EEF: np.array([gripper])})

    def target_poses_to_actions(
        self,
        eef_poses: Mapping[str, np.ndarray],
        targets: Mapping[str, np.ndarray],
        grippers: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        if self.task.control == "rel":
            arm = np.clip(poses.delta_between(eef_poses[_EEF], targets[_EEF]), -1.0, 1.0)
        else:
            hand = along_z(targets[_EEF], -panda.TOOL_OFFSET)
            quat = poses.quat_beside(poses.quat_from_matrix(poses.rotation(hand)), panda.POINTING_DOWN)
            arm = np.concatenate([poses.position(hand), quat], axis=-1)
        return np.concatenate([arm, grippers[_EEF]], axis=-1).astype(np.float32)

    def noisy_actions(self, actions: np.ndarray, noise: Mapping[str, np.ndarray]) -> np.ndarray:
        if self.task.control == "rel":
            noisy = actions.copy()
            noisy[..., :6] = np.clip(actions[..., :6] + noise[_EEF], -1.0, 1.0)
            return noisy
        target = poses.apply_delta(self.actions_to_target_poses({}, actions)[_EEF], noise[_EEF])
        return self.target_poses_to_actions({}, {_EEF: target}, self.gripper_actions(actions))

    def actions_to_target_poses(self, eef_poses: Mapping[str, np.ndarray], actions: np.ndarray) -> dict[str, np.ndarray]:
        actions = np.asarray(actions, dtype=np.float64)
        if self.task.control == "rel":
            return {_EEF: poses.apply_delta(eef_poses[_EEF], actions[..., :6])}
        return {_EEF: along_z(poses.pose_from_quat(actions[..., :3], actions[..., 3:7]), panda.TOOL_OFFSET)}

    def gripper_actions(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        return {_EEF: actions[..., -1:]}

    # Recording ----------------------------------------------------------------------------------------------

    def episode(self, snapshots: Snapshot, actions: np.ndarray, *, with_datagen_info: bool) -> Episode:
        before, after = snapshots[:-1], snapshots[1:]
        actions = np.asarray(actions, dtype=np.float32)
        return Episode(
            actions=actions,
            processed_actions=self._processed(actions, after),
            obs=self.observations(before),
            states=self.scene_state(after),
            initial_state=self.scene_state(snapshots[:1]),
            datagen_info=self._datagen_info(before, actions) if with_datagen_info else {},
        )

    def _processed(self, actions: np.ndarray, after: Snapshot) -> np.ndarray:
        """Isaac Lab's: the scaled arm command, then both finger targets."""
        arm = actions[:, :-1] * np.float32(self.task.action_scale)
        return np.concatenate([arm, self.reader.control(after)[:, 7:].astype(np.float32)], axis=-1)

    def _datagen_info(self, before: Snapshot, actions: np.ndarray) -> dict[str, np.ndarray]:
        eefs = self.eef_poses(before)
        groups = {
            "object_pose": self.object_poses(before),
            "eef_pose": eefs,
            "target_eef_pose": self.actions_to_target_poses(eefs, actions),
        }
        info = {f"{group}/{name}": value.astype(np.float32) for group, values in groups.items() for name, value in values.items()}
        info |= {f"subtask_term_signals/{name}": value for name, value in self.signals(before).items()}
        return info


def draw_cube_poses(task: TaskSpec, rng: np.random.Generator) -> list[np.ndarray]:
    """Start poses (4, 4) of the task's objects, by rejection until all are `min_separation` apart."""
    reset = task.reset
    low = np.array([reset.x[0], reset.y[0], reset.yaw[0]])
    high = np.array([reset.x[1], reset.y[1], reset.yaw[1]])
    placed: list[np.ndarray] = []
    for item in task.objects:
        for _ in range(_PLACEMENT_TRIES):
            x, y, yaw = rng.uniform(low, high)
            if all(np.hypot(x - p[0, 3], y - p[1, 3]) > reset.min_separation for p in placed):
                break
        placed.append(poses.yaw_pose(np.array([x, y, item.edge / 2]), np.array(yaw)))
    return placed
