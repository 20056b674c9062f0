"""Drops mined trials whose edits cannot replay, as far as the row itself can tell.

The miner replays every edit on the repository; this filter, which has no repository, holds what must be true of any
edit that did: the diff parses, its hunks add up and do not overlap, its paths stay inside, a file that the attempt
itself created is edited as what it is, and the first episode's edit fits the files as the prompt shows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from filters.frame import KEEP, Decision, drop, mined
from filters.shown import shown_files
from pipeline.edits import EditError, FileEdit, apply_hunks, parse_diff
from pipeline.records import Episode, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayConfig:
    """`need_edit`: drop a mined trial with an episode in which nothing is edited."""

    need_edit: bool = True


class Replay:
    """Drops with the code of `pipeline.edits.EditError`, or `no_edit`, or `not_as_shown`."""

    config_type: ClassVar[type] = ReplayConfig
    version: ClassVar[int] = 1

    def __init__(self, config: ReplayConfig) -> None:
        self._config = config

    def decide(self, batch: pa.RecordBatch) -> list[Decision]:
        """One decision per row; synthetic trials are kept."""
        return [KEEP if trial is None else self._decide(trial) for trial in mined(batch)]

    def _decide(self, trial: Trial) -> Decision:
        for episode in trial.episodes:
            if self._config.need_edit and not any(step.channel == "edit" for step in episode.actions):
                return drop("no_edit", f"episode {episode.index}")
            known: dict[str, str] = {}
            try:
                for place, edits in enumerate(_edits(episode)):
                    if episode.index == 0 and place == 0:
                        _compare(edits, trial.task.prompt)
                    for edit in edits:
                        _replay(edit, known)
            except EditError as error:
                return drop(error.reason, f"episode {episode.index}: {error}")
        return KEEP


def _edits(episode: Episode) -> Iterator[tuple[FileEdit, ...]]:
    return (parse_diff(step.text) for step in episode.actions if step.channel == "edit")


def _replay(edit: FileEdit, known: dict[str, str]) -> None:
    """Apply an edit to the files whose whole content is known, and learn those that it creates."""
    if edit.binary:
        known.pop(edit.path, None)
        return
    if edit.old_path is None:
        content: str | None = apply_hunks("", edit.hunks)
    elif edit.new_path is None and edit.hunks:
        # a deletion shows the whole file
        content = known.pop(edit.old_path, None)
        content = apply_hunks("".join(edit.hunks[0].old) if content is None else content, edit.hunks)
        if content:
            raise EditError("does_not_apply", f"{edit.old_path!r} is deleted but its diff leaves text behind")
    else:
        content = known.pop(edit.old_path, None)
        content = None if content is None else apply_hunks(content, edit.hunks)
    if content is not None and edit.new_path is not None:
        known[edit.new_path] = content


def _compare(edits: Sequence[FileEdit], prompt: str) -> None:
    """Raise `EditError` `not_as_shown` where an edit expects other lines than the prompt shows of the file."""
    changed = {edit.old_path: edit for edit in edits if edit.old_path is not None and edit.hunks}
    for path, file in shown_files(prompt, changed).items():
        for hunk in changed[path].hunks:
            for number, line in enumerate(hunk.old, hunk.old_start):
                found = file.lines.get(number)
                if found != line.rstrip("\n") and (file.whole or found is not None):
                    raise EditError("not_as_shown", f"line {number} of {path!r} is shown as {found!r}, not as {line!r}")
