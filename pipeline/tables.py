"""What commands print when they are done: ledgers as tables, anything else by its own words."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from pipeline.ledger import Ledger


def print_outcome(name: str, outcome: object) -> None:
    """Print what a stage function returned."""
    if isinstance(outcome, Ledger):
        print_ledgers([outcome])
    elif outcome is not None:
        Console().print(f"{name}: {outcome}", markup=False, highlight=False, soft_wrap=True)


def print_ledgers(ledgers: Iterable[Ledger]) -> None:
    """Print the funnel: a row per stage, then the reasons and further counts below."""
    console = Console()
    ledgers = list(ledgers)
    table = Table(title=None, box=None, pad_edge=False)
    table.add_column("stage")
    table.add_column("unit")
    for column in ("in", "out", "dropped", "errored"):
        table.add_column(column, justify="right")
    for ledger in ledgers:
        table.add_row(
            ledger.stage,
            ledger.unit,
            f"{ledger.rows_in:,}",
            f"{ledger.rows_out:,}",
            f"{ledger.dropped.total():,}",
            f"{ledger.errored.total():,}",
        )
    console.print(table)
    for ledger in ledgers:
        for title, counts in (("dropped", ledger.dropped), ("errored", ledger.errored), ("counts", ledger.counts)):
            if counts:
                shown = ", ".join(f"{reason} {number:,}" for reason, number in counts.most_common())
                console.print(f"  {ledger.stage} {title}: {shown}", markup=False, highlight=False, soft_wrap=True)
