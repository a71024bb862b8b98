"""Frozen dataclasses <-> TOML.  A file -> settings that were checked once, and back.

Unknown keys and wrong types are errors that name the file, the table and the nearest known key.
"""

import difflib
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import tomli_w

from wavtext.errors import ConfigError

T = TypeVar("T")


def read_toml(path: Path | str) -> dict[str, Any]:
    """The tables of a TOML file; a ConfigError that names the file and line when it is not TOML."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}.") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from error


def load_config(cls: type[T], path: Path | str) -> T:
    """The TOML file at `path` as an instance of the dataclass `cls`."""
    return from_dict(cls, read_toml(path), where=str(path))


def from_dict(cls: type[T], values: Mapping[str, Any], *, where: str, table: str = "") -> T:
    """A dataclass from plain values, nested dataclasses from nested tables.

    Args:
        cls: A dataclass.
        values: Its settings; names missing here take the dataclass's defaults.
        where: The file or source, for the error message.
        table: The TOML table that `values` came from, for the error message.

    Raises:
        ConfigError: A name is unknown, a value has the wrong type, or the dataclass refuses it.
    """
    known = {field.name: field for field in fields(cast(Any, cls)) if field.init}
    hints = get_type_hints(cls)
    place = f"{where}: [{table}] " if table else f"{where}: "
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(sorted(known))}."
            raise ConfigError(f"{place}no setting '{name}'.", help=hint)
    arguments: dict[str, Any] = {}
    for name, field in known.items():
        if name in values:
            inner = f"{table}.{name}" if table else name
            arguments[name] = _convert(values[name], hints[name], where=where, table=inner)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{place}the setting '{name}' is missing.")
    try:
        return cls(**arguments)
    except ConfigError as error:
        raise ConfigError(f"{place}{error}") from error


def to_dict(config: Any) -> dict[str, Any]:
    """Plain values of a dataclass for TOML: paths as text, tuples as lists, None left out."""
    return cast(dict[str, Any], _plain(asdict(config)))


def save_config(config: Any, path: Path | str) -> None:
    """Write the dataclass as TOML."""
    Path(path).write_text(dumps_toml(to_dict(config)), encoding="utf-8")


def dumps_toml(values: Mapping[str, Any]) -> str:
    """TOML text of plain values."""
    return tomli_w.dumps(values)


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of the settings that differ between two results of `to_dict`."""
    changed: list[str] = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            tables = cast(dict[str, Any], old), cast(dict[str, Any], new)
            changed += differences(*tables, f"{prefix}{name}.")
        elif old != new:
            changed.append(prefix + name)
    return changed


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast(dict[str, Any], value).items()
        return {name: _plain(inner) for name, inner in items if inner is not None}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in cast(list[Any], value)]
    if isinstance(value, Path):
        return str(value)
    return value


def _convert(value: Any, hint: Any, *, where: str, table: str) -> Any:
    origin = get_origin(hint)
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: '{table}' must be a table, not {value!r}.")
        return from_dict(
            cast(type[Any], hint), cast(Mapping[str, Any], value), where=where, table=table
        )
    if origin in (Union, types.UnionType):
        choices = [choice for choice in get_args(hint) if choice is not types.NoneType]
        for choice in choices[:-1]:
            try:
                return _convert(value, choice, where=where, table=table)
            except ConfigError:
                continue
        return _convert(value, choices[-1], where=where, table=table)
    if origin is Literal:
        if value not in get_args(hint):
            known = ", ".join(repr(choice) for choice in get_args(hint))
            raise ConfigError(f"{where}: '{table}' is {value!r}; it must be one of {known}.")
        return value
    if origin in (tuple, list):
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: '{table}' must be a list, not {value!r}.")
        inner = get_args(hint)[0] if get_args(hint) else Any
        return origin(
            _convert(each, inner, where=where, table=f"{table}[{i}]")
            for i, each in enumerate(cast(list[Any], value))
        )
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: '{table}' must be a table, not {value!r}.")
        return dict(cast(Mapping[str, Any], value))
    return _convert_plain(value, hint, where=where, table=table)


def _convert_plain(value: Any, hint: Any, *, where: str, table: str) -> Any:
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Any or (
        isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool)
    ):
        return value
    wanted = getattr(hint, "__name__", str(hint))
    raise ConfigError(
        f"{where}: '{table}' is {value!r} ({type(value).__name__}); it must be {wanted}."
    )
