import subprocess
import sys
import tomllib
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import retrial
from pipeline.commands import COMMANDS, StageCommand, load, load_command
from pipeline.config import build
from pipeline.docs import field_docs
from pipeline.init import template
from pipeline.lake import Lake
from pipeline.ledger import Ledger
from pipeline.records import SCHEMA, Episode, Provenance, Step, Task, Trial, seal, to_batch
from pipeline.stage import ShardInput, Stage, run_stage


def _trial(number: int) -> Trial:
    return seal(
        Trial(
            task=Task(prompt=f"make {number} work \x1b[31mred\x1b[0m", environment="repository", repo="ours/sample"),
            episodes=(
                Episode(
                    index=0,
                    steps=(Step(kind="action", channel="message", text="tried", at=datetime(2020, 1, 1, tzinfo=UTC)),),
                    reward=0.0,
                    reward_source="tests",
                    reward_evidence="1 of 1 tests fail",
                ),
                Episode(index=1, steps=(Step(kind="action", channel="edit", text="--- a\n+++ b\n"),)),
            ),
            group_id="g",
            provenance=Provenance(source="git"),
        )
    )


def _write(lake: Lake, shard: ShardInput, ledger: Ledger):  # type: ignore[no-untyped-def]
    ledger.take(2)
    ledger.keep(2)
    yield "part", to_batch([_trial(1), _trial(2)])


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    stage = Stage(name="trials", unit="trials", tables={"part": SCHEMA}, transform=_write)
    run_stage(Lake(tmp_path), stage, [ShardInput(key="a", fingerprint="1")])
    return tmp_path


def _call(*args: str) -> click.testing.Result:
    return CliRunner().invoke(retrial, args)


def test_help_lists_every_command_without_importing_it() -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from pipeline.cli import retrial\n"
        "print(CliRunner().invoke(retrial, ['--help']).output)\n"
        "heavy = {'torch', 'transformers', 'prefect', 'datasets', 'sources', 'training'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("demo", "mine", "verify", "synth", "filter", "package", "inspect", "train", "evaluate", "report"):
        assert f"  {name} " in done.stdout


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_that_teaches(name: str) -> None:
    shown = _call(*name.split(), "--help")
    assert shown.exit_code == 0, shown.output
    spec = COMMANDS[name]
    if isinstance(spec, StageCommand):
        cls = load(spec.config)
        undocumented = [f.name for f in fields(cls) if f.name not in field_docs(cls)]
        assert undocumented == [], f"{spec.config}: fields without a docstring"
        for f in fields(cls):
            assert "--" + f.name.replace("_", "-") in shown.output


def test_the_template_names_every_key_and_is_valid_once_the_required_ones_are_given() -> None:
    text = template()
    lines = [line.removeprefix("# ") if " = " in line and line.startswith("# ") else line for line in text.split("\n")]
    sections = tomllib.loads("\n".join(line for line in text.split("\n") if not line.endswith("# required")))
    assert {"run", "mine", "synth", "filter", "package", "cpt", "metarl"} <= set(sections)
    for spec in COMMANDS.values():
        if isinstance(spec, StageCommand):
            for f in fields(load(spec.config)):
                assert any(line.startswith(f"{f.name} =") for line in lines), f"{spec.section}.{f.name}"
            build(load(spec.config), {f.name: "x" for f in fields(load(spec.config)) if _is_required(f)}, spec.section)


def _is_required(f) -> bool:  # type: ignore[no-untyped-def]
    from dataclasses import MISSING

    return f.default is MISSING and f.default_factory is MISSING


def test_status_shows_rows_and_state(lake: Path) -> None:
    shown = _call("status", "--lake", str(lake))
    assert shown.exit_code == 0
    assert "trials" in shown.output
    assert "1 shards" in shown.output
    assert "finished" in shown.output


def test_status_of_an_empty_lake_says_what_to_do(tmp_path: Path) -> None:
    shown = _call("status", "--lake", str(tmp_path))
    assert shown.exit_code == 1
    assert "start with `retrial mine`" in shown.output


def test_inspect_shows_steps_rewards_and_no_raw_escape_codes(lake: Path) -> None:
    shown = _call("inspect", "--lake", str(lake), "--stage", "trials", "-n", "1")
    assert shown.exit_code == 0, shown.output
    assert "r0 = 0 (tests: 1 of 1 tests fail)" in shown.output
    assert "r1 = not known yet" in shown.output
    assert "\x1b[31mred" not in shown.output
    assert r"\x1b[31mred" in shown.output


def test_inspect_of_a_stage_that_is_not_there_names_those_that_are(lake: Path) -> None:
    shown = _call("inspect", "--lake", str(lake), "--stage", "trails")
    assert shown.exit_code == 1
    assert "stages there: trials" in shown.output


def test_an_unknown_command_names_the_known_ones() -> None:
    shown = _call("mien")
    assert shown.exit_code == 2
    assert "no command 'mien'; there are: demo, run, mine" in shown.output


def test_a_bad_value_in_the_file_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[filter]\nsuorces = ['x']\n")
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "filter", "--config", str(file), "--lake", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "has no key 'suorces'; did you mean 'sources'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_are_those_of_the_table() -> None:
    for name in COMMANDS:
        assert isinstance(load_command(name), click.Command)
