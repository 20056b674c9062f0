"""Reverts: `This reverts commit …`, `Reverts #N`, `Revert "title"`.

A quoted title counts only as the attempt's own title, and only with three specific words or more: in the body of a
squash it quotes work that never landed. What was announced as temporary and is undone later was planned, not an
error, and is a kind of its own that makes no chain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.records import Link
from sources.attempts import Attempt, Attempts, title_key
from sources.links.words import (
    REFERENCE,
    listed,
    messages,
    precedes,
    prose,
    referred,
    sentences,
    shared_files,
    specific_words,
)

RULE = "revert"
SAYS = r"revert|\bback(ed|ing|s)?[ -]?out\b|\bund(o|id|oes|oing)\b"
"""What an attempt must say for this rule to look at it."""

MOST_REVERT_DAYS = 3_650
"""What is said to be undone is undone, however old it is; but history that old is not looked at."""
_FEW_COMMITS = 3

_WORD = re.compile(SAYS, re.IGNORECASE)
_COMMIT = re.compile(
    r"\b(?P<part>partial(?:ly)? |partly )?(?:revert(?:s|ed|ing)?|back(?:s|ed|ing)? out)(?P<part2> part(?:s)? of)?"
    r"(?: of)?(?: the)?(?: commits?| changes? (?:in|from|of)| changesets?)?:? \(?(?P<commit>[0-9a-f]{7,40})\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\b(?P<part>partial(?:ly)? |partly )?revert(?:s|ed|ing)?(?P<part2> part(?:s)? of)?(?: of)?(?: the)?"
    r"(?: changes? (?:in|from|of)| PR| pull request)? ?(?:[\w.-]+/[\w.-]+)?(?:#|GH-)(?P<number>\d+)\b",
    re.IGNORECASE,
)
_LIST = re.compile(
    r"\breverts?(?: the)?(?: following)?(?: commits?| changes? (?:in|from|of)| PRs?"
    r"| pull requests?)?(?=[\s:*]+(?:[#(`*-]|GH-|PR"
    r"|https?:|[0-9a-f]{7}))",
    re.IGNORECASE,
)
_TITLE = re.compile(
    r"""^(?:[^"“`]{0,40}[:\],]\s+)?\W*(?:partial(?:ly)? )?Revert:? ["“'`](?P<title>.+)["”'`](?:[^"”'`]*)$""",
    re.IGNORECASE,
)
_BULLET = re.compile(r"""^[*-] (?=Revert ["“'`])""")
_SUBJECT = re.compile(
    r"^(?:[^\s:]{1,30}:\s+)?\W*(?:partial(?:ly)? )?(?:revert|back(?:s|ed|ing)? out|undo)\b", re.IGNORECASE
)
_QUOTED_NUMBER = re.compile(r"\((?:#|GH-)(\d+)\)\W*\Z|^Merge pull request #(\d+)\b")
_BY_GIT = re.compile(r"^This reverts commits? [0-9a-f]{7,40}\b", re.MULTILINE)
_AGAIN = re.compile(r"""Revert:? ["“'`]+Revert|\bre-?appl|\bre-?land|\bun-?revert""", re.IGNORECASE)
_AGAIN_FIRST = re.compile(
    r"\W*(?:this (?:PR |commit |change )?)?re-?(?:appl(?:y|ies)|lands?)\b(?=.{0,60}?(?:#\d|\b[0-9a-f]{7,40}\b))",
    re.IGNORECASE,
)
_PLANNED = re.compile(
    r"\btemporar|\bfor now\b|\bworkaround\b|\bto be reverted\b|\bshould be reverted\b"
    r"|^(\W*[\w/. -]{1,20}: ?)*pin(s|ned|ning)?\b(?!!)"
    r"|\buntil\b.*\b(fix|releas|resol|support|upstream|merge|land|availab|new|next)"
    r"|^(\W*[\w/. -]{1,20}: ?)*(skip|disable|x-?fail|ignore|deactivate)\w*\b.*(\b|_)(tests?|doctests?|ci|jobs?"
    r"|checks?|builds?|coverage"
    r"|lint\w*|flake8|mypy|travis|appveyor|workflows?|benchmarks?|test_\w+|failing|failures?|flaky)(\b|_)",
    re.IGNORECASE,
)
_FAULT = re.compile(
    r"\bfix|\bregress|\bbug|\bincorrect|\bwrong|\bbrok|\bcrash|\brestor|\bput\b.* back\b|\badd\w* back\b", re.IGNORECASE
)


def links(attempts: Attempts) -> list[Link]:
    """A link from each attempt that was undone to the one that undid it."""
    return [link for target in attempts.saying(SAYS) for link in reverts_of(target, attempts)]


def reverts_of(target: Attempt, attempts: Attempts) -> list[Link]:
    """The links of one attempt that undoes others; none where it lands something again.

    An attempt that undoes an earlier one among other things, and says that it mends a fault, is no answer of the world
    but a correction of its own (`fix_of`); where it says nothing of the kind the link is less sure, and in a large one
    too unsure to make a chain.
    """
    if not target.landed or is_again(target):
        return []
    whole = bool(_WORD.search(target.subject)) or _all_revert(target)
    found: dict[str, Link] = {}
    for source, evidence, confidence in _undone(target, attempts):
        if source is None or source.attempt_id in found or not precedes(source, target, MOST_REVERT_DAYS):
            continue
        kind = "revert"
        if _PLANNED.search(source.subject) or _PLANNED.search(source.body.partition("\n\n")[0]):
            kind = "planned_revert"
        elif not whole:
            mends = _FAULT.search(target.subject) and shared_files(source, target)
            small = len(target.branch) <= _FEW_COMMITS
            kind, confidence = ("fix_of", 0.8) if mends else (kind, 0.78 if small else 0.7)
        found[source.attempt_id] = Link(
            source=source.attempt_id,
            target=target.attempt_id,
            kind=kind,
            evidence=evidence,
            confidence=confidence,
            rule=RULE,
        )
    return list(found.values())


def _all_revert(target: Attempt) -> bool:
    """Whether every commit of its own says, as git does, that it reverts one."""
    own = target.branch if target.landing not in target.commits else ()
    return bool(own) and all(_SUBJECT.match(c.subject) or _BY_GIT.search(c.body) for c in own)


def is_again(attempt: Attempt) -> bool:
    """Whether an attempt says that it lands something anew."""
    return bool(_AGAIN.search(attempt.subject) or _AGAIN_FIRST.match(attempt.body))


def quoted(subject: str) -> str | None:
    """The title that `Revert "title"` quotes."""
    found = _TITLE.match(subject)
    return found["title"].strip() if found else None


def _undone(target: Attempt, attempts: Attempts) -> Iterator[tuple[Attempt | None, str, float]]:
    for subject, body in messages(target):
        text = f"{subject}\n\n{body}"
        flat = prose(text).replace("\n", " ")
        for found in _COMMIT.finditer(flat):
            confidence = 0.85 if found["part"] or found["part2"] else 0.97
            yield attempts.by_commit(found["commit"]), found[0], confidence
        for found in _NUMBER.finditer(flat):
            confidence = 0.85 if found["part"] or found["part2"] else 0.95
            yield attempts.by_number(int(found["number"])), found[0], confidence
        for found in _LIST.finditer(text):
            for source, name in listed(attempts, text, found.end()):
                yield source, f"{found[0]} … {name}", 0.93
    titles = [target.subject, *(own.subject for own in target.branch if len(target.branch) == 1)]
    if _SUBJECT.match(target.subject):
        titles += [_BULLET.sub("", line) for line in target.body.split("\n") if _BULLET.match(line)]
        yield from _alike(target, attempts)
    for subject in dict.fromkeys(titles):
        title = quoted(subject)
        if title is None:
            continue
        if number := _QUOTED_NUMBER.search(title):
            yield attempts.by_number(int(number[1] or number[2])), subject, 0.95
        elif specific_words(title) >= 3:
            earlier = [a for a in attempts.by_title(title) if precedes(a, target, MOST_REVERT_DAYS)]
            if earlier:
                sole = title_key(earlier[-1].subject) == title_key(title)
                yield earlier[-1], subject, 0.93 if sole else 0.85


def _alike(target: Attempt, attempts: Attempts) -> Iterator[tuple[Attempt | None, str, float]]:
    """What an attempt names whose title says that it undoes something, where that has words of its title."""
    words = _specific(target.subject)
    for sentence in sentences(f"{target.subject}\n\n{target.body}"):
        for found in REFERENCE.finditer(sentence):
            source = referred(attempts, found)
            if source is None or source.attempt_id == target.attempt_id or not shared_files(source, target):
                continue
            if found.start() > 0 and len(words & _specific(source.subject)) >= 2:
                yield source, sentence, 0.85


def _specific(title: str) -> set[str]:
    return {word[:6] for word in re.findall(r"[^\W\d_]{4,}", title.lower()) if not word.startswith("revert")}
