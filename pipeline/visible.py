"""Makes untrusted text safe to look at: what would act on a terminal or reorder a line is spelt out instead."""

from __future__ import annotations

import unicodedata

_KEPT = "\n\t"


def visible(text: str) -> str:
    """`text` with control and format characters (escape codes, NUL, right-to-left overrides) shown as `\\x1b`-style."""
    if text.isprintable():
        return text
    return "".join(
        c if c in _KEPT or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else c.encode("unicode_escape").decode()
        for c in text.replace("\r\n", "\n")
    )
