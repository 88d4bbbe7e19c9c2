"""Where the values of the run config come from, and where each of them did.

Layers, each over the one before: defaults, `mimicctl.toml` in the working folder, the file of `--config`, variables
`MIMICCTL_SECTION__KEY`, flags, and `-o section.key=value`.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from mimicctl.config import RunConfig, in_words, nearest, settings_of
from mimicctl.errors import UserError

FILE_NAME = "mimicctl.toml"
_PREFIX = "MIMICCTL_"
_LIST_ALL = "mimicctl config schema lists all settings"
"""Not `config show`, which reads the same files and would fail over the same mistake."""

_MOST_ITEMS = 100
"""An index beyond this is a slip of the finger, not a list."""


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
            hint = _elsewhere(str(part)) or nearest(str(part), model.model_fields) or "."
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
    return UserError(f"{key} cannot be {first['input']!r}: {in_words(first)}.", where=where, do=_LIST_ALL)
