"""Edits as unified diffs: parse what Git prints, check that it adds up, apply it to a text.

Pure text, no repository. Lines are cut at `\n` alone: a carriage return or a form feed is part of its line, as in Git.
Binary patches and mode changes are recognised but not applied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NO_NEWLINE = "\\ "
_ESCAPES = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13, '"': 34, "\\": 92}
_EXTENDED = (
    "index ",
    "old mode ",
    "new mode ",
    "new file mode ",
    "deleted file mode ",
    "similarity index ",
    "dissimilarity index ",
    "rename from ",
    "rename to ",
    "copy from ",
    "copy to ",
)


class EditError(ValueError):
    """An edit that does not parse, does not add up or does not apply; `reason` is a short code."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunk:
    """One hunk: 1-based starts as printed, and its lines with their ` `, `+` or `-`, each ended as in the file.

    A line without a final newline has none here either (the diff says so with a `\\` line).
    """

    old_start: int
    new_start: int
    lines: tuple[str, ...]

    @property
    def old(self) -> list[str]:
        """The lines before the edit."""
        return [line[1:] for line in self.lines if line[0] != "+"]

    @property
    def new(self) -> list[str]:
        """The lines after the edit."""
        return [line[1:] for line in self.lines if line[0] != "-"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEdit:
    """What an edit does to one file; `old_path` is null for a new file, `new_path` for a deleted one."""

    old_path: str | None
    new_path: str | None
    hunks: tuple[Hunk, ...] = ()
    binary: bool = False

    @property
    def path(self) -> str:
        """The file's path after the edit, or before it where it is deleted."""
        return self.new_path or self.old_path or ""

    def added(self) -> Iterator[str]:
        """The added lines without their line ends."""
        return (line[1:].rstrip("\n") for hunk in self.hunks for line in hunk.lines if line[0] == "+")

    def removed(self) -> Iterator[str]:
        """The removed lines without their line ends."""
        return (line[1:].rstrip("\n") for hunk in self.hunks for line in hunk.lines if line[0] == "-")


def parse_diff(text: str) -> tuple[FileEdit, ...]:
    """The file edits of a unified diff, with Git's extended headers or with `---`/`+++` alone.

    Raises `EditError`: `unparsable` for lines that belong to nothing, `hunk_counts` where a hunk holds other numbers
    of lines than its header says, `hunk_order` where hunks overlap or go backwards, `unsafe_path` for a path that is
    absolute or climbs, `file_twice` for two sections on one file, `empty` where there is no file at all.
    """
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    reader = _Reader(lines)
    edits: list[FileEdit] = []
    while reader.line is not None:
        edits.append(reader.file_edit())
    if not edits:
        raise EditError("empty", "an edit without any file; drop the step")
    paths = [edit.path for edit in edits]
    if len(set(paths)) != len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise EditError("file_twice", f"{twice!r} is edited in two sections of one diff")
    return tuple(edits)


def apply_hunks(text: str, hunks: Sequence[Hunk]) -> str:
    """`text` with `hunks` applied at exactly their printed places. Raises `EditError` `does_not_apply` otherwise."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    done: list[str] = []
    place = 0
    for hunk in hunks:
        old = hunk.old
        start = hunk.old_start - 1 if old else hunk.old_start
        if start < place or lines[start : start + len(old)] != old:
            raise EditError("does_not_apply", f"the hunk at line {hunk.old_start} is not what the file holds there")
        done += lines[place:start]
        done += hunk.new
        place = start + len(old)
    return "".join([*done, *lines[place:]])


def unquote_path(path: str) -> str:
    r"""A path as Git prints it: `"a/caf\303\251"` in double quotes with octal bytes and C escapes, or as it is."""
    if not (len(path) >= 2 and path.startswith('"') and path.endswith('"')):
        return path
    data = bytearray()
    for literal, octal, escape in re.findall(r'([^\\]+)|\\([0-7]{3})|\\([abtnvfr"\\])', path[1:-1]):
        data += literal.encode() if literal else bytes([int(octal, 8) if octal else _ESCAPES[escape]])
    return data.decode("utf-8", "replace")


class _Reader:
    """Reads the lines of a diff one file section at a time."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._place = 0

    @property
    def line(self) -> str | None:
        return self._lines[self._place] if self._place < len(self._lines) else None

    def _take(self) -> str:
        line = self._lines[self._place]
        self._place += 1
        return line

    def _fail(self, reason: str, what: str) -> EditError:
        return EditError(reason, f"line {self._place + 1} of the edit: {what}")

    def file_edit(self) -> FileEdit:
        git = self.line is not None and self.line.startswith("diff --git ")
        old: str | None = None
        new: str | None = None
        added = deleted = binary = False
        if git:
            old, new = _git_paths(self._take())
            while self.line is not None and self.line.startswith(_EXTENDED):
                header = self._take()
                added |= header.startswith("new file mode ")
                deleted |= header.startswith("deleted file mode ")
                for prefix in ("rename from ", "copy from "):
                    old = unquote_path(header.removeprefix(prefix)) if header.startswith(prefix) else old
                for prefix in ("rename to ", "copy to "):
                    new = unquote_path(header.removeprefix(prefix)) if header.startswith(prefix) else new
            binary = self._skip_binary()
        hunks: list[Hunk] = []
        if not binary and self.line is not None and self.line.startswith("--- "):
            old = _stripped(self._take().removeprefix("--- "))
            if self.line is None or not self.line.startswith("+++ "):
                raise self._fail("unparsable", "`---` without `+++` behind it")
            new = _stripped(self._take().removeprefix("+++ "))
            while self.line is not None and self.line.startswith("@@ "):
                hunks.append(self._hunk(hunks[-1] if hunks else None))
                if (self.line or "").startswith((" ", "+", "-")) and not (self.line or "").startswith("--- "):
                    raise self._fail("hunk_counts", "the hunk holds more lines than its header says")
            if not hunks:
                raise self._fail("unparsable", "a file section without a hunk")
        elif not git:
            raise self._fail("unparsable", f"{(self.line or '')[:80]!r} begins no file section")
        edit = FileEdit(
            old_path=None if added else old, new_path=None if deleted else new, hunks=tuple(hunks), binary=binary
        )
        for path in (edit.old_path, edit.new_path):
            if path is not None and (path.startswith("/") or not path or ".." in path.split("/")):
                raise self._fail("unsafe_path", f"path {path!r} leads out of the repository")
        if edit.old_path is None and edit.new_path is None:
            raise self._fail("unparsable", "a section without a path")
        return edit

    def _skip_binary(self) -> bool:
        if self.line is None:
            return False
        if self.line.startswith("Binary files "):
            self._place += 1
            return True
        if self.line == "GIT binary patch":
            while self.line is not None and not self.line.startswith("diff --git "):
                self._place += 1
            return True
        return False

    def _hunk(self, before: Hunk | None) -> Hunk:
        match = _HUNK.match(self.line or "")
        if match is None:
            raise self._fail("unparsable", f"{(self.line or '')[:80]!r} is no hunk header")
        self._place += 1
        old_start, new_start = int(match[1]), int(match[3])
        old_left, new_left = int(match[2] or 1), int(match[4] or 1)
        lines: list[str] = []
        while old_left or new_left or (self.line or "").startswith(_NO_NEWLINE):
            line = self.line
            if line is None:
                raise self._fail("hunk_counts", f"the diff ends {old_left} old and {new_left} new lines early")
            sign = line[:1] or " "
            if sign == "\\" and lines:
                lines[-1] = lines[-1][:-1]
            elif sign in " -+":
                old_left -= sign != "+"
                new_left -= sign != "-"
                lines.append(f"{line or ' '}\n")
            else:
                raise self._fail("hunk_counts", f"{old_left} old and {new_left} new lines are missing")
            if old_left < 0 or new_left < 0:
                raise self._fail("hunk_counts", "the hunk holds more lines than its header says")
            self._place += 1
        hunk = Hunk(old_start=old_start, new_start=new_start, lines=tuple(lines))
        if before is not None and (
            old_start < before.old_start + len(before.old) or new_start < before.new_start + len(before.new)
        ):
            raise self._fail("hunk_order", "the hunk overlaps the one before it")
        return hunk


def _git_paths(header: str) -> tuple[str, str]:
    """Both paths of a `diff --git` line; later headers overrule them where they are ambiguous."""
    rest = header.removeprefix("diff --git ")
    quoted = re.fullmatch(r'("(?:[^"\\]|\\.)*"|\S+) ("(?:[^"\\]|\\.)*"|\S+)', rest)
    if quoted:
        return _stripped(quoted[1]) or "", _stripped(quoted[2]) or ""
    # unquoted names with spaces: Git prints both names in full, and without a rename they are equal
    half = len(rest) // 2
    return _stripped(rest[:half]) or "", _stripped(rest[half + 1 :]) or ""


def _stripped(path: str) -> str | None:
    """A path without Git's `a/` or `b/` and without the tab that ends a name with spaces; null for `/dev/null`."""
    plain = unquote_path(path.removesuffix("\t") if "\t" not in path[:-1] else path.split("\t")[0])
    if plain == "/dev/null":
        return None
    return plain[2:] if plain.startswith(("a/", "b/")) else plain
