"""An Isaac Lab Mimic environment as a `MimicEnv`: N copies in one process, all stepped together, each reset by itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl import poses
from mimicctl.envs.base import Snapshot
from mimicctl.envs.isaaclab import versions
from mimicctl.envs.isaaclab.actions import Actions, orthonormal
from mimicctl.envs.isaaclab.launch import open_simulation
from mimicctl.envs.isaaclab.rows import Rows, flat
from mimicctl.errors import RunFailed, UserError
from mimicctl.schema import Episode
from mimicctl.tasks.spec import Stack, TaskSpec

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
        self._actions = Actions(self._env, task)
        self._finger = _finger_joint(self._env)
        self._on_newton = versions.physics_of(task.isaaclab) == "newton"
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
            if self._on_newton:
                versions.require_room()
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
        return {name: orthonormal(pose) for name, pose in self._layout.group(snapshot, "eef_pose").items()}

    def object_poses(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {name: orthonormal(pose) for name, pose in self._layout.group(snapshot, "object_pose").items()}

    def signals(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {name: value > 0.5 for name, value in self._layout.group(snapshot, "signal").items()}

    def success(self, snapshot: Snapshot) -> np.ndarray:
        return self._layout.read(snapshot, "success") > 0.5

    def observations(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        observed = self._layout.group(snapshot, "obs") | self._observed_beyond(snapshot)
        return {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in observed.items()}

    def _observed_beyond(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        """What the same task on MuJoCo observes beyond Isaac Lab's own, and policies learn a good deal better with."""
        if not isinstance(self.task.goal, Stack):
            return {}
        hand = poses.rotation(self.eef_poses(snapshot)[self.task.eef_names[0]])
        placed = self.object_poses(snapshot)
        cubes = [item for item in self.task.objects if item.name in self.task.goal.order]
        yaws = [poses.relative_yaw(hand, poses.rotation(placed[cube.name]), cube.yaw_symmetry) for cube in cubes]
        return {"gripper_to_cube_yaw": np.concatenate(yaws, axis=-1)}

    def scene_state(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        state = {path: np.ascontiguousarray(value, dtype=np.float32) for path, value in self._layout.group(snapshot, "state").items()}
        return {path: versions.reordered(value, 3) if path.endswith("root_pose") else value for path, value in state.items()}

    def gripper_opening(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        return {eef: self._layout.read(snapshot, "finger") for eef in self.task.eef_names}

    # Actions ------------------------------------------------------------------------------------------------

    def command_to_action(self, snapshot: Snapshot, deltas: Mapping[str, np.ndarray], grippers: Mapping[str, float]) -> np.ndarray:
        here = {eef: pose[None] for eef, pose in self.eef_poses(snapshot).items()}
        return self._actions.of_command(here, deltas, {eef: np.array([[value]]) for eef, value in grippers.items()})[0]

    def target_poses_to_actions(
        self,
        eef_poses: Mapping[str, np.ndarray],
        targets: Mapping[str, np.ndarray],
        grippers: Mapping[str, np.ndarray],
    ) -> np.ndarray:
        return self._actions.of_targets(eef_poses, targets, grippers)

    def noisy_actions(self, actions: np.ndarray, noise: Mapping[str, np.ndarray]) -> np.ndarray:
        return self._actions.noisy(actions, noise)

    def actions_to_target_poses(self, eef_poses: Mapping[str, np.ndarray], actions: np.ndarray) -> dict[str, np.ndarray]:
        return self._actions.targets_of(eef_poses, actions)

    def gripper_actions(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        return self._actions.grippers_of(actions)

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
        groups = {"object_pose": self.object_poses(before), "eef_pose": eefs, "target_eef_pose": self._actions.said_targets_of(eefs, actions)}
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
        parts |= {f"state/{path}": value for path, value in flat(env.scene.get_state(is_relative=True))}
        terms = [env.action_manager.get_term(name) for name in env.action_manager.active_terms]
        return parts | {f"processed/{name}": versions.tensor(term.processed_actions) for name, term in enumerate(terms)}

    def _look_after_reset(self, env_ids: Sequence[int]) -> None:
        with _inference():
            versions.settle_sensors(self._env)
            self._rows = self._layout.pack(self._parts())
        if not all(np.isfinite(pose).all() for pose in self.eef_poses(self._rows[list(env_ids)]).values()):
            what = "The pose of an end-effector is not a number after a reset."
            raise RunFailed(what, where=f"{versions.physics_text(self.task.isaaclab)}", do="try another --physics")
        self._last[list(env_ids)] = self._holding(env_ids)

    def _holding(self, env_ids: Sequence[int]) -> np.ndarray:
        """Actions (n, A) of envs that nobody drives after a reset: stay, open."""
        if self._actions.aims_hand:
            here = self.eef_poses(self._rows[list(env_ids)])
            return self._actions.of_targets(here, here, {eef: np.ones((len(env_ids), 1)) for eef in here})
        holding = np.zeros((len(env_ids), self._last.shape[1]), dtype=np.float32)
        holding[:, -1] = 1.0
        return holding

    def _seed(self, seed: np.random.SeedSequence) -> None:
        """Events of a reset draw from all three of these."""
        import torch

        number = int(seed.generate_state(1)[0])
        random.seed(number)
        np.random.seed(number)
        torch.manual_seed(number)

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


def _finger_joint(env: Any) -> Callable[[], torch.Tensor]:
    """Reads how far from closed a finger is, (N,) [m]."""
    import torch

    names = getattr(env.cfg, "gripper_joint_names", None)
    if not names:
        return lambda: torch.full((env.num_envs,), _OPEN_FINGER, device=env.device)
    robot = env.scene["robot"]
    joint = robot.find_joints(names)[0][0]
    return lambda: versions.tensor(robot.data.joint_pos)[:, joint]
