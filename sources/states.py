"""States of a repository as files, read by git plumbing alone: no checkout, no filters, no hooks.

`Correction` is what an attempt did to the tests: its own test files, to be put on other states.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.records import AttemptRef
from scaffolds.environments.repository import SourceFile
from sources.git import Git

_TREE_MODE, _MODULE_MODE = "40000", "160000"
_FOLDERS = frozenset({"test", "tests", "testing"})
_PYTHON_TEST = re.compile(r"(test_.*|.*_test|tests?)\.py\Z")
_OTHER_TEST = re.compile(
    r"(.*[._-](test|spec)s?\.[A-Za-z0-9]+|(test|spec)_.*\.[A-Za-z0-9]+|.*(Test|Tests|Spec)\.[A-Za-z]+)\Z"
)
_SOURCE = frozenset(
    {".c", ".cc", ".cpp", ".cs", ".ex", ".go", ".java", ".js", ".jsx", ".kt", ".php", ".rb", ".rs", ".scala", ".swift"}
    | {".ts", ".tsx"}
)


class StateError(ValueError):
    """A state that cannot be laid out; `reason` is a reason code."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """The test files that an attempt added or changed (`files`), removed (`removed`), and which of them are run.

    `before` is the tree it started from and `after` the one it left; `foreign` tells of test files in languages other
    than Python.
    """

    before: str
    after: str
    files: tuple[SourceFile, ...]
    removed: tuple[str, ...]
    targets: tuple[str, ...]
    foreign: bool

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the test files."""
        form = hashlib.sha256()
        for file in self.files:
            form.update(f"{file.path}\0{file.mode}\0{len(file.data)}\0".encode("utf-8", "surrogateescape") + file.data)
        form.update("\0".join(self.removed).encode("utf-8", "surrogateescape"))
        return form.hexdigest()


def own_commits(git: Git, attempt: AttemptRef) -> tuple[str, ...]:
    """The attempt's commits, without the one that landed the whole pull request where it is but a push of it."""
    commits = attempt.commits
    if "/push:" in attempt.attempt_id and len(commits) > 1 and git.commit(commits[-1]).parents[:1] != commits[-2:-1]:
        return commits[:-1]
    return commits


def tree_before(git: Git, commits: Sequence[str]) -> str:
    """The tree that the attempt with these commits (oldest first, the landing one last) started from.

    A merge commit is held against its first parent, so that what others landed meanwhile is not taken for its own.
    Raises `StateError` for an attempt without commits or without a parent.
    """
    if not commits:
        raise StateError("no_commits", "the attempt names no commits")
    landing = git.commit(commits[-1])
    parents = landing.parents if len(landing.parents) > 1 else git.commit(commits[0]).parents
    if not parents:
        raise StateError("no_parent", f"commit {commits[0]} has no parent to compare with")
    return git.tree_of(parents[0])


def correction(git: Git, commits: Sequence[str]) -> Correction:
    """What the attempt with these commits (oldest first, the landing one last) did to the tests.

    Raises `StateError` for an attempt without commits or without a parent.
    """
    before = tree_before(git, commits)
    landing = git.commit(commits[-1])
    files, removed, targets, foreign = [], [], [], False
    for change in git.changes(before, landing.tree):
        if change.old_path != change.new_path and _is_test(change.old_path) and change.status == "R":
            removed.append(change.old_path)
        path = change.new_path
        if not _is_test(path) or _MODULE_MODE in (change.old_mode, change.new_mode):
            continue
        if change.status == "D":
            removed.append(path)
            continue
        files.append(SourceFile(path=path, mode=change.new_mode, data=git.object(change.new_blob)))
        name = PurePosixPath(path)
        foreign = foreign or name.suffix in _SOURCE
        if _PYTHON_TEST.match(name.name):
            targets.append(path)
    return Correction(
        before=before,
        after=landing.tree,
        files=tuple(files),
        removed=tuple(removed),
        targets=tuple(sorted(targets)),
        foreign=foreign,
    )


def state(git: Git, tree: str, tests: Correction, max_bytes: int) -> list[SourceFile]:
    """The files of a tree with the correction's tests put in their places.

    Raises `StateError` for a tree of more than `max_bytes`.
    """
    replaced = {file.path for file in tests.files} | set(tests.removed)
    found, total = list(tests.files), 0
    for path, mode, blob in _walk(git, tree, ""):
        if path in replaced:
            continue
        data = git.object(blob)
        total += len(data)
        if total > max_bytes:
            raise StateError("tree_too_large", f"tree {tree} has more than {max_bytes} bytes; raise file_bytes")
        found.append(SourceFile(path=path, mode=mode, data=data))
    return found


def _is_test(path: str) -> bool:
    place = PurePosixPath(path)
    if any(part in _FOLDERS for part in place.parts[:-1]):
        return True
    return place.name == "conftest.py" or bool(_PYTHON_TEST.match(place.name) or _OTHER_TEST.match(place.name))


def _walk(git: Git, tree: str, prefix: str) -> Iterator[tuple[str, str, str]]:
    """(path, mode, blob) of all files below a tree, submodules left out."""
    data, at = git.object(tree, "tree"), 0
    while at < len(data):
        space, nul = data.index(b" ", at), data.index(b"\0", at)
        mode = data[at:space].decode("ascii")
        path = prefix + data[space + 1 : nul].decode("utf-8", "surrogateescape")
        oid = data[nul + 1 : nul + 21].hex()
        at = nul + 21
        if mode == _TREE_MODE:
            yield from _walk(git, oid, f"{path}/")
        elif mode != _MODULE_MODE:
            yield path, mode, oid
