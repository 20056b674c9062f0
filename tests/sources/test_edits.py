"""Edits replay bit for bit, whatever a file ends with or is called; what cannot is dropped with a reason of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.edits import EditError
from sources.edits import Edit, EditLimits, build_edit, replay
from sources.git import Git
from tests.sources.gitrepo import Content, GitRepo, body

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def edit_between(
    path: Path, before: Mapping[str, Content], change: Mapping[str, Content], limits: EditLimits | None = None
) -> Edit | str:
    repo = GitRepo(path)
    one = repo.commit("Before", {"kept": "same\n", **before})
    two = repo.commit("After", change)
    with Git(repo.done()) as git:
        return build_edit(git, git.tree_of(one), git.tree_of(two), limits or EditLimits())


def data(content: Content) -> bytes:
    content = content[1] if isinstance(content, tuple) else content
    assert content is not None
    return content.encode() if isinstance(content, str) else content


REPLAYABLE: dict[str, tuple[dict[str, Content], dict[str, Content]]] = {
    "one_line": ({"a": body()}, {"a": body(line5="changed")}),
    "crlf": ({"a": "one\r\ntwo\r\nthree\r\n"}, {"a": "one\r\n2\r\nthree\r\n"}),
    "crlf_to_lf": ({"a": "one\r\ntwo\r\n"}, {"a": "one\ntwo\n"}),
    "lone_carriage_return": ({"a": "one\rtwo\nthree\n"}, {"a": "one\r2\nthree\x0c\n"}),
    "no_final_newline": ({"a": "one\ntwo"}, {"a": "one\n2"}),
    "gains_final_newline": ({"a": "one\ntwo"}, {"a": "one\ntwo\n"}),
    "loses_final_newline": ({"a": "one\ntwo\n"}, {"a": "one\ntwo"}),
    "separators_of_unicode": ({"a": "one\u2028two\x85x\n"}, {"a": "one\u2028two\x85y\nünïcödé\n"}),
    "new_file": ({}, {"new/b": "one\ntwo\n"}),
    "new_empty_file": ({}, {"empty": ""}),
    "removed_file": ({"a": body()}, {"a": None}),
    "removed_empty_file": ({"a": ""}, {"a": None}),
    "emptied_file": ({"a": body()}, {"a": ""}),
    "filled_file": ({"a": ""}, {"a": body()}),
    "renamed": ({"a": body()}, {"a": None, "dir/b c": body()}),
    "renamed_and_changed": ({"a": body(40)}, {"a": None, "b": body(40, line20="other")}),
    "mode_and_content": ({"a": body()}, {"a": ("100755", body(line1="x"))}),
    "mode_beside_content": ({"a": body(), "b": "x\n"}, {"a": ("100755", body()), "b": "y\n"}),
    "odd_names": (
        {'q"uote': "1\n", "tab\there": "1\n", "späce d": "1\n"},
        {'q"uote': "2\n", "tab\there": "2\n", "späce d": "2\n"},
    ),
    "lines_like_headers": (
        {"a": "x\n-- a\n++ b\n"},
        {"a": "x\n@@ -1 +1 @@\ndiff --git a/x b/x\nindex 0..1\n--- a/x\n"},
    ),
    "far_apart_hunks": ({"a": body(300)}, {"a": body(300, line2="x", line150="y", line298="z")}),
}  # fmt: skip


@pytest.mark.parametrize("name", REPLAYABLE)
def test_an_edit_replays_bit_for_bit(tmp_path: Path, name: str) -> None:
    before, change = REPLAYABLE[name]
    edit = edit_between(tmp_path / "r", before, change)
    assert isinstance(edit, Edit), edit
    files = {path: data(content) for path, content in before.items()}
    after = dict(replay({**files, "untouched": b"x"}, edit.text))
    expected = {path: None if content is None else data(content) for path, content in change.items()}
    assert after == {path: content for path, content in expected.items() if files.get(path) != content}
    assert "\nindex " not in edit.text.replace("\nindex 0..1", "") or name == "lines_like_headers"
    assert set(edit.before) == {path for path in before if path in change}


NOT_EDITS: dict[str, tuple[dict[str, Content], dict[str, Content], str]] = {
    "binary": ({"a": b"\x00\x01"}, {"a": b"\x00\x02"}, "binary"),
    "binary_beside_text": ({}, {"a": "text\n", "b.png": b"\x89PNG\x00"}, "binary"),
    "latin_1": ({"a": "é\n".encode("latin-1")}, {"a": "è\n".encode("latin-1")}, "non_utf8"),
    "utf_16": ({}, {"a": "hi\n".encode("utf-16")}, "binary"),
    "path_not_utf_8": ({}, {"\udce9.txt": "x\n"}, "non_utf8_path"),
    "submodule": ({}, {"sub": ("160000", "1" * 40)}, "submodule"),
    "link": ({}, {"link": ("120000", "kept")}, "symlink"),
    "mode_only": ({"a": body()}, {"a": ("100755", body())}, "mode_change_only"),
    "lfs": ({}, {"big.bin": LFS}, "lfs_pointer"),
    "nothing": ({"a": "x\n"}, {"a": "x\n"}, "empty_diff"),
    "large_text": ({}, {"a": body(500)}, "too_large"),
    "many_files": ({}, {f"f{n}": "x\n" for n in range(11)}, "too_many_files"),
    "large_file": ({"a": "x\n" * 3000}, {"a": "x\n" * 3000 + "y\n"}, "too_large"),
}


@pytest.mark.parametrize("name", NOT_EDITS)
def test_what_cannot_be_an_edit_has_its_own_reason(tmp_path: Path, name: str) -> None:
    before, change, reason = NOT_EDITS[name]
    limits = EditLimits(text_chars=2_000, files=10, file_bytes=10_000)
    assert edit_between(tmp_path / "r", before, change, limits) == reason


def test_an_edit_for_other_files_is_refused(tmp_path: Path) -> None:
    edit = edit_between(tmp_path / "r", {"a": body()}, {"a": body(line5="changed"), "b": "new\n"})
    assert isinstance(edit, Edit)
    for files in ({"a": body(line4="other").encode()}, {}, {"a": body().encode(), "b": b"there"}):
        with pytest.raises(EditError):
            replay(files, edit.text)
