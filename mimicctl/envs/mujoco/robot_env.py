"""What every env on MuJoCo does the same: N independent scenes of one model, stepped one after the other in this process."""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mimicctl import poses
from mimicctl.envs.base import Snapshot
from mimicctl.envs.conditions import CONTROLLER_VERSION, SWING_CANCELLATION
from mimicctl.envs.mujoco.scene import PHYSICS_DT
from mimicctl.schema import Episode
from mimicctl.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import mujoco

    from mimicctl.envs.mujoco.reader import SceneReader

_PLACEMENT_TRIES = 5000


class RobotEnv(ABC):
    """See `MimicEnv` for the contract; a robot adds how it starts, is driven and is seen.

    A start state is rounded to float32, the precision of the file, before anything moves; actions are too. So
    an episode replayed from its file repeats bit for bit.

    Attributes:
        controller_version: of what turns actions into targets of servos. Its first number goes up when a policy that learnt under it would no longer
            find what it learnt.
        physics_seconds: CPU time of this thread spent inside MuJoCo's step so far [s].
    """

    controller_version = "1.0"

    def __init__(self, task: TaskSpec, num_envs: int, model: mujoco.MjModel, reader: SceneReader) -> None:
        import mujoco

        self.task, self.num_envs = task, num_envs
        self.model, self.reader = model, reader
        self.physics_seconds = 0.0
        self._mujoco = mujoco
        self._data = [mujoco.MjData(model) for _ in range(num_envs)]
        self._substeps = round(1.0 / (task.control_hz * PHYSICS_DT))
        self._rows = np.zeros((num_envs, reader.width))
        self.reset(range(num_envs), np.random.SeedSequence(0).spawn(num_envs))

    @property
    def sim_args(self) -> dict[str, float | str]:
        timing = {"dt": PHYSICS_DT, "decimation": self._substeps, "render_interval": self._substeps, "num_envs": self.num_envs}
        switches = {} if self.task.swing_cancellation is None else {SWING_CANCELLATION: self.task.swing_cancellation}
        return {**timing, **switches, CONTROLLER_VERSION: self.controller_version}

    # Life of an env -------------------------------------------------------------------------------------

    def reset(self, env_ids: Sequence[int], seeds: Sequence[np.random.SeedSequence]) -> None:
        for env_id, seed in zip(env_ids, seeds, strict=True):
            rng = np.random.default_rng(seed)
            qpos = self.model.qpos0.copy()
            self._place_robot(qpos, rng)
            for item, pose in zip(self.task.objects, draw_object_poses(self.task, rng), strict=True):
                body = item.bodies[rng.integers(len(item.bodies))]  # the others stay parked
                first = self.reader.layout.objects[body.name][0]
                qpos[first : first + 3] = poses.position(pose)
                qpos[first + 3 : first + 7] = poses.wxyz_from_xyzw(poses.quat_from_matrix(poses.rotation(pose)))
            self._start(env_id, qpos, np.zeros(self.model.nv))

    def reset_to(self, env_ids: Sequence[int], states: Sequence[Mapping[str, np.ndarray]]) -> None:
        for env_id, state in zip(env_ids, states, strict=True):
            flat = {key: np.asarray(value).reshape(-1) for key, value in state.items()}
            self._start(env_id, self.reader.qpos_of(flat), self.reader.qvel_of(flat))

    def put(self, env_ids: Sequence[int], rows: np.ndarray) -> None:
        """Put each env where a snapshot (n, K) of any env of the task says, its servos where they were."""
        for env_id, row in zip(env_ids, rows, strict=True):
            self._start(env_id, self.reader.qpos(row), self.reader.qvel(row))

    def _start(self, env_id: int, qpos: np.ndarray, qvel: np.ndarray) -> None:
        data = self._data[env_id]
        self._mujoco.mj_resetData(self.model, data)
        data.qpos[:], data.qvel[:] = qpos.astype(np.float32), qvel.astype(np.float32)
        self._hold_still(data)
        self.reader.last_action(self._rows[env_id])[:] = 0.0
        self._look(env_id)

    def step(self, actions: np.ndarray, env_ids: Sequence[int] | None = None) -> None:
        ids = range(self.num_envs) if env_ids is None else env_ids
        actions = np.asarray(actions, dtype=np.float32)
        targets = self._servo_targets(ids, actions.astype(np.float64))
        started = time.thread_time()
        for row, env_id in enumerate(ids):
            data = self._data[env_id]
            data.ctrl[:] = targets[row]
            self._mujoco.mj_step(self.model, data, nstep=self._substeps)
        self.physics_seconds += time.thread_time() - started
        for row, env_id in enumerate(ids):
            self.reader.last_action(self._rows[env_id])[:] = actions[row]
            self._look(env_id)

    def get_state(self, env_ids: Sequence[int]) -> list[tuple[mujoco.MjData, np.ndarray]]:
        # MuJoCo's own state vectors leave out which bodies are asleep.
        return [(copy.copy(self._data[i]), self._rows[i].copy()) for i in env_ids]

    def set_state(self, env_ids: Sequence[int], states: Sequence[tuple[mujoco.MjData, np.ndarray]]) -> None:
        for env_id, (data, row) in zip(env_ids, states, strict=True):
            self._mujoco.mj_copyData(self._data[env_id], self.model, data)
            self._rows[env_id] = row

    def snapshot(self, env_ids: Sequence[int] | None = None) -> Snapshot:
        return self._rows.copy() if env_ids is None else self._rows[list(env_ids)]

    def close(self) -> None:
        self._data.clear()

    @abstractmethod
    def _place_robot(self, qpos: np.ndarray, rng: np.random.Generator) -> None:
        """Write the robot's start into qpos (nq,)."""

    @abstractmethod
    def _hold_still(self, data: mujoco.MjData) -> None:
        """Set the servos so that the robot stays where it is."""

    @abstractmethod
    def _servo_targets(self, ids: Sequence[int], actions: np.ndarray) -> np.ndarray:
        """(n, nu) from actions (n, A), given how the envs are now."""

    @abstractmethod
    def _look(self, env_id: int) -> None:
        """Refresh the env's row after its state has changed."""

    # Reading snapshots ------------------------------------------------------------------------------------

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

    @abstractmethod
    def eef_poses(self, snapshot: Snapshot) -> dict[str, np.ndarray]: ...

    @abstractmethod
    def actions_to_target_poses(self, eef_poses: Mapping[str, np.ndarray], actions: np.ndarray) -> dict[str, np.ndarray]: ...

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

    @abstractmethod
    def _processed(self, actions: np.ndarray, after: Snapshot) -> np.ndarray:
        """(T, P) float32: what the controller was told by actions (T, A)."""

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


def draw_object_poses(task: TaskSpec, rng: np.random.Generator) -> list[np.ndarray]:
    """Start poses (4, 4) of the task's objects, by rejection until all are `min_separation` apart."""
    reset = task.reset
    placed: list[np.ndarray] = []
    begun: dict[str, np.ndarray] = {}
    for item in task.objects:
        if item.name in reset.inside:
            container, floor = reset.inside[item.name]
            lower_side = begun[container][2, 3] - task.object(container).rest_height
            centre = np.array([*begun[container][:2, 3], lower_side + floor + item.rest_height])
            begun[item.name] = poses.yaw_pose(centre, np.array(rng.uniform(*reset.yaws_of(item.name))))
            continue
        low, high = np.array([*reset.span_of(item.name), reset.yaws_of(item.name)]).T
        for _ in range(_PLACEMENT_TRIES):
            x, y, yaw = rng.uniform(low, high)
            if all(np.hypot(x - p[0, 3], y - p[1, 3]) > reset.min_separation for p in placed):
                break
        begun[item.name] = poses.yaw_pose(np.array([x, y, reset.z_of.get(item.name, 0.0) + item.rest_height]), np.array(yaw))
        placed.append(begun[item.name])
    return [begun[item.name] for item in task.objects]
