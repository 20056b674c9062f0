"""The stage runner: a function over shards that resumes after a kill and gives the same bytes whatever happened.

The commit point of a shard is its manifest entry, written after its files are in place. A shard whose entry carries
the right fingerprint is done; any other is made again. Nothing in a lake depends on the number of workers, on the
clock, or on how often the run was interrupted.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any

import pyarrow as pa

from pipeline.lake import MANIFEST, RUNS, Lake
from pipeline.ledger import Ledger, LedgerError
from pipeline.shard_writer import ShardWriter
from pipeline.workers import worker_pool

log = logging.getLogger(__name__)

FORMAT = 1
"""Part of every fingerprint: raise it when the same input and config must give other bytes."""

MAIN_TABLE = "part"
"""The table whose rows the ledger counts as out."""

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")

Progress = Callable[[int, int], None]
"""Called with (shards done, shards in all)."""


class StageError(RuntimeError):
    """One or more shards failed; the others are committed, and a restart runs only the failed ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardInput:
    """One unit of work. `key` is decided by the input alone; `fingerprint` changes exactly when the input does."""

    key: str
    fingerprint: str
    payload: Any = None


Transform = Callable[[Lake, ShardInput, Ledger], Iterator[tuple[str, pa.RecordBatch]]]
"""Reads a shard, yields (table, batch) and counts rows in the ledger. Must pickle, and depend on its input alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A named transform over shards.

    `tables` maps table names to schemas, `part` first; files are `<name>/<table>-<key>.parquet`. `config` is whatever
    else the output depends on, JSON-able.
    """

    name: str
    unit: str
    tables: Mapping[str, pa.Schema]
    transform: Transform
    config: Mapping[str, Any] = field(default_factory=dict)


def config_json(config: Any) -> dict[str, Any]:
    """A config dataclass as JSON-able dict, for `Stage.config`."""
    if not is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"{config!r} is not a config dataclass")
    value: dict[str, Any] = json.loads(json.dumps(asdict(config), default=str))
    return value


def shard_inputs(lake: Lake, stage: str, table: str = "part") -> list[ShardInput]:
    """One input per committed shard of an earlier stage; the payload is its path in the lake."""
    return [ShardInput(key=s.key, fingerprint=s.sha256, payload=s.path) for s in lake.shards(stage, table)]


def run_stage(
    lake: Lake,
    stage: Stage,
    inputs: Iterable[ShardInput],
    *,
    owns: str = "",
    workers: int = 1,
    progress: Progress | None = None,
) -> Ledger:
    """Run `stage` over `inputs` and return its ledger; shards that are done already are not run again.

    Shards of an earlier run that the input no longer names are removed. Several runs may feed one stage (one a
    repository, say): each then `owns` the keys that begin with its prefix, and leaves the others' shards alone; the
    ledger is that of the whole stage. Raises `StageError` after all shards were tried if any failed, and `ValueError`
    for keys that are not plain file names, not unique or not owned.
    """
    todo = _keyed(inputs, owns)
    if workers < 1:
        raise ValueError(f"workers is {workers}; give at least 1")
    print_config = json.dumps(dict(stage.config), sort_keys=True)
    prints = {key: _fingerprint(stage, print_config, item) for key, item in todo.items()}
    with _claim(lake, stage, owns) as run:
        return _run_claimed(lake, stage, todo, prints, run, owns=owns, workers=workers, progress=progress)


def _run_claimed(
    lake: Lake,
    stage: Stage,
    todo: Mapping[str, ShardInput],
    prints: Mapping[str, str],
    run: str,
    *,
    owns: str,
    workers: int,
    progress: Progress | None,
) -> Ledger:
    _sweep(lake, stage)
    entries = {entry["key"]: entry for entry in lake.manifest(stage.name)}
    done = {key for key in todo if key in entries and _is_whole(lake, entries[key], prints[key])}
    if len(done) < len(todo) or any(key.startswith(owns) for key in set(entries) - set(todo)):
        lake.write_json(run, {"finished": False, "unit": stage.unit})
    for key in sorted(set(entries) - done):
        if key in todo:
            # before its files are made anew: no entry may ever stand beside the bytes of another config
            lake.delete(f"{stage.name}/{MANIFEST}/{key}.json")
        elif key.startswith(owns):
            _remove(lake, stage, entries.pop(key))
    if not owns:
        for other in lake.names(f"{stage.name}/{RUNS}"):
            if other != "all":
                lake.delete(f"{stage.name}/{RUNS}/{other}/run.json")
    count, started = len(done), time.monotonic()
    if progress is not None:
        progress(count, len(todo))

    failed: dict[str, BaseException] = {}
    pending = [todo[key] for key in sorted(todo) if key not in done]
    for item, outcome in _outcomes(lake, stage, pending, prints, workers):
        if isinstance(outcome, BaseException):
            failed[item.key] = outcome
            log.error("%s: shard %s failed: %s", stage.name, item.key, outcome)
        else:
            entries[item.key] = outcome
        count += 1
        if progress is not None:
            progress(count, len(todo))
    if failed:
        key, cause = next(iter(failed.items()))
        raise StageError(
            f"stage {stage.name}: {len(failed)} of {len(todo)} shards failed, first {key}: "
            f"{type(cause).__name__}: {cause}; mend the cause and run again, finished shards are kept"
        ) from cause

    _sweep(lake, stage)  # again: a process that was being killed may have let go only now
    finished = {"finished": True, "unit": stage.unit, "fingerprints": dict(sorted(prints.items()))}
    if lake.size(run) is None or lake.read_json(run) != finished:
        lake.write_json(run, finished)
    log.info("%s: %d shards, %d done before, %.1f s", stage.name, len(todo), len(done), time.monotonic() - started)
    ledger = Ledger.total(stage.name, stage.unit, (Ledger.from_json(entries[key]["ledger"]) for key in sorted(entries)))
    if ledger.rows_out == 0:
        log.warning(
            "stage %s wrote no rows: %d %s in, dropped %s, errored %s. Check its input and its config.",
            stage.name,
            ledger.rows_in,
            stage.unit,
            dict(ledger.dropped) or "none",
            dict(ledger.errored) or "none",
        )
    return ledger


@contextmanager
def _claim(lake: Lake, stage: Stage, owns: str) -> Iterator[str]:
    """Hold the stage for this run alone, on a local disk; the path of the run's record.

    Raises `StageError` where another process holds it. The lock is on a folder, so nothing is left behind, and the
    kernel lets go of it when the process ends, however that happens.
    """
    folder = f"{stage.name}/{RUNS}/{owns or 'all'}"
    if lake.local is None:
        yield f"{folder}/run.json"
        return
    path = lake.local_path(folder)
    path.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StageError(
                f"stage {stage.name} of {lake.root} is being run by another process; wait for it or stop it"
            ) from error
        lake.sweep(folder)
        yield f"{folder}/run.json"
    finally:
        os.close(descriptor)


def _is_whole(lake: Lake, entry: Mapping[str, Any], fingerprint: str) -> bool:
    """Whether a shard was made from this input and config, and its files are there in the size they were written."""
    return entry["fingerprint"] == fingerprint and all(lake.size(f["path"]) == f["bytes"] for f in entry["files"])


def _keyed(inputs: Iterable[ShardInput], owns: str) -> dict[str, ShardInput]:
    keyed: dict[str, ShardInput] = {}
    for item in inputs:
        if not _KEY.match(item.key):
            raise ValueError(f"shard key {item.key!r} is not a plain file name; use letters, digits, '.', '_' and '-'")
        if item.key in keyed:
            raise ValueError(f"shard key {item.key!r} is given twice; keys must be unique within a stage")
        if not item.key.startswith(owns):
            raise ValueError(f"shard key {item.key!r} does not begin with {owns!r}, the prefix that this run owns")
        keyed[item.key] = item
    return keyed


def _fingerprint(stage: Stage, config: str, item: ShardInput) -> str:
    schemas = [(name, schema.to_string(show_schema_metadata=True)) for name, schema in stage.tables.items()]
    form = json.dumps([FORMAT, stage.name, stage.unit, config, schemas, item.key, item.fingerprint])
    return hashlib.sha256(form.encode()).hexdigest()


def _outcomes(
    lake: Lake, stage: Stage, pending: list[ShardInput], prints: Mapping[str, str], workers: int
) -> Iterator[tuple[ShardInput, dict[str, Any] | BaseException]]:
    if workers == 1 or len(pending) < 2:
        for item in pending:
            try:
                yield item, _run_shard(lake, stage, item, prints[item.key])
            except Exception as error:  # every failure is reported by run_stage, after the other shards had their turn
                yield item, error
        return
    orphaned = []
    with worker_pool(min(workers, len(pending))) as pool:
        futures = {pool.submit(_run_shard, lake, stage, item, prints[item.key]): item for item in pending}
        for future in as_completed(futures):
            failure = future.exception()
            if isinstance(failure, BrokenProcessPool):
                orphaned.append(futures[future])
            else:
                yield futures[future], failure if failure is not None else future.result()
    # One worker that is killed takes the pool with it. Each shard left over is tried alone: only its own death counts.
    for item in sorted(orphaned, key=lambda item: item.key):
        with worker_pool(1) as pool:
            failure = pool.submit(_run_shard, lake, stage, item, prints[item.key]).exception()
        if isinstance(failure, BrokenProcessPool):
            failure = StageError("its worker process was killed; if memory ran out, give fewer --workers")
        yield item, failure if failure is not None else lake.read_json(f"{stage.name}/{MANIFEST}/{item.key}.json")


def _run_shard(lake: Lake, stage: Stage, item: ShardInput, fingerprint: str) -> dict[str, Any]:
    """Make one shard and commit it; its manifest entry."""
    ledger = Ledger(stage=stage.name, unit=stage.unit)
    writer = ShardWriter(lake, stage.name, item.key, stage.tables)
    try:
        for table, batch in stage.transform(lake, item, ledger):
            writer.write(table, batch)
        ledger.check()
        if ledger.rows_out != writer.rows(MAIN_TABLE):
            raise LedgerError(
                f"stage {stage.name}: the ledger says {ledger.rows_out} {stage.unit} out, the table {MAIN_TABLE} has "
                f"{writer.rows(MAIN_TABLE)} rows; count each row that is yielded"
            )
        files = writer.commit()
    except BaseException:
        writer.abandon()
        raise
    entry = {"key": item.key, "fingerprint": fingerprint, "files": files, "ledger": ledger.to_json()}
    lake.write_json(f"{stage.name}/{MANIFEST}/{item.key}.json", entry)
    return entry


def _sweep(lake: Lake, stage: Stage) -> None:
    for folder in (stage.name, f"{stage.name}/{MANIFEST}"):
        for name in lake.sweep(folder):
            log.info("%s: removed unfinished %s", stage.name, name)


def _remove(lake: Lake, stage: Stage, entry: Mapping[str, Any]) -> None:
    # the manifest entry goes first: what no entry names is not part of the lake
    lake.delete(f"{stage.name}/{MANIFEST}/{entry['key']}.json")
    for file in entry["files"]:
        if lake.exists(file["path"]):
            lake.delete(file["path"])
