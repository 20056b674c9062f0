"""The commit graph in little memory: commits as small numbers, and what their subjects say of pull requests."""

from __future__ import annotations

import hashlib
import re
from array import array

from sources.git_objects import RawCommit

MERGED = re.compile(r"Merge pull request #(\d+)\b|Auto merge of #(\d+)\b|Merge PR #(\d+)\b|Merge #(\d+)\b")
"""Subjects of merge commits that land a pull request: GitHub's button, bors, and older robots."""

SQUASHED = re.compile(r"\((?:#|GH-)(\d+)\)\s*\Z")
"""The end of a subject that the squash button writes."""


class Graph:
    """Commits as small numbers: parents, times, and what the subject says, in arrays."""

    def __init__(self) -> None:
        self.number_of: dict[bytes, int] = {}
        self.oids: list[bytes] = []
        self.parents: list[tuple[int, ...]] = []
        self.committed_at = array("q")
        self.request = array("q")  # number of the pull request a subject names: merge > 0, squash < 0, none 0
        self.likeness: list[bytes] = []  # (author, author time, subject), what a rebase keeps

    def add(self, commit: RawCommit) -> int:
        """Take in one commit; its number."""
        number = self._number(commit.oid)
        self.parents[number] = tuple(self._number(parent) for parent in commit.parents)
        self.committed_at[number] = commit.committed_at
        subject = commit.message.lstrip("\n").partition("\n")[0].strip()
        likeness = f"{commit.author}\0{commit.authored_at}\0{subject}".encode("utf-8", "replace")
        self.likeness[number] = hashlib.blake2b(likeness, digest_size=8).digest()
        if len(commit.parents) > 1:
            if found := MERGED.match(subject):
                self.request[number] = int(next(filter(None, found.groups())))
        elif found := SQUASHED.search(subject):
            self.request[number] = -int(found[1])
        return number

    def _number(self, oid: str) -> int:
        key = bytes.fromhex(oid)
        if key not in self.number_of:
            self.number_of[key] = len(self.oids)
            self.oids.append(key)
            self.parents.append(())
            self.committed_at.append(0)
            self.request.append(0)
            self.likeness.append(b"")
        return self.number_of[key]

    def hex(self, number: int) -> str:
        """The id of a commit as 40 hex digits."""
        return self.oids[number].hex()
