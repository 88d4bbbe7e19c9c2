"""Selecting, moving and joining source segments: the mathematics of MimicGen, one function a step.

Source: MimicGen (Mandlekar et al., 2023), section 4. Poses are in the env frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mimicctl import poses
from mimicctl.generation.source import SourcePool
from mimicctl.tasks import Subtask

_TURN_AT_ONCE = 0.05
"""[rad] Below this a straight bridge takes the final rotation at once, as Isaac Lab does."""

_ARCH_FULL_AT = 0.10
"""[m] Horizontal travel from which an arch has its full height; shorter bridges rise in proportion."""


@dataclass(frozen=True)
class Bridge:
    """How the end of one segment is joined to the start of the next.

    Attributes:
        shape: "straight" is Isaac Lab's: a fixed number of steps along a line. "arch" rises in between, so that it does
            not sweep through what was just built, and takes as many steps as the distance needs.
        height: of the arch [m].
        step: largest distance between its waypoints [m].
    """

    shape: Literal["arch", "straight"] = "arch"
    height: float = 0.08
    step: float = 0.015


@dataclass(frozen=True)
class Waypoints:
    """Targets for one eef, one per control step.

    Attributes:
        poses: (L, 4, 4).
        grippers: (L, G).
        noise: (L,) standard deviation of the action noise, action units.
    """

    poses: np.ndarray
    grippers: np.ndarray
    noise: np.ndarray

    def __len__(self) -> int:
        return len(self.poses)


def select_source(
    subtask: Subtask,
    pool: SourcePool,
    starts: list[int],
    eef: str,
    eef_pose: np.ndarray,
    object_pose: np.ndarray,
    yaw_symmetry: int,
    rng: np.random.Generator,
) -> int:
    """Index of the source demo whose segment is used.

    Args:
        starts: first step of the segment in each demo.
        eef_pose, object_pose: (4, 4), now.
        yaw_symmetry: of the object.
    """
    if subtask.selection_strategy == "random":
        return int(rng.integers(len(pool)))
    then = np.stack([demo.object_poses[subtask.object_ref][start] for demo, start in zip(pool.demos, starts, strict=True)])
    object_now = nearest_equivalent(object_pose, then, yaw_symmetry)
    if subtask.selection_strategy == "nearest_neighbor_object":
        candidates, now = then, object_now
    else:
        eefs = np.stack([demo.eef_poses[eef][start] for demo, start in zip(pool.demos, starts, strict=True)])
        candidates, now = transform_segment(eefs, then, object_now), eef_pose
    metres = np.linalg.norm(poses.position(candidates) - poses.position(now), axis=-1)
    radians = poses.rotation_angle(poses.rotation(candidates), poses.rotation(now))
    distance = subtask.pos_weight * metres + subtask.rot_weight * radians
    nearest = np.argsort(distance, kind="stable")[: subtask.nn_k]
    return int(nearest[rng.integers(len(nearest))])


def nearest_equivalent(object_pose: np.ndarray, reference: np.ndarray, yaw_symmetry: int) -> np.ndarray:
    """Of the poses that a symmetric object cannot be told apart in, the one turned least from a reference.

    A cube seen at a yaw of 80 degrees is a cube at -10 degrees: without this, a segment would turn the wrist by up
    to half a turn to keep a relation that a quarter turn or none keeps as well.

    Args:
        object_pose: (4, 4), now.
        reference: (..., 4, 4), in the source demos.
        yaw_symmetry: number of equal turns about the object's z axis.

    Returns:
        (..., 4, 4).
    """
    turns = poses.yaw_pose(np.zeros(3), 2 * np.pi * np.arange(yaw_symmetry) / yaw_symmetry)
    candidates = object_pose @ turns
    angles = poses.rotation_angle(poses.rotation(candidates), poses.rotation(reference)[..., None, :, :])
    return candidates[np.argmin(angles, axis=-1)]


def transform_segment(eef_poses: np.ndarray, object_pose_source: np.ndarray, object_pose_now: np.ndarray) -> np.ndarray:
    """Move a source segment so that it keeps its relation to the object.

    Args:
        eef_poses: (T, 4, 4).
        object_pose_source: (4, 4) or (T, 4, 4) pose of the reference object when the segment began.
        object_pose_now: (4, 4).

    Returns:
        (T, 4, 4).
    """
    return object_pose_now @ poses.inverse(object_pose_source) @ eef_poses


def bridge_waypoints(start: np.ndarray, segment: Waypoints, subtask: Subtask, bridge: Bridge) -> Waypoints:
    """The segment, preceded by the path from pose `start` (4, 4), exclusive, to its first waypoint.

    The gripper does on the bridge what it does first in the segment. Noise applies to the bridge only if the
    subtask says so, and always from the first waypoint of the segment on.
    """
    end = segment.poses[0]
    steps = subtask.num_interpolation_steps
    if bridge.shape == "arch":
        distance = float(np.linalg.norm(poses.position(end) - poses.position(start)))
        steps = max(steps, int(np.ceil(distance / bridge.step)) - 1)
    fraction = np.arange(1, steps + 1) / (steps + 1)
    path = poses.interpolate(start, end, fraction)
    if bridge.shape == "arch":
        level = np.linalg.norm((poses.position(end) - poses.position(start))[:2])
        path[:, 2, 3] += bridge.height * min(1.0, level / _ARCH_FULL_AT) * np.sin(np.pi * fraction)
    elif poses.rotation_angle(poses.rotation(start), poses.rotation(end)) < _TURN_AT_ONCE:
        path[:, :3, :3] = poses.rotation(end)
    fixed = np.repeat(end[None], subtask.num_fixed_steps, axis=0)
    lead = np.concatenate([path, fixed])
    lead_noise = subtask.action_noise if subtask.apply_noise_during_interpolation else 0.0
    return Waypoints(
        poses=np.concatenate([lead, segment.poses]),
        grippers=np.concatenate([np.repeat(segment.grippers[:1], len(lead), axis=0), segment.grippers]),
        noise=np.concatenate([np.full(len(lead), lead_noise), segment.noise]),
    )


def subtask_waypoints(
    pool: SourcePool,
    demo: int,
    eef: str,
    subtask: Subtask,
    start: int,
    end: int,
    object_pose: np.ndarray,
    yaw_symmetry: int,
    *,
    from_measured_pose: bool,
) -> Waypoints:
    """A source segment moved to where its object is now.

    Args:
        start, end: steps [start, end) of source demo number `demo`.
        object_pose: (4, 4) of the subtask's reference object, now.
        from_measured_pose: begin with the source's measured pose instead of its first command (always for the first subtask).
    """
    source = pool.demos[demo]
    targets, grippers = source.target_poses[eef][start:end], source.gripper_actions[eef][start:end]
    if from_measured_pose:
        targets = np.concatenate([source.eef_poses[eef][start : start + 1], targets])
        grippers = np.concatenate([grippers[:1], grippers])
    then = source.object_poses[subtask.object_ref][start]
    moved = transform_segment(targets, then, nearest_equivalent(object_pose, then, yaw_symmetry))
    return Waypoints(moved, grippers, np.full(len(moved), subtask.action_noise))
