"""What differs between Isaac Lab 2.x (Python 3.11, Isaac Sim) and 3.x (Python 3.12, with or without it). Nothing else asks for the version.

2.x was read, not run.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import importlib.util
import sys
from contextlib import AbstractContextManager, nullcontext
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from mimicctl.errors import RunFailed, UserError
from mimicctl.tasks.spec import IsaacLab

if TYPE_CHECKING:
    import torch

INSTALL = "in Python 3.12: pip install isaaclab==3.0.0 ovphysx==0.6.4.72118723 ovstage==0.2.1.385922 (8.5 GB; no GPU and no Isaac Sim needed)"

_KITLESS = {"newton": "newton_mjwarp", "ovphysx": "ovphysx"}
"""Ours to Isaac Lab's names of the physics that run without Isaac Sim."""


def require(otherwise: str = "") -> None:
    """UserError if Isaac Lab is not installed.

    Args:
        otherwise: what can be done without it.
    """
    if importlib.util.find_spec("isaaclab") is None:
        where = f"Python {sys.version_info.major}.{sys.version_info.minor} of {sys.prefix}"
        raise UserError("This task runs on Isaac Lab, which is not installed.", where=where, do="; or ".join(filter(None, (otherwise, INSTALL))))


@functools.cache
def installed() -> str:
    return metadata.version("isaaclab")


def is_3() -> bool:
    return int(installed().split(".")[0]) >= 3


def physics_of(how: IsaacLab) -> str:
    """newton, ovphysx or physx: what was asked for, or the best that is installed.

    Raises:
        UserError: it is not installed.
    """
    there = {
        "physx": importlib.util.find_spec("isaacsim") is not None,
        "ovphysx": is_3() and importlib.util.find_spec("ovphysx") is not None,
        "newton": is_3() and importlib.util.find_spec("newton") is not None,
    }
    if how.physics == "auto":
        found = next((name for name, installed in there.items() if installed), None)
        if found is None:
            raise UserError("There is no physics for Isaac Lab: neither Isaac Sim, nor OvPhysX, nor Newton.", do=INSTALL)
        return found
    if not there[how.physics]:
        missing = {"physx": "Isaac Sim", "ovphysx": "the package ovphysx", "newton": "the package newton"}[how.physics]
        also = ", ".join(name for name, installed in there.items() if installed) or "none"
        raise UserError(f"{how.physics} needs {missing}, which is not installed.", where="--physics", do=f"installed: {also}; {INSTALL}")
    return how.physics


def physics_text(how: IsaacLab) -> str:
    """For the lineage."""
    physics = physics_of(how)
    package = {"physx": "isaacsim", "ovphysx": "ovphysx", "newton": "newton"}[physics]
    return " ".join([f"isaaclab {installed()}, {physics} {metadata.version(package)} on {how.device}", *how.overrides])


# Launching ------------------------------------------------------------------------------------------------


def start_app(how: IsaacLab) -> None:
    """What has to run before anything of Isaac Lab is imported."""
    if not is_3():
        from isaaclab.app import AppLauncher

        parser = argparse.ArgumentParser()
        AppLauncher.add_app_launcher_args(parser)
        app = AppLauncher(parser.parse_args([*([] if how.visualizer else ["--headless"]), "--device", how.device])).app
        atexit.register(app.close)
    elif how.device == "cpu":
        # 3.0.0's OvPhysX articulation allocates pinned memory, which warp cannot do without a CUDA driver. Unpinned is slower at worst.
        import warp

        for name in ("zeros", "empty", "ones", "full", "zeros_like", "empty_like"):
            setattr(warp, name, _unpinned(getattr(warp, name)))


def _unpinned(allocate: Any) -> Any:
    def unpinned(*args: Any, **kwargs: Any) -> Any:
        return allocate(*args, **(kwargs | {"pinned": False} if "pinned" in kwargs else kwargs))

    return unpinned


def require_device(how: IsaacLab) -> None:
    """UserError if the device is not there."""
    import torch

    if how.device != "cpu" and not torch.cuda.is_available():
        raise UserError("There is no CUDA GPU that torch can use.", where=f"--sim-device {how.device}", do="leave it out: cpu needs none")


def parse_config(env_id: str, how: IsaacLab, num_envs: int) -> Any:
    """The config of an environment, with the physics that was asked for."""
    from isaaclab_tasks.utils.parse_cfg import parse_env_cfg

    if not is_3():
        if how.overrides:
            raise UserError("Isaac Lab 2 takes no overrides of a task's config.", where="isaaclab.overrides", do="leave them out, or use Isaac Lab 3")
        return parse_env_cfg(env_id, device=how.device, num_envs=num_envs)
    physics = physics_of(how)
    preset = {"newton": ["physics=newton_mjwarp"], "physx": ["physics=isaacsim_physx"]}.get(physics, [])
    config = parse_env_cfg(env_id, device=how.device, num_envs=num_envs, overrides=preset)
    if how.overrides:
        for override in how.overrides:
            _require_field(config, override)
        config = parse_env_cfg(env_id, device=how.device, num_envs=num_envs, overrides=[*preset, *how.overrides])
    if physics == "ovphysx":
        # 3.0.0's tasks have no preset for it.
        from isaaclab_ov.physics import OvPhysxCfg

        config.sim.physics = OvPhysxCfg()
    if physics in _KITLESS:
        # Without it 3.0.0's cloner tells neither of them about the copies of the first env.
        config.scene.replicate_physics = True
    return config


def _require_field(config: Any, override: str) -> None:
    """UserError for a change to what the config does not have, which Isaac Lab adds to it in silence."""
    key = override.partition("=")[0]
    if not key.startswith("env."):
        return
    there = config
    for name in key.split(".")[1:]:
        known = there if isinstance(there, dict) else vars(there) if hasattr(there, "__dict__") else {}
        if name not in known:
            what = f'The config of the environment has no "{key}": there is no "{name}".'
            raise UserError(what, where="isaaclab.overrides", do=f"there it has {', '.join(sorted(known)) or 'nothing'}")
        there = known[name]


def simulation(config: Any, how: IsaacLab) -> AbstractContextManager[Any]:
    """Inside of it the environment of `config` can be made."""
    if not is_3():
        return nullcontext()
    from isaaclab.app import add_launcher_args, launch_simulation

    parser = argparse.ArgumentParser()
    add_launcher_args(parser)
    return launch_simulation(config, parser.parse_args(["--device", how.device, "--viz", how.visualizer or "none"]))


# Data -------------------------------------------------------------------------------------------------------


def tensor(value: Any) -> torch.Tensor:
    """3.x keeps asset data in warp arrays that have a torch view."""
    return value.torch if hasattr(value, "torch") else value


def reordered(values: np.ndarray, first: int) -> np.ndarray:
    """`values` (..., D) with the quaternion at column `first` in our order if it is in the simulator's, and the other way round: a swap of wxyz and
    xyzw for 2.x, nothing for 3.x. Its inverse is `restored`."""
    if is_3():
        return values
    values = values.copy()
    values[..., first : first + 4] = np.roll(values[..., first : first + 4], -1, axis=-1)
    return values


def restored(values: np.ndarray, first: int) -> np.ndarray:
    """The inverse of `reordered`."""
    if is_3():
        return values
    values = values.copy()
    values[..., first : first + 4] = np.roll(values[..., first : first + 4], 1, axis=-1)
    return values


def settle_sensors(env: Any) -> None:
    """Bring what is read of `env` up to its state after a reset.

    Newton's frames in 3.0.0 are computed inside a physics step only: NaN after the first reset, the end of the last episode after the others.
    """
    if not is_3() or importlib.util.find_spec("isaaclab_newton") is None:
        return
    from isaaclab_newton.physics import NewtonManager

    if not NewtonManager._newton_frame_transform_sensors:
        return
    for sensor in NewtonManager._newton_frame_transform_sensors:
        sensor.update(NewtonManager.get_state_0())
    for sensor in env.scene.sensors.values():
        sensor.update(dt=0.0, force_recompute=True)
    env.obs_buf = env.observation_manager.compute()


def require_room() -> None:
    """RunFailed if Newton's MuJoCo-Warp left something out of its last step for want of room, which it does without an end or an error.

    A control step is looked at by its last physics step.
    """
    from isaaclab_newton.physics import NewtonManager

    data = getattr(NewtonManager._solver, "mjw_data", None)
    if data is None:
        return
    # MuJoCo-Warp's own count stops at the room there is where Newton finds the contacts.
    found = max(int(count.numpy()[0]) for count in (data.nacon, NewtonManager._contacts.rigid_contact_count))
    for what, needed, room, setting in (
        ("contacts", -(-found // data.nworld), data.naconmax // data.nworld, "nconmax"),
        ("rows of contacts and limits", int(data.nefc.numpy().max()), data.njmax, "njmax"),
    ):
        if needed > room:
            more = f"-o 'isaaclab.overrides=[\"env.sim.physics.solver_cfg.{setting}={2 * needed}\"]'"
            raise RunFailed(f"Newton has room for {room} {what} an env, and {needed} came up: it leaves the others out.", where=setting, do=f"give it more: {more}")
