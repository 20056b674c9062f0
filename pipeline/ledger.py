"""The ledger: for every stage, rows in, rows kept, rows dropped per reason and rows errored, and no row beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


class LedgerError(AssertionError):
    """Rows went in that neither came out nor were dropped or errored with a reason."""


@dataclass(slots=True, kw_only=True)
class Ledger:
    """What a stage did with its rows.

    `unit` is what is counted in (`attempts`, `chains`, `trials`, …). An error is an infrastructure failure to be
    retried, apart from a drop, which is a decision. `counts` holds further figures that are not part of the balance
    (links by kind, executed rewards, …); they add up over shards.
    """

    stage: str
    unit: str
    rows_in: int = 0
    rows_out: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    errored: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    def take(self, rows: int = 1) -> None:
        """Count rows that came in."""
        self.rows_in += rows

    def keep(self, rows: int = 1) -> None:
        """Count rows that go out."""
        self.rows_out += rows

    def drop(self, reason: str, rows: int = 1) -> None:
        """Count rows decided against, under a reason code."""
        self.dropped[reason] += rows

    def error(self, reason: str, rows: int = 1) -> None:
        """Count rows that infrastructure failed on; they are to be retried."""
        self.errored[reason] += rows

    def check(self) -> None:
        """Raise `LedgerError` unless rows in = rows out + dropped + errored."""
        accounted = self.rows_out + self.dropped.total() + self.errored.total()
        if accounted != self.rows_in:
            raise LedgerError(
                f"stage {self.stage}: {self.rows_in} {self.unit} in, {accounted} accounted for "
                f"(out {self.rows_out}, dropped {dict(self.dropped)}, errored {dict(self.errored)})"
            )

    def add(self, other: Ledger) -> None:
        """Add another ledger of the same stage to this one."""
        self.rows_in += other.rows_in
        self.rows_out += other.rows_out
        self.dropped.update(other.dropped)
        self.errored.update(other.errored)
        self.counts.update(other.counts)

    def to_json(self) -> dict[str, Any]:
        """A JSON object with sorted keys, so that equal ledgers have equal bytes."""
        return {
            "stage": self.stage,
            "unit": self.unit,
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "dropped": dict(sorted(self.dropped.items())),
            "errored": dict(sorted(self.errored.items())),
            "counts": dict(sorted(self.counts.items())),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Ledger:
        """Inverse of `to_json`."""
        return cls(
            stage=value["stage"],
            unit=value["unit"],
            rows_in=value["rows_in"],
            rows_out=value["rows_out"],
            dropped=Counter(value["dropped"]),
            errored=Counter(value["errored"]),
            counts=Counter(value["counts"]),
        )

    @classmethod
    def total(cls, stage: str, unit: str, ledgers: Iterable[Ledger]) -> Ledger:
        """The sum of shards' ledgers."""
        whole = cls(stage=stage, unit=unit)
        for ledger in ledgers:
            whole.add(ledger)
        return whole
