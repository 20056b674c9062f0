"""Relands: what was undone lands again, as `Revert "Revert …"`, `Reapply …`, `Reland …`, or under its old title."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.records import Link
from sources.attempts import Attempt, Attempts, title_key
from sources.links.revert import SAYS as REVERT_SAYS
from sources.links.revert import is_again, reverts_of
from sources.links.words import REFERENCE, messages, precedes, referred, sentences, shared_files, specific_words

RULE = "reland"
_TAKES = (
    r"\b(?:take|try|attempt)\W{0,2}(?:[2-9]|two|three|ii)\b|\b(?:2nd|3rd|second|third|another) (?:try|attempt|take)\b"
    r"|\bre-?submi"
)
SAYS = rf"{REVERT_SAYS}|re-?appl|re-?land|{_TAKES}"
"""What an attempt must say for this rule to look at it."""

_TAKE = re.compile(_TAKES, re.IGNORECASE)
_WITHOUT_TAKE = re.compile(rf"[\s(\[,.:–-]*(?:{_TAKES})[^)\]]*[)\]]?", re.IGNORECASE)
_INNER = re.compile(
    r"""(?:Revert:? ["“'`]+Revert:?|Re-?appl(?:y|ies|ied)|Re-?lands?|Un-?revert)[:\s]*["“'`]+(?P<title>.+?)["”'`]+"""
    r"""(?:\s*\((?:#|GH-)\d+\))?\s*$""",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\((?:#|GH-)(\d+)\)\W*$|^Merge pull request #(\d+)\b|(?:#|GH-)(\d+)\b")
_COMMIT = re.compile(r"\breverts? (?:commit )?(?P<commit>[0-9a-f]{7,40})\b", re.IGNORECASE)
_ANEW = re.compile(r"\bre-?(?:appl(?:y|ies|ied|ying)|land(?:s|ed|ing)?)\b", re.IGNORECASE)
_REVERTED = re.compile(r"\brevert(ed|s|ing)?\b", re.IGNORECASE)
_FORWARD = re.compile(
    r"\b(re-?introduc|bring\w* back|add\w* back|restor\w*|again|another attempt|original(ly)?|cherry-?pick\w*)\b"
    r"|\bre-?appl|\bre-?land|\bre-?submi",
    re.IGNORECASE,
)
_SAME_TITLE_DAYS = 365


def links(attempts: Attempts) -> list[Link]:
    """A link from each attempt that was undone to the one that landed it again."""
    undone: dict[str, str] = {}  # reverting attempt → what it undid
    found: list[Link] = []
    for target in attempts.saying(SAYS):
        if not target.landed:
            continue
        reverts = [link for link in reverts_of(target, attempts) if link.kind != "fix_of"]
        for link in reverts:
            undone[target.attempt_id] = link.source
        if not reverts:
            found.extend(_first(_links(target, attempts, undone)))
    told = {(link.source, link.target) for link in found}
    for reverting, source in undone.items():
        again = _same_title(attempts.get(source), attempts.get(reverting), attempts)
        if again is not None and (again.source, again.target) not in told and again.target not in undone:
            found.append(again)
    return found


def _first(links: Iterator[Link]) -> list[Link]:
    """The first link to each source."""
    found: dict[str, Link] = {}
    for link in links:
        found.setdefault(link.source, link)
    return list(found.values())


def _link(source: Attempt, target: Attempt, evidence: str, confidence: float) -> Link:
    return Link(
        source=source.attempt_id,
        target=target.attempt_id,
        kind="reland",
        evidence=evidence,
        confidence=confidence,
        rule=RULE,
    )


def _links(target: Attempt, attempts: Attempts, undone: dict[str, str]) -> Iterator[Link]:
    if is_again(target):
        for origin, evidence in _named(target, attempts):
            source = attempts.get(undone[origin.attempt_id]) if origin.attempt_id in undone else origin
            if precedes(source, target):
                yield _link(source, target, evidence, 0.95)
    if _TAKE.search(target.subject):
        was_undone = set(undone.values())
        for named, evidence in _taken_again(target, attempts):
            if named.attempt_id in was_undone and precedes(named, target):
                yield _link(named, target, evidence, 0.93)
    for sentence in (s for subject, body in messages(target) for s in sentences(f"{subject}\n\n{body}")):
        if not (_REVERTED.search(sentence) and _FORWARD.search(sentence)):
            continue
        for found in REFERENCE.finditer(sentence):
            reverting = referred(attempts, found)
            if reverting is not None and reverting.attempt_id in undone:
                source = attempts.get(undone[reverting.attempt_id])
                if precedes(source, target) and shared_files(source, target):
                    yield _link(source, target, sentence, 0.9)


def _taken_again(target: Attempt, attempts: Attempts) -> Iterator[tuple[Attempt, str]]:
    """What a second take may be of: what it names, and what has its title but for the words of the take."""
    for sentence in (s for subject, body in messages(target) for s in sentences(f"{subject}\n\n{body}")):
        for found in REFERENCE.finditer(sentence):
            if (named := referred(attempts, found)) is not None:
                yield named, sentence
    title = _WITHOUT_TAKE.sub("", re.sub(r"\s*\((?:#|GH-)\d+\)\s*$", "", target.subject))
    if specific_words(title) >= 3:
        yield from ((named, target.subject) for named in attempts.by_title(title))


def _same_title(source: Attempt, revert: Attempt, attempts: Attempts) -> Link | None:
    """The link to the first attempt that lands under the title of an undone one within a year of the revert."""
    if specific_words(source.subject) < 3:
        return None
    for target in attempts.by_title(source.subject):
        same = title_key(target.subject) == title_key(source.subject)
        if same and precedes(revert, target, _SAME_TITLE_DAYS) and shared_files(source, target):
            evidence = f"same title as {source.attempt_id}, which {revert.attempt_id} had undone"
            return _link(source, target, evidence, 0.8)
    return None


def _named(target: Attempt, attempts: Attempts) -> Iterator[tuple[Attempt, str]]:
    """What a reland names: the revert it reverts, or the original itself."""
    for subject, body in messages(target):
        for found in _COMMIT.finditer(body.replace("\n", " ")):
            named = attempts.by_commit(found["commit"])
            if named is not None and named.attempt_id != target.attempt_id:
                yield named, found[0]
        for sentence in sentences(f"{subject}\n\n{body}"):
            for again in _ANEW.finditer(sentence):
                reference = REFERENCE.search(sentence, again.end(), again.end() + 60)
                named = referred(attempts, reference) if reference else None
                if named is not None and named.attempt_id != target.attempt_id:
                    yield named, sentence
        inner = _INNER.search(subject)
        title = inner["title"] if inner else subject
        if number := _NUMBER.search(re.sub(r"\s*\((?:#|GH-)\d+\)\s*$", "", title) if not inner else title):
            named = attempts.by_number(int(next(filter(None, number.groups()))))
            if named is not None and named.attempt_id != target.attempt_id:
                yield named, subject
        elif inner and specific_words(title) >= 3:
            earlier = [a for a in attempts.by_title(title) if precedes(a, target)]
            if earlier:
                yield earlier[-1], subject
