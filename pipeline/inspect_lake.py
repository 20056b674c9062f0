"""The command `retrial inspect`: read trials of a stage in the terminal, as a person would."""

from __future__ import annotations

from collections.abc import Iterator

import click
from rich.console import Console
from rich.panel import Panel
from rich.syntax import Syntax
from rich.text import Text

from pipeline.lake import Lake
from pipeline.records import Episode, Step, Trial, from_batch
from pipeline.text import visible

_STYLES = {"action": "green", "feedback": "yellow"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--lake", default="build/lake", show_default=True, help="Folder or s3:// URL of the lake.")
@click.option("--stage", default="filtered", show_default=True, help="Stage to read (see `retrial status`).")
@click.option("--table", default="part", show_default=True, help="Table of the stage: part, or dropped.")
@click.option("--trial", "trial_id", help="Only the trial whose id starts so.")
@click.option("--reason", help="Only trials with a note of this reason code.")
@click.option("--episodes", type=int, help="Only trials with this many episodes.")
@click.option("-n", "--number", type=click.IntRange(min=1), default=3, show_default=True, help="How many to show.")
@click.option("--chars", type=int, default=2000, show_default=True, help="Characters shown of each step; 0 for all.")
def command(
    lake: str,
    stage: str,
    table: str,
    trial_id: str | None,
    reason: str | None,
    episodes: int | None,
    number: int,
    chars: int,
) -> None:
    """Show trials step by step: prompt, actions, feedback, rewards with their source and evidence, links, notes."""
    opened = Lake(lake)
    if not opened.shards(stage, table):
        known = ", ".join(opened.stages()) or "none; start with `retrial mine` or `retrial synth`"
        raise click.ClickException(f"no shard of stage {stage!r}, table {table!r} in {lake}; stages there: {known}")
    console, shown = Console(), 0
    for trial in _trials(opened, stage, table):
        if trial_id is not None and not trial.trial_id.startswith(trial_id):
            continue
        if reason is not None and all(note.reason != reason for note in trial.notes):
            continue
        if episodes is not None and len(trial.episodes) != episodes:
            continue
        _show(console, trial, chars)
        shown += 1
        if shown == number:
            return
    if shown == 0:
        raise click.ClickException(f"no trial of stage {stage!r} matches; leave out --trial, --reason or --episodes")


def _trials(lake: Lake, stage: str, table: str) -> Iterator[Trial]:
    for shard in lake.shards(stage, table):
        for batch in lake.batches(shard.path):
            yield from from_batch(batch)


def _show(console: Console, trial: Trial, chars: int) -> None:
    where = f"{trial.task.repo}@{trial.task.base_commit}" if trial.task.repo else f"seed {trial.task.seed}"
    console.rule(_line(f"{trial.task.environment} · {where} · {trial.trial_id[:12]}"))
    console.print(Panel(Text(_cut(trial.task.prompt, chars)), title="prompt", title_align="left"))
    for link in trial.chain.links:
        console.print(_line(f"link {link.source} → {link.target}: {link.kind} ({link.confidence:.2f}, {link.rule})"))
        console.print(Text(f"     {_cut(link.evidence, 300)}", style="dim"))
    for episode in trial.episodes:
        for step in episode.steps:
            console.print(_panel(episode, step, chars))
        reward = "not known yet" if episode.reward is None else f"{episode.reward:g}"
        source = f" ({episode.reward_source}: {episode.reward_evidence})" if episode.reward_source else ""
        console.print(_line(f"r{episode.index} = {reward}{source}", style="bold"))
    for note in trial.notes:
        console.print(_line(f"note {note.filter}: {note.action}, {note.reason} {note.detail or ''}", style="dim"))


def _panel(episode: Episode, step: Step, chars: int) -> Panel:
    text = _cut(step.text, chars)
    body = Syntax(text, "diff", word_wrap=True) if step.channel == "edit" else Text(text)
    when = f" · {step.at:%Y-%m-%d %H:%M}" if step.at else ""
    title = f"episode {episode.index} · {step.kind} · {step.channel} · {step.actor or ''}{when}"
    return Panel(body, title=_line(title), title_align="left", border_style=_STYLES[step.kind])


def _line(text: str, style: str = "") -> Text:
    """Text of a row as one line, without markup: nothing in it can pass for another line of this page."""
    return Text(visible(text).replace("\n", "\\n"), style=style)


def _cut(text: str, chars: int) -> str:
    shown = visible(text if not chars else text[:chars])
    return shown if not chars or len(text) <= chars else f"{shown}\n… {len(text) - chars:,} more characters"
