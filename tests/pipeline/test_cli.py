import subprocess
import sys
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import retrial
from pipeline.commands import COMMANDS, StageCommand, load, load_command
from pipeline.config import ConfigError, build
from pipeline.docs import field_docs
from pipeline.init import template
from pipeline.lake import Lake
from pipeline.ledger import Ledger
from pipeline.records import SCHEMA, Chain, Episode, Link, Note, Provenance, Step, Task, Trial, seal, to_batch
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


def _write_one(trial: Trial, lake: Lake, shard: ShardInput, ledger: Ledger):  # type: ignore[no-untyped-def]
    ledger.take()
    ledger.keep()
    yield "part", to_batch([trial])


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


def test_the_template_parses_as_it_is_and_names_no_stage() -> None:
    assert tomllib.loads(template()) == {"run": {"lake": "build/lake", "workers": 2}}


def test_the_template_names_every_section_and_key_and_is_valid_once_they_are_uncommented() -> None:
    text, uncommented = template(), []
    for line in text.split("\n"):
        name, mark, rest = line.removeprefix("# ").partition(" =")
        is_key = bool(mark) and name.isidentifier() and not rest.strip().startswith("#")
        is_header = line.startswith("# [") and line.endswith("]")
        uncommented.append(line.removeprefix("# ") if is_key or is_header else line)
    tables = tomllib.loads("\n".join(uncommented))
    for spec in COMMANDS.values():
        if isinstance(spec, StageCommand):
            cls = load(spec.config)
            for f in fields(cls):
                assert f"\n# {f.name} =" in text.split(f"\n# [{spec.section}]\n")[1], f"{spec.section}.{f.name}"
            build(cls, tables[spec.section], spec.section)
            required = [f.name for f in fields(cls) if _is_required(f)]
            for name in required:
                assert f'# {name} = ""  # required\n' in text
    assert 'repo = ""  # required' in text


def test_init_then_run_says_in_one_line_that_no_stage_is_named_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _call("init").exit_code == 0
    done = _call("run")
    assert type(done.exception) is ConfigError
    said = str(done.exception)
    assert said.startswith("retrial.toml names no stage; uncomment or add the sections to run, out of [mine], [verify]")
    assert "\n" not in said


def _is_required(f) -> bool:  # type: ignore[no-untyped-def]
    from dataclasses import MISSING

    return f.default is MISSING and f.default_factory is MISSING


def test_status_shows_rows_and_state(lake: Path) -> None:
    shown = _call("status", "--lake", str(lake))
    assert shown.exit_code == 0
    assert "trials" in shown.output
    assert "1 shards" in shown.output
    assert "finished" in shown.output


def test_status_counts_committed_shards_alone_and_passes_over_a_stage_without_any(lake: Path) -> None:
    for stage in ("trials", "synth"):
        manifest = lake / stage / "_manifest"
        manifest.mkdir(parents=True, exist_ok=True)
        (manifest / "b.json.host-1.tmp").write_bytes(b"")
    shown = _call("status", "--lake", str(lake))
    assert shown.exit_code == 0, shown.exception
    assert "trials: 1 shards" in shown.output
    assert "synth" not in shown.output


def test_status_of_a_lake_whose_first_shard_was_never_committed_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "trials" / "_manifest").mkdir(parents=True)
    (tmp_path / "trials" / "_manifest" / "a.json.host-1.tmp").write_bytes(b"")
    shown = _call("status", "--lake", str(tmp_path))
    assert shown.exit_code == 1
    assert "start with `retrial mine`" in shown.output


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


def test_inspect_shows_no_control_character_and_no_forged_line_from_any_field_of_a_row(tmp_path: Path) -> None:
    bad = "\x1b]0;owned\x07\x9b2J\u202e[red]"
    lines = f"{bad}\nr9 = 1 (tests: forged)"
    hostile = seal(
        Trial(
            task=Task(prompt=bad, environment=lines, repo=lines, base_commit=lines),
            episodes=(
                Episode(
                    index=0,
                    steps=(Step(kind="action", channel="message", text=bad, actor=lines),),
                    reward=1.0,
                    reward_source="tests",
                    reward_evidence=lines,
                ),
            ),
            group_id="g",
            provenance=Provenance(source="git"),
            chain=Chain(
                links=(Link(source=lines, target=lines, kind=lines, evidence=bad, confidence=1.0, rule=lines),)
            ),
            notes=(Note(filter=lines, action=lines, reason=lines, detail=lines),),
        )
    )
    hostile = replace(hostile, trial_id=f"{bad}x")
    run_stage(
        Lake(tmp_path),
        Stage(name="trials", unit="trials", tables={"part": SCHEMA}, transform=partial(_write_one, hostile)),
        [ShardInput(key="a", fingerprint="1")],
    )
    shown = _call("inspect", "--lake", str(tmp_path), "--stage", "trials")
    assert shown.exit_code == 0, shown.exception
    assert [c for c in shown.output if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"] == []
    assert not any(line.startswith("r9") for line in shown.output.split("\n"))
    assert "[red]" in shown.output


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


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoSize:
    wide: int = 1
    high: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoConfig:
    size: EchoSize = EchoSize()
    """How large."""
    options: Mapping[str, int] = field(default_factory=dict)
    """What else."""


def echo(lake: Lake, config: EchoConfig, *, workers: int = 1) -> str:
    """Says what it was called with."""
    return f"{lake.root} {workers} {config.size.wide} {config.size.high} {dict(config.options)}"


@pytest.fixture
def echoed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., click.testing.Result]:
    """A command of its own section `[echo]`, called with a config file that has the given text."""
    own = StageCommand(run=f"{__name__}:echo", config=f"{__name__}:EchoConfig", section="echo", short="Says it.")
    monkeypatch.setitem(COMMANDS, "echo", own)

    def call(text: str, *args: str) -> click.testing.Result:
        (tmp_path / "echo.toml").write_text(text)
        return _call("echo", "--config", str(tmp_path / "echo.toml"), *args)

    return call


@pytest.mark.parametrize(
    ("run", "args", "said"),
    [
        ("", (), "build/lake 1 "),
        ('[run]\nlake = "of-file"', (), "of-file 1 "),
        ('[run]\nlake = "of-file"\nworkers = 3', (), "of-file 3 "),
        ('[run]\nlake = "of-file"\nworkers = 3', ("--workers", "2"), "of-file 2 "),
        ('[run]\nlake = "of-file"\nworkers = 3', ("--lake", "of-option"), "of-option 3 "),
    ],
)
def test_lake_and_workers_are_the_option_s_then_those_of_the_run_section_then_the_default(
    echoed: Callable[..., click.testing.Result], run: str, args: tuple[str, ...], said: str
) -> None:
    done = echoed(run, *args)
    assert done.exit_code == 0, done.exception
    assert f"\necho: {said}" in done.output


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("[run]\nworkers = 0", "[run] workers 0; give at least 1"),
        ("[run]\nworker = 2", "[run] has no key 'worker'; did you mean 'workers'?"),
        ("[[run]]", "several [[run]]"),
    ],
)
def test_a_bad_run_section_is_a_config_error(
    echoed: Callable[..., click.testing.Result], run: str, message: str
) -> None:
    done = echoed(run)
    assert type(done.exception) is ConfigError
    assert str(done.exception).startswith(message)


def test_an_option_that_is_a_table_is_merged_into_the_file_s(echoed: Callable[..., click.testing.Result]) -> None:
    file = "[echo]\nsize = {wide = 7}\noptions = {a = 1, b = 2}"
    done = echoed(file, "--size", "{high = 9}", "--options", "{b = 3}")
    assert done.exit_code == 0, done.exception
    assert done.output.endswith("1 7 9 {'a': 1, 'b': 3}\n")


def test_help_shows_the_defaults_of_lake_and_workers() -> None:
    shown = " ".join(_call("synth", "--help").output.split())
    assert "URL of the lake. [default: build/lake]" in shown
    assert "Processes a stage may use. [default: 1]" in shown


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--k", "0", "[synth] k is 0; give at least 1"),
        ("--max-action-tokens", "0", "[synth] max_action_tokens is 0; give at least 1"),
        ("--temperature", "-1", "[synth] temperature is -1.0; give a finite number"),
        ("--temperature", "nan", "[synth] temperature is nan; give a finite number"),
        ("--informed", "1.5", "[synth] informed 1.5 is no share"),
        ("--split", "dev", "[synth] split 'dev' is not known; known are train, validation, test"),
        ("--environment", "door", "[synth] environment 'door' is not known; known are dark_bandit"),
        ("--strategy", "despair", "[synth] strategy 'despair' is not known; known are retry"),
        ("--engine", "oracle", "[synth] engine 'oracle' is not known; known are scripted"),
        ("--label", "a/b", "[synth] label 'a/b' becomes part of a shard's key"),
    ],
)
def test_a_bad_synth_value_is_a_config_error_before_anything_is_written(
    tmp_path: Path, option: str, value: str, message: str
) -> None:
    done = _call("synth", "--lake", str(tmp_path / "lake"), option, value)
    assert type(done.exception) is ConfigError
    assert str(done.exception).startswith(message)
    assert done.output == ""
    assert not (tmp_path / "lake").exists()


def test_commands_are_those_of_the_table() -> None:
    for name in COMMANDS:
        assert isinstance(load_command(name), click.Command)
