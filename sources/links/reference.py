"""Explicit references in a message to an earlier attempt: fixes, regressions, follow-ups.

A reference alone links nothing: the same sentence, or the one behind it, must hold a corrective verb and none of the
words that cite work for other reasons (like, see, based on, backport, …; `since` only where it dates a fault), and both
must touch a file that is no changelog.
`Fixes #N` is a link only where N is an earlier landed pull request; where N is an issue there is no such attempt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.records import Link
from sources.attempts import Attempt, Attempts
from sources.links.revert import is_again, reverts_of
from sources.links.words import REFERENCE, messages, precedes, referred, sentences, shared_files

RULE = "reference"
SAYS = (
    r"fix|correct|regress|brok|break|repair|resolv|amend|typo|oversight|forg[eo]t|miss|left ?over|omit|overlook"
    r"|incomplete|unwanted|unint|accident|inadvert|introduced|caused|damaged|mistake|wrong|follow|since|worse|neglect"
    r"|\blost\b|polish|clean|tweak|adden|news ?frag|changelog|change ?log|discussion_|issuecomment|/files#r"
    r"|\bdocs?\b|tests? for"
)
REFERS = r"#[0-9]|gh-[0-9]|\bPR ?[0-9]|pull request ?[0-9]|/pull/[0-9]|\b[0-9a-f]{7,40}\b"
"""What an attempt must say, and refer to, for this rule to look at it."""

_LEAD = (
    r"(?:\s+(?:the|a|an|my|our|in|by|from|with|since|of|to|due|commit|commits|change|changes|merge|merging|recent"
    r"|via|as|part|PR|pull|request|when|landing|at|rev|revision|[\w.]*\())*[\s(:]*$"
)
_REGRESSION = re.compile(
    r"\b(?:regress(?:ion|ions|ed|es)?|brok(?:e|en)|break(?:s|age|ing)?|introduced|caused|damaged|bug|mistake"
    r"|wrong|out of sync|accidentally \w+|unintentional\w* \w+|inadvertent\w* \w+)\b[^.;]{0,40}?\b(?:in|by|from"
    r"|with|after|of)" + _LEAD,
    re.IGNORECASE,
)
_REGRESSION_AFTER = re.compile(
    r"^\W*(?:has |had |have |also |which |that |accidentally |inadvertently |unintentionally |probably |wrongly "
    r"|silently )*"
    r"(?:broke|breaks|introduced|regressed|caused|changed|removed|dropped|is wrong|is broken|was wrong)\b",
    re.IGNORECASE,
)
_FORGOTTEN_AFTER = re.compile(
    r"^\W*(?:has |had |have |also |which |that |accidentally |simply |just |silently )*"
    r"(?:forgot|missed|neglected|overlooked|ignored|did(?:n't| not) (?:handle|update|account|consider|cover"
    r"|include|take))\b",
    re.IGNORECASE,
)
_OF_ITS_OWN = re.compile(
    r"^\W{0,2}(?!(?:has |had |have |also |which |that )*(?:fix|add|mend|support|clos|introduc)\w*)\w+ed\b"
    r".*(?:,? (?:so|but|where|which|without|although|though|only)\b|, and a\b)",
    re.IGNORECASE,
)
_BEGINS_FIX = re.compile(r"^(?:[\w./ -]{1,20}: ?)?(?:bug|hot)?fix(?:es|ed|ing)?\b", re.IGNORECASE)
_CONTRASTS = re.compile(
    r"^(?:but|however|unfortunately|sadly|yet|though|that|this|it|which|the (?:PR|change|commit|patch|fix))\b.{0,60}?"
    r"\b(?:forgot|neglect|broke\b|missed|overlook|regress|caus(?:ed|es) (?:a|the)|accident|inadvert|wrong"
    r"|introduc(?:ed|es) an? (?:\w+ )?"
    r"(?:bug|regression|error|problem|issue|crash|race|leak)|did(?:n't| not) (?:handle|update|account|consider"
    r"|cover|include|take|add))",
    re.IGNORECASE,
)
_SINCE = re.compile(r"\bsince\b(?:(?! because| since)[^.;]){0,60}$", re.IGNORECASE)
_DATED_FAULT = re.compile(
    r"\bbrok|\bbug\b|\bregress|\bfail|\bcrash|\bwrong|\bworse|\bincorrect|\bignor|\berror|\blost\b|\bloses\b"
    r"|\bno longer (?:work|allow|accept|possible|raise|run|pass)|\bnever (?:work|been|was|had)|\bstopped work|\bleak",
    re.IGNORECASE,
)
_REMARKED = re.compile(
    r"\b(?:ref|refs|see|as (?:noted|mentioned|pointed out) in|reported in|fix(?:es|ed)?)\W*$|^\W*$", re.IGNORECASE
)
_REMARK_DAYS = 60
_POLISHES = re.compile(
    r"\b(?:polish\w*|clean(?:s|ed|ing)?[ -]?ups?|tweaks?|addend\w+|news ?fragments?|news fragements?|changelog"
    r"|change ?notes?"
    r"|(?:narrative )?docs|documentation|(?:more )?tests)\b.{0,25}?\b(?:for|to|around|of|about|from"
    r"|after)\s+(?:PR\s*)?$"
    r"|^\W*(?:minor |small |some |final )*(?:polish(?: up)?|clean ?up|tweak)\s+$",
    re.IGNORECASE,
)
_FIX = re.compile(
    r"\b(?:(?:bug|hot)?fix(?:es|ed|ing|up|ups)?|correct(?:s|ed|ing|ion)?|repair(?:s|ed)?|resolv(?:e|es|ed)"
    r"|amend(?:s|ed)?|typos?|oversight)\b[^.;]{0,40}?" + _LEAD,
    re.IGNORECASE,
)
_FORGOTTEN = re.compile(
    r"\b(?:forgot(?:ten)?|missed|missing|lost|dropped by mistake|omitted|overlooked|incomplete|unintended"
    r"|unwanted|accidental(?:ly)?"
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
_INTRODUCED = re.compile(r"\bintroduced\b", re.IGNORECASE)
_BY_ITSELF = re.compile(
    r"^(?:this|the)?\s*(?:bug|issue|problem|error)?\s*(?:was|has been)?\s*introduced\b", re.IGNORECASE
)
_FOLLOW_UP = re.compile(
    r"\b(?:follow(?:s|ing|ed)?[ -]?up\b[^.;]{0,30}?|left ?overs?\b[^.;]{0,30}?\b(?:in|by|from|with|after|of))" + _LEAD,
    re.IGNORECASE,
)
_CITES = re.compile(
    r"\b(like|see|based on|back-?port\w*|cherry[- ]?pick\w*|similar(ly)?|same as|as in|alternative to"
    r"|instead of|supersed\w*|inspired|depends? on|required (by|for)|blocked|dead code|unused|no longer|dupl\w+ of"
    r"|redundant|obsolet\w*|continu\w+|extends?|discussed|discussion|prepar\w+|extracted from"
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
            said = list(sentences(f"{subject}\n\n{body}"))
            for at, sentence in enumerate(said):
                around = _Sentence(
                    text=sentence, before=said[at - 1] if at else "", after=said[at + 1] if at + 1 < len(said) else ""
                )
                for link in _links(around, target, attempts):
                    known = best.get(link.source)
                    if known is None or link.confidence > known.confidence:
                        best[link.source] = link
        found.extend(best[source] for source in sorted(best))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sentence:
    """A sentence and its neighbours."""

    text: str
    before: str
    after: str


def _links(sentence: _Sentence, target: Attempt, attempts: Attempts) -> Iterator[Link]:
    for reference in REFERENCE.finditer(sentence.text):
        kind = _kind(sentence, reference, target)
        if kind is None:
            continue
        source = referred(attempts, reference)
        if source is None or source.bot or not precedes(source, target):
            continue
        if kind != _POLISH and not shared_files(source, target):
            continue
        if reference["remark"] and _days(source, target) > _REMARK_DAYS:
            continue
        yield Link(
            source=source.attempt_id,
            target=target.attempt_id,
            kind=kind[0],
            evidence=sentence.text,
            confidence=kind[1],
            rule=RULE,
        )


def _days(source: Attempt, target: Attempt) -> float:
    if source.landed_at is None or target.landed_at is None:
        return 0.0
    return (target.landed_at - source.landed_at).total_seconds() / 86_400


_POLISH = ("follow_up", 0.86)


def _kind(sentence: _Sentence, reference: re.Match[str], target: Attempt) -> tuple[str, float] | None:
    """The kind and confidence of a reference by the words around it."""
    text = sentence.text
    before, after = text[: reference.start()], text[reference.end() :]
    if reference["number"] == str(target.number) or reference["page"] == str(target.number):
        return None
    if _FOLLOW_UP.search(before):
        return ("fix_of", 0.78) if _FELL_SHORT.search(after) else ("follow_up", 0.9)
    if reference["remark"] and _REMARKED.search(before):
        return "fix_of", 0.78
    if text == target.subject and _POLISHES.search(before):
        return _POLISH
    if _SINCE.search(before):
        dated = _DATED_FAULT.search(before) or _DATED_FAULT.search(after)
        return ("regression_fix", 0.85) if dated and not _CITES.search(text) else None
    if _CITES.search(text) or (_FIXED_THERE.search(text) and not _FELL_SHORT.search(text)):
        return None
    return _corrects(sentence, before, after, target)


def _corrects(sentence: _Sentence, before: str, after: str, target: Attempt) -> tuple[str, float] | None:
    """The kind and confidence of a reference that cites for no other reason."""
    text = sentence.text
    if _FORGOTTEN_AFTER.match(after):
        return "fix_of", 0.85
    fault = bool(_FAULT.search(text))
    if _REGRESSION.search(before) or _REGRESSION_AFTER.match(after):
        if _INTRODUCED.search(before) and not (fault or _BY_ITSELF.match(text)):
            return None
        if fault or _FAULT.search(target.subject):
            return "regression_fix", 0.88
    if _FORGOTTEN.search(before):
        return "fix_of", 0.85
    if _FIX.search(before):
        tidies = _TIDIES.search(text) or _TIDIES.search(target.subject)
        return ("follow_up", 0.8) if tidies else ("fix_of", 0.85)
    mending = any(_BEGINS_FIX.match(said) for said in (target.subject, sentence.before, text))
    if mending and (not before.strip() or before.rstrip()[-1:] in ":;,") and _OF_ITS_OWN.match(after):
        return "fix_of", 0.8
    if sentence.after and _CONTRASTS.match(sentence.after) and not _CITES.search(sentence.after):
        return "regression_fix", 0.8
    return None
