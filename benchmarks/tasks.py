"""How often each task succeeds: by the scripted operator, and generated from demonstrations that it recorded.

python benchmarks/tasks.py
python benchmarks/tasks.py --task MuJoCo-Lift-Cube-Franka-IK-Rel-v0 --resets 50 --attempts 100
python benchmarks/tasks.py --task MuJoCo-Stack-Cube-D1-Franka-IK-Rel-v0 --recorded-on MuJoCo-Stack-Cube-D0-Franka-IK-Rel-v0
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from mimicctl.config import RecordSettings
from mimicctl.devices import make_device
from mimicctl.envs import make_env
from mimicctl.recording.session import Progress, Rules, run_session
from mimicctl.statistics import rate_text
from mimicctl.tasks import find_task, list_tasks

SEED = 2026  # Nothing was tuned on it.


class _Enough(Exception):
    """All resets that were asked for have ended."""


def scripted(task_id: str, resets: int, speed: str) -> str:
    task = find_task(task_id)
    device = make_device(task, RecordSettings(device="scripted", speed=speed), SEED)
    progress, steps = Progress(Rules(wanted=0, hold_needed=task.success_hold_steps)), []

    def watch(progress: Progress) -> None:
        steps[len(progress.outcomes) :] = [progress.steps]
        if len(progress.outcomes) == resets:
            raise _Enough

    with closing(make_env(task)) as env, suppress(_Enough):
        run_session(env, device, None, progress, seed=SEED, on_step=watch)
    saved = sum(outcome.saved for outcome in progress.outcomes)
    return f"{rate_text(saved, resets):<62} {sorted(steps[:resets])[resets // 2]:4} steps (median)"


def generated(task_id: str, attempts: int, recorded_on: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        for command in (["record", "--task", recorded_on, "--device", "scripted", "--seed", "0"], ["annotate"]):
            subprocess.run([sys.executable, "-m", "mimicctl", *command], cwd=folder, check=True, capture_output=True)
        flags = ["--task", task_id, "--no-guarantee", "--trials", str(attempts), "--seed", str(SEED), "--json"]
        done = subprocess.run([sys.executable, "-m", "mimicctl", "generate", *flags], cwd=Path(folder), check=True, capture_output=True, text=True)
    made = json.loads(done.stdout)
    return f"{rate_text(made['successes'], made['attempts']):<62} {made['steps'] // made['attempts']:4} steps (mean)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", help="this one only; may be repeated")
    parser.add_argument("--resets", type=int, default=100)
    parser.add_argument("--attempts", type=int, default=200)
    parser.add_argument("--recorded-on", default="", help="the task that the sources are recorded on; the task itself unless given")
    options = parser.parse_args()
    for task_id in options.task or [task.task_id for task in list_tasks() if not task.cameras and not task.obstacles]:
        print(task_id)
        for speed in ("normal", "slow", "fast"):
            print(f"  scripted, {speed:<8} {scripted(task_id, options.resets, speed)}", flush=True)
        print(f"  generated          {generated(task_id, options.attempts, options.recorded_on or task_id)}", flush=True)


if __name__ == "__main__":
    main()
