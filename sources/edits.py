"""Edits: unified diffs that replay bit for bit, made from two trees and checked against the second one.

A diff that git wrote is kept as git wrote it, but for its `index` lines, whose object names mean nothing outside the
repository. What such a text cannot carry exactly (binary files, other encodings, submodules, …) is not an edit and
has a reason code of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.edits import EditError, apply_hunks, parse_diff
from sources.git import Git
from sources.git_objects import Change

_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """The text of an edit, the files it starts from as they were (a new file starts from none), and all its paths."""

    text: str
    before: Mapping[str, str]
    paths: tuple[str, ...]

    def changed_lines(self) -> tuple[str, ...]:
        """The lines it adds and removes with their signs, wherever they are: two edits that share them do the same."""
        return tuple(line for line in self.text.split("\n") if line.startswith(("+", "-")))


@dataclass(frozen=True, slots=True, kw_only=True)
class EditLimits:
    """How large an edit may be."""

    text_chars: int = 60_000
    """Characters of diff."""
    files: int = 100
    """Files changed."""
    file_bytes: int = 20_000_000
    """Bytes of these files before and after, together."""


def build_edit(git: Git, before: str, after: str, limits: EditLimits) -> Edit | str:
    """The edit from one tree to another, replayed and compared, or the reason code why there is none."""
    changes = git.changes(before, after)
    if reason := _unfit(git, changes, limits):
        return reason
    old: dict[str, bytes] = {}
    new: dict[str, bytes | None] = {}
    blobs = git.objects([blob for change in changes for blob in _blobs(change)])
    for change in changes:
        if change.status != "A":
            old[change.old_path] = next(blobs)
        if change.status in "DR":
            new.setdefault(change.old_path, None)
        if change.status != "D":
            new[change.new_path] = next(blobs)
    if reason := _unfit_content([*old.values(), *(data for data in new.values() if data is not None)]):
        return reason
    text = _text(git.patch(before, after))
    if len(text) > limits.text_chars:
        return "too_large"
    try:
        if replay(old, text) != {path: data for path, data in new.items() if path not in old or data != old[path]}:
            return "does_not_replay"
    except EditError:
        return "does_not_replay"
    before_text = {path: old[path].decode() for path in sorted(old)}
    return Edit(text=text, before=before_text, paths=tuple(sorted({*old, *new})))


def replay(files_before: Mapping[str, bytes], edit_text: str) -> Mapping[str, bytes | None]:
    """The files an edit changes as they are after it; null for those it removes.

    `files_before` holds at least the files the edit starts from. Raises `pipeline.edits.EditError` where a line does
    not match, where a file is missing or there already, and where a file to be removed would leave text behind.
    """
    after: dict[str, bytes | None] = {}
    for part in parse_diff(edit_text):
        if part.binary:
            raise EditError("binary", f"{part.path!r} is a binary file; only text replays")
        before = ""
        if part.old_path is not None:
            if part.old_path not in files_before:
                raise EditError("file_missing", f"{part.old_path!r} is not among the files before; give its content")
            before = files_before[part.old_path].decode()
        elif part.new_path in files_before:
            raise EditError("file_exists", f"{part.new_path!r} is to be created and is there already")
        content = apply_hunks(before, part.hunks)
        if part.new_path is None:
            if content:
                raise EditError("does_not_apply", f"{part.old_path!r} is to be removed, its diff leaves text behind")
            after[part.path] = None
            continue
        if part.old_path is not None and part.old_path != part.new_path:
            after.setdefault(part.old_path, None)
        if part.old_path != part.new_path or content != before:
            after[part.new_path] = content.encode()
    return after


def _unfit(git: Git, changes: list[Change], limits: EditLimits) -> str:
    """The reason why a change cannot be an edit, from what the trees say alone."""
    if not changes:
        return "empty_diff"
    if len(changes) > limits.files:
        return "too_many_files"
    for change in changes:
        modes = {change.old_mode, change.new_mode}
        if "160000" in modes:
            return "submodule"
        if "120000" in modes:
            return "symlink"
        if any(_has_surrogate(path) for path in (change.old_path, change.new_path)):
            return "non_utf8_path"
    if all(c.old_blob == c.new_blob and c.status == "M" for c in changes):
        return "mode_change_only"
    total = sum(git.sizes([blob for change in changes for blob in _blobs(change)]))
    return "too_large" if total > limits.file_bytes else ""


def _blobs(change: Change) -> list[str]:
    """The old and the new blob, as far as there are such; the order in which they are read."""
    return [blob for blob in (change.old_blob, change.new_blob) if blob.strip("0")]


def _unfit_content(contents: list[bytes]) -> str:
    for data in contents:
        if b"\0" in data:
            return "binary"
        if data.startswith(_LFS):
            return "lfs_pointer"
        try:
            data.decode()
        except UnicodeDecodeError:
            return "non_utf8"
    return ""


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)


def _text(patch: bytes) -> str:
    """The patch without `index` lines, and without the half character git may leave of a hunk's function name."""
    kept, in_header = [], True
    for line in patch.split(b"\n"):
        if line.startswith(b"diff --git "):
            in_header = True
        elif line.startswith(b"@@ "):
            in_header = False
            line = line.decode("utf-8", "ignore").encode()
        if not (in_header and line.startswith(b"index ")):
            kept.append(line)
    return b"\n".join(kept).decode()
