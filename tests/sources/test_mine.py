"""Mining from end to end: the same bytes every time, resumed or not, and loud when there is nothing to find."""

from __future__ import annotations

import hashlib
import logging
import re
from itertools import permutations
from pathlib import Path

import pytest

from pipeline.lake import Lake
from pipeline.stage import StageError
from sources.attempts import Attempts
from sources.git import Git
from sources.git_process import GitError
from sources.mine import MineConfig, run
from sources.names import shard_prefix
from sources.verify import VerifyConfig
from sources.verify import run as verify
from tests.sources.gitrepo import GitRepo, body, git
from tests.sources.test_git import loosen
from tests.sources.test_trials import trials_of

NAME = "org/project"


def history(path: Path, cycles: int = 4) -> GitRepo:
    repo = GitRepo(path)
    repo.commit("Start", {"code.py": body(), "other.py": body()})
    for cycle in range(cycles):
        number = 10 * (cycle + 1)
        repo.squashed(number, f"Cache the parsed settings of kind {cycle}", {"code.py": body(line2=f"cache {cycle}")})
        repo.squashed(number + 1, f"Fix a bug introduced in #{number}", {"code.py": body(line2=f"lock {cycle}")})
        undo = f'Revert "Fix a bug introduced in #{number} (#{number + 1})"'
        repo.squashed(number + 2, undo, {"code.py": body(line2=f"cache {cycle}")})
        repo.merged(
            number + 3,
            f"Lock kind {cycle}",
            [("Lock", {"other.py": f"{cycle}\n"}), ("Fix typo", {"other.py": f"{cycle}!\n"})],
        )
    return repo


def config(path: Path) -> MineConfig:
    return MineConfig(repo=str(path), name=NAME, block_units=4)


def bytes_of(lake: Path) -> dict[str, str]:
    return {
        str(path.relative_to(lake)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(lake.rglob("*"))
        if path.is_file()
    }


def test_two_runs_and_two_workers_give_the_same_bytes(tmp_path: Path) -> None:
    path = history(tmp_path / "r").done()
    run(Lake(tmp_path / "one"), config(path))
    run(Lake(tmp_path / "other"), config(path), workers=2)
    found = bytes_of(tmp_path / "one")
    assert found == bytes_of(tmp_path / "other")
    assert sum(name.startswith("trials/part-") for name in found) >= 3


def test_a_run_that_was_broken_off_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    path = history(tmp_path / "r").done()
    run(Lake(tmp_path / "whole"), config(path))
    lake = Lake(tmp_path / "broken")
    done = 0

    def stop(finished: int, _: int) -> None:
        nonlocal done
        done += 1
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(lake, config(path), progress=stop)
    run(lake, config(path))
    assert bytes_of(tmp_path / "broken") == bytes_of(tmp_path / "whole")


def test_a_second_run_makes_nothing_anew(tmp_path: Path) -> None:
    path = history(tmp_path / "r").done()
    lake = Lake(tmp_path / "lake")
    run(lake, config(path))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "lake").rglob("*.parquet")}
    run(lake, config(path))
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "lake").rglob("*.parquet")} == before


def test_ledgers_balance_and_count_what_was_found(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    made = run(lake, config(history(tmp_path / "r").done()))
    attempts, links = lake.ledger("attempts"), lake.ledger("links")
    assert attempts is not None and links is not None
    for ledger in (attempts, links, made):
        ledger.check()
    assert attempts.counts["pr_landed"] == 16 and attempts.counts["commit_landed"] == 1
    assert links.counts == {"kind_regression_fix": 4, "kind_revert": 4}
    assert made.counts["trials_cross_pull_request"] == 4 and made.counts["trials_in_pull_request"] == 4
    assert made.rows_out == len(trials_of(tmp_path / "lake")) == 8
    assert len({trial.trial_id for trial in trials_of(tmp_path / "lake")}) == 8


def test_a_history_without_links_is_reported_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    repo = GitRepo(tmp_path / "r")
    for number in range(3):
        repo.commit(f"Change number {number}", {"a": f"{number}\n"})
    with caplog.at_level(logging.WARNING):
        made = run(Lake(tmp_path / "lake"), config(repo.done()))
    assert made.rows_out == 0
    assert any("no links among 3 attempts" in record.getMessage() for record in caplog.records)


def test_a_damaged_clone_stops_the_run_with_a_remedy(tmp_path: Path) -> None:
    path = history(tmp_path / "r").done()
    loosen(path)
    with Git(path) as clone:
        commits = [commit.oid for commit in clone.commits([clone.head()])]
        first, later = clone.tree_of(commits[-1]), clone.tree_of(commits[-3])
        blob = next(change.new_blob for change in clone.changes(first, later))
    (path / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(StageError, match="fsck"):
        run(Lake(tmp_path / "one"), config(path))
    (path / "objects" / commits[5][:2] / commits[5][2:]).unlink()
    with pytest.raises(GitError, match=r"fsck|clone again"):
        run(Lake(tmp_path / "other"), config(path))


def test_a_shallow_clone_is_not_mined(tmp_path: Path) -> None:
    path = history(tmp_path / "r", cycles=1).done()
    git(tmp_path, "clone", "-q", "--bare", "--depth=2", path.as_uri(), "shallow")
    with pytest.raises(GitError, match="unshallow"):
        run(Lake(tmp_path / "lake"), config(tmp_path / "shallow"))


def test_a_longer_history_keeps_the_finished_blocks_of_attempts(tmp_path: Path) -> None:
    repo = history(tmp_path / "r", cycles=3)
    short = repo.tips["main"]
    repo.squashed(90, "Something else altogether", {"third.py": "x\n"})
    path = repo.done()
    with Git(path) as clone:
        clone.run("update-ref", "refs/heads/short", short)
    lake = Lake(tmp_path / "lake")
    run(lake, MineConfig(repo=str(path), name=NAME, branch="short", block_units=4))
    before = {shard.key: shard.sha256 for shard in lake.shards("attempts") if ".line-" in shard.key}
    run(lake, config(path))
    after = {shard.key: shard.sha256 for shard in lake.shards("attempts")}
    assert all(after[key] == before[key] for key in list(before)[:-1]) and len(before) >= 3


def shards_of(lake: Path, prefix: str) -> dict[str, str]:
    """Hashes of the files of the shards whose keys begin with a prefix, manifest entries included."""
    name = re.compile(rf"\w+/(?:_manifest/|part-){re.escape(prefix)}")
    return {path: hashed for path, hashed in bytes_of(lake).items() if name.match(path)}


def test_two_repositories_stand_side_by_side_as_if_each_were_alone(tmp_path: Path) -> None:
    names = {"org/project": 4, "org/project-b": 3}
    configs = {
        name: MineConfig(repo=str(history(tmp_path / f"r{cycles}", cycles).done()), name=name, block_units=4)
        for name, cycles in names.items()
    }
    both, together = tmp_path / "both", Lake(tmp_path / "both")
    for name, wanted in configs.items():
        run(Lake(tmp_path / f"alone-{names[name]}"), wanted)
        run(together, wanted)
    for name in names:
        alone = shards_of(tmp_path / f"alone-{names[name]}", shard_prefix(name))
        assert len(alone) > 10 and shards_of(both, shard_prefix(name)) == alone
    before = {path: path.stat().st_mtime_ns for path in both.rglob("*.parquet")}
    first = configs["org/project"]
    run(together, MineConfig(repo=first.repo, name=first.name, block_units=4, max_chain=1))
    other = shard_prefix("org/project-b")
    after = {path: path.stat().st_mtime_ns for path in both.rglob("*.parquet") if other in path.name}
    assert after == {path: changed for path, changed in before.items() if other in path.name} and after
    trials = trials_of(both)
    assert {trial.group_id.partition(":")[0] for trial in trials} == set(names)
    for trial in trials:
        with Git(configs[str(trial.task.repo)].repo) as clone:
            assert all(clone.commit(oid) for ref in trial.chain.attempts for oid in ref.commits)
    with pytest.raises(ValueError, match="holds several repositories"):
        Attempts(together)


def test_no_prefix_of_a_repository_begins_that_of_another() -> None:
    names = [
        "a/b",
        "a-b",
        "a_b",
        "a.b",
        "a/b/c",
        "a/bc",
        "https://x.org/a/b",
        "http://x.org/a/b",
        "a",
        "é",
        "-",
        "x" * 300,
    ]
    prefixes = [shard_prefix(name) for name in names]
    assert not [pair for pair in permutations(prefixes, 2) if pair[0].startswith(pair[1])]
    assert shard_prefix("pallets/flask") == "pallets_flask." and max(map(len, prefixes)) < 100


def test_a_folder_needs_a_name_and_a_rule_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give `name`"):
        run(Lake(tmp_path), MineConfig(repo="/some/folder"))
    with pytest.raises(ValueError, match="give `name`"):
        verify(Lake(tmp_path), VerifyConfig(repo="/some/folder"))
    with pytest.raises(ValueError, match="known are"):
        MineConfig(repo="https://example.org/x", rules=("telepathy",))


def test_a_url_is_cloned_into_the_cache_and_stands_for_the_repository(tmp_path: Path) -> None:
    path = history(tmp_path / "r", cycles=1).done()
    run(Lake(tmp_path / "lake"), MineConfig(repo=path.as_uri(), cache=str(tmp_path / "cache")))
    assert {trial.task.repo for trial in trials_of(tmp_path / "lake")} == {path.as_uri()}
