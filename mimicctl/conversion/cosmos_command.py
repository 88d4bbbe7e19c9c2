"""What is run to augment one demo: the user's checkout of Cosmos Transfer, or a command of the user's own."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import string
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mimicctl.errors import UserError

_PLACEHOLDERS = ("spec", "video", "output", "demo", "gpu")
_SCRIPTS = {"transfer1": "cosmos_transfer1/diffusion/inference/transfer.py", "transfer2.5": "examples/inference.py"}


@dataclass(frozen=True)
class Task:
    """One demo to augment.

    Attributes:
        spec: its control spec.
        model: the release of Cosmos Transfer that the spec is for.
        video: the colours that go in.
        folder: for whatever the command writes; empty.
    """

    demo: str
    spec: Path
    model: str
    video: Path
    folder: Path


@dataclass(frozen=True)
class Command:
    """A process to start, and the video that it is to leave behind."""

    arguments: list[str]
    result: Path
    folder: Path | None
    environ: Mapping[str, str]


MakeCommand = Callable[[Task, tuple[str, ...]], Command]
"""From a task and the GPUs that it may use."""


def from_template(template: str) -> MakeCommand:
    """A command line of the user's own. It runs in the working folder, without a shell.

    Raises:
        UserError: it cannot be split into words, names an unknown placeholder, or says nowhere what goes in and out.
    """
    try:
        words = shlex.split(template)
        named = {field for word in words for _, field, _, _ in string.Formatter().parse(word) if field is not None}
    except ValueError as error:
        raise UserError(f"The command cannot be understood: {error}.", where=template, do="double braces that are meant as such: {{ }}") from None
    known = ", ".join(f"{{{name}}}" for name in _PLACEHOLDERS)
    if unknown := sorted(named - set(_PLACEHOLDERS)):
        raise UserError(f'The command has the unknown placeholder "{{{unknown[0]}}}".', where=template, do=f"there are {known}")
    if "output" not in named or not named & {"spec", "video"}:
        raise UserError(
            "The command must say where the result goes, {output}, and what it is made from, {spec} or {video}.", where=template, do=f"there are {known}"
        )
    if not shutil.which(words[0]):
        raise UserError(f'There is no program "{words[0]}".', where=template, do="give its path")

    def make(task: Task, gpus: tuple[str, ...]) -> Command:
        result = task.folder / "output.mp4"
        values = {"spec": task.spec, "video": task.video, "output": result, "demo": task.demo, "gpu": ",".join(gpus)}
        return Command([word.format(**values) for word in words], result, None, {})

    return make


def from_checkout(checkout: Path, checkpoint_dir: str, model: str) -> MakeCommand:
    """The inference script of a Cosmos Transfer repository, as its own documentation runs it.

    Raises:
        UserError: the folder is not a checkout of that release, or torchrun is not found.
    """
    checkout = checkout.expanduser().absolute()
    if not (checkout / _SCRIPTS[model]).is_file():
        raise UserError(f"This is no checkout of Cosmos {model.capitalize()}: {_SCRIPTS[model]} is missing.", where=str(checkout), do="check --checkout")
    torchrun = next((str(p) for p in (checkout / ".venv/bin/torchrun",) if p.is_file()), None) or shutil.which("torchrun")
    if torchrun is None:
        raise UserError("torchrun is not found.", where="PATH", do="activate the environment that Cosmos is installed in")
    checkpoints = Path(checkpoint_dir).expanduser().absolute() if checkpoint_dir else checkout / "checkpoints"
    if model == "transfer1" and not checkpoints.is_dir():
        raise UserError("There is no folder of checkpoints.", where=str(checkpoints), do="download them, or give --checkpoint-dir")

    def make(task: Task, gpus: tuple[str, ...]) -> Command:
        # Each of several jobs at once needs a port of its own.
        start = [torchrun, f"--nproc_per_node={len(gpus)}", "--nnodes=1", "--node_rank=0", f"--master_port={_free_port()}"]
        if model == "transfer1":
            script = [_SCRIPTS[model], "--checkpoint_dir", str(checkpoints), "--video_save_folder", str(task.folder), "--video_save_name", "output"]
            script += ["--controlnet_specs", str(task.spec), "--offload_text_encoder_model", "--offload_guardrail_models", "--num_gpus", str(len(gpus))]
            return Command([*start, *script], task.folder / "output.mp4", checkout, {"PYTHONPATH": str(checkout)})
        script = ["-m", "examples.inference", "-i", str(task.spec), "-o", str(task.folder)]
        return Command([*start, *script], task.folder / f"{task.demo}.mp4", checkout, {"PYTHONPATH": str(checkout)})

    return make


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def gpu_groups(wanted: str, per_job: int, *, needed: bool) -> list[tuple[str, ...]]:
    """GPUs for each job that runs at the same time. One empty group where there are none and none are needed.

    Args:
        wanted: as in "0,1,2"; "": those of CUDA_VISIBLE_DEVICES, else all of the machine.

    Raises:
        UserError: there are none, or they cannot be shared out evenly.
    """
    gpus = [gpu.strip() for gpu in wanted.split(",") if gpu.strip()] or _visible_gpus()
    if len(set(gpus)) < len(gpus):
        raise UserError("A GPU is named twice.", where=f"--gpus {wanted}", do="name each once")
    if not gpus and not needed:
        return [()]
    if not gpus:
        raise UserError("There is no GPU to run Cosmos on.", where="nvidia-smi", do="name them with --gpus, or give a --command that needs none")
    if len(gpus) % per_job:
        raise UserError(f"{len(gpus)} GPUs cannot be shared out in groups of {per_job}.", where="--gpus-per-job", do="name with --gpus those to use")
    return [tuple(gpus[i : i + per_job]) for i in range(0, len(gpus), per_job)]


def _visible_gpus() -> list[str]:
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [gpu.strip() for gpu in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if gpu.strip()]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(i) for i, _ in enumerate(line for line in listed.splitlines() if line.startswith("GPU "))]
