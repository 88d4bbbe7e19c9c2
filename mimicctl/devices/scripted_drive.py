"""An operator made of code that drives a base to a mark, round what stands in the way.

It looks where the crates are, takes the shortest way that keeps clear of them, turns while it goes, slows down as it arrives, and has a
hand's tremble. What it records is labelled `scripted`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from mimicctl import poses
from mimicctl.devices.base import Command, OperatorView

OPEN = 1.0


@dataclass(frozen=True)
class Pace:
    """How an operator drives.

    Attributes:
        speed: [m/s] at most.
        turn: [rad/s] at most.
    """

    speed: float
    turn: float


PACES = {"fast": Pace(0.9, 1.0), "normal": Pace(0.6, 0.8), "slow": Pace(0.3, 0.4)}

_EAGERNESS = 1.5
"""[1/s] Speed for each metre, or radian, still to go."""
_BRISK = 0.12
"""Largest change from one step to the next, as a share of full speed: a hand pushes a stick, it does not switch it."""
_TREMBLE, _TREMBLE_MEMORY = 0.08, 0.9
_THERE, _TURNED = 0.03, 0.04
"""[m], [rad] Near enough to let go."""
_PASSING = 0.15
"""[m] How near a bend of the way counts as there."""
_MARGIN = (0.06, 0.16)
"""[m] kept from crates, at least and at most."""
_CORNERS = 16


class ScriptedBase:
    """One base in an episode, as somebody drives it.

    Args:
        rng: of its tremble.
    """

    def __init__(self, pace: Pace, rng: np.random.Generator) -> None:
        self._pace, self._rng = pace, rng
        self._velocity, self._tremble = np.zeros(3), np.zeros(3)

    def towards(self, pose: np.ndarray, place: np.ndarray, heading: float, to_go: float) -> np.ndarray:
        """(6,) velocities that take it one step from `pose` (4, 4) to `place` (x, y), as fast as befits the way that is left [m]."""
        pace, yaw = self._pace, yaw_of(pose)
        away = place - poses.position(pose)[:2]
        speed = min(pace.speed, _EAGERNESS * to_go)
        wanted = np.array([*speed * away / max(np.linalg.norm(away), 1e-9), np.clip(_EAGERNESS * wrapped(heading - yaw), -pace.turn, pace.turn)])
        most = _BRISK * np.array([pace.speed, pace.speed, pace.turn])
        self._velocity += np.clip(wanted - self._velocity, -most, most)
        self._tremble = _TREMBLE_MEMORY * self._tremble + np.sqrt(1 - _TREMBLE_MEMORY**2) * self._rng.standard_normal(3)
        x, y, turn = self._velocity * (1 + _TREMBLE * self._tremble)
        ahead, left = np.cos(yaw) * x + np.sin(yaw) * y, np.cos(yaw) * y - np.sin(yaw) * x
        return np.array([ahead, left, 0.0, 0.0, 0.0, turn])


class ScriptedDriver:
    """
    Args:
        mark: object name.
        half_size: of the base, along it and across [m].
        crates: object name to edge [m] of what stands in the way.
        speed: a key of `PACES`.
        seed: of all the operator's choices; each `reset` takes the next child.
    """

    name = "scripted"
    human = False

    def __init__(self, mark: str, half_size: tuple[float, float], crates: Mapping[str, float], *, speed: str, seed: int) -> None:
        self._mark, self._crates, self._pace = mark, crates, PACES[speed]
        self._reach = float(np.hypot(*half_size))
        self._seed = np.random.SeedSequence(seed)
        self._view: OperatorView | None = None
        self.reset()

    def start(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def help(self) -> str:
        return f"The scripted operator drives to the mark, {self._mark}. Ctrl-C stops it."

    def reset(self) -> None:
        self._rng = np.random.default_rng(self._seed.spawn(1)[0])
        self._base = ScriptedBase(self._pace, self._rng)
        self._script: Iterator[Command] = self._play()

    def command(self, view: OperatorView) -> Command:
        self._view = view
        return next(self._script)

    def _play(self) -> Iterator[Command]:
        view = self._seen()
        aim = poses.position(view.object_poses[self._mark])[:2] + self._rng.normal(0.0, 0.02, 2)
        heading = yaw_of(view.object_poses[self._mark]) + self._rng.normal(0.0, 0.03)
        margin = self._rng.uniform(*_MARGIN)
        circles = [(poses.position(view.object_poses[name])[:2], self._reach + edge / np.sqrt(2) + margin) for name, edge in self._crates.items()]
        *bends, goal = shortest_way(poses.position(view.eef_pose)[:2], aim, circles)
        for bend in bends:
            while np.linalg.norm(bend - self._place()) > _PASSING:
                yield self._towards(bend, heading, np.linalg.norm(goal - self._place()))
        while (gap := np.linalg.norm(goal - self._place())) > _THERE or abs(wrapped(heading - yaw_of(self._seen().eef_pose))) > _TURNED:
            yield self._towards(goal, heading, gap)
        while True:
            yield Command(np.zeros(6), OPEN)

    def _towards(self, place: np.ndarray, heading: float, to_go: float) -> Command:
        return Command(self._base.towards(self._seen().eef_pose, place, heading, to_go), OPEN)

    def _place(self) -> np.ndarray:
        return poses.position(self._seen().eef_pose)[:2]

    def _seen(self) -> OperatorView:
        assert self._view is not None  # set by `command` before the script runs
        return self._view


def shortest_way(start: np.ndarray, goal: np.ndarray, circles: list[tuple[np.ndarray, float]]) -> list[np.ndarray]:
    """Bends of the shortest way from `start` to `goal` (2,) that stays out of the circles (centre, radius), and the goal.

    A circle that holds the start or the goal is made smaller, so that there always is a way out of it. Where there is none between
    circles, it goes straight.
    """
    circles = [(centre, min(radius, 0.98 * np.linalg.norm(start - centre), 0.98 * np.linalg.norm(goal - centre))) for centre, radius in circles]
    angles = 2 * np.pi * np.arange(_CORNERS) / _CORNERS
    # Corners of a polygon about each circle, whose sides do not cut it.
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=-1) / np.cos(np.pi / _CORNERS) * 1.01
    places = np.concatenate([[start, goal], *(centre + radius * ring for centre, radius in circles)])
    clear = np.ones((len(places), len(places)), dtype=bool)
    for centre, radius in circles:
        clear &= _gaps(places, centre) > radius
    lengths = np.linalg.norm(places[:, None] - places, axis=-1)
    came_from, best, waiting = {}, {0: 0.0}, [(0.0, 0)]
    while waiting:
        length, here = heapq.heappop(waiting)
        if here == 1:
            break
        for there in np.flatnonzero(clear[here]):
            if (total := length + lengths[here, there]) < best.get(there, np.inf):
                best[there], came_from[there] = total, here
                heapq.heappush(waiting, (total, there))
    way, here = [goal], came_from.get(1, 0)
    while here != 0:
        way.insert(0, places[here])
        here = came_from[here]
    return way


def _gaps(places: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(n, n) distance of `centre` from the line between each two of `places` (n, 2)."""
    start, along = places[:, None], places[None] - places[:, None]
    share = np.sum((centre - start) * along, axis=-1) / np.maximum(np.sum(along**2, axis=-1), 1e-12)
    return np.linalg.norm(start + np.clip(share, 0, 1)[..., None] * along - centre, axis=-1)


def yaw_of(pose: np.ndarray) -> float:
    return float(np.arctan2(pose[1, 0], pose[0, 0]))


def wrapped(angle: float) -> float:
    """The same turn within half a turn [rad]."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
