"""The one interface between the data loop and a simulator.

Everything is batched over `num_envs` envs and speaks numpy. Two ideas keep the trial loop cheap:

- `snapshot()` packs all a reader could want to know about every env into one row of numbers, and the
  functions that interpret snapshots (`eef_poses`, `signals`, `observations`, ...) are pure and take any batch
  shape. So a trial only collects rows, and a whole episode is interpreted at once, afterwards.
- nothing resets, records or terminates by itself. Whoever drives the env decides.

Poses are in the env's own frame; actions are raw, as in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mimicctl.envs.mujoco.appearance import Appearance
from mimicctl.schema import Episode
from mimicctl.tasks.spec import TaskSpec

Snapshot = np.ndarray  # (..., K) float64


class MimicEnv(Protocol):
    """N independent copies of one task."""

    task: TaskSpec
    num_envs: int

    @property
    def sim_args(self) -> dict[str, float | str]:
        """Physics step [s] and steps per control step, as Isaac Lab writes them to `env_args`, and what of `conditions` applies."""

    # Life of an env -------------------------------------------------------------------------------

    def reset(self, env_ids: Sequence[int], seeds: Sequence[np.random.SeedSequence]) -> None:
        """Draw a new start state for each of `env_ids` from its own seed."""

    def reset_to(self, env_ids: Sequence[int], states: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Put each env in a recorded scene state (`Episode.initial_state`, or one row of `states`), at rest in the solver."""

    def step(self, actions: np.ndarray, env_ids: Sequence[int] | None = None) -> None:
        """Advance `env_ids` (default: all) by one control step under `actions` (n, A)."""

    def get_state(self, env_ids: Sequence[int]) -> list[Any]:
        """Everything the physics depends on, so that `set_state` continues bit for bit. For this env alone; opaque."""

    def set_state(self, env_ids: Sequence[int], states: Sequence[Any]) -> None: ...

    def snapshot(self, env_ids: Sequence[int] | None = None) -> Snapshot:
        """(n, K): what the envs look like now."""

    # Reading snapshots, any batch shape -------------------------------------------------------------

    def eef_poses(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        """Eef name to (..., 4, 4)."""

    def object_poses(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        """Object name to (..., 4, 4)."""

    def signals(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        """Subtask term signal to (...) bool."""

    def success(self, snapshot: Snapshot) -> np.ndarray:
        """(...) bool: the success condition at this instant; it counts once held for `task.success_hold_steps`."""

    def observations(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        """Observation key to (..., D) float32."""

    def scene_state(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        """State path to (..., D) float32, in the file's layout."""

    def gripper_opening(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        """Eef name to (...) distance of a finger from closed [m]."""

    # Actions ----------------------------------------------------------------------------------------

    def command_to_action(self, snapshot: Snapshot, deltas: Mapping[str, np.ndarray], grippers: Mapping[str, float | np.ndarray]) -> np.ndarray:
        """(A,) float32 action that moves each eef by its delta (6,), in the units of a relative action; one env's snapshot (K,).

        A gripper is one number, or of a hand with fingers (`TaskSpec.fingers`) one a joint.
        """

    def target_poses_to_actions(
        self,
        eef_poses: Mapping[str, np.ndarray],
        targets: Mapping[str, np.ndarray],
        grippers: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        """(n, A) float32 actions that drive eefs at `eef_poses` (n, 4, 4) to `targets` (n, 4, 4) with `grippers` (n, G)."""

    def noisy_actions(self, actions: np.ndarray, noise: Mapping[str, np.ndarray]) -> np.ndarray:
        """`actions` (n, A) with `noise` (n, 6), in units of a relative action, on the arm's part: float32, within the action's limits."""

    def actions_to_target_poses(self, eef_poses: Mapping[str, np.ndarray], actions: np.ndarray) -> dict[str, np.ndarray]:
        """Inverse of the above without noise: eef name to (n, 4, 4)."""

    def gripper_actions(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        """Eef name to the gripper part (..., G) of actions (..., A). +1 opens, -1 closes."""

    # Recording --------------------------------------------------------------------------------------

    def episode(self, snapshots: Snapshot, actions: np.ndarray, *, with_datagen_info: bool) -> Episode:
        """The episode that `actions` (T, A) made, from its T + 1 snapshots (before the first step, then after each)."""

    def close(self) -> None: ...


class Renderer(Protocol):
    """Draws what cameras of a task see."""

    def images_of(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Observation key to (n, H, W, C) of scenes whose rows (n, K) say what is where: joint positions, or on Isaac Lab `pose_rows`."""

    def wear(self, appearance: Appearance) -> None:
        """Draw the scene so from now on."""

    def close(self) -> None: ...


MakeEnv = Callable[[TaskSpec, int], MimicEnv]
"""Of a task and a number of envs."""


class NavigatingEnv(MimicEnv, Protocol):
    """What an env adds whose robot a controller of its own drives from place to place."""

    def navigation(self, snapshot: Snapshot) -> tuple[np.ndarray, np.ndarray]:
        """Whether the robot is on its way, and whether it has reached its goal, (...) bool each."""

    def on_the_way(self, snapshot: Snapshot, goal: np.ndarray) -> np.ndarray:
        """(..., 4, 4) target of the eef `body` for now on its way to `goal` (..., 4, 4); of a robot that has such an eef."""


class HangingEnv(MimicEnv, Protocol):
    """What an env adds whose gripper hangs and swings (`TaskSpec.swing_cancellation` is not None)."""

    def switch_swing_cancellation(self) -> None:
        """On if it was off, and off if it was on; `task` says so from then on."""

    def swung_to(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        """Eef name to (..., 4, 4) of where its tool point is; the eef itself is where it was told to hang."""


class SolvingEnv(MimicEnv, Protocol):
    """What an env of a humanoid adds (`TaskSpec.is_humanoid`): a solver finds the joints of its arms, and may find none."""

    def held(self, snapshot: Snapshot) -> np.ndarray:
        """(...) bool: in the step that led here none were found, and the arms stayed where they were."""


@dataclass(frozen=True)
class Way:
    """A way that was found.

    Attributes:
        targets: (L, 4, 4), one per control step, both ends left out.
        room: how near the robot comes to an obstacle in the segment after it [m]; negative: it runs into one.
    """

    targets: np.ndarray
    room: float


class MotionPlanner(Protocol):
    """Finds ways for an eef that meet nothing."""

    def way(
        self, snapshot: Snapshot, start: np.ndarray, segment: np.ndarray, grippers: np.ndarray, held: str | None, step: float, turn: float, seed: int
    ) -> Way | None:
        """A way for the eef from `start` (4, 4) to the first of `segment`; None if none was found.

        The same arguments give the same way, bit for bit.

        Args:
            snapshot: (K,), now.
            segment: (S, 4, 4) targets after the way.
            grippers: (S, G) actions with them; on the way the first of them.
            held: object that moves with the hand.
            step, turn: largest distance [m] and angle [rad] between targets.
        """


def held_for(condition: np.ndarray) -> int:
    """How many of the last entries of `condition` (T,) bool are true without a gap."""
    false_at = np.flatnonzero(~np.asarray(condition, dtype=bool))
    return len(condition) - (int(false_at[-1]) + 1 if len(false_at) else 0)
