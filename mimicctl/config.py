"""The run config that all subcommands share, and where each of its values came from.

Layers, each over the one before: defaults, `mimicctl.toml` in the working folder, the file of `--config`, variables
`MIMICCTL_SECTION__KEY`, flags, and `-o section.key=value`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mimicctl.errors import UserError
from mimicctl.tasks import DEFAULT_TASK, Subtask

FILE_NAME = "mimicctl.toml"
_PREFIX = "MIMICCTL_"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True)


class RecordSettings(_Section):
    """`mimicctl record` and `teleop`."""

    device: Literal["keyboard", "scripted"] = Field("keyboard", description="What drives the robot.")
    output_file: str = Field("datasets/dataset.hdf5", description="Where recordings go.")
    num_demos: int = Field(10, ge=0, description="Successful demonstrations wanted; 0 for no end.")
    num_success_steps: int = Field(10, ge=1, description="Control steps that success must hold to be saved.")
    step_hz: float | None = Field(None, ge=0, description="Control steps per second of wall clock; 0 as fast as possible; none: the task's rate, or 0 with the scripted operator.")
    speed: Literal["slow", "normal", "fast"] = Field("normal", description="How briskly the scripted operator moves.")
    sensitivity: float = Field(1.0, gt=0, description="Multiplies what a key moves.")
    operator: str = Field("", description="Who recorded it, for the lineage.")


class AnnotateSettings(_Section):
    """`mimicctl annotate`."""

    input_file: str = Field("", description="Recording to annotate; empty: the last one.")
    output_file: str = Field("datasets/annotated.hdf5", description="Where the annotated demonstrations go.")
    strict: bool = Field(False, description="Fail if any demonstration cannot be annotated, instead of leaving it out.")


class GenerateSettings(_Section):
    """`mimicctl generate`."""

    input_file: str = Field("", description="Annotated source demonstrations; empty: the last annotated ones, or those that come with the task.")
    output_file: str = Field("datasets/generated.hdf5", description="Where the generated demonstrations go.")
    trials: int = Field(1000, ge=1, description="Successful demonstrations wanted (attempts, without the guarantee).")
    guarantee: bool = Field(True, description="Go on until the wanted number has succeeded.")
    max_failures: int | None = Field(None, ge=1, description="Give up after this many failed attempts.")
    keep_failed: bool = Field(False, description="Also write the failed attempts, to <output>_failed.hdf5.")
    num_envs: int = Field(8, ge=1, le=1024, description="Envs per worker process.")
    workers: int = Field(0, ge=0, le=512, description="Worker processes; 0: one a core.")
    select_src_per_subtask: bool = Field(True, description="Choose the source demo anew for each subtask.")
    bridge: Literal["arch", "straight"] = Field("arch", description="Path between segments: arch rises over what was built; straight is Isaac Lab's.")
    arch_height: float = Field(0.08, ge=0, le=0.5, description="Rise of the arch [m].")
    bridge_step: float = Field(0.02, gt=0, description="Largest step of the arch [m per control step].")
    subtasks: dict[str, list[dict[str, Any]]] = Field(default_factory=dict, description="Changes to the task's subtasks: eef to a list of fields.")

    @field_validator("subtasks")
    @classmethod
    def _known_fields(cls, value: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
        known = {f.name for f in dataclasses.fields(Subtask)}
        for change in (c for changes in value.values() for c in changes):
            for key in change.keys() - known:
                raise ValueError(f'a subtask has no field "{key}"{_nearest(key, known)}')
        return value


class TrainSettings(_Section):
    """`mimicctl train`."""

    dataset: str = Field("", description="Dataset to learn from; empty: the last generated one.")
    recipe: str = Field("mlp", description="Named recipe; mimicctl train --list shows them.")
    config_json: str = Field("", description="A robomimic JSON config, used instead of a recipe.")
    name: str = Field("", description="Name of the run; empty: the recipe's.")
    log_dir: str = Field("runs", description="Folder of all runs.")
    epochs: int | None = Field(None, ge=1, description="Epochs; none: the recipe's.")
    batch_size: int | None = Field(None, ge=1, description="Batch size; none: the recipe's.")
    learning_rate: float | None = Field(None, gt=0, description="Learning rate; none: the recipe's.")
    save_every: int | None = Field(None, ge=1, description="Epochs between checkpoints; none: the recipe's.")
    normalize_actions: bool = Field(False, description="Map actions to [-1, 1] by one minimum and maximum, as Isaac Lab does.")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")


class EvalSettings(_Section):
    """`mimicctl eval`."""

    checkpoint: str = Field("", description="Checkpoint or run folder; empty: the last run.")
    rollouts: int = Field(100, ge=1, description="Rollouts per checkpoint, on the same start states.")
    horizon: int = Field(400, ge=1, description="Control steps a rollout may take.")
    seed: int = Field(101, ge=0, description="Of the start states; never the seed data was generated with.")
    num_envs: int = Field(25, ge=1, le=1024, description="Envs at once.")
    output_dir: str = Field("", description="Where the report goes; empty: beside the checkpoints.")


class RunConfig(_Section):
    """Everything that can be set."""

    task: str = Field(DEFAULT_TASK, description="Task id; mimicctl tasks lists them.")
    seed: int = Field(1, ge=0, description="Of everything that is drawn by chance.")
    record: RecordSettings = Field(default_factory=RecordSettings)
    annotate: AnnotateSettings = Field(default_factory=AnnotateSettings)
    generate: GenerateSettings = Field(default_factory=GenerateSettings)
    train: TrainSettings = Field(default_factory=TrainSettings)
    eval: EvalSettings = Field(default_factory=EvalSettings)


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
        _check_key(path, origin)
        _put(values, path, value, origin)
        origins[key] = origin
    try:
        return Resolved(RunConfig.model_validate(values), origins)
    except ValidationError as error:
        raise _plain(error, origins) from None


def _layers(
    flags: Mapping[str, Any], config_file: Path | None, overrides: Sequence[str], environ: Mapping[str, str], folder: Path
) -> Iterator[tuple[str, Any, str]]:
    if (folder / FILE_NAME).is_file():
        yield from _from_file(folder / FILE_NAME)
    if config_file is not None:
        yield from _from_file(config_file)
    for name in sorted(environ):
        if name.startswith(_PREFIX):
            yield name.removeprefix(_PREFIX).lower().replace("__", "."), _parse_value(environ[name]), f"variable {name}"
    for key, value in flags.items():
        if value is not None:
            yield key, value, "flag --" + key.rsplit(".", 1)[-1].replace("_", "-")
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f'"{text}" sets nothing.', where="-o", do="write it as section.key=value")
        yield key.strip(), _parse_value(value.strip()), f"-o {text}"


def _from_file(path: Path) -> Iterator[tuple[str, Any, str]]:
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"Cannot read the config file: {error.strerror}.", where=str(path), do="check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"The config file is not TOML: {error}.", where=str(path), do="mimicctl config show prints valid TOML keys") from None
    for key, value in _flat(tables):
        yield key, value, str(path)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and f"{prefix}{key}" != "generate.subtasks":
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _parse_key(key: str, origin: str) -> list[str | int]:
    """`a.b[0].c` as ["a", "b", 0, "c"]."""
    if not re.fullmatch(r"\w+(\.\w+|\[\d+\])*", key):
        raise UserError(f'"{key}" is not a key.', where=origin, do="write section.key, or section.list[0].key")
    return [int(part[1:-1]) if part.startswith("[") else part for part in re.findall(r"\w+(?![\w]*\])|\[\d+\]", key)]


def _check_key(path: list[str | int], origin: str) -> None:
    model: type[BaseModel] | None = RunConfig
    for depth, part in enumerate(path):
        if model is None:
            return
        fields = model.model_fields
        if part not in fields:
            key = ".".join(str(p) for p in path[: depth + 1])
            raise UserError(f'There is no setting "{key}"{_nearest(str(part), fields)}.', where=origin, do="mimicctl config show lists them all")
        annotation = fields[part].annotation
        model = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _nearest(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _put(values: dict[str, Any], path: list[str | int], value: Any, origin: str) -> None:
    target: Any = values
    for part, following in zip(path, [*path[1:], None], strict=True):
        fresh: Any = value if following is None else [] if isinstance(following, int) else {}
        if isinstance(part, int):
            target.extend({} for _ in range(part + 1 - len(target)))
            target[part] = fresh if following is None else target[part] or fresh
        elif following is None:
            target[part] = fresh
        else:
            target.setdefault(part, fresh)
        target = target[part]
        if following is not None and not isinstance(target, (list if isinstance(following, int) else dict)):
            raise UserError(f'"{part}" cannot be set from two sides.', where=origin, do="set it whole in one place")


def _plain(error: ValidationError, origins: Mapping[str, str]) -> UserError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    origin = next((o for name, o in origins.items() if key.startswith(name) or name.startswith(key)), "the config")
    return UserError(f"{key} cannot be {first['input']!r}: {message[0].lower()}{message[1:]}.", where=origin, do="mimicctl config show lists all settings")


def settings_of(config: RunConfig) -> Iterator[tuple[str, Any, str]]:
    """Dotted key, value and description of every setting."""
    for name, info in RunConfig.model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            for key, inner in type(value).model_fields.items():
                yield f"{name}.{key}", getattr(value, key), inner.description or ""
        else:
            yield name, value, info.description or ""
