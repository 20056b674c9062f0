"""Attempts: what the history's plans say, with messages, authors and touched files read from the clone.

One row per attempt, landed or not, in the `attempts` stage of the lake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.lake import Lake
from pipeline.ledger import Ledger
from pipeline.records import AttemptRef, well_formed
from pipeline.stage import ShardInput
from sources.git import Git
from sources.git_objects import RawCommit
from sources.graph import MERGED, SQUASHED
from sources.history import Plan
from sources.names import own_shards

STAGE = "attempts"

_BATCH = 512
_MOST_FILES = 200
_MOST_BODY_CHARS = 20_000
_ROBOT = re.compile(
    r"\[bot\]|^(dependabot|renovate|pyup|pre-commit|greenkeeper|mergify|github-actions|snyk|codecov|imgbot|bors|web-flow)"
    r"|\bbot$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCommit:
    """One commit of a branch; `body` is the message without its first line."""

    oid: str
    author: str
    authored_at: datetime
    committed_at: datetime
    subject: str
    body: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A mined change: a pull request, or a commit where there was no pull request.

    `commits` are its own as they landed, oldest first; `branch` tells of the commits that were made for it, which for
    a squashed pull request are others. `base` is the parent of the first own commit (for a branch into which the
    default branch was merged: its newest commit there) and `tip` the state the attempt left; `landing` is the commit
    that brought it onto the default branch, null if it did not land, and `landed_at` that commit's committer time.
    `files` holds at most 200 paths of `files_changed`. `holds` counts other pull requests merged within this one.
    """

    attempt_id: str
    kind: str
    number: int | None
    position: int
    base: str | None
    tip: str
    landing: str | None
    commits: tuple[str, ...]
    branch: tuple[OwnCommit, ...]
    branch_base: str | None
    branch_linear: bool
    holds: int
    author: str
    bot: bool
    authored_at: datetime
    committed_at: datetime
    landed_at: datetime | None
    subject: str
    body: str
    files: tuple[str, ...]
    files_changed: int

    @property
    def landed(self) -> bool:
        """Whether the default branch holds it."""
        return self.landing is not None

    @property
    def all_commits(self) -> tuple[str, ...]:
        """Own commits oldest first, the landing commit last, so that the last is the state after the attempt."""
        if self.landing is None or self.landing in self.commits:
            return self.commits
        return (*self.commits, self.landing)

    def ref(self) -> AttemptRef:
        """The attempt as a trial names it."""
        return AttemptRef(
            attempt_id=self.attempt_id,
            kind=self.kind,
            number=self.number,
            commits=self.all_commits,
            at=self.landed_at or self.committed_at,
        )


_TIME = pa.timestamp("us", tz="UTC")
_OWN_COMMIT = pa.struct(
    [
        pa.field("oid", pa.string()),
        pa.field("author", pa.string()),
        pa.field("authored_at", _TIME),
        pa.field("committed_at", _TIME),
        pa.field("subject", pa.string()),
        pa.field("body", pa.large_string()),
        pa.field("files", pa.list_(pa.string())),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("attempt_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("number", pa.int64()),
        pa.field("position", pa.int64()),
        pa.field("base", pa.string()),
        pa.field("tip", pa.string()),
        pa.field("landing", pa.string()),
        pa.field("commits", pa.list_(pa.string())),
        pa.field("branch", pa.list_(_OWN_COMMIT)),
        pa.field("branch_base", pa.string()),
        pa.field("branch_linear", pa.bool_()),
        pa.field("holds", pa.int32()),
        pa.field("author", pa.string()),
        pa.field("bot", pa.bool_()),
        pa.field("authored_at", _TIME),
        pa.field("committed_at", _TIME),
        pa.field("landed_at", _TIME),
        pa.field("subject", pa.string()),
        pa.field("body", pa.large_string()),
        pa.field("files", pa.list_(pa.string())),
        pa.field("files_changed", pa.int32()),
    ],
    metadata={b"retrial.schema_version": b"1.0"},
)
"""The Arrow schema of the attempts stage, one row per attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAttempts:
    """The transform of the attempts stage: a block of plans → attempts."""

    path: str

    def __call__(self, lake: Lake, item: ShardInput, ledger: Ledger) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Yield the attempts of one block in the order of the plans."""
        plans: tuple[Plan, ...] = item.payload
        with Git(self.path) as git:
            kept = [plan for plan in plans if not plan.drop]
            wanted = dict.fromkeys(oid for plan in kept for oid in (*plan.commits, *plan.branch))
            files = dict(git.changed_files(wanted))
            landings = (plan.landing for plan in kept if plan.landing)
            commits = {found.oid: found for found in git.read_commits(dict.fromkeys((*wanted, *landings)))}
            rows: list[dict[str, Any]] = []
            for plan in plans:
                ledger.take()
                if plan.drop:
                    ledger.drop(plan.drop)
                    continue
                attempt = _attempt(plan, commits, files)
                if not attempt.files_changed:
                    ledger.drop("no_files")
                    continue
                ledger.keep()
                ledger.counts[f"{attempt.kind}_{'landed' if attempt.landed else 'not_landed'}"] += 1
                rows.append(_row(attempt))
                if len(rows) == _BATCH:
                    yield "part", pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
                    rows = []
            if rows:
                yield "part", pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


def from_batch(batch: pa.RecordBatch | pa.Table) -> Iterator[Attempt]:
    """The attempts of a batch, one at a time."""
    for row in batch.to_pylist():
        row["commits"], row["files"] = tuple(row["commits"]), tuple(row["files"])
        row["branch"] = tuple(OwnCommit(**{**own, "files": tuple(own["files"])}) for own in row["branch"])
        yield Attempt(**row)


class Attempts:
    """All attempts of one repository: streamed in landing order, or looked up by number, commit or title.

    Holds an index of ids and numbers only; what is looked up is read from the lake, a few shards at a time. A null
    `name` is the only repository of the lake; `ValueError` is raised where it holds several. `clone` (a path) and
    `head` (a commit) say where linkers find the code; null where it is not at hand.
    """

    def __init__(
        self, lake: Lake, name: str | None = None, *, clone: str | None = None, head: str | None = None
    ) -> None:
        self._lake = lake
        self.name, self.clone, self.head = name, clone, head
        self._paths = [shard.path for shard in own_shards(lake, STAGE, name)]
        self._place: list[tuple[int, int]] = []
        self._of_id: dict[str, int] = {}
        self._of_number: dict[int, int] = {}
        self._of_commit: dict[str, list[tuple[str, int]]] = {}
        self._of_title: dict[int, list[int]] = {}
        self._shard = lru_cache(maxsize=8)(self._read_shard)
        self._at = lru_cache(maxsize=4096)(self._read)
        for shard, path in enumerate(self._paths):
            row = 0
            for batch in lake.batches(path, ["attempt_id", "number", "commits", "landing", "subject", "branch"]):
                self._enter(shard, row, batch)
                row += batch.num_rows

    def _enter(self, shard: int, row: int, batch: pa.RecordBatch) -> None:
        start = len(self._place)
        self._place.extend((shard, row + at) for at in range(batch.num_rows))
        for at, name in enumerate(batch.column("attempt_id").to_pylist(), start):
            self._of_id[name] = at
        for at, number in enumerate(batch.column("number").to_pylist(), start):
            if number is not None:
                self._of_number[number] = at
        for at, title in enumerate(batch.column("subject").to_pylist(), start):
            self._of_title.setdefault(hash(title_key(title)), []).append(at)
        for at, landing in enumerate(batch.column("landing").to_pylist(), start):
            if landing is not None:
                self._enter_commit(landing, at)
        commits, branch = batch.column("commits"), batch.column("branch")
        for at, oid in zip(_rows(commits), commits.flatten().to_pylist(), strict=True):
            self._enter_commit(oid, start + at)
        own = branch.flatten()
        for at, oid, title in zip(
            _rows(branch), own.field("oid").to_pylist(), own.field("subject").to_pylist(), strict=True
        ):
            self._enter_commit(oid, start + at)
            places = self._of_title.setdefault(hash(title_key(title)), [])
            if start + at not in places:
                places.append(start + at)

    def _enter_commit(self, oid: str, at: int) -> None:
        entry, places = (oid, at), self._of_commit.setdefault(oid[:7], [])
        if entry not in places:
            places.append(entry)

    def __len__(self) -> int:
        return len(self._place)

    def __iter__(self) -> Iterator[Attempt]:
        for path in self._paths:
            for batch in self._lake.batches(path):
                yield from from_batch(batch)

    def saying(self, *patterns: str) -> Iterator[Attempt]:
        """The attempts, in landing order, whose messages match each of `patterns` (RE2, letter case ignored).

        A quick sieve over whole columns: far fewer attempts are then looked at one by one.
        """
        for path in self._paths:
            for batch in self._lake.batches(path):
                mask = None
                for pattern in patterns:
                    found = _matching(batch, pattern)
                    mask = found if mask is None else pc.and_(mask, found)
                yield from from_batch(batch if mask is None else batch.filter(mask))

    def get(self, attempt_id: str) -> Attempt:
        """The attempt with this id; raises `KeyError`."""
        return self._at(self._of_id[attempt_id])

    def by_number(self, number: int) -> Attempt | None:
        """The pull request with this number."""
        at = self._of_number.get(number)
        return None if at is None else self._at(at)

    def by_commit(self, oid: str) -> Attempt | None:
        """The attempt that a commit (7 to 40 hex digits) belongs to; None if unknown or ambiguous."""
        found = {at for whole, at in self._of_commit.get(oid[:7].lower(), ()) if whole.startswith(oid.lower())}
        landed = [at for at in sorted(found) if self._at(at).landed] if len(found) > 1 else sorted(found)
        return self._at(landed[0]) if len(landed) == 1 else None

    def by_title(self, title: str) -> list[Attempt]:
        """The attempts with this title (or an own commit with it), letter case and `(#N)` aside; oldest first."""
        key = title_key(title)
        found = [self._at(at) for at in self._of_title.get(hash(key), ())]
        return [a for a in found if key in {title_key(a.subject), *(title_key(own.subject) for own in a.branch)}]

    def _read(self, at: int) -> Attempt:
        shard, row = self._place[at]
        return next(from_batch(self._shard(shard).slice(row, 1)))

    def _read_shard(self, shard: int) -> pa.Table:
        return pa.Table.from_batches(self._lake.batches(self._paths[shard]), schema=SCHEMA)


def _rows(lists: pa.ListArray) -> list[int]:
    """The row each flattened value of a list column is of."""
    return pc.list_parent_indices(lists).to_pylist()  # type: ignore[no-any-return]


def _matching(batch: pa.RecordBatch, pattern: str) -> pa.BooleanArray:
    """Which rows match a pattern in their own or their commits' subject or body."""
    own = batch.column("branch").flatten()
    rows = pc.list_parent_indices(batch.column("branch"))
    columns = (batch.column("subject"), batch.column("body"))
    masks = [pc.match_substring_regex(column, pattern, ignore_case=True) for column in columns]
    for name in ("subject", "body"):
        hits = rows.filter(pc.match_substring_regex(own.field(name), pattern, ignore_case=True))
        masks.append(pc.is_in(pa.array(range(batch.num_rows), pa.int64()), value_set=hits.cast(pa.int64())))
    found = masks[0]
    for mask in masks[1:]:
        found = pc.or_(found, mask)
    return found


def title_key(title: str) -> str:
    """A title without `(#N)` at its end, in lower case, with single blanks."""
    return " ".join(SQUASHED.sub("", title).lower().split())


def _attempt(plan: Plan, commits: Mapping[str, RawCommit], files: Mapping[str, list[str]]) -> Attempt:
    landing = commits[plan.landing] if plan.landing else None
    own = [commits[oid] for oid in plan.commits]
    branch = [commits[oid] for oid in plan.branch]
    subject, body = _words(plan, landing, own)
    paths = dict.fromkeys(path for oid in plan.commits for path in files.get(oid, ()))
    last = own[-1]
    return Attempt(
        attempt_id=plan.attempt_id,
        kind=plan.kind,
        number=plan.number,
        position=plan.position,
        base=plan.base,
        tip=plan.tip,
        landing=plan.landing,
        commits=plan.commits,
        branch=tuple(_own(commit, files.get(commit.oid, [])) for commit in branch),
        branch_base=plan.branch_base,
        branch_linear=plan.branch_linear,
        holds=plan.holds,
        author=own[0].author,
        bot=bool(_ROBOT.search(own[0].author)),
        authored_at=_time(last.authored_at),
        committed_at=_time(last.committed_at),
        landed_at=_time(landing.committed_at) if landing else None,
        subject=subject,
        body=body,
        files=tuple(well_formed(path) for path in list(paths)[:_MOST_FILES]),
        files_changed=len(paths),
    )


def _own(commit: RawCommit, files: Iterable[str]) -> OwnCommit:
    subject, body = _split(commit.message)
    return OwnCommit(
        oid=commit.oid,
        author=commit.author,
        authored_at=_time(commit.authored_at),
        committed_at=_time(commit.committed_at),
        subject=subject,
        body=body[:_MOST_BODY_CHARS],
        files=tuple(well_formed(path) for path in list(files)[:_MOST_FILES]),
    )


def _words(plan: Plan, landing: RawCommit | None, own: list[RawCommit]) -> tuple[str, str]:
    """The title and text of an attempt: a merge commit's title is its second paragraph, a squash's its subject."""
    if landing is not None and landing.oid not in plan.commits:
        subject, body = _split(landing.message)
        if MERGED.match(subject) and body:
            subject, body = _split(body)
        elif MERGED.match(subject) or len(own) == 1:
            subject, body = _split(own[0].message)
        if subject.endswith("…") and body.startswith("…"):
            rest, _, body = body[1:].partition("\n")
            subject, body = subject[:-1] + rest, body.strip("\n")
    else:
        subject, body = _split(own[0].message)
    return subject, body[:_MOST_BODY_CHARS]


def _split(message: str) -> tuple[str, str]:
    subject, _, body = well_formed(message).replace("\r\n", "\n").strip("\n").partition("\n")
    return subject.strip(), body.strip("\n").rstrip()


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _row(attempt: Attempt) -> dict[str, Any]:
    row = {f.name: getattr(attempt, f.name) for f in fields(attempt)}
    row["branch"] = [{f.name: getattr(own, f.name) for f in fields(own)} for own in attempt.branch]
    return row
