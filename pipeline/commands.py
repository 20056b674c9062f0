"""What commands there are, by name, and how one is made from a config dataclass without writing its options twice."""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import click

from pipeline import config as configs
from pipeline.docs import field_docs
from pipeline.lake import Lake
from pipeline.progress import stage_progress
from pipeline.tables import print_outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCommand:
    """A command made from a plain function `run(lake, config, …)` and its config dataclass."""

    run: str
    config: str
    section: str
    short: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCommand:
    """A command that is a click command already, by import path."""

    path: str
    short: str


COMMANDS: dict[str, StageCommand | OwnCommand] = {
    "demo": OwnCommand(path="flows.demo:command", short="The whole of Retrial on a small history, in minutes."),
    "run": OwnCommand(path="flows.path:command", short="All stages of one TOML file, in order; resumes."),
    "mine": StageCommand(
        run="sources.mine:run",
        config="sources.mine:MineConfig",
        section="mine",
        short="A Git history → attempts, links, trials.",
    ),
    "verify": StageCommand(
        run="sources.verify:run",
        config="sources.verify:VerifyConfig",
        section="verify",
        short="Run the corrections' tests in a sandbox: executed rewards.",
    ),
    "synth": StageCommand(
        run="scaffolds.synth:run",
        config="scaffolds.synth:SynthConfig",
        section="synth",
        short="A scaffold around an engine and an environment → trials.",
    ),
    "filter": StageCommand(
        run="filters.frame:run",
        config="filters.frame:FilterConfig",
        section="filter",
        short="Keep, change or drop trials, each with a reason.",
    ),
    "package": StageCommand(
        run="pipeline.package:package",
        config="pipeline.package:PackageConfig",
        section="package",
        short="A Parquet release with manifest and dataset card.",
    ),
    "train cpt": StageCommand(
        run="training.cpt:train_cpt",
        config="training.cpt:CptConfig",
        section="cpt",
        short="Continued pretraining on trials.",
    ),
    "train metarl": StageCommand(
        run="training.metarl:train_metarl",
        config="training.metarl:MetaRlConfig",
        section="metarl",
        short="Meta-RL: maximise the return over the episodes of a trial.",
    ),
    "evaluate": StageCommand(
        run="training.evaluate:evaluate",
        config="training.evaluate:EvaluateConfig",
        section="evaluate",
        short="Success by episode beside i.i.d. resampling and the optimum.",
    ),
    "learn": StageCommand(
        run="training.arms:learn",
        config="training.arms:LearnConfig",
        section="learn",
        short="The experiment: CPT, meta-RL and the controls, over seeds.",
    ),
    "report": StageCommand(
        run="pipeline.report:report",
        config="pipeline.report:ReportConfig",
        section="report",
        short="One self-contained HTML page: funnel, trials, curves.",
    ),
    "inspect": OwnCommand(path="pipeline.inspect_lake:command", short="Read trials of a stage in the terminal."),
    "status": OwnCommand(path="pipeline.status:command", short="What is in a lake: stages, rows, drops, bytes."),
    "init": OwnCommand(path="pipeline.init:command", short="Write a TOML file with every key, its default and help."),
}
"""Every command; a name with a space is a command of a group."""

GROUPS = {"train": "Train on the trials: continued pretraining, then meta-RL."}


def load(path: str) -> Any:
    """The object at an import path `module:name`."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def load_command(name: str) -> click.Command:
    """The click command of a name in `COMMANDS`."""
    spec = COMMANDS[name]
    if isinstance(spec, OwnCommand):
        command: click.Command = load(spec.path)
        return command
    return _stage_command(name, spec)


def sections() -> dict[str, str]:
    """The sections of a TOML file and the import path of the config dataclass of each."""
    return {spec.section: spec.config for spec in COMMANDS.values() if isinstance(spec, StageCommand)}


RUN_SECTION = "run"
"""The section of the TOML file that belongs to no stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What the section `[run]` holds: where a run rests and how wide it is."""

    lake: str = "build/lake"
    """Folder or s3:// URL of the lake."""
    workers: int = 1
    """Processes a stage may use."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers {self.workers}; give at least 1")


def run_settings(tables: Mapping[str, Any], **given: Any) -> RunConfig:
    """The settings of a parsed TOML file; values in `given` other than null go before those of the file."""
    table = tables.get(RUN_SECTION, {})
    if isinstance(table, list):
        raise configs.ConfigError(f"several [[{RUN_SECTION}]]; a file has one [{RUN_SECTION}]")
    chosen = {key: value for key, value in given.items() if value is not None}
    return configs.build(RunConfig, configs.merge(table, chosen), RUN_SECTION)


def _stage_command(name: str, spec: StageCommand) -> click.Command:
    run, cls = load(spec.run), load(spec.config)
    hints, docs = get_type_hints(cls), field_docs(cls)
    takes = inspect.signature(run).parameters
    options = [_option(f, hints[f.name], docs.get(f.name, "")) for f in fields(cls)]

    def callback(lake: str | None, config: str | None, workers: int | None = None, **given: Any) -> None:
        tables = {} if config is None else configs.load(config, {*sections(), RUN_SECTION})
        settings = run_settings(tables, lake=lake, workers=workers)
        section = tables.get(spec.section, {})
        if isinstance(section, list):
            raise click.UsageError(f"{config} has several [[{spec.section}]]; `retrial run` runs them all")
        options = {key: value for key, value in given.items() if value is not None and value != ()}
        built = configs.build(cls, configs.merge(section, options), spec.section)
        extra: dict[str, Any] = {"workers": settings.workers} if "workers" in takes else {}
        with stage_progress(name) as progress:
            if "progress" in takes:
                extra["progress"] = progress
            outcome = run(Lake(settings.lake), built, **extra)
        print_outcome(name, outcome)

    # without defaults of their own: what is not given comes from [run] of the file, then from RunConfig
    shared = {f.name: f for f in fields(RunConfig)}
    shown = {name: f"{doc}  [default: {shared[name].default}]" for name, doc in field_docs(RunConfig).items()}
    file_help = f"TOML file; its sections [{spec.section}] and [{RUN_SECTION}]."
    common: list[click.Parameter] = [
        click.Option(["--lake"], help=shown["lake"]),
        click.Option(["--config"], type=click.Path(dir_okay=False), help=file_help),
    ]
    if "workers" in takes:
        common.append(click.Option(["--workers"], type=click.IntRange(min=1), help=shown["workers"]))
    text = inspect.getdoc(run) or ""
    return click.Command(
        name=name.split()[-1],
        callback=callback,
        params=[*common, *options],
        help=f"{spec.short}\n\n{text}",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )


def _option(f: Field[Any], hint: Any, doc: str) -> click.Option:
    flag = "--" + f.name.replace("_", "-")
    help_text = doc
    if f.default is not MISSING and f.default is not None and f.default != ():
        help_text = f"{doc}  [default: {_shown(f.default)}]".strip()
    elif f.default is MISSING and f.default_factory is MISSING:
        help_text = f"{doc}  [required, here or in the TOML file]".strip()
    kind, many = _click_type(hint)
    if kind is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}", f.name], default=None, help=help_text)
    return click.Option([flag, f.name], type=kind, multiple=many, default=None, help=help_text)


def _click_type(hint: Any) -> tuple[Any, bool]:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in args if a is not type(None)]
        return _click_type(inner[0])
    if origin is typing.Literal:
        return click.Choice([str(a) for a in args]), False
    if origin is tuple:
        return _click_type(args[0])[0], True
    if hint in (int, float, str, bool):
        return hint, False
    if hint is Path:
        return str, False
    return _Toml(), False


class _Toml(click.ParamType):  # type: ignore[type-arg]
    """A value written as in TOML, for fields that are tables: `--environment-args '{doors = 6}'`."""

    name = "toml"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return configs.parse_value(value) if isinstance(value, str) else value


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return str(value)
