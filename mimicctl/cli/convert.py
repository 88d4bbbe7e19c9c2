"""`mimicctl convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from mimicctl.cli import lerobot
from mimicctl.cli.common import (
    ConfigFile,
    Json,
    Outcome,
    Override,
    Overwrite,
    Resume,
    first_existing,
    note,
    reporting,
    resolve_settings,
    show,
    size_of,
    size_text,
)

app = typer.Typer(help="Camera images to videos, and augmented videos back; LeRobot datasets; checkpoints to safetensors.", no_args_is_help=True)
app.command("hdf5-to-lerobot")(lerobot.hdf5_to_lerobot)
app.command("lerobot-to-hdf5")(lerobot.lerobot_to_hdf5)

Input = Annotated[Optional[str], typer.Option("--input-file", help="Dataset with camera images.", show_default=False)]
Workers = Annotated[Optional[int], typer.Option(help="Videos at once (one a core).", show_default=False)]


def _source(run_config: Any) -> Path:
    """The dataset to convert: the one that was named, or the last generated."""
    from mimicctl.errors import UserError

    named, generated = run_config.convert.input_file, run_config.generate.output_file
    source = Path(named) if named else first_existing(generated)
    if source is None:
        raise UserError("There is no dataset to convert.", where=generated, do="generate one (mimicctl generate), or give --input-file")
    note(f"Converting {source}.")
    return source


@app.command("hdf5-to-mp4")
def hdf5_to_mp4(
    more_keys: Annotated[Optional[list[str]], typer.Argument(hidden=True)] = None,
    input_file: Input = None,
    output_dir: Annotated[Optional[str], typer.Option(help="Folder for the videos.", show_default=False)] = None,
    input_keys: Annotated[Optional[list[str]], typer.Option(help="Camera keys, as in --input-keys A B C (Isaac Lab's six).", show_default=False)] = None,
    demo_id: Annotated[Optional[int], typer.Option(min=0, help="Convert this demo only.", show_default=False)] = None,
    video_height: Annotated[Optional[int], typer.Option(help="Pixels (704).", show_default=False)] = None,
    video_width: Annotated[Optional[int], typer.Option(help="Pixels (1280).", show_default=False)] = None,
    framerate: Annotated[Optional[int], typer.Option(help="Frames per second; one frame is one control step (30).", show_default=False)] = None,
    workers: Workers = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Write each demo's camera images to videos, demo_<number>_<key>.mp4."""
    flags = {
        "convert.input_file": input_file, "convert.output_dir": output_dir, "convert.input_keys": [*(input_keys or []), *(more_keys or [])] or None,
        "convert.video_height": video_height, "convert.video_width": video_width, "convert.framerate": framerate, "convert.workers": workers,
    }  # fmt: skip
    run_config = resolve_settings(flags, config, override).config
    from mimicctl.conversion.to_video import VideoFormat, make_videos

    settings, source = run_config.convert, _source(run_config)
    form = VideoFormat(settings.video_width, settings.video_height, settings.framerate)
    with reporting("frames", 0) as reporter:

        def progress(videos: int, frames: int, of: int) -> None:
            reporter.set_total(of)
            reporter.update(frames, f"{videos} videos")

        made = make_videos(
            source, settings.output_dir, keys=settings.input_keys, demo=demo_id, form=form,
            workers=settings.workers, resume=resume, overwrite=overwrite, on_progress=progress,
        )  # fmt: skip
    plan = made.plan
    facts = [
        ("folder", made.folder),
        ("videos", len(plan.jobs)),
        ("frames", sum(job.frames for job in plan.jobs)),
        ("keys", ", ".join(dict.fromkeys(job.key for job in (*plan.kept, *plan.jobs)))),
        ("format", f"{form.width} x {form.height}, {form.rate} frames per second"),
        ("size", size_text(made.size)),
    ]
    if plan.kept:
        facts.append(("there already", len(plan.kept)))
    if plan.absent:
        facts.append(("not in the dataset", ", ".join(plan.absent)))
    videos = [{"file": str(job.path), "demo": job.demo, "key": job.key, "frames": job.frames} for job in plan.jobs]
    data = {"folder": str(made.folder), "videos": videos, "kept": [str(job.path) for job in plan.kept], "absent_keys": plan.absent, "size": made.size}
    show(Outcome("Converted.", facts, next_command="mimicctl cosmos prompts", data=data), as_json)


@app.command("mp4-to-hdf5")
def mp4_to_hdf5(
    input_file: Input = None,
    videos_dir: Annotated[Optional[str], typer.Option(help="Folder of augmented videos, demo_<number>_*.mp4.", show_default=False)] = None,
    output_file: Annotated[Optional[str], typer.Option(help="Where the demos with augmented images go.", show_default=False)] = None,
    workers: Workers = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    config: ConfigFile = None,
    override: Override = None,
    as_json: Json = False,
) -> None:
    """Make a copy of each demo that an augmented video shows, with its images."""
    flags = {"convert.input_file": input_file, "convert.videos_dir": videos_dir, "convert.output_file": output_file, "convert.workers": workers}
    run_config = resolve_settings(flags, config, override).config
    from mimicctl.conversion.from_video import read_videos

    settings, source = run_config.convert, _source(run_config)
    videos = settings.videos_dir or run_config.cosmos.output_dir
    note(f"Videos from {videos}.")
    with reporting("demos", 0) as reporter:

        def progress(done: int, total: int) -> None:
            reporter.set_total(total)
            reporter.update(done, "")

        made = read_videos(
            source, videos, settings.output_file, camera=settings.camera, workers=settings.workers, resume=resume, overwrite=overwrite, on_progress=progress
        )
    facts = [("file", made.path), ("demos", len(made.pairs)), ("camera", settings.camera), ("size", size_of(made.path))]
    if made.without:
        facts.append(("without a video", f"{len(made.without)} demos of {source.name}, left out"))
    if made.resumed_at:
        facts.append(("resumed", f"after {made.resumed_at} demos of an earlier run"))
    demos = [{"name": f"demo_{i}", "from": pair.demo, "video": str(pair.video)} for i, pair in enumerate(made.pairs)]
    data = {"file": str(made.path), "demos": demos, "without_video": made.without, "resumed_at": made.resumed_at}
    show(Outcome("Converted.", facts, next_command=f"mimicctl merge {source} {made.path}", data=data), as_json)


@app.command("pth-to-safetensors")
def pth_to_safetensors(
    checkpoint: Annotated[Path, typer.Argument(help="model_epoch_N.pth", show_default=False)],
    output_file: Annotated[Optional[Path], typer.Option(help="Where it goes (beside the checkpoint).", show_default=False)] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a checkpoint as safetensors, which holds tensors and text and can hold no code. Where a checkpoint is named, either will do."""
    from mimicctl.training.checkpoint_file import to_safetensors
    from mimicctl.training.robomimic_seam import import_robomimic

    import_robomimic()  # says what is missing
    path = to_safetensors(checkpoint, output_file, overwrite=overwrite)
    facts = [("file", path), ("size", size_of(path))]
    show(Outcome("Converted.", facts, next_command=f"mimicctl eval play --checkpoint {path}"), as_json)
