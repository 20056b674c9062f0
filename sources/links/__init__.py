"""Linker rules: each file joins attempts by one kind of evidence. A new rule is a file here and a line in `LINKERS`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import cast

from sources.links.protocol import Linker

LINKERS: Mapping[str, str] = MappingProxyType(
    {
        "revert": "sources.links.revert:links",
        "reland": "sources.links.reland:links",
        "reference": "sources.links.reference:links",
        "backport": "sources.links.backport:links",
        "szz": "sources.links.szz:links",
        "superseded": "sources.links.superseded:links",
        "reopened": "sources.links.reopened:links",
    }
)
"""Rule name → import path of a `Linker`."""


def linker(rule: str) -> Linker:
    """The linker of a rule; raises `ValueError` that lists the rules there are."""
    if rule not in LINKERS:
        raise ValueError(f"unknown linker rule {rule!r}; known are {', '.join(LINKERS)}")
    module, _, name = LINKERS[rule].partition(":")
    return cast(Linker, getattr(import_module(module), name))
