"""`mimicctl cosmos`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from mimicctl.cli.common import ConfigFile, Json, Outcome, Override, Overwrite, Resume, Seed, Task, note, reporting, resolve_settings, show

app = typer.Typer(help="Augment videos with Cosmos Transfer: prompts, control specs, runs.", no_args_is_help=True)

SpecsDir = Annotated[Optional[str], typer.Option("--specs-dir", help="Folder of control specs, one JSON file a demo.", show_default=False)]


@app.command()
def prompts(
    task: Task = None,
    templates_path: Annotated[Optional[str], typer.Option(help="Prompt templates (the task's).", show_default=False)] = None,
    num_prompts: Annotated[Optional[int], typer.Option(help="Prompts to write (10).", show_default=False)] = None,
    output_path: Annotated[Optional[str], typer.Option(help="Where they go, one a line.", show_default=False)] = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Put prompts together from templates, so that their parts go together."""
    flags = {
        "task": task, "seed": seed, "cosmos.templates_path": templates_path, "cosmos.num_prompts": num_prompts, "cosmos.prompts_file": output_path,
    }  # fmt: skip
    run_config = resolve_settings(flags, config, override).config
    from mimicctl.conversion.prompts import bundled_templates, load_templates, make_prompts, write_prompts

    settings = run_config.cosmos
    templates = Path(settings.templates_path).expanduser() if settings.templates_path else bundled_templates(run_config.task)
    note(f"Templates from {templates}.")
    made = make_prompts(load_templates(templates), settings.num_prompts, run_config.seed)
    path = write_prompts(made, settings.prompts_file, overwrite=overwrite)
    facts = [("file", path), ("prompts", len(made)), ("different", len(set(made))), ("seed", run_config.seed), ("first", made[0])]
    data = {"file": str(path), "seed": run_config.seed, "prompts": made}
    show(Outcome("Written.", facts, next_command="mimicctl cosmos specs", data=data), as_json)


@app.command()
def specs(
    videos_dir: Annotated[Optional[str], typer.Option(help="Folder of hdf5-to-mp4's videos.", show_default=False)] = None,
    prompts_file: Annotated[Optional[str], typer.Option(help="Prompts, one a line.", show_default=False)] = None,
    specs_dir: SpecsDir = None,
    model: Annotated[Optional[str], typer.Option(help="transfer1 or transfer2.5 (transfer1).", show_default=False)] = None,
    control_weight: Annotated[
        Optional[str], typer.Option(help="Of blur, edges, depth, segmentation; 0 leaves one out (0.3,0.3,0.6,0.7).", show_default=False)
    ] = None,
    sigma_max: Annotated[Optional[float], typer.Option(help="Noise added to the input (50 for transfer1).", show_default=False)] = None,
    negative_prompt: Annotated[Optional[str], typer.Option(help="What the video should not be.", show_default=False)] = None,
    overwrite: Overwrite = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Write a control spec for each demo: its videos, their weights, and a prompt."""
    flags = {
        "convert.output_dir": videos_dir, "cosmos.prompts_file": prompts_file, "cosmos.specs_dir": specs_dir, "cosmos.model": model,
        "cosmos.control_weight": _numbers(control_weight), "cosmos.sigma_max": sigma_max, "cosmos.negative_prompt": negative_prompt,
    }  # fmt: skip
    run_config = resolve_settings(flags, config, override).config
    from mimicctl.conversion.prompts import read_prompts
    from mimicctl.conversion.specs import HyperParameters, write_specs

    settings, videos = run_config.cosmos, run_config.convert.output_dir
    note(f"Videos from {videos}, prompts from {settings.prompts_file}.")
    hyper = HyperParameters(settings.negative_prompt, settings.control_weight, settings.sigma_max)
    texts = read_prompts(settings.prompts_file)
    made = write_specs(videos, settings.specs_dir, texts, hyper, model=settings.model, camera=run_config.convert.camera, overwrite=overwrite)
    facts = [("folder", made.folder), ("specs", len(made.specs)), ("prompts used", made.prompts), ("for", f"Cosmos {settings.model.capitalize()}")]
    data = {"folder": str(made.folder), "specs": [str(path) for path in made.specs], "prompts": made.prompts, "model": settings.model}
    show(Outcome("Written.", facts, next_command="mimicctl cosmos run --checkout COSMOS_FOLDER", data=data), as_json)


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f'"{text}" is not a list of numbers.', param_hint="--control-weight") from None


@app.command()
def run(
    specs_dir: SpecsDir = None,
    checkout: Annotated[Optional[str], typer.Option(help="Folder of the Cosmos Transfer repository.", show_default=False)] = None,
    checkpoint_dir: Annotated[Optional[str], typer.Option(help="Checkpoints of transfer1 (checkpoints in the checkout).", show_default=False)] = None,
    command: Annotated[
        Optional[str],
        typer.Option(help="Run this for each demo instead: {spec}, {video}, {output}, {demo} and {gpu} are filled in.", show_default=False),
    ] = None,
    output_dir: Annotated[Optional[str], typer.Option(help="Where the augmented videos go.", show_default=False)] = None,
    gpus: Annotated[Optional[str], typer.Option(help="GPUs to use, as in 0,1,2 (all).", show_default=False)] = None,
    gpus_per_job: Annotated[Optional[int], typer.Option(help="GPUs that work on one video together (1).", show_default=False)] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Augment every demo, one at a time on each GPU, and check what comes out."""
    flags = {
        "cosmos.specs_dir": specs_dir, "cosmos.checkout": checkout, "cosmos.checkpoint_dir": checkpoint_dir, "cosmos.command": command,
        "cosmos.output_dir": output_dir, "cosmos.gpus": gpus, "cosmos.gpus_per_job": gpus_per_job,
    }  # fmt: skip
    run_config = resolve_settings(flags, config, override).config
    from mimicctl.conversion.cosmos_command import MakeCommand, from_checkout, from_template, gpu_groups
    from mimicctl.conversion.cosmos_run import run_cosmos
    from mimicctl.errors import UserError

    settings = run_config.cosmos
    if bool(settings.checkout) == bool(settings.command):
        do = "give --checkout, or a --command instead"
        raise UserError("Is it Cosmos or a command of your own?" if settings.checkout else "There is nothing to run.", where="cosmos run", do=do)

    def make_command(model: str) -> MakeCommand:
        if settings.command:
            return from_template(settings.command)
        return from_checkout(Path(settings.checkout), settings.checkpoint_dir, model)

    groups = gpu_groups(settings.gpus, settings.gpus_per_job, needed=not settings.command)
    note(f"Specs from {settings.specs_dir}; " + ("GPUs " + ", ".join("+".join(g) for g in groups) if groups[0] else "no GPU, one demo at a time") + ".")
    with reporting("augment", 0) as reporter:

        def progress(made: int, failed: int, total: int) -> None:
            reporter.set_total(total)
            reporter.update(made, f"demos, {failed} failed" if failed else "demos")

        done = run_cosmos(
            settings.specs_dir, settings.output_dir, make_command, groups,
            camera=run_config.convert.camera, resume=resume, overwrite=overwrite, on_progress=progress,
        )  # fmt: skip
    facts = [("folder", done.folder), ("videos", len(done.made) + len(done.kept))]
    if done.kept:
        facts.append(("there already", len(done.kept)))
    data = {"folder": str(done.folder), "made": done.made, "kept": done.kept}
    show(Outcome("Augmented.", facts, next_command=f"mimicctl convert mp4-to-hdf5 --videos-dir {done.folder}", data=data), as_json)
