"""The command `retrial`: thin wrappers, loaded by name only when called, over the plain functions of the folders.

Every stage command is made from its config dataclass: each field is an option, its default and its docstring are the
help. A value comes from the option, else from the TOML file's section, else from the default.
"""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import version
from typing import Any

import click
from rich.console import Console
from rich.logging import RichHandler

from pipeline.commands import COMMANDS, GROUPS, load_command

_EPILOG = """\b
A whole run, by hand:
  retrial mine --repo PATH --lake build/lake     a Git history → trials
  retrial verify --lake build/lake --repo PATH   run the corrections' tests in a sandbox
  retrial synth --lake build/lake                environments → trials
  retrial filter --lake build/lake               drop what must not be learnt
  retrial package --lake build/lake              Parquet release with a card
  retrial train cpt --lake build/lake            then: retrial train metarl
  retrial evaluate / report / status             what came of it
  retrial learn --lake build/lake                CPT, meta-RL and controls over three seeds
"""


class _LazyGroup(click.Group):
    """A group whose commands are imported only when one of them is asked for."""

    def __init__(self, *args: Any, prefix: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = [name.removeprefix(self.prefix) for name in COMMANDS if name.startswith(self.prefix)]
        here = [name for name in names if " " not in name]
        groups = [name for name in GROUPS if not self.prefix]
        return here + groups

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if not self.prefix and cmd_name in GROUPS:
            return _LazyGroup(name=cmd_name, prefix=f"{cmd_name} ", help=GROUPS[cmd_name])
        name = self.prefix + cmd_name
        return load_command(name) if name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            spec = COMMANDS.get(self.prefix + name)
            rows.append((name, spec.short if spec is not None else GROUPS[name]))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            known = ", ".join(self.list_commands(ctx))
            raise click.UsageError(f"no command {self.prefix + args[0]!r}; there are: {known}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_LazyGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("retrial"), prog_name="retrial")
@click.option("-v", "--verbose", is_flag=True, help="Show what each stage does, and whole tracebacks.")
def retrial(verbose: bool) -> None:
    """Make mid-training corpora of trials (several episodes on one task) and train models that adapt within them."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=Console(stderr=True), show_time=False, show_path=False)],
        force=True,
    )


def main() -> None:
    """Run the command line; errors a user can mend are one line, unless `--verbose` asks for the traceback."""
    verbose = "-v" in sys.argv[1:] or "--verbose" in sys.argv[1:] or bool(os.environ.get("RETRIAL_TRACEBACK"))
    try:
        retrial(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        Console(stderr=True).print("stopped; run the same command again to continue where it stopped")
        sys.exit(130)
    except (ValueError, RuntimeError, OSError) as error:
        if verbose:
            raise
        Console(stderr=True).print(f"[red]error:[/red] {type(error).__name__}: ", end="")
        Console(stderr=True).print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
