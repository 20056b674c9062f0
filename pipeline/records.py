"""The record: a trial, its episodes and steps, and the one Arrow schema they rest in.

Every stage reads and writes this schema. A trial is a task and its episodes; one row of the corpus.

What happens to awkward text (see `tests/pipeline/test_records.py`):

* any Unicode scalar value is kept as it is: NUL, right-to-left marks, combining characters, no normalisation;
* a string may be of any length: text columns are `large_string`, whose offsets are 64 bits wide;
* a lone surrogate has no UTF-8 form, so no Arrow string can hold it: `to_batch` raises `RecordError` and names the
  field; sources that read such text (JSON allows it) call `well_formed` first, which puts U+FFFD in its place;
* line ends are never changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from pipeline.text import unencodable
from pipeline.text import well_formed as well_formed
from pipeline.values import RecordError as RecordError
from pipeline.values import settle

SCHEMA_VERSION = "1.0"
SCHEMA_VERSION_KEY = b"retrial.schema_version"

CHANNELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "action": ("edit", "tool_call", "message", "reflection", "verdict"),
        "feedback": ("tool", "test", "ci", "review", "issue", "environment"),
    }
)
"""The channels that a step of each kind may have."""

REWARD_SOURCES = ("tests", "verifier", "history")
"""`tests` were executed in the sandbox; an environment's `verifier` answered; or it is read off the `history`
(landed, reverted, corrected, superseded, or still inside the horizon: then the reward is null)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """s0 and what is needed to check an answer.

    `environment` is the name an environment is registered under, or `repository` for mined tasks, which also have
    `repo` (URL or slug) and `base_commit` (40 hex digits). `seed` fixes the hidden instance of a synthetic task.
    """

    prompt: str
    environment: str
    seed: int | None = None
    repo: str | None = None
    base_commit: str | None = None
    language: str | None = None

    def __post_init__(self) -> None:
        settle(self, integers=("seed",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One action or one piece of feedback.

    `at` is when it happened and `available_at` when its text could first be known (UTC); both are null for
    synthetic steps, whose order in the episode is their time.
    """

    kind: str
    channel: str
    text: str
    actor: str | None = None
    at: datetime | None = None
    available_at: datetime | None = None

    def __post_init__(self) -> None:
        settle(self, moments=("at", "available_at"))
        if self.channel not in CHANNELS.get(self.kind, ()):
            known = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in CHANNELS.items())
            raise RecordError(f"step kind {self.kind!r} with channel {self.channel!r}; known are {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """Steps, then a reward in [0, 1], or null where it is not known yet, and where the reward came from.

    The steps up to the last action are the episode proper; feedback behind the last action arrived after the reward.
    What the world answered between two episodes stands at the start of the later one.
    `verdict` is the policy's own probability of success, given before the reward was known.
    `reward_evidence` says in a line what decided the reward.
    """

    index: int
    steps: tuple[Step, ...]
    reward: float | None = None
    reward_source: str | None = None
    reward_evidence: str | None = None
    verdict: float | None = None

    def __post_init__(self) -> None:
        settle(self, shares=("reward", "verdict"), integers=("index",))
        if self.reward_source is not None and self.reward_source not in REWARD_SOURCES:
            raise RecordError(f"reward_source {self.reward_source!r}; known are {', '.join(REWARD_SOURCES)}")
        if self.reward is not None and self.reward_source is None:
            raise RecordError(
                f"episode {self.index}: reward {self.reward!r} without reward_source; say where it is from"
            )

    @property
    def actions(self) -> tuple[Step, ...]:
        """The steps of kind `action`, in order."""
        return tuple(step for step in self.steps if step.kind == "action")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRef:
    """A mined change as a trial names it: a pull request, or a commit where there was no pull request."""

    attempt_id: str
    kind: str
    number: int | None = None
    commits: tuple[str, ...] = ()
    at: datetime | None = None

    def __post_init__(self) -> None:
        settle(self, moments=("at",), integers=("number",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A typed edge from an earlier attempt (`source`) to the later one that answers it (`target`).

    `evidence` is the text or place that shows it; `confidence` is in [0, 1]; `rule` names the linker.
    """

    source: str
    target: str
    kind: str
    evidence: str
    confidence: float
    rule: str

    def __post_init__(self) -> None:
        settle(self, shares=("confidence",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Attempts joined by links, oldest first; both empty for synthetic trials."""

    attempts: tuple[AttemptRef, ...] = ()
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The version of a component that had a part in making the row."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a trial is from.

    `license` is the SPDX id at the base commit, null where none was recognised. `retrieved_at` is the latest moment
    the source could speak of (for a Git snapshot its newest commit), so that two runs over one input give one row.
    `sampling` is JSON.
    """

    source: str
    urls: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()
    license: str | None = None
    retrieved_at: datetime | None = None
    model: str | None = None
    sampling: str | None = None
    versions: tuple[Version, ...] = ()

    def __post_init__(self) -> None:
        settle(self, moments=("retrieved_at",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a filter did to a trial that it kept or changed, with the reason code."""

    filter: str
    action: str
    reason: str
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A task and its episodes plus provenance: one row of the corpus.

    `group_id` names what must stay together when the corpus is split: the chain's family for mined trials, the
    hidden instance for synthetic ones. `trial_id` is the content hash; `seal` fills it. `tokens` is null until counted.
    """

    task: Task
    episodes: tuple[Episode, ...]
    group_id: str
    provenance: Provenance
    chain: Chain = Chain()
    trial_id: str = ""
    tokens: int | None = None
    split: str | None = None
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        settle(self, integers=("tokens",))
        found = [episode.index for episode in self.episodes]
        if found != list(range(len(found))):
            raise RecordError(f"episode indices {found}; they count from 0 without gaps")
        if not self.group_id:
            raise RecordError("group_id is empty; trials of one chain or one hidden instance must share a name")


_TEXT = pa.large_string()
_TIME = pa.timestamp("us", tz="UTC")


def _struct(**columns: pa.DataType) -> pa.DataType:
    return pa.struct([pa.field(name, kind) for name, kind in columns.items()])


_STEP = _struct(kind=pa.string(), channel=pa.string(), text=_TEXT, actor=pa.string(), at=_TIME, available_at=_TIME)
_EPISODE = _struct(
    index=pa.int32(),
    steps=pa.list_(_STEP),
    reward=pa.float64(),
    reward_source=pa.string(),
    reward_evidence=pa.string(),
    verdict=pa.float64(),
)
_ATTEMPT = _struct(attempt_id=pa.string(), kind=pa.string(), number=pa.int64(), commits=pa.list_(pa.string()), at=_TIME)
_LINK = _struct(
    source=pa.string(),
    target=pa.string(),
    kind=pa.string(),
    evidence=_TEXT,
    confidence=pa.float64(),
    rule=pa.string(),
)
_PROVENANCE = _struct(
    source=pa.string(),
    urls=pa.list_(pa.string()),
    commits=pa.list_(pa.string()),
    license=pa.string(),
    retrieved_at=_TIME,
    model=pa.string(),
    sampling=pa.string(),
    versions=pa.list_(_struct(name=pa.string(), version=pa.string())),
)

SCHEMA = pa.schema(
    [
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("group_id", pa.string(), nullable=False),
        pa.field(
            "task",
            _struct(
                prompt=_TEXT,
                environment=pa.string(),
                seed=pa.int64(),
                repo=pa.string(),
                base_commit=pa.string(),
                language=pa.string(),
            ),
        ),
        pa.field("episodes", pa.list_(_EPISODE)),
        pa.field("chain", _struct(attempts=pa.list_(_ATTEMPT), links=pa.list_(_LINK))),
        pa.field("provenance", _PROVENANCE),
        pa.field("tokens", pa.int64()),
        pa.field("split", pa.string()),
        pa.field(
            "notes",
            pa.list_(_struct(filter=pa.string(), action=pa.string(), reason=pa.string(), detail=_TEXT)),
        ),
    ],
    metadata={SCHEMA_VERSION_KEY: SCHEMA_VERSION.encode()},
)
"""The Arrow schema of a trial. Its version travels in the schema's metadata and so in every Parquet footer."""


def content_hash(trial: Trial) -> str:
    """SHA-256 over what the trial says: task, episodes, chain and group; not over provenance, tokens, split or notes.

    The form hashed is JSON with sorted keys, times as ISO 8601 in UTC. A reward that flips gives a new id; the
    `group_id` stays, and tells which row the new one corrects.
    """
    row = to_row(trial)
    content = {name: row[name] for name in ("task", "episodes", "chain", "group_id")}
    form = json.dumps(content, sort_keys=True, separators=(",", ":"), default=_iso)
    return hashlib.sha256(form.encode()).hexdigest()


def seal(trial: Trial) -> Trial:
    """The trial with its `trial_id` set to its content hash."""
    return replace(trial, trial_id=content_hash(trial))


def to_row(value: Any) -> Any:
    """A record as dicts and lists, in the shape of `SCHEMA`."""
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: to_row(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [to_row(item) for item in value]
    return value


def from_row(row: Mapping[str, Any]) -> Trial:
    """The trial of one row as Arrow, Parquet or `datasets` give it. Inverse of `to_row`."""
    chain, provenance = row["chain"], row["provenance"]
    return Trial(
        trial_id=row["trial_id"],
        group_id=row["group_id"],
        task=Task(**row["task"]),
        episodes=tuple(_episode(episode) for episode in row["episodes"]),
        chain=Chain(
            attempts=tuple(
                AttemptRef(**{**attempt, "commits": tuple(attempt["commits"])}) for attempt in chain["attempts"]
            ),
            links=tuple(Link(**link) for link in chain["links"]),
        ),
        provenance=Provenance(
            **{
                **provenance,
                "urls": tuple(provenance["urls"]),
                "commits": tuple(provenance["commits"]),
                "versions": tuple(Version(**version) for version in provenance["versions"]),
            }
        ),
        tokens=row["tokens"],
        split=row["split"],
        notes=tuple(Note(**note) for note in row["notes"]),
    )


def to_batch(trials: Iterable[Trial]) -> pa.RecordBatch:
    """Sealed trials as one RecordBatch of `SCHEMA`.

    Raises `RecordError` for a trial without an id and for text that has no UTF-8 form.
    """
    rows = []
    for trial in trials:
        if not trial.trial_id:
            raise RecordError(f"trial of group {trial.group_id!r} has no trial_id; call records.seal first")
        rows.append(to_row(trial))
    try:
        return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    except UnicodeEncodeError as error:
        where = next((path for row in rows for path in unencodable(row, "")), "?")
        raise RecordError(f"lone surrogate in {where}; pass the text through records.well_formed first") from error


def from_batch(batch: pa.RecordBatch | pa.Table) -> Iterator[Trial]:
    """The trials of a batch, one at a time."""
    check_schema(batch.schema)
    for row in batch.to_pylist():
        yield from_row(row)


def check_schema(schema: pa.Schema) -> None:
    """Raise `RecordError` unless `schema` is this version's trial schema."""
    found = (schema.metadata or {}).get(SCHEMA_VERSION_KEY, b"").decode() or None
    if found is not None and found != SCHEMA_VERSION:
        raise RecordError(f"schema version {found}, this is {SCHEMA_VERSION}; re-run the stage that wrote the shard")
    if not schema.equals(SCHEMA):
        names = sorted(set(SCHEMA.names) ^ set(schema.names)) or [
            name for name in SCHEMA.names if not SCHEMA.field(name).equals(schema.field(name))
        ]
        raise RecordError(f"not the schema of a trial: columns {', '.join(names)} differ; read it as what it is")


def _episode(row: Mapping[str, Any]) -> Episode:
    steps: Sequence[Mapping[str, Any]] = row["steps"]
    return Episode(**{**row, "steps": tuple(Step(**step) for step in steps)})


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise RecordError(f"{value!r} of type {type(value).__name__} has no place in a record")
