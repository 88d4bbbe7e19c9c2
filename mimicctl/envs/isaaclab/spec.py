"""What a task is, read off the config of its Mimic environment: end-effectors, subtasks, constraints, objects, start states."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from mimicctl.envs.isaaclab import launch, versions
from mimicctl.envs.isaaclab.cameras import cameras_in
from mimicctl.envs.isaaclab.names import registered_as
from mimicctl.tasks.spec import IsaacLab, ObjectSpec, OwnSuccess, ResetRange, Subtask, SubtaskConstraint, TaskSpec

_ANYWHERE = ResetRange(x=(-1.0, 1.0), y=(-1.0, 1.0), yaw=(-3.14159, 3.14159), min_separation=0.0, joint_noise=0.0)
"""Where things start of which the config does not say it in a way that is understood; for reports only, Isaac Lab draws start states itself."""

_CALM = 0.25
"""Noise around a change of the gripper, as a share of Isaac Lab's, which is the same throughout: there it topples what is being stacked."""

_GENERATION = ("select_src_per_subtask", "select_src_per_arm", "transform_first_robot_pose", "interpolate_from_last_target_pose")
"""What is taken from a config's `datagen_config`: how its segments are chosen and joined. How many demos to make, what to keep and the seed are the
user's business, and those of Isaac Lab's configs stand for nothing (10 trials, seed 1)."""


@functools.cache
def read_task(task_id: str, how: IsaacLab) -> TaskSpec:
    """The task of that id, in the names of either generation of Isaac Lab.

    Args:
        how: with any `env_id`.

    Raises:
        UserError: Isaac Lab is not installed, or has no such Mimic environment.
    """
    from mimicctl.tasks import twin_of

    twin = twin_of(task_id)
    versions.require(f"give --task {twin.task_id}, the same task on MuJoCo" if twin else "")
    base, mimic = registered_as(task_id, launch.registry())
    how = dataclasses.replace(how, env_id=mimic)
    return task_of(launch.config_of(how, 1), base, how, twin)


def task_of(config: Any, task_id: str, how: IsaacLab, twin: TaskSpec | None) -> TaskSpec:
    """The task of an environment's config.

    Args:
        twin: the same task on MuJoCo, which knows what the config does not say: sizes, the goal, what room the hand takes up.
    """
    dt = config.sim.dt * config.decimation
    arm = _arm_action(config)
    known = {item.name: item for item in twin.objects} if twin else {}
    names = twin.subtasks if twin else {}
    read = {
        "task_id": task_id,
        "control": "rel" if _is_relative(arm) else "abs",
        "control_hz": round(1.0 / dt, 6),
        "action_scale": float(arm.scale) if isinstance(getattr(arm, "scale", None), (int, float)) else 1.0,
        "objects": tuple(known.get(name) or _unknown_object(name) for name in _rigid_objects(config)),
        "reset": _reset_range(config),
        "subtasks": {eef: _subtasks(subtasks, names.get(eef, ())) for eef, subtasks in config.subtask_configs.items()},
        "constraints": tuple(_constraint(constraint) for constraint in config.task_constraint_configs),
        "horizon": round(config.episode_length_s / dt),
        "generation": {name: getattr(config.datagen_config, f"generation_{name}") for name in _GENERATION},
        "isaaclab": how,
        "cameras": cameras_in(config),
    }
    if twin:
        return dataclasses.replace(twin, **read)
    return TaskSpec(description=f"Isaac Lab's {task_id}.", home=(), goal=OwnSuccess(), robot="other", **read)


def _subtasks(configs: list[Any], like: tuple[Subtask, ...]) -> tuple[Subtask, ...]:
    named = like if len(like) == len(configs) else [None] * len(configs)
    return tuple(_subtask(config, number, twin) for number, (config, twin) in enumerate(zip(configs, named, strict=True)))


def _subtask(config: Any, number: int, twin: Subtask | None) -> Subtask:
    kwargs = config.selection_strategy_kwargs or {}
    return Subtask(
        name=twin.name if twin else (config.description or config.subtask_term_signal or f"subtask {number}"),
        object_ref=config.object_ref,
        term_signal=config.subtask_term_signal,
        term_offset_range=tuple(config.subtask_term_offset_range),
        selection_strategy=config.selection_strategy,
        nn_k=kwargs.get("nn_k", 3),
        pos_weight=kwargs.get("pos_weight", 1.0),
        rot_weight=kwargs.get("rot_weight", 1.0),
        action_noise=float(config.action_noise),
        contact_noise=float(config.action_noise) * _CALM,
        num_interpolation_steps=config.num_interpolation_steps,
        num_fixed_steps=config.num_fixed_steps,
        apply_noise_during_interpolation=config.apply_noise_during_interpolation,
        start_signal=twin.start_signal if twin else None,
        first_subtask_start_offset_range=tuple(config.first_subtask_start_offset_range) if number == 0 else (0, 0),
        description=config.description,
        next_subtask_description=config.next_subtask_description,
    )


def _constraint(config: Any) -> SubtaskConstraint:
    return SubtaskConstraint(
        eef_subtask_constraint_tuple=tuple(tuple(pair) for pair in config.eef_subtask_constraint_tuple),
        constraint_type=config.constraint_type.name.lower(),
        sequential_min_time_diff=config.sequential_min_time_diff,
        coordination_scheme=config.coordination_scheme.name.lower(),
        coordination_scheme_pos_noise_scale=config.coordination_scheme_pos_noise_scale,
        coordination_scheme_rot_noise_scale=config.coordination_scheme_rot_noise_scale,
        coordination_synchronize_start=config.coordination_synchronize_start,
    )


def _rigid_objects(config: Any) -> list[str]:
    from isaaclab.assets import RigidObjectCfg

    return [name for name, item in vars(config.scene).items() if isinstance(item, RigidObjectCfg)]


def _unknown_object(name: str) -> ObjectSpec:
    """Of no size: what is not known is not kept away from."""
    return ObjectSpec(name, name, edge=0.0, mass=1.0, rgba=(0.6, 0.6, 0.6, 1.0))


def _arm_action(config: Any) -> Any:
    """The first action term that moves a hand to poses: the one with a controller, or the first of all."""
    terms = [term for term in vars(config.actions).values() if term is not None]
    return next((term for term in terms if hasattr(term, "controller")), terms[0])


def _is_relative(arm: Any) -> bool:
    return any(getattr(owner, "use_relative_mode", False) for owner in (arm, getattr(arm, "controller", None)))


def _reset_range(config: Any) -> ResetRange:
    """Of the first event that draws poses of objects; ranges may have more than two numbers, of which Isaac Lab uses the first two."""
    terms = [term for term in vars(config.events).values() if getattr(term, "mode", "") == "reset"] if config.events else []
    drawn = next((term.params for term in terms if "pose_range" in term.params and "asset_cfgs" in term.params), None)
    if drawn is None:
        return _ANYWHERE
    spans = {axis: tuple(float(value) for value in drawn["pose_range"].get(axis, (0.0, 0.0))[:2]) for axis in ("x", "y", "yaw")}
    noise = next((float(term.params["std"]) for term in terms if "std" in term.params), 0.0)
    return ResetRange(**spans, min_separation=float(drawn.get("min_separation", 0.0)), joint_noise=noise)
