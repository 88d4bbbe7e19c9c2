"""Files as other tools write them, made here from what is known of their layouts. Motions are those of the bundled demonstrations."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from mimicctl import poses
from tests.conftest import SOURCE

STACK_3 = "IsaacContrib-Stack-Cube-Franka-IK-Rel"
STACK_2 = "Isaac-Stack-Cube-Franka-IK-Rel-v0"
MIMIC = "Isaac-Stack-Cube-Franka-IK-Rel-Mimic-v0"

# Columns where a quaternion of the stack begins.
QUATERNIONS = {"eef_quat": [0], "cube_orientations": [0, 4, 8], "object": [3, 10, 17]}

ROBOSUITE_ARGS = {
    "env_name": "StackThree_D0",
    "type": 1,
    "env_kwargs": {
        "robots": ["Panda"],
        "controller_configs": {"type": "OSC_POSE", "control_delta": True, "output_max": [0.05] * 3 + [0.5] * 3, "output_min": [-0.05] * 3 + [-0.5] * 3},
    },
}
CUBES = {"cubeA": "cube_2", "cubeB": "cube_1", "cubeC": "cube_3"}
"""MimicGen's StackThree puts A on B and C on A."""


def isaaclab(path: Path, generation: int, *, env_name: str = MIMIC, annotated: bool = True, demos: int = 3) -> Path:
    """The bundled demos as Isaac Lab 2 or 3 has them."""
    with h5py.File(SOURCE) as source, h5py.File(path, "w") as file:
        if generation == 3:
            file.attrs["format_version"] = 1
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": env_name, "type": 2, "sim_args": {"dt": 0.01, "decimation": 5}})
        for name in [f"demo_{i}" for i in range(demos)]:
            source.copy(f"data/{name}", data)
            demo = data[name]
            del demo["obs/gripper_to_cube_yaw"], demo.attrs["mimicctl_lineage"]
            if not annotated:
                del demo["obs/datagen_info"]
            if generation == 2:
                _turn(demo)
        data.attrs["total"] = sum(len(data[name]["actions"]) for name in data)
    return path


def _turn(demo: h5py.Group) -> None:
    def visit(path: str, item: object) -> None:
        starts = [3] if path.endswith("root_pose") else QUATERNIONS.get(path.removeprefix("obs/"), [])
        for start in starts if isinstance(item, h5py.Dataset) else []:
            x, y, z, w = (item[:, start + i] for i in range(4))
            item[:, start : start + 4] = np.stack([w, x, y, z], axis=1)

    demo.visititems(visit)


def mimicgen(path: Path, *, env_args: dict = ROBOSUITE_ARGS, demos: int = 3) -> Path:
    """The bundled demos as MimicGen's prepared source files of robosuite's StackThree have them, elsewhere in the world."""
    world = poses.compose(np.eye(3), np.array([-0.56, 0.0, 0.8]))
    with h5py.File(SOURCE) as source, h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(env_args)
        for name in [f"demo_{i}" for i in range(demos)]:
            recorded, demo = source[f"data/{name}"], data.create_group(name)
            info = recorded["obs/datagen_info"]
            actions = recorded["actions"][()].astype(np.float64)
            # Isaac Lab's controller goes half an action; what it is told is MimicGen's target.
            delta = 0.5 * actions[:, :6]
            hand = info["eef_pose/franka"][()].astype(np.float64)
            demo["actions"] = np.concatenate([delta[:, :3] / 0.05, delta[:, 3:] / 0.5, -actions[:, 6:]], axis=1)
            demo["states"] = np.arange(len(actions) * 5.0).reshape(-1, 5)
            demo["rewards"], demo["dones"] = np.zeros(len(actions)), np.zeros(len(actions), int)
            demo["obs/robot0_eef_pos"] = hand[:, :3, 3]
            demo["datagen_info/eef_pose"] = world @ hand @ _grip_in_hand()
            demo["datagen_info/target_pose"] = world @ poses.apply_delta(hand, delta) @ _grip_in_hand()
            demo["datagen_info/gripper_action"] = -actions[:, 6:]
            for theirs, ours in CUBES.items():
                demo[f"datagen_info/object_poses/{theirs}"] = world @ info[f"object_pose/{ours}"][()].astype(np.float64)
            for signal, values in info["subtask_term_signals"].items():
                demo[f"datagen_info/subtask_term_signals/{signal}"] = values[()].astype(np.int64)
            demo["datagen_info"].attrs["env_interface_name"], demo["datagen_info"].attrs["env_interface_type"] = "MG_StackThree", "robosuite"
            demo.attrs["num_samples"], demo.attrs["model_file"] = len(actions), "<mujoco/>"
        data.attrs["total"] = sum(len(data[name]["actions"]) for name in data)
    return path


def _grip_in_hand() -> np.ndarray:
    """robosuite's gripper body is turned by -90 degrees about z in the hand."""
    return poses.yaw_pose(np.zeros(3), np.array(-np.pi / 2))


def robomimic(path: Path) -> Path:
    """As robomimic's own datasets of robosuite, without anything of MimicGen."""
    mimicgen(path)
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            del demo["datagen_info"]
    return path
