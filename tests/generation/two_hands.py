"""Two hands that are points and go where they are told at once, and a bar that they carry if both have it and keep level."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mimicctl import poses
from mimicctl.generation.source import SourceDemo, SourcePool
from mimicctl.schema import Episode
from mimicctl.tasks import DEFAULT_TASK, Lift, ObjectSpec, ResetRange, Subtask, TaskSpec, find_task

EEFS = ("left", "right")
_HALF, _HEIGHT = 0.2, 0.1
_GRIP, _LEVEL = 0.02, 0.02
_REST = {"left": np.array([0.3, 0.4, 0.3]), "right": np.array([0.3, -0.4, 0.3])}
_ENDS = {"left": (11, 44), "right": (17, 44)}
_LIFT_FROM = 22


def task(**fields) -> TaskSpec:
    """Grasp both ends of the bar, lift it."""
    quiet = {"selection_strategy": "nearest_neighbor_robot_distance", "action_noise": 0.0, "nn_k": 1}
    subtasks = {eef: (Subtask("grasp", "bar", f"grasp_{eef}", **quiet), Subtask("lift", "bar", **quiet)) for eef in EEFS}
    return dataclasses.replace(
        find_task(DEFAULT_TASK),
        objects=(ObjectSpec("bar", "grey", 2 * _HALF, 0.3, (0.5, 0.5, 0.5, 1.0)),),
        reset=ResetRange((0.4, 0.8), (-0.3, 0.3), (-0.5, 0.5), 0.0, 0.0),
        goal=Lift("bar", _HEIGHT),
        hand=(),
        **{"subtasks": subtasks, "success_hold_steps": 3, **fields},
    )


def _bar(x: float, y: float, yaw: float, z: float = 0.0) -> np.ndarray:
    return poses.yaw_pose(np.array([x, y, z]), np.array(yaw))


def _end(bar: np.ndarray, eef: str) -> np.ndarray:
    return (bar @ np.array([0.0, _HALF if eef == "left" else -_HALF, 0.0, 1.0]))[:3]


def source(number: int, x: float, y: float, yaw: float) -> SourceDemo:
    """Left has its end after 10 steps and right after 16; from step 22 on both go up."""
    bar, length = _bar(x, y, yaw), _ENDS["left"][-1]
    eefs, targets, grippers = {}, {}, {}
    lift = np.zeros((length, 3))
    lift[:, 2] = np.clip((np.arange(length) - _LIFT_FROM) * 0.01, 0.0, 0.2)
    for eef in EEFS:
        there = _ENDS[eef][0] - 1
        way = np.minimum(1.0, np.arange(1, length + 1) / there)[:, None]
        target = _REST[eef] + way * (_end(bar, eef) - _REST[eef]) + lift
        measured = np.concatenate([_REST[eef][None], target[:-1]])
        eefs[eef], targets[eef] = (poses.compose(np.eye(3), track) for track in (measured, target))
        grippers[eef] = np.where(np.arange(length) < there, 1.0, -1.0)[:, None]
    track = np.broadcast_to(bar, (length, 4, 4)).copy()
    track[:, :3, 3] += np.concatenate([np.zeros((1, 3)), lift[:-1]])
    return SourceDemo(f"demo_{number}", eefs, targets, grippers, {"bar": track}, dict(_ENDS))


def pool() -> SourcePool:
    return SourcePool(tuple(source(i, *place) for i, place in enumerate([(0.5, 0.0, 0.0), (0.6, 0.15, 0.3), (0.6, -0.15, -0.3)])))


class TwoHands:
    """See `MimicEnv`. A row is the left and the right hand (x, y, z, open), the bar (x, y, z, yaw), and whether it has slipped."""

    sim_args: Mapping[str, float] = {}

    def __init__(self, spec: TaskSpec, num_envs: int = 1) -> None:
        self.task, self.num_envs = spec, num_envs
        self._rows = np.zeros((num_envs, 13))

    def reset(self, env_ids: Sequence[int], seeds: Sequence[np.random.SeedSequence]) -> None:
        reset = self.task.reset
        for env_id, seed in zip(env_ids, seeds, strict=True):
            x, y, yaw = np.random.default_rng(seed).uniform(*zip(reset.x, reset.y, reset.yaw, strict=True))
            self._rows[env_id] = [*_REST["left"], 1.0, *_REST["right"], 1.0, x, y, 0.0, yaw, 0.0]

    def step(self, actions: np.ndarray, env_ids: Sequence[int]) -> None:
        for action, env_id in zip(np.asarray(actions, dtype=float), env_ids, strict=True):
            row = self._rows[env_id]
            had = all(self._has(row))
            before = row[:8].copy()
            row[:8] = action
            if had and not row[12]:
                risen = (row[2] - before[2], row[6] - before[6])
                row[10] = min(row[2], row[6])
                row[8:10] += (row[0:2] - before[0:2] + row[4:6] - before[4:6]) / 2
                row[12] = abs(row[2] - row[6]) > _LEVEL or abs(risen[0] - risen[1]) > _LEVEL

    def snapshot(self, env_ids: Sequence[int] | None = None) -> np.ndarray:
        return self._rows[list(range(self.num_envs) if env_ids is None else env_ids)]

    def _has(self, row: np.ndarray) -> list[bool]:
        bar = _bar(*row[8:10], row[11], row[10])
        return [row[4 * i + 3] < 0 and bool(np.linalg.norm(row[4 * i : 4 * i + 3] - _end(bar, eef)) < _GRIP) for i, eef in enumerate(EEFS)]

    def eef_poses(self, snapshot: np.ndarray) -> dict[str, np.ndarray]:
        return {eef: poses.compose(np.eye(3), snapshot[..., 4 * i : 4 * i + 3]) for i, eef in enumerate(EEFS)}

    def object_poses(self, snapshot: np.ndarray) -> dict[str, np.ndarray]:
        return {"bar": poses.yaw_pose(snapshot[..., 8:11], snapshot[..., 11])}

    def signals(self, snapshot: np.ndarray) -> dict[str, np.ndarray]:
        has = np.array([self._has(row) for row in snapshot])
        return {f"grasp_{eef}": has[:, i] for i, eef in enumerate(EEFS)}

    def success(self, snapshot: np.ndarray) -> np.ndarray:
        return (snapshot[..., 10] > _HEIGHT) & (snapshot[..., 12] == 0)

    def target_poses_to_actions(self, eef_poses, targets, grippers) -> np.ndarray:
        parts = [part for eef in EEFS for part in (poses.position(targets[eef]), grippers[eef])]
        return np.concatenate(parts, axis=-1).astype(np.float32)

    def noisy_actions(self, actions: np.ndarray, noise: Mapping[str, np.ndarray]) -> np.ndarray:
        noisy = actions.copy()
        for i, eef in enumerate(EEFS):
            noisy[:, 4 * i : 4 * i + 3] += noise[eef][:, :3]
        return noisy

    def episode(self, snapshots: np.ndarray, actions: np.ndarray, *, with_datagen_info: bool) -> Episode:
        return Episode(actions, actions, {"rows": snapshots[:-1]}, {}, {})
