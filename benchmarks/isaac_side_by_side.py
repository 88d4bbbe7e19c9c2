"""Isaac Lab's own data generation beside ours: the same machine, environment, physics, source demonstrations, number of attempts and envs.

    python benchmarks/isaac_side_by_side.py --input-file source.hdf5 --results results.jsonl

Runs in the Python that Isaac Lab 3 is installed in, each run in a process of its own. Both are started the same way, with one thread, and neither draws
or shows anything. Both judge by the environment's own success term, which has to be true once for Isaac Lab and ten steps in a row for mimicctl. Each run
is written to the results as it ends; every other round is in reverse order.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mimicctl.statistics import wilson_interval

RUNS = {
    "isaaclab": "Isaac Lab",
    "defaults": "mimicctl",
    "same-noise": "mimicctl, Isaac Lab's noise",
}


def main() -> None:
    options = _options()
    if options.run:
        run = _isaac_lab if options.run == "isaaclab" else _mimicctl
        options.results.write_text(json.dumps(run(options)))
        return
    done = []
    for round_number in range(options.rounds):
        names = options.only or list(RUNS)
        for name in names if round_number % 2 == 0 else names[::-1]:
            done.append(_in_own_process(name, round_number, options))
            with options.results.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
            print(json.dumps(done[-1]), flush=True)
    print(_table(done))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input-file", type=Path, required=True, help="annotated source demonstrations, which both read")
    parser.add_argument("--task", default="Isaac-Stack-Cube-Franka-IK-Rel-Mimic-v0")
    parser.add_argument("--physics", default="ovphysx", choices=["ovphysx", "newton", "physx"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--noise", type=float, help="action noise of all subtasks, for both; the task's own unless given")
    parser.add_argument("--attempts", type=int, default=96, help="of each run")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=2026, help="of the first round, one more in each after it; nothing was tuned on 2026")
    parser.add_argument("--only", nargs="*", choices=list(RUNS), help="leave out the others")
    parser.add_argument("--results", type=Path, default=Path("isaac_side_by_side.jsonl"), help="a line of JSON is added after each run")
    parser.add_argument("--run", choices=list(RUNS), help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_own_process(name: str, round_number: int, options: argparse.Namespace) -> dict[str, Any]:
    seed = options.seed + round_number
    with tempfile.TemporaryDirectory() as folder:
        result, log = Path(folder) / "result.json", Path(folder) / "log"
        arguments = ["--run", name, "--input-file", str(options.input_file), "--results", str(result), "--seed", str(seed)]
        for option in ("task", "physics", "device", "num_envs", "attempts", "noise"):
            if getattr(options, option) is None:
                continue
            arguments += [f"--{option.replace('_', '-')}", str(getattr(options, option))]
        began = time.perf_counter()
        with log.open("wb") as said:
            # One thread for both: the tensors are small.
            code = subprocess.run([sys.executable, __file__, *arguments], stdout=said, stderr=said, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode
        whole = time.perf_counter() - began
        if code:
            sys.exit(f"{RUNS[name]} failed:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-40:]))
        return {"run": name, "seed": seed, **json.loads(result.read_text()), "whole_s": round(whole, 1)}


def _table(done: list[dict[str, Any]]) -> str:
    lines = ["| | success (95 % interval) | steps | time | with start-up | demos/min | demos/CPU-min |", "|---|---|---|---|---|---|---|"]
    for name in RUNS:
        runs = [run for run in done if run["run"] == name]
        if runs:
            attempts, successes, seconds, cpu, whole = (sum(run[key] for run in runs) for key in ("attempts", "successes", "seconds", "cpu_s", "whole_s"))
            low, high = wilson_interval(successes, attempts)
            rate = f"{100 * successes / attempts:.1f} % ({successes} of {attempts}; {100 * low:.1f} to {100 * high:.1f})"
            steps = sum(run["env_steps"] for run in runs)
            speeds = f"{60 * successes / seconds:.1f} | {60 * successes / cpu:.1f}"
            lines.append(f"| {RUNS[name]} | {rate} | {steps} | {seconds:.0f} s | {whole:.0f} s | {speeds} |")
    return "\n".join(lines)


class _Clock:
    """Wall and CPU time [s] of generating, without starting up."""

    def start(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self) -> dict[str, float]:
        return {"seconds": round(time.perf_counter() - self._wall, 2), "cpu_s": round(time.process_time() - self._cpu, 2)}


@contextlib.contextmanager
def _steps_counted(counted: list[int]):
    """Adds up the steps of all envs together in `counted[0]`."""
    from isaaclab.envs import ManagerBasedRLEnv

    step = ManagerBasedRLEnv.step

    def counting(env, action):
        counted[0] += 1
        return step(env, action)

    ManagerBasedRLEnv.step = counting
    try:
        yield
    finally:
        ManagerBasedRLEnv.step = step


def _isaac_lab(options: argparse.Namespace) -> dict[str, Any]:
    """As its script does it: queues, one coroutine an env, its recorder, its file."""
    from mimicctl.envs.isaaclab import versions
    from mimicctl.tasks.spec import IsaacLab

    how = IsaacLab(options.task, options.physics, options.device)
    versions.start_app(how)
    import gymnasium
    import isaaclab_mimic.envs  # noqa: F401  registers the environments
    import numpy as np
    import torch
    from isaaclab_mimic.datagen import generation
    from isaaclab_tasks.utils import parse_cfg

    config = versions.parse_config(options.task, how, options.num_envs)
    # `setup_env_config` makes the config itself and takes no physics.
    parse_cfg.parse_env_cfg = lambda *args, **kwargs: config
    torch.set_num_threads(1)
    clock, steps = _Clock(), [0]
    with tempfile.TemporaryDirectory() as folder:
        config, success = generation.setup_env_config(options.task, folder, "generated", options.num_envs, options.device, options.attempts)
        config.datagen_config.generation_guarantee = False
        for subtask in (subtask for subtasks in config.subtask_configs.values() for subtask in subtasks if options.noise is not None):
            subtask.action_noise = options.noise
        with versions.simulation(config, how):
            env = gymnasium.make(options.task, cfg=config).unwrapped
            random.seed(options.seed)
            np.random.seed(options.seed)
            torch.manual_seed(options.seed)
            env.reset(seed=options.seed)
            asyncio.set_event_loop(loop := asyncio.new_event_loop())
            made = generation.setup_async_generation(env, options.num_envs, str(options.input_file), success)
            tasks = asyncio.gather(*made["tasks"])
            clock.start()
            with _steps_counted(steps):
                generation.env_loop(env, made["reset_queue"], made["action_queue"], made["info_pool"], loop, tasks)
            spent = clock.stop()
            tasks.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(tasks)
            env.close()
    return {"attempts": generation.num_attempts, "successes": generation.num_success, "env_steps": steps[0], **spent}


def _mimicctl(options: argparse.Namespace) -> dict[str, Any]:
    """What `mimicctl generate --no-guarantee` does."""
    from mimicctl.config import GenerateSettings
    from mimicctl.generation.engine import generate
    from mimicctl.tasks import IsaacLab, find_task, run_isaaclab

    run_isaaclab(IsaacLab("", options.physics, options.device))
    clock, steps = _Clock(), [0]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        task = find_task(options.task)
        noise = {} if options.noise is None else {"action_noise": options.noise, "contact_noise": options.noise / 4}
        if options.run == "same-noise":
            noise["contact_noise"] = None
        settings = GenerateSettings(
            trials=options.attempts,
            guarantee=False,
            workers=1,
            num_envs=options.num_envs,
            output_file=str(Path(folder) / "generated.hdf5"),
            subtasks={eef: [noise] * len(subtasks) for eef, subtasks in task.subtasks.items()},
        )
        stack.enter_context(_steps_counted(steps))

        def on_progress(attempts: int, successes: int) -> None:
            if not attempts:  # all is loaded and running
                clock.start()

        made = generate(options.task, options.seed, settings, options.input_file, on_progress=on_progress)
        spent = clock.stop()
    return {"attempts": made.report.attempts, "successes": made.demos, "env_steps": steps[0], **spent}


if __name__ == "__main__":
    main()
