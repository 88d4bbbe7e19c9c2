"""How often each task succeeds: by the scripted operator, in generation, and by a policy. One row a task.

python benchmarks/tasks.py                                             # the table of what has been measured, and what has not
python benchmarks/tasks.py --parts scripted generate                   # measure what is missing of these parts, of all tasks
python benchmarks/tasks.py --tasks MuJoCo-Lift-Cube-Franka-IK-Rel-v0 --parts scripted generate policy

scripted: the operator of `record --device scripted`. generate: attempts from the demonstrations that come with the task, or else from ten that this operator
recorded. policy: `train` on demonstrations generated from these with another seed, and its last checkpoint rolled out; of a task with cameras from images of
48 x 48 pixels. A part that is finished is a JSON file in --folder and not done again, unless the task has changed or --again is given; what is under way, in its
subfolder work, is gone on with.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from mimicctl.authoring.attempts import attempts_of_operator
from mimicctl.envs import make_env
from mimicctl.errors import UserError
from mimicctl.statistics import wilson_interval
from mimicctl.tasks import TaskSpec, find_task, list_tasks
from mimicctl.tasks.fingerprint import fingerprint

SEED = 2026  # Of scripted attempts and of generation; nothing was tuned on it.
LEARNT_FROM = 41  # Of the demonstrations that policies are trained on.
STARTS = 4100  # Of the start states that policies are rolled out on, and nothing else is.
FOLDER = Path(__file__).parent / "measured"


class NotRun(Exception):
    """A part could not be measured; says why."""


def scripted(task: TaskSpec, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Attempts of the scripted operator at its normal pace."""
    try:
        with closing(make_env(task)) as env:
            attempts = attempts_of_operator(env, options.resets, SEED)
    except UserError as error:
        raise NotRun(error.what) from None
    steps = sorted(len(attempt.episode.actions) for attempt in attempts)
    return {"successes": sum(attempt.saved for attempt in attempts), "trials": len(attempts), "median_steps": steps[len(steps) // 2]}


def generate(task: TaskSpec, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Attempts of `mimicctl generate`, with the time they took, starting up included."""
    sources = _sources(task, work)
    began, cpu = time.perf_counter(), _cpu_of_children()
    flags = ["--no-guarantee", "--trials", str(options.attempts), "--seed", str(SEED), "--output-file", "attempts.hdf5", "--overwrite"]
    made = _mimicctl(work, "generate", "--task", task.task_id, *_how_to_generate(task), *flags)
    seconds, cpu = time.perf_counter() - began, _cpu_of_children() - cpu
    (work / "attempts.hdf5").unlink()
    return {
        "successes": made["successes"],
        "trials": made["attempts"],
        "mean_steps": round(made["steps"] / made["attempts"]),
        "demos_per_hour": round(3600 * made["successes"] / seconds),
        "cpu_seconds_per_demo": round(cpu / max(made["successes"], 1), 3),
        "sources": sources,
        "failures": made["failures"],
    }


def policy(task: TaskSpec, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Rollouts of the last checkpoint, which is settled beforehand: the best of several would flatter."""
    _sources(task, work)
    demos, run = work / f"learnt_from_{options.demos}.hdf5", work / "runs" / f"{options.recipe}_{options.demos}_{options.epochs or 'all'}"
    if not demos.exists():
        again = ["--resume"] if list(work.glob(f"{demos.stem}*")) else []
        _mimicctl(work, "generate", "--task", task.task_id, *_how_to_generate(task), "--trials", str(options.demos), "--seed", str(LEARNT_FROM), "--output-file", demos.name, *again)  # fmt: skip
    again, shorter = ["--resume"] if run.exists() else [], ["--epochs", str(options.epochs)] if options.epochs else []
    _mimicctl(work, "train", "--dataset", demos.name, "--recipe", options.recipe, "--name", run.name, "--seed", "1", *shorter, *again)
    recipe = json.loads((run / "lineage.json").read_text())["recipe"]
    checkpoint = run / "models" / f"model_epoch_{recipe['epochs']}.pth"
    asked = ["--task", task.task_id, "--checkpoint", str(checkpoint), "--rollouts", str(options.rollouts), "--seed", str(STARTS)]
    played = _mimicctl(work, "eval", "play", *asked)["checkpoints"][0]
    with open(run / "losses.csv") as losses:
        seconds = sum(float(line.rsplit(",", 1)[1]) for line in losses.readlines()[1:])
    stuck = {name: count for name, count in played["failures"].items() if count}
    trained = {"recipe": recipe["name"], "demos": options.demos, "epochs": recipe["epochs"], "training_seconds": round(seconds)}
    return {"successes": played["successes"], "trials": played["rollouts"], **trained, "stuck_in": stuck}


PARTS = {"scripted": scripted, "generate": generate, "policy": policy}


def _sources(task: TaskSpec, work: Path) -> str:
    """What is generated from, for people. Demonstrations are recorded and annotated where `generate` looks first, unless some come with the task."""
    if task.source_demos:
        return "with the task"
    if not (work / "datasets" / "annotated.hdf5").exists():
        _mimicctl(work, "record", "--task", task.sources_of or task.task_id, "--device", "scripted", "--seed", "0", "--overwrite")
        _mimicctl(work, "annotate", "--overwrite")
    return "ten recorded"


def _how_to_generate(task: TaskSpec) -> list[str]:
    """Flags without which a task is not what it is meant to be: ways round obstacles are planned; images are as small as a CPU learns from."""
    return [*(["--use-skillgen"] if task.obstacles and task.names_starts else []), *(["--rendering-mode", "performance", "-orender.image_size=48"] if task.cameras else [])]


def _mimicctl(work: Path, *command: str) -> dict[str, Any]:
    """A command in a process of its own, and its JSON.

    Raises:
        NotRun: it failed.
    """
    with tempfile.TemporaryFile("w+") as printed:
        said, call = [], [sys.executable, "-m", "mimicctl", *command, "--json"]
        with subprocess.Popen(call, cwd=work, stdout=printed, stderr=subprocess.PIPE, text=True) as process:
            for line in process.stderr:
                said.append(line.strip())
                print("   ", said[-1], file=sys.stderr, flush=True)
        if process.returncode:
            raise NotRun("; ".join(line for line in said if line.startswith(("mimicctl", "in ", "do "))) or (said or ["it said nothing"])[-1])
        printed.seek(0)
        return json.load(printed)


def _cpu_of_children() -> float:
    """[s] Of processes that have ended, their own children included."""
    return sum(os.times()[2:4])


def version_of(task: TaskSpec) -> str:
    """Changes with anything in a task that what is measured depends on."""
    parts = [fingerprint(task), *(repr(part) for part in (task.subtasks, task.constraints, task.generation))]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def file_of(folder: Path, task: TaskSpec, part: str, recipe: str) -> Path:
    return folder / task.task_id / (f"{part}-{recipe}.json" if part == "policy" and recipe != "auto" else f"{part}.json")


def measured(folder: Path, task: TaskSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Finished parts of a task, by file name, but for those measured before it changed."""
    for path in sorted((folder / task.task_id).glob("*.json")):
        result = json.loads(path.read_text())
        if result["task_version"] == version_of(task):
            yield path.stem, result


def measure(folder: Path, task: TaskSpec, part: str, options: argparse.Namespace) -> None:
    """Do one part and keep what it found."""
    path = file_of(folder, task, part, options.recipe)
    work = path.parent / "work" / version_of(task)
    work.mkdir(parents=True, exist_ok=True)
    result = PARTS[part](task, options, work)
    result |= {"cores": os.cpu_count(), "machine": platform.machine(), "task_version": version_of(task)}
    unfinished = path.with_suffix(".partial")
    unfinished.write_text(json.dumps(result, indent=1) + "\n")
    unfinished.replace(path)


def rate(result: dict[str, Any]) -> str:
    """For instance "97.0 % (194 of 200; 93.6 to 98.6)"."""
    successes, trials = result["successes"], result["trials"]
    low, high = wilson_interval(successes, trials)
    return f"{100 * successes / trials:.1f} % ({successes} of {trials}; {100 * low:.1f} to {100 * high:.1f})"


def in_words(result: dict[str, Any]) -> str:
    """A policy: how it was trained, and its rate."""
    return f"`{result['recipe']}`, {result['demos']} demos, {result['epochs']} epochs: {rate(result)}"


def table(folder: Path, tasks: Iterable[TaskSpec]) -> Iterator[str]:
    """Lines of Markdown: a row for each task of which anything is measured, and then what is not."""
    yield "| task | scripted (95 % interval) | generated | demos/h | CPU-s a demo | policy |"
    yield "|---|---|---|---|---|---|"
    missing: dict[str, list[str]] = {part: [] for part in PARTS}
    for task in tasks:
        results = dict(measured(folder, task))
        policies = [result for name, result in results.items() if name.split("-")[0] == "policy"]
        for part, there in zip(PARTS, ("scripted" in results, "generate" in results, bool(policies)), strict=True):
            missing[part] += [] if there else [task.task_id]
        if not results:
            continue
        made = results.get("generate")
        cells = [
            f"`{task.task_id}`",
            rate(results["scripted"]) if "scripted" in results else "-",
            rate(made) if made else "-",
            f"{made['demos_per_hour']:,}".replace(",", " ") if made and "demos_per_hour" in made else "-",
            f"{made['cpu_seconds_per_demo']:.2f}" if made and "cpu_seconds_per_demo" in made else "-",
            "<br>".join(map(in_words, policies)) or "-",
        ]
        yield f"| {' | '.join(cells)} |"
    for part, ids in missing.items():
        if ids:
            yield f"\nNot measured, {part}: {', '.join(f'`{task_id}`' for task_id in ids)}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", metavar="ID", help="these only")
    parser.add_argument("--parts", nargs="+", default=[], choices=tuple(PARTS), help="measure what is missing of these; none: only print the table")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where finished parts are kept (benchmarks/measured)")
    parser.add_argument("--again", action="store_true", help="measure what is there, too")
    parser.add_argument("--resets", type=int, default=100, help="attempts of the scripted operator (100)")
    parser.add_argument("--attempts", type=int, default=200, help="attempts of generation (200)")
    parser.add_argument("--demos", type=int, default=1000, help="that policies are trained on (1000)")
    parser.add_argument("--recipe", default="auto", help="that policies are trained with; auto: the task's own")
    parser.add_argument("--epochs", type=int, help="that they are trained for; as many as the recipe says unless given")
    parser.add_argument("--rollouts", type=int, default=100, help="of a policy (100)")
    options = parser.parse_args()
    tasks = [find_task(task_id) for task_id in options.tasks] if options.tasks else list(list_tasks())
    failed = []
    for task in tasks:
        for part in options.parts:
            path = file_of(options.folder, task, part, options.recipe)
            if path.stem in dict(measured(options.folder, task)) and not options.again:
                continue
            print(f"{task.task_id}, {part} ...", file=sys.stderr, flush=True)
            try:
                measure(options.folder.absolute(), task, part, options)
            except NotRun as reason:
                failed.append(f"{task.task_id}, {part}: {reason}")
                print(f"  not run: {reason}", file=sys.stderr, flush=True)
    print(*table(options.folder, tasks), sep="\n")
    print(*(f"\nFailed: {text}" for text in failed), sep="\n", end="\n" if failed else "")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
