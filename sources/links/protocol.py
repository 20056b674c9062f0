"""What a linker rule is: attempts in, typed and evidenced links out."""

from __future__ import annotations

from typing import Protocol

from pipeline.records import Link
from sources.attempts import Attempts

CORRECTIVE = ("revert", "reland", "fix_of", "regression_fix", "superseded")
"""Kinds of link that make a chain: the target answers a fault of the source, or did its job instead."""

MOST_DAYS = 730
"""Beyond this a mention is history, not a correction (audited on 572,782 commits of 19 repositories)."""


class Linker(Protocol):
    """A rule that joins an earlier attempt (`source`) to the later one that answers it (`target`)."""

    def __call__(self, attempts: Attempts) -> list[Link]:
        """All links this rule finds, in landing order of their targets; the same list for the same attempts."""
