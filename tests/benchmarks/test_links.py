"""The labelled links and what the benchmark makes of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.links.__main__ import report
from benchmarks.links.labels import DEVELOPMENT, FOLDER, WINDOWS, Label, clone, labels, repositories
from benchmarks.links.scoring import KINDS, Scored, score
from pipeline.lake import Lake
from sources.git import Git
from sources.mine import MineConfig, run_links
from tests.sources.gitrepo import GitRepo, body


def label(source: str, target: str, kind: str, *, link: bool = True, window: bool = False) -> Label:
    return Label(link=link, source=source, target=target, kind=kind, stratum="message", window=window)


def scored(repo: GitRepo, lake: Path, rows: list[Label], name: str = "org+project"):  # type: ignore[no-untyped-def]
    config = MineConfig(repo=str(repo.done()), name=name.replace("+", "/"))
    linked = run_links(Lake(lake), config)
    with Git(str(repo.path)) as git:
        return score(name, rows, linked.attempts, linked.links, git, min_confidence=config.min_confidence)


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    made = GitRepo(tmp_path / "r")
    made.commit("Start of it all", {"code.py": body(), "other.py": body()})
    made.squashed(10, "Cache the parsed settings", {"code.py": body(line2="cache")})
    made.squashed(11, "Fix a bug introduced in #10", {"code.py": body(line2="cache", line3="lock")})
    made.squashed(12, 'Revert "Cache the parsed settings (#10)"', {"code.py": body()})
    return made


def test_the_labels_are_whole_and_their_counts_are_those_told() -> None:
    rows = {name: list(labels(name)) for name in repositories()}
    every = [row for found in rows.values() for row in found]
    told = re.search(r"(\d+) rows: (\d+) links and (\d+) hard negatives", (FOLDER / "README.md").read_text())
    assert told is not None and [int(number) for number in told.groups()] == [
        len(every),
        sum(row.link for row in every),
        sum(not row.link for row in every),
    ]
    assert {row.kind for row in every} <= set(KINDS)
    assert all(re.fullmatch(r"pr:\d+|commit:[0-9a-f]{40}", side) for row in every for side in (row.source, row.target))
    assert set(DEVELOPMENT) < set(rows) and set(WINDOWS) < set(rows)


def test_a_clone_is_found_in_each_of_its_forms(tmp_path: Path) -> None:
    for place in ("one+a/repo", "one+b.git", "one+c"):
        GitRepo(tmp_path / place).done()
    assert [clone(tmp_path, f"one+{letter}") is not None for letter in "abcd"] == [True, True, True, False]


def test_claims_are_right_wrong_or_missed_by_the_labels(repo: GitRepo, tmp_path: Path) -> None:
    rows = [
        label("pr:10", "pr:12", "revert"),
        label("pr:10", "pr:11", "fix_of", link=False),
        label("pr:11", "pr:12", "follow_up"),
        label("pr:10", "pr:99", "fix_of"),
        label("commit:" + repo.tips["main"], "pr:12", "fix_of"),
    ]
    found, inside = scored(repo, tmp_path / "lake", rows)
    assert [(one.found, one.right, one.missed) for one in found] == [
        ("revert", True, ""),
        ("fix_of", False, ""),
        (None, False, "not_named"),
        (None, False, "no_such_attempt"),
    ]
    assert inside == []


def test_in_a_window_what_is_not_labelled_is_wrong(
    repo: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.links.scoring.WINDOWS", {"org+project": (10, 12)})
    _, inside = scored(repo, tmp_path / "lake", [label("pr:10", "pr:12", "revert", window=True)])
    assert {(claim.link.target, claim.right) for claim in inside} == {("pr:11", False), ("pr:12", True)}


def test_a_correction_within_a_pull_request_is_found_where_its_branch_is_cut(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    base = repo.commit("Start of it all", {"code.py": body(), "other.py": body()})
    one = repo.commit("Cache", {"code.py": body(line2="cache")}, on="t", parent=base)
    two = repo.commit("Note", {"other.py": body(line1="note")}, on="t")
    three = repo.commit("Address review: lock", {"code.py": body(line2="cache, locked")}, on="t")
    repo.merge("Merge pull request #10 from ada/t\n\nCache the parsed settings", repo.pull(10, three))
    pairs = [(one, three), (one, two), (two, three)]
    rows = [label(f"commit:{a}", f"commit:{b}", "in_pr_fix") for a, b in pairs]
    found, _ = scored(repo, tmp_path / "lake", rows)
    assert [one.right for one in found] == [True, False, True]


def test_figures_are_shares_by_kind_and_half(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        Scored(repository=name, label=label("pr:1", "pr:2", kind, link=link), found=found, sure=sure, missed=missed)
        for name, kind, link, found, sure, missed in [
            (DEVELOPMENT[0], "revert", True, "revert", True, ""),
            (DEVELOPMENT[0], "fix_of", True, None, False, "wording"),
            ("org+other", "same_issue", True, "fix_of", True, ""),
            ("org+other", "fix_of", False, "fix_of", True, ""),
            ("org+other", "revert", False, "planned_revert", True, ""),
            ("org+other", "backport", True, "backport", False, "low_confidence"),
        ]
    ]
    figures = report(rows, [])
    assert figures["precision"] == round(2 / 3, 3) and figures["recall"] == 0.5
    assert figures["precision.fix_of"] == 0.5 and figures["recall.same_issue"] == 1.0
    assert figures["development.precision"] == 1.0 and figures["held_out.recall"] == 0.5
    assert f"{DEVELOPMENT[0]} pr:1 pr:2 fix_of: wording" in capsys.readouterr().out
