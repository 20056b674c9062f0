"""Engines: token prefixes in, sampled ids with log-probabilities out; each is one file and one line in `ENGINES`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from pipeline.tokens import Tokenizer
from scaffolds.protocols import Engine

ENGINES: dict[str, str] = {
    "scripted": "scaffolds.engines.scripted:open_engine",
    "transformers": "scaffolds.engines.transformers:open_engine",
}
"""Import paths, by the name a config carries, of functions that make an engine and its tokenizer from arguments."""


def open_engine(name: str, arguments: Mapping[str, int | float | str] | None = None) -> tuple[Engine, Tokenizer]:
    """A new engine and the tokenizer its ids are of. Raises `ValueError` for an unknown name or argument."""
    if name not in ENGINES:
        raise ValueError(f"engine {name!r} is not known; known are {', '.join(sorted(ENGINES))}")
    module, _, attribute = ENGINES[name].partition(":")
    try:
        opened: tuple[Engine, Tokenizer] = getattr(import_module(module), attribute)(**(arguments or {}))
    except TypeError as error:
        raise ValueError(f"engine {name!r} does not take {dict(arguments or {})}: {error}") from error
    return opened
