"""Packaging: the filtered trials as a release, a folder of Parquet files with a manifest and a dataset card.

Rows stand in the order of a hash of their `group_id`, groups never straddle splits, and two builds from
one lake are the same bytes. Memory stays flat: rows are dealt into buckets of hash ranges on disk, then each bucket is
sorted and written.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.card import card
from pipeline.finished import UnfinishedError, finished_shards
from pipeline.lake import Lake, ShardFile, sync_folder
from pipeline.ledger import Ledger
from pipeline.records import SCHEMA, SCHEMA_VERSION, check_schema
from pipeline.release_folder import CARD_NAME, MANIFEST_NAME, replace, working_folder
from pipeline.release_folder import PackageError as PackageError
from pipeline.release_folder import read_manifest as read_manifest
from pipeline.shard_writer import ROW_GROUP_BYTES, ParquetSink
from pipeline.splits import SPLITS
from pipeline.statistics import Statistics

BUCKET_BYTES = 96 << 20
"""Buckets are made so many that one holds about this much in memory, up to `MAX_BUCKETS` files open at once."""

MAX_BUCKETS = 512
_SLICE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageConfig:
    """What is released, and where to."""

    target: str
    """A local folder; an earlier release there is replaced."""
    source: str = "filtered"
    """The stage that is released; every trial has its split there."""
    name: str = "retrial"
    """What the card calls the dataset."""
    license: str = ""
    """The card's license; empty means the licenses found in the rows."""
    seed: int = 0
    """Changes the order of the rows."""
    shard_bytes: int = 256 << 20
    """Size on disk at which a new file begins."""

    def __post_init__(self) -> None:
        if self.shard_bytes < 1:
            raise ValueError(f"shard_bytes {self.shard_bytes!r} is below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFile:
    """One Parquet file of a release; `path` is relative to the release's folder."""

    path: str
    split: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a release is made of: its files, what it was made with, what is in it, and every stage's ledger."""

    name: str
    schema_version: str
    seed: int
    license: str
    files: tuple[ReleaseFile, ...]
    statistics: Statistics
    ledgers: tuple[Ledger, ...]

    @property
    def rows(self) -> int:
        """Trials in all splits."""
        return sum(file.rows for file in self.files)

    def __str__(self) -> str:
        splits = ", ".join(f"{split} {rows:,}" for split, rows in sorted(self.statistics.splits.items()))
        size = sum(file.bytes for file in self.files)
        return f"{self.name}: {self.rows:,} trials ({splits}) in {len(self.files)} files, {size:,} bytes"

    def to_json(self) -> dict[str, Any]:
        """The manifest as JSON."""
        return {
            "name": self.name,
            "schema_version": self.schema_version,
            "seed": self.seed,
            "license": self.license,
            "rows": self.rows,
            "files": [asdict(file) for file in self.files],
            "statistics": self.statistics.to_json(),
            "ledgers": [ledger.to_json() for ledger in self.ledgers],
        }


def package(lake: Lake, config: PackageConfig) -> Manifest:
    """Write a release of the trials of one stage and return its manifest.

    The folder appears whole: it is made beside the target and takes its place at once. Raises `PackageError` where the
    stage has not finished or is empty, where the target is a folder that is not a release or holds anything else, for
    a group with two splits or none, and while another packager is at work on the target.
    """
    try:
        shards = finished_shards(lake, config.source)
    except UnfinishedError as error:
        raise PackageError(str(error)) from error
    if not any(shard.rows for shard in shards):
        raise PackageError(
            f"stage {config.source!r} holds no trials; its ledger says why: {lake.ledger(config.source)}"
        )
    target = Path(config.target).resolve()
    with working_folder(target) as work:
        manifest = _build(lake, config, work / "release", work / "buckets")
        replace(work / "release", target, work)
    return manifest


def _build(lake: Lake, config: PackageConfig, release: Path, buckets: Path) -> Manifest:
    (release / "data").mkdir(parents=True)
    buckets.mkdir()
    statistics = Statistics()
    writers = {split: _SplitWriter(release / "data", split, config.shard_bytes) for split in SPLITS}
    for batch in _sorted(lake, config, buckets):
        statistics.add(batch)
        for split, writer in writers.items():
            rows = batch.filter(pc.equal(batch.column("split"), split))
            if rows.num_rows:
                writer.write(rows)
    manifest = Manifest(
        name=config.name,
        schema_version=SCHEMA_VERSION,
        seed=config.seed,
        license=config.license,
        files=tuple(file for split in SPLITS for file in writers[split].finish()),
        statistics=statistics,
        ledgers=tuple(ledger for stage in lake.stages() if (ledger := lake.ledger(stage)) is not None),
    )
    text = json.dumps(manifest.to_json(), indent=1, sort_keys=True) + "\n"
    _write_durably(release / MANIFEST_NAME, text.encode())
    _write_durably(release / CARD_NAME, card(manifest).encode())
    sync_folder(release / "data")
    sync_folder(release)
    return manifest


def _sorted(lake: Lake, config: PackageConfig, folder: Path) -> Iterator[pa.RecordBatch]:
    """All trials by (hash of group, group, trial id), one bucket's worth at a time."""
    shards = lake.shards(config.source)
    count = min(MAX_BUCKETS, 1 + sum(_memory_bytes(lake, shard) for shard in shards) // BUCKET_BYTES)
    paths = [folder / f"{number:06d}.arrow" for number in range(count)]
    sinks = [pa.ipc.new_file(str(path), SCHEMA) for path in paths]
    try:
        for shard in shards:
            for batch in lake.batches(shard.path):
                check_schema(batch.schema)
                batch = batch.replace_schema_metadata(SCHEMA.metadata)
                hashes = _hashes(batch.column("group_id").to_pylist(), config.seed)
                rows: dict[int, list[int]] = {}
                for row, digest in enumerate(hashes):
                    rows.setdefault(int.from_bytes(digest[:4], "big") * count >> 32, []).append(row)
                for bucket, places in rows.items():
                    sinks[bucket].write_batch(batch.take(pa.array(places)))
    finally:
        for sink in sinks:
            sink.close()
    for path in paths:
        with pa.memory_map(str(path)) as source:
            # one chunk, for a take from nested columns in many would copy them all each time
            table = pa.ipc.open_file(source).read_all().combine_chunks()
        path.unlink()
        if table.num_rows:
            yield from _in_order(table, config)


def _memory_bytes(lake: Lake, shard: ShardFile) -> int:
    """About what a shard's rows take in memory, reckoned from its first rows."""
    first = next(lake.batches(shard.path), None)
    return 0 if first is None or not first.num_rows else first.nbytes * shard.rows // first.num_rows


def _in_order(table: pa.Table, config: PackageConfig) -> Iterator[pa.RecordBatch]:
    groups: list[str] = table.column("group_id").to_pylist()
    ids: list[str] = table.column("trial_id").to_pylist()
    hashes = _hashes(groups, config.seed)
    order = sorted(range(len(groups)), key=lambda row: (hashes[row], groups[row], ids[row]))
    given = table.column("split").to_pylist()
    splits: dict[str, str] = {}
    for group, split in zip(groups, given, strict=True):
        if split is None:
            raise PackageError(
                f"a trial of group {group!r} has no split; release stage 'filtered', where each has one, "
                "or run the filters again"
            )
        if split not in SPLITS:
            raise PackageError(f"a trial of group {group!r} has split {split!r}; known are {', '.join(SPLITS)}")
        if splits.setdefault(group, split) != split:
            raise PackageError(f"group {group!r} has trials in {splits[group]} and in {split}; give it one split")
    # by slices: a take of the whole table would hold it twice
    slice_rows = max(1, min(_SLICE_BYTES, config.shard_bytes) * table.num_rows // max(1, table.nbytes))
    for start in range(0, len(order), slice_rows):
        rows = order[start : start + slice_rows]
        yield from table.take(pa.array(rows)).combine_chunks().to_batches()


def _hashes(groups: Sequence[str], seed: int) -> list[bytes]:
    return [hashlib.sha256(f"{seed}:{group}".encode()).digest() for group in groups]


class _SplitWriter:
    """Writes a split's rows into files of about `shard_bytes`; names them when their number is known."""

    def __init__(self, folder: Path, split: str, shard_bytes: int) -> None:
        self._folder = folder
        self._split = split
        self._shard_bytes = shard_bytes
        self._sink: ParquetSink | None = None
        self._done: list[tuple[Path, int, int, str]] = []

    def write(self, batch: pa.RecordBatch) -> None:
        if self._sink is None:
            stream = pa.OSFile(str(self._path(len(self._done))), "wb")
            self._sink = ParquetSink(stream, SCHEMA, min(ROW_GROUP_BYTES, self._shard_bytes))
        self._sink.write(batch)
        if self._sink.bytes >= self._shard_bytes:
            self._close()

    def finish(self) -> Iterator[ReleaseFile]:
        """Close and name the files; what the manifest says of each."""
        self._close()
        for number, (path, rows, size, digest) in enumerate(self._done):
            name = f"{self._split}-{number:05d}-of-{len(self._done):05d}.parquet"
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
            path.rename(self._folder / name)
            yield ReleaseFile(path=f"data/{name}", split=self._split, rows=rows, bytes=size, sha256=digest)

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._split}-{number:05d}.unfinished"

    def _close(self) -> None:
        if self._sink is not None:
            size, digest = self._sink.close()
            self._done.append((self._path(len(self._done)), self._sink.rows, size, digest))
            self._sink = None


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
