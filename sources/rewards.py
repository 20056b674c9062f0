"""The reward of a mined attempt, read off the history: 1 landed and stayed, 0 undone or corrected, null still open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sources.attempts import Attempt
from sources.chains import Answer

_VERBS = {
    "revert": "reverted by",
    "reland": "undone and landed again by",
    "fix_of": "corrected by",
    "regression_fix": "broke something that was fixed by",
    "superseded": "did not land; superseded by",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A reward, null where it is not known, and the line of evidence it rests on."""

    reward: float | None
    evidence: str


def outcome(
    attempt: Attempt, answers: Iterable[Answer], *, as_of: datetime, horizon_days: int, min_confidence: float
) -> Outcome:
    """What became of an attempt by `as_of`.

    0 if a later attempt undid or corrected it, or landed in its stead, whenever that was; 1 if it landed at least
    `horizon_days` before `as_of` and nothing did; null while that time is not over, if it never landed
    (without an answer nobody knows why), or if something only may have corrected it.
    """
    ranked = sorted(answers, key=lambda answer: (answer.at, answer.link.target))
    sure = [answer for answer in ranked if answer.link.confidence >= min_confidence]
    if sure:
        first = sure[0]
        verb = _VERBS.get(first.link.kind, "answered by")
        return Outcome(reward=0.0, evidence=f"{verb} {_named(first)} on {first.at:%Y-%m-%d}")
    if attempt.landed_at is None:
        return Outcome(reward=None, evidence="did not land; nothing tells why")
    if ranked:
        unsure = ranked[0]
        return Outcome(
            reward=None, evidence=f"{_named(unsure)} may have corrected it (confidence {unsure.link.confidence:.2f})"
        )
    if as_of - attempt.landed_at < timedelta(days=horizon_days):
        return Outcome(
            reward=None, evidence=f"landed on {attempt.landed_at:%Y-%m-%d}, {horizon_days} days are not over"
        )
    return Outcome(
        reward=1.0,
        evidence=f"landed on {attempt.landed_at:%Y-%m-%d}, nothing undid or corrected it within {horizon_days} days",
    )


def _named(answer: Answer) -> str:
    name = answer.link.target
    return f"commit {answer.commit[:12]}" if name.startswith("commit:") else f"{name} ({answer.commit[:12]})"
