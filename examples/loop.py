"""The whole data loop from Python: record, annotate, generate, look at what failed.

    python examples/loop.py [FOLDER]

The operator is scripted here; a device of your own needs the four methods of `mimicctl.devices.Device`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mimicctl.annotation.auto import annotate_auto
from mimicctl.config import GenerateSettings, RecordSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.writer import DatasetWriter
from mimicctl.devices import make_device
from mimicctl.envs import make_env
from mimicctl.generation.engine import generate
from mimicctl.recording.session import Progress, Rules, run_session

TASK = "MuJoCo-Stack-Cube-Franka-IK-Rel-v0"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    env = make_env(TASK)
    operator = make_device(env.task, RecordSettings(device="scripted"), seed=3)
    progress = Progress(Rules(wanted=5, hold_needed=env.task.success_hold_steps))
    with DatasetWriter(folder / "recorded.hdf5", task_id=TASK, lineage={"made_by": "examples/loop.py"}) as writer:
        run_session(env, operator, writer, progress, seed=3)
    print(f"recorded {progress.saved}, discarded {progress.discarded}")

    annotated, found = annotate_auto(folder / "recorded.hdf5", str(folder / "annotated.hdf5"))
    for demo in found:
        print(demo.name, demo.rises, demo.problem)

    settings = GenerateSettings(trials=50, output_file=str(folder / "generated.hdf5"))
    made = generate(TASK, 3, settings, annotated)
    print(f"{made.report.rate} of the attempts succeeded")

    with Dataset(made.path) as dataset:
        first = dataset.episode(dataset.demos[0])
        print(f"{len(dataset)} demonstrations; the first has {len(first)} steps and came from {first.lineage['sources']}")
        for attempt in dataset.attempts():
            if not attempt["success"]:
                print(f"trial {attempt['trial']}: {attempt['reason']}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example"))
