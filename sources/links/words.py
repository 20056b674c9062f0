"""Reading messages: the sentences people wrote, without what was pasted or generated, and what they refer to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from sources.attempts import Attempt, Attempts
from sources.links.protocol import MOST_DAYS

REFERENCE = re.compile(
    r"https?://[\w.-]+/[\w.-]+/(?P<repo>[\w.-]+)/(?:pull|pulls|merge_requests)/(?P<page>\d{1,7})\b(?!/commits/[0-9a-f]{7})"
    r"(?P<remark>(?:/files)?#(?:discussion_)?(?:r|issuecomment-)\d+)?\S*?(?=[\s),.;:\]>]*(?:\s|\Z))"
    r"|(?<![\w/#&-])(?:PR\s*#?|pull request\s*#?|gh-|#)(?P<number>\d{1,7})\b(?![\w.]*/)"
    r"|\b(?P<commit>(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,40})\b",
    re.IGNORECASE,
)
"""`#12`, `GH-12`, `PR 12`, the address of a pull request (and a `remark` on it), or a commit id; `owner/name#12` is
another repository's and no match."""

_ITEM = re.compile(r"(?:[\s,&:(*+`-]|\band\b|\bPRs?\b|\bcommits?\b|\bpull requests?\b)*", re.IGNORECASE)
_FENCE = re.compile(r"^(```|~~~).*?(^\1\s*$|\Z)", re.MULTILINE | re.DOTALL)
_PASTED = re.compile(
    r"^(\s{4,}|\t|>|\$ |>>> |Traceback |\s+File \"|commit [0-9a-f]{7,40}\s*$|Author:|AuthorDate:|CommitDate:|Date:"
    r"|[0-9a-f]{7,40} |[-*]\s*\[?`?[0-9a-f]{7,40}\b|[\w-]+-by: )",
    re.IGNORECASE,
)
_ROLLED = re.compile(r"^\s*[-*+]\s.*\((?:#|GH-)\d+\)\s*$")
_CHANGELOG = re.compile(
    r"(^|/)(changes?|changelogs?|news|newsfragments|history|authors|contributors|whats_?new|release[-_ ]?notes?"
    r"|announce)(\W|_|$)",
    re.IGNORECASE,
)


def prose(text: str) -> str:
    """`text` without fenced or indented code, pasted logs, trailers and list items that end in `(#N)`."""
    lines = _FENCE.sub("", text).split("\n")
    return "\n".join(line for line in lines if not _PASTED.match(line) and not _ROLLED.match(line))


def sentences(text: str) -> Iterator[str]:
    """The sentences of `prose`, wrapped lines joined; a list item begins a new one."""
    for block in re.split(r"\n\s*\n|\n(?=\s*[-*+]\s)", prose(text)):
        flat = " ".join(block.split())
        ends = [0, *(found.end() for found in re.finditer(r"(?<!e\.g)(?<!i\.e)(?<!cf)[.!?;](?=\s)", flat)), len(flat)]
        for start, end in pairwise(ends):
            if sentence := flat[start:end].strip():
                yield sentence


def messages(attempt: Attempt) -> list[tuple[str, str]]:
    """(subject, body) of the attempt and, where its own commits landed as they are, of each of them."""
    found = [(attempt.subject, attempt.body)]
    if attempt.landing not in attempt.commits or len(attempt.commits) > 1:
        found.extend((own.subject, own.body) for own in attempt.branch)
    return list(dict.fromkeys(found))


def referred(attempts: Attempts, found: re.Match[str]) -> Attempt | None:
    """The attempt a `REFERENCE` names, if it is one of this repository."""
    if found["page"]:
        own = (attempts.name or "").removesuffix(".git").rpartition("/")[2]
        return attempts.by_number(int(found["page"])) if found["repo"].lower() == own.lower() else None
    if found["number"]:
        return attempts.by_number(int(found["number"]))
    return attempts.by_commit(found["commit"])


def listed(attempts: Attempts, text: str, start: int) -> Iterator[tuple[Attempt, str]]:
    """What a list names that begins at `start`: references with nothing but commas, bullets and `and` between them."""
    while found := _ITEM.match(text, start):
        reference = REFERENCE.match(text, found.end())
        if reference is None:
            return
        named = referred(attempts, reference)
        if named is not None:
            yield named, reference[0]
        start = reference.end()


def precedes(source: Attempt, target: Attempt, most_days: int = MOST_DAYS) -> bool:
    """Whether both landed, `source` first, at most `most_days` apart, and neither is a roll-up of others."""
    if source.landed_at is None or target.landed_at is None or source.attempt_id == target.attempt_id:
        return False
    if source.holds > 1 or target.holds > 1 or source.position > target.position:
        return False
    if source.position == target.position and source.landed_at >= target.landed_at:
        return False
    return (target.landed_at - source.landed_at).days <= most_days


def shared_files(source: Attempt, target: Attempt) -> list[str]:
    """Files both touched, changelogs and lists of authors left out."""
    return sorted(path for path in set(source.files) & set(target.files) if not is_changelog(path))


def is_changelog(path: str) -> bool:
    """Whether a file lists changes or authors, which nearly every change touches."""
    return bool(_CHANGELOG.search(path))


def specific_words(title: str) -> int:
    """How many words of a title are of three letters or more; a title of few names nothing."""
    return len(re.findall(r"[^\W\d_]{3,}", re.sub(r"\((?:#|GH-)\d+\)", "", title)))
