"""How fast the procedural engine of `mimicctl augment` paints: control steps a second of one core, with what is read and compressed.

python benchmarks/augment.py FILE     a dataset of the -Visuomotor-Cosmos task
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from mimicctl.augmentation.augment import plan_copies
from mimicctl.augmentation.procedural import paint_demo
from mimicctl.augmentation.robot_material import RobotMaterial
from mimicctl.dataset.reader import Dataset
from mimicctl.rendering.replay import positions_of, scenes_of
from mimicctl.tasks import find_task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    with Dataset(arguments.file) as dataset:
        task = find_task(dataset.task_id)
        began = time.process_time()
        material = RobotMaterial(task)
        print(f"starting a worker: {time.process_time() - began:.1f} s")
        for copy in plan_copies(dataset.demos, 1, 1, with_originals=False):
            _, qpos = next(scenes_of(dataset, [copy.demo], positions_of(task)))
            began = time.process_time()
            frames = paint_demo(dataset.group(copy.demo)["obs"], qpos, task, copy.appearance, material)
            spent = time.process_time() - began
            looks = f"table {copy.appearance.table.pattern}, arm {copy.appearance.robot.pattern}"
            print(f"{copy.demo}: {len(qpos) / spent:.0f} steps/s, {len(frames) * len(qpos) / spent:.0f} images/s of CPU time ({looks})")


if __name__ == "__main__":
    main()
