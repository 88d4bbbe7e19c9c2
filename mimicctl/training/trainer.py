"""Training a policy: the loop, its checkpoints and what it leaves in the run folder."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import itertools
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mimicctl
from mimicctl.config import TrainSettings
from mimicctl.dataset.masks import without_discarded
from mimicctl.dataset.reader import Dataset
from mimicctl.dataset.split import split_names
from mimicctl.errors import RunFailed, UserError
from mimicctl.provenance.checkpoints import refuse_tainted, taint, taint_of
from mimicctl.schema import FORMAT_VERSION
from mimicctl.tasks import twin_of
from mimicctl.training import robomimic_seam as seam
from mimicctl.training.checkpoint_file import read_checkpoint, write_checkpoint
from mimicctl.training.choosing import choose_recipe, with_changes
from mimicctl.training.chunks import Chunks
from mimicctl.training.config_file import config_from_json
from mimicctl.training.cpu_images import hasten
from mimicctl.training.images import bytes_of, load_images, scratch_for
from mimicctl.training.loader import Frames, GatherLoader, action_range, check_demos, load_frames, observation_statistics
from mimicctl.training.recipes import Recipe
from mimicctl.training.turning import Turning, packed_layout

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_STATE = "training_state.pth"
_VALIDATION_SAMPLES = {"numbers": 20_000, "images": 1_000}
_REPLACED = (
    *("models/*.pth", "logs/*.txt", "logs/tb/events.*", "losses.*", "evaluation.*", "videos/*/rollout_*.mp4", "robust/*"),
    *("config.json", "lineage.json", _STATE),
)
"""What a run and its evaluation write: all that --overwrite removes."""


@dataclass(frozen=True)
class EpochLosses:
    """One line of losses.csv."""

    epoch: int
    train: float
    valid: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Trained:
    """What a run left behind.

    Attributes:
        folder: the run folder.
        checkpoints: in order of epochs.
        best: the one with the lowest validation loss.
    """

    folder: Path
    checkpoints: tuple[Path, ...]
    best: Path
    losses: tuple[EpochLosses, ...]
    masks_from: str


@dataclass
class _Run:
    """Everything the loop needs, made once."""

    folder: Path
    recipe: Recipe
    config: Any
    algo: Any
    train: GatherLoader
    valid: GatherLoader
    contents: Callable[[dict[str, Any]], dict[str, Any]]
    identity: dict[str, Any]
    seed: int
    device: str
    taint: dict[str, Any] | None = None

    def save(self, contents: dict[str, Any], path: Path) -> None:
        """What goes on from withdrawn data is marked as it was."""
        write_checkpoint(contents, path)
        if self.taint is not None:
            taint(path, self.taint)


def train(
    dataset_path: Path,
    settings: TrainSettings,
    seed: int,
    *,
    resume: bool = False,
    overwrite: bool = False,
    allow_tainted: bool = False,
    on_epoch: Callable[[EpochLosses, int], None] = lambda losses, epochs: None,
    on_start: Callable[[Recipe, int, int], None] = lambda recipe, frames, parameters: None,
    on_images: Callable[[int, int], None] = lambda demos, of: None,
) -> Trained:
    """Train on `mask/train`, validate on `mask/valid`; without masks, on a split of its own.

    Args:
        resume: continue a run from the end of its last whole epoch; the result is the same as without interruption.
        overwrite: start again in an existing run folder.
        allow_tainted: continue although demonstrations that were learnt from have been withdrawn.
        on_images: called as the images of demos are decoded, with how many are and how many there are.

    Raises:
        UserError: the dataset does not fit, the run folder exists or is of another run, or a package is missing.
        RunFailed: the loss is no longer a number.
    """
    recipe = None if settings.config_json else choose_recipe(settings, dataset_path)
    folder = Path(settings.log_dir).absolute() / (settings.name or (recipe.name if recipe else Path(settings.config_json).stem))
    _check_folder(folder, resume=resume, overwrite=overwrite)
    if resume:
        refuse_tainted([folder / _STATE], allow_tainted)
    seam.import_robomimic()
    import torch

    torch.manual_seed(seed)
    run, masks_from = _prepare(dataset_path, settings, recipe, seed, folder, on_images)
    on_start(run.recipe, len(run.train), sum(p.numel() for p in run.algo.nets.parameters()))
    run.taint = taint_of(folder / _STATE) if resume else None
    state = _load_state(run) if resume and (folder / _STATE).exists() else {"epoch": 0, "losses": [], "best": math.inf, "best_file": ""}
    if not state["epoch"]:
        _start_folder(run)
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "logs" / "tb"), purge_step=state["epoch"] + 1) as board:
        for epoch in range(state["epoch"] + 1, run.recipe.epochs + 1):
            losses = _epoch(run, epoch)
            state["losses"].append(dataclasses.astuple(losses))
            _log(run, board, state["losses"])
            _save(run, state, losses)
            on_epoch(losses, run.recipe.epochs)
    history = tuple(EpochLosses(*row) for row in state["losses"])
    from mimicctl.training.plots import plot_losses

    plot_losses(history, folder / "losses.png")
    models = folder / "models"
    return Trained(folder, checkpoints_of(folder), models / state["best_file"], history, masks_from)


def checkpoints_of(folder: Path) -> tuple[Path, ...]:
    """The regular checkpoints of a run, by epoch."""
    found = [p for p in (folder / "models").glob("model_epoch_*.pth") if p.stem.removeprefix("model_epoch_").isdigit()]
    return tuple(sorted(found, key=lambda p: int(p.stem.removeprefix("model_epoch_"))))


def _check_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise UserError("A run is either continued or replaced.", where="--resume --overwrite", do="give one of them")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / "config.json").is_file():
        raise UserError("This exists and is not the folder of a run.", where=str(folder), do="--name or --log-dir makes another")
    if not (resume or overwrite):
        raise UserError("A run of this name exists.", where=str(folder), do="--resume continues it, --overwrite replaces it, --name makes another")


def _prepare(
    dataset_path: Path, settings: TrainSettings, recipe: Recipe | None, seed: int, folder: Path, on_images: Callable[[int, int], None]
) -> tuple[_Run, str]:
    device = seam.device_of(settings.device)
    if recipe is None:
        config, recipe = config_from_json(Path(settings.config_json))
        recipe = with_changes(recipe, settings)
    else:
        config = seam.config_of(recipe, dataset_path.absolute(), folder, seed)
    with Dataset(dataset_path) as dataset:
        masks, masks_from = _masks(dataset, config.train.hdf5_filter_key, config.train.hdf5_validation_filter_key)
        check_demos(dataset, [*masks["train"], *masks["valid"]], recipe.obs_keys, recipe.rgb_keys)
        # In chunks each number is brought to [-1, 1] by its own range.
        spread = action_range(dataset) if settings.normalize_actions and not recipe.chunk else None
        frames = {key: load_frames(dataset, masks[key], recipe.obs_keys, recipe.labels) for key in ("train", "valid")}
        task = twin_of(str(dataset.env_args.get("env_name", "")))
        chunks = Chunks.of(frames["train"], recipe.chunk, task, turned=recipe.turn > 0) if recipe.chunk else None
        if chunks is not None:
            frames = {key: dataclasses.replace(part, actions=chunks.written(part)) for key, part in frames.items()}
        _add_images(dataset, masks, frames, recipe, folder, on_images)
        env_args, lineage = dataset.env_args, dataset.lineage
        content_hash = dataset.content_hash()
        # The range of actions is that of all demos of the file.
        learnt_from = {**masks, **({"range": dataset.demos} if spread else {})}
        demos = {part: [dataset.demo_sha256(name) for name in names] for part, names in learnt_from.items()}
    stats = observation_statistics(frames["train"]) if recipe.normalize_obs else None
    if not recipe.steps_per_epoch:
        recipe = dataclasses.replace(recipe, steps_per_epoch=math.ceil(len(frames["train"].first) / recipe.batch_size))
    seam.set_run(config, recipe, dataset_path.absolute(), folder, seed)
    shapes = frames["train"].shapes
    if recipe.crop:
        seam.set_crop(config, *recipe.crop_of(shapes))
    action_dim = frames["train"].actions.shape[1]
    algo = seam.make_algo(config, shapes, action_dim, device)
    convolutions = hasten(algo.nets) if device == "cpu" and recipe.rgb_keys else "float32"
    # The keys in the order of the loader's columns.
    widths = {key: values.shape[1] for key, values in frames["train"].obs.items()}
    layout = packed_layout(str(env_args.get("env_name", "")), widths, action_dim, list(widths), chunks)
    if recipe.turn and layout is None:
        recipe = dataclasses.replace(recipe, turn=0.0)
    altered = {"turning": Turning(layout, recipe.turn, device) if recipe.turn else None, "noise": recipe.obs_noise}
    common = {"stats": stats, "action_range": spread, "device": device}
    loaders = {"train": GatherLoader(frames["train"], recipe, **common, **altered), "valid": GatherLoader(frames["valid"], recipe, **common)}
    facts = {
        "version": mimicctl.__version__,
        "format_version": FORMAT_VERSION,
        "dataset": {"file": str(dataset_path.absolute()), "sha256": content_hash, "lineage": lineage, "demos": demos},
        "recipe": dataclasses.asdict(recipe),
        "action_range": spread,
        "convolutions": convolutions,
        "seed": seed,
    }
    identity = {"dataset": content_hash, "demos": _in_short(masks), "seed": seed, "action range": spread, **_fixed(recipe), **seam.network(config)}

    def contents(extra: dict[str, Any]) -> dict[str, Any]:
        held = {"chunks": chunks.facts()} if chunks is not None else {}
        return seam.checkpoint_contents(algo, config, env_args, shapes, action_dim, stats, {**facts, **held, **extra})

    return _Run(folder, recipe, config, algo, loaders["train"], loaders["valid"], contents, identity, seed, device), masks_from


def _add_images(
    dataset: Dataset, masks: dict[str, tuple[str, ...]], frames: dict[str, Frames], recipe: Recipe, folder: Path, on_images: Callable[[int, int], None]
) -> None:
    """Decode the images of all demos into `frames`."""
    if not recipe.rgb_keys:
        return
    names = [name for part in frames for name in masks[part]]
    scratch = scratch_for(bytes_of(dataset, names, recipe.rgb_keys), folder)
    done = itertools.count(1)
    for part, held in frames.items():
        held.images = load_images(dataset, masks[part], recipe.rgb_keys, scratch, lambda: on_images(next(done), len(names)))


def _fixed(recipe: Recipe) -> dict[str, Any]:
    """What must not change when a run is continued. More epochs, or other checkpoints, may be asked for."""
    free = ("name", "description", "epochs", "save_every", "algo")
    return {key.replace("_", " "): value for key, value in dataclasses.asdict(recipe).items() if key not in free}


def _masks(dataset: Dataset, train: str | None, valid: str | None) -> tuple[dict[str, tuple[str, ...]], str]:
    """Demos to learn from and to validate on, none of them discarded (`mask/discarded`), and where that was read.

    Args:
        train, valid: filter keys that the config names; None for "train" and "valid", which may be missing together.
    """
    asked = {"train": train or "train", "valid": valid or "valid"}
    named = {part: dataset.masks.get(key, ()) for part, key in asked.items()}
    if not any(named.values()) and not (train or valid):
        left = without_discarded(dataset)
        if len(left) < 2:
            what = f"{'One demonstration' if left else 'No demonstration'} cannot be split into training and validation{_but_for(len(dataset) - len(left))}."
            raise UserError(what, where=str(dataset.path), do="generate more, or discard fewer (mimicctl web)")
        return split_names(left), "a split of its own, since the file has no masks" + _but_for(len(dataset) - len(left))
    found = {part: without_discarded(dataset, names) for part, names in named.items()}
    where, again = str(dataset.path), f"mimicctl dataset split --overwrite {dataset.path}"
    for part, names in found.items():
        if not names:
            raise UserError(f"mask/{asked[part]} is missing or empty.", where=where, do=again)
    both = set(found["train"]) & set(found["valid"])
    if both:
        raise UserError(f"{len(both)} demos are in both masks, {min(both)} for instance, so validation would prove nothing.", where=where, do=again)
    return found, "the file's masks" + _but_for(sum(map(len, named.values())) - sum(map(len, found.values())))


def _in_short(masks: dict[str, tuple[str, ...]]) -> str:
    """Which demos, so that two runs can be told apart."""
    digest = hashlib.sha256(json.dumps(masks).encode()).hexdigest()
    return f"{len(masks['train'])} to learn from, {len(masks['valid'])} to validate on ({digest[:8]})"


def _but_for(discarded: int) -> str:
    return f", without {discarded} discarded" if discarded else ""


def _start_folder(run: _Run) -> None:
    """Make the run folder and write what does not change. Checkpoints of a replaced run go."""
    for pattern in _REPLACED:
        for old in run.folder.glob(pattern):
            old.unlink()
    for part in ("models", "logs"):
        (run.folder / part).mkdir(parents=True, exist_ok=True)
    (run.folder / "config.json").write_text(run.config.dump())
    # What chunks stand for tells about the data, and is in the checkpoints, which are for their owner alone.
    facts = {key: value for key, value in run.contents({})["mimicctl"].items() if key != "chunks"}
    (run.folder / "lineage.json").write_text(json.dumps(facts, indent=1))
    if facts["action_range"] is not None:
        low, high = facts["action_range"]
        path = run.folder / "logs" / "normalization_params.txt"
        # The file tells about the data, so it is for its owner alone.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"min: {low}\nmax: {high}\n")


def _epoch(run: _Run, epoch: int) -> EpochLosses:
    import torch

    began = time.perf_counter()
    # Drawn anew from seed and epoch, so that a resumed run sees the same batches.
    generator = torch.Generator().manual_seed(run.seed * 1_000_003 + epoch)
    torch.manual_seed(run.seed * 1_000_003 + epoch)
    steps, batch_size = run.recipe.steps_per_epoch, run.recipe.batch_size
    samples = torch.randint(len(run.train), (steps, batch_size), generator=generator).to(run.device)
    run.algo.set_train()
    total = 0.0
    groups = run.algo.optimizers["policy"].param_groups
    for step in range(steps):
        if run.recipe.final_learning_rate is not None:
            for group in groups:
                group["lr"] = _cosine(run.recipe, (epoch - 1 + step / steps) / run.recipe.epochs)
        batch = run.algo.process_batch_for_training(run.train.batch(samples[step]))
        losses = run.algo.train_on_batch(batch, epoch)["losses"]
        total += float(losses["action_loss"])
    rate = groups[0]["lr"]
    run.algo.on_epoch_end(epoch)  # which moves the rate on if the config has a schedule
    if not math.isfinite(total):
        raise RunFailed(f"The loss is no longer a number (epoch {epoch}).", where=str(run.folder), do="lower --learning-rate")
    return EpochLosses(epoch, total / steps, _validate(run, epoch), rate, time.perf_counter() - began)


def _cosine(recipe: Recipe, progress: float) -> float:
    low, high = recipe.final_learning_rate, recipe.learning_rate
    return low + 0.5 * (high - low) * (1 + math.cos(math.pi * progress))


def _validate(run: _Run, epoch: int) -> float:
    import torch

    images = bool(run.recipe.rgb_keys)
    count = min(len(run.valid), _VALIDATION_SAMPLES["images" if images else "numbers"])
    chosen = torch.from_numpy(np.linspace(0, len(run.valid) - 1, count).astype(np.int64)).to(run.device)
    total = 0.0
    with seam.true_noise(run.algo):
        for part in chosen.split(run.recipe.batch_size if images else 1024):
            batch = run.algo.process_batch_for_training(run.valid.batch(part))
            total += len(part) * float(run.algo.train_on_batch(batch, epoch, validate=True)["losses"]["action_loss"])
    return total / count


def _log(run: _Run, board: SummaryWriter, history: Sequence[Sequence[float]]) -> None:
    """Write the files anew: an epoch that was cut off and is done again must not stand there twice."""
    rows = [EpochLosses(*row) for row in history]
    with open(run.folder / "losses.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([f.name for f in dataclasses.fields(EpochLosses)])
        writer.writerows(history)
    lines = [f"epoch {r.epoch}: train {r.train:.5f}, valid {r.valid:.5f}, learning rate {r.learning_rate:.3g}, {r.seconds:.1f} s\n" for r in rows]
    (run.folder / "logs" / "log.txt").write_text("".join(lines))
    last = rows[-1]
    board.add_scalar("Loss/train", last.train, last.epoch)
    board.add_scalar("Loss/valid", last.valid, last.epoch)
    board.add_scalar("LearningRate", last.learning_rate, last.epoch)


def _save(run: _Run, state: dict[str, Any], losses: EpochLosses) -> None:
    """Checkpoints that are due, then the state to resume from."""
    models, epoch = run.folder / "models", losses.epoch
    contents = run.contents({"epoch": epoch, "train_loss": losses.train, "valid_loss": losses.valid})
    if epoch % run.recipe.save_every == 0 or epoch == run.recipe.epochs:
        run.save(contents, models / f"model_epoch_{epoch}.pth")
    if losses.valid < state["best"]:
        before = state["best_file"]
        state["best"], state["best_file"] = losses.valid, f"model_epoch_{epoch}_best_validation_{losses.valid:.4f}.pth"
        run.save(contents, models / state["best_file"])
        if before:
            (models / before).unlink(missing_ok=True)
    state["epoch"] = epoch
    resume = {**state, "identity": run.identity, **seam.learning_state(run.algo)}
    run.save(resume, run.folder / _STATE)


def _load_state(run: _Run) -> dict[str, Any]:
    """Put the run back to where it was, and return what the loop counts.

    Raises:
        UserError: it was begun with other data or settings, so what came out would be neither's.
    """
    path = run.folder / _STATE
    try:
        state = read_checkpoint(path, run.device)
        begun = state.pop("identity")
    except (UserError, KeyError, AttributeError) as error:
        why = error.what if isinstance(error, UserError) else "It is not one."
        raise UserError(f"The state of the run cannot be read. {why}", where=str(path), do="--overwrite starts again") from None
    changed = [f"  {key}: {begun.get(key)} then, {value} now" for key, value in run.identity.items() if begun.get(key) != value]
    if changed:
        raise UserError("\n".join(["The run was begun with other settings.", *changed]), where=str(run.folder), do="give those, or --name for another run")
    seam.restore_learning(run.algo, state)
    return state
