"""What is in a corpus, counted while it streams by: for the manifest, the card and the report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

NONE = "none"
"""How a null is counted."""


@dataclass(slots=True, kw_only=True)
class Statistics:
    """Counts of trials, unless the name says otherwise.

    `rewards` counts episodes by `<index> <1|0|partial|unknown>`; `text_bytes` is UTF-8, prompts and steps.
    """

    trials: int = 0
    episodes: int = 0
    steps: int = 0
    text_bytes: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    environments: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    licenses: Counter[str] = field(default_factory=Counter)
    episodes_per_trial: Counter[str] = field(default_factory=Counter)
    rewards: Counter[str] = field(default_factory=Counter)
    reward_sources: Counter[str] = field(default_factory=Counter)
    channels: Counter[str] = field(default_factory=Counter)

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the trials of a batch of `records.SCHEMA`."""
        task, provenance = batch.column("task"), batch.column("provenance")
        episodes = batch.column("episodes")
        flat = pc.list_flatten(episodes)
        steps = pc.list_flatten(pc.struct_field(flat, "steps"))
        self.trials += batch.num_rows
        self.episodes += len(flat)
        self.steps += len(steps)
        for text in (pc.struct_field(task, "prompt"), pc.struct_field(steps, "text")):
            self.text_bytes += pc.sum(pc.binary_length(text)).as_py() or 0
        _count(self.splits, batch.column("split"))
        _count(self.sources, pc.struct_field(provenance, "source"))
        _count(self.environments, pc.struct_field(task, "environment"))
        _count(self.languages, pc.struct_field(task, "language"))
        _count(self.licenses, pc.struct_field(provenance, "license"))
        _count(self.episodes_per_trial, pc.list_value_length(episodes))
        _count(self.reward_sources, pc.struct_field(flat, "reward_source"))
        _count(self.channels, pc.struct_field(steps, "channel"))
        indices, rewards = pc.struct_field(flat, "index").to_pylist(), pc.struct_field(flat, "reward").to_pylist()
        self.rewards.update(f"{index} {_class(reward)}" for index, reward in zip(indices, rewards, strict=True))

    def to_json(self) -> dict[str, Any]:
        """A JSON object; counts with sorted keys."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: dict(sorted(value.items())) if isinstance(value, Counter) else value for name, value in values.items()
        }


def _count(counter: Counter[str], column: pa.Array) -> None:
    for entry in pc.value_counts(column).to_pylist():
        counter[NONE if entry["values"] is None else str(entry["values"])] += entry["counts"]


def _class(reward: float | None) -> str:
    if reward is None:
        return "unknown"
    return {1.0: "1", 0.0: "0"}.get(reward, "partial")
