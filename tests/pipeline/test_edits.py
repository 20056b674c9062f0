"""Edits: what Git prints is parsed and applied bit for bit; what it would not print is refused with a reason."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.edits import EditError, FileEdit, apply_hunks, parse_diff, unquote_path

SIMPLE = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n"


def git_diff(folder: Path, before: dict[str, str | None], after: dict[str, str | None]) -> str:
    """What Git prints between two states of some files."""

    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True).stdout

    if not (folder / ".git").exists():
        git("init", "-q")
        git("config", "core.autocrlf", "false")
    trees = []
    for state in (before, after):
        for name, text in state.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_bytes(text.encode())
        git("add", "-A", "--force", ".")
        trees.append(git("write-tree").decode().strip())
    return git("diff-tree", "-p", "-M", "--text", *trees).decode()


def replayed(edits: tuple[FileEdit, ...], before: dict[str, str | None]) -> dict[str, str | None]:
    after = dict(before)
    for edit in edits:
        content = apply_hunks(before.get(edit.old_path or "") or "", edit.hunks)
        if edit.old_path is not None and edit.old_path != edit.new_path:
            after[edit.old_path] = None
        if edit.new_path is not None:
            after[edit.new_path] = content
    return after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": "1\n2\n3\n"}, {"a": "1\n3\n4\n"}),
        ({"a": "1\n2"}, {"a": "1\n2\n"}),
        ({"a": "1\n2\n"}, {"a": "1\n2"}),
        ({"a": None}, {"a": "new\n"}),
        ({"a": None}, {"a": "new"}),
        ({"a": "old\n"}, {"a": None}),
        ({"a": "1\r\n2\x0c\x0b\u2028\x85\n"}, {"a": "1\n2\x0c\x0b\u2028\x85\n\r"}),
        ({"a b": "1\n"}, {"a b": "2\n"}),
        ({'d/caf\u00e9 "x"': "1\n"}, {'d/caf\u00e9 "x"': "2\n"}),
        ({"old name": "1\n2\n3\n4\n", "b": None}, {"old name": None, "b": "1\n2\n3\n5\n"}),
        ({"a": "- 1\n-- 2\n"}, {"a": "++ 3\n+++ b/x\n--- a/y\n@@ -1 +1 @@\ndiff --git a/q b/q\n"}),
        ({"a": "same\n", "b": "x\n"}, {"a": None, "b": "x\n", "c": "same\n"}),
        ({"a": None}, {"a": ""}),
        ({"a": "x\n" * 100}, {"a": "y\n" + "x\n" * 50 + "z\n" + "x\n" * 49}),
    ],
)
def test_what_git_prints_replays(tmp_path: Path, before: dict[str, str | None], after: dict[str, str | None]) -> None:
    assert replayed(parse_diff(git_diff(tmp_path, before, after)), before) == {**before, **after}


LINES = st.lists(st.sampled_from(["a", "b", "", " ", "-", "+", "\\ No newline", "@@ -1 +1 @@", "\r"]), max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES, LINES, st.booleans(), st.booleans())
def test_any_two_texts_replay(tmp_path: Path, old: list[str], new: list[str], end: bool, new_end: bool) -> None:
    before, after = "\n".join(old) + "\n" * end, "\n".join(new) + "\n" * new_end
    text = git_diff(tmp_path, {"f": before}, {"f": after})
    if before == after:
        assert text == ""
        return
    (edit,) = parse_diff(text)
    assert apply_hunks(before, edit.hunks) == after


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("\n", "unparsable"),
        ("hello", "unparsable"),
        ("--- a/x\n", "unparsable"),
        ("--- a/x\n+++ b/x\n", "unparsable"),
        (SIMPLE + "trailing words", "unparsable"),
        (SIMPLE.replace("-1,2", "-1,3"), "hunk_counts"),
        (SIMPLE.replace("+1,2", "+1,1"), "hunk_counts"),
        (SIMPLE + "@@ -2 +2 @@\n-x\n+y\n", "hunk_order"),
        (SIMPLE.replace("/x", "/../x"), "unsafe_path"),
        (SIMPLE.replace("a/x", "/etc/passwd"), "unsafe_path"),
        (SIMPLE * 2, "file_twice"),
    ],
)
def test_what_git_would_not_print_is_refused(text: str, reason: str) -> None:
    with pytest.raises(EditError) as caught:
        parse_diff(text)
    assert caught.value.reason == reason


@pytest.mark.parametrize("text", ["one\ntwo", "one\n", "two\none\n", "one \ntwo\n", "\none\ntwo\n"])
def test_an_edit_applies_at_its_place_or_not_at_all(text: str) -> None:
    (edit,) = parse_diff(SIMPLE)
    assert apply_hunks("one\ntwo\n", edit.hunks) == "one\nthree\n"
    with pytest.raises(EditError, match="not what the file holds there"):
        apply_hunks(text, edit.hunks)


def test_binary_patches_and_mode_changes_are_seen_and_not_applied() -> None:
    (edit,) = parse_diff("diff --git a/x.png b/x.png\nindex 1..2 100644\nBinary files a/x.png and b/x.png differ\n")
    assert (edit.binary, edit.path, edit.hunks) == (True, "x.png", ())
    modes = "diff --git a/run b/run\nold mode 100644\nnew mode 100755\n"
    one, other = parse_diff("diff --git a/x b/x\nGIT binary patch\nliteral 1\nIc$}+\n\n" + modes)
    assert (one.binary, other.binary, other.path) == (True, False, "run")


def test_quoted_paths_are_read_as_git_writes_them() -> None:
    assert unquote_path(r'"a/caf\303\251 \t\"x\\"') == 'a/caf\u00e9 \t"x\\'
    assert unquote_path("plain name") == "plain name"
