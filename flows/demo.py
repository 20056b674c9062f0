"""The command `retrial demo`: the whole path on one history, in minutes, on two cores without a GPU.

Mines the bundled sample history (or any other), runs the corrections' tests in the sandbox, lets weak explorers play
the exactly solvable environments, filters, packages, trains from random weights, and measures every arm against the
Bayes optimum. What it prints was computed in that run, or in the run that it resumes.
"""

from __future__ import annotations

import shutil
import time
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from flows.path import RunPath, make_path, run_path
from pipeline.lake import Lake
from pipeline.ledger import Ledger
from pipeline.results import write_results
from pipeline.tables import print_ledgers
from sources.git import local_clone
from sources.sample_history import build
from training.arms import Learned

SAMPLE = "sample/tidemark"
"""The name under which the bundled history stands in the corpus."""

_EXPLAINED = {
    "cpt": "CPT alone, on trials of a weak explorer",
    "metarl": "CPT, then meta-RL over the episodes of a trial",
    "single_episode": "the same corpus cut into single episodes, RL on single episodes",
    "single_episode_cut": "the same, history cut as in its training",
    "markov": "the meta-RL policy with its history cut to the current episode",
}


def demo_path(out: Path, repo: str, name: str, workers: int) -> RunPath:
    """The demo's path: `flows/demo.toml` with the lake, the repository and the targets put in."""
    tables: dict[str, Any] = tomllib.loads(files("flows").joinpath("demo.toml").read_text())
    tables["run"] = {"lake": str(out / "lake"), "workers": workers}
    tables["mine"].update(repo=repo, name=name)
    tables["verify"].update(repo=repo, name=name)
    tables["package"].update(target=str(out / "release"))
    tables["report"].update(target=str(out / "report.html"))
    return make_path(tables)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--repo", help="Path or URL of a Git repository to mine instead of the bundled history.")
@click.option("--name", help="What the repository is called in the corpus; default: its folder's name.")
@click.option("--out", default="build/demo", show_default=True, type=click.Path(file_okay=False), help="Output folder.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(min=1), help="Processes.")
@click.option("--resume", is_flag=True, help="Go on with what lies in the output folder instead of starting afresh.")
def command(repo: str | None, name: str | None, out: str, workers: int, resume: bool) -> None:
    """Run all of Retrial on a small history and show what the model learned.

    Leaves OUT/lake, OUT/release (a dataset), OUT/report.html (open it) and OUT/results.json.
    """
    began, target = time.monotonic(), Path(out)
    if not resume:
        for part in ("lake", "release", "history.git"):
            shutil.rmtree(target / part, ignore_errors=True)
    target.mkdir(parents=True, exist_ok=True)
    if repo is None:
        clone, called = str(build(target / "history.git")), SAMPLE
    else:
        clone = local_clone(repo, target / "clones")
        called = name or (repo if "://" in repo else Path(repo).absolute().name)
    path = demo_path(target, clone, called, workers)
    outcomes = {step.name: outcome for step, outcome in run_path(path)}
    seconds = time.monotonic() - began

    lake = Lake(path.settings.lake)
    ledgers = [ledger for stage in _STAGES if (ledger := lake.ledger(stage)) is not None]
    learned = next(outcome for outcome in outcomes.values() if isinstance(outcome, Learned))
    figures = {**_funnel(ledgers), **learned.figures(), "seconds": round(seconds, 1)}
    console = Console()
    print_ledgers(ledgers)
    console.print(_learning(learned))
    for arm in learned.arms:
        console.print(f"  {arm.name}: {_EXPLAINED[arm.name]}", highlight=False, soft_wrap=True)
    console.print(f"\nall of it in {seconds:.0f} s; open {target / 'report.html'}", highlight=False)
    arguments = f" --repo {repo}" if repo else ""
    write_results(target / "results.json", "demo", figures, f"retrial demo{arguments}")


_STAGES = ("attempts", "links", "trials", "verified", "synth", "filtered")


def _funnel(ledgers: list[Ledger]) -> Mapping[str, float]:
    figures: dict[str, float] = {}
    for ledger in ledgers:
        figures |= {f"{ledger.stage}.in": ledger.rows_in, f"{ledger.stage}.out": ledger.rows_out}
        for title, counts in (("dropped", ledger.dropped), ("errored", ledger.errored), ("counts", ledger.counts)):
            figures[f"{ledger.stage}.{title}"] = counts.total()
            figures |= {f"{ledger.stage}.{title}.{reason}": number for reason, number in counts.items()}
    return figures


def _learning(learned: Learned) -> Table:
    table = Table(
        title=f"\n{learned.environment}: return as a share of the Bayes optimum, {len(learned.seeds)} seeds",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for column in ("policy", "median", "lowest", "highest"):
        table.add_column(column, justify="left" if column == "policy" else "right", no_wrap=True)
    table.add_column("success by episode", no_wrap=True)
    for arm in learned.arms:
        table.add_row(
            arm.name,
            f"{arm.share:.3f}",
            f"{arm.lowest:.3f}",
            f"{arm.highest:.3f}",
            " ".join(f"{reward:.2f}" for reward in arm.reward_by_episode),
        )
    best = " ".join(f"{reward:.2f}" for reward in learned.optimum_by_episode)
    table.add_row("Bayes optimum", "1.000", "", "", best)
    return table
