"""Backports and cherry-picks: the same change on another line. They share their origin's family and make no chain."""

from __future__ import annotations

import re

from pipeline.records import Link
from sources.attempts import Attempt, Attempts
from sources.links.protocol import MOST_DAYS
from sources.links.words import messages, precedes

RULE = "backport"
SAYS = r"cherry[ -]picked|(back|forward)-?port"
"""What an attempt must say for this rule to look at it."""

_PICKED = re.compile(r"\(cherry[ -]picked from commit (?P<commit>[0-9a-f]{7,40})\)", re.IGNORECASE)
_BACKPORT = re.compile(
    r"(?:\b(?:back|forward)-?port(?:s|ed|ing)?\b|\bcherry[ -]pick(?:s|ed|ing)? (?:of|from)\b)[^.\n]{0,40}?(?:#"
    r"|GH-|/pull/)(?P<number>\d+)\b",
    re.IGNORECASE,
)


def links(attempts: Attempts) -> list[Link]:
    """A link from each change to its copies, on the default branch or in a pull request to another one."""
    found: dict[tuple[str, str], Link] = {}
    for target in attempts.saying(SAYS):
        for subject, body in messages(target):
            text = f"{subject}\n\n{body}"
            named = [(attempts.by_commit(m["commit"]), m[0], 0.97) for m in _PICKED.finditer(text)]
            named += [(attempts.by_number(int(m["number"])), m[0], 0.85) for m in _BACKPORT.finditer(text)]
            for source, evidence, confidence in named:
                if source is None or not _before(source, target):
                    continue
                found.setdefault(
                    (source.attempt_id, target.attempt_id),
                    Link(
                        source=source.attempt_id,
                        target=target.attempt_id,
                        kind="backport",
                        evidence=evidence,
                        confidence=confidence,
                        rule=RULE,
                    ),
                )
    return list(found.values())


def _before(source: Attempt, target: Attempt) -> bool:
    """Whether the copy came after the change; a copy on a release branch does not land on the default branch."""
    if target.landed:
        return precedes(source, target)
    if source.attempt_id == target.attempt_id or source.landed_at is None or source.holds > 1 or target.holds > 1:
        return False
    return 0 <= (target.committed_at - source.authored_at).days <= MOST_DAYS
