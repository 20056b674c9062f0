"""What a user gives to `make` reaches the command as it was given."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
AWKWARD = [
    "plain",
    "it's",
    "two words  and \ttab",
    "a$b $$c ${HOME} $(HOME)",
    "$(shell touch pwned)",
    "'; touch pwned; '",
    "`touch pwned` $(touch pwned) \\",
    "--resume",
    '"#%*?~',
]


def _make(folder: Path, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        ["make", "--no-print-directory", "-f", str(ROOT / "Makefile"), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("")
    return tmp_path


@pytest.mark.parametrize("value", AWKWARD)
def test_the_demo_gets_the_repository_as_it_was_given(folder: Path, value: str) -> None:
    for shown in (_make(folder, "-n", "demo", f"REPO={value}"), _make(folder, "-n", "demo", REPO=value)):
        (line,) = [line for line in shown.split("\n") if "retrial demo" in line]
        assert shlex.split(line) == [".venv/bin/retrial", "demo", f"--repo={value}"]
    assert not (folder / "pwned").exists()


def test_the_demo_without_a_repository_gets_no_option(folder: Path) -> None:
    (line,) = [line for line in _make(folder, "-n", "demo").split("\n") if "retrial demo" in line]
    assert shlex.split(line) == [".venv/bin/retrial", "demo"]


@pytest.mark.parametrize("value", AWKWARD)
def test_a_benchmark_gets_its_inputs_as_they_were_given(folder: Path, value: str) -> None:
    line = _make(folder, "-n", "bench-a-b", f"REPO={value}", f"DATA={value}").strip().split("\n")[-1]
    assert shlex.split(line) == [f"REPO={value}", f"DATA={value}", ".venv/bin/python", "-m", "benchmarks.a_b"]
    assert not (folder / "pwned").exists()


def test_a_benchmark_s_name_is_one_word(folder: Path) -> None:
    line = _make(folder, "-n", "bench-a;touch pwned'").strip().split("\n")[-1]
    assert shlex.split(line)[-1] == "benchmarks.a;touch pwned'"


def test_no_recipe_expands_what_was_given(folder: Path) -> None:
    _make(folder, "help", "REPO=$(shell touch pwned)", "DATA=$(shell touch pwned)")
    assert not (folder / "pwned").exists()
