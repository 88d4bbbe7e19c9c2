"""What generation costs and yields: python benchmarks/generate.py [--full] [--speeds]

Prints, for each run: success rate with interval, demos per second of wall clock, CPU seconds per 1000 successes, peak memory. Then
the share of CPU time that goes into MuJoCo's step. --full adds the long runs (1 and 2 workers, 100 to 3000 demos); --speeds
adds source demonstrations of other lengths, recorded by the scripted operator. Compare rows of one run, not of two: machines differ, and are shared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mimicctl.dataset.reader import Dataset
from mimicctl.envs import make_env
from mimicctl.generation.engine import bundled_source
from mimicctl.generation.segments import Bridge
from mimicctl.generation.source import load_pool
from mimicctl.generation.trial import TrialSettings, run_trials
from mimicctl.statistics import rate_text
from mimicctl.tasks import DEFAULT_TASK, find_task

SEED = 2026
ISAAC = [
    f"-ogenerate.subtasks.franka[{i}].{change}"
    for i in range(4)
    for change in ("action_noise=0.03", "contact_noise=0.03", "apply_noise_during_interpolation=false")
]


def run(label: str, folder: Path, trials: int, workers: int, *flags: str) -> None:
    """One `mimicctl generate` in a process of its own, so that memory and CPU time are its own."""
    output = folder / "out.hdf5"
    command = [sys.executable, "-m", "mimicctl", "generate", "--trials", str(trials), "--workers", str(workers), "--seed", str(SEED)]
    command += ["--output-file", str(output), "--overwrite", "--json", *flags]
    began, cpu = time.perf_counter(), sum(os.times()[2:4])
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    seconds, cpu = time.perf_counter() - began, sum(os.times()[2:4]) - cpu
    if done.returncode:
        print(f"{label:<34} failed: {done.stderr.strip().splitlines()[-1]}")
        return
    made = json.loads(done.stdout)
    memory = peak_memory_of_children()
    rate = rate_text(made["successes"], made["attempts"])
    print(f"{label:<34} {rate:<62} {made['demos'] / seconds:6.1f} demos/s {1000 * cpu / made['successes']:6.0f} CPU-s/1000 {memory:5.0f} MB", flush=True)


def peak_memory_of_children() -> float:
    """Largest resident size of any child so far [MB]."""
    import resource

    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000


def share_in_physics(trials: int = 60) -> None:
    task = find_task(DEFAULT_TASK)
    env = make_env(task, 8)
    with Dataset(bundled_source(task)) as dataset:
        pool = load_pool(task, dataset.episodes(), env.gripper_actions, "bundled")
    numbers = iter(range(trials))
    env.physics_seconds, began = 0.0, time.process_time()
    results = list(run_trials(env, pool, TrialSettings(task, SEED, Bridge()), lambda: next(numbers, None)))
    cpu, steps = time.process_time() - began, sum(result.steps for result in results)
    print(f"\nMuJoCo's step takes {100 * env.physics_seconds / cpu:.0f} % of the CPU time of a trial; {steps / cpu:.0f} control steps per CPU second.")


def record_source(folder: Path, speed: str) -> Path:
    subprocess.run(
        [sys.executable, "-m", "mimicctl", "record", "--device", "scripted", "--speed", speed, "--overwrite"], cwd=folder, check=True, capture_output=True
    )
    subprocess.run([sys.executable, "-m", "mimicctl", "annotate", "--overwrite"], cwd=folder, check=True, capture_output=True)
    return folder / "datasets" / "annotated.hdf5"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the long runs too")
    parser.add_argument("--speeds", action="store_true", help="source demonstrations of other lengths too")
    parser.add_argument("--trials", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(f"{options.trials} demos, 2 workers", folder, options.trials, 2)
        fewer = max(options.trials // 5, 20)
        run(f"{fewer} attempts, straight bridge", folder, fewer, 2, "--no-guarantee", "--bridge", "straight")
        run(f"{fewer} attempts, noise of Isaac Lab", folder, fewer, 2, "--no-guarantee", *ISAAC)
        if options.full:
            for trials, workers in ((100, 2), (3000, 2), (options.trials, 1)):
                run(f"{trials} demos, {workers} workers", folder, trials, workers)
        if options.speeds:
            for speed in ("fast", "slow"):
                source = record_source(folder, speed)
                with Dataset(source) as dataset:
                    steps = sum(dataset.length(n) for n in dataset.demos) / len(dataset)
                run(f"{fewer} attempts, source of {steps:.0f} steps", folder, fewer, 2, "--no-guarantee", "--input-file", str(source))
        share_in_physics()


if __name__ == "__main__":
    main()
