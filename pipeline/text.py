"""Untrusted text: whether it has a UTF-8 form, and how to look at it without harm."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

_KEPT = "\n\t"


def visible(text: str) -> str:
    """`text` with control and format characters (escape codes, NUL, right-to-left overrides) shown as `\\x1b`-style."""
    if text.isprintable():
        return text
    return "".join(
        c if c in _KEPT or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else c.encode("unicode_escape").decode()
        for c in text.replace("\r\n", "\n")
    )


def well_formed(text: str) -> str:
    """`text` with each lone surrogate replaced by U+FFFD, so that it has a UTF-8 form. Other text is unchanged."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def unencodable(value: Any, path: str) -> Iterator[str]:
    """Where in dicts and lists below `path` a string has no UTF-8 form: its path and the character's place."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            yield f"{path.lstrip('.')} at character {error.start}"
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from unencodable(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from unencodable(item, f"{path}[{index}]")
