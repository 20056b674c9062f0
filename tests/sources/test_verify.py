"""Executed rewards on a small repository that the tests build themselves, in a real sandbox."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline import records
from pipeline.lake import Lake
from pipeline.ledger import Ledger
from pipeline.records import AttemptRef, Chain, Episode, Link, Provenance, Step, Task, Trial
from pipeline.stage import ShardInput, Stage, run_stage
from scaffolds.protocols import Limits
from sources.names import shard_prefix
from sources.verify import VerifyConfig, run

START = datetime(2024, 1, 1, tzinfo=UTC)
LIMITS = Limits(wall_seconds=30, cpu_seconds=30, memory_bytes=1 << 30, file_bytes=32 << 20)
WRONG = "def double(x):\n    return x + x + 1\n"
RIGHT = "def double(x):\n    return x + x\n"
TESTS = """from pack.calc import double

def test_small():
    assert double(2) == 4

def test_zero():
    assert double(0) == 0

def test_type():
    assert isinstance(double(1), int)
"""


class Repository:
    """A Git repository whose commits are made by plumbing-like calls, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self._git("init", "--quiet", "--initial-branch=main")

    def _git(self, *arguments: str) -> str:
        moment = "2024-01-01T00:00:00+0000"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "GIT_CONFIG_NOSYSTEM": "1",
            **{
                f"GIT_{who}_{what}": value
                for who in ("AUTHOR", "COMMITTER")
                for what, value in (("NAME", "a"), ("EMAIL", "a@example.com"), ("DATE", moment))
            },
        }
        done = subprocess.run(
            ["git", "-C", str(self.path), *arguments], env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, message: str, files: Mapping[str, str | None]) -> str:
        for name, text in files.items():
            file = self.path / name
            if text is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "-m", message)
        return self._git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    made.commit("begin", {"src/pack/__init__.py": "", "README": "a project\n"})
    return made


def trial(
    earlier: str,
    later: str,
    *,
    rewards: tuple[float | None, float | None] = (0.0, 1.0),
    name: str = "family",
    kind: str = "fix_of",
) -> Trial:
    """A chain of two attempts, as the miner writes it."""

    def episode(index: int, reward: float | None) -> Episode:
        at = START + timedelta(days=index)
        steps = [Step(kind="action", channel="edit", text=f"edit {index}", actor="a", at=at, available_at=at)]
        if index:
            steps.insert(0, Step(kind="feedback", channel="issue", text="it fails", at=START, available_at=START))
        source = None if reward is None else "history"
        return Episode(index=index, steps=tuple(steps), reward=reward, reward_source=source)

    attempts = tuple(
        AttemptRef(attempt_id=f"{name}-{number}", kind="commit", commits=(commit,), at=START + timedelta(days=number))
        for number, commit in enumerate((earlier, later))
    )
    link = Link(source=f"{name}-0", target=f"{name}-1", kind=kind, evidence="fixes", confidence=0.9, rule="reference")
    return records.seal(
        Trial(
            task=Task(prompt="make double", environment="repository", repo="example", language="Python"),
            episodes=tuple(episode(index, reward) for index, reward in enumerate(rewards)),
            group_id=name,
            provenance=Provenance(source="git"),
            chain=Chain(attempts=attempts, links=(link,)),
        )
    )


class _Given:
    def __init__(self, trials: Sequence[Trial]) -> None:
        self.trials = trials

    def __call__(self, lake: Lake, shard: ShardInput, ledger: Ledger):  # type: ignore[no-untyped-def]
        ledger.take(len(self.trials))
        ledger.keep(len(self.trials))
        yield "part", records.to_batch(self.trials)


def verified(
    tmp_path: Path,
    repository: Repository,
    trials: Sequence[Trial],
    name: str = "lake",
    workers: int = 1,
    **config: object,
) -> tuple[Ledger, list[Trial], bytes]:
    lake = Lake(tmp_path / name)
    stage = Stage(name="trials", unit="trials", tables={"part": records.SCHEMA}, transform=_Given(trials))
    run_stage(lake, stage, [ShardInput(key="org_project.one", fingerprint="one")])
    given = {"limits": LIMITS, "runs": 2, **config}
    ledger = run(lake, VerifyConfig(repo=str(repository.path), name="org/project", **given), workers=workers)  # type: ignore[arg-type]
    (shard,) = lake.shards("verified")
    table = pa.Table.from_batches(lake.batches(shard.path), records.SCHEMA)
    return ledger, list(records.from_batch(table)), lake.read_bytes(shard.path)


def test_tests_that_fail_before_and_pass_after_decide_both_rewards(tmp_path: Path, repository: Repository) -> None:
    wrong = repository.commit("add double", {"src/pack/calc.py": WRONG})
    right = repository.commit("fix double", {"src/pack/calc.py": RIGHT, "tests/test_calc.py": TESTS})
    given = trial(wrong, right, rewards=(1.0, None))
    ledger, (found,), _ = verified(tmp_path, repository, [given])
    first, second = found.episodes
    assert (first.reward, first.reward_source) == (0.0, "tests")
    assert first.reward_evidence == "2 of 3 tests of the correction fail here: test_small, test_zero"
    assert (second.reward, second.reward_source) == (1.0, "tests")
    assert second.reward_evidence == "2 of 3 tests of this change fail before it and pass here"
    assert [step.channel for step in second.steps] == ["issue", "test", "edit"]
    told = second.steps[1]
    assert told.actor == "pytest" and told.available_at == second.steps[2].at
    assert "FAILED tests/test_calc.py::test_small" in told.text and "assert 5 == 4" in told.text
    assert told.text.endswith("2 failed, 1 others")
    assert str(tmp_path) not in told.text and "/box" not in told.text and sys.prefix not in told.text
    assert first.steps == given.episodes[0].steps
    assert ledger.counts == {"executed": 1, "earlier_disagrees": 1, "later_was_open": 1}
    assert found.trial_id == records.content_hash(found) != given.trial_id
    assert found.group_id == given.group_id and found.notes[-1].reason == "executed"


def test_a_file_that_cannot_be_collected_before_counts_as_failing_and_says_so(
    tmp_path: Path, repository: Repository
) -> None:
    wrong = repository.commit("add double", {"src/pack/other.py": "x = 1\n"})
    right = repository.commit("add calc", {"src/pack/calc.py": RIGHT, "tests/test_calc.py": TESTS})
    _, (found,), _ = verified(tmp_path, repository, [trial(wrong, right)])
    assert found.episodes[0].reward == 0.0
    assert "3 of 3 tests of the correction fail here (3 of them cannot be collected)" in str(
        found.episodes[0].reward_evidence
    )
    text = found.episodes[1].steps[1].text
    assert text.startswith("ERROR tests/test_calc.py\n") and text.count("No module named 'pack.calc'") == 1


def test_tests_that_pass_before_too_change_nothing(tmp_path: Path, repository: Repository) -> None:
    first = repository.commit("add double", {"src/pack/calc.py": RIGHT})
    second = repository.commit("tests only", {"tests/test_calc.py": TESTS})
    given = trial(first, second)
    ledger, found, _ = verified(tmp_path, repository, [given])
    assert found == [given] and ledger.counts == {"not_discriminating": 1}


def test_tests_that_fail_at_the_fix_change_nothing(tmp_path: Path, repository: Repository) -> None:
    first = repository.commit("add double", {"src/pack/calc.py": WRONG})
    second = repository.commit("no fix", {"tests/test_calc.py": "import no_such_module\n"})
    given = trial(first, second)
    ledger, found, _ = verified(tmp_path, repository, [given])
    assert found == [given] and ledger.counts == {"fails_at_fix": 1}


def test_failures_that_the_correction_does_not_mend_are_drift(tmp_path: Path, repository: Repository) -> None:
    old = repository.commit("add other", {"src/pack/other.py": "x = 1\n"})
    repository.commit("someone adds double", {"src/pack/calc.py": RIGHT})
    later = repository.commit("tests of it", {"tests/test_calc.py": TESTS})
    given = trial(old, later)
    ledger, found, _ = verified(tmp_path, repository, [given])
    assert found == [given] and ledger.counts == {"drift_only": 1}


def test_what_others_added_meanwhile_does_not_hide_how_the_test_fails(tmp_path: Path, repository: Repository) -> None:
    wrong = repository.commit("add double", {"src/pack/calc.py": WRONG})
    repository.commit("someone adds other", {"src/pack/other.py": "two = 2\n"})
    tests = "from pack.calc import double\nfrom pack.other import two\n\n"
    tests += "def test_it():\n    assert double(two) == 4\n\ndef test_two():\n    assert two == 2\n"
    right = repository.commit("fix double", {"src/pack/calc.py": RIGHT, "tests/test_calc.py": tests})
    _, (found,), _ = verified(tmp_path, repository, [trial(wrong, right)])
    assert found.episodes[0].reward_evidence == (
        "1 of 2 tests of the correction fail here (1 of them cannot be collected): test_it"
    )
    text = found.episodes[1].steps[1].text
    assert text.startswith("FAILED tests/test_calc.py::test_it\n") and "assert 5 == 4" in text


def test_what_a_reverted_attempt_broke_is_held_against_it_though_the_revert_mended_it(
    tmp_path: Path, repository: Repository
) -> None:
    repository.commit("add double", {"src/pack/calc.py": RIGHT})
    wrong = repository.commit("faster double", {"src/pack/calc.py": WRONG})
    repository.commit("revert faster double", {"src/pack/calc.py": RIGHT})
    faster = RIGHT.replace("x + x", "2 * x")
    again = repository.commit("faster double, right", {"src/pack/calc.py": faster, "tests/test_calc.py": TESTS})
    ledger, _, _ = verified(tmp_path, repository, [trial(wrong, again)], name="as_a_fix")
    assert ledger.counts == {"drift_only": 1}
    ledger, (found,), _ = verified(tmp_path, repository, [trial(wrong, again, kind="reland")])
    assert ledger.counts["executed"] == 1
    assert found.episodes[0].reward_evidence == "2 of 3 tests of the correction fail here: test_small, test_zero"


def test_what_others_added_before_a_reland_is_not_held_against_the_reverted_attempt(
    tmp_path: Path, repository: Repository
) -> None:
    first = repository.commit("add other", {"src/pack/other.py": "x = 1\n"})
    repository.commit("revert other", {"src/pack/other.py": None})
    repository.commit("someone adds double", {"src/pack/calc.py": RIGHT})
    again = repository.commit("add other again", {"src/pack/other.py": "x = 1\n", "tests/test_calc.py": TESTS})
    ledger, _, _ = verified(tmp_path, repository, [trial(first, again, kind="reland")])
    assert ledger.counts == {"drift_only": 1}


def test_only_the_trials_of_the_repository_that_is_named_are_verified(
    tmp_path: Path, repository: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = repository.commit("add double", {"src/pack/calc.py": WRONG})
    right = repository.commit("fix double", {"src/pack/calc.py": RIGHT, "tests/test_calc.py": TESTS})
    lake = Lake(tmp_path / "lake")
    names = ("org/one", "org/other")
    stage = Stage(
        name="trials", unit="trials", tables={"part": records.SCHEMA}, transform=_Given([trial(wrong, right)])
    )
    run_stage(lake, stage, [ShardInput(key=f"{shard_prefix(name)}line-0", fingerprint=name) for name in names])
    for name in names:
        run(lake, VerifyConfig(repo=str(repository.path), name=name, limits=LIMITS, runs=1))
        assert [shard.key for shard in lake.shards("verified")][-1] == f"{shard_prefix(name)}line-0"
    assert len(lake.shards("verified")) == 2
    with caplog.at_level(logging.WARNING):
        run(lake, VerifyConfig(repo=str(repository.path), name="org/third", limits=LIMITS, runs=1))
    assert "no trials of 'org/third' to verify" in caplog.text and len(lake.shards("verified")) == 2


def test_a_flaky_test_decides_nothing(tmp_path: Path, repository: Repository) -> None:
    flaky = (
        "import os\nfrom pack.calc import double\n\ndef test_it():\n    assert double(2) == 4 or os.urandom(1)[0] % 2\n"
    )
    first = repository.commit("add double", {"src/pack/calc.py": WRONG})
    second = repository.commit("fix", {"src/pack/calc.py": RIGHT, "tests/test_calc.py": flaky})
    ledger, (found,), _ = verified(tmp_path, repository, [trial(first, second)], runs=12)
    assert ledger.counts in ({"flaky": 1}, {"not_discriminating": 1})
    assert found.episodes[0].reward_source == "history"


def test_output_that_varies_is_left_out_so_that_rows_do_not(tmp_path: Path, repository: Repository) -> None:
    varying = (
        "import os\nfrom pack.calc import double\n\ndef test_it():\n    assert double(2) == 4, os.urandom(8).hex()\n"
    )
    first = repository.commit("add double", {"src/pack/calc.py": WRONG})
    second = repository.commit("fix", {"src/pack/calc.py": RIGHT, "tests/test_calc.py": varying})
    given = [trial(first, second)]
    _, (found,), data = verified(tmp_path, repository, given)
    assert found.episodes[1].steps[1].text == "FAILED tests/test_calc.py::test_it\n1 failed, 0 others"
    assert verified(tmp_path, repository, given, name="again")[2] == data


def test_rows_are_the_same_bytes_whatever_the_workers_and_addresses(tmp_path: Path, repository: Repository) -> None:
    noisy = (
        "import pytest, tempfile, time\nfrom pack.calc import double\n\n"
        "def test_it(tmp_path):\n    print(object(), tmp_path, tempfile.mkdtemp())\n    time.sleep(0.01)\n"
        "    assert double(2) == 4, (object(), str(tmp_path), tempfile.mkdtemp(), __file__, pytest.__file__)\n"
    )
    first = repository.commit("add double", {"src/pack/calc.py": WRONG})
    second = repository.commit("fix", {"src/pack/calc.py": RIGHT, "tests/test_calc.py": noisy})
    given = [trial(first, second, name=f"family{number}") for number in range(2)]
    _, found, data = verified(tmp_path, repository, given)
    told = found[0].episodes[1].steps[1].text
    assert "assert 5 == 4" in told and "'tests/test_calc.py'" in told and "/box" not in told and sys.prefix not in told
    assert verified(tmp_path, repository, given, name="again", workers=3)[2] == data


def test_a_run_past_our_limits_keeps_the_row_and_is_no_reward(tmp_path: Path, repository: Repository) -> None:
    slow = "import time\nfrom pack.calc import double\n\ndef test_it():\n    double(2) == 4 or time.sleep(60)\n"
    first = repository.commit("add double", {"src/pack/calc.py": WRONG})
    second = repository.commit("fix", {"src/pack/calc.py": RIGHT, "tests/test_calc.py": slow})
    given = trial(first, second)
    ledger, (found,), _ = verified(tmp_path, repository, [given], limits=replace(LIMITS, wall_seconds=3))
    assert found.episodes == given.episodes and found.trial_id == given.trial_id
    assert [(note.action, note.reason) for note in found.notes] == [("keep", "limit_wall")]
    assert ledger.counts == {"limit_wall": 1} and ledger.rows_out == 1


@pytest.mark.parametrize(
    ("forgery", "reason"),
    [
        ("import os\nos._exit(0)\n", "report_missing"),
        ("import os\nos.kill(os.getpid(), 9)\n", "crashed"),
        (
            "import atexit, os\n"
            'report = \'<testsuite><testcase file="tests/test_calc.py" name="test_it"/></testsuite>\'\n'
            "atexit.register(lambda: (open('.retrial-report.xml', 'w').write(report), os._exit(1)))\n"
            "def test_it():\n    pass\n",
            "report_mismatch",
        ),
    ],
)
def test_a_missing_or_forged_report_is_not_believed(
    tmp_path: Path, repository: Repository, forgery: str, reason: str
) -> None:
    first = repository.commit("add double", {"src/pack/calc.py": WRONG})
    second = repository.commit("fix", {"src/pack/calc.py": RIGHT, "tests/test_calc.py": forgery})
    ledger, (found,), _ = verified(tmp_path, repository, [trial(first, second)])
    assert ledger.counts == {reason: 1} and found.episodes[0].reward_source == "history"


def test_what_was_on_the_host_is_not_touched_and_not_seen_by_tests(tmp_path: Path, repository: Repository) -> None:
    secret = tmp_path / "secret"
    secret.write_text("planted-secret")
    spy = (
        "from pack.calc import double\n\ndef test_it():\n    assert double(2) == 4\n\n"
        f"def test_spy():\n    open({str(secret)!r}, 'w').write('changed')\n"
    )
    first = repository.commit("add double", {"src/pack/calc.py": WRONG})
    second = repository.commit("fix", {"src/pack/calc.py": RIGHT, "tests/test_calc.py": spy})
    _, (found,), _ = verified(tmp_path, repository, [trial(first, second)])
    assert secret.read_text() == "planted-secret"
    assert found.episodes[0].reward_evidence == "1 of 1 tests of the correction fail here: test_it"


def test_corrections_without_python_tests_are_counted_apart(tmp_path: Path, repository: Repository) -> None:
    first = repository.commit("add double", {"src/pack/calc.py": WRONG})
    second = repository.commit("fix", {"src/pack/calc.py": RIGHT})
    third = repository.commit("fix in another language", {"lib/calc.js": "x", "lib/calc.test.js": "x"})
    given = [trial(first, second, name="a"), trial(second, third, name="b")]
    ledger, found, _ = verified(tmp_path, repository, given)
    assert found == given and ledger.counts == {"no_tests": 1, "unsupported_language": 1}


def test_a_fix_that_was_undone_later_keeps_its_reward(tmp_path: Path, repository: Repository) -> None:
    wrong = repository.commit("add double", {"src/pack/calc.py": WRONG})
    right = repository.commit("fix double", {"src/pack/calc.py": RIGHT, "tests/test_calc.py": TESTS})
    ledger, (found,), _ = verified(tmp_path, repository, [trial(wrong, right, rewards=(0.0, 0.0))])
    assert [(e.reward, e.reward_source) for e in found.episodes] == [(0.0, "tests"), (0.0, "history")]
    assert ledger.counts == {"executed": 1, "earlier_agrees": 1, "later_undone_since": 1}


def test_test_support_files_and_renamed_tests_go_along(tmp_path: Path, repository: Repository) -> None:
    wrong = repository.commit(
        "add double", {"src/pack/calc.py": WRONG, "tests/test_old.py": "import gone_helper\n", "tests/data.txt": "old"}
    )
    tests = "from pathlib import Path\nfrom helper import two\nfrom pack.calc import double\n\n"
    tests += "def test_it():\n    assert double(two) == int((Path(__file__).parent / 'data.txt').read_text())\n"
    right = repository.commit(
        "fix double",
        {
            "src/pack/calc.py": RIGHT,
            "tests/test_old.py": None,
            "tests/test_new.py": tests,
            "tests/helper.py": "two = 2\n",
            "tests/data.txt": "4",
        },
    )
    _, (found,), _ = verified(tmp_path, repository, [trial(wrong, right)])
    assert found.episodes[0].reward_evidence == "1 of 1 tests of the correction fail here: test_it"


@pytest.mark.parametrize("moved", [None, "tests/plain.py"])
def test_test_files_that_the_correction_removed_or_moved_are_not_in_the_way(
    tmp_path: Path, repository: Repository, moved: str | None
) -> None:
    broken = "import no_such_module\n\nanything = 'else'\nin_here = 'is long enough'\n"
    wrong = repository.commit("add double", {"src/pack/calc.py": WRONG, "tests/conftest.py": broken})
    files = {"src/pack/calc.py": RIGHT, "tests/conftest.py": None, "tests/test_calc.py": TESTS}
    right = repository.commit("fix double", files | ({moved: broken} if moved else {}))
    _, (found,), _ = verified(tmp_path, repository, [trial(wrong, right)])
    assert found.episodes[0].reward_evidence == "2 of 3 tests of the correction fail here: test_small, test_zero"


def test_commits_that_the_clone_lacks_are_an_error_and_the_row_stays(tmp_path: Path, repository: Repository) -> None:
    given = trial("1" * 40, "2" * 40)
    ledger, (found,), _ = verified(tmp_path, repository, [given])
    assert found.episodes == given.episodes and ledger.counts == {"error.git": 1}


def test_an_interpreter_without_pytest_is_refused_at_the_start(tmp_path: Path, repository: Repository) -> None:
    bare = tmp_path / "bare"
    venv.create(bare, symlinks=True)
    with pytest.raises(ValueError, match="No module named pytest"):
        config = VerifyConfig(repo=str(repository.path), name="org/project", python=str(bare / "bin/python"))
        run(Lake(tmp_path / "lake"), config)


def test_without_a_sandbox_rows_pass_unchanged_and_the_log_names_the_command(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = repository.commit("add double", {"src/pack/calc.py": WRONG})
    right = repository.commit("fix double", {"src/pack/calc.py": RIGHT, "tests/test_calc.py": TESTS})
    given = trial(wrong, right)
    path = os.environ["PATH"]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").symlink_to("/usr/bin/git")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with caplog.at_level(logging.WARNING):
        ledger, found, _ = verified(tmp_path, repository, [given])
    assert found == [given] and ledger.counts == {"sandbox_unavailable": 1}
    assert "apt-get install bubblewrap" in caplog.text
    monkeypatch.setenv("PATH", path)
    ledger, (again,), _ = verified(tmp_path, repository, [given])
    assert ledger.counts["executed"] == 1 and again.episodes[0].reward_source == "tests"
