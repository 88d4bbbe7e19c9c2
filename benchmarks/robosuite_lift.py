"""Demonstrations of robosuite's own Lift by a scripted operator, stored as MimicGen prepares its source files: what `mimicctl generate` makes of them.

    python benchmarks/robosuite_lift.py lift.hdf5        # in an environment that has robosuite 1.5.2
    mimicctl generate --task MuJoCo-Lift-Cube-Franka-IK-Rel-v0 --input-file lift.hdf5 -o generate.names.grasp=grasp_1 --trials 200 --no-guarantee

It needs robosuite, numpy and h5py alone, since robosuite wants an older MuJoCo than mimicctl has.
"""

from __future__ import annotations

import json
import sys

import h5py
import numpy as np
import robosuite
import robosuite.utils.transform_utils as transforms
from robosuite.controllers import load_composite_controller_config

_DEMOS, _MOST_STEPS = 10, 200
_ABOVE, _LIFTED = 0.09, 0.18  # of the grip site over the cube, before and after [m]
_METRES, _RADIANS = 0.05, 0.5  # that an action of 1 stands for
_FASTEST = 0.03  # commanded at once [m]


def pose(env, kind: str, name: str) -> np.ndarray:
    """(4, 4) of a body or a site, in the world."""
    data, index = env.sim.data, getattr(env.sim.model, f"{kind}_name2id")(name)
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(getattr(data, f"{kind}_xmat")[index], (3, 3))
    matrix[:3, 3] = getattr(data, f"{kind}_xpos")[index]
    return matrix


def demonstrate(env) -> dict[str, list] | None:
    """Over the cube, down, close, up. None if it is not lifted."""
    env.reset()
    site = env.robots[0].composite_controller.get_controller("right").ref_name
    start = pose(env, "body", "cube_main")
    taken: dict[str, list] = {key: [] for key in ("eef_pose", "target_pose", "gripper_action", "cube", "grasp", "actions", "states")}
    phase = closed_for = 0
    for _ in range(_MOST_STEPS):
        eef, cube = pose(env, "site", site), pose(env, "body", "cube_main")
        goal = cube[:3, 3] if phase < 3 else start[:3, 3] + np.array([0, 0, _LIFTED])
        above = np.array([0, 0, _ABOVE if phase == 0 else 0])
        way = goal + above - eef[:3, 3]
        # To the nearest face of the cube.
        turn = (np.arctan2(cube[1, 0], cube[0, 0]) - np.arctan2(eef[1, 0], eef[0, 0]) + np.pi / 4) % (np.pi / 2) - np.pi / 4
        if phase == 0 and np.linalg.norm(way) < 0.01 and abs(turn) < 0.05:
            phase = 1
        elif phase == 1 and np.linalg.norm(way) < 0.006:
            phase = 2
        elif phase == 2:
            closed_for += 1
            phase = 3 if closed_for > 12 else 2
        action = np.zeros(7)
        action[:3] = np.clip(way if phase == 2 else 3 * way, -_FASTEST, _FASTEST) / _METRES
        action[5] = np.clip(turn / _RADIANS, -1, 1) if phase < 2 else 0.0
        action[6] = 1.0 if phase >= 2 else -1.0
        target = eef.copy()
        target[:3, 3] += _METRES * action[:3]
        target[:3, :3] = transforms.quat2mat(transforms.axisangle2quat(_RADIANS * action[3:6])) @ eef[:3, :3]
        grasped = env._check_grasp(gripper=env.robots[0].gripper, object_geoms=env.cube)
        values = (eef, target, action[6:], cube, int(grasped), action, env.sim.get_state().flatten())
        for key, value in zip(taken, values, strict=True):
            taken[key].append(value)
        env.step(action)
        if phase == 3 and pose(env, "body", "cube_main")[2, 3] > start[2, 3] + 0.15:
            return taken
    return None


def main(path: str) -> None:
    controller = load_composite_controller_config(controller="BASIC", robot="Panda")
    kwargs = {"robots": "Panda", "controller_configs": controller, "control_freq": 20}
    env = robosuite.make("Lift", has_renderer=False, has_offscreen_renderer=False, use_camera_obs=False, ignore_done=True, seed=0, **kwargs)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_version": robosuite.__version__, "env_kwargs": kwargs})
        while len(data) < _DEMOS:
            if (taken := demonstrate(env)) is None:
                continue
            demo = data.create_group(f"demo_{len(data)}")
            places = {"cube": "datagen_info/object_poses/cube", "grasp": "datagen_info/subtask_term_signals/grasp", "actions": "actions", "states": "states"}
            for key, values in taken.items():
                demo[places.get(key, f"datagen_info/{key}")] = np.array(values)
            demo.attrs["num_samples"] = len(taken["actions"])
        data.attrs["total"] = sum(len(demo["actions"]) for demo in data.values())


if __name__ == "__main__":
    main(sys.argv[1])
