"""A small stage for the tests of the runner: keeps even numbers, drops odd ones, in its own process if asked."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipeline.lake import Lake
from pipeline.ledger import Ledger
from pipeline.stage import ShardInput, Stage, run_stage

NUMBERS = pa.schema([pa.field("n", pa.int64())])


@dataclass(frozen=True, slots=True, kw_only=True)
class Evens:
    """Keeps the even numbers of range(*payload), pausing between batches.

    Shard b fails while a file called `broken` exists; the process that makes shard `deadly` is killed.
    """

    pause_seconds: float = 0.0
    broken: str | None = None
    deadly: str | None = None
    trace: str | None = None

    def __call__(self, lake: Lake, shard: ShardInput, ledger: Ledger) -> Iterator[tuple[str, pa.RecordBatch]]:
        if self.trace is not None:
            with Path(self.trace).open("a") as stream:
                stream.write(shard.key + "\n")
        if self.broken is not None and shard.key == "b" and Path(self.broken).exists():
            raise OSError("disk on fire")
        if self.deadly == shard.key:
            os.kill(os.getpid(), signal.SIGKILL)
        low, high = shard.payload
        for start in range(low, high, 10):
            time.sleep(self.pause_seconds)
            chunk = range(start, min(start + 10, high))
            ledger.take(len(chunk))
            evens = [n for n in chunk if n % 2 == 0]
            odds = [n for n in chunk if n % 2]
            ledger.keep(len(evens))
            ledger.drop("odd", len(odds))
            yield "part", pa.RecordBatch.from_pydict({"n": evens}, schema=NUMBERS)
            yield "dropped", pa.RecordBatch.from_pydict({"n": odds}, schema=NUMBERS)


def stage(transform: Evens) -> Stage:
    """The stage around a transform."""
    return Stage(name="evens", unit="numbers", tables={"part": NUMBERS, "dropped": NUMBERS}, transform=transform)


def inputs(count: int = 8) -> list[ShardInput]:
    """`count` shards of a hundred numbers, keyed a, b, c, …"""
    return [
        ShardInput(key=chr(ord("a") + i), fingerprint=f"{i}", payload=(100 * i, 100 * i + 100)) for i in range(count)
    ]


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file below a folder, by relative path."""
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def main() -> None:
    """`python -m tests.pipeline.numbers LAKE WORKERS PAUSE_SECONDS`: run the stage, to be killed by a test."""
    root, workers, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    run_stage(Lake(root), stage(Evens(pause_seconds=pause)), inputs(), workers=workers)


if __name__ == "__main__":
    main()
