"""What a section of the run config is, and the sections of the commands that turn datasets into others.

The sections of the data loop itself are in `config`.
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    # Strict, because TOML has types of its own: `true` is no number and "8" is no integer.
    model_config = ConfigDict(extra="forbid", validate_default=True, strict=True, allow_inf_nan=False)


RobustSetting = Literal["vanilla", "light_intensity", "light_color", "light_texture", "table_texture", "robot_texture", "all"]
"""What `mimicctl eval robust` changes about the scene, by Isaac Lab's names."""


class TasksSettings(Section):
    """Tasks of one's own."""

    paths: list[str] = Field(default_factory=list, description="Task files, and folders of them, beside the folder tasks of the working folder.")


class IsaacLabSettings(Section):
    """How tasks on Isaac Lab are run."""

    physics: Literal["auto", "newton", "ovphysx", "physx"] = Field(
        "auto", description="ovphysx and newton run without Isaac Sim, physx is Isaac Sim's; auto: the first that is installed of physx, ovphysx, newton."
    )
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="What the physics runs on: cpu, cuda, cuda:1.")
    visualizer: str = Field("", description="Windows to open, by Isaac Lab's names (newton_gl, rerun, viser, kit); empty: none.")
    overrides: list[str] = Field(default_factory=list, description="Changes to the environment's config, key=value, as Isaac Lab's own scripts take them.")


class MergeSettings(Section):
    """`mimicctl merge`."""

    input_files: list[str] = Field(default_factory=list, description="Datasets to merge, in this order; empty: the generated and the augmented one.")
    output_file: str = Field("datasets/merged.hdf5", description="Where the merged dataset goes.")


class ConvertSettings(Section):
    """`mimicctl convert`. Sizes, rate and keys are Isaac Lab's."""

    input_file: str = Field("", description="Dataset with camera images; empty: the generated one.")
    output_dir: str = Field("datasets/videos", description="Where hdf5-to-mp4 puts the videos.")
    input_keys: list[str] = Field(default_factory=list, description="Camera keys to convert; empty: those of Isaac Lab's list that the dataset has.")
    video_height: int = Field(704, ge=16, le=8192, description="Height of the videos [pixels].")
    video_width: int = Field(1280, ge=16, le=8192, description="Width of the videos [pixels].")
    framerate: int = Field(30, ge=1, le=240, description="Frames per second of the videos; one frame is one control step.")
    videos_dir: str = Field("", description="Where mp4-to-hdf5 finds the augmented videos; empty: what cosmos run made.")
    output_file: str = Field("datasets/augmented.hdf5", description="Where mp4-to-hdf5 puts the demos with augmented images.")
    camera: str = Field("table_cam", description="Camera that was augmented.")
    workers: int = Field(0, ge=0, le=512, description="Videos at once; 0: one a core.")


class LeRobotSettings(Section):
    """`mimicctl convert hdf5-to-lerobot` and `lerobot-to-hdf5`, and training by LeRobot."""

    input_file: str = Field("", description="Dataset to convert; empty: the generated one.")
    folder: str = Field("datasets/lerobot", description="The LeRobot dataset: where hdf5-to-lerobot puts it and lerobot-to-hdf5 finds it.")
    fps: int | None = Field(None, ge=1, le=1000, description="Frames per second; none: the control rate of the dataset.")
    state_keys: list[str] = Field(default_factory=list, description="Observations that make up observation.state; empty: those of the robot itself.")
    environment_keys: list[str] = Field(
        default_factory=list, description="Observations that make up observation.environment_state; empty: those of the objects, where there are no cameras."
    )
    cameras: list[str] = Field(default_factory=list, description="Cameras that become videos; empty: all of 8-bit colours.")
    instruction: str = Field("", description="The task in words, LeRobot's task; empty: its description.")
    output_file: str = Field("datasets/from_lerobot.hdf5", description="Where lerobot-to-hdf5 puts the demos.")
    steps: int | None = Field(None, ge=1, description="Of train --algo act or diffusion: gradient steps; none: LeRobot's 100 000.")
    log_every: int = Field(100, ge=1, description="Steps from one loss that is shown to the next.")
    options: list[str] = Field(default_factory=list, description='Options of lerobot-train, as in ["policy.dim_model=256"].')


class AugmentSettings(Section):
    """`mimicctl augment`. How rerender draws is in the section render."""

    input_file: str = Field("", description="Dataset to augment; empty: the generated one.")
    output_file: str = Field("datasets/augmented.hdf5", description="Where the augmented demos go.")
    engine: Literal["procedural", "rerender"] = Field(
        "procedural", description="procedural paints over the images by depth, normals and segmentation; rerender draws the recorded states again."
    )
    copies: int = Field(1, ge=1, le=1000, description="Augmented demos to make of each demo.")
    with_originals: bool = Field(False, description="Put the demos as they look without augmentation first, into the same file.")
    workers: int = Field(0, ge=0, le=512, description="Worker processes; 0: one a core.")


class RobustSettings(Section):
    """`mimicctl eval robust`, which takes checkpoints, horizon and workers from `eval`."""

    start_epoch: int = Field(0, ge=0, description="Checkpoints of earlier epochs are left out.")
    rollouts: int = Field(15, ge=1, description="Rollouts per checkpoint, setting and seed.")
    num_seeds: int = Field(3, ge=1, le=1000, description="Seeds to draw where none are named.")
    seeds: list[int] = Field(default_factory=list, description="Seeds of start states and appearances; each is a repetition of the whole.")
    settings: list[RobustSetting] = Field(default_factory=lambda: list(get_args(RobustSetting)), min_length=1, description="What is changed about the scene.")
    log_dir: str = Field("", description="Where the results go; empty: robust in the run folder, or with several of them in the working folder.")
    log_file: str = Field("results", description="Name of the text files, one a seed: <log_file>_seed_<seed>.")


class CosmosSettings(Section):
    """`mimicctl cosmos`. Hyper-parameters are those that Isaac Lab documents for Transfer1; the wording of the negative prompt is ours."""

    templates_path: str = Field("", description="File of prompt templates; empty: the one that comes with the task.")
    num_prompts: int = Field(10, ge=1, description="Prompts to write.")
    prompts_file: str = Field("datasets/prompts.txt", description="Where the prompts go, one a line.")
    specs_dir: str = Field("datasets/controlnet_specs", description="Where the control specs go, one a demo.")
    model: Literal["transfer1", "transfer2.5"] = Field("transfer1", description="Release of Cosmos Transfer that the specs are for.")
    negative_prompt: str = Field(
        "Looks like a dated video game: rough computer graphics, cartoon-like surfaces, coarse pixels, captions over the picture. Unreal, an empty backdrop.",
        description="What the video should not be.",
    )
    sigma_max: float | None = Field(None, gt=0, le=200, description="Noise added to the input; none: 50 for transfer1, the model's own for transfer2.5.")
    control_weight: list[float] = Field(
        default_factory=lambda: [0.3, 0.3, 0.6, 0.7], min_length=4, max_length=4, description="Of blur, edges, depth, segmentation; 0 leaves one out."
    )
    checkout: str = Field("", description="Folder of the Cosmos Transfer repository.")
    checkpoint_dir: str = Field("", description="Checkpoints of transfer1; empty: checkpoints in the checkout.")
    command: str = Field("", description="Command run for each demo instead of Cosmos, with {spec}, {video}, {output}, {demo}, {gpu}.")
    output_dir: str = Field("datasets/cosmos_videos", description="Where the augmented videos go.")
    gpus: str = Field("", description='GPUs to use, as in "0,1,2"; empty: all that are visible.')
    gpus_per_job: int = Field(1, ge=1, le=64, description="GPUs that work on one video together.")
