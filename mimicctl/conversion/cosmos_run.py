"""Augmenting all demos: one process a demo, one at a time on each group of GPUs. What comes out is checked before it counts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimicctl.conversion.cosmos_command import Command, MakeCommand, Task
from mimicctl.conversion.names import in_natural_order, parse_video_name, video_name
from mimicctl.dataset.committed_file import write_lock
from mimicctl.dataset.reader import file_sha256
from mimicctl.errors import RunFailed, UserError, listed
from mimicctl.processes import ended_with_this
from mimicctl.video import probe

LEDGER = "cosmos_run.jsonl"
"""In the output folder: one JSON line for each video that was made."""

_POLL = 0.05
_GRACE = 10.0  # seconds that a process has to end by itself
_HOPELESS = 3  # this many failures, and no success: it is not the demos' fault


@dataclass(frozen=True)
class Job:
    """A demo to augment, where the result goes, and what it is made from."""

    task: Task
    output: Path
    frames: int
    spec_sha256: str
    input_sha256: str


@dataclass
class AugmentationReport:
    """What a run did. `failed` has a reason for each demo that has no video."""

    folder: Path
    kept: list[str]
    made: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass
class _Running:
    job: Job
    command: Command
    gpus: tuple[str, ...]
    process: subprocess.Popen
    began: float


def run_cosmos(
    specs_dir: str | Path,
    output_dir: str | Path,
    make_command: Callable[[str], MakeCommand],
    groups: Sequence[tuple[str, ...]],
    *,
    camera: str = "table_cam",
    resume: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[int, int, int], None] = lambda made, failed, total: None,
) -> AugmentationReport:
    """Make `<demo>_<camera>.mp4` for each control spec. A demo that fails does not keep the others from being made.

    Args:
        make_command: from the release of Cosmos Transfer that the specs are for, what to run.
        groups: GPUs of each job that may run at the same time.

    Raises:
        UserError: specs or their videos are missing, or there are results already. Nothing was started.
        RunFailed: demos failed; the message says which and why. The others are made.
    """
    folder = Path(output_dir).expanduser().absolute()
    jobs = load_jobs(Path(specs_dir).expanduser().absolute(), folder, camera)
    kept = _kept(jobs, folder, resume=resume, overwrite=overwrite)
    build = make_command(jobs[0].task.model)
    report = AugmentationReport(folder, [job.task.demo for job in kept])
    todo = [job for job in jobs if job not in kept]
    folder.mkdir(parents=True, exist_ok=True)
    with write_lock(folder / LEDGER):
        _run_all(todo, build, groups, report, lambda: on_progress(len(kept) + len(report.made), len(report.failed), len(jobs)))
    if report.failed:
        what = f"{len(report.failed)} of {len(jobs)} demos could not be augmented."
        skipped = len(todo) - len(report.made) - len(report.failed)
        if skipped:
            what = f"The first {len(report.failed)} demos all failed, so the other {skipped} were not tried."
        raise RunFailed(what, where=listed([f"{demo}: {why}" for demo, why in report.failed.items()]), do="--resume tries them again")
    return report


# What there is to do ------------------------------------------------------------------------------------


def load_jobs(specs_dir: Path, folder: Path, camera: str) -> list[Job]:
    """One job for each spec, in natural order.

    Raises:
        UserError: there are none, or some are unusable; all of them are listed.
    """
    specs = [path for path in in_natural_order(specs_dir.glob("demo_*.json")) if (named := parse_video_name(path)) and not named[1]]
    if not specs:
        raise UserError("There are no control specs, demo_<number>.json, here.", where=str(specs_dir), do="mimicctl cosmos specs writes them")
    jobs = [_job(spec, folder, camera) for spec in specs]
    if problems := [job for job in jobs if isinstance(job, str)]:
        raise UserError("Control specs cannot be used; nothing was started.", where=listed(problems), do="mimicctl cosmos specs --overwrite writes them again")
    whole = [job for job in jobs if isinstance(job, Job)]
    if len({job.task.model for job in whole}) > 1:
        do = "mimicctl cosmos specs --overwrite writes them for one"
        raise UserError("The specs are for different releases of Cosmos Transfer.", where=str(specs_dir), do=do)
    return whole


def _job(spec: Path, folder: Path, camera: str) -> Job | str:
    """The job, or what is wrong with the spec."""
    try:
        text = spec.read_bytes()
        content = json.loads(text)
        model = "transfer1" if "input_video_path" in content else "transfer2.5"
        video = spec.parent / content["input_video_path" if model == "transfer1" else "video_path"]
    except (OSError, ValueError, TypeError, KeyError):
        return f"{spec}: not a control spec"
    if model == "transfer1" and not Path(content["input_video_path"]).is_absolute():
        return f"{spec}: its paths must be absolute, since Transfer1 runs in another folder"
    try:
        frames = probe(video).frames
    except UserError:
        return f"{spec}: its video {video} {'is missing' if not video.exists() else 'cannot be read'}"
    task = Task(spec.stem, spec, model, video, folder / ".work" / spec.stem)
    return Job(task, folder / video_name(spec.stem, camera), frames, hashlib.sha256(text).hexdigest(), file_sha256(video))


def _kept(jobs: Sequence[Job], folder: Path, *, resume: bool, overwrite: bool) -> list[Job]:
    """Jobs whose results are there."""
    present = [job for job in jobs if job.output.exists()]
    if overwrite or not present:
        return []
    if not resume:
        do = "--resume makes those that are missing, --overwrite replaces them"
        raise UserError(f"{len(present)} of {len(jobs)} augmented videos exist already.", where=str(present[0].output), do=do)
    ledger = _read_ledger(folder / LEDGER)
    strangers = [f"{job.output}: {why}" for job in present if (why := _strange(job, ledger.get(job.task.demo)))]
    if strangers:
        raise UserError("Videos are there that were made otherwise.", where=listed(strangers), do="--overwrite replaces them, or choose another --output-dir")
    return present


def _strange(job: Job, entry: Mapping[str, Any] | None) -> str:
    """Why a video that is there is not the result of the job; "" if it is."""
    if entry is None or entry.get("video_sha256") != file_sha256(job.output):
        return "not made by mimicctl cosmos run, or changed since"
    if entry.get("spec_sha256") != job.spec_sha256:
        return "made with another control spec"
    return "" if entry.get("input_sha256") == job.input_sha256 else "made from another video"


def _read_ledger(path: Path) -> dict[str, dict[str, Any]]:
    """Demo to its last line. A line that a kill cut short tells of nothing."""
    entries = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
            entries[entry["demo"]] = entry
        except (ValueError, TypeError, KeyError):
            continue
    return entries


# Doing it -----------------------------------------------------------------------------------------------


def _run_all(jobs: Sequence[Job], build: MakeCommand, groups: Sequence[tuple[str, ...]], report: AugmentationReport, on_change: Callable[[], None]) -> None:
    waiting, free = list(reversed(jobs)), list(reversed(groups))
    on_change()
    with _ended_at_last() as running:
        while running or (waiting and not _is_hopeless(report)):
            while waiting and free and not _is_hopeless(report):
                running.append(_start(waiting.pop(), build, free.pop()))
            time.sleep(_POLL)
            for work in [work for work in running if work.process.poll() is not None]:
                running.remove(work)
                free.append(work.gpus)
                _finish(work, report)
            on_change()
    shutil.rmtree(report.folder / ".work", ignore_errors=True)


def _is_hopeless(report: AugmentationReport) -> bool:
    return not report.made and len(report.failed) >= _HOPELESS


@contextmanager
def _ended_at_last() -> Iterator[list[_Running]]:
    """Processes put into the list are ended with the block, however it ends, and all that they started with them."""
    running: list[_Running] = []
    try:
        yield running
    finally:
        for work in running:
            _signal_group(work.process, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        for work in running:
            try:
                work.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal_group(work.process, signal.SIGKILL)
                work.process.wait()


def _signal_group(process: subprocess.Popen, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _start(job: Job, build: MakeCommand, gpus: tuple[str, ...]) -> _Running:
    shutil.rmtree(job.task.folder, ignore_errors=True)
    job.task.folder.mkdir(parents=True)
    log = _log_path(job)
    log.parent.mkdir(exist_ok=True)
    command = build(job.task, gpus)
    environ = {**os.environ, **command.environ} | ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command.arguments,
            cwd=command.folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=ended_with_this(),
        )
    return _Running(job, command, gpus, process, time.monotonic())


def _log_path(job: Job) -> Path:
    return job.output.parent / "logs" / f"{job.task.demo}.log"


def _finish(work: _Running, report: AugmentationReport) -> None:
    job, demo = work.job, work.job.task.demo
    if why := _why_failed(work):
        report.failed[demo] = f"{why} (log: {_log_path(job)})"
        return
    entry = {
        "demo": demo,
        "video": job.output.name,
        "video_sha256": file_sha256(work.command.result),
        "frames": job.frames,
        "spec_sha256": job.spec_sha256,
        "input": str(job.task.video),
        "input_sha256": job.input_sha256,
        "command": work.command.arguments,
        "gpus": list(work.gpus),
        "seconds": round(time.monotonic() - work.began, 1),
    }
    # The line first: a video without one would not be trusted after a kill.
    with open(job.output.parent / LEDGER, "a", encoding="utf-8") as ledger:
        ledger.write(json.dumps(entry) + "\n")
    os.replace(work.command.result, job.output)
    shutil.rmtree(job.task.folder, ignore_errors=True)
    report.made.append(demo)


def _why_failed(work: _Running) -> str:
    """What is wrong with a job that has ended; "" if nothing is."""
    code, result = work.process.returncode, work.command.result
    if code:
        last = _last_line(_log_path(work.job))
        ended = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"ended with {ended}{': ' + last if last else ''}"
    if not result.exists():
        return f"ended without writing {result.name}"
    try:
        frames = probe(result).frames
    except UserError:
        return f"{result.name} is not a readable video"
    return "" if frames == work.job.frames else f"the result has {frames} frames, and its input {work.job.frames}"


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip()[:160] for line in reversed(lines) if line.strip()), "")
