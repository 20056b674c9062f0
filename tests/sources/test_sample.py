"""The sample history: the same everywhere, true to its own ground truth, and full of the traps it promises."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pipeline.lake import Lake
from pipeline.records import from_batch
from sources.attempts import Attempts
from sources.mine import MineConfig, read_links, run
from sources.sample_history import TrueLink, build, ground_truth
from sources.sample_history.story import STYLES, Edit, StoryError, read
from sources.sample_history.tree import apply, inverse

HEAD = "65078a7f165a65c56dfe6ae98dd747a9ce3196c4"
REFS_SHA256 = "8235ec5ca6ea1c014f9ff4d441dd235fe39c71433c344fda512af572e13139bd"
CORRECTIONS = ("revert", "planned_revert", "reland", "fix_of", "regression_fix", "follow_up", "superseded")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("sample") / "tidemark.git")


def git(repository: Path, *arguments: str) -> str:
    return _git(repository, *arguments).decode()


def _git(repository: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, check=True).stdout


def main_line(repository: Path) -> list[str]:
    return git(repository, "rev-list", "--first-parent", "--reverse", "main").split()


def extract(repository: Path, commit: str, folder: Path) -> Path:
    with tarfile.open(fileobj=io.BytesIO(_git(repository, "archive", commit))) as archive:
        archive.extractall(folder, filter="data")
    return folder


def run_states(states: Mapping[Path, Sequence[str]]) -> dict[Path, dict[str, str]]:
    """How every test ended, by folder; the values say which test files to run, all where there are none."""
    runner = Path(__file__).parent / "state_runner.py"
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    done = subprocess.run(
        [sys.executable, str(runner)],
        input=json.dumps({str(folder): list(files) for folder, files in states.items()}),
        env={**environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return {Path(folder): found for folder, found in json.loads(done.stdout).items()}


def test_every_build_gives_the_same_ids_whatever_the_user_configured(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "reference-transaction").write_text("#!/bin/sh\nexit 1\n")
    (hooks / "reference-transaction").chmod(0o755)
    (tmp_path / "config").write_text(
        f"[core]\n\thooksPath = {hooks}\n\tautocrlf = true\n[commit]\n\tgpgSign = true\n"
        "[init]\n\tdefaultBranch = trunk\n\tdefaultObjectFormat = sha256\n[i18n]\n\tcommitEncoding = latin-1\n"
    )
    for name, value in {
        "GIT_CONFIG_GLOBAL": str(tmp_path / "config"),
        "GIT_DIR": str(tmp_path / "elsewhere"),
        "GIT_DEFAULT_HASH": "sha256",
        "GIT_AUTHOR_NAME": "Somebody Else",
        "GIT_COMMITTER_DATE": "2001-01-01T00:00:00Z",
        "TZ": "Asia/Kathmandu",
    }.items():
        monkeypatch.setenv(name, value)
    again = build(tmp_path / "again.git")
    monkeypatch.undo()
    refs = git(again, "for-each-ref")
    assert refs == git(repository, "for-each-ref")
    assert git(again, "symbolic-ref", "HEAD") == "refs/heads/main\n"
    assert git(again, "rev-parse", "HEAD").strip() == HEAD
    assert hashlib.sha256(refs.encode()).hexdigest() == REFS_SHA256
    assert ground_truth().commits["newest"] == HEAD


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("irreplaceable")
    with pytest.raises(FileExistsError, match="exists already"):
        build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_git_finds_nothing_to_complain_about(repository: Path) -> None:
    done = subprocess.run(["git", "-C", str(repository), "fsck", "--strict"], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_the_history_is_as_rich_as_promised(repository: Path) -> None:
    changes, links = read(), ground_truth().links
    assert len(main_line(repository)) >= 60
    styles = Counter(change.style for change in changes)
    assert styles["closed"] >= 6 and all(styles[style] for style in (*STYLES, "direct"))
    kinds = Counter(link.kind for link in links)
    assert kinds["revert"] + sum(link.stratum == "revert_of_revert" for link in links) >= 4
    assert kinds["reland"] >= 3 and kinds["in_pr"] >= 6 and kinds["superseded"] >= 2
    proven = {link.target for link in links if link.tests and link.kind != "reland"}
    assert len(proven) >= 14
    assert sum(link.regression for link in links) >= 4
    answered = {link.source for link in links if link.kind == "reland"}
    assert {link.source for link in links if link.kind == "revert"} - answered, "one revert has nothing after it"
    traps = {decoy.trap for decoy in ground_truth().decoys}
    assert traps >= {"issue_reference", "mention", "backport", "pin", "changelog", "dependency_bump", "generated"}
    assert traps >= {"duplicate", "rename", "mode_change", "binary_file", "rollup", "own_commit", "no_final_newline"}


def test_every_pull_request_shows_its_own_commits(repository: Path) -> None:
    commits, line = ground_truth().commits, set(git(repository, "rev-list", "main").split())
    for change in read():
        if change.number is None:
            continue
        head = git(repository, "rev-parse", f"refs/pull/{change.number}/head").strip()
        assert head == commits[f"{change.key}.{len(change.commits)}"]
        assert (head in line) == (change.style in ("merge", "bors", "rollup")), change.key


def test_the_main_line_grows_forward_in_time_and_ends_a_year_after_the_corrections(repository: Path) -> None:
    landed = [int(at) for at in git(repository, "log", "--first-parent", "--reverse", "--format=%ct", "main").split()]
    assert landed == sorted(landed)
    assert landed[-1] - landed[0] > timedelta(days=2 * 365).total_seconds()
    ends = datetime.fromtimestamp(landed[-1])
    for link in ground_truth().links:
        at = datetime.fromtimestamp(int(git(repository, "show", "-s", "--format=%ct", link.target_commit)))
        before = datetime.fromtimestamp(int(git(repository, "show", "-s", "--format=%ct", link.source_commit)))
        assert before <= at or link.kind == "superseded", link
        assert ends - at > timedelta(days=365), link
    assert landed[-2] > landed[-1] - timedelta(days=180).total_seconds(), "a change whose horizon is open"


def test_messages_name_the_changes_they_answer(repository: Path) -> None:
    for link in ground_truth().links:
        commit = link.target_commit
        message = git(repository, "log", "--format=%B", commit if link.kind == "in_pr" else f"{commit}^1..{commit}")
        named = f"#{link.source}" if link.source.isdigit() else link.source_commit[:7]
        if link.stratum == "explicit_mention":
            assert re.search(rf"{named}\b", message), link
        elif link.stratum in ("sha", "sha_mention"):
            ids = [commit[:10] for key, commit in ground_truth().commits.items() if key.split(".")[0] == link.source]
            assert any(commit in message for commit in ids), link
        elif link.stratum == "szz_only":
            assert not re.search(rf"{named}\b", message), link


def test_merges_hold_only_what_their_branches_changed(repository: Path) -> None:
    """A merge that holds other than its parents' changes would make no honest trial."""
    for merge in git(repository, "rev-list", "--merges", "main").split():
        ours, theirs = (git(repository, "rev-parse", f"{merge}^{n}").strip() for n in (1, 2))
        base = git(repository, "merge-base", ours, theirs).strip()
        changed = set(git(repository, "diff", "--name-only", base, theirs).split())
        assert set(git(repository, "diff", "--name-only", ours, merge).split()) <= changed
        if base == ours:
            assert git(repository, "rev-parse", f"{merge}^{{tree}}") == git(
                repository, "rev-parse", f"{theirs}^{{tree}}"
            )


def test_every_main_line_state_compiles_and_passes_its_tests_but_the_one_told(repository: Path, tmp_path: Path) -> None:
    commits = ground_truth().commits
    distinct: dict[str, tuple[str, Path]] = {}
    for commit in main_line(repository):
        code = git(repository, "rev-parse", f"{commit}:tidemark", f"{commit}:tests")
        if code not in distinct:
            distinct[code] = commit, extract(repository, commit, tmp_path / commit[:12])
    for _, folder in distinct.values():
        for path in folder.rglob("*.py"):
            compile(path.read_bytes(), str(path), "exec")
    found = run_states({folder: [] for _, folder in distinct.values()})
    red = [
        commit for commit, folder in distinct.values() if set(found[folder].values()) != {"passed"} or not found[folder]
    ]
    assert red == [commits[key] for key in ground_truth().red]
    newest = distinct[git(repository, "rev-parse", f"{HEAD}:tidemark", f"{HEAD}:tests")][1]
    assert len(found[newest]) > 100


def test_corrections_bring_tests_that_fail_before_and_pass_after(repository: Path, tmp_path: Path) -> None:
    """At the earlier attempt's state and right before the correction; for regressions also: fine before the attempt."""
    states: dict[TrueLink, dict[str, Path]] = {}
    runs: dict[Path, list[str]] = {}
    for number, link in enumerate(link for link in ground_truth().links if link.tests):
        before = f"{link.target_commit}^1"
        changed = git(repository, "diff", "--name-only", "--diff-filter=d", before, link.target_commit).split()
        files = [path for path in changed if path.startswith("tests/")]
        commits = {"source": link.source_commit, "target": link.target_commit}
        if link.kind != "reland":
            commits["before"] = before
        if link.kind == "reland" or link.regression:
            commits["sound"] = f"{link.source_commit}^1"
        states[link] = {}
        for name, commit in commits.items():
            folder = extract(repository, commit, tmp_path / f"{number}-{name}")
            for path in files:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(_git(repository, "cat-file", "blob", f"{link.target_commit}:{path}"))
            states[link][name] = folder
            runs[folder] = [path for path in files if path.endswith(".py")]
    found = run_states(runs)
    for link, folders in states.items():
        passed = {name: _passed(found[folder]) for name, folder in folders.items()}
        mended = passed["target"] - passed["source"] - passed.get("before", set())
        assert mended, f"{link.source} → {link.target}: no test tells them apart"
        if "sound" in passed:
            assert mended & passed["sound"], f"{link.source} → {link.target}: not sound before either"


def _passed(outcomes: Mapping[str, str]) -> set[str]:
    return {test for test, outcome in outcomes.items() if outcome == "passed"}


def test_awkward_files_are_there(repository: Path) -> None:
    def blob(path: str, key: str = "newest") -> bytes:
        return _git(repository, "cat-file", "blob", f"{ground_truth().commits[key]}:{path}")

    assert b"\r\n" in blob("tests/data/shift.ics")
    assert not blob(".python-version").endswith(b"\n")
    assert b"\0" in blob("docs/icon.png")
    assert "Mariä".encode("latin-1") in blob("tests/data/planner.txt")
    assert "Camões".encode("latin-1") in blob("data/holidays/pt.txt", "19")
    assert "Camões".encode() in blob("holidays/pt.txt")
    commits = ground_truth().commits
    moved = git(repository, "show", "--format=", "--raw", "-M", commits["move-holidays"])
    assert "R100\tdata/holidays/pl.txt\tholidays/pl.txt" in moved
    mode = git(repository, "show", "--format=", "--raw", commits["executable-bit"])
    assert mode.startswith(":100644 100755") and mode.count("\n") == 1
    twice = [git(repository, "show", "--format=", commits[key]) for key in ("63.1", "64.1")]
    assert [line for line in twice[0].split("\n") if line[:1] in "+-"] == [
        line for line in twice[1].split("\n") if line[:1] in "+-"
    ]


def test_edits_that_do_not_fit_are_refused_and_those_that_do_can_be_undone() -> None:
    tree = {"a.py": (b"one\ntwo\ntwo\n", False)}
    changes = {change.key: change for change in read()}
    edits = [edit for commit in changes["16"].commits for edit in commit.edits]
    with pytest.raises(StoryError, match="no such file"):
        apply(tree, edits)
    before = {"tidemark/calendars.py": (b"".join(edit.old for edit in edits), False)}
    after = apply(before, edits)
    assert after != before
    assert apply(after, inverse(edits)) == before
    chained = [
        Edit(verb="append", path="a.py", new=b"three\n"),
        Edit(verb="replace", path="a.py", old=b"three", new=b"four"),
    ]
    assert apply(apply(tree, chained), inverse(chained)) == tree
    with pytest.raises(StoryError, match="2 times, not once"):
        apply({"tidemark/calendars.py": (edits[0].old * 2, False)}, edits)


def test_the_miner_finds_the_true_links_and_falls_for_no_trap(repository: Path, tmp_path: Path) -> None:
    """All that is found is right, and all that a message tells is found: reverts, relands, fixes, what follows up."""
    lake = Lake(str(tmp_path / "lake"))
    made = run(lake, MineConfig(repo=str(repository), name="tidemark/tidemark"))
    truth = ground_truth()
    keys = {commit: key for key, commit in truth.commits.items() if not re.fullmatch(r"\d+\.\d+", key)}
    names = {
        attempt.attempt_id: str(attempt.number or keys.get(attempt.landing or attempt.tip, attempt.attempt_id))
        for attempt in Attempts(lake)
    }
    found = {
        (names[link.source], names[link.target]): link.kind for link in read_links(lake) if link.kind in CORRECTIONS
    }
    true = {(link.source, link.target): link for link in truth.links if link.kind in CORRECTIONS}
    assert not [pair for pair in found if pair in {(decoy.other, decoy.change) for decoy in truth.decoys}]
    assert found.keys() <= true.keys()
    told = {
        pair for pair, link in true.items() if link.stratum != "szz_only" and link.kind not in ("superseded", "in_pr")
    }
    assert told <= found.keys()
    assert {found[pair] for pair, link in true.items() if link.kind == "revert"} == {"revert"}
    assert {found[pair] for pair, link in true.items() if link.kind == "reland"} == {"reland"}
    corrected = {link.target.split(".")[0] for link in truth.links if link.kind == "in_pr"}
    pushed = {
        str(ref.number)
        for shard in lake.shards("trials")
        for batch in lake.batches(shard.path)
        for trial in from_batch(batch)
        for ref in trial.chain.attempts
        if "/push:" in ref.attempt_id
    }
    assert pushed == corrected and made.counts["trials_in_pull_request"] == len(corrected)
