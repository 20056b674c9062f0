"""One TOML file for a run, mapped onto the config dataclasses that live beside the components.

Every section is optional; every key has a default. An unknown section or key, or a value of the wrong type, is an
error that names it and what would be valid.
"""

from __future__ import annotations

import difflib
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


class ConfigError(ValueError):
    """A config that cannot be used; the message names the value and the remedy."""


def load(path: str | Path, sections: typing.Collection[str]) -> dict[str, dict[str, Any]]:
    """The tables of a TOML file by section name; raises `ConfigError` for sections other than `sections`."""
    try:
        with Path(path).open("rb") as stream:
            tables = tomllib.load(stream)
    except FileNotFoundError as error:
        raise ConfigError(
            f"config file {str(path)!r} does not exist; `retrial init` writes one with all keys"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"config file {str(path)!r} is not TOML: {error}; text stands in quotes, a key without a value is left out"
        ) from error
    for name, table in tables.items():
        if name not in sections:
            raise ConfigError(f"{path}: unknown section [{name}]{_hint(name, sections)}")
        if not isinstance(table, dict) and not (isinstance(table, list) and all(isinstance(t, dict) for t in table)):
            raise ConfigError(f"{path}: {name} = {table!r} stands outside a section; sections are {_listed(sections)}")
    return tables


def parse_value(text: str) -> Any:
    """A single value written as in TOML; raises `ConfigError` for one that is not."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{text!r} is not a TOML value ({error}); a table is written {{key = 1}}") from error


def merge(table: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`table` with the values of `over` in it; a table in both is merged key by key, anything else is replaced."""
    merged = dict(table)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def build(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """A config dataclass from a TOML table; `where` is the section's name for error messages."""
    if not is_dataclass(cls):
        raise TypeError(f"{cls!r} is not a dataclass")
    hints = get_type_hints(cls)
    known = [f.name for f in fields(cls) if f.init]
    for key in table:
        if key not in known:
            raise ConfigError(f"[{where}] has no key {key!r}{_hint(key, known)}")
    values = {key: _convert(hints[key], value, f"[{where}] {key}") for key, value in table.items()}
    needed = [f.name for f in fields(cls) if f.init and f.default is MISSING and f.default_factory is MISSING]
    for key in needed:
        if key not in values:
            raise ConfigError(
                f"[{where}] needs {key!r} ({_name(hints[key])}); give it in the config file or as an option"
            )
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(f"[{where}] {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        errors = []
        for option in args:
            if option is not type(None):
                try:
                    return _convert(option, value, where)
                except ConfigError as error:
                    errors.append(error)
        raise errors[0]
    if origin is typing.Literal:
        if value not in args:
            raise ConfigError(f"{where} = {value!r}{_hint(str(value), [str(a) for a in args])}")
        return value
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return build(hint, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        inner = args[0] if len(args) == 2 and args[1] is Ellipsis else None
        if inner is None and len(args) != len(value):
            raise ConfigError(f"{where} = {value!r} has {len(value)} items; it takes {len(args)}")
        return tuple(
            _convert(inner if inner is not None else args[i], item, f"{where}[{i}]") for i, item in enumerate(value)
        )
    if origin in (dict, Mapping) or (origin is not None and isinstance(origin, type) and issubclass(origin, Mapping)):
        if isinstance(value, dict):
            return {key: _convert(args[1], item, f"{where}.{key}") for key, item in value.items()}
    elif hint is Any:
        return value
    elif hint is Path and isinstance(value, str):
        return Path(value)
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{where} = {value!r} is a {type(value).__name__}; it takes {_name(hint)}")


def _name(hint: Any) -> str:
    return getattr(hint, "__name__", None) or str(hint).replace("typing.", "")


def _listed(names: typing.Collection[str]) -> str:
    return ", ".join(sorted(names))


def _hint(name: str, known: typing.Collection[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; valid are {_listed(known)}"
