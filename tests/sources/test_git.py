"""Reading clones: nothing in them is run, binary content cannot confuse the reader, and damage is noticed."""

from __future__ import annotations

import pickle
import subprocess
from pathlib import Path

import pytest

from sources.git import Git, local_clone
from sources.git_objects import unquoted
from sources.git_process import GitError
from tests.sources.gitrepo import HARMLESS, GitRepo, git


def small(path: Path, commits: int = 5) -> Path:
    repo = GitRepo(path)
    for number in range(commits):
        repo.commit(f"Change {number}", {"a.txt": f"{number}\n", f"dir/{number}.txt": "x\n"})
    return repo.done()


def test_commits_are_streamed_newest_first_with_their_fields(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    first = repo.commit("Første\n\nBody\n", {"a": "1"}, day=1, authored=0.5, author="Grace Hopper")
    second = repo.commit("Second", {"a": "2"}, day=2)
    with Git(repo.done()) as clone:
        found = list(clone.commits([clone.head()]))
    assert [commit.oid for commit in found] == [second, first]
    assert found[1].author == "Grace Hopper"
    assert found[1].message == "Første\n\nBody\n"
    assert (found[1].committed_at - found[1].authored_at) == 43_200
    assert found[0].parents == (first,)


def test_content_that_looks_like_git_output_is_read_whole(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    nasty = "#end of request\ndiff --git a/x b/x\n@@ -1 +1 @@\n:100644 100644 0 0 M\tz\n" + "0" * 40 + "\n"
    repo.commit(f"commit {'a' * 40}\n\n{nasty}\x01\x02", {"a": "start\n"})
    repo.commit("Second", {"a": nasty, "b\nc.txt": "x\n", 'quo"te.txt': "y\n", "späce d.txt": "z\n"})
    with Git(repo.done()) as clone:
        newest, oldest = list(clone.commits([clone.head()]))
        assert "#end of request" in oldest.message
        changes = clone.changes(oldest.tree, newest.tree)
        assert {change.new_path for change in changes} == {"a", "b\nc.txt", 'quo"te.txt', "späce d.txt"}
        patch = clone.patch(oldest.tree, newest.tree).decode()
        assert all(f"+{line}\n" in patch for line in nasty.splitlines())
        assert clone.object(next(c.new_blob for c in changes if c.new_path == "a")) == nasty.encode()
        assert dict(clone.changed_files([newest.oid]))[newest.oid].count("a") == 1


def test_a_missing_commit_is_noticed(tmp_path: Path) -> None:
    path = small(tmp_path / "r")
    loosen(path)
    victim = git(path, "rev-parse", "HEAD~2").strip()
    (path / "objects" / victim[:2] / victim[2:]).unlink()
    with Git(path) as clone, pytest.raises(GitError, match=r"clone again|fsck"):
        list(clone.commits([clone.head()]))


def test_a_missing_file_is_noticed_where_it_is_read(tmp_path: Path) -> None:
    path = small(tmp_path / "r")
    loosen(path)
    blob = git(path, "rev-parse", "HEAD:a.txt").strip()
    (path / "objects" / blob[:2] / blob[2:]).unlink()
    with Git(path) as clone:
        head, before = list(clone.commits([clone.head()]))[:2]
        with pytest.raises(GitError, match="clone"):
            clone.patch(before.tree, head.tree)
        with pytest.raises(GitError, match="missing"):
            clone.object(blob)
        with pytest.raises(GitError, match="missing"):
            clone.sizes([blob])


def test_shallow_and_partial_clones_are_refused_with_a_remedy(tmp_path: Path) -> None:
    whole = small(tmp_path / "r")
    git(whole, "config", "uploadpack.allowFilter", "true")
    for name, option in (("shallow", "--depth=1"), ("partial", "--filter=blob:none")):
        subprocess.run(
            ["git", "clone", "-q", "--bare", option, whole.as_uri(), str(tmp_path / name)], env=HARMLESS, check=True
        )
        with Git(tmp_path / name) as clone, pytest.raises(GitError, match=f"{name} clone"):
            clone.check_whole()
    with Git(whole) as clone:
        clone.check_whole()


def test_nothing_that_the_repository_configures_is_run(tmp_path: Path) -> None:
    path = small(tmp_path / "r")
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    (path / "info").mkdir(exist_ok=True)
    (path / "info" / "attributes").write_text("* diff=evil\n")
    for key in ("diff.external", "diff.evil.command", "diff.evil.textconv", "core.fsmonitor", "core.sshCommand"):
        git(path, "config", key, str(trap))
    with Git(path) as clone:
        newest, older = list(clone.commits([clone.head()]))[:2]
        assert b"+4\n" in clone.patch(older.tree, newest.tree)
        assert b"+4\n" in clone.patch_of(older.oid, newest.oid, ["a.txt"])
        assert list(clone.changed_lines([newest.oid]))
    assert not (tmp_path / "sprung").exists()


def test_an_ordinary_clone_reads_like_a_bare_one(tmp_path: Path) -> None:
    bare = small(tmp_path / "r")
    subprocess.run(["git", "clone", "-q", str(bare), str(tmp_path / "work")], env=HARMLESS, check=True)
    (tmp_path / "work" / ".gitattributes").write_text("*.txt -diff\n")
    with Git(bare) as one, Git(tmp_path / "work") as other:
        assert list(one.commits([one.head()])) == list(other.commits([other.head()]))
        newest, older = list(one.commits([one.head()]))[:2]
        assert one.patch(older.tree, newest.tree) == other.patch(older.tree, newest.tree)


def test_names_that_are_no_objects_or_branches_are_errors(tmp_path: Path) -> None:
    with Git(small(tmp_path / "r")) as clone:
        with pytest.raises(GitError, match="name a branch"):
            clone.head("nowhere")
        with pytest.raises(GitError, match="40 hex digits"):
            clone.object("--batch-all-objects")
    with pytest.raises(GitError, match="not a folder"):
        Git(tmp_path / "nothing")


def test_a_url_is_mirrored_once_with_its_pull_requests(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    repo.pull(7, repo.commit("Only", {"a": "1\n"}))
    path = repo.done()
    clone = local_clone(path.as_uri(), tmp_path / "cache")
    assert local_clone(path.as_uri(), tmp_path / "cache") == clone
    assert local_clone(str(path), tmp_path / "cache") == str(path)
    with Git(clone) as mirror:
        assert list(mirror.refs("refs/pull")) == ["refs/pull/7/head"]
    with pytest.raises(GitError, match="clone"):
        local_clone((tmp_path / "absent").as_uri(), tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [Path(clone).name]


def test_a_reader_travels_to_other_processes(tmp_path: Path) -> None:
    with Git(small(tmp_path / "r")) as clone:
        head = clone.head()
        clone.commit(head)
        with pickle.loads(pickle.dumps(clone)) as copy:
            assert copy.head() == head


def test_quoted_paths_are_taken_out_of_their_quotes() -> None:
    assert unquoted(b'"a\\303\\244\\t\\"\\\\.txt"') == 'aä\t"\\.txt'
    assert unquoted(b"plain name") == "plain name"


def loosen(path: Path) -> None:
    """Unpack all objects, so that a test can remove one."""
    packs = list((path / "objects" / "pack").glob("*.pack"))
    for pack in packs:
        data = pack.read_bytes()
        for file in pack.parent.glob(f"{pack.stem}*"):
            file.unlink()
        subprocess.run(["git", "-C", str(path), "unpack-objects", "-q"], env=HARMLESS, input=data, check=True)
