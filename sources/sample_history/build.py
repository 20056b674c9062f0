"""Telling the story: the repository on disk, and the id of every commit by its key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sources.sample_history.importer import Importer
from sources.sample_history.people import PEOPLE
from sources.sample_history.story import Change, Commit, Edit, StoryError, read
from sources.sample_history.tree import Tree, apply, inverse

_REFERENCE = re.compile(r"\{sha(\d*):([^}]+)\}")


@dataclass(slots=True, kw_only=True)
class _Line:
    """A branch while it is told: its newest commit, its files, and the edits it got since it was opened."""

    tip: str
    tree: Tree
    edits: list[Edit] = field(default_factory=list)


def build(target: Path) -> Path:
    """Write the sample history as a bare repository into `target`, which must be empty or absent; returns `target`.

    Every id is the same on every machine. Raises `FileExistsError`, `StoryError` or `RuntimeError`.
    """
    tell(read(), target)
    return target


def tell(changes: list[Change], target: Path) -> dict[str, str]:
    """Write `changes` as a bare repository; the commit id of every key (`12`, `12.1`, `changelog`).

    A pull request's own key stands for the commit that landed it, or for its last commit where it never landed.
    """
    with Importer(target) as importer:
        teller = _Teller(importer)
        for change in changes:
            try:
                teller.take(change)
            except StoryError as error:
                raise StoryError(f"change {change.key}: {error}") from error
    return teller.ids


class _Teller:
    """Keeps the state of every branch while changes land one after another."""

    def __init__(self, importer: Importer) -> None:
        self.importer = importer
        self.ids: dict[str, str] = {}
        self._lines: dict[str, _Line] = {"main": _Line(tip="", tree={})}
        self._edits: dict[str, list[Edit]] = {}
        self._states: dict[str, Tree] = {}

    def take(self, change: Change) -> None:
        """Land one change, or leave it at its `refs/pull/N/head`."""
        if change.style == "line":
            origin = change.base or ""
            self._lines[change.line] = _Line(tip=self.ids[origin], tree=self._states[origin])
            self.importer.point(f"refs/heads/{change.line}", self.ids[origin])
            return
        line = self._lines[change.line]
        if change.style == "direct":
            commit = change.commits[0]
            edits = self._own_edits(commit)
            parents = [line.tip, self._lines[change.merges].tip] if change.merges else [line.tip]
            tip = self._write(f"refs/heads/{change.line}", apply(line.tree, edits), commit, parents)
        else:
            head = self._branch(change, line)
            edits = [edit for commit in change.commits for edit in self._own_edits(commit)]
            if change.style == "rollup":
                edits = self._lines[change.branch].edits + edits
            if change.style == "closed":
                self.ids[change.key] = head
                self._edits[change.key] = edits
                return
            tip = self._land(change, line, head, edits)
        self.ids[change.key] = line.tip = tip
        self._edits[change.key] = edits
        self._states[change.key] = line.tree = apply(line.tree, edits)
        line.edits.extend(edits)
        if change.tag:
            tagger, at = PEOPLE[change.landed_by or change.commits[0].who], change.landed_at or change.commits[0].at
            self.importer.tag(change.tag, tip, f"tidemark {change.tag.removeprefix('v')}", tagger, at)

    def _branch(self, change: Change, line: _Line) -> str:
        """Write the commits of a pull request on their own base; the last one's id."""
        ref = f"refs/pull/{change.key}/head"
        base, tree = line.tip, line.tree
        if change.style == "rollup":
            base, tree = self._lines[change.branch].tip, self._lines[change.branch].tree
        elif change.base:
            base, tree = self.ids[change.base], self._states[change.base]
        self.importer.point(ref, base)
        for index, commit in enumerate(change.commits, start=1):
            tree = apply(tree, self._own_edits(commit))
            base = self._write(ref, tree, commit, [base])
            self.ids[f"{change.key}.{index}"] = base
        return base

    def _land(self, change: Change, line: _Line, head: str, edits: list[Edit]) -> str:
        ref = f"refs/heads/{change.line}"
        if change.style == "rebase":
            tip, tree = line.tip, line.tree
            for commit in change.commits:
                tree = apply(tree, self._own_edits(commit))
                web = PEOPLE[change.landed_by].as_web().signature(change.landed_at)
                tip = self._write(ref, tree, commit, [tip], committer=web)
            return tip
        author = PEOPLE[change.landed_by] if change.style != "squash" else PEOPLE[change.commits[0].who]
        committer = PEOPLE[change.landed_by].as_web()
        parents = [line.tip] if change.style == "squash" else [line.tip, head]
        message, tree = self._resolve(_message(change)), apply(line.tree, edits)
        # GitHub gives a squash the moment of landing twice, in the zone of whoever landed it.
        signed = replace(author, offset_minutes=committer.offset_minutes)
        return self.importer.commit(
            ref, tree, message, parents, signed.signature(change.landed_at), committer.signature(change.landed_at)
        )

    def _write(self, ref: str, tree: Tree, commit: Commit, parents: list[str], committer: bytes | None = None) -> str:
        signature = PEOPLE[commit.who].signature(commit.at)
        known = [parent for parent in parents if parent]
        return self.importer.commit(ref, tree, self._resolve(commit.message), known, signature, committer or signature)

    def _own_edits(self, commit: Commit) -> list[Edit]:
        edits: list[Edit] = []
        for edit in commit.edits:
            if edit.verb == "undo":
                edits.extend(inverse(self._edits[edit.path]))
            elif edit.verb == "redo":
                edits.extend(self._edits[edit.path])
            else:
                edits.append(edit)
        return edits

    def _resolve(self, message: str) -> str:
        return resolve(message, self.ids)


def resolve(message: str, ids: Mapping[str, str]) -> str:
    """`message` with `{sha:KEY}` and `{sha7:KEY}` spelt out. Raises `StoryError` for a key that is not told yet."""

    def spelt(found: re.Match[str]) -> str:
        if found[2] not in ids:
            raise StoryError(f"{found[0]} names a change that has not happened yet")
        return ids[found[2]][: int(found[1] or 40)]

    return _REFERENCE.sub(spelt, message)


def _message(change: Change) -> str:
    """The message under which a pull request lands, as the service or the merge bot would write it."""
    number, login = change.key, PEOPLE[change.commits[0].who].login if change.commits else "tidemark"
    if change.style == "squash":
        own = [commit.message for commit in change.commits]
        listed = "\n\n".join("* " + message for message in own) if len(own) > 1 else own[0].partition("\n")[2].strip()
        return f"{change.title} (#{number})\n\n{change.body or listed}".rstrip()
    if change.style == "bors":
        whom = PEOPLE[change.landed_by].login
        body = f"{change.body}\n\n" if change.body else ""
        author = PEOPLE[change.commits[0].who]
        by = f"Co-authored-by: {author.name} <{author.email}>"
        return f"Merge #{number}\n\n{number}: {change.title} r={whom} a={login}\n\n{body}{by}"
    owner = "tidemark" if change.style == "rollup" else login
    return f"Merge pull request #{number} from {owner}/{change.branch}\n\n{change.title}\n\n{change.body}".rstrip()
