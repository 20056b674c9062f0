"""Chains to trials: who did what, what the world answered, and what it was worth, each at the time it was known.

A revert is feedback, the world's answer; a fix or a reland is an action. Feedback between two attempts opens the later
episode; feedback after the last attempt trails behind its action. What others changed meanwhile in the files the trial
has shown so far (state drift) is feedback too. A correction's own message belongs to its action, and nothing of
it is told earlier.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise

from pipeline.records import (
    AttemptRef,
    Chain,
    Episode,
    Link,
    Note,
    Provenance,
    Step,
    Task,
    Trial,
    Version,
    seal,
    well_formed,
)
from sources.attempts import Attempt, OwnCommit
from sources.chains import Answer, ChainPlan
from sources.edits import Edit, EditLimits, build_edit
from sources.git import Git
from sources.licenses import Licenses
from sources.links.words import is_changelog, specific_words
from sources.prompt import cropped, intent, language, prompt
from sources.rewards import Outcome, outcome

MINER_VERSION = "2"
"""Part of every mined trial's provenance: raise it when the same history must give other links or trials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialConfig:
    """How chains become trials.

    `name` stands for the repository in task and provenance: its URL or a slug, never a path on this machine.
    `as_of` is the newest moment the clone can speak of, in seconds since 1970.
    """

    name: str
    as_of: int
    horizon_days: int
    min_confidence: float
    max_chain: int
    context_chars: int
    feedback_chars: int
    message_chars: int
    edit: EditLimits


class NoTrialError(Exception):
    """A chain that makes no trial; the argument is the reason code."""


@dataclass(slots=True)
class _Draft:
    """A trial in the making: episodes so far, and feedback that waits for the next one.

    `state` is the default branch as the last attempt left it; `closed` that attempt's edit if it did not land.
    """

    episodes: list[list[Step]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    waiting: list[Step] = field(default_factory=list)
    shown: set[str] = field(default_factory=set)
    state: str = ""
    closed: Edit | None = None


class TrialMaker:
    """Makes the trials of one repository."""

    def __init__(self, git: Git, config: TrialConfig) -> None:
        self.git, self._config = git, config
        self._licenses = Licenses(git)
        self._as_of = datetime.fromtimestamp(config.as_of, UTC)

    def of_chain(self, plan: ChainPlan) -> Trial:
        """The trial of a chain of attempts; raises `NoTrialError` with the reason code where there is none."""
        reverting = {link.target for link in plan.links if link.kind == "revert"}
        relanding = {link.target for link in plan.links if link.kind == "reland"}
        plan = _without_stray_reverts(plan, reverting - relanding)
        draft, first_edit = _Draft(), None
        for attempt in plan.attempts:
            if attempt.attempt_id in reverting - relanding:
                self._undo(draft, attempt, last=attempt is plan.attempts[-1])
                continue
            base, tip = self._span(attempt, draft)
            edit = self._edit(base, tip)
            # opened anew as it was: there is nothing to learn from a 0 for the one and a 1 for the other
            if draft.closed is not None and edit.changed_lines() == draft.closed.changed_lines():
                raise NoTrialError("same_edit")
            # a rebase or a merge makes an edit anew: it is the work of the time of the state it leads to
            made_at = datetime.fromtimestamp(self.git.commit(tip).committed_at, UTC)
            if first_edit is None:
                first_edit, first = edit, attempt
                base_commit = base
            else:
                self._drift(draft, base)
                draft.waiting.extend(self._said(told(attempt), attempt.author, made_at, attempt.landed_at))
            draft.waiting.append(_action("edit", edit.text, attempt.author, made_at, attempt.landed_at))
            # what did not land left the default branch as it was
            self._close_episode(draft, edit, attempt.landing or base)
            draft.closed = None if attempt.landed else edit
            answers = [answer for answer in plan.answers if answer.link.source == attempt.attempt_id]
            draft.outcomes.append(self._outcome(attempt, answers))
        if first_edit is None:
            raise NoTrialError("no_attempt")
        if specific_words(f"{first.subject} {first.body}") < 2:
            raise NoTrialError("no_intent")
        if draft.waiting:
            draft.episodes[-1].extend(draft.waiting)
        if len(draft.episodes) == 1 and draft.outcomes[0].reward != 0.0:
            raise NoTrialError("single_episode")
        notes = []
        if plan.left_out:
            notes.append(Note(filter="mine", action="change", reason="chain_cut", detail=f"{plan.left_out} left out"))
        return self._sealed(
            draft,
            wanted=intent(first.subject, _purpose(first), most_chars=self._config.message_chars),
            edit=first_edit,
            base=base_commit,
            chain=Chain(attempts=tuple(attempt.ref() for attempt in plan.attempts), links=plan.links),
            family=plan.family,
            has_feedback=any(attempt.attempt_id in reverting - relanding for attempt in plan.attempts),
            notes=notes,
        )

    def of_pushes(
        self, attempt: Attempt, parts: Sequence[tuple[OwnCommit, ...]], answers: Iterable[Answer], family: str
    ) -> Trial:
        """The trial of a pull request whose branch corrects itself, cut into `parts`, two or more."""
        if attempt.branch_base is None:
            raise NoTrialError("root_commit")
        if specific_words(f"{attempt.subject} {attempt.body}") < 2:
            raise NoTrialError("no_intent")
        draft, before = _Draft(), attempt.branch_base
        first_edit: Edit | None = None
        for at, part in enumerate(parts):
            last = part[-1]
            edit = self._edit(before, last.oid)
            first_edit = first_edit or edit
            if at:
                text = "\n\n".join(f"{own.subject}\n\n{own.body}".strip() for own in part)
                draft.waiting.extend(self._said(text, last.author, last.committed_at, last.committed_at))
            draft.waiting.append(_action("edit", edit.text, last.author, last.committed_at, last.committed_at))
            self._close_episode(draft, edit, last.oid)
            before = last.oid
            if at + 1 < len(parts):
                fix = parts[at + 1][0]
                evidence = f"{fix.oid[:12]} on the same branch rewrote it on {fix.committed_at:%Y-%m-%d}: {fix.subject}"
                draft.outcomes.append(Outcome(reward=0.0, evidence=cropped(evidence, 300)))
        draft.outcomes.append(self._outcome(attempt, answers))
        if first_edit is None:
            raise NoTrialError("no_attempt")
        refs = tuple(_push_ref(attempt, at, part, at + 1 == len(parts)) for at, part in enumerate(parts))
        links = tuple(
            Link(
                source=refs[at].attempt_id,
                target=refs[at + 1].attempt_id,
                kind="push",
                evidence=parts[at + 1][0].subject,
                confidence=0.95,
                rule="pushes",
            )
            for at in range(len(parts) - 1)
        )
        return self._sealed(
            draft,
            wanted=intent(attempt.subject, _purpose(attempt), most_chars=self._config.message_chars),
            edit=first_edit,
            base=attempt.branch_base,
            chain=Chain(attempts=refs, links=links),
            family=family,
            has_feedback=False,
            notes=[],
        )

    def _outcome(self, attempt: Attempt, answers: Iterable[Answer]) -> Outcome:
        return outcome(
            attempt,
            answers,
            as_of=self._as_of,
            horizon_days=self._config.horizon_days,
            min_confidence=self._config.min_confidence,
        )

    def _span(self, attempt: Attempt, draft: _Draft) -> tuple[str, str]:
        """The commits an attempt leads from and to, checked to come after what the trial has told so far."""
        if attempt.base is None:
            raise NoTrialError("root_commit")
        if attempt.holds:
            raise NoTrialError("holds_other_attempts")
        if draft.state and not self.git.is_ancestor(draft.state, attempt.base):
            raise NoTrialError("branched_before_previous")
        return attempt.base, attempt.tip

    def _edit(self, before: str, after: str) -> Edit:
        edit = build_edit(self.git, self.git.tree_of(before), self.git.tree_of(after), self._config.edit)
        if isinstance(edit, str):
            raise NoTrialError(edit)
        return edit

    def _close_episode(self, draft: _Draft, edit: Edit, state: str) -> None:
        draft.episodes.append(draft.waiting)
        draft.waiting = []
        draft.shown.update(edit.paths)
        draft.state = state

    def _undo(self, draft: _Draft, attempt: Attempt, *, last: bool) -> None:
        """Put down that the world undid what was done: the message, and the diff if there is an episode to come."""
        if not draft.episodes:
            raise NoTrialError("revert_before_attempt")
        text = cropped(told(attempt), self._config.message_chars)
        if not last and attempt.base is not None:
            patch = self.git.patch_of(attempt.base, attempt.tip, sorted(draft.shown)).decode("utf-8", "replace")
            text += f"\n\n{cropped(_without_index(patch), self._config.feedback_chars)}"
        draft.waiting.append(
            _feedback(text, actor=attempt.author, at=attempt.committed_at, available_at=attempt.landed_at)
        )
        draft.state = attempt.landing or attempt.tip

    def _drift(self, draft: _Draft, base: str) -> None:
        """Show what else changed, up to `base`, in the files the trial has shown."""
        if draft.state == base:
            return
        # changelogs change all the time and say little, so they come last and are the first to be cut
        paths = sorted(draft.shown, key=lambda path: (is_changelog(path), path))
        parts = [[path for path in paths if is_changelog(path) == last] for last in (False, True)]
        patch = b"".join(self.git.patch_of(draft.state, base, part) for part in parts if part).decode(
            "utf-8", "replace"
        )
        if not patch:
            return
        at = datetime.fromtimestamp(self.git.commit(base).committed_at, UTC)
        text = "Meanwhile others changed these files:\n\n" + cropped(_without_index(patch), self._config.feedback_chars)
        draft.waiting.append(_feedback(text, actor=None, at=at, available_at=at))

    def _said(self, text: str, actor: str, at: datetime, available_at: datetime | None) -> list[Step]:
        text = cropped(text.strip(), self._config.message_chars)
        return [_action("message", text, actor, at, available_at)] if text else []

    def _sealed(
        self,
        draft: _Draft,
        *,
        wanted: str,
        edit: Edit,
        base: str,
        chain: Chain,
        family: str,
        has_feedback: bool,
        notes: list[Note],
    ) -> Trial:
        name = self._config.name
        if not has_feedback:
            detail = "nothing but the reward tells that the attempt failed"
            notes.append(Note(filter="mine", action="keep", reason="reward_only", detail=detail))
        episodes = tuple(
            Episode(
                index=index,
                steps=tuple(steps),
                reward=result.reward,
                reward_source="history",
                reward_evidence=well_formed(result.evidence),
            )
            for index, (steps, result) in enumerate(zip(draft.episodes, draft.outcomes, strict=True))
        )
        times = [step.available_at for episode in episodes for step in episode.steps if step.available_at]
        if any(later < earlier for earlier, later in pairwise(times)):
            raise NoTrialError("time_disorder")
        return seal(
            Trial(
                task=Task(
                    prompt=well_formed(prompt(name, wanted, edit, self._config.context_chars)),
                    environment="repository",
                    repo=name,
                    base_commit=base,
                    language=language(edit.paths),
                ),
                episodes=episodes,
                group_id=f"{name}:{family}",
                chain=chain,
                provenance=Provenance(
                    source="git",
                    urls=_urls(name, chain.attempts),
                    commits=tuple(dict.fromkeys(oid for ref in chain.attempts for oid in ref.commits)),
                    license=self._licenses.at(base),
                    retrieved_at=self._as_of,
                    versions=(Version(name="sources", version=MINER_VERSION),),
                ),
                notes=tuple(notes),
            )
        )


def told(attempt: Attempt) -> str:
    """What an attempt says of itself: its own title and text and, for a merge, what its commits add to that."""
    parts = [attempt.subject, *attempt.body.split("\n\n")]
    if attempt.landing not in attempt.commits:
        for own in attempt.branch:
            parts.extend([own.subject, *own.body.split("\n\n")])
    return "\n\n".join(dict.fromkeys(part.strip("\n") for part in parts if part.strip()))


def _purpose(attempt: Attempt) -> str:
    """The text that says what for: where a merge has none, that of the first commit if that bears its title."""
    if attempt.body or not attempt.branch or attempt.landing in attempt.commits:
        return attempt.body
    first = attempt.branch[0]
    return first.body if len(attempt.branch) == 1 or first.subject == attempt.subject else ""


def _without_stray_reverts(plan: ChainPlan, reverts: set[str]) -> ChainPlan:
    """The chain without reverts of an attempt that another has followed since: they answer nothing that is at hand."""
    undoes = {link.target: link.source for link in plan.links if link.target in reverts}
    kept: list[Attempt] = []
    latest = ""
    for attempt in plan.attempts:
        if attempt.attempt_id not in reverts:
            latest = attempt.attempt_id
        elif undoes[attempt.attempt_id] != latest:
            continue
        kept.append(attempt)
    names = {attempt.attempt_id for attempt in kept}
    return replace(plan, attempts=tuple(kept), links=tuple(link for link in plan.links if link.target in names))


def _push_ref(attempt: Attempt, at: int, part: tuple[OwnCommit, ...], last: bool) -> AttemptRef:
    commits = tuple(own.oid for own in part)
    if last and attempt.landing is not None and attempt.landing not in commits:
        commits = (*commits, attempt.landing)
    return AttemptRef(
        attempt_id=f"{attempt.attempt_id}/push:{at}",
        kind=attempt.kind,
        number=attempt.number,
        commits=commits,
        at=part[-1].committed_at,
    )


def _action(channel: str, text: str, actor: str, at: datetime, available_at: datetime | None) -> Step:
    # clocks of different machines: nothing was to be had before it was made
    known_at = max(at, available_at or at)
    return Step(kind="action", channel=channel, text=well_formed(text), actor=actor, at=at, available_at=known_at)


def _feedback(text: str, *, actor: str | None, at: datetime, available_at: datetime | None) -> Step:
    known_at = max(at, available_at or at)
    return Step(
        kind="feedback", channel="environment", text=well_formed(text), actor=actor, at=at, available_at=known_at
    )


def _without_index(patch: str) -> str:
    return "\n".join(line for line in patch.split("\n") if not line.startswith("index "))


def _urls(name: str, attempts: Iterable[AttemptRef]) -> tuple[str, ...]:
    if not name.startswith("https://github.com/"):
        return (name,) if "://" in name else ()
    pages = (f"{name}/pull/{ref.number}" if ref.number else f"{name}/commit/{ref.commits[-1]}" for ref in attempts)
    return tuple(dict.fromkeys(pages))
