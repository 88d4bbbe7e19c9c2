"""Isaac Lab repeats the demos of a file and records them again, all by its own classes: its file handler, `reset_to`, its recorder manager.

    python isaaclab_repeats.py TASK INPUT OUTPUT

prints how often its success term held at the end of each, as JSON. From mimicctl it has the start of the simulation alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mimicctl.envs.isaaclab import launch, versions
from mimicctl.tasks import find_task


def main(task_id: str, source: Path, output: Path) -> None:
    how = find_task(task_id).isaaclab
    config = launch.config_of(how, 1)
    import gymnasium
    import torch
    from isaaclab.envs.mdp.recorders.recorders_cfg import ActionStateRecorderManagerCfg
    from isaaclab.managers import DatasetExportMode
    from isaaclab.utils.datasets import HDF5DatasetFileHandler

    success = config.terminations.success
    for name in list(vars(config.terminations)):
        setattr(config.terminations, name, None)
    config.env_name = task_id
    config.recorders = ActionStateRecorderManagerCfg()
    config.recorders.dataset_export_dir_path, config.recorders.dataset_filename = str(output.parent), output.stem
    config.recorders.dataset_export_mode = DatasetExportMode.EXPORT_ALL
    config.recorders.export_in_record_pre_reset = False

    handler = HDF5DatasetFileHandler()
    handler.open(str(source))
    succeeded = {}
    with versions.simulation(config, how):
        env = gymnasium.make(how.env_id, cfg=config).unwrapped
        everyone = torch.tensor([0], dtype=torch.int32, device=env.device)
        with torch.inference_mode():
            env.reset()
            for name in handler.get_episode_names():
                episode = handler.load_episode(name, env.device)
                env.recorder_manager.reset([0])
                env.reset_to(episode.get_initial_state(), everyone, is_relative=True)
                while (action := episode.get_next_action()) is not None:
                    env.step(action[None])
                held = success.func(env, **success.params).reshape(1, 1)
                succeeded[name] = bool(held)
                env.recorder_manager.set_success_to_episodes([0], held)
                env.recorder_manager.export_episodes([0])
        env.close()
    print(json.dumps(succeeded))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
