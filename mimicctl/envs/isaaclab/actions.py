"""Targets of end-effectors to Isaac Lab's actions and back, by the environment's own word, worked out for all envs at once where that is known how."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl import poses
from mimicctl.errors import UserError
from mimicctl.tasks.franka import POINTING_DOWN, TOOL_OFFSET
from mimicctl.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import torch

_TRIED = 8
"""Poses that the environment is asked about, to find out how it makes actions."""

ArmAction = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Of eef poses (n, 4, 4) and targets (n, 4, 4), the arm's part of actions (n, A - G)."""


class Actions:
    """Of one environment.

    Its own methods work out one env's action after another, which takes as long as the physics. What they are known to do is done here for all at once.

    Attributes:
        aims_hand: actions are poses of the hand, while poses that are measured are those of the tool point. Targets are those of the tool point here, and
            of the hand in the files of such tasks, as Isaac Lab writes them.
    """

    def __init__(self, env: Any, task: TaskSpec) -> None:
        self._env, self._task = env, task
        self._takes_noise_of_each = "action_noise_dict" in inspect.signature(env.target_eef_pose_to_action).parameters
        self.aims_hand = task.control == "abs" and task.robot == "franka"
        self._arm = self._known(_difference if task.control == "rel" else _pose)

    def of_command(self, here: Mapping[str, np.ndarray], deltas: Mapping[str, np.ndarray], grippers: Mapping[str, np.ndarray]) -> np.ndarray:
        """(n, A): eefs that are `here` (n, 4, 4) are to move by `deltas` (6,) of a device.

        Raises:
            UserError: where the hand has to be for that is not known.
        """
        if self._task.control == "abs" and not self.aims_hand:
            # What the actions are poses of, and how far that is from what is measured, each environment has for itself.
            what = f"{self._task.task_id} takes absolute poses of a robot that a device cannot drive on Isaac Lab yet."
            raise UserError(what, where="--task", do="record on a task of the Franka, or on one with relative control")
        # A relative action is scaled by the controller; an absolute one names the place itself.
        scale = 1.0 if self._task.control == "rel" else self._task.command_scale
        targets = {eef: poses.apply_delta(pose, scale * deltas[eef][None]) for eef, pose in here.items()}
        return self.of_targets(here, targets, grippers)

    def of_targets(self, here: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray], grippers: Mapping[str, np.ndarray]) -> np.ndarray:
        """(n, A) float32 that drives eefs that are `here` (n, 4, 4) to `targets` (n, 4, 4)."""
        aims = {eef: poses.along_z(target, -TOOL_OFFSET) for eef, target in targets.items()} if self.aims_hand else targets
        if self._arm is None:
            return self._asked(here, aims, grippers)
        (eef,) = self._task.eef_names
        return np.concatenate([self._arm(here.get(eef), aims[eef]), grippers[eef]], axis=-1).astype(np.float32)

    def targets_of(self, here: Mapping[str, np.ndarray], actions: np.ndarray) -> dict[str, np.ndarray]:
        """Eef to (n, 4, 4), the inverse of `of_targets`."""
        said = self.said_targets_of(here, actions)
        return {eef: poses.along_z(target, TOOL_OFFSET) for eef, target in said.items()} if self.aims_hand else said

    def said_targets_of(self, here: Mapping[str, np.ndarray], actions: np.ndarray) -> dict[str, np.ndarray]:
        """The same as the environment says it, and as its files have it."""
        import torch

        with torch.inference_mode(), self._asked_about(here):
            targets = self._env.action_to_target_eef_pose(self._tensor(actions))
        return {eef: orthonormal(target.cpu().numpy().astype(np.float64)) for eef, target in targets.items()}

    def grippers_of(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        """Eef to the gripper's part (..., G) of actions (..., A)."""
        flat = np.asarray(actions).reshape(-1, np.shape(actions)[-1])
        parts = self._env.actions_to_gripper_actions(self._tensor(flat))
        return {eef: part.cpu().numpy().reshape(*np.shape(actions)[:-1], -1) for eef, part in parts.items()}

    def noisy(self, actions: np.ndarray, noise: Mapping[str, np.ndarray]) -> np.ndarray:
        """Actions (n, A) with noise (n, 6) on the arm's part."""
        if self._task.control == "rel":
            noisy = actions.copy()
            noisy[..., :6] = np.clip(actions[..., :6] + noise[self._task.eef_names[0]], -1.0, 1.0)
            return noisy
        targets = {eef: poses.apply_delta(pose, noise[eef]) for eef, pose in self.targets_of({}, actions).items()}
        return self.of_targets({}, targets, self.grippers_of(actions))

    # The environment's word -----------------------------------------------------------------------------------

    def _asked(self, here: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray], grippers: Mapping[str, np.ndarray]) -> np.ndarray:
        """Of the environment, which works out one env's after another."""
        import torch

        count = len(next(iter(targets.values())))
        # Without noise Isaac Lab would not keep actions within their limits.
        noise = {"action_noise_dict": dict.fromkeys(targets, 0.0)} if self._takes_noise_of_each else {"noise": 0.0}
        targets, grippers = ({name: self._tensor(value) for name, value in group.items()} for group in (targets, grippers))
        actions = []
        with torch.inference_mode(), self._asked_about(here):
            for row in range(count):
                of_row = ({name: value[row] for name, value in group.items()} for group in (targets, grippers))
                actions.append(self._env.target_eef_pose_to_action(*of_row, **noise, env_id=row).reshape(-1))
        return np.stack([action.cpu().numpy() for action in actions]).astype(np.float32)

    def _known(self, supposed: ArmAction) -> ArmAction | None:
        """`supposed` if the environment makes the same actions of a few poses; None otherwise."""
        if len(self._task.eef_names) != 1:
            return None
        rng, (eef,) = np.random.default_rng(0), self._task.eef_names
        here = poses.compose(poses.matrix_from_rotvec(rng.uniform(-1.5, 1.5, (_TRIED, 3))), rng.uniform(-1, 1, (_TRIED, 3)))
        # Some of them beyond the limits.
        target = poses.apply_delta(here, rng.uniform(-1, 1, (_TRIED, 6)) * np.geomspace(0.01, 1.5, _TRIED)[:, None])
        gripper = rng.choice([-1.0, 1.0], (_TRIED, 1))
        parts = [slice(first, first + self._env.num_envs) for first in range(0, _TRIED, self._env.num_envs)]  # it knows no more envs than it has
        asked = np.concatenate([self._asked({eef: here[part]}, {eef: target[part]}, {eef: gripper[part]}) for part in parts])
        wanted = np.concatenate([supposed(here, target), gripper], axis=-1)
        if asked.shape != wanted.shape:
            return None
        if supposed is _pose:
            asked[:, 3:7] = poses.quat_beside(asked[:, 3:7], POINTING_DOWN)
        return supposed if np.allclose(asked, wanted, atol=1e-4) else None

    @contextmanager
    def _asked_about(self, eef_poses: Mapping[str, np.ndarray]) -> Iterator[None]:
        """Inside of it the Mimic methods take `eef_poses` (n, 4, 4) for the poses of n envs now, which they ask themselves for.

        So an action can be found for any pose, as in a recording, and not only where the envs happen to be.
        """
        if not eef_poses:
            yield
            return
        known = {eef: self._tensor(pose) for eef, pose in eef_poses.items()}
        self._env.get_robot_eef_pose = lambda eef_name, env_ids=None: known[eef_name][slice(None) if env_ids is None else env_ids]
        try:
            yield
        finally:
            del self._env.get_robot_eef_pose

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        import torch

        return torch.as_tensor(np.asarray(values, dtype=np.float32), device=self._env.device)


def orthonormal(pose: np.ndarray) -> np.ndarray:
    """A pose that went through float32."""
    return poses.pose_from_quat(poses.position(pose), poses.quat_from_matrix(poses.rotation(pose)))


def _difference(here: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Relative control: the way from pose to target."""
    return np.clip(poses.delta_between(here, target), -1.0, 1.0)


def _pose(here: np.ndarray | None, target: np.ndarray) -> np.ndarray:
    """Absolute control: the target."""
    return np.concatenate([poses.position(target), poses.quat_beside(poses.quat_from_matrix(poses.rotation(target)), POINTING_DOWN)], axis=-1)
