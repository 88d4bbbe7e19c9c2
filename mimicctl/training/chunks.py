"""Chunks of actions: what a network gives for several steps at once, each number scaled by its own range, wrists by how far they are to go from where they are.

With one range for all numbers of an action, a unit is what wrists and fingers have in common, a metre or a radian. A hand that is to rest is then told to move a little, is seen to move as it
never did in the demonstrations, and what a network answers to that is anything. Here a number that never changes is not learnt, and no other leaves its range by more than a little. Several actions at once
take a policy without memory through pauses, of which it cannot know how long they have lasted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from mimicctl import poses
from mimicctl.errors import UserError
from mimicctl.tasks.spec import BODY, LETTER_WIDTH, TaskSpec
from mimicctl.training.loader import Frames

_WRIST = 7
"""Columns of a wrist in an action: position and quaternion (xyzw)."""
_DELTA = 6
"""What stands for them: how far to go and to turn, as `poses.delta_between` has it."""
_STILL = 1e-4
"""[m, rad] Numbers that vary by no more are not learnt, but given as they were."""
_WITHIN = 0.95
"""Of what the network can give (-1 to 1, whose ends a tanh never reaches), the part that the range of the demonstrations takes."""


@dataclass(frozen=True)
class Chunks:
    """How chunks are written for a network, and read back.

    Attributes:
        steps: actions of a chunk.
        wrists: observations, position and quaternion, that say where the wrists of the first columns of an action are, in their order.
        centre, scale: (steps, D) what 0 stands for, and how much 1 is more. A number whose scale is 0 is always its centre, and the network does not give it.
        layout: what each number of a chunk that the network gives has of a direction, as `TaskSpec.action_layout`; "" where that is not known, or a turned chunk could leave
            its ranges.
    """

    steps: int
    wrists: tuple[tuple[str, str], ...]
    centre: np.ndarray
    scale: np.ndarray
    layout: str = ""

    @classmethod
    def of(cls, frames: Frames, steps: int, task: TaskSpec | None, *, turned: bool = False) -> Self:
        """With the ranges of these demonstrations. Of a task that is not known or not of absolute control, and where it is not observed where wrists are, all numbers are as
        they are in the actions.

        Args:
            turned: the scene is (`training.turning`). The numbers of a vector, or of a quaternion, then have one range about 0, which they don't leave when it is turned.

        Raises:
            UserError: no number of the actions ever changes.
        """
        wrists = _wrists_of(task)
        if not all(key in frames.obs for pair in wrists for key in pair):
            wrists = ()
        numbers = _numbers(frames, steps, wrists)
        low, high = numbers.min(axis=0), numbers.max(axis=0)
        layout = "vv" * len(wrists) + task.action_layout[2 * len(wrists) :] if turned and task is not None else ""
        for columns in (columns for letter, columns in _columns(layout) if letter != "."):
            high[:, columns] = np.linalg.norm(numbers[..., columns], axis=-1).max(axis=0)[:, None]
            low[:, columns] = -high[:, columns]
        scale = np.where(high - low > _STILL, (high - low) / (2 * _WITHIN), 0.0)
        if not scale.any():
            raise UserError("All actions are the same, so there is nothing to learn.", do="record or generate demonstrations in which something moves")
        return cls(steps, wrists, (low + high) / 2, scale, "".join(letter for step in scale for letter, columns in _columns(layout) if step[columns].all()))

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """From what a checkpoint says of them."""
        wrists = tuple((position, quat) for position, quat in facts["wrists"])
        return cls(facts["steps"], wrists, *(np.array(facts[name]) for name in ("centre", "scale")))

    def facts(self) -> dict[str, Any]:
        """The inverse: plain values, that any kind of checkpoint holds."""
        return {"steps": self.steps, "wrists": [list(pair) for pair in self.wrists], "centre": self.centre.tolist(), "scale": self.scale.tolist()}

    @property
    def done(self) -> int:
        """Actions of a chunk that are done before the next one is asked for, which begins where the wrists are by then."""
        return -(-self.steps // 2)

    @property
    def action_dim(self) -> int:
        return self.centre.shape[1] + (_WRIST - _DELTA) * len(self.wrists)

    def written(self, frames: Frames) -> np.ndarray:
        """The chunk that begins at each frame, (F, number of varying numbers) float32; after the end of a demonstration its last action goes on."""
        varying = self.scale > 0
        numbers = _numbers(frames, self.steps, self.wrists)
        return ((numbers[:, varying] - self.centre[varying]) / self.scale[varying]).astype(np.float32)

    def read(self, written: np.ndarray, observations: Mapping[str, np.ndarray]) -> np.ndarray:
        """Actions (n, steps, A) of chunks (n, number of varying numbers) that begin at `observations`, key to (n, D)."""
        numbers = np.repeat(self.centre[None], len(written), axis=0)
        varying = self.scale > 0
        numbers[:, varying] += self.scale[varying] * written
        parts = []
        for place, (position, quat) in enumerate(self.wrists):
            now = poses.pose_from_quat(observations[position], observations[quat])[:, None]
            target = poses.apply_delta(now, numbers[..., _DELTA * place : _DELTA * (place + 1)])
            parts += [poses.position(target), poses.quat_from_matrix(poses.rotation(target))]
        return np.concatenate([*parts, numbers[..., _DELTA * len(self.wrists) :]], axis=-1)


def _columns(layout: str) -> Iterator[tuple[str, slice]]:
    """Each letter of a layout and its columns."""
    begin = 0
    for letter in layout:
        yield letter, slice(begin, begin + LETTER_WIDTH[letter])
        begin += LETTER_WIDTH[letter]


def _wrists_of(task: TaskSpec | None) -> tuple[tuple[str, str], ...]:
    """See `Chunks.wrists`."""
    if task is None or task.control != "abs":
        return ()
    eefs = [eef for eef in task.eef_names if eef != BODY]
    return tuple((f"{prefix}eef_pos", f"{prefix}eef_quat") for prefix in ([f"{eef}_" for eef in eefs] if len(task.eef_names) > 1 else [""]))


def _numbers(frames: Frames, steps: int, wrists: tuple[tuple[str, str], ...]) -> np.ndarray:
    """(F, steps, D): for each wrist how far its targets are from where it is in the first step, then what else is in the actions."""
    ahead = np.minimum(np.arange(len(frames.actions))[:, None] + np.arange(steps), frames.last[:, None])
    parts = []
    for place, (position, quat) in enumerate(wrists):
        now = poses.pose_from_quat(frames.obs[position], frames.obs[quat])
        wrist = frames.actions[:, _WRIST * place : _WRIST * (place + 1)]
        targets = poses.pose_from_quat(wrist[:, :3], wrist[:, 3:])
        parts.append(np.stack([poses.delta_between(now, targets[step]) for step in ahead.T], axis=1).astype(np.float32))
    return np.concatenate([*parts, frames.actions[ahead][..., _WRIST * len(wrists) :]], axis=-1)
