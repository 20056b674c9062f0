"""Progress bars for stages, on stderr, and only where someone looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipeline.stage import Progress as Report


@contextmanager
def stage_progress(name: str) -> Iterator[Report]:
    """A bar called `name`; the function it gives takes (done, total)."""
    columns = (
        TextColumn("{task.description:>14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as bars:
        task = bars.add_task(name, total=None)

        def report(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)

        yield report
        if bars.tasks[0].total is None:  # a function that reports no shards is one piece of work
            report(1, 1)
