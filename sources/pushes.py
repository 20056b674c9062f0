"""Corrections inside one pull request: a later commit of the branch rewrites lines that an earlier one added.

The words of its subject must say that it answers something (a review, a failing check, a fault), and at least one
line it removes must be one the branch itself had added: audited on real histories, either alone is not enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from operator import itemgetter

from sources.attempts import Attempt, OwnCommit
from sources.git import Git
from sources.links.words import is_changelog

_ANSWERS = re.compile(
    r"^(fixup|squash|amend)!|\breviews?\b|\bfeedback\b|\bcomments?\b.*\baddress"
    r"|\baddress\w* .*\b(comments?|concerns?)\b|\b(?:according to|per) (?:\w+ )?comments?\b|\bas (?:per|suggested"
    r"|requested)\b|\bsuggest(?:ion|ions|ed)\b"
    r"|\b(?:bug|hot)?fix(?:es|ed|up|ups)?\b|^\W*(?:\w+: )?fixing\b|\brepair(?:s|ed)?\b"
    r"|\bcorrect(?:s|ed|ing|ion|ions)\b|^\W*correct\b|\brevert\w*|\boops\b|\btypos?\b|\bnit(?:s|picks?)?\b"
    r"|\bbroken?\b|\bbreakage\b|\bmistake|\bwrong(?:ly)?\b|\bmake \w+ happy\b|\bplease \w+\b|\bappease\b|\bpacify\b"
    r"|\b(?:tests?|ci|build|checks?|coverage|lint\w*|travis) (?:is |are |was |were )?(?:fail|error|warning|complain)"
    r"|\bfail(?:s|ing|ure|ures|ed)? (?:\w+ )?(?:tests?|ci|checks?|build|lint\w*)\b",
    re.IGNORECASE,
)
"""Words that answer a review, a failing check or a fault."""
_CHECKER = re.compile(
    r"^\W*(?:\w+ ){0,2}(?:lint\w*|flake8|mypy|pep-?8|black|ruff|isort|pylint|pre-commit|coverage|formatting|style)"
    r"(?: \w+)?\W*$",
    re.IGNORECASE,
)
"""Subjects of a few words that name a checker."""
_BUILDS = re.compile(
    r"^\W*(?:\w+: )?(?:add(?:s|ed|ing)?|implement\w*|support\w*|allow\w*|mov(?:e|es|ed|ing)|new|introduc\w+)\b",
    re.IGNORECASE,
)
_TRIVIAL = re.compile(rb"^\W*$")
_MOST_COMMITS = 60


def answering(attempt: Attempt) -> list[int]:
    """Positions of branch commits that, by their words and files, may answer an earlier one of the branch."""
    if not attempt.landed or attempt.bot or attempt.holds or not attempt.branch_linear:
        return []
    if attempt.branch_base is None or not 2 <= len(attempt.branch) <= _MOST_COMMITS:
        return []
    seen: set[str] = set()
    found = []
    for at, own in enumerate(attempt.branch):
        if at and _answers(own.subject) and seen & set(own.files) and "[bot]" not in own.author:
            found.append(at)
        seen.update(own.files)
    return found


def _answers(subject: str) -> bool:
    """Whether a subject says that it answers something, rather than that it builds on."""
    return bool((_ANSWERS.search(subject) and not _BUILDS.match(subject)) or _CHECKER.match(subject))


def pushes(git: Git, attempts: Sequence[Attempt], most: int) -> Iterator[tuple[Attempt, list[tuple[OwnCommit, ...]]]]:
    """Each attempt with its branch cut before each commit that rewrites the branch's own lines; [] where none does.

    All attempts are read from one stream. At most `most` parts; where there are more such commits the last part holds
    the rest, so that the parts are always the whole branch.
    """
    wanted = [(attempt, _to_read(attempt)) for attempt in attempts]
    lines = _Lines(git, [own.oid for _, commits in wanted for own in commits])
    for attempt, commits in wanted:
        candidates = {attempt.branch[at].oid for at in answering(attempt)}
        added: dict[str, set[bytes]] = {}
        rewriting = set()
        for own in commits:
            removed, gained = lines.of(own.oid)
            if own.oid in candidates and any(
                found & added.get(path, set()) for path, found in removed.items() if not is_changelog(path)
            ):
                rewriting.add(own.oid)
            for path, found in gained.items():
                added.setdefault(path, set()).update(found)
        cuts = [at for at, own in enumerate(attempt.branch) if own.oid in rewriting]
        edges = [0, *cuts[: most - 1], len(attempt.branch)]
        yield attempt, [attempt.branch[a:b] for a, b in pairwise(edges)] if cuts else []


def _to_read(attempt: Attempt) -> list[OwnCommit]:
    """The commits that bear on whether an answering one rewrites the branch's own lines: those that share its files."""
    candidates = answering(attempt)
    if not candidates:
        return []
    files = {path for at in candidates for path in attempt.branch[at].files}
    return [own for own in attempt.branch[: candidates[-1] + 1] if files & set(own.files)]


class _Lines:
    """The lines removed and added by commits, asked for in the order of the stream."""

    def __init__(self, git: Git, commits: Sequence[str]) -> None:
        self._found = groupby(git.changed_lines(commits), key=itemgetter(0))
        self._next = next(self._found, None)

    def of(self, commit: str) -> tuple[dict[str, set[bytes]], dict[str, set[bytes]]]:
        """({path: lines removed}, {path: lines added}) of a commit; blank and punctuation-only lines left out."""
        removed: dict[str, set[bytes]] = {}
        gained: dict[str, set[bytes]] = {}
        if self._next is not None and self._next[0] == commit:
            for _, path, line in self._next[1]:
                text = line[1:].strip()
                if not _TRIVIAL.match(text):
                    (removed if line.startswith(b"-") else gained).setdefault(path, set()).add(text)
            self._next = next(self._found, None)
        return removed, gained
