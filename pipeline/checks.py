"""Checks that config dataclasses share."""

from __future__ import annotations


def at_least(least: int, config: object, *names: str) -> None:
    """Raise `ValueError` naming the first of the fields `names` whose value is below `least`."""
    for name in names:
        value = getattr(config, name)
        if value < least:
            raise ValueError(f"{name} is {value}; give at least {least}")
