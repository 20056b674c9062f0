import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.results import commit


def _git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "code.py").write_text("1")
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_a_clean_checkout_is_its_commit_alone(checkout: Path) -> None:
    (checkout / "figures.json").write_text("{}")
    (checkout / "ignored.py").write_text("1")
    assert commit(checkout) == _git(checkout, "rev-parse", "--short=12", "HEAD")


@pytest.mark.parametrize("name", ["code.py", "new.py", "folder/new name.py", "folder/n\u00e9w\n.py"])
def test_changed_and_untracked_code_is_told(checkout: Path, name: str) -> None:
    (checkout / name).parent.mkdir(exist_ok=True)
    (checkout / name).write_text("2")
    assert commit(checkout) == _git(checkout, "rev-parse", "--short=12", "HEAD") + "+changes"


def test_outside_of_a_checkout_there_is_no_commit(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    assert commit(checkout) is None
