"""Drops mined trials in which a step, or the prompt, holds what was not knowable at its time.

Times: every step says when its text could first be known. Before an action there may stand only what was available
when the action was made, except output of tests (channel `test`): a correction's tests are run on the attempt before
it, and only their output is shown.

Leaks: what a later episode writes may not stand in an earlier text. Lines that an edit adds are compared with the
words of the prompt (the files it shows are the replay filter's: they must be as they were before the first edit);
lines of a later message, and the names of its commits and pull request, with the prompt and with all feedback before
it. Lines that the repository or an earlier action has shown already are no leak. A reviewer who spells out the
fix is no leak either: that was knowable, and the times prove it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

import pyarrow as pa

from filters.frame import KEEP, Decision, drop, mined
from filters.shown import words
from pipeline.edits import EditError, FileEdit, parse_diff
from pipeline.records import AttemptRef, Episode, Step, Trial

_LINE_LEAD = re.compile(r"^[\s>+\-]*")
_WORD = re.compile(r"\w{2,}")
_SHA = re.compile(r"\b[0-9a-f]{7,40}\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class HindsightConfig:
    """The thresholds of the leak check.

    An added line counts if it has `line_characters` without its indent and at least three words; `leaked_lines` such
    lines (all, where there are fewer), and `leaked_share` of those that the edit adds anew, make a leak. A message's
    line counts from `message_characters` on. `skew_seconds` is how far clocks of different machines may be apart.
    """

    line_characters: int = 16
    leaked_lines: int = 3
    leaked_share: float = 0.25
    message_characters: int = 24
    skew_seconds: float = 0.0


class Hindsight:
    """Drops `no_available_at`, `available_before_it_happened`, `known_only_later`, `fix_leaks_into_prompt`,
    `message_leaks` and `fix_named_early`."""

    config_type: ClassVar[type] = HindsightConfig
    version: ClassVar[int] = 1

    def __init__(self, config: HindsightConfig) -> None:
        self._config = config

    def decide(self, batch: pa.RecordBatch) -> list[Decision]:
        """One decision per row; synthetic trials, whose order is their time, are kept."""
        return [KEEP if trial is None else self._decide(trial) for trial in mined(batch)]

    def _decide(self, trial: Trial) -> Decision:
        return self._times(trial) or self._added_lines(trial) or self._messages(trial) or self._names(trial) or KEEP

    def _times(self, trial: Trial) -> Decision | None:
        skew = timedelta(seconds=self._config.skew_seconds)
        known_at: datetime | None = None
        for episode in trial.episodes:
            done_at = known_at
            for place, step in enumerate(episode.steps):
                where = f"episode {episode.index} step {place} ({step.channel})"
                if step.available_at is None:
                    return drop("no_available_at", where)
                if step.at is not None and step.available_at < step.at:
                    return drop("available_before_it_happened", f"{where}: {step.available_at} before {step.at}")
                made_at = step.at or step.available_at
                if step.kind == "action" and known_at is not None and known_at > made_at + skew:
                    return drop("known_only_later", f"{where} at {made_at} stands behind what came {known_at}")
                if step.kind == "feedback" and step.channel != "test":
                    known_at = _later(known_at, step.available_at)
                done_at = _later(done_at, made_at)
            known_at = _later(known_at, done_at)
        return None

    def _added_lines(self, trial: Trial) -> Decision | None:
        old_paths = {edit.old_path for edit in _edits(trial.episodes[0]) if edit.old_path} if trial.episodes else set()
        prompt = set(_lines(words(trial.task.prompt, old_paths)))
        shown: set[str] = set()
        for episode in trial.episodes:
            edits = list(_edits(episode))
            added: set[str] = set()
            for edit in edits:
                shown.update(_bare(line[1:]) for hunk in edit.hunks for line in hunk.lines if line[0] != "+")
                added.update(line for line in map(_bare, edit.added()) if self._counts(line))
            fresh = added - shown
            leaked = fresh & prompt
            enough = max(min(self._config.leaked_lines, len(fresh)), self._config.leaked_share * len(fresh))
            if leaked and len(leaked) >= enough:
                detail = f"{len(leaked)} of {len(fresh)} lines of episode {episode.index}, as {min(leaked)!r}"
                return drop("fix_leaks_into_prompt", detail)
            shown |= added
        return None

    def _messages(self, trial: Trial) -> Decision | None:
        before = set(_lines(trial.task.prompt))
        said: set[str] = set()
        for episode in trial.episodes:
            for step in episode.steps:
                lines = {line for line in _lines(step.text) if len(line) >= self._config.message_characters}
                if step.channel == "message":
                    leaked = (lines & before) - said
                    if leaked and episode.index > 0:
                        return drop("message_leaks", f"of episode {episode.index}: {min(leaked)!r}")
                if step.kind == "action":
                    said |= lines
                elif step.channel != "test":
                    before |= lines
        return None

    def _names(self, trial: Trial) -> Decision | None:
        """Names of an attempt in what stands before its episode; where attempts and episodes are not one to one, of
        the later attempts in the prompt."""
        attempts = trial.chain.attempts
        known = {attempt.number for attempt in attempts[:1]}
        paired = len(attempts) == len(trial.episodes)
        text = [trial.task.prompt]
        for place, attempt in enumerate(attempts):
            own = trial.episodes[place].steps if paired else ()
            first = next((n for n, step in enumerate(own) if step.kind == "action"), len(own))
            text += _feedback(own[:first])
            # pushes to one pull request share its number
            if place > 0 and (name := _named(attempt, text, attempt.number not in known)):
                return drop("fix_named_early", f"{attempt.attempt_id} as {name!r}")
            known.add(attempt.number)
            text += _feedback(own[first:])
        return None

    def _counts(self, line: str) -> bool:
        return len(line) >= self._config.line_characters and len(_WORD.findall(line)) >= 3


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((moment for moment in (one, other) if moment is not None), default=None)


def _edits(episode: Episode) -> Iterator[FileEdit]:
    for step in episode.actions:
        if step.channel == "edit":
            try:
                yield from parse_diff(step.text)
            except EditError:  # the replay filter speaks on these
                continue


def _bare(line: str) -> str:
    """A line without indent, and without marks of quotation or of a diff."""
    return _LINE_LEAD.sub("", line).rstrip()


def _lines(text: str) -> Iterator[str]:
    return map(_bare, text.split("\n"))


def _feedback(steps: Sequence[Step]) -> list[str]:
    return [step.text for step in steps if step.kind == "feedback" and step.channel != "test"]


def _named(attempt: AttemptRef, texts: Sequence[str], by_number: bool) -> str | None:
    for text in texts:
        if (
            by_number
            and attempt.number is not None
            and (found := re.search(rf"(?:#|\bGH-|/pull/){attempt.number}\b", text))
        ):
            return found[0]
        for sha in _SHA.findall(text):
            if any(commit.startswith(sha) for commit in attempt.commits):
                return str(sha)
    return None
