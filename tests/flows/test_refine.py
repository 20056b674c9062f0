import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prefect.testing.utilities import prefect_test_harness

from flows.path import read_path, run_path
from flows.refine import refine, stage_task
from pipeline.config import ConfigError
from pipeline.lake import Lake
from sources.sample_history import build
from tests.pipeline.numbers import snapshot

ROOT = Path(__file__).parent.parent.parent

_TOML = """
[run]
lake = "{folder}/lake"
[mine]
repo = "{repo}"
name = "sample/tidemark"
[[synth]]
environment = "hidden_door"
trials = 300
shard_trials = 100
[[synth]]
environment = "number_guess"
trials = 200
[filter]
sources = ["trials", "synth"]
[package]
target = "{folder}/release"
"""


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    """A Prefect server of our own with a database in a temporary folder."""
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("history") / "repo.git")


def _config(folder: Path, repo: Path) -> Path:
    folder.mkdir()
    file = folder / "run.toml"
    file.write_text(_TOML.format(folder=folder, repo=repo))
    return file


def _without_config(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in snapshot(folder).items() if name != "run.toml"}


def test_the_flow_leaves_the_same_bytes_as_the_plain_run(server: None, repo: Path, tmp_path: Path) -> None:
    plain, flowed = _config(tmp_path / "plain", repo), _config(tmp_path / "flow", repo)
    done = [step.name for step, _ in run_path(read_path(plain))]
    assert done == ["mine", "synth 1", "synth 2", "filter", "package"]
    refine(str(flowed))
    left, right = _without_config(plain.parent), _without_config(flowed.parent)
    assert len(left) > 10
    assert sorted(left) == sorted(right)
    assert [name for name in left if left[name] != right[name]] == []


def test_a_second_flow_run_writes_nothing_again(server: None, repo: Path, tmp_path: Path) -> None:
    file = _config(tmp_path / "flow", repo)
    refine(str(file))
    lake = tmp_path / "flow" / "lake"
    shards = list(lake.rglob("*.parquet"))
    before = {p: p.stat().st_mtime_ns for p in shards}
    refine(str(file))
    assert before == {p: p.stat().st_mtime_ns for p in shards}
    ledger = Lake(lake).ledger("synth")
    assert ledger is not None
    assert ledger.rows_out == 500


def test_a_failing_stage_fails_the_flow(server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.refine.stage_task", stage_task.with_options(retries=1, retry_delay_seconds=0))
    file = _config(tmp_path / "flow", tmp_path / "nowhere.git")
    with pytest.raises(Exception, match="nowhere"):
        refine(str(file))


def test_a_step_that_cannot_be_configured_is_named(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[[synth]]\ntrials = 5\n[[synth]]\ntirals = 5\n")
    with pytest.raises(ConfigError, match=r"\[synth 2\] has no key 'tirals'; did you mean 'trials'"):
        read_path(file)


def test_the_deployment_names_the_flow_a_daily_schedule_and_a_config() -> None:
    (deployment,) = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert deployment["entrypoint"] == "flows/refine.py:refine"
    assert deployment["parameters"] == {"config": "retrial.toml"}
    minute, hour, *rest = deployment["schedules"][0]["cron"].split()
    assert (minute.isdigit(), hour.isdigit(), rest) == (True, True, ["*", "*", "*"])


def test_the_demo_is_a_path_like_any_other(tmp_path: Path) -> None:
    from flows.demo import demo_path

    path = demo_path(tmp_path, repo="some/repo", name="some/name", workers=2)
    assert [step.section for step in path.steps] == [
        "mine",
        "verify",
        "synth",
        "synth",
        "synth",
        "synth",
        "filter",
        "package",
        "learn",
        "report",
    ]
    assert tomllib.loads((ROOT / "flows" / "demo.toml").read_text())["learn"]["seeds"] == [0, 1, 2]
