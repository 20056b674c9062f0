"""Who wrote the lines a unit removes: one forward pass over the first-parent line instead of a blame for each file.

`git log -p -U0` is streamed from the oldest unit to the newest while one array per file holds, for each of its lines,
the unit that wrote it. Files that git takes for binary, and what becomes of them, have no known origin.
Agrees with `git blame --first-parent -M0 -C0` where git finds the same renames.
"""

from __future__ import annotations

import re
from array import array
from collections import deque
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import IO

from sources.git import Git
from sources.git_objects import unquoted
from sources.git_process import GitError, stream

UNKNOWN = -1
"""The origin of a line whose file was binary, or larger than the cap, at some time."""

_LOG = (
    "log", "--first-parent", "--diff-merges=first-parent", "--reverse", "--format=tformat:commit %H", "--root", "-p",
    "-U0", "-M", "-l400", "--src-prefix=a/", "--dst-prefix=b/", "--diff-algorithm=myers", "--indent-heuristic",
    "--no-relative", "--submodule=short", "--no-color", "--no-ext-diff", "--no-textconv", "--no-show-signature",
    "--no-notes", "--inter-hunk-context=0", "--ignore-submodules=none", "-O/dev/null",
)  # fmt: skip
_UNIT = re.compile(rb"commit ([0-9a-f]{40})\n\Z")
_HUNK = re.compile(rb"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_TRIVIAL = re.compile(
    rb"\W*\Z|(?:#(?!\[|include|define|if|else|endif)|//|/\*|\*[ /]|<!--|\"\"\"|''')"
    rb"|(?:import|package|using|use|from [\w.]+ import)\b"
    rb"|(?:pass|return|end|else|try|finally|break|continue)\b\W*\Z",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedLine:
    """A line that a unit removes: its file and place before the unit, and the position of the unit that wrote it."""

    path: str
    line: int
    origin: int
    text: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitLines:
    """The lines a unit removes and adds, as they stand in its diff against its first parent.

    `position` counts units of the first-parent line from the oldest; `added` holds (path, text).
    """

    position: int
    commit: str
    removed: tuple[RemovedLine, ...]
    added: tuple[tuple[str, bytes], ...]

    def telling(self) -> tuple[RemovedLine, ...]:
        """The removed lines that say something: no comments, no punctuation, none that come back elsewhere.

        A line that comes back with another comma or bracket at its end comes back.
        """
        back = {_bare(text) for _, text in self.added}
        return tuple(line for line in self.removed if not trivial(line.text) and _bare(line.text) not in back)


def squeezed(text: bytes) -> bytes:
    """A line without any whitespace, so that indenting or moving it does not change it."""
    return b"".join(text.split())


def _bare(text: bytes) -> bytes:
    return squeezed(text).rstrip(b",;()[]{}")


def trivial(text: bytes) -> bool:
    """Whether a line is blank, a comment, an import, or has no word of its own."""
    return bool(_TRIVIAL.match(text.strip()))


def unit_lines(
    git: Git, head: str, wanted: Container[str], *, most_files: int = 100, most_lines: int = 2000
) -> Iterator[UnitLines]:
    """The lines of the `wanted` units of the first-parent line up to `head`, oldest first, in one pass.

    A unit that changes more than `most_files` files, or more than `most_lines` lines, is not reported; what it wrote
    is known all the same. Memory is four bytes a line of the tree. Raises `GitError` when git stops early or when
    fewer units came than git counts.
    """
    blame = _Blame(wanted, most_files, most_lines)
    with stream(git.path, (*_LOG, "--end-of-options", head), b"") as process:
        yield from blame.read(process.stdout)
    expected = int(git.run("rev-list", "--first-parent", "--count", head))
    if blame.position + 1 != expected:
        raise GitError(
            f"{git.path}: {blame.position + 1} units came where git counts {expected}; run `git fsck`, clone again"
        )


@dataclass(slots=True)
class _File:
    """One file's part of a unit's diff; `lines` is null where origins are not known."""

    old: str
    new: str
    lines: array[int] | None = None
    status: str = "M"
    opened: bool = False


@dataclass(slots=True)
class _Unit:
    """What a wanted unit has shown so far."""

    commit: str
    files: int = 0
    removed: list[RemovedLine] = field(default_factory=list)
    added: list[tuple[str, bytes]] = field(default_factory=list)


class _Blame:
    """The origins of all lines at one moment, moved forward unit by unit."""

    def __init__(self, wanted: Container[str], most_files: int, most_lines: int) -> None:
        self.position = -1
        self._wanted, self._most_files, self._most_lines = wanted, most_files, most_lines
        self._lines: dict[str, array[int]] = {}
        # what a unit renames or makes anew shows only when it is over: it may swap two files
        self._gone: set[str] = set()
        self._come: dict[str, array[int]] = {}
        self._file: _File | None = None
        self._unit: _Unit | None = None

    def read(self, out: IO[bytes]) -> Iterator[UnitLines]:
        """Follow a diff stream to its end; yields each wanted unit when it is over."""
        header = False
        for line in out:
            # a line of content starts with a sign, git's own do not: none can be taken for the other
            if line.startswith(b"@@ -"):
                header = False
                self._hunk(line, out)
            elif line.startswith(b"diff --git "):
                header = True
                self._close_file()
                self._file = _named(line)
                if self._unit:
                    self._unit.files += 1
            elif found := _UNIT.match(line):
                header = False
                yield from self._close_unit()
                self._open_unit(found[1].decode("ascii"))
            elif header and self._file:
                _take_header(self._file, line)
        yield from self._close_unit()

    def _open_unit(self, commit: str) -> None:
        self.position += 1
        self._unit = _Unit(commit) if commit in self._wanted else None

    def _close_unit(self) -> Iterator[UnitLines]:
        self._close_file()
        for path in self._gone:
            self._lines.pop(path, None)
        self._lines.update(self._come)
        self._gone.clear()
        self._come.clear()
        unit, self._unit = self._unit, None
        if unit is None or unit.files > self._most_files or len(unit.removed) + len(unit.added) > self._most_lines:
            return
        yield UnitLines(
            position=self.position, commit=unit.commit, removed=tuple(unit.removed), added=tuple(unit.added)
        )

    def _open_file(self, file: _File) -> None:
        file.opened = True
        if file.status == "B":
            file.lines = None
        elif file.status == "A":
            file.lines = array("i")
        else:
            file.lines = self._lines.get(file.old)
            if file.status == "C" and file.lines is not None:
                file.lines = file.lines[:]

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        if not file.opened:
            self._open_file(file)
        if file.status != "C" and (file.status in "BDR" or file.lines is None):
            self._gone.add(file.old)
        if file.status == "D":
            return
        if file.lines is not None:
            self._come[file.new] = file.lines
        elif file.new not in self._come:
            self._gone.add(file.new)

    def _hunk(self, line: bytes, out: IO[bytes]) -> None:
        found, file = _HUNK.match(line), self._file
        if found is None or file is None:
            raise GitError(f"a diff that is not git's own: {line[:80]!r} outside a file")
        if not file.opened:
            self._open_file(file)
        old, start, new = (1 if value is None else int(value) for value in found.groups())
        start -= new > 0
        before = file.lines[start : start + old] if file.lines is not None else None
        if before is not None and file.lines is not None and len(before) == old:
            file.lines[start : start + old] = array("i", [self.position]) * new
        else:
            file.lines = before = None
        unit = self._unit
        if unit is None or len(unit.removed) + len(unit.added) > self._most_lines or unit.files > self._most_files:
            deque(islice(out, old + new), maxlen=0)  # lines that say where a newline lacks are left over, and skipped
            return
        place, at = int(line[4:].split(b" ", 1)[0].split(b",")[0]), 0
        while at < old or new:
            text = next(out)
            if text.startswith(b"-"):
                origin = UNKNOWN if before is None else before[at]
                unit.removed.append(
                    RemovedLine(path=file.old, line=place + at, origin=origin, text=text[1:].rstrip(b"\r\n"))
                )
                at += 1
            elif text.startswith(b"+"):
                unit.added.append((file.new, text[1:].rstrip(b"\r\n")))
                new -= 1


def _named(line: bytes) -> _File:
    """The file of a `diff --git` line, whose two halves are the same but for a rename, which is told on its own."""
    both = line[11:-1]
    middle = (len(both) - 1) // 2
    return _File(unquoted(both[:middle])[2:], unquoted(both[middle + 1 :])[2:])


def _take_header(file: _File, line: bytes) -> None:
    word, _, rest = line.rstrip(b"\n").partition(b" ")
    if word == b"new":
        file.status = "A" if rest.startswith(b"file") else file.status
    elif word == b"deleted":
        file.status = "D"
    elif word in (b"rename", b"copy"):
        file.status = "R" if word == b"rename" else "C"
        way, _, path = rest.partition(b" ")
        if way == b"from":
            file.old = unquoted(path)
        else:
            file.new = unquoted(path)
    elif word == b"Binary" and file.status != "D":
        file.status = "B"
