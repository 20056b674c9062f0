"""The chapters: the sample history as text, and what it says as changes, commits and edits.

A chapter is a text file of directives, each on a line that begins with `%% `, and the text that belongs to them:

    %% pr NUMBER STYLE BRANCH [on=LINE] [base=KEY]   a pull request; STYLE is one of `STYLES`
    %% direct KEY [on=LINE] [merges=LINE]            a commit without a pull request, or the merge of a line
    %% line NAME KEY                                 opens the branch NAME at the state after change KEY
    %% landed TIME WHO / title TEXT / body / tag NAME / red       about the change
    %% link KIND SOURCE STRATUM [tests] [regression]  the change answers the earlier change SOURCE
    %% decoy TRAP OTHER TEXT                          looks like a link to OTHER and is none, because TEXT
    %% commit TIME WHO                               a commit; its message follows
    %% file PATH [crlf] [latin-1] [bare] [exec]      a whole file follows (`bare`: no final newline)
    %% edit PATH                                     blocks of `<<<<` old lines `====` new lines `>>>>` follow
    %% append PATH                                   text to add at the end; in Python behind blank lines
    %% base64 PATH / delete PATH / rename FROM TO / exec PATH / undo KEY / redo KEY

A change's KEY is its pull request's number or the name of the direct commit; `KEY.n` is the n-th commit of its branch.
Messages may hold `{sha:KEY}` or, cut to n digits, `{shan:KEY}`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files

STYLES = ("merge", "squash", "rebase", "bors", "rollup", "closed")
"""How a pull request ended: merge commit, squashed, rebased, by a merge bot, as the merge of a line, or not landed."""


class StoryError(ValueError):
    """A chapter that cannot be read or told; the message names the place and what is wrong there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One edit of a file. `verb` says which; what `old`, `new` and `other` hold depends on it (see `tree.apply`)."""

    verb: str
    path: str
    old: bytes = b""
    new: bytes = b""
    other: str = ""
    executable: bool = False


@dataclass(slots=True, kw_only=True)
class Commit:
    """One commit as it was written on its branch. `at` is local time in the zone of `who`."""

    at: str
    who: str
    message: str = ""
    edits: list[Edit] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A link that a change declares: it answers `source`, and how that can be seen."""

    kind: str
    source: str
    target: str
    stratum: str
    tests: bool = False
    regression: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap:
    """A pair that looks like a link and is none; `other` is empty where the trap has no partner."""

    trap: str
    change: str
    other: str
    why: str


@dataclass(slots=True, kw_only=True)
class Change:
    """A pull request or a direct commit; `line` is the branch it went to, `base` the change its branch grew from."""

    key: str
    style: str
    line: str = "main"
    base: str | None = None
    merges: str | None = None
    branch: str = ""
    landed_at: str = ""
    landed_by: str = ""
    title: str = ""
    body: str = ""
    tag: str | None = None
    red: bool = False
    commits: list[Commit] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    traps: list[Trap] = field(default_factory=list)

    @property
    def number(self) -> int | None:
        """The pull request's number, or null for a direct commit and for the opening of a line."""
        return int(self.key) if self.style in STYLES else None


def read() -> list[Change]:
    """All changes of all chapters, in the order in which they landed or were closed."""
    folder = files(__package__) / "chapters"
    changes: list[Change] = []
    for name in sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".story")):
        changes.extend(_Reader(name).read((folder / name).read_bytes().decode()))
    return changes


class _Reader:
    """Reads one chapter."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.changes: list[Change] = []

    def read(self, text: str) -> list[Change]:
        """The changes of the chapter."""
        for number, words, content in _directives(text):
            try:
                self._take(words[0], words[1:], content)
            except (IndexError, ValueError) as error:
                raise StoryError(f"{self.name}, line {number}: %% {' '.join(words)}: {error}") from error
        return self.changes

    def _take(self, verb: str, words: list[str], content: str) -> None:
        if verb == "pr":
            if words[1] not in STYLES:
                raise StoryError(f"style {words[1]!r}; known are {', '.join(STYLES)}")
            options = dict(word.split("=", 1) for word in words[3:])
            line = options.get("on", "main")
            new = Change(key=words[0], style=words[1], branch=words[2], line=line, base=options.get("base"))
            self.changes.append(new)
            return
        if verb in ("direct", "line"):
            options = dict(word.split("=", 1) for word in words[1:]) if verb == "direct" else {"base": words[1]}
            line = options.get("on", "main") if verb == "direct" else words[0]
            base, merges = options.get("base"), options.get("merges")
            self.changes.append(Change(key=words[0], style=verb, line=line, base=base, merges=merges))
            return
        change = self.changes[-1]
        if verb == "landed":
            change.landed_at, change.landed_by = words
        elif verb == "title":
            change.title = " ".join(words)
        elif verb == "body":
            change.body = content.strip("\n")
        elif verb == "tag":
            change.tag = words[0]
        elif verb == "red":
            change.red = True
        elif verb == "link":
            source, target = words[1].split(">") if ">" in words[1] else (words[1], change.key)
            flags = {"tests": "tests" in words[3:], "regression": "regression" in words[3:]}
            change.told.append(Told(kind=words[0], source=source, target=target, stratum=words[2], **flags))
        elif verb == "decoy":
            other = "" if words[1] == "-" else words[1]
            change.traps.append(Trap(trap=words[0], change=change.key, other=other, why=" ".join(words[2:])))
        elif verb == "commit":
            change.commits.append(Commit(at=words[0], who=words[1], message=content.strip("\n")))
        else:
            change.commits[-1].edits.extend(_edits(verb, words, content))


def _directives(text: str) -> Iterator[tuple[int, list[str], str]]:
    """Each directive with its line number, its words and the text below it."""
    number, words, content = 0, [""], ""
    for index, line in enumerate(text.split("\n"), start=1):
        if line.startswith("%% "):
            if words != [""]:
                yield number, words, content
            number, words, content = index, line[3:].split(), ""
        else:
            content += line + "\n"
    yield number, words, content


def _edits(verb: str, words: list[str], content: str) -> Iterator[Edit]:
    path, options = words[0], words[1:]
    if verb == "file":
        yield Edit(verb="write", path=path, new=_encode(content, options), executable="exec" in options)
    elif verb == "append":
        # Two blank lines go before a definition in Python, one before a method of the last class.
        gap = (b"\n" if content.startswith(" ") else b"\n\n") if path.endswith(".py") else b""
        yield Edit(verb="append", path=path, new=gap + _encode(content, options))
    elif verb == "base64":
        yield Edit(verb="write", path=path, new=base64.b64decode(content))
    elif verb == "edit":
        for block in content.strip("\n").split("<<<<\n")[1:]:
            old, _, rest = block.partition("====\n")
            new, mark, tail = rest.partition(">>>>")
            if not mark or tail.strip() or not old or not new:
                raise StoryError(f"a block of {path} is not `<<<<` old `====` new `>>>>` with both sides filled")
            encoding = "latin-1" if "latin-1" in options else "utf-8"
            yield Edit(verb="replace", path=path, old=old.encode(encoding), new=new.encode(encoding))
    elif verb == "rename":
        yield Edit(verb="rename", path=path, other=options[0])
    elif verb in ("delete", "exec", "undo", "redo"):
        yield Edit(verb=verb, path=path)
    else:
        raise StoryError(f"unknown directive {verb!r}")


def _encode(content: str, options: list[str]) -> bytes:
    text = content.strip("\n") + ("" if "bare" in options else "\n")
    if "crlf" in options:
        text = text.replace("\n", "\r\n")
    return text.encode("latin-1" if "latin-1" in options else "utf-8")
