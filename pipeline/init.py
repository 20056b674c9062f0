"""The command `retrial init`: a TOML file with every section and key, so that one edits instead of guessing."""

from __future__ import annotations

import json
import textwrap
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

import click

from pipeline.commands import RUN_SECTION, RunConfig, load, sections
from pipeline.docs import field_docs

_HEAD = """\
# Every stage and key of Retrial. A stage runs when its section's header, such as [mine], is uncommented.
# A key that stays commented out has the value shown; one marked `required` must be given.
"""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target", default="retrial.toml", type=click.Path(dir_okay=False))
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def command(target: str, force: bool) -> None:
    """Write TARGET with every section and key, commented out at its default. Uncomment what you need."""
    path = Path(target)
    if path.exists() and not force:
        raise click.ClickException(f"{target} exists; give another name or --force")
    path.write_text(template())
    click.echo(f"wrote {target}; uncomment the stages to run and what they need, then: retrial run {target}")


def template() -> str:
    """The text of a TOML file in which every stage's section and key stands commented out, the key at its default."""
    parts = [_HEAD, f'[{RUN_SECTION}]\nlake = "{RunConfig().lake}"\nworkers = 2\n']
    for section, path in sections().items():
        cls = load(path)
        docs = field_docs(cls)
        lines = [f"# [{section}]"]
        for f in fields(cls):
            lines += [f"# {line}" for line in textwrap.wrap(docs.get(f.name, ""), 110)]
            lines.append(_line(f))
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _line(f: Field[Any]) -> str:
    if f.default is MISSING and f.default_factory is MISSING:
        return f'# {f.name} = ""  # required'
    default = f.default_factory() if f.default_factory is not MISSING else f.default
    if default is None:
        return f"# {f.name} =  # not set"
    return f"# {f.name} = {_toml(default)}"


def _toml(value: Any) -> str:
    if is_dataclass(value):
        return "{" + ", ".join(f"{f.name} = {_toml(getattr(value, f.name))}" for f in fields(value)) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
