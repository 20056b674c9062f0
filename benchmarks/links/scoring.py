"""Holds the links of a repository against its labels.

A link counts as right where its pair is labelled a link of a kind that agrees with its own: regressions are folded into
`fix_of`, `fix_of` agrees with `same_issue` (a second fix of one issue), and where the rule for reverts finds one within
a fix, and so calls it `fix_of`, that agrees with `revert` too. A `planned_revert` claims nothing. Of several links
between two attempts the most confident counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.links.labels import WINDOWS, Label, named
from pipeline.records import Link
from sources.attempts import Attempt, Attempts
from sources.git import Git
from sources.links.protocol import MOST_DAYS
from sources.links.words import REFERENCE, messages, shared_files
from sources.pushes import pushes

KINDS = ("revert", "reland", "fix_of", "follow_up", "superseded", "in_pr_fix", "same_issue", "backport")
_FOLDED = {"regression_fix": "fix_of"}
_CLAIMLESS = "planned_revert"
_MOST_PUSHES = 100
_MESSAGE_KINDS = ("fix_of", "follow_up", "same_issue", "backport")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A labelled pair and what the linkers made of it.

    `found` is the kind of the link there is, null for none; `sure` whether its confidence makes it count; `missed` the
    class of reason for a link that was not found.
    """

    repository: str
    label: Label
    found: str | None
    sure: bool
    missed: str = ""

    @property
    def right(self) -> bool:
        """Whether a link of an agreeing kind was found."""
        return self.label.link and self.sure and agrees(self.found, self.label.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class InWindow:
    """A link that the linkers claim where labels are exhaustive; `right` is null where its class is not."""

    repository: str
    link: Link
    kind: str
    right: bool | None


def kind_of(link: Link, label: Label | None) -> str:
    """The kind of a link as labels name it."""
    if link.rule == "revert" and link.kind == "fix_of" and label is not None and label.kind == "revert":
        return "revert"
    return _FOLDED.get(link.kind, link.kind)


def agrees(found: str | None, kind: str) -> bool:
    """Whether a found kind is a label's kind, or as good as it."""
    return found == kind or (found == "fix_of" and kind == "same_issue")


def score(
    repository: str,
    rows: Iterable[Label],
    attempts: Attempts,
    links: Iterable[Link],
    git: Git,
    *,
    min_confidence: float,
) -> tuple[list[Scored], list[InWindow]]:
    """What the links are worth by the labels of their repository; the second part is about its window alone.

    Labels whose two sides turn out to be one attempt say nothing and are left out, but for `in_pr_fix`.
    """
    best: dict[tuple[str, str], Link] = {}
    for link in sorted(links, key=lambda link: (link.confidence, link.kind, link.rule)):
        best[link.source, link.target] = link
    scored, known = [], {}
    for label in rows:
        source, target = named(attempts, label.source), named(attempts, label.target)
        if label.kind == "in_pr_fix":
            scored.append(_in_pull_request(repository, label, target, git))
            continue
        if source is None or target is None:
            scored.append(Scored(repository=repository, label=label, found=None, sure=False, missed="no_such_attempt"))
            continue
        if source.attempt_id == target.attempt_id:
            continue
        known[source.attempt_id, target.attempt_id] = label
        found = best.get((source.attempt_id, target.attempt_id))
        kind = kind_of(found, label) if found else None
        sure = found is not None and found.confidence >= min_confidence
        one = Scored(repository=repository, label=label, found=kind, sure=sure)
        reason = "" if one.right or not label.link else _reason(one, source, target)
        scored.append(Scored(repository=repository, label=label, found=kind, sure=sure, missed=reason))
    sure_links = [link for link in best.values() if link.confidence >= min_confidence]
    return scored, _in_window(repository, attempts, sure_links, known)


def _in_pull_request(repository: str, label: Label, attempt: Attempt | None, git: Git) -> Scored:
    """A later commit is found to correct an earlier one where the branch is cut right before it."""
    parts: Sequence[Sequence[str]] = ()
    if attempt is not None:
        parts = [[own.oid for own in part] for _, cut in pushes(git, [attempt], _MOST_PUSHES) for part in cut]
    source, target = (name.partition(":")[2] for name in (label.source, label.target))
    cuts = [at for at, part in enumerate(parts) if at and part[0] == target]
    hit = bool(cuts) and any(source in part for part in parts[: cuts[0]])
    reason = "" if hit or not label.link else ("wording" if attempt is not None else "no_such_attempt")
    return Scored(repository=repository, label=label, found="in_pr_fix" if hit else None, sure=hit, missed=reason)


def _in_window(
    repository: str, attempts: Attempts, links: Iterable[Link], known: Mapping[tuple[str, str], Label]
) -> list[InWindow]:
    if repository not in WINDOWS:
        return []
    ends = [attempts.by_number(number) for number in WINDOWS[repository]]
    times = [end.landed_at for end in ends if end is not None and end.landed_at is not None]
    if len(times) < 2:
        raise ValueError(f"{repository}: the ends of its window did not land; the clone is not the one labelled")
    found = []
    for link in links:
        at = attempts.get(link.target).landed_at
        label = known.get((link.source, link.target))
        kind = kind_of(link, label)
        if at is None or not times[0] <= at <= times[1] or kind == _CLAIMLESS:
            continue
        right: bool | None = label is not None and label.link and agrees(kind, label.kind)
        # what only blame shows was labelled by samples
        if label is None and kind in _MESSAGE_KINDS and link.rule in _BY_CODE:
            right = None
        found.append(InWindow(repository=repository, link=link, kind=kind, right=right))
    return found


_BY_CODE = ("szz", "blame")


def _reason(one: Scored, source: Attempt, target: Attempt) -> str:
    """Why a link was missed, as far as the two attempts tell."""
    if one.found is not None:
        return f"found_as_{one.found}" if one.sure else "low_confidence"
    if one.label.stratum == "code":
        return "only_code_shows_it"
    if target.landed_at is None:
        return "target_did_not_land"
    if source.landed_at is None:
        return "source_did_not_land"
    if source.holds > 1 or target.holds > 1:
        return "roll_up"
    if source.position > target.position:
        return "out_of_order"
    if (target.landed_at - source.landed_at).days > MOST_DAYS:
        return "too_far_apart"
    if not _names(target, source):
        return "not_named"
    return "wording" if shared_files(source, target) else "no_shared_file"


def _names(target: Attempt, source: Attempt) -> bool:
    """Whether a message of the target names the source by number, commit or title."""
    text = "\n".join(f"{subject}\n{body}" for subject, body in messages(target))
    for found in REFERENCE.finditer(text):
        if found["number"] and int(found["number"]) == source.number:
            return True
        if found["commit"] and any(oid.startswith(found["commit"].lower()) for oid in _oids(source)):
            return True
    return re.sub(r"\s*\(#\d+\)$", "", source.subject).lower() in text.lower()


def _oids(attempt: Attempt) -> list[str]:
    return [*attempt.all_commits, *(own.oid for own in attempt.branch)]
