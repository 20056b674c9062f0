"""Explicit references in a message to an earlier attempt: fixes, regressions, follow-ups.

A reference alone links nothing: the same sentence must hold a corrective verb and none of the words that cite work
for other reasons (since, like, see, based on, backport, …), and both must touch a file that is no changelog.
`Fixes #N` is a link only where N is an earlier landed pull request; where N is an issue there is no such attempt.
"""

from __future__ import annotations

import re

from pipeline.records import Link
from sources.attempts import Attempt, Attempts
from sources.links.revert import is_again, reverts_of
from sources.links.words import REFERENCE, messages, precedes, referred, sentences, shared_files

RULE = "reference"
SAYS = (
    r"fix|correct|regress|brok|break|repair|resolv|amend|typo|oversight|forg[eo]t|miss|left ?over|omit|overlook"
    r"|incomplete|unwanted|unint|accident|inadvert|introduced|caused|damaged|mistake|wrong|follow"
)
REFERS = r"#[0-9]|gh-[0-9]|\bPR ?[0-9]|pull request ?[0-9]|\b[0-9a-f]{7,40}\b"
"""What an attempt must say, and refer to, for this rule to look at it."""

_LEAD = (
    r"(?:\s+(?:the|a|an|my|our|in|by|from|with|since|of|to|due|commit|commits|change|changes|merge|merging|recent"
    r"|via|as|part|PR|pull|request|when|landing|at|rev|revision|[\w.]*\())*[\s(:]*$"
)
_REGRESSION = re.compile(
    r"\b(?:regress(?:ion|ions|ed|es)?|brok(?:e|en)|break(?:s|age|ing)?|introduced|caused|damaged|bug|mistake"
    r"|wrong|accidentally \w+|unintentional\w* \w+|inadvertent\w* \w+)\b[^.;]{0,40}?\b(?:in|by|from|with|after|of)"
    + _LEAD,
    re.IGNORECASE,
)
_REGRESSION_AFTER = re.compile(
    r"^\W*(?:has |had |have |also |which |that |accidentally |inadvertently |unintentionally |probably |wrongly )*"
    r"(?:broke|breaks|introduced|regressed|caused|changed|removed|forgot|missed|dropped)\b",
    re.IGNORECASE,
)
_FIX = re.compile(
    r"\b(?:(?:bug|hot)?fix(?:es|ed|ing|up|ups)?|correct(?:s|ed|ing|ion)?|repair(?:s|ed)?|resolv(?:e|es|ed)"
    r"|amend(?:s|ed)?|typos?|oversight)\b[^.;]{0,40}?" + _LEAD,
    re.IGNORECASE,
)
_FORGOTTEN = re.compile(
    r"\b(?:forgot(?:ten)?|missed|missing|left ?over|omitted|overlooked|incomplete|unintended|unwanted|accidental(?:ly)?"
    r"|inadvertent(?:ly)?)\b[^.;]{0,60}?\b(?:in|by|from|with|after|of)" + _LEAD,
    re.IGNORECASE,
)
_FAULT = re.compile(
    r"\bfix|\bbugs?\b|\bregress|\bbrok|\bbreak|\bcorrect(s|ed|ing|ion)?\b|\bmistake|\bwrong|\baccident|\binadvertent"
    r"|\bunintend|\bunintention|\berror|\bcrash|\bfail|\bforgot|\bmiss(ed|ing)\b|\bincorrect",
    re.IGNORECASE,
)
_FIXED_THERE = re.compile(
    r"\b(?:is|was|were|been|being|got|gets|already|without the|with the|thanks to the) (?:also )?fix(?:ed|es)?\b"
    r"|\bthe (?:\w+ )?fix(?:es)? (?:from|in|of|by)\b",
    re.IGNORECASE,
)
_FELL_SHORT = re.compile(
    r"\bincomplete|\b(?:did|does|was|is)(?:n't| not)\b|\bnot enough\b|\binsufficient|\bwrong|\bbroke|\bpremature"
    r"|\bmissed\b|\bwithout the (?:suggested|requested)",
    re.IGNORECASE,
)
_TIDIES = re.compile(r"\bunused\b|\bdead\b|\bclean(?:s|ed|ing)?[ -]?ups?\b|\bleft ?over", re.IGNORECASE)
_MENDS = re.compile(
    r"\bfix(?:es|ed|ing|up)?\b|\bcorrect(?:s|ed|ing|ion)?\b|\bregress|\brepair|\bbroken\b", re.IGNORECASE
)
_INTRODUCED = re.compile(r"\bintroduced\b", re.IGNORECASE)
_BY_ITSELF = re.compile(
    r"^(?:this|the)?\s*(?:bug|issue|problem|error)?\s*(?:was|has been)?\s*introduced\b", re.IGNORECASE
)
_FOLLOW_UP = re.compile(r"\bfollow(?:s|ing|ed)?[ -]?up\b[^.;]{0,30}?" + _LEAD, re.IGNORECASE)
_CITES = re.compile(
    r"\b(since|like|see|based on|back-?port\w*|cherry[- ]?pick\w*|similar(ly)?|same as|as in|alternative to"
    r"|instead of|supersed\w*|inspired|depends? on|required (by|for)|blocked|dead code|unused|no longer|dupl\w+ of"
    r"|redundant|obsolet\w*|continu\w+|discussed|discussion|prepar\w+|extracted from"
    r"|split (out|from)|thanks to|fixed (in|by|with))\b",
    re.IGNORECASE,
)


def links(attempts: Attempts) -> list[Link]:
    """A link from each attempt that a later one says it corrects, or follows up."""
    found: list[Link] = []
    for target in attempts.saying(SAYS, REFERS):
        if not target.landed or target.bot:
            continue
        if is_again(target) or reverts_of(target, attempts):
            continue
        best: dict[str, Link] = {}
        for subject, body in messages(target):
            for sentence in sentences(f"{subject}\n\n{body}"):
                for link in _links(sentence, target, attempts):
                    known = best.get(link.source)
                    if known is None or link.confidence > known.confidence:
                        best[link.source] = link
        found.extend(best[source] for source in sorted(best))
    return found


def _links(sentence: str, target: Attempt, attempts: Attempts) -> list[Link]:
    found = []
    for reference in REFERENCE.finditer(sentence):
        kind = _kind(sentence, reference, target)
        if kind is None:
            continue
        source = referred(attempts, reference)
        if source is None or source.bot or not precedes(source, target) or not shared_files(source, target):
            continue
        found.append(
            Link(
                source=source.attempt_id,
                target=target.attempt_id,
                kind=kind[0],
                evidence=sentence,
                confidence=kind[1],
                rule=RULE,
            )
        )
    return found


def _kind(sentence: str, reference: re.Match[str], target: Attempt) -> tuple[str, float] | None:
    """The kind and confidence of a reference by the words around it in its own sentence."""
    before, after = sentence[: reference.start()], sentence[reference.end() :]
    if reference["number"] == str(target.number):
        return None
    if _FOLLOW_UP.search(before):
        mends = _MENDS.search(target.subject) or _FELL_SHORT.search(after) or _MENDS.search(sentence)
        return ("fix_of", 0.78) if mends else ("follow_up", 0.9)
    if _CITES.search(sentence) or (_FIXED_THERE.search(sentence) and not _FELL_SHORT.search(sentence)):
        return None
    tidies = _TIDIES.search(sentence) or _TIDIES.search(target.subject)
    fault = bool(_FAULT.search(sentence))
    if _REGRESSION.search(before) or _REGRESSION_AFTER.match(after):
        if _INTRODUCED.search(before) and not (fault or _BY_ITSELF.match(sentence)):
            return None
        if fault or _FAULT.search(target.subject):
            return "regression_fix", 0.88
    if _FIX.search(before) or _FORGOTTEN.search(before):
        return ("follow_up", 0.8) if tidies else ("fix_of", 0.85)
    return None
