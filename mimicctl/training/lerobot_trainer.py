"""Training by LeRobot: its policies, its loop, on a dataset of ours that is converted for it. What is ours of a run: its folder, and the word where it came from."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mimicctl
from mimicctl.config import TrainSettings
from mimicctl.conversion.lerobot.folder import INFO, LeRobotFolder
from mimicctl.conversion.lerobot.sidecar import Sidecar
from mimicctl.conversion.lerobot.to_lerobot import to_lerobot
from mimicctl.dataset.reader import json_object
from mimicctl.errors import RunFailed, UserError
from mimicctl.processes import ended_with_this
from mimicctl.provenance.checkpoints import BESIDE, refuse_tainted
from mimicctl.schema import FORMAT_VERSION, LINEAGE_ATTR
from mimicctl.settings import LeRobotSettings

INSTALL = 'pip install "mimicctl[lerobot]" "lerobot[training,diffusion]==0.6.1", on Python 3.12 or later'
FACTS = BESIDE
"""Beside the weights of each checkpoint: the task, which observations the policy is given, and the demonstrations that it was trained on."""

_MODEL = "pretrained_model"
_LOG = "train.log"
_SHOWN = re.compile(r"\bstep:\S+ .*?\bloss:(\S+)")
_LAST_LINES = 5


@dataclass(frozen=True)
class TrainedByLeRobot:
    """What a run left behind.

    Attributes:
        checkpoints: folders of weights, in order of steps.
        losses: as LeRobot logged them.
    """

    folder: Path
    checkpoints: tuple[Path, ...]
    losses: tuple[float, ...]


def train_with_lerobot(
    data: Path,
    algo: str,
    settings: TrainSettings,
    lerobot: LeRobotSettings,
    seed: int,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_converted: Callable[[int, int], None] = lambda done, total: None,
    on_loss: Callable[[int, float], None] = lambda step, loss: None,
) -> TrainedByLeRobot:
    """Train a policy of LeRobot's in `<log_dir>/<name>`.

    Args:
        data: an HDF5 dataset, which is converted into the run folder but for discarded demos, or a LeRobot dataset.
        algo: LeRobot's name of the policy.
        on_loss: called with the step and the loss whenever LeRobot logs them.

    Raises:
        UserError: lerobot is not installed, the data do not suit it, or there is a run of that name. Nothing was trained.
        RunFailed: LeRobot gave up; its last words are in the message, all of them in the log.
    """
    _require_lerobot()
    folder = Path(settings.log_dir).absolute() / (settings.name or algo)
    output = folder / "lerobot"
    if output.exists() and not (resume or overwrite):
        raise UserError("There is a run of that name.", where=str(folder), do="--resume continues it, --overwrite replaces it, --name makes another")
    last = output / "checkpoints" / "last" / _MODEL / "train_config.json"
    goes_on = resume and last.is_file()
    if goes_on:
        refuse_tainted(checkpoints_in(folder))
    dataset = data if (data / INFO).is_file() else _converted(data, folder / "dataset", lerobot, resume=resume, on_progress=on_converted)
    facts = _facts(dataset, data, algo, settings, lerobot, seed)
    if not goes_on:
        shutil.rmtree(output, ignore_errors=True)
        for name in (_LOG, "evaluation.json", "evaluation.png"):
            (folder / name).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lineage.json").write_text(json.dumps(facts, indent=1))
    command = [sys.executable, "-m", "lerobot.scripts.lerobot_train"]
    if goes_on:
        # Where a run is it keeps in its config; it may have been moved since.
        command += [f"--config_path={last}", "--resume=true", f"--output_dir={output}", f"--dataset.root={dataset}"]
        command += [f"--steps={lerobot.steps}"] if lerobot.steps else []
    else:
        command += _options(dataset, output, algo, settings, lerobot, seed)
    losses = _run(command, folder / _LOG, lerobot.log_every, on_loss)
    checkpoints = checkpoints_in(folder)
    if not checkpoints:
        raise RunFailed("LeRobot ended without a checkpoint.", where=str(folder / _LOG))
    for checkpoint in checkpoints:
        (checkpoint / FACTS).write_text(json.dumps(facts, indent=1))
    return TrainedByLeRobot(folder, tuple(checkpoints), tuple(losses))


def checkpoints_in(folder: Path) -> list[Path]:
    """Weights that LeRobot saved in a run folder, in order of steps."""
    found = [path for path in folder.glob(f"lerobot/checkpoints/*/{_MODEL}") if path.parent.name.isdigit() and is_checkpoint(path)]
    return sorted(found, key=lambda path: int(path.parent.name))


def is_checkpoint(path: Path) -> bool:
    """Whether it is a folder of LeRobot's with a policy's weights and config."""
    return (path / "config.json").is_file() and (path / "model.safetensors").is_file()


def _require_lerobot() -> None:
    missing = [name for name in ("lerobot", "torch", "accelerate", "datasets") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"Training by LeRobot needs packages that are not installed: {', '.join(missing)}.", where="this Python", do=INSTALL)


def _converted(data: Path, folder: Path, lerobot: LeRobotSettings, *, resume: bool, on_progress: Callable[[int, int], None]) -> Path:
    return to_lerobot(
        data,
        folder,
        fps=lerobot.fps,
        state_keys=lerobot.state_keys,
        environment_keys=lerobot.environment_keys,
        cameras=lerobot.cameras,
        instruction=lerobot.instruction,
        discarded=False,
        resume=resume,
        overwrite=not resume,
        on_progress=on_progress,
    ).folder


def _facts(dataset: Path, data: Path, algo: str, settings: TrainSettings, lerobot: LeRobotSettings, seed: int) -> dict[str, Any]:
    """What is known of the run: its data and their lineage, what the policy observes, and how to train it again.

    Args:
        dataset: LeRobot's.
        data: what it was converted from, or itself.
    """
    folder = LeRobotFolder(dataset)
    with Sidecar(dataset) as sidecar:
        layout = {name: parts for name, parts in sidecar.features().items() if name != "format"}
        said = [source["data"].attrs for source in sidecar.sources]
        env_args = json_object(said[0].get("env_args")) if said else {}
        inputs = [{"lineage": json_object(attributes.get(LINEAGE_ATTR))} for attributes in said]
        origins = sidecar.origins(len(folder.episodes))
    if not layout:
        what = "The dataset was not converted by mimicctl, and does not say which observations its features are made of."
        raise UserError(what, where=str(dataset), do="train on it with lerobot-train; or convert it (mimicctl convert lerobot-to-hdf5), then train on that")
    known = all(origin is not None and origin.sha256 for origin in origins)
    demos = {"demos": {"train": [origin.sha256 for origin in origins if origin], "valid": []}} if known else {}
    lineage = inputs[0]["lineage"] if len(inputs) == 1 else {"inputs": inputs}
    return {
        "made_by": "mimicctl train",
        "version": mimicctl.__version__,
        "format_version": FORMAT_VERSION,
        "algo": algo,
        "seed": seed,
        "env_args": env_args,
        "observed": layout,
        "dataset": {"file": str(dataset), "from": str(data.absolute()), "episodes": len(folder.episodes), "lineage": lineage, **demos},
        "settings": {"steps": lerobot.steps, "options": lerobot.options, "batch_size": settings.batch_size, "learning_rate": settings.learning_rate}
        | {"save_every": settings.save_every},
    }


def _options(dataset: Path, output: Path, algo: str, settings: TrainSettings, lerobot: LeRobotSettings, seed: int) -> list[str]:
    """LeRobot's, of which the user's own come last and win."""
    options: dict[str, Any] = {
        "dataset.repo_id": f"local/{dataset.name}",
        "dataset.root": dataset,
        "dataset.video_backend": "pyav",
        "policy.type": algo,
        "policy.push_to_hub": "false",
        "wandb.enable": "false",
        "output_dir": output,
        "seed": seed,
        "log_freq": lerobot.log_every,
        "policy.device": _device(settings.device),
    }
    given = {
        "batch_size": settings.batch_size,
        "steps": lerobot.steps,
        "save_freq": settings.save_every,
        "policy.optimizer_lr": settings.learning_rate,
        # Spawned loaders load torch anew, each of them; a core or two are better used by the network.
        "num_workers": 0 if (os.cpu_count() or 1) <= 2 else None,
    }
    options |= {name: value for name, value in given.items() if value is not None}
    options |= dict(_split(option) for option in lerobot.options)
    return [f"--{name}={value}" for name, value in options.items()]


def _device(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _split(option: str) -> tuple[str, str]:
    name, equals, value = option.removeprefix("--").partition("=")
    if not equals:
        raise UserError(f'"{option}" is no option with a value.', where="--lerobot", do="give it as in --lerobot policy.dim_model=256")
    return name, value


def _run(command: Sequence[str], log: Path, every: int, on_loss: Callable[[int, float], None]) -> list[float]:
    """Losses that LeRobot logs. It is ended with this block, and with this process however that ends.

    Raises:
        RunFailed: it ended with an error.
    """
    losses: list[float] = []
    with open(log, "a", encoding="utf-8") as kept:
        process = subprocess.Popen(
            command, env=_environ(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True, preexec_fn=ended_with_this(),
        )  # fmt: skip
        try:
            for line in process.stdout:
                kept.write(line)
                kept.flush()
                if shown := _SHOWN.search(line):
                    losses.append(float(shown[1]))
                    on_loss(len(losses) * every, losses[-1])
            code = process.wait()
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                process.wait()
    if code:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        text = "\n      ".join(lines[-_LAST_LINES:])
        do = "without a network give --lerobot policy.pretrained_backbone_weights=null" if "URLError" in text or "download.pytorch.org" in text else ""
        raise RunFailed(
            f"LeRobot ended with exit code {code}.\n      {text}", where=str(log), do=do or "see the log; options of its own are given as --lerobot NAME=VALUE"
        )
    return losses


def _environ() -> Mapping[str, str]:
    # Nothing of a local dataset is to be looked up on the hub.
    return {**os.environ, "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "1")}
