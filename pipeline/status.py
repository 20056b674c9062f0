"""The command `retrial status`: what is in a lake."""

from __future__ import annotations

import click

from pipeline.lake import Lake
from pipeline.ledger import Ledger
from pipeline.tables import print_ledgers


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--lake", default="build/lake", show_default=True, help="Folder or s3:// URL of the lake.")
def command(lake: str) -> None:
    """Show each stage of a lake: rows in and out, drops by reason, shards, bytes, finished or not."""
    opened = Lake(lake)
    committed = {stage: entries for stage in opened.stages() if (entries := opened.manifest(stage))}
    if not committed:
        raise click.ClickException(f"no stage has written to {lake}; start with `retrial mine` or `retrial synth`")
    ledgers = []
    for stage, entries in committed.items():
        first = Ledger.from_json(entries[0]["ledger"])
        ledgers.append(Ledger.total(stage, first.unit, (Ledger.from_json(e["ledger"]) for e in entries)))
    print_ledgers(ledgers)
    for stage, entries in committed.items():
        total_bytes = sum(file["bytes"] for entry in entries for file in entry["files"])
        state = "finished" if opened.ledger(stage) is not None else "unfinished: run it again to continue"
        click.echo(f"  {stage}: {len(entries)} shards, {total_bytes:,} bytes, {state}")
