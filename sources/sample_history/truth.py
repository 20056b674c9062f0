"""What is true of the sample history: its links, its traps, and which corrections their tests can prove."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sources.sample_history.build import tell
from sources.sample_history.story import read


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueLink:
    """A later attempt (`target`) that answers an earlier one (`source`).

    An attempt is named by its key (a pull request's number, a direct commit's name, `12.1` for a commit inside a
    pull request) and by the commit that landed it (its last commit where it never landed). `stratum` says how the
    link shows. `tests`: the target's tests fail at the source's state and pass at the target's; `regression`: they
    also pass right before the source.
    """

    source: str
    target: str
    source_commit: str
    target_commit: str
    kind: str
    stratum: str
    tests: bool
    regression: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoy:
    """A pair that looks like a link and is none; `other` is null where the trap has no partner among the attempts."""

    trap: str
    change: str
    change_commit: str
    other: str | None
    other_commit: str | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruth:
    """Links, decoys, and the commit id of every key; `red` names main-line states whose tests fail on purpose."""

    links: tuple[TrueLink, ...]
    decoys: tuple[Decoy, ...]
    commits: Mapping[str, str]
    red: tuple[str, ...]


@functools.cache
def ground_truth() -> GroundTruth:
    """The truth about the repository that `build` makes; builds it once in a temporary folder to learn the ids."""
    changes = read()
    with tempfile.TemporaryDirectory() as folder:
        ids = tell(changes, Path(folder) / "sample.git")
    links = tuple(
        TrueLink(
            source=told.source,
            target=told.target,
            source_commit=ids[told.source],
            target_commit=ids[told.target],
            kind=told.kind,
            stratum=told.stratum,
            tests=told.tests,
            regression=told.regression,
        )
        for change in changes
        for told in change.told
    )
    decoys = tuple(
        Decoy(
            trap=trap.trap,
            change=trap.change,
            change_commit=ids[trap.change],
            other=trap.other or None,
            other_commit=ids.get(trap.other),
            why=trap.why,
        )
        for change in changes
        for trap in change.traps
    )
    red = tuple(change.key for change in changes if change.red)
    return GroundTruth(links=links, decoys=decoys, commits=MappingProxyType(ids), red=red)
