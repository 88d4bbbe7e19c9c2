"""The run config that all subcommands share: every setting with its type, its default and what it means. `config_layers` fills it in."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator

from mimicctl.errors import UserError
from mimicctl.settings import (
    AugmentSettings,
    ConvertSettings,
    CosmosSettings,
    IsaacLabSettings,
    LeRobotSettings,
    MergeSettings,
    RobustSettings,
    Section,
    TasksSettings,
)
from mimicctl.shard import Shard
from mimicctl.tasks import DEFAULT_TASK, Subtask, SubtaskConstraint

_NotNegative = Annotated[float, Field(ge=0)]


class RecordSettings(Section):
    """`mimicctl record` and `teleop`."""

    device: str = Field(
        "keyboard",
        description="What drives the robot: keyboard, gamepad, spacemouse, udp, websocket, hands, isaac-teleop, scripted, or one that another package adds.",
    )
    spacemouse_serial: str = Field("", description="Serial number of the SpaceMouse to use; empty: the one that moves first.")
    udp_address: str = Field("127.0.0.1:8900", description="host:port that the udp device listens on.")
    websocket_address: str = Field("127.0.0.1:8901", description="host:port that the websocket and hands devices listen on.")
    cloudxr_env: str = Field(
        "cloudxrjs",
        min_length=1,
        description="The CloudXR that isaac-teleop starts: cloudxrjs (Quest, Pico), avp (Vision Pro), standalone (no headset) or a file; none: what runs already.",
    )
    output_file: str = Field("datasets/dataset.hdf5", description="Where recordings go.")
    num_demos: int = Field(10, ge=0, description="Successful demonstrations wanted; 0 for no end.")
    num_success_steps: int = Field(10, ge=1, description="Control steps that success must hold to be saved.")
    step_hz: float | None = Field(
        None,
        ge=0,
        description="Control steps per second of wall clock; 0 as fast as possible; none: the task's rate (scripted operator: 0).",
    )
    start: Literal["auto", "at_once", "motion", "command"] = Field(
        "auto", description="What recording waits for: nothing, the first movement, or a command (space); auto: the first movement of a person."
    )
    countdown: float = Field(0.0, ge=0, description="Seconds before recording begins.")
    rest: float = Field(0.0, ge=0, description="Seconds after each attempt.")
    session: bool = Field(
        False, description="The operator begins, ends and discards each demonstration by hand, and hears what happens; a file that is there is continued."
    )
    cues: bool | None = Field(None, description="Say aloud what happens; not set: in a session. A browser has a switch of its own.")
    upload: str = Field("", description="Where on the Hugging Face hub the whole file goes at the end, privately, as <user>/<name>; empty: nowhere.")
    save_failed: bool = Field(False, description="Also write what was recorded and not saved, to <output>_failed.hdf5.")
    speed: Literal["slow", "normal", "fast"] = Field("normal", description="How briskly the robot moves; for a person's device half, once or twice.")
    sensitivity: float = Field(1.0, gt=0, description="Multiplies what a device moves.")
    position_sensitivity: float | None = Field(None, gt=0, description="Raw action units a step at full deflection; none: the device's own.")
    rotation_sensitivity: float | None = Field(None, gt=0, description="The same of turning.")
    invert: list[str] = Field(default_factory=list, description="Axes that go the other way: x, y, z, roll, pitch, yaw.")
    axis_scale: dict[str, float] = Field(default_factory=dict, description="What single axes are multiplied by.")
    keys: dict[str, str] = Field(
        default_factory=dict, description='Keys of the keyboard that are others than usual: what is done to the key, as in {"x+" = "i"}.'
    )
    dead_zone: float | None = Field(None, ge=0, lt=1, description="Share of a deflection up to which it counts as none; none: the device's own.")
    gamepad: str = Field("", description="Which gamepad, by its number or part of its name; empty: the first.")
    gamepad_map: dict[str, str] = Field(
        default_factory=dict, description='Controls of the gamepad that are others than usual, as in {"gripper" = "right_shoulder"}.'
    )
    hand: Literal["right", "left"] = Field("right", description="Which tracked hand drives the arm.")
    hand_mode: Literal["relative", "absolute"] = Field(
        "relative", description="relative: engaging begins anew from where hand and arm are; absolute: a place of the hand stays the same place of the arm."
    )
    hand_clutch: Literal["hold", "always"] = Field(
        "hold", description="hold: the arm follows while a controller is squeezed or the other hand pinches; always: whenever the hand is seen."
    )
    hand_smoothing: float = Field(0.5, ge=0, lt=1, description="Share of the last smoothed pose of a hand in the next one, per control step.")
    hand_dead_bands: list[_NotNegative] = Field(
        default_factory=lambda: [0.001, 0.01], min_length=2, max_length=2, description="Movement up to which a hand counts as still [m, rad]."
    )
    hand_yaw_only: bool | None = Field(
        None, description="A hand turns the gripper about the vertical axis alone; not set: so does it, but not a hand with fingers."
    )
    hand_point: Literal["wrist", "pinch"] = Field("wrist", description="What of a hand is followed: its wrist, or between the tips of thumb and index finger.")
    hand_turn: Literal["wrist", "fingers"] = Field("wrist", description="What of a hand turns the gripper: its wrist, or the way thumb and index finger point.")
    operator: str = Field("", description="Who recorded it, for the lineage.")
    consent_id: str = Field("", description="Number of the operator's consent, or where it is filed, for the lineage.")

    @property
    def speaks(self) -> bool:
        """Whether cues are said aloud."""
        return self.session if self.cues is None else self.cues


class AnnotateSettings(Section):
    """`mimicctl annotate`."""

    input_file: str = Field("", description="Recording to annotate; empty: the last one.")
    output_file: str = Field("datasets/annotated.hdf5", description="Where the annotated demonstrations go.")
    strict: bool = Field(False, description="Fail if any demonstration cannot be annotated, instead of leaving it out.")
    start_signals: bool = Field(False, description="Mark where each subtask starts too, which generate.use_skillgen needs.")


class GenerateSettings(Section):
    """`mimicctl generate`."""

    input_file: str = Field("", description="Annotated source demonstrations; empty: the last annotated ones, or those that come with the task.")
    output_file: str = Field("datasets/generated.hdf5", description="Where the generated demonstrations go.")
    trials: int = Field(1000, ge=1, description="Successful demonstrations wanted (attempts, without the guarantee).")
    guarantee: bool = Field(True, description="Go on until the wanted number has succeeded.")
    max_failures: int | None = Field(None, ge=1, description="Give up after this many failed attempts.")
    keep_failed: bool = Field(False, description="Also write the failed attempts, to <output>_failed.hdf5.")
    num_envs: int = Field(16, ge=1, le=1024, description="Envs per worker process.")
    workers: int = Field(0, ge=0, le=512, description="Worker processes; 0: one a core (with ray: of the cluster).")
    engine: Literal["pool", "ray"] = Field("pool", description="What runs the trials: processes of this machine, or a Ray cluster.")
    address: str = Field("", description="Ray cluster, host:port or auto; empty: that of RAY_ADDRESS, or one on this machine for the time of the run.")
    shard: str = Field("", description="Which part of the run to do, as in 0/4: the first of four. Empty: all of it.")
    attempts: int | None = Field(None, ge=1, description="With a shard: attempts of all shards together.")
    status_file: str = Field("", description="JSON file that says every second how the run goes; empty: none.")
    select_src_per_subtask: bool = Field(True, description="Choose the source demo anew for each subtask.")
    use_skillgen: bool = Field(False, description="Segments begin where their start signals do, and a planned bridge leads there if no other is asked for.")
    use_navigation_controller: bool = Field(
        False, description='Wait for, and go on with, a robot that the env drives to its goal; for tasks with an eef "body".'
    )
    bridge: Literal["auto", "arch", "straight", "plan"] = Field(
        "auto",
        description="Path between segments: arch rises over what was built; straight is Isaac Lab's; plan meets nothing, and needs OMPL; auto: plan with use_skillgen, else arch.",
    )
    arch_height: float = Field(0.08, ge=0, le=0.5, description="Rise of the arch [m].")
    bridge_step: float = Field(0.03, gt=0, description="Largest step of the arch [m per control step].")
    names: dict[str, str] = Field(default_factory=dict, description='What the sources call objects, signals and eefs otherwise, as in {cubeA = "cube_2"}.')
    balance: bool = Field(False, description="Prefer start states and source demos that the accepted demos have little of.")
    max_eef_speed: float | None = Field(
        None, ge=0.01, allow_inf_nan=False, description="A hand or base is to move no faster [m/s]; none: as fast as the sources and the bridges do."
    )
    select_src_per_arm: bool = Field(False, description="Each end-effector has a source demo of its own; else all have the same.")
    transform_first_robot_pose: bool = Field(False, description="Begin every segment where the hand was in the source, not only the first one.")
    interpolate_from_last_target_pose: bool = Field(True, description="Bridge from the last target, not from where the hand has come to.")
    subtasks: dict[str, list[dict[str, Any]]] = Field(default_factory=dict, description="Changes to the task's subtasks: eef to a list of fields.")
    constraints: list[dict[str, Any]] = Field(default_factory=list, description="Changes to the task's constraints between end-effectors, and more of them.")
    ignore_constraints: bool = Field(False, description="Leave out all constraints between end-effectors.")

    @property
    def bridge_shape(self) -> Literal["arch", "straight", "plan"]:
        """`bridge`, with "auto" made out."""
        if self.bridge != "auto":
            return self.bridge
        return "plan" if self.use_skillgen else "arch"

    @field_validator("shard")
    @classmethod
    def _is_shard(cls, value: str) -> str:
        if value:
            Shard.parse(value)
        return value

    @field_validator("subtasks")
    @classmethod
    def _fits_subtask(cls, value: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
        return {eef: [_checked(Subtask, f"{eef}[{i}]", _in_our_words(change)) for i, change in enumerate(changes)] for eef, changes in value.items()}

    @field_validator("constraints")
    @classmethod
    def _fits_constraint(cls, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [_checked(SubtaskConstraint, f"constraints[{i}]", change) for i, change in enumerate(value)]


def _in_our_words(change: dict[str, Any]) -> dict[str, Any]:
    """Fields of Isaac Lab's `SubTaskConfig` that have a shorter name here."""
    kwargs = change.get("selection_strategy_kwargs")
    if isinstance(kwargs, dict):
        change = {key: value for key, value in change.items() if key != "selection_strategy_kwargs"} | kwargs
    longer = ("subtask_term_signal", "subtask_term_offset_range", "subtask_start_offset_range")
    return {key.removeprefix("subtask_") if key in longer else key: value for key, value in change.items()}


_LEAST = {"nn_k": 1, "sequential_min_time_diff": -1}
"""Fields whose values begin elsewhere than at 0."""


def _checked(kind: type, path: str, change: dict[str, Any]) -> dict[str, Any]:
    """`change`, whose keys must be fields of the dataclass `kind` and whose values must fit them."""
    types = get_type_hints(kind)
    for key, value in change.items():
        if key not in types:
            raise ValueError(f'a {"subtask" if kind is Subtask else "constraint"} has no field "{key}"{nearest(key, types)}')
        _check_value(f"{path}.{key}", types[key], value, _LEAST.get(key, 0))
    return change


def _check_value(path: str, kind: Any, value: Any, least: float) -> None:
    try:
        # By way of JSON, where a list may stand for a tuple and nothing else is bent to fit.
        TypeAdapter(kind).validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        first, *others = error.errors()
        words = [in_words(first), *(f"or {other['ctx']['expected']}" for other in others if other["type"] == "literal_error")]
        raise ValueError(f"{path} is {value!r}: {' '.join(words)}") from None
    if path.endswith("_range"):
        if value[0] > value[1]:
            raise ValueError(f"{path} is {value!r}: it must go from the lower end to the higher")
        if path.endswith("first_subtask_start_offset_range") and value[0] < 0:
            raise ValueError(f"{path} is {value!r}: a demonstration has no steps before its first")
    elif isinstance(value, (int, float)) and not least <= value < float("inf"):
        raise ValueError(f"{path} is {value!r}: it must be finite and at least {least}")


class RenderSettings(Section):
    """Cameras, in `mimicctl generate` and `mimicctl dataset render`."""

    rendering_mode: Literal["performance", "balanced", "quality"] = Field("balanced", description="Coarser meshes; smooth edges; shadows and all detail.")
    image_size: int | None = Field(None, ge=16, le=4096, description="Height and width of every camera [pixels]; none: the task's own.")
    workers: int = Field(0, ge=0, le=512, description="Processes that draw in dataset render; 0: one a core.")


class TrainSettings(Section):
    """`mimicctl train`."""

    dataset: str = Field("", description="Dataset to learn from; empty: the last generated one.")
    recipe: str = Field(
        "auto",
        description="Named recipe; mimicctl train --list shows them. auto: image-mlp where there are images, mlp-base for a base, mlp-abs for an arm under absolute control, mlp-dual for two arms, mlp-humanoid for a humanoid, mlp-locomanipulation for one that goes from place to place, mlp-hanging for a gripper on cables, else mlp.",
    )
    config_json: str = Field("", description="A robomimic JSON config, used instead of a recipe.")
    name: str = Field("", description="Name of the run; empty: the recipe's.")
    log_dir: str = Field("runs", description="Folder of all runs.")
    epochs: int | None = Field(None, ge=1, description="Epochs; none: the recipe's.")
    batch_size: int | None = Field(None, ge=1, description="Batch size; none: the recipe's.")
    learning_rate: float | None = Field(None, gt=0, description="Learning rate; none: the recipe's.")
    save_every: int | None = Field(None, ge=1, description="Epochs between checkpoints; none: the recipe's.")
    normalize_actions: bool = Field(False, description="Map actions to [-1, 1] by one minimum and maximum, as Isaac Lab does.")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")


class EvalSettings(Section):
    """`mimicctl eval`."""

    checkpoint: list[str] = Field(default_factory=list, description="Checkpoints or run folders, one or a list; empty: the last run.")
    rollouts: int = Field(100, ge=1, description="Rollouts per checkpoint, on the same start states.")
    horizon: int = Field(400, ge=1, description="Control steps a rollout may take.")
    seed: int = Field(101, ge=0, description="Of the start states and of what a policy draws; never the seed data was generated with.")
    num_envs: int = Field(25, ge=1, le=1024, description="Envs per worker process.")
    workers: int = Field(0, ge=0, le=512, description="Worker processes; 0: one a core.")
    norm_factor_min: float | None = Field(None, description="Minimum that normalised actions stand for, where the checkpoint does not say.")
    norm_factor_max: float | None = Field(None, description="Maximum that normalised actions stand for.")
    video: int = Field(0, ge=0, description="Rollouts of each checkpoint to film, the first ones.")
    output_dir: str = Field("", description="Where the report goes; empty: the run folder, or with several of them the working folder.")

    @field_validator("checkpoint", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) and value else value or []

    @property
    def action_range(self) -> tuple[float, float] | None:
        """What actions in [-1, 1] stand for, if that was said.

        Raises:
            UserError: half of it is missing, or the minimum is not below the maximum.
        """
        low, high = self.norm_factor_min, self.norm_factor_max
        if low is None and high is None:
            return None
        if low is None or high is None or low >= high:
            what = f"Actions are mapped from [-1, 1] to a range, which {low} to {high} is not."
            raise UserError(what, where="--norm-factor-min, --norm-factor-max", do="give both, as in logs/normalization_params.txt of the run")
        return low, high


class RunConfig(Section):
    """Everything that can be set."""

    task: str = Field(DEFAULT_TASK, description="Task id; mimicctl tasks lists them.")
    seed: int = Field(1, ge=0, description="Of everything that is drawn by chance.")
    swing_cancellation: bool | None = Field(None, description="Damp the swing of a gripper that hangs on cables; not set: as the task says, which is yes.")
    tasks: TasksSettings = Field(default_factory=TasksSettings)
    isaaclab: IsaacLabSettings = Field(default_factory=IsaacLabSettings)
    record: RecordSettings = Field(default_factory=RecordSettings)
    annotate: AnnotateSettings = Field(default_factory=AnnotateSettings)
    generate: GenerateSettings = Field(default_factory=GenerateSettings)
    augment: AugmentSettings = Field(default_factory=AugmentSettings)
    convert: ConvertSettings = Field(default_factory=ConvertSettings)
    cosmos: CosmosSettings = Field(default_factory=CosmosSettings)
    lerobot: LeRobotSettings = Field(default_factory=LeRobotSettings)
    merge: MergeSettings = Field(default_factory=MergeSettings)
    render: RenderSettings = Field(default_factory=RenderSettings)
    train: TrainSettings = Field(default_factory=TrainSettings)
    eval: EvalSettings = Field(default_factory=EvalSettings)
    robust: RobustSettings = Field(default_factory=RobustSettings)


def settings_of(config: RunConfig) -> Iterator[tuple[str, Any, str]]:
    """Dotted key, value and description of every setting."""
    for name, info in RunConfig.model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            for key, inner in type(value).model_fields.items():
                yield f"{name}.{key}", getattr(value, key), inner.description or ""
        else:
            yield name, value, info.description or ""


# What a mistake is called -----------------------------------------------------------------------------------


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence that asks whether another word was meant; "" if none is like it."""
    known = list(known)
    near = [name for name in known if name.startswith(word)] or difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


_WORDS = {
    "int_type": "it must be an integer",
    "int_from_float": "it must be an integer",
    "float_type": "it must be a number",
    "finite_number": "it must be a finite number",
    "bool_type": "it must be true or false",
    "string_type": "it must be text",
    "list_type": "it must be a list",
    "tuple_type": "it must be a list",
    "dict_type": "it must be a table",
    "too_short": "it must have {min_length} items",
    "too_long": "it must have {max_length} items",
    "missing": "it must have one item more",
    "greater_than": "it must be greater than {gt:g}",
    "greater_than_equal": "it must be at least {ge:g}",
    "less_than": "it must be less than {lt:g}",
    "less_than_equal": "it must be at most {le:g}",
    "literal_error": "it must be {expected}",
}


def in_words(error: Mapping[str, Any]) -> str:
    """A pydantic error as one would say it."""
    message = str(error["msg"])
    return _WORDS.get(error["type"], message[:1].lower() + message[1:]).format(**error.get("ctx", {}))
