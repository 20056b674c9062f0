"""Pull requests that their author opened anew and landed, where no message says so.

Lines in common are right in one of three cases alone, titles in common no oftener. Here all must speak together: one
author, nearly the same title, most of the added lines, the first opened before the second, and neither stacked on nor
split off from the other. Needs the clone; without it there are no links.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass
from math import log

from pipeline.records import Link
from sources.attempts import Attempt, Attempts
from sources.blame import squeezed, trivial
from sources.git import Git
from sources.links.superseded import authors, is_roll_up, may_supersede, specific_parts
from sources.links.words import shared_files

RULE = "reopened"

MOST_DAYS = 365
MOST_FILES = 60
LEAST_LINES = 3
LEAST_OVERLAP = 0.6
LEAST_OVERLAP_OF_PARTS = 0.8
LEAST_ALIKE = 0.5
_MOST_TITLES = 20
_WHOLE = 0.85
_OTHER_LINE = re.compile(r"^\W*v?\d+\.|\brelease\b|\bback-?port|\[\w*\d[\w.]*\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Titled:
    """An attempt with the specific words of its title, and of the titles of its commits."""

    attempt: Attempt
    titles: tuple[frozenset[str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """Two attempts by one author with titles that are alike: their own (`same_title`) or those of their commits.

    `alike` is the share of the words' weight in common.
    """

    source: Attempt
    target: Attempt
    alike: float
    same_title: bool


def links(attempts: Attempts) -> list[Link]:
    """A link from each pull request to the one its author landed instead: the one with most of its lines."""
    if attempts.clone is None:
        return []
    pairs = list(_pairs(attempts))
    with Git(attempts.clone) as git:
        added = _added(git, pairs)
    best: dict[str, tuple[float, _Pair, int]] = {}
    for pair in pairs:
        before, after = _lines(pair.source.commits, added), _lines(pair.target.commits, added)
        shared = len(before & after)
        overlap = shared / max(1, len(before))
        split_off = overlap < _WHOLE and shared >= _WHOLE * len(after)
        least = LEAST_OVERLAP if pair.same_title else LEAST_OVERLAP_OF_PARTS
        if shared < LEAST_LINES or overlap < least or split_off:
            continue
        known = best.get(pair.source.attempt_id)
        if known is None or overlap > known[0]:
            best[pair.source.attempt_id] = overlap, pair, shared
    found = sorted(best.values(), key=lambda item: (item[1].target.position, item[1].source.number or 0))
    return [_link(pair, overlap, shared) for overlap, pair, shared in found]


def _pairs(attempts: Attempts) -> Iterator[_Pair]:
    """Pairs that title, author, files and time allow."""
    closed: list[_Titled] = []
    landed: dict[str, list[_Titled]] = {}
    frequency: Counter[str] = Counter()
    for attempt in attempts:
        if attempt.kind != "pr" or attempt.bot or attempt.files_changed > MOST_FILES:
            continue
        titles = {attempt.subject: None} | {own.subject: None for own in attempt.branch[:_MOST_TITLES]}
        titled = _Titled(attempt=attempt, titles=tuple(frozenset(specific_parts(title)) for title in titles))
        frequency.update(titled.titles[0])
        if _OTHER_LINE.search(attempt.subject) or is_roll_up(attempt):
            continue
        if attempt.landed:
            for name in authors(attempt):
                landed.setdefault(name, []).append(titled)
        else:
            closed.append(titled)

    def weight(words: Set[str]) -> float:
        return sum(log(1 + len(attempts) / max(1, frequency[word])) for word in sorted(words))

    for first in closed:
        later = {other.attempt.attempt_id: other for name in authors(first.attempt) for other in landed.get(name, ())}
        for _, second in sorted(later.items()):
            if not _allowed(first.attempt, second.attempt):
                continue
            found = [
                weight(one & other) / max(1e-9, weight(one | other)) if one & other else 0.0
                for one in first.titles[:2]
                for other in second.titles
            ]
            alike = max(found)
            if alike >= LEAST_ALIKE:
                same_title = found[0] >= LEAST_ALIKE
                yield _Pair(source=first.attempt, target=second.attempt, alike=alike, same_title=same_title)


def _allowed(source: Attempt, target: Attempt) -> bool:
    if target.landed_at is None or (source.number or 0) >= (target.number or 0):
        return False
    if not 0 <= (target.landed_at - source.committed_at).total_seconds() <= MOST_DAYS * 86_400:
        return False
    return may_supersede(source, target) and bool(shared_files(source, target))


def _added(git: Git, pairs: list[_Pair]) -> dict[str, set[bytes]]:
    """Commit → the telling lines it adds, whitespace aside."""
    commits = {oid for pair in pairs for attempt in (pair.source, pair.target) for oid in attempt.commits}
    added: dict[str, set[bytes]] = {oid: set() for oid in commits}
    for oid, _, line in git.changed_lines(sorted(commits)):
        if line.startswith(b"+") and not trivial(line[1:]):
            added[oid].add(squeezed(line[1:]))
    return added


def _lines(commits: tuple[str, ...], added: dict[str, set[bytes]]) -> set[bytes]:
    return set().union(*(added[oid] for oid in commits))


def _link(pair: _Pair, overlap: float, shared: int) -> Link:
    confidence = 0.78 + 0.08 * (pair.alike >= 0.8) + 0.06 * (overlap >= 0.8)
    return Link(
        source=pair.source.attempt_id,
        target=pair.target.attempt_id,
        kind="superseded",
        evidence=f"same author, {shared} of its added lines ({overlap:.0%}) and the title {pair.target.subject!r}",
        confidence=round(confidence, 2),
        rule=RULE,
    )
