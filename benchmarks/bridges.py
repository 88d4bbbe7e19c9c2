"""How often a task with a wall in the way succeeds by each way of joining the same segments, and how long planning takes.

python benchmarks/bridges.py
python benchmarks/bridges.py --task MuJoCo-Stack-Cube-Franka-IK-Rel-v0 --attempts 50
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from mimicctl.config import GenerateSettings
from mimicctl.dataset.reader import Dataset
from mimicctl.envs.mujoco.motion_planner import PandaMotionPlanner
from mimicctl.generation.engine import generate

SEED = 2026  # Nothing was tuned on it.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="MuJoCo-Stack-Cube-Wall-Franka-IK-Rel-v0")
    parser.add_argument("--attempts", type=int, default=100)
    options = parser.parse_args()
    spent = _time_every_plan()
    for bridge in ("straight", "arch", "plan"):
        with tempfile.TemporaryDirectory() as folder:
            output = str(Path(folder) / "generated.hdf5")
            settings = GenerateSettings(trials=options.attempts, guarantee=False, workers=1, use_skillgen=True, bridge=bridge, output_file=output)
            began = time.perf_counter()
            report = generate(options.task, SEED, settings, None).report
            seconds = time.perf_counter() - began
            with Dataset(Path(output), need_demos=False) as dataset:
                unplanned = sum(len(attempt.get("unplanned", ())) for attempt in dataset.attempts())
            begun = report.sought
        print(f"{bridge:<9} {report.rate:<62} {report.steps // report.attempts:4} steps (mean)  {seconds:5.0f} s", flush=True)
    low, high = np.percentile(spent, [50, 95])
    print(f"a plan: median {low:.0f} ms, 95 % within {high:.0f} ms; {len(spent)} made for {begun} bridges, {unplanned} of which an arch is")


def _time_every_plan() -> list[float]:
    """[ms] The list that each plan of this process adds its time to."""
    spent: list[float] = []
    planned = PandaMotionPlanner.way

    def timed(*args):
        began = time.perf_counter()
        try:
            return planned(*args)
        finally:
            spent.append(1e3 * (time.perf_counter() - began))

    PandaMotionPlanner.way = timed
    return spent


if __name__ == "__main__":
    main()
