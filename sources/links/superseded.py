"""Pull requests that did not land because a later attempt says that it did the job instead.

That a message names an unmerged pull request is not enough: the attempt may be split off from it, or be the very same
commits landed by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.records import Link
from sources.attempts import Attempt, Attempts
from sources.links.words import REFERENCE, messages, sentences, shared_files

RULE = "superseded"
SAYS = (
    r"supersed|replac|alternative|instead of|clos(e|es|ed|ing)\b|fix(e|es|ed)\b|resolv|continu|rework"
    r"|take ?over|took over"
    r"|re-?submi|pick(s|ed|ing)? up|finish|complet|rebas|re-?open|previous|based on|work (of|in|by|from)"
    r"|simplif|reviv"
    r"|supplant|obsolet|salvag|take 2|another (attempt|try)|second (attempt|try)|obviat|carr(y|ies)|redo"
    r"|re-?implement"
)
REFERS = r"#[0-9]|gh-[0-9]|\bPR ?[0-9]|pull request ?[0-9]|pull/[0-9]"
"""What an attempt must say, and refer to, for this rule to look at it."""

MOST_DAYS = 1500
"""Unmerged pull requests may wait for years before somebody picks them up."""

_LINK = re.compile(r"https?://github\.com/[\w.-]+/[\w.-]+/(?:pull|issues)/(\d+)\b(?!/\w|#)/?")
_LEAD = (
    r"(?:\s+(?:the|a|an|my|our|his|her|their|old|older|earlier|original|stale|abandoned|previous|unmerged|closed|work"
    r"|works|done|started|begun|patch|attempt|attempts|effort|changes?|commits?|code|idea|PRs?|pull|requests?"
    r"|in|of|from|by|at|on|to"
    r"|for|with|and|also|both|@?[\w-]+'s|@[\w-]+))*[\s(:,]*(?:(?:#|gh-)\d+(?:,| and| &|, and)? *)*$"
)
_REPLACES = re.compile(
    r"\b(?:supersed(?:e|es|ed|ing)|replac(?:e|es|ing|ement)(?: for)?|alternative(?: \w+)?|supplants?|obsoletes?"
    r"|obviates?"
    r"|continu(?:e|es|ed|ing|ation)|rework(?:s|ed|ing)?|taken? over|takes over|took over|resubmit\w*"
    r"|resubmission|re-submi\w+"
    r"|pick(?:s|ed|ing)? up|finish(?:es|ed|ing)?|complet(?:es|ed|ing|ion)|rebase(?:d|s)?(?: version| copy)?"
    r"|reopen\w*|re-open\w*"
    r"|reviv(?:es?|ed|al|ing)|salvag\w+|redo(?:es|ne)?|simplified \w+|carr(?:y|ies|ied|ying)(?: \w+)? (?:on"
    r"|over|forward)"
    r"|previous (?:PRs?|attempts?|pull requests?)|take (?:2|two)|(?:another|second|new) (?:attempt|try|version"
    r"|take)|re-?implement\w*)" + _LEAD,
    re.IGNORECASE,
)
_REPLACED = re.compile(
    r"^\W*(?:is|was|are|being)? ?(?:now )?(?:superseded|replaced|obsolete|obsoleted|taken over)\b",
    re.IGNORECASE,
)
_BASED = re.compile(
    r"\b(?:based(?: heavily| largely| partly)? (?:up)?on|builds? (?:up)?on|derived from|inspired by|instead of"
    r"|in favou?r of)" + _LEAD,
    re.IGNORECASE,
)
_CLOSES = re.compile(
    r"\b(?:clos(?:e|es|ed|ing)|fix(?:e[sd])?|resolv(?:e|es|ed)):?(?: (?:PRs?|pull requests?|issues?|also|and"
    r"|the|earlier))*"
    r"[\s(:,]*(?:(?:#|gh-)\d+[\s,&]*(?:and)?\s*)*$",
    re.IGNORECASE,
)
_PART = re.compile(
    r"\bsplit|\bextract|\bpart of\b|\bparts? from\b|\bpre-?requisite|\bpulled? (?:out|from)|\bcarv|\bprepar"
    r"|\bstack|\bdepends? on"
    r"|\bblock|\bneeded (?:for|by)|\brequired (?:for|by)|\bfactored out|\bfirst (?:part|step)|\bcherry"
    r"|\bback-?port|\bsubset\b"
    r"|\bunblock|\bfollow(?:s|ing)?[- ]?up|\bafter\b|\bfails?\b|\bbroken by\b|\bsee also\b|\bpartially\b"
    r"|\btests? from\b|\bon top of\b|\bonce\b.*\bmerge"
    r"|\bmerge(?:s|d)? (?:pull request|PR|in|into)\b|\bportion",
    re.IGNORECASE,
)
_COMMON = re.compile(
    r"(?:merge|pull|reques|branch|fix(?:es|ed)?|add(?:s|ed|ing)?|update|remove|suppor|improv|change|makes?|when|with|from"
    r"|this|that|into|tests?|commit|review|code|some|more|docs)\Z"
)
_MANIFEST = re.compile(
    r"(?:^|/)(?:package(?:-lock)?\.json|cargo\.(?:toml|lock)|go\.(?:mod|sum)|pyproject\.toml|setup\.(?:py|cfg)"
    r"|tox\.ini"
    r"|[\w-]*requirements[\w-]*\.(?:txt|in)|[^/]*\.lock)\Z|\.ya?ml\Z|(?:^|/)requirements/",
    re.IGNORECASE,
)
_ROLL_UP = re.compile(
    r"\bmerge (?:branch|remote|tag|back|release|master|main|stable|\d)|\brelease\b|\bforward-?port",
    re.IGNORECASE,
)


def links(attempts: Attempts) -> list[Link]:
    """A link from each unmerged pull request to the landed attempt that says it did the job instead."""
    found: list[Link] = []
    for target in attempts.saying(SAYS, REFERS):
        if not target.landed or target.bot or is_roll_up(target):
            continue
        best: dict[str, Link] = {}
        for subject, body in messages(target):
            for sentence in sentences(_LINK.sub(r"#\1", f"{subject}\n\n{body}")):
                for link in _of_sentence(sentence, target, attempts):
                    known = best.get(link.source)
                    if known is None or link.confidence > known.confidence:
                        best[link.source] = link
        found.extend(best[source] for source in sorted(best))
    return found


def _of_sentence(sentence: str, target: Attempt, attempts: Attempts) -> Iterator[Link]:
    for reference in REFERENCE.finditer(sentence):
        if not reference["number"]:
            continue
        confidence = _confidence(sentence[: reference.start()], sentence[reference.end() :], sentence)
        source = attempts.by_number(int(reference["number"])) if confidence else None
        if source is None or not may_supersede(source, target):
            continue
        files, same_topic = shared_files(source, target), title_words(source) & title_words(target)
        if not files and not (confidence > 0.9 and same_topic):
            continue
        if all(_MANIFEST.search(path) for path in files) and files:
            confidence -= 0.15  # which of two version bumps landed teaches little
        if confidence < 0.9 and target.kind == "commit" and not same_topic:
            confidence -= 0.15
        yield Link(
            source=source.attempt_id,
            target=target.attempt_id,
            kind="superseded",
            evidence=sentence,
            confidence=round(confidence, 2),
            rule=RULE,
        )


def _confidence(before: str, after: str, sentence: str) -> float:
    """How sure the words around a reference make it that it was superseded; 0 where they do not say so."""
    if _PART.search(sentence):
        return 0.0
    if _REPLACES.search(before) or _REPLACED.match(after):
        return 0.92
    if _CLOSES.search(before):
        return 0.85
    if _BASED.search(before):
        return 0.78
    return 0.0


def may_supersede(source: Attempt, target: Attempt) -> bool:
    """Whether one did not land, the other did later on, and they are not one work that landed in two ways.

    A commit by the author of the pull request is that pull request landed by hand; a branch that holds its very
    commits had it merged into it, or is stacked on it.
    """
    if source.landed or source.kind != "pr" or source.bot or target.landed_at is None or target.holds:
        return False
    if not 0 <= (target.landed_at - source.authored_at).days <= MOST_DAYS:
        return False
    if target.kind == "commit" and (target.author.casefold() in authors(source) or _same_work(source, target)):
        return False
    return not {own.oid for own in source.branch} & {own.oid for own in target.branch}


def is_roll_up(attempt: Attempt) -> bool:
    """Whether an attempt brings in the work of others: a branch merged back, a release."""
    return attempt.holds > 0 or bool(_ROLL_UP.search(attempt.subject))


def authors(attempt: Attempt) -> set[str]:
    """Who wrote its commits."""
    return {name.casefold() for name in (attempt.author, *(own.author for own in attempt.branch))}


def title_words(attempt: Attempt) -> set[str]:
    """The specific words of an attempt's title and of its commits' titles, shortened so that their forms are alike."""
    return specific_parts(" ".join([attempt.subject, *(own.subject for own in attempt.branch[:20])]))


def specific_parts(title: str) -> set[str]:
    """The specific words of a title, shortened."""
    words = (word[:6] for word in re.findall(r"[^\W\d_]{4,}", title.lower()))
    return {word for word in words if not _COMMON.match(word)}


def _same_work(source: Attempt, target: Attempt) -> bool:
    """Whether an own commit of the one bears the title of the other."""
    return target.subject.lower() in {source.subject.lower(), *(own.subject.lower() for own in source.branch)}
