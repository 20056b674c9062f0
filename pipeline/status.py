"""The command `retrial status`: what is in a lake."""

from __future__ import annotations

import click

from pipeline.lake import DONE, MANIFEST, Lake
from pipeline.ledger import Ledger
from pipeline.tables import print_ledgers


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--lake", default="build/lake", show_default=True, help="Folder or s3:// URL of the lake.")
def command(lake: str) -> None:
    """Show each stage of a lake: rows in and out, drops by reason, shards, bytes, finished or not."""
    opened = Lake(lake)
    stages = opened.stages()
    if not stages:
        raise click.ClickException(f"no stage has written to {lake}; start with `retrial mine` or `retrial synth`")
    ledgers = []
    for stage in stages:
        entries = opened.manifest(stage)
        first = Ledger.from_json(entries[0]["ledger"])
        ledgers.append(Ledger.total(stage, first.unit, (Ledger.from_json(e["ledger"]) for e in entries)))
    print_ledgers(ledgers)
    for stage in stages:
        files = [file for entry in opened.manifest(stage) for file in entry["files"]]
        state = "finished" if opened.exists(f"{stage}/{DONE}") else "unfinished: run it again to continue"
        click.echo(
            f"  {stage}: {len(opened.names(f'{stage}/{MANIFEST}'))} shards, "
            f"{sum(file['bytes'] for file in files):,} bytes, {state}"
        )
