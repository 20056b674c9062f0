"""Worlds that hold tasks, answer actions and verify episodes; each is one file and one line in `ENVIRONMENTS`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from scaffolds.protocols import Environment

ENVIRONMENTS: dict[str, str] = {
    "dark_bandit": "scaffolds.environments.dark_bandit:DarkBandit",
    "hidden_door": "scaffolds.environments.hidden_door:HiddenDoor",
    "number_guess": "scaffolds.environments.number_guess:NumberGuess",
}
"""Import paths by the name that `Task.environment` and a config carry."""


def make_environment(name: str, arguments: Mapping[str, int | float | str] | None = None) -> Environment:
    """A new environment of the family `name`. Raises `ValueError` for an unknown name or argument."""
    if name not in ENVIRONMENTS:
        raise ValueError(f"environment {name!r} is not known; known are {', '.join(sorted(ENVIRONMENTS))}")
    module, _, attribute = ENVIRONMENTS[name].partition(":")
    family = getattr(import_module(module), attribute)
    try:
        environment: Environment = family(**(arguments or {}))
    except TypeError as error:
        raise ValueError(f"environment {name!r} does not take {dict(arguments or {})}: {error}") from error
    return environment
