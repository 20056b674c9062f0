"""The stages of one TOML file as a list of steps, and the plain loop over them. The command `retrial run`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pipeline import config as configs
from pipeline.commands import COMMANDS, RUN_SECTION, RunConfig, StageCommand, load, run_settings, sections
from pipeline.lake import Lake
from pipeline.progress import stage_progress
from pipeline.stage import Progress
from pipeline.tables import print_outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of a stage function: its section, its import path and its config. `name` is unique within a path."""

    name: str
    section: str
    run: str
    config: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPath:
    """A whole path: where it rests and its steps in order."""

    settings: RunConfig
    steps: tuple[Step, ...]


def read_path(file: str | Path) -> RunPath:
    """The path that a TOML file describes; a section may be an array of tables (`[[synth]]`) to run several times.

    Raises `ConfigError` for a file without a stage and for what a config dataclass does not take.
    """
    path = make_path(configs.load(file, {*sections(), RUN_SECTION}))
    if not path.steps:
        known = ", ".join(f"[{section}]" for section in sections())
        raise configs.ConfigError(f"{file} names no stage; uncomment or add the sections to run, out of {known}")
    return path


def make_path(tables: Mapping[str, Any]) -> RunPath:
    """A path from parsed TOML tables. Raises `ConfigError` for what a config dataclass does not take."""
    steps = []
    for spec in COMMANDS.values():
        if not isinstance(spec, StageCommand) or spec.section not in tables:
            continue
        found = tables[spec.section]
        several = found if isinstance(found, list) else [found]
        for index, table in enumerate(several):
            name = spec.section if len(several) == 1 else f"{spec.section} {index + 1}"
            config = configs.build(load(spec.config), table, name)
            steps.append(Step(name=name, section=spec.section, run=spec.run, config=config))
    return RunPath(settings=run_settings(tables), steps=tuple(steps))


def run_step(lake: Lake, step: Step, workers: int, progress: Progress | None = None) -> object:
    """Run one step; what its function returns."""
    run = load(step.run)
    takes = inspect.signature(run).parameters
    extra: dict[str, Any] = {}
    if "workers" in takes:
        extra["workers"] = workers
    if "progress" in takes:
        extra["progress"] = progress
    outcome: object = run(lake, step.config, **extra)
    return outcome


def run_path(path: RunPath) -> Iterator[tuple[Step, object]]:
    """Run the steps one after another with a progress bar each; what each returned."""
    lake = Lake(path.settings.lake)
    for step in path.steps:
        with stage_progress(step.name) as progress:
            outcome = run_step(lake, step, path.settings.workers, progress)
        yield step, outcome


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", default="retrial.toml", type=click.Path(dir_okay=False))
def command(file: str) -> None:
    """Run the stages that FILE (retrial.toml; see `retrial init`) names, in order.

    Finished shards are not run again, so it resumes.
    """
    for step, outcome in run_path(read_path(file)):
        print_outcome(step.name, outcome)
