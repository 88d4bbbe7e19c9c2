"""Selecting, moving and joining source segments: the mathematics of MimicGen, one function a step.

Source: MimicGen (Mandlekar et al., 2023), section 4. Poses are in the env frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mimicctl import poses
from mimicctl.generation.source import SourceDemo
from mimicctl.tasks import Subtask
from mimicctl.tasks.spec import CoordinationScheme

_EASE_PEAK = 1.5
"""Speed half-way through an arch, in multiples of the mean."""

_TURN_AT_ONCE = 0.05
"""[rad] Below this a straight bridge takes the final rotation at once, as Isaac Lab does."""

_CALM_BEFORE_CLOSING, _CALM_BEFORE_OPENING, _CALM_AFTER = 6, 10, 12
"""Control steps before and after a change of the gripper in which contact noise applies. Any more, and a policy never sees how to find
back to the object while the hand comes down."""

_CALM_ARRIVING = 8
"""Control steps before the end of a planned way in which it applies, too."""

_ALIKE = 0.01
"""[m] Where the hand would meet another object whatever is chosen: how much deeper than the best is as good as the best."""

_ROOM = 0.01
"""[m] That a hand wants to other objects: by about as much noise and lag take it off its path."""

_TURN_WEIGHT = 4.0
"""Of the wrist's turn over the whole segment, beside its turn to where the segment begins: enough that of quarter turns the least is taken."""

_WOUND_UP, _WINDING_WEIGHT = 1.8, 20.0
"""[rad] Turn away from rest beyond which the wrist is on its way to its limit, and what each radian more counts for."""

_HAIR = 1e-9
"""Of a step: what rounding may make it longer than it is."""

_ARCH_FULL_AT = 0.10
"""[m] Horizontal travel from which an arch has its full height; shorter bridges rise in proportion."""


@dataclass(frozen=True)
class Bridge:
    """How the end of one segment is joined to the start of the next.

    Attributes:
        shape: "straight" is Isaac Lab's: a fixed number of steps along a line. "arch" rises in between, so that it does
            not sweep through what was just built, and takes as many steps as the way and the turn need. "plan" is a way that was planned
            to meet nothing, and an arch where none was found.
        height: of the arch [m].
        step, turn: largest distance across [m] and angle [rad] between its waypoints.
    """

    shape: Literal["arch", "straight", "plan"] = "arch"
    height: float = 0.08
    step: float = 0.03
    turn: float = 0.15


@dataclass(frozen=True)
class Waypoints:
    """Targets for one eef, one per control step.

    Attributes:
        poses: (L, 4, 4).
        grippers: (L, G).
        noise: (L,) standard deviation of the action noise, action units.
        lead: how many of them, at the beginning, are the bridge to a segment.
        places: (L, 3) where the source's hand was when it was sent there, or what it had in its grip, moved likewise; None: not known.
        held: the object whose places they are; None: the hand's.
    """

    poses: np.ndarray
    grippers: np.ndarray
    noise: np.ndarray
    lead: int = 0
    places: np.ndarray | None = None
    held: str | None = None

    def __len__(self) -> int:
        return len(self.poses)


def rank_sources(
    subtask: Subtask,
    then: np.ndarray,
    first_eef_poses: np.ndarray,
    last_eef_poses: np.ndarray,
    eef_pose: np.ndarray,
    rest_pose: np.ndarray,
    object_pose: np.ndarray,
    yaw_symmetry: int,
    clearances: Callable[[int, np.ndarray], np.ndarray],
    considered: np.ndarray,
    rng: np.random.Generator,
) -> list[tuple[int, int, np.ndarray]]:
    """Source demos for a segment, and in which of its equivalent poses to see a symmetric object, the one to take first.

    A cube at a yaw of 80 degrees is also a cube at -10 degrees, so the yaw of a symmetric object says little about which
    source resembles now. Instead of it, "nearest_neighbor_object" then counts how far the wrist would have to turn, and
    whether it would wind up. The face nearest to the jaw is a choice that shows in how hand and object lie to one another,
    at any moment of the segment: a policy, which sees no more than that, can learn it.
    Choices that would bring the hand into another object, or within a centimetre of it, are passed over; if all would, those that do it least are left.

    Args:
        then: (D, 4, 4) pose of the reference object at the start of the segment in each demo.
        first_eef_poses, last_eef_poses: (D, 4, 4) measured eef poses at that step and at the end of the segment.
        eef_pose, object_pose: (4, 4), now.
        rest_pose: (4, 4) of the eef when the trial began.
        yaw_symmetry: number of equal turns about the object's z axis that change nothing.
        clearances: gaps [m] to other objects (S,), of a demo number and object poses (S, 4, 4).
        considered: (D,) bool; the others count only where these would all bring the hand into another object.

    Returns:
        Demo number, number of the equivalent and the object's pose (4, 4) now in it, of each choice that leaves room: the first as the strategy
        says, the others after it by distance.
    """
    equivalents = _equivalents(object_pose, yaw_symmetry)
    first, last = (equivalents @ (poses.inverse(then) @ eef_poses)[:, None] for eef_poses in (first_eef_poses, last_eef_poses))
    if subtask.selection_strategy == "nearest_neighbor_robot_distance":
        distance = _distance(subtask, first, eef_pose)
    elif yaw_symmetry > 1:
        metres = np.linalg.norm(poses.position(then)[:, None] - poses.position(object_pose), axis=-1)
        to_first = poses.rotation_angle(poses.rotation(first), poses.rotation(eef_pose))
        to_last = poses.rotation_angle(poses.rotation(last), poses.rotation(eef_pose))
        wound_up = np.maximum(0.0, poses.rotation_angle(poses.rotation(last), poses.rotation(rest_pose)) - _WOUND_UP)
        distance = subtask.pos_weight * metres + subtask.rot_weight * (to_first + _TURN_WEIGHT * to_last + _WINDING_WEIGHT * wound_up)
        if subtask.selection_strategy == "nearest_neighbor_gap":
            distance = distance + subtask.pos_weight * np.linalg.norm(poses.position(first) - poses.position(eef_pose), axis=-1)
    else:
        distance = _distance(subtask, then[:, None], equivalents)
        if subtask.selection_strategy == "nearest_neighbor_gap":
            distance = distance + _distance(subtask, first, eef_pose)
    if subtask.selection_strategy == "random":
        distance = distance + 1e3 * rng.permutation(len(then))[:, None]
    wanted = 1 if subtask.selection_strategy == "random" else subtask.nn_k
    gaps = np.stack([clearances(demo, equivalents) for demo in range(len(then))])
    roomy = np.flatnonzero(gaps >= min(_ROOM, gaps.max() - _ALIKE))
    preferred = roomy[considered[roomy // yaw_symmetry]]
    roomy = preferred if len(preferred) else roomy
    ranked = roomy[np.argsort(distance.flat[roomy], kind="stable")]
    first = rng.choice(ranked[:wanted])
    return [(*divmod(int(choice), yaw_symmetry), equivalents[choice % yaw_symmetry]) for choice in (first, *ranked[ranked != first])]


def grasp_correction(held_in_eef_source: np.ndarray, held_in_eef_now: np.ndarray, yaw_symmetry: int) -> np.ndarray:
    """What eef targets are multiplied by, on the right, so that the object in hand goes where the source's went.

    No two grasps are alike; without this the difference between them becomes an error in where the object is put.

    Args:
        held_in_eef_source, held_in_eef_now: (4, 4) pose of the held object in the eef frame.
        yaw_symmetry: of the held object.

    Returns:
        (4, 4).
    """
    equivalents = _equivalents(held_in_eef_now, yaw_symmetry)
    angles = poses.rotation_angle(poses.rotation(equivalents), poses.rotation(held_in_eef_source))
    return held_in_eef_source @ poses.inverse(equivalents[int(np.argmin(angles))])


def _equivalents(pose: np.ndarray, yaw_symmetry: int) -> np.ndarray:
    """Poses (S, 4, 4) that a symmetric object at `pose` (4, 4) is in as well."""
    return pose @ poses.yaw_pose(np.zeros(3), 2 * np.pi * np.arange(yaw_symmetry) / yaw_symmetry)


def _distance(subtask: Subtask, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Weighted metres and radians between poses (..., 4, 4), as Isaac Lab Mimic adds them up."""
    metres = np.linalg.norm(poses.position(a) - poses.position(b), axis=-1)
    return subtask.pos_weight * metres + subtask.rot_weight * poses.rotation_angle(poses.rotation(a), poses.rotation(b))


def segment_move(scheme: CoordinationScheme, object_pose_source: np.ndarray, object_pose_now: np.ndarray) -> np.ndarray:
    """What all poses of a source segment are multiplied by, on the left, to carry it to where its object is now.

    Args:
        scheme: "transform" keeps the segment's relation to the object; "translate" shifts it as the object is shifted and does not turn it;
            "replay" leaves it where it was.
        object_pose_source: (4, 4) or (T, 4, 4) pose of the object when the segment began.
        object_pose_now: (4, 4).

    Returns:
        (4, 4) or (T, 4, 4).
    """
    if scheme == "transform":
        return object_pose_now @ poses.inverse(object_pose_source)
    shift = poses.position(object_pose_now) - poses.position(object_pose_source)
    return poses.compose(np.eye(3), shift if scheme == "translate" else np.zeros_like(shift))


def jittered(move: np.ndarray, centre: np.ndarray, shift: float, turn: float, rng: np.random.Generator) -> np.ndarray:
    """`move` (4, 4) followed by a chance shift, up to `shift` [m] along each axis, and a turn about `centre` (3,), up to `turn` [rad] about each."""
    turned = poses.matrix_from_rotvec(rng.uniform(-turn, turn, 3))
    return poses.compose(turned, centre - turned @ centre + rng.uniform(-shift, shift, 3)) @ move


def steps_needed(path: np.ndarray, max_step: float) -> np.ndarray:
    """Control steps (L,) that each part of `path` (L + 1, 4, 4) takes, if none may be longer than `max_step` [m]."""
    lengths = np.linalg.norm(np.diff(poses.position(path), axis=0), axis=-1)
    return np.maximum(1, np.ceil(lengths / max_step - _HAIR)).astype(int)


def retimed(segment: Waypoints, measured: np.ndarray, times: np.ndarray) -> Waypoints:
    """The segment with waypoint i taking `times[i]` (L,) control steps, along the path that the hand really took.

    A target leads the hand by its lag, which is in proportion to its speed; so it leads the slower hand by as much less. With the source's leads it would
    run ahead of the source, and down into what that stopped before.

    Args:
        measured: (L + 1, 4, 4) where the hand was when each waypoint became its target, and after the last.
    """
    if np.all(times == 1):
        return segment
    index = np.repeat(np.arange(len(segment)), times)
    done = (np.arange(len(index)) - np.repeat(np.cumsum(times) - times, times)) / times[index]
    here = np.stack([poses.interpolate(measured[i], measured[i + 1], np.array([part]))[0] for i, part in zip(index, done, strict=True)])
    leads = poses.delta_between(measured[:-1], segment.poses) / times[:, None]
    places = None if segment.places is None else segment.places[index]
    return replace(segment, poses=poses.apply_delta(here, leads[index]), grippers=segment.grippers[index], noise=segment.noise[index], places=places)


def bridge_waypoints(
    start: np.ndarray,
    segment: Waypoints,
    subtask: Subtask,
    bridge: Bridge,
    way: np.ndarray | None = None,
    *,
    usual_step: float = np.inf,
    max_step: float = np.inf,
) -> Waypoints:
    """The segment, preceded by the path from pose `start` (4, 4), exclusive, to its first waypoint.

    The gripper does on the bridge what it does first in the segment. Noise applies to the bridge only if the
    subtask says so, and always from the first waypoint of the segment on.

    Args:
        way: (L, 4, 4) planned path; None: there is none.
        usual_step: distance between waypoints [m] that "auto" goes by.
        max_step: distance between waypoints [m] that none of the bridge exceeds, unless it is planned.
    """
    end = segment.poses[0]
    path = _path(start, end, _bridge_steps(start, end, subtask, bridge, usual_step, max_step), bridge) if way is None else way
    fixed = np.repeat(end[None], subtask.num_fixed_steps, axis=0)
    lead = np.concatenate([path, fixed])
    lead_noise = np.full(len(lead), subtask.action_noise if subtask.apply_noise_during_interpolation else 0.0)
    if way is not None and subtask.contact_noise is not None:
        # Off by what noise made it, the hand would come down beside the object: there are no steps left to find back in.
        lead_noise[-_CALM_ARRIVING:] = np.minimum(lead_noise[-_CALM_ARRIVING:], subtask.contact_noise)
    return replace(
        segment,
        poses=np.concatenate([lead, segment.poses]),
        grippers=np.concatenate([np.repeat(segment.grippers[:1], len(lead), axis=0), segment.grippers]),
        noise=np.concatenate([lead_noise, segment.noise]),
        lead=len(lead),
        places=None if segment.places is None else np.concatenate([np.repeat(segment.places[:1], len(lead), axis=0), segment.places]),
    )


def _bridge_steps(start: np.ndarray, end: np.ndarray, subtask: Subtask, bridge: Bridge, usual_step: float, max_step: float) -> int:
    """Number of waypoints between `start` and `end` (4, 4)."""
    steps, peak = subtask.num_interpolation_steps, _EASE_PEAK if bridge.shape != "straight" else 1.0
    distance = float(np.linalg.norm(poses.position(end) - poses.position(start)))
    angle = float(poses.rotation_angle(poses.rotation(end), poses.rotation(start)))
    if steps == "auto":
        steps, max_step = max(0, int(np.ceil(peak * angle / bridge.turn)) - 1), min(usual_step, max_step)
    elif bridge.shape != "straight":
        steps = max(steps, int(np.ceil(peak * max(distance / bridge.step, angle / bridge.turn))) - 1)
    while np.isfinite(max_step):
        whole = np.concatenate([start[None], _path(start, end, steps, bridge), end[None]])
        longest = float(np.linalg.norm(np.diff(poses.position(whole), axis=0), axis=-1).max())
        if longest <= max_step * (1 + _HAIR):
            break
        steps = max(steps + 1, int(np.ceil((steps + 1) * longest / max_step - _HAIR)) - 1)
    return steps


def _path(start: np.ndarray, end: np.ndarray, steps: int, bridge: Bridge) -> np.ndarray:
    """(steps, 4, 4) between `start` and `end` (4, 4), both exclusive."""
    fraction = np.arange(1, steps + 1) / (steps + 1)
    # Across slowly at first and at last, so that the hand leaves and arrives from above.
    across = fraction**2 * (3 - 2 * fraction) if bridge.shape != "straight" else fraction
    path = poses.interpolate(start, end, across)
    if bridge.shape != "straight":
        level = np.linalg.norm((poses.position(end) - poses.position(start))[:2])
        path[:, 2, 3] += bridge.height * min(1.0, level / _ARCH_FULL_AT) * np.sin(np.pi * fraction)
    elif poses.rotation_angle(poses.rotation(start), poses.rotation(end)) < _TURN_AT_ONCE:
        path[:, :3, :3] = poses.rotation(end)
    return path


def subtask_waypoints(
    demo: SourceDemo,
    eef: str,
    subtask: Subtask,
    start: int,
    end: int,
    move: np.ndarray,
    correction: np.ndarray,
    held: str | None = None,
    *,
    from_measured_pose: bool,
) -> Waypoints:
    """A source segment moved to now.

    Args:
        start, end: steps [start, end) of the demo.
        move: (4, 4) from `segment_move`.
        correction: (4, 4) from `grasp_correction`; the identity when nothing is held.
        held: the object in hand, now and then.
        from_measured_pose: begin with the source's measured pose instead of its first command.
    """
    targets, grippers = demo.target_poses[eef][start:end], demo.gripper_actions[eef][start:end]
    hands = demo.eef_poses[eef][start:end]
    places = poses.position(move @ (hands @ correction if held is None else demo.object_poses[held][start:end]))
    noise = _noise_levels(demo.gripper_actions[eef], subtask)[start:end]
    if from_measured_pose:
        noise = np.concatenate([noise[:1], noise])
        targets = np.concatenate([hands[:1], targets])
        places = np.concatenate([places[:1], places])
        grippers = np.concatenate([grippers[:1], grippers])
    return Waypoints(move @ targets @ correction, grippers, noise, places=places, held=held)


def _noise_levels(grippers: np.ndarray, subtask: Subtask) -> np.ndarray:
    """Noise at each step of a demo: full in free motion, where it teaches a policy to find back, and little where it topples stacks."""
    levels = np.full(len(grippers), subtask.action_noise)
    if subtask.contact_noise is not None:
        for change in np.flatnonzero(np.any(np.diff(np.sign(grippers), axis=0) != 0, axis=-1)) + 1:
            before = _CALM_BEFORE_CLOSING if np.any(grippers[change] < grippers[change - 1]) else _CALM_BEFORE_OPENING
            levels[max(change - before, 0) : change + _CALM_AFTER] = subtask.contact_noise
    return levels
