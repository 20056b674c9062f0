"""Of the trials with one content keeps one and drops the others, whatever shards or sources they lie in.

Rewards are no part of the content: a fork may have reverted, or not yet judged, what its origin kept. The trial whose
rewards are known best stays, so that no two contradict each other.

By default only mined trials are compared: histories repeat through forks, mirrors and merges of the same branch.
Synthetic trials of a small environment repeat because the policy does the same again; dropping those would distort
the distribution that they are samples of.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from filters.frame import KEEP, MINED, Decision, drop
from pipeline.finished import finished_shards
from pipeline.lake import Lake
from pipeline.ledger import Ledger
from pipeline.stage import ShardInput, Stage, run_stage

SURVEY = "filtered/exact_duplicates"
"""The stage that holds one row per compared trial: its content key, how many of its rewards were executed and how
many are known, its place in the shard and its id."""

_KEYS = pa.schema(
    [
        ("key", pa.binary(16)),
        ("executed", pa.int64()),
        ("known", pa.int64()),
        ("place", pa.int64()),
        ("trial_id", pa.string()),
    ]
)
_LINE_END = re.compile(r"[ \t]*\r?\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactDuplicatesConfig:
    """`environments` are those whose trials are compared; `memory_bytes` is what the join of the keys may use."""

    environments: tuple[str, ...] = (MINED,)
    memory_bytes: int = 512 << 20


class ExactDuplicates:
    """Keeps of equal trials the one with most rewards from executed tests, then with most known rewards, then the first
    by (order of the sources, shard key, row), whatever the number of workers.
    """

    config_type: ClassVar[type] = ExactDuplicatesConfig
    version: ClassVar[int] = 2

    def __init__(self, config: ExactDuplicatesConfig) -> None:
        self._config = config
        self._kept: dict[str, str] = {}
        self._here: set[str] = set()

    def survey(self, lake: Lake, inputs: Sequence[ShardInput], workers: int) -> list[bytes]:
        """Per shard the keys that it or the lake has several times, and which row of each is kept."""
        keys = Stage(
            name=SURVEY,
            unit="trials",
            tables={"part": _KEYS},
            transform=_Keys(environments=self._config.environments),
            config={"environments": list(self._config.environments), "version": self.version},
        )
        compared = [item for item in inputs if _environments(lake, item.payload) & set(self._config.environments)]
        if not compared:
            return [b"{}"] * len(inputs)
        run_stage(lake, keys, compared, workers=workers)
        paths = {shard.key: shard.path for shard in finished_shards(lake, SURVEY)}
        findings: dict[str, dict[str, list[Any]]] = {item.key: {} for item in inputs}
        for shard, key, kept_id, here in self._repeated(lake, [paths[item.key] for item in compared]):
            findings[compared[shard].key][key.hex()] = [kept_id, here]
        return [json.dumps(findings[item.key], sort_keys=True).encode() for item in inputs]

    def begin(self, findings: bytes) -> None:
        """Take over what the survey found for the next shard."""
        found: Mapping[str, list[Any]] = json.loads(findings)
        self._kept = {key: kept_id for key, (kept_id, _) in found.items()}
        self._here = {key for key, (_, here) in found.items() if here}

    def decide(self, batch: pa.RecordBatch) -> list[Decision]:
        """Drop `same_content` rows, naming the row that is kept."""
        if not self._kept:
            return [KEEP] * batch.num_rows
        decisions = [KEEP] * batch.num_rows
        for row in _compared(batch, self._config.environments):
            place, name = row["place"], row["key"].hex()
            if name in self._here and row["trial_id"] == self._kept[name]:
                self._here.remove(name)  # a second one with the very same id goes
            elif name in self._kept:
                decisions[place] = drop("same_content", f"same content as trial {self._kept[name]}")
        return decisions

    def _repeated(self, lake: Lake, paths: Sequence[str]) -> Iterator[tuple[int, bytes, str, bool]]:
        """(shard, key, id of the row that is kept, whether that is in this shard) of every key that occurs twice."""
        with tempfile.TemporaryDirectory() as folder:
            connection = duckdb.connect(Path(folder) / "keys.duckdb")
            try:
                connection.execute(f"SET memory_limit = '{self._config.memory_bytes}B'")
                connection.execute("SET threads = 1")
                connection.register("incoming", pa.RecordBatchReader.from_batches(_PLACED, _placed(lake, paths)))
                connection.execute("CREATE TABLE keys AS SELECT * FROM incoming")
                found = connection.execute(
                    """
                    WITH repeated AS (
                        SELECT key, min((-executed, -known, shard, place)) AS best
                        FROM keys GROUP BY key HAVING count(*) > 1
                    ), named AS (
                        SELECT r.key, r.best[3] AS shard, k.trial_id FROM repeated r
                        JOIN keys k ON k.key = r.key AND (k.shard, k.place) = (r.best[3], r.best[4])
                    )
                    SELECT DISTINCT k.shard, k.key, n.trial_id, k.shard = n.shard
                    FROM keys k JOIN named n ON k.key = n.key ORDER BY 1, 2
                    """
                )
                while rows := found.fetchmany(10_000):
                    yield from rows
            finally:
                connection.close()


_PLACED = pa.schema([("shard", pa.int64()), *_KEYS])


def _placed(lake: Lake, paths: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for shard, path in enumerate(paths):
        for batch in lake.batches(path):
            column = pa.array([shard] * batch.num_rows, pa.int64())
            yield pa.RecordBatch.from_arrays([column, *batch.columns], schema=_PLACED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """The transform of the survey: a shard's content keys."""

    environments: tuple[str, ...]

    def __call__(self, lake: Lake, shard: ShardInput, ledger: Ledger) -> Iterator[tuple[str, pa.RecordBatch]]:
        start = 0
        for batch in lake.batches(shard.payload, ["trial_id", "task", "episodes"]):
            rows = [{**row, "place": start + row["place"]} for row in _compared(batch, self.environments)]
            start += batch.num_rows
            ledger.take(len(rows))
            ledger.keep(len(rows))
            yield "part", pa.RecordBatch.from_pylist(rows, schema=_KEYS)


def _environments(lake: Lake, path: str) -> set[str]:
    return {
        name
        for batch in lake.batches(path, ["task.environment"])
        for name in pc.unique(pc.struct_field(batch.column("task"), "environment")).to_pylist()
    }


def _compared(batch: pa.RecordBatch, environments: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The rows that are compared, in the shape of `_KEYS`; places count from the batch's first row."""
    kinds = pc.struct_field(batch.column("task"), "environment")
    wanted = [place for place, kind in enumerate(kinds.to_pylist()) if kind in environments]
    rows = batch.select(["trial_id", "task", "episodes"]).take(pa.array(wanted, pa.int64())).to_pylist()
    for place, row in zip(wanted, rows, strict=True):
        known = [episode["reward_source"] for episode in row["episodes"] if episode["reward"] is not None]
        yield {
            "key": content_key(row),
            "executed": known.count("tests"),
            "known": len(known),
            "place": place,
            "trial_id": row["trial_id"],
        }


def content_key(row: Mapping[str, Any]) -> bytes:
    """16 bytes over what a reader of the trial sees: prompt, environment, steps and verdicts, line ends normalised.

    Not over rewards, ids, actors, times, provenance, nor the repository and commit: a fork repeats its origin.
    """
    content = [row["task"]["environment"], row["task"]["seed"], _plain(row["task"]["prompt"])]
    for episode in row["episodes"]:
        content.append(episode["verdict"])
        content += [[step["kind"], step["channel"], _plain(step["text"])] for step in episode["steps"]]
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).digest()


def _plain(text: str) -> str:
    return _LINE_END.sub("\n", text).strip()
