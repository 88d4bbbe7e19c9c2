"""`mimicctl train`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from mimicctl.cli.common import (
    AllowTainted,
    ConfigFile,
    Json,
    Outcome,
    Override,
    Overwrite,
    Resume,
    Seed,
    Table,
    Task,
    first_existing,
    note,
    note_changed_task,
    note_foreign,
    reporting,
    resolve_settings,
    show,
)


def command(
    task: Task = None,
    dataset: Annotated[Optional[str], typer.Option(help="Dataset to learn from.", show_default=False)] = None,
    algo: Annotated[str, typer.Option(help="bc, by robomimic; act or diffusion, by LeRobot.")] = "bc",
    recipe: Annotated[Optional[str], typer.Option(help="Named recipe (image-mlp where there are images, else mlp).", show_default=False)] = None,
    config_json: Annotated[Optional[str], typer.Option(help="A robomimic JSON config instead of a recipe.", show_default=False)] = None,
    name: Annotated[Optional[str], typer.Option(help="Name of the run.", show_default=False)] = None,
    log_dir: Annotated[Optional[str], typer.Option(help="Folder of all runs (runs).", show_default=False)] = None,
    epochs: Annotated[Optional[int], typer.Option(help="Epochs of the whole run, resumed or not (the recipe's).", show_default=False)] = None,
    batch_size: Annotated[Optional[int], typer.Option(help="Samples a gradient step (the recipe's).", show_default=False)] = None,
    learning_rate: Annotated[Optional[float], typer.Option(help="Learning rate at first (the recipe's).", show_default=False)] = None,
    save_every: Annotated[Optional[int], typer.Option(help="Epochs between checkpoints; with LeRobot steps.", show_default=False)] = None,
    steps: Annotated[Optional[int], typer.Option(help="Gradient steps of LeRobot (100 000).", show_default=False)] = None,
    lerobot: Annotated[
        Optional[list[str]], typer.Option("--lerobot", help="NAME=VALUE, an option of lerobot-train; may be repeated.", show_default=False)
    ] = None,
    normalize_actions: Annotated[
        Optional[bool],
        typer.Option("--normalize-actions", "--normalize-training-actions", help="Actions to [-1, 1] by one minimum and maximum.", show_default=False),
    ] = None,
    device: Annotated[Optional[str], typer.Option(help="auto, cpu, cuda.", show_default=False)] = None,
    require_provenance: Annotated[bool, typer.Option("--require-provenance", help="Refuse a dataset with open questions (mimicctl provenance check).")] = False,
    list_recipes: Annotated[bool, typer.Option("--list", help="List the recipes and end.")] = False,
    seed: Seed = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    allow_tainted: AllowTainted = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Train a policy with robomimic, or with LeRobot."""
    if list_recipes:
        _list(as_json)
        return
    flags = {
        "task": task, "seed": seed, "train.dataset": dataset, "train.recipe": recipe, "train.config_json": config_json,
        "train.name": name, "train.log_dir": log_dir, "train.epochs": epochs, "train.batch_size": batch_size,
        "train.learning_rate": learning_rate, "train.save_every": save_every,
        "train.normalize_actions": normalize_actions, "train.device": device, "lerobot.steps": steps, "lerobot.options": lerobot,
    }  # fmt: skip
    run_config = resolve_settings(flags, config, override).config
    from mimicctl.errors import UserError
    from mimicctl.provenance.checklist import require_answers
    from mimicctl.training.trainer import train

    if algo not in ("bc", *_LEROBOTS):
        raise UserError(f'There is no algorithm "{algo}".', where="--algo", do=f"use bc (--list shows its recipes), {' or '.join(_LEROBOTS)}")
    _refuse_flags_of_others(algo, flags | {"allow_tainted": allow_tainted or None})
    settings = run_config.train
    data = Path(settings.dataset) if settings.dataset else first_existing(run_config.generate.output_file, run_config.annotate.output_file)
    if data is None:
        raise UserError("There is no dataset to learn from.", where=run_config.generate.output_file, do="make one (mimicctl generate), or give --dataset")
    note(f"Learning from {data}.")
    if algo not in _LEROBOTS or not data.is_dir():
        note_foreign(data)
        _refuse_other_task(data, task)
        note_changed_task(data)
    if require_provenance:
        require_answers(data)
    if algo in _LEROBOTS:
        _train_with_lerobot(data, algo, run_config, resume=resume, overwrite=overwrite, as_json=as_json)
        return
    with reporting("train", 1) as reporter:
        steps = 0

        def started(recipe: Any, frames: int, parameters: int) -> None:
            nonlocal steps
            steps = recipe.steps_per_epoch
            note(f"{recipe.name}: {recipe.description}. {frames} frames, {parameters} parameters, {recipe.epochs} epochs of {recipe.steps_per_epoch} steps.")
            for text in _remarks(recipe, settings, data):
                note(text)
            reporter.set_total(recipe.epochs)
            reporter.update(0, "under way")

        def decoded(demos: int, of: int) -> None:
            reporter.set_total(of)
            reporter.update(demos, "demos with their images decoded")

        def progressed(losses: Any, epochs: int) -> None:
            left = (epochs - losses.epoch) * losses.seconds / 60
            speed = f"{steps / losses.seconds:.0f} steps/s, {left:.0f} min left"
            reporter.update(losses.epoch, f"loss {losses.train:.4f}, valid {losses.valid:.4f}, {speed}")

        made = train(
            data,
            settings,
            run_config.seed,
            resume=resume,
            overwrite=overwrite,
            allow_tainted=allow_tainted,
            on_epoch=progressed,
            on_start=started,
            on_images=decoded,
        )
    best = min(made.losses, key=lambda losses: losses.valid)
    facts = [
        ("run", made.folder),
        ("checkpoints", len(made.checkpoints)),
        ("best", f"{made.best} (epoch {best.epoch}, validation loss {best.valid:.4f})"),
        ("split", made.masks_from),
        ("time", f"{sum(losses.seconds for losses in made.losses):.0f} s of training"),
        ("plot", made.folder / "losses.png"),
    ]
    show(Outcome("Trained.", facts, next_command="mimicctl eval play"), as_json)


_LEROBOTS = ("act", "diffusion")
_OF_ROBOMIMIC = {"train.recipe": "--recipe", "train.config_json": "--config-json", "train.epochs": "--epochs", "train.normalize_actions": "--normalize-actions", "allow_tainted": "--allow-tainted"}
_OF_LEROBOT = {"lerobot.steps": "--steps", "lerobot.options": "--lerobot"}


def _refuse_flags_of_others(algo: str, flags: dict[str, Any]) -> None:
    """UserError for a flag that says nothing to who trains this algorithm."""
    from mimicctl.errors import UserError

    unheard = _OF_ROBOMIMIC if algo in _LEROBOTS else _OF_LEROBOT
    if given := [flag for key, flag in unheard.items() if flags[key] is not None]:
        who, do = (
            ("LeRobot", "leave it out; --steps says how long, --lerobot NAME=VALUE sets its options") if algo in _LEROBOTS else ("robomimic", "leave it out")
        )
        raise UserError(f"{', '.join(given)} says nothing to {who}, which trains {algo}.", where=f"--algo {algo}", do=do)


def _train_with_lerobot(data: Path, algo: str, run_config: Any, *, resume: bool, overwrite: bool, as_json: bool) -> None:
    from mimicctl.training.lerobot_trainer import train_with_lerobot

    settings, lerobot = run_config.train, run_config.lerobot
    with reporting("train", lerobot.steps or 100_000) as reporter:

        def converted(done: int, total: int) -> None:
            reporter.update(0, f"{done} of {total} demos converted")

        made = train_with_lerobot(
            data, algo, settings, lerobot, run_config.seed, resume=resume, overwrite=overwrite,
            on_converted=converted, on_loss=lambda step, loss: reporter.update(step, f"loss {loss:.3f}"),
        )  # fmt: skip
    facts = [("run", made.folder), ("checkpoints", len(made.checkpoints)), ("last", made.checkpoints[-1])]
    if made.losses:
        facts.append(("loss", f"{made.losses[0]:.3f} at first, {made.losses[-1]:.3f} at last"))
    data_shown = {"run": str(made.folder), "checkpoints": [str(path) for path in made.checkpoints], "losses": list(made.losses)}
    show(Outcome("Trained.", facts, next_command="mimicctl eval play", data=data_shown), as_json)


def _remarks(recipe: Any, settings: Any, data: Path) -> Iterator[str]:
    """What somebody may not expect of how a recipe, as it is fitted to the data, learns from it."""
    from mimicctl.training.recipes import AUTO, RECIPES

    if settings.recipe == AUTO and not settings.config_json:
        if recipe.rgb_keys:
            yield "The dataset has camera images, so they are what is learnt from. --recipe mlp learns from states."
        elif _has_images(data):
            yield "The dataset has camera images, and no recipe for its robot looks at them: what is learnt from are states."
    if recipe.chunk and settings.normalize_actions:
        yield "This recipe brings each number of its chunks of actions to [-1, 1] by its own range, with --normalize-actions or without."
    if not settings.config_json and RECIPES[recipe.name].turn and not recipe.turn:
        yield "Scenes are not turned in training: what the columns of these observations mean is not known for the task of this dataset."
    if recipe.optional_keys and not set(recipe.optional_keys) & set(recipe.obs_keys):
        yield f"The dataset has no {' or '.join(recipe.optional_keys)}, which this recipe learns a good deal better with. mimicctl generate writes it."


def _has_images(data: Path) -> bool:
    from mimicctl.dataset.contact_sheet import image_keys
    from mimicctl.dataset.reader import Dataset

    with Dataset(data) as dataset:
        return bool(image_keys(dataset.group(dataset.demos[0])))


def _refuse_other_task(data: Path, task: str | None) -> None:
    from mimicctl.dataset.reader import Dataset
    from mimicctl.errors import UserError
    from mimicctl.tasks import canonical_id, twin_of

    with Dataset(data) as dataset:
        if dataset.dialect.kind == "isaaclab2":
            note(
                "Its quaternions are learnt from as xyzw, as mimicctl eval and Isaac Lab 3 show them to a policy; a policy for Isaac Lab 2 is not made from it."
            )
        twin = twin_of(dataset.task_id)
        same = {canonical_id(dataset.task_id), twin.task_id if twin else ""}
        # Isaac Lab's nut pour always sees; here that is a task of its own, and it is trained by the name of the one without cameras.
        same |= {name.replace("-Visuomotor", "") for name in same if "-Visuomotor-Cosmos" not in name}
        if task and dataset.task_id and canonical_id(task) not in same:
            raise UserError(f"The dataset is of another task, {dataset.task_id}.", where=str(data), do="give that --task, or another --dataset")


def _list(as_json: bool) -> None:
    from mimicctl.training.recipes import RECIPES

    rows = [(r.name, r.description, r.epochs, r.steps_per_epoch, r.batch_size, r.learning_rate) for r in RECIPES.values()]
    table = Table("Recipes", ("name", "what", "epochs", "steps an epoch", "batch", "learning rate"), rows)
    show(Outcome("", tables=[table], next_command="mimicctl train --recipe NAME", data={r.name: vars(r) for r in RECIPES.values()}), as_json)
