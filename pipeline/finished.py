"""The shards of finished stages: what a stage that reads another one may take as the whole of it."""

from __future__ import annotations

from pipeline.lake import Lake, ShardFile


class UnfinishedError(ValueError):
    """A stage that never ran, or stopped half-way; the message names it and the remedy."""


def finished_shards(lake: Lake, stage: str, table: str = "part") -> list[ShardFile]:
    """The committed shards of a stage that has run to its end; raises `UnfinishedError` for any other."""
    found = lake.shards(stage, table)
    if lake.ledger(stage) is None:
        if found:
            raise UnfinishedError(
                f"stage {stage!r} in lake {lake.root} has not finished ({len(found)} shards so far); "
                "run it again to finish it"
            )
        raise UnfinishedError(f"stage {stage!r} is not in lake {lake.root}; run it first, or do not name it")
    return found
