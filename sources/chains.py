"""Chains: links joined into lines of attempts, oldest first, each of which becomes a trial.

Every attempt answers at most one earlier one, the best evidenced; what hangs together that way under one oldest
attempt is a chain, so that all of it is about that attempt's task. A family is wider: all attempts that any link
joins, backports and follow-ups included, and it is what a split of the corpus must not cut.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pipeline.records import Link
from sources.attempts import Attempt, Attempts
from sources.links.protocol import CORRECTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What answered an attempt later on: the link, and the commit and time at which the answer landed."""

    link: Link
    commit: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPlan:
    """A chain to make a trial of: its attempts oldest first, the links among them, and all answers to them.

    `left_out` counts attempts beyond the longest chain wanted.
    """

    family: str
    attempts: tuple[Attempt, ...]
    links: tuple[Link, ...]
    answers: tuple[Answer, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chains:
    """All chains of a history, the family of every linked attempt, and the answers to every answered one."""

    chains: tuple[ChainPlan, ...]
    families: dict[str, str]
    answers: dict[str, tuple[Answer, ...]]


def chains(links: Iterable[Link], attempts: Attempts, *, min_confidence: float, max_chain: int) -> Chains:
    """Line up attempts along corrective links of at least `min_confidence`, `max_chain` episodes at most."""
    every = sorted(links, key=lambda link: (link.source, link.target, link.kind, link.rule))
    known = {name: attempts.get(name) for link in every for name in (link.source, link.target)}
    families = _families(every, known)
    answers: dict[str, list[Answer]] = {}
    for link in every:
        target = known[link.target]
        if link.kind in CORRECTIVE and target.landing is not None and target.landed_at is not None:
            answers.setdefault(link.source, []).append(Answer(link=link, commit=target.landing, at=target.landed_at))
    sure = [link for link in every if link.kind in CORRECTIVE and link.confidence >= min_confidence]
    reverting = {link.target for link in sure if link.kind == "revert"}
    best: dict[str, Link] = {}
    undone: set[str] = set()
    for link in sorted(sure, key=lambda link: _order(known[link.target])):
        if link.source in reverting or (link.kind == "revert" and link.source in undone):
            continue  # what answers a revert is not about its task; what was undone cannot be undone again
        if link.kind == "revert":
            undone.add(link.source)
        rival = best.get(link.target)
        if rival is None or _rank(link, known) > _rank(rival, known):
            best[link.target] = link
    children: dict[str, list[Link]] = {}
    for link in best.values():
        children.setdefault(link.source, []).append(link)
    roots = sorted(set(children) - set(best), key=lambda name: _order(known[name]))
    found = []
    for root in roots:
        names, used, stack = [root], [], [root]
        while stack:
            for link in children.get(stack.pop(), ()):
                names.append(link.target)
                used.append(link)
                stack.append(link.target)
        line = sorted((known[name] for name in names), key=_order)
        kept = _longest(line, reverting, max_chain)
        inside = {attempt.attempt_id for attempt in kept}
        found.append(
            ChainPlan(
                family=families[root],
                attempts=tuple(kept),
                links=tuple(
                    sorted(
                        (link for link in used if link.source in inside and link.target in inside),
                        key=lambda link: (_order(known[link.target]), link.source),
                    )
                ),
                answers=tuple(answer for attempt in kept for answer in answers.get(attempt.attempt_id, ())),
                left_out=len(line) - len(kept),
            )
        )
    return Chains(
        chains=tuple(found), families=families, answers={name: tuple(found) for name, found in answers.items()}
    )


def _order(attempt: Attempt) -> tuple[int, datetime, str]:
    return (attempt.position, attempt.landed_at or attempt.committed_at, attempt.attempt_id)


def _rank(link: Link, known: dict[str, Attempt]) -> tuple[bool, float, tuple[int, datetime, str]]:
    """What makes one link the best to an attempt: that it answers what landed, then confidence, then nearness."""
    return (known[link.source].landed, link.confidence, _order(known[link.source]))


def _longest(line: list[Attempt], reverting: set[str], most: int) -> list[Attempt]:
    """The oldest attempts that make at most `most` episodes, with the reverts that follow them."""
    kept, episodes = [], 0
    for attempt in line:
        episodes += attempt.attempt_id not in reverting
        if episodes > most:
            break
        kept.append(attempt)
    return kept


def _families(links: list[Link], known: dict[str, Attempt]) -> dict[str, str]:
    """The name of each linked attempt's family: the id of its oldest member."""
    parent = {name: name for name in known}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for link in links:
        one, other = root(link.source), root(link.target)
        if one != other:
            older, newer = sorted((one, other), key=lambda name: _order(known[name]))
            parent[newer] = older
    return {name: root(name) for name in sorted(known)}
