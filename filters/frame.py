"""The frame of the filters: what a decision is, which filters there are, and the stage that applies them in order."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol, cast, runtime_checkable

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import build
from pipeline.finished import finished_shards
from pipeline.lake import Lake
from pipeline.ledger import Ledger
from pipeline.records import SCHEMA, Note, Trial, check_schema, from_batch, seal, to_batch
from pipeline.splits import split_of
from pipeline.stage import Progress, ShardInput, Stage, config_json, run_stage

FILTERS: Mapping[str, str] = {
    "exact_duplicates": "filters.exact_duplicates:ExactDuplicates",
    "bots": "filters.bots:Bots",
    "generated": "filters.generated:Generated",
    "replay": "filters.replay:Replay",
    "hindsight": "filters.hindsight:Hindsight",
}
"""Import paths of the filters by name, in the order in which they run by default: cheap ones first, and duplicates
before everything so that which row is the first does not hang on the others."""

STAGE = "filtered"
"""The stage that `run` writes."""

MINED = "repository"
"""The environment of mined tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a filter decided on one trial. A drop needs a reason code, a change a reason code and the new trial."""

    action: Literal["keep", "change", "drop"]
    reason: str = ""
    detail: str | None = None
    trial: Trial | None = None

    def __post_init__(self) -> None:
        if (self.action == "keep") != (not self.reason):
            raise ValueError(f"decision {self.action!r} with reason {self.reason!r}; a drop or change, only, has one")
        if (self.action == "change") != (self.trial is not None):
            raise ValueError(f"decision {self.action!r} and trial {self.trial!r}; a change, only, has the new trial")


KEEP = Decision(action="keep")


def drop(reason: str, detail: str | None = None) -> Decision:
    """The decision to drop a trial."""
    return Decision(action="drop", reason=reason, detail=detail)


class Filter(Protocol):
    """Decides on the trials of a batch. Made from a frozen config dataclass, `config_type`, that lies beside it."""

    config_type: ClassVar[type]
    version: ClassVar[int]
    """Raise it when the same config must decide otherwise: finished shards are then filtered again."""

    def __init__(self, config: Any) -> None: ...

    def decide(self, batch: pa.RecordBatch) -> list[Decision]:
        """One decision per row, in order; the batches of a shard come in order, to one object."""


@runtime_checkable
class CorpusFilter(Protocol):
    """A filter whose decisions hang on other shards too."""

    def survey(self, lake: Lake, inputs: Sequence[ShardInput], workers: int) -> list[bytes]:
        """Per input what deciding on it takes from the others; it becomes part of the shard's fingerprint."""

    def begin(self, findings: bytes) -> None:
        """Called with the survey's findings before a shard's first batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterConfig:
    """Which stages' trials are filtered, by which filters in which order, with which options."""

    sources: tuple[str, ...] = ("verified", "synth")
    """Stages to read. Of equal trials that of the earlier one stays. A missing or unfinished stage is an error."""
    filters: tuple[str, ...] = tuple(FILTERS)
    """Names of filters, in order."""
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Keys of a filter's config dataclass by the filter's name, `{hindsight = {…}}`."""
    test_fraction: float = 0.01
    """The share of groups that go to split `test`, by hash; the others go to `train`. Synthetic trials have one."""
    split_seed: int = 0
    """Changes which groups these are."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.test_fraction <= 1.0:
            raise ValueError(f"test_fraction {self.test_fraction!r} is outside [0, 1]; give the share of the groups")
        for name in (*self.filters, *self.options):
            if name not in FILTERS:
                raise ValueError(f"filter {name!r} is not known; known are {', '.join(FILTERS)}")
        for names in (self.sources, self.filters):
            if len(set(names)) != len(names):
                raise ValueError(f"{', '.join(names)} names something twice")


def make(name: str, options: Mapping[str, Any]) -> Filter:
    """The filter of a name; raises `ConfigError` for options that its config does not have."""
    module, _, attribute = FILTERS[name].partition(":")
    kind = cast(type[Filter], getattr(importlib.import_module(module), attribute))
    return kind(build(kind.config_type, options, f"filters.{name}"))


def run(lake: Lake, config: FilterConfig, *, workers: int = 1, progress: Progress | None = None) -> Ledger:
    """Filter the trials of the lake into stage `filtered`: table `part` what stays, table `dropped` what does not.

    Reasons in the ledger are `filter.reason`; changed and dropped rows say in their last note which filter and why.
    What stays has a split afterwards: the one it came with, else that of its group.
    """
    inputs: list[ShardInput] = []
    for source in config.sources:
        inputs += [
            ShardInput(key=f"{source}.{shard.key}", fingerprint=shard.sha256, payload=shard.path)
            for shard in finished_shards(lake, source)
        ]
    filters = {name: make(name, config.options.get(name, {})) for name in config.filters}
    findings: list[dict[str, bytes]] = [{} for _ in inputs]
    for place, (name, each) in enumerate(filters.items()):
        if isinstance(each, CorpusFilter):
            if place:
                # the row that it keeps of several might be one that a filter before it drops
                raise ValueError(f"filter {name!r} judges the stages as they are; name it before {config.filters[0]!r}")
            for mine, finding in zip(findings, each.survey(lake, inputs, workers), strict=True):
                mine[name] = finding
    stage = Stage(
        name=STAGE,
        unit="trials",
        tables={"part": SCHEMA, "dropped": SCHEMA},
        transform=_Apply(config=config),
        config={**config_json(config), "versions": {name: each.version for name, each in filters.items()}},
    )
    surveyed = [_surveyed(item, mine) for item, mine in zip(inputs, findings, strict=True)]
    return run_stage(lake, stage, surveyed, workers=workers, progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Payload:
    path: str
    findings: Mapping[str, bytes]


def _surveyed(item: ShardInput, findings: Mapping[str, bytes]) -> ShardInput:
    digests = {name: hashlib.sha256(finding).hexdigest() for name, finding in findings.items()}
    return ShardInput(
        key=item.key,
        fingerprint=json.dumps([item.fingerprint, digests], sort_keys=True),
        payload=_Payload(path=item.payload, findings=findings),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Apply:
    """The transform of the stage: every filter in turn on every batch of a shard."""

    config: FilterConfig

    def __call__(self, lake: Lake, shard: ShardInput, ledger: Ledger) -> Iterator[tuple[str, pa.RecordBatch]]:
        filters = {name: make(name, self.config.options.get(name, {})) for name in self.config.filters}
        for name, finding in shard.payload.findings.items():
            cast(CorpusFilter, filters[name]).begin(finding)
        for batch in lake.batches(shard.payload.path):
            check_schema(batch.schema)
            ledger.take(batch.num_rows)
            for name, each in filters.items():
                batch, dropped = _apply(name, each, batch, ledger)
                if dropped is not None:
                    yield "dropped", dropped
            ledger.keep(batch.num_rows)
            if batch.num_rows:
                yield "part", _with_splits(batch, self.config)


def _with_splits(batch: pa.RecordBatch, config: FilterConfig) -> pa.RecordBatch:
    """The rows, those without a split in that of their group; the others' stays."""
    column = batch.column("split")
    if not column.null_count:
        return batch
    splits = [
        split_of(group, config.split_seed, config.test_fraction) if split is None else split
        for group, split in zip(batch.column("group_id").to_pylist(), column.to_pylist(), strict=True)
    ]
    place = SCHEMA.get_field_index("split")
    return batch.set_column(place, SCHEMA.field(place), pa.array(splits, pa.string()))


def _apply(
    name: str, each: Filter, batch: pa.RecordBatch, ledger: Ledger
) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
    """The rows that stay, changed where so decided, and the dropped ones; counted in the ledger."""
    if not batch.num_rows:
        return batch, None
    decisions = each.decide(batch)
    if len(decisions) != batch.num_rows:
        raise ValueError(f"filter {name} gave {len(decisions)} decisions on {batch.num_rows} trials; it owes one each")
    dropped_rows = [place for place, decision in enumerate(decisions) if decision.action == "drop"]
    changed_rows = {place for place, decision in enumerate(decisions) if decision.action == "change"}
    for place in dropped_rows:
        ledger.drop(f"{name}.{decisions[place].reason}")
    for place in sorted(changed_rows):
        ledger.counts[f"changed.{name}.{decisions[place].reason}"] += 1
    dropped = None
    if dropped_rows:
        lost = from_batch(batch.take(pa.array(dropped_rows)))
        dropped = to_batch(
            _noted(trial, name, decisions[place]) for place, trial in zip(dropped_rows, lost, strict=True)
        )
    stays = [place for place, decision in enumerate(decisions) if decision.action != "drop"]
    if changed_rows:
        kept = from_batch(batch.take(pa.array(stays)))
        batch = to_batch(
            _noted(seal(cast(Trial, decisions[place].trial)), name, decisions[place])
            if place in changed_rows
            else trial
            for place, trial in zip(stays, kept, strict=True)
        )
    elif dropped_rows:
        batch = batch.take(pa.array(stays, pa.int64()))
    return batch, dropped


def _noted(trial: Trial, name: str, decision: Decision) -> Trial:
    note = Note(filter=name, action=decision.action, reason=decision.reason, detail=decision.detail)
    return replace(trial, notes=(*trial.notes, note))


def mined(batch: pa.RecordBatch) -> list[Trial | None]:
    """The mined trials of a batch in their places, None where a row is synthetic (and costs no conversion)."""
    wanted = pc.equal(pc.struct_field(batch.column("task"), "environment"), MINED)
    trials = from_batch(batch.filter(wanted))
    return [next(trials) if flag else None for flag in wanted.to_pylist()]
