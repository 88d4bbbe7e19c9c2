"""An Isaac Lab Mimic environment as a `MimicEnv`: N copies in one process, all stepped together, each reset by itself."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl import poses
from mimicctl.envs.base import Snapshot
from mimicctl.envs.isaaclab import versions
from mimicctl.envs.isaaclab.launch import open_simulation
from mimicctl.envs.isaaclab.rows import Rows
from mimicctl.errors import RunFailed, UserError
from mimicctl.schema import Episode
from mimicctl.tasks.spec import TaskSpec

if TYPE_CHECKING:
    import torch

_OPEN_FINGER = 0.04
"""[m] Taken for granted of a gripper whose joints the environment does not name."""


class IsaacLabEnv:
    """See `MimicEnv` for the contract. A start state depends on its seed alone; what follows repeats as far as the physics does.

    What the environment says by its own methods and terms (poses, signals, success, observations) is what counts here; nothing is judged anew.
    """

    def __init__(self, task: TaskSpec, num_envs: int = 1) -> None:
        self.task, self.num_envs = task, num_envs
        self._simulation = open_simulation(task.isaaclab, num_envs)
        self._env = self._simulation.env
        if self._simulation.succeeded is None:
            raise UserError(f"{task.task_id} has no success term, so nothing tells a demonstration from a failure.", where="--task", do="choose another task")
        _refuse_images(self._env.obs_buf["policy"], task)
        self._takes_noise_of_each = "action_noise_dict" in inspect.signature(self._env.target_eef_pose_to_action).parameters
        self._finger = _finger_joint(self._env)
        self._differences = self._acts_by_differences()
        self._last = np.zeros((num_envs, self._env.action_manager.total_action_dim), dtype=np.float32)
        self._layout = Rows(self._parts())
        self.reset(range(num_envs), np.random.SeedSequence(0).spawn(num_envs))

    @property
    def sim_args(self) -> dict[str, float]:
        config = self._env.cfg
        return {"dt": config.sim.dt, "decimation": config.decimation, "render_interval": config.sim.render_interval, "num_envs": self.num_envs}

    # Life of an env -------------------------------------------------------------------------------------

    def reset(self, env_ids: Sequence[int], seeds: Sequence[np.random.SeedSequence]) -> None:
        for env_id, seed in zip(env_ids, seeds, strict=True):
            self._seed(seed)
            with _inference():
                self._env.reset(env_ids=self._ids(env_id))
        self._look_after_reset(env_ids)

    def reset_to(self, env_ids: Sequence[int], states: Sequence[Mapping[str, np.ndarray]]) -> None:
        for env_id, state in zip(env_ids, states, strict=True):
            nested = self._nested(state)
            with _inference():
                self._env.reset_to(nested, self._ids(env_id), is_relative=True)
        self._look_after_reset(env_ids)

    def step(self, actions: np.ndarray, env_ids: Sequence[int] | None = None) -> None:
        ids = range(self.num_envs) if env_ids is None else env_ids
        # Whoever has nothing to do holds still; the others are not to wait for it.
        everyone = self._last.copy()
        if self.task.control == "rel":
            everyone[:, :6] = 0.0
        everyone[list(ids)] = np.asarray(actions, dtype=np.float32)
        self._last = everyone
        with _inference():
            self._env.step(self._tensor(everyone))
            self._rows = self._layout.pack(self._parts())

    def get_state(self, env_ids: Sequence[int]) -> list[dict[str, np.ndarray]]:
        # What Isaac Lab can give and take; warm starts of the solvers are not in it.
        return [{path: values[0] for path, values in self.scene_state(self._rows[[i]]).items()} for i in env_ids]

    def set_state(self, env_ids: Sequence[int], states: Sequence[dict[str, np.ndarray]]) -> None:
        self.reset_to(env_ids, states)

    def snapshot(self, env_ids: Sequence[int] | None = None) -> Snapshot:
        return self._rows.copy() if env_ids is None else self._rows[list(env_ids)]

    def close(self) -> None:
        """The simulation goes on until another is asked for: starting one takes seconds."""

    # Reading snapshots ------------------------------------------------------------------------------------

    def eef_poses(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {name: _orthonormal(pose) for name, pose in self._layout.group(snapshot, "eef_pose").items()}

    def object_poses(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {name: _orthonormal(pose) for name, pose in self._layout.group(snapshot, "object_pose").items()}

    def signals(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {name: value > 0.5 for name, value in self._layout.group(snapshot, "signal").items()}

    def success(self, snapshot: Snapshot) -> np.ndarray:
        return self._layout.read(snapshot, "success") > 0.5

    def observations(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in self._layout.group(snapshot, "obs").items()}

    def scene_state(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        state = {path: np.ascontiguousarray(value, dtype=np.float32) for path, value in self._layout.group(snapshot, "state").items()}
        return {path: versions.reordered(value, 3) if path.endswith("root_pose") else value for path, value in state.items()}

    def gripper_opening(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {eef: self._layout.read(snapshot, "finger") for eef in self.task.eef_names}

    # Actions ------------------------------------------------------------------------------------------------

    def command_to_action(self, snapshot: Snapshot, deltas: Mapping[str, np.ndarray], grippers: Mapping[str, float]) -> np.ndarray:
        if self.task.control != "rel":
            # Isaac Lab aims the hand and measures the tool point, and how far they are apart each environment has for itself.
            what = f"{self.task.task_id} takes absolute poses, which a device cannot be turned into on Isaac Lab yet."
            raise UserError(what, where="--task", do="record on the task with relative control")
        here = {eef: pose[None] for eef, pose in self.eef_poses(snapshot).items()}
        targets = {eef: poses.apply_delta(pose, deltas[eef][None]) for eef, pose in here.items()}
        return self.target_poses_to_actions(here, targets, {eef: np.array([[value]]) for eef, value in grippers.items()})[0]

    def target_poses_to_actions(
        self,
        eef_poses: Mapping[str, np.ndarray],
        targets: Mapping[str, np.ndarray],
        grippers: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        if self._differences:
            (eef,) = self.task.eef_names
            arm = np.clip(poses.delta_between(eef_poses[eef], targets[eef]), -1.0, 1.0)
            return np.concatenate([arm, grippers[eef]], axis=-1).astype(np.float32)
        return self._asked_actions(eef_poses, targets, grippers)

    def _asked_actions(self, eef_poses: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray], grippers: Mapping[str, np.ndarray]) -> np.ndarray:
        """Of the environment, which works out one env's after another."""
        count = len(next(iter(targets.values())))
        # Without noise Isaac Lab would not keep actions within their limits.
        noise = {"action_noise_dict": dict.fromkeys(targets, 0.0)} if self._takes_noise_of_each else {"noise": 0.0}
        targets, grippers = ({name: self._tensor(value) for name, value in group.items()} for group in (targets, grippers))
        actions = []
        with _inference(), self._asked_about(eef_poses):
            for row in range(count):
                here = ({name: value[row] for name, value in group.items()} for group in (targets, grippers))
                actions.append(self._env.target_eef_pose_to_action(*here, **noise, env_id=row))
        return np.stack([action.cpu().numpy() for action in actions]).astype(np.float32)

    def _acts_by_differences(self) -> bool:
        """Whether an action is the way from pose to target and the gripper's action, by the environment's own word on a few: then those of all envs
        are worked out at once, which asking for each would take as long as the physics."""
        if self.task.control != "rel" or len(self.task.eef_names) != 1:
            return False
        rng, (eef,) = np.random.default_rng(0), self.task.eef_names
        here = {eef: poses.compose(poses.matrix_from_rotvec(rng.uniform(-1.5, 1.5, (self.num_envs, 3))), rng.uniform(-1, 1, (self.num_envs, 3)))}
        # Some of them beyond the limits.
        ways = rng.uniform(-1, 1, (self.num_envs, 6)) * np.geomspace(0.01, 1.5, self.num_envs)[:, None]
        target = {eef: poses.apply_delta(here[eef], ways)}
        grippers = {eef: rng.choice([-1.0, 1.0], (self.num_envs, 1))}
        asked = self._asked_actions(here, target, grippers)
        arm = np.clip(poses.delta_between(here[eef], target[eef]), -1.0, 1.0)
        return asked.shape[-1] == 7 and np.allclose(asked, np.concatenate([arm, grippers[eef]], axis=-1), atol=1e-4)

    def noisy_actions(self, actions: np.ndarray, noise: Mapping[str, np.ndarray]) -> np.ndarray:
        if self.task.control == "rel":
            noisy = actions.copy()
            noisy[..., :6] = np.clip(actions[..., :6] + noise[self.task.eef_names[0]], -1.0, 1.0)
            return noisy
        targets = {eef: poses.apply_delta(pose, noise[eef]) for eef, pose in self.actions_to_target_poses({}, actions).items()}
        return self.target_poses_to_actions({}, targets, self.gripper_actions(actions))

    def actions_to_target_poses(self, eef_poses: Mapping[str, np.ndarray], actions: np.ndarray) -> dict[str, np.ndarray]:
        with _inference(), self._asked_about(eef_poses):
            targets = self._env.action_to_target_eef_pose(self._tensor(actions))
        return {eef: _orthonormal(target.cpu().numpy().astype(np.float64)) for eef, target in targets.items()}

    def gripper_actions(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        flat = np.asarray(actions).reshape(-1, np.shape(actions)[-1])
        parts = self._env.actions_to_gripper_actions(self._tensor(flat))
        return {eef: part.cpu().numpy().reshape(*np.shape(actions)[:-1], -1) for eef, part in parts.items()}

    # Recording ----------------------------------------------------------------------------------------------

    def episode(self, snapshots: Snapshot, actions: np.ndarray, *, with_datagen_info: bool) -> Episode:
        before, after = snapshots[:-1], snapshots[1:]
        actions = np.asarray(actions, dtype=np.float32)
        return Episode(
            actions=actions,
            processed_actions=np.concatenate(list(self._layout.group(after, "processed").values()), axis=-1).astype(np.float32),
            obs=self.observations(before),
            states=self.scene_state(after),
            initial_state=self.scene_state(snapshots[:1]),
            datagen_info=self._datagen_info(before, actions) if with_datagen_info else {},
        )

    def _datagen_info(self, before: Snapshot, actions: np.ndarray) -> dict[str, np.ndarray]:
        eefs = self.eef_poses(before)
        groups = {"object_pose": self.object_poses(before), "eef_pose": eefs, "target_eef_pose": self.actions_to_target_poses(eefs, actions)}
        info = {f"{group}/{name}": value.astype(np.float32) for group, values in groups.items() for name, value in values.items()}
        return info | {f"subtask_term_signals/{name}": value for name, value in self.signals(before).items()}

    # Isaac Lab's side ---------------------------------------------------------------------------------------

    def _parts(self) -> dict[str, torch.Tensor]:
        """All there is to know of the envs now, (N, ...) each."""
        env, count = self._env, self.num_envs
        parts = {f"eef_pose/{eef}": env.get_robot_eef_pose(eef) for eef in self.task.eef_names}
        parts |= {f"object_pose/{name}": pose for name, pose in env.get_object_poses().items()}
        parts |= {f"signal/{name}": signal.reshape(count) for name, signal in env.get_subtask_term_signals().items()}
        parts["success"] = self._simulation.succeeded().reshape(count)
        parts["finger"] = self._finger()
        parts |= {f"obs/{key}": value for key, value in env.obs_buf["policy"].items()}
        parts |= {f"state/{path}": value for path, value in _flat(env.scene.get_state(is_relative=True))}
        terms = [env.action_manager.get_term(name) for name in env.action_manager.active_terms]
        return parts | {f"processed/{name}": versions.tensor(term.processed_actions) for name, term in enumerate(terms)}

    def _look_after_reset(self, env_ids: Sequence[int]) -> None:
        with _inference():
            versions.settle_sensors(self._env)
            self._rows = self._layout.pack(self._parts())
        self._last[list(env_ids)] = 0.0
        self._last[list(env_ids), -1] = 1.0
        if not all(np.isfinite(pose).all() for pose in self.eef_poses(self._rows[list(env_ids)]).values()):
            what = "The pose of an end-effector is not a number after a reset."
            raise RunFailed(what, where=f"{versions.physics_text(self.task.isaaclab)}", do="try another --physics")

    def _seed(self, seed: np.random.SeedSequence) -> None:
        """Events of a reset draw from all three of these."""
        import torch

        number = int(seed.generate_state(1)[0])
        random.seed(number)
        np.random.seed(number)
        torch.manual_seed(number)

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

    def _nested(self, state: Mapping[str, np.ndarray]) -> dict[str, dict[str, dict[str, torch.Tensor]]]:
        """A recorded state of one env in the shape that Isaac Lab takes.

        Raises:
            UserError: it is of another scene.
        """
        nested: dict[str, dict[str, dict[str, torch.Tensor]]] = {}
        for path, like in self._layout.group(self._rows, "state").items():
            value = np.asarray(state.get(path, ()), dtype=np.float32).reshape(-1)
            if value.size != like[0].size:
                what = f"The recorded state does not fit {self.task.task_id}: {path} has {value.size} numbers, not {like[0].size}."
                raise UserError(what, where=path, do="use the dataset with the task it was recorded on")
            if path.endswith("root_pose"):
                value = versions.restored(value, 3)
            kind, asset, name = path.split("/")
            nested.setdefault(kind, {}).setdefault(asset, {})[name] = self._tensor(value.reshape(1, *like.shape[1:]))
        return nested

    def _ids(self, env_id: int) -> torch.Tensor:
        import torch

        return torch.tensor([env_id], dtype=torch.int32, device=self._env.device)

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        import torch

        return torch.as_tensor(np.asarray(values, dtype=np.float32), device=self._env.device)


@contextmanager
def _inference() -> Iterator[None]:
    import torch

    with torch.inference_mode():
        yield


def _flat(state: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in state.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", versions.tensor(value)


def _finger_joint(env: Any) -> Callable[[], torch.Tensor]:
    """Reads how far from closed a finger is, (N,) [m]."""
    import torch

    names = getattr(env.cfg, "gripper_joint_names", None)
    if not names:
        return lambda: torch.full((env.num_envs,), _OPEN_FINGER, device=env.device)
    robot = env.scene["robot"]
    joint = robot.find_joints(names)[0][0]
    return lambda: versions.tensor(robot.data.joint_pos)[:, joint]


def _refuse_images(observations: Mapping[str, Any], task: TaskSpec) -> None:
    images = [key for key, value in observations.items() if value.dim() > 3]
    if images:
        what = f"{task.task_id} has cameras ({', '.join(images)}), and images of Isaac Lab are not recorded yet."
        raise UserError(what, where="--task", do="choose the task without cameras")


def _orthonormal(pose: np.ndarray) -> np.ndarray:
    """A pose that went through float32."""
    return poses.pose_from_quat(poses.position(pose), poses.quat_from_matrix(poses.rotation(pose)))
