"""The forward blame: each removed line's origin, as git's own blame has it, whatever the files hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from sources.blame import UNKNOWN, UnitLines, unit_lines
from sources.git import Git
from sources.git_process import GitError
from tests.sources.gitrepo import GitRepo, body, git, text
from tests.sources.test_git import loosen


def units_of(path: Path) -> list[str]:
    return git(path, "rev-list", "--first-parent", "--reverse", "main").split()


def lines_of(path: Path, *wanted: str, **caps: int) -> list[UnitLines]:
    with Git(path) as clone:
        return list(unit_lines(clone, clone.head(), set(wanted), **caps))


def blamed(path: Path, commit: str, name: str) -> list[str]:
    """What `git blame` says of each line of a file."""
    with Git(path) as clone:
        found = clone.run("blame", "--first-parent", "-l", "--root", "-s", commit, "--", name)
    return [line[:40].decode() for line in found.removesuffix(b"\n").split(b"\n")]


def removal(repo: GitRepo) -> str:
    """A commit that removes every file, so that the origin of each line shows."""
    return repo.commit("Remove all", dict.fromkeys(repo.files[repo.tips["main"]]))


def check_against_git(path: Path, last: str, unknown: frozenset[str] = frozenset()) -> int:
    """Compare the origins of all lines that `last` removes with `git blame` of its parent; their number."""
    [unit] = lines_of(path, last)
    units = units_of(path)
    files: dict[str, list[str]] = {}
    for line in unit.removed:
        assert line.line == len(files.setdefault(line.path, [])) + 1
        files[line.path].append(units[line.origin] if line.origin != UNKNOWN else "?")
    for name, origins in files.items():
        expected = ["?"] * len(origins) if name in unknown else blamed(path, f"{last}^", name)
        assert origins == expected, name
    return len(unit.removed)


def test_origins_are_those_of_git_blame_through_edits_renames_and_merges(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    repo.commit("Start", {"a.py": body(40), "b.py": body(30), "dir/c.py": body(9)})
    repo.commit("Edit", {"a.py": body(42, line3="new", line30="other"), "b.py": body(28)})
    repo.merged(7, "Branch", [("One", {"a.py": body(42, line3="newer")}), ("Two", {"dir/c.py": body(12)})])
    repo.commit("Rename and edit", {"a.py": None, "lib/a.py": body(42, line3="newer", line9="nine")})
    repo.commit("Edit what was renamed", {"lib/a.py": body(44, line3="newer", line10="ten")})
    other = repo.commit("Elsewhere", {"b.py": body(28, line1="x")}, on="side", parent=repo.tips["main"])
    repo.commit("Insert", {"b.py": text("first", "second") + body(28)})
    repo.commit("Merge branch 'side'", {"b.py": text("first") + body(28, line1="x", line20="own")}, merges=[other])
    repo.commit("Drop", {"dir/c.py": None})
    repo.commit("Anew", {"dir/c.py": body(5)})
    last = removal(repo)
    assert check_against_git(repo.done(), last) > 75


def test_files_that_swap_their_names_keep_their_lines(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    one, other = body(40), text(*(f"another {n}" for n in range(40)))
    repo.commit("One", {"one": one})
    repo.commit("Other", {"other": other})
    repo.commit("Third", {"third": text(*(f"a third {n}" for n in range(30)))})
    repo.commit("Move round", {"moved": one, "one": None, "other": None, "one/other": other})
    repo.commit("Take the place", {"moved": None, "other": one, "one/other": None, "one": other})
    last = removal(repo)
    assert check_against_git(repo.done(), last) == 110


def test_awkward_contents_and_names_do_not_confuse_it(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    fake = "commit " + "a" * 40
    marks = text("diff --git a/x b/x", "@@ -1 +1 @@", fake, "-- a/x", "++ b/x", "+", "-", "\\ No newline", "\x01\x02")
    files = {
        "bare": "one\ntwo",
        "crlf": "one\r\ntwo\r\nthree\r\n",
        "marks": marks,
        "with blank": body(5),
        'a "quoted"\tname': body(5),
        "ünï": b"caf\xe9\n\xff\n",
        "empty": "",
        "old mac": "one\rtwo\n",
    }
    repo.commit("Start", files)
    repo.commit("Edit", {"bare": "one\ntwo\nthree", "crlf": "one\r\n2\r\nthree\r\n", "marks": marks + marks})
    repo.commit("End the line", {"bare": "one\ntwo\nthree\n", "with blank": body(6), 'a "quoted"\tname': body(4)})
    repo.commit("Take it away", {"bare": "one\ntwo", "empty": "no more\n", "marks": "-- a/x\n" + marks})
    repo.commit("Mode", {"crlf": ("100755", "one\r\n2\r\nthree\r\n"), "ünï": b"caf\xe9\nx\n\xff\n"})
    last = removal(repo)
    assert check_against_git(repo.done(), last) == 30


def test_what_was_binary_once_has_no_known_origin(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    repo.commit("Start", {"data": body(10), "code": body()})
    repo.commit("Binary", {"data": b"a\0b\n@@ -1 +1 @@\n"})
    repo.commit("Text again", {"data": body(3)})
    repo.commit("More", {"data": body(4)})
    last = removal(repo)
    assert check_against_git(repo.done(), last, unknown=frozenset({"data"})) == 12 + 4


def test_only_wanted_units_are_told_with_what_they_remove_and_add(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    repo.commit("Start", {"a": "1\n2\n3\n4\n"})
    second = repo.commit("Second", {"a": "1\ntwo\n3\n4\n"})
    third = repo.commit("Third", {"a": "1\n3\nfour\n"})
    path = repo.done()
    [one, other] = lines_of(path, second, third)
    assert (one.position, one.commit) == (1, second) and (other.position, other.commit) == (2, third)
    assert one.added == (("a", b"two"),)
    assert [(line.line, line.origin, line.text) for line in other.removed] == [(2, 1, b"two"), (4, 0, b"4")]
    assert lines_of(path, "0" * 40) == []


def test_a_unit_beyond_the_caps_is_not_told_but_known_as_an_origin(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    repo.commit("Start", {f"f{n}": "old\n" for n in range(4)})
    wide = repo.commit("Wide", {f"f{n}": "new\n" for n in range(4)})
    narrow = repo.commit("Narrow", {"f1": "newer\n"})
    long = repo.commit("Long", {"f1": body(50)})
    path = repo.done()
    told = lines_of(path, wide, narrow, long, most_files=3, most_lines=40)
    assert [unit.commit for unit in told] == [narrow]
    assert [line.origin for line in told[0].removed] == [1]


def test_comments_moved_and_reindented_lines_tell_nothing(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    before = text(
        "# a remark", "", "}", "import os", "moved = here()", "if deep:", "    call(one)", "wrong = 1", "last("
    )
    repo.commit("Start", {"a.py": before, "b.py": "x\n"})
    after = text("call(one)", "right = 1", "last,")
    change = repo.commit("Change", {"a.py": after, "b.py": "x\nmoved  =  here()\n"})
    [unit] = lines_of(repo.done(), change)
    assert [line.text for line in unit.telling()] == [b"if deep:", b"wrong = 1"]
    assert len(unit.removed) == 9


def test_a_stream_that_ends_early_is_an_error(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    for n in range(6):
        repo.commit(f"Change {n}", {"a": f"{n}\n"})
    path = repo.done()
    loosen(path)
    blob = git(path, "rev-parse", "main~2:a").strip()
    (path / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(GitError, match=r"fsck|clone again"):
        lines_of(path)
