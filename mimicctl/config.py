"""The run config that all subcommands share, and where each of its values came from.

Layers, each over the one before: defaults, `mimicctl.toml` in the working folder, the file of `--config`, variables
`MIMICCTL_SECTION__KEY`, flags, and `-o section.key=value`.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator
from pydantic.fields import FieldInfo

from mimicctl.errors import UserError
from mimicctl.settings import AugmentSettings, ConvertSettings, CosmosSettings, IsaacLabSettings, MergeSettings, RobustSettings, Section, TasksSettings
from mimicctl.shard import Shard
from mimicctl.tasks import DEFAULT_TASK, Subtask, SubtaskConstraint

FILE_NAME = "mimicctl.toml"
_PREFIX = "MIMICCTL_"
_LIST_ALL = "mimicctl config schema lists all settings"
"""Not `config show`, which reads the same files and would fail over the same mistake."""

_MOST_ITEMS = 100
"""An index beyond this is a slip of the finger, not a list."""


_NotNegative = Annotated[float, Field(ge=0)]


class RecordSettings(Section):
    """`mimicctl record` and `teleop`."""

    device: str = Field(
        "keyboard", description="What drives the robot: keyboard, gamepad, spacemouse, udp, websocket, hands, scripted, or one that another package adds."
    )
    spacemouse_serial: str = Field("", description="Serial number of the SpaceMouse to use; empty: the one that moves first.")
    udp_address: str = Field("127.0.0.1:8900", description="host:port that the udp device listens on.")
    websocket_address: str = Field("127.0.0.1:8901", description="host:port that the websocket and hands devices listen on.")
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
    hand_yaw_only: bool = Field(True, description="A hand turns the gripper about the vertical axis alone.")
    hand_point: Literal["wrist", "pinch"] = Field("wrist", description="What of a hand is followed: its wrist, or between the tips of thumb and index finger.")
    hand_turn: Literal["wrist", "fingers"] = Field("wrist", description="What of a hand turns the gripper: its wrist, or the way thumb and index finger point.")
    operator: str = Field("", description="Who recorded it, for the lineage.")


class AnnotateSettings(Section):
    """`mimicctl annotate`."""

    input_file: str = Field("", description="Recording to annotate; empty: the last one.")
    output_file: str = Field("datasets/annotated.hdf5", description="Where the annotated demonstrations go.")
    strict: bool = Field(False, description="Fail if any demonstration cannot be annotated, instead of leaving it out.")
    start_signals: bool = Field(False, description="By hand: mark where each subtask starts too, which SkillGen in Isaac Lab needs.")


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
    bridge: Literal["arch", "straight", "plan"] = Field(
        "arch", description="Path between segments: arch rises over what was built; straight is Isaac Lab's; plan meets nothing, and needs OMPL."
    )
    arch_height: float = Field(0.08, ge=0, le=0.5, description="Rise of the arch [m].")
    bridge_step: float = Field(0.03, gt=0, description="Largest step of the arch [m per control step].")
    names: dict[str, str] = Field(default_factory=dict, description='What the sources call objects, signals and eefs otherwise, as in {cubeA = "cube_2"}.')
    balance: bool = Field(False, description="Prefer start states and source demos that the accepted demos have little of.")
    max_eef_speed: float | None = Field(
        None, ge=0.01, allow_inf_nan=False, description="Targets of a hand or base move no faster [m/s]; none: as fast as the sources and the bridges do."
    )
    select_src_per_arm: bool = Field(False, description="Each end-effector has a source demo of its own; else all have the same.")
    transform_first_robot_pose: bool = Field(False, description="Begin every segment where the hand was in the source, not only the first one.")
    interpolate_from_last_target_pose: bool = Field(True, description="Bridge from the last target, not from where the hand has come to.")
    subtasks: dict[str, list[dict[str, Any]]] = Field(default_factory=dict, description="Changes to the task's subtasks: eef to a list of fields.")
    constraints: list[dict[str, Any]] = Field(default_factory=list, description="Changes to the task's constraints between end-effectors, and more of them.")
    ignore_constraints: bool = Field(False, description="Leave out all constraints between end-effectors.")

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
    return {key.removeprefix("subtask_") if key in ("subtask_term_signal", "subtask_term_offset_range") else key: value for key, value in change.items()}


_LEAST = {"nn_k": 1, "sequential_min_time_diff": -1}
"""Fields whose values begin elsewhere than at 0."""


def _checked(kind: type, path: str, change: dict[str, Any]) -> dict[str, Any]:
    """`change`, whose keys must be fields of the dataclass `kind` and whose values must fit them."""
    types = get_type_hints(kind)
    for key, value in change.items():
        if key not in types:
            raise ValueError(f'a {"subtask" if kind is Subtask else "constraint"} has no field "{key}"{_nearest(key, types)}')
        _check_value(f"{path}.{key}", types[key], value, _LEAST.get(key, 0))
    return change


def _check_value(path: str, kind: Any, value: Any, least: float) -> None:
    try:
        # By way of JSON, where a list may stand for a tuple and nothing else is bent to fit.
        TypeAdapter(kind).validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        first, *others = error.errors()
        words = [_in_words(first), *(f"or {other['ctx']['expected']}" for other in others if other["type"] == "literal_error")]
        raise ValueError(f"{path} is {value!r}: {' '.join(words)}") from None
    if path.endswith("_range"):
        if value[0] > value[1]:
            raise ValueError(f"{path} is {value!r}: it must go from the lower end to the higher")
        if path.endswith("start_offset_range") and value[0] < 0:
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
        description="Named recipe; mimicctl train --list shows them. auto: image-mlp where there are images, mlp-base for a base, mlp-dual for two arms, else mlp.",
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
    tasks: TasksSettings = Field(default_factory=TasksSettings)
    isaaclab: IsaacLabSettings = Field(default_factory=IsaacLabSettings)
    record: RecordSettings = Field(default_factory=RecordSettings)
    annotate: AnnotateSettings = Field(default_factory=AnnotateSettings)
    generate: GenerateSettings = Field(default_factory=GenerateSettings)
    augment: AugmentSettings = Field(default_factory=AugmentSettings)
    convert: ConvertSettings = Field(default_factory=ConvertSettings)
    cosmos: CosmosSettings = Field(default_factory=CosmosSettings)
    merge: MergeSettings = Field(default_factory=MergeSettings)
    render: RenderSettings = Field(default_factory=RenderSettings)
    train: TrainSettings = Field(default_factory=TrainSettings)
    eval: EvalSettings = Field(default_factory=EvalSettings)
    robust: RobustSettings = Field(default_factory=RobustSettings)


@dataclasses.dataclass(frozen=True)
class Resolved:
    """A config and, for each dotted key that was set, what set it."""

    config: RunConfig
    origins: dict[str, str]

    def origin(self, key: str) -> str:
        """Where the value of a dotted key came from; settings inside it count."""
        found = [origin for name, origin in self.origins.items() if name == key or name.startswith((f"{key}.", f"{key}["))]
        return ", ".join(dict.fromkeys(found)) or "default"


def resolve(
    flags: Mapping[str, Any],
    *,
    config_file: Path | None = None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Resolved:
    """Put the layers on top of each other.

    Args:
        flags: dotted key to value; None means the flag was not given.
        overrides: "section.key=value" strings; values are TOML, or else plain text.
        environ: the environment; only MIMICCTL_ variables are looked at.
        folder: where `mimicctl.toml` is looked for; default the working folder.

    Raises:
        UserError: a key that does not exist (with the nearest one that does) or a value that does not fit, and where.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for key, value, origin in _layers(flags, config_file, overrides, environ or {}, folder or Path.cwd()):
        path = _parse_key(key, origin)
        field = _find_field(path, origin)
        _put(values, path, _fitted(value, field, origin), origin)
        for inner in [name for name in origins if _holds(key, name)]:
            del origins[inner]
        origins[key] = origin
    try:
        return Resolved(RunConfig.model_validate(values), origins)
    except ValidationError as error:
        raise _plain(error, origins) from None


@dataclasses.dataclass(frozen=True)
class _Text:
    """A value as somebody typed it; what it means depends on the setting."""

    text: str


def _layers(
    flags: Mapping[str, Any], config_file: Path | None, overrides: Sequence[str], environ: Mapping[str, str], folder: Path
) -> Iterator[tuple[str, Any, str]]:
    if (folder / FILE_NAME).exists():
        yield from _from_file(folder / FILE_NAME)
    if config_file is not None:
        yield from _from_file(config_file)
    for name in sorted(environ):
        if name.startswith(_PREFIX):
            key = name.removeprefix(_PREFIX).lower().replace("__", ".")
            yield from _from_text(key, environ[name], f"variable {name}")
    for key, value in flags.items():
        if value is not None:
            yield key, value, "flag --" + key.rsplit(".", 1)[-1].replace("_", "-")
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f'"{text}" sets nothing.', where=f"-o {text}", do="write it as section.key=value")
        yield from _from_text(key.strip(), value.strip(), f"-o {text}")


def _from_file(path: Path) -> Iterator[tuple[str, Any, str]]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"Cannot read the config file: {error.strerror}.", where=str(path), do="check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"The config file is not TOML: {error}.", where=str(path), do=_LIST_ALL) from None
    for key, value in _flat(tables):
        yield key, value, str(path)


def _from_text(key: str, text: str, origin: str) -> Iterator[tuple[str, Any, str]]:
    value = _parse_value(text)
    if isinstance(value, dict):
        for inner, inner_value in _flat(value, f"{key}."):
            yield inner, inner_value, origin
    else:
        yield key, _Text(text), origin


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Tables taken apart down to the settings; what `generate.subtasks` holds is one list an eef."""
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{name}.")
        elif value != {}:
            yield name, value


def _parse_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _fitted(value: Any, field: FieldInfo | None, origin: str) -> Any:
    """Typed text as what the setting asks for: TOML, but plain text needs no quotes, and `none` stands for no value."""
    parsed = _parse_value(value.text) if isinstance(value, _Text) else value
    if field is None:
        return parsed
    if isinstance(parsed, str) and parsed.lower() in ("none", "null") and type(None) in get_args(field.annotation):
        return None
    if isinstance(value, _Text) and field.annotation is str and not isinstance(parsed, str):
        return value.text
    return parsed


def _parse_key(key: str, origin: str) -> list[str | int]:
    """`a.b[0].c` as ["a", "b", 0, "c"]."""
    if not re.fullmatch(r"\w+[+-]?(\.\w+[+-]?|\[\d+\])*", key):
        raise UserError(f'"{key}" is not a key.', where=origin, do="write section.key, or section.list[0].key")
    path = [int(index) if index else name for name, index in re.findall(r"(\w+[+-]?)(?!\w*\])|\[(\d+)\]", key)]
    if any(isinstance(part, int) and part >= _MOST_ITEMS for part in path):
        raise UserError(f'"{key}" counts too far; lists have at most {_MOST_ITEMS} items, counted from 0.', where=origin)
    return path


def _find_field(path: list[str | int], origin: str) -> FieldInfo | None:
    """The setting at `path`, or None inside a setting that is a table: its keys are checked where they are understood."""
    model: type[BaseModel] = RunConfig
    whole = ".".join(str(part) for part in path)
    for depth, part in enumerate(path):
        key = ".".join(str(p) for p in path[: depth + 1])
        if part not in model.model_fields:
            hint = _elsewhere(str(part)) or _nearest(str(part), model.model_fields) or "."
            raise UserError(f'There is no setting "{whole}"{hint}', where=origin, do=_LIST_ALL)
        field = model.model_fields[str(part)]
        rest = path[depth + 1 :]
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            if not rest:
                inside = f"{key}.{next(iter(field.annotation.model_fields))}"
                raise UserError(f'"{key}" is a section, not a setting.', where=origin, do=f"set what is in it, for instance {inside}")
            model = field.annotation
        elif rest and get_origin(field.annotation) is not dict and not _lists_tables(field.annotation):
            raise UserError(f'There is no setting "{whole}"; {key} is one value, with nothing inside.', where=origin, do=f"set {key} itself")
        else:
            return None if rest else field
    raise AssertionError("a key has at least one part")


def _lists_tables(annotation: Any) -> bool:
    return get_origin(annotation) is list and get_origin(get_args(annotation)[0]) is dict


def _nearest(word: str, known: Iterable[str]) -> str:
    known = list(known)
    near = [name for name in known if name.startswith(word)] or difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _elsewhere(word: str) -> str:
    """Sections that do have a setting of this name."""
    found = [key for key, _, _ in settings_of(RunConfig()) if key.rsplit(".", 1)[-1] == word]
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _put(values: dict[str, Any], path: list[str | int], value: Any, origin: str) -> None:
    target: Any = values
    for part, following in zip(path, [*path[1:], None], strict=True):
        if not isinstance(target, list if isinstance(part, int) else dict):
            raise UserError("A list and named fields cannot stand in the same place.", where=origin, do="set it whole in one place")
        fresh: Any = value if following is None else [] if isinstance(following, int) else {}
        if isinstance(part, int):
            target.extend({} for _ in range(part + 1 - len(target)))
            target[part] = fresh if following is None else target[part] or fresh
        elif following is None:
            target[part] = fresh
        else:
            target.setdefault(part, fresh)
        target = target[part]


def _holds(outer: str, inner: str) -> bool:
    """Whether the setting `outer` is `inner` or contains it."""
    return inner == outer or inner.startswith((f"{outer}.", f"{outer}["))


def _plain(error: ValidationError, origins: Mapping[str, str]) -> UserError:
    first = error.errors()[0]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).removeprefix(".")
    found = [origin for name, origin in origins.items() if _holds(name, key) or _holds(key, name)]
    where = ", ".join(dict.fromkeys(found)) or "the config"
    if first["type"] == "value_error":
        what = first["msg"].removeprefix("Value error, ")
        return UserError(f"{key} does not fit: {what.rstrip('?.')}{'?' if what.endswith('?') else '.'}", where=where, do=_LIST_ALL)
    return UserError(f"{key} cannot be {first['input']!r}: {_in_words(first)}.", where=where, do=_LIST_ALL)


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


def _in_words(error: Mapping[str, Any]) -> str:
    """A pydantic error as one would say it."""
    message = str(error["msg"])
    return _WORDS.get(error["type"], message[:1].lower() + message[1:]).format(**error.get("ctx", {}))


def settings_of(config: RunConfig) -> Iterator[tuple[str, Any, str]]:
    """Dotted key, value and description of every setting."""
    for name, info in RunConfig.model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            for key, inner in type(value).model_fields.items():
                yield f"{name}.{key}", getattr(value, key), inner.description or ""
        else:
            yield name, value, info.description or ""
