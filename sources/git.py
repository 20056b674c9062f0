"""Reads a local Git repository by streaming from git itself: nothing in it is run, nothing is fetched behind our back.

Configuration of the machine and of the user is ignored, hooks, external diffs and text conversions are off, every
exit status is checked, and object contents are read length-prefixed, so that no byte in a file can be taken for a mark.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from sources.git_objects import REMEDY, Change, RawCommit, parse_commit, read_object, unquoted
from sources.git_process import OPTIONS, GitError, Server, argv, environment, failure_of, stream

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""The tree without files that every Git repository knows (SHA-1 object format)."""

_DIFF = ("--no-ext-diff", "--no-textconv", "--no-color", "--root", "-r")
_RENAMES = ("-M", "-l400")
_MARK = b"#end of request\n"
_OID = re.compile(r"[0-9a-f]{40}\Z")
_URL = re.compile(r"(https?|ssh|git|file)://|[\w.-]+@[\w.-]+:")


class Git:
    """A bare or ordinary clone on the local disk. Picklable; processes are started on first use.

    Use as a context manager, or call `close`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        if not Path(self.path).is_dir():
            raise GitError(f"repository {self.path!r} is not a folder; give a local clone, or a URL to clone from")
        self._objects: Server | None = None
        self._sizes: Server | None = None
        self._raw: Server | None = None
        self._differ: Server | None = None

    def __reduce__(self) -> tuple[type[Git], tuple[str]]:
        return (Git, (self.path,))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the long-lived processes."""
        for server in (self._objects, self._sizes, self._raw, self._differ):
            if server is not None:
                server.close()
        self._objects = self._sizes = self._raw = self._differ = None

    def run(self, *arguments: str, ok: Sequence[int] = (0,)) -> bytes:
        """The output of one git command; raises `GitError` with git's own words unless its exit status is in `ok`."""
        done = subprocess.run(
            argv(self.path, arguments), env=environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if done.returncode not in ok:
            raise failure_of(self.path, arguments, done.returncode, done.stderr)
        return done.stdout

    def check_whole(self) -> None:
        """Raise `GitError` for a shallow or partial clone, whose history or files are not all there."""
        answers = self.run("rev-parse", "--is-shallow-repository").decode().split()
        if answers == ["true"]:
            raise GitError(f"{self.path} is a shallow clone; run `git fetch --unshallow` in it, or clone it whole")
        partial = self.run("config", "--local", "--get-regexp", r"(promisor|partialclone)", ok=(0, 1)).decode().strip()
        if partial:
            raise GitError(f"{self.path} is a partial clone ({partial.splitlines()[0]}); clone it without --filter")

    def head(self, branch: str | None = None) -> str:
        """The newest commit of `branch`, or of the branch the clone's HEAD names."""
        name = f"refs/heads/{branch}" if branch else "HEAD"
        found = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", ok=(0, 1, 128))
        oid = found.decode().strip()
        if not _OID.match(oid):
            raise GitError(f"{self.path} has no commit at {name}; name a branch it has in `branch`")
        return oid

    def refs(self, *prefixes: str) -> dict[str, str]:
        """Names and commits of the refs below `prefixes` (`refs/pull`), sorted by name."""
        form = "%(objectname) %(objecttype) %(*objectname) %(*objecttype) %(refname)"
        found = {}
        listing = self.run("for-each-ref", f"--format={form}", "--", *prefixes)
        for line in listing.decode("utf-8", "surrogateescape").splitlines():
            oid, kind, peeled, peeled_kind, name = line.split(" ", 4)
            if kind == "commit":
                found[name] = oid
            elif peeled_kind == "commit":
                found[name] = peeled
        return found

    def commits(self, tips: Iterable[str], hidden: Iterable[str] = ()) -> Iterator[RawCommit]:
        """All commits reachable from `tips` and not from `hidden`, newest first, streamed in flat memory.

        Raises `GitError` when an object is missing or when fewer commits came than git counts.
        """
        revisions = "".join(f"{oid}\n" for oid in tips) + "".join(f"^{oid}\n" for oid in hidden)
        with (
            stream(self.path, ("rev-list", "--stdin"), revisions.encode()) as listing,
            stream(self.path, ("cat-file", "--batch"), listing.stdout) as objects,
        ):
            seen = 0
            while (found := read_object(objects.stdout, self.path)) is not None:
                oid, kind, data = found
                if kind != "commit":
                    raise GitError(f"{self.path}: {oid} is a {kind} where a commit was expected; run `git fsck`")
                seen += 1
                yield parse_commit(oid, data)
        with stream(self.path, ("rev-list", "--count", "--stdin"), revisions.encode()) as counting:
            expected = int(counting.stdout.read())
        if seen != expected:
            raise GitError(f"{self.path}: {seen} commits came where git counts {expected}; run `git fsck`, clone again")

    def read_commits(self, oids: Iterable[str]) -> Iterator[RawCommit]:
        """The commits named, in order, streamed."""
        given = "".join(f"{oid}\n" for oid in oids).encode()
        with stream(self.path, ("cat-file", "--batch"), given) as objects:
            while (found := read_object(objects.stdout, self.path)) is not None:
                yield parse_commit(found[0], found[2])

    def commit(self, oid: str) -> RawCommit:
        """One commit."""
        return parse_commit(oid, self.object(oid, "commit"))

    def object(self, name: str, kind: str = "blob") -> bytes:
        """The content of one object; `name` is 40 hex digits. Raises `GitError` if it is missing or of another kind."""
        return next(self.objects([name], kind))

    def objects(self, names: Sequence[str], kind: str = "blob") -> Iterator[bytes]:
        """The contents of objects, in order; asked for together, so that waiting is for one answer, not for each."""
        if self._objects is None:
            self._objects = Server(self.path, ("cat-file", "--batch"))
        for chunk in _chunks(names):
            self._objects.send(chunk)
            for _ in range(chunk.count(b"\n")):
                found = read_object(self._objects.stdout, self.path)
                if found is None:
                    raise self._objects.failure()
                if found[1] != kind:
                    raise GitError(f"{self.path}: {found[0]} is a {found[1]} where a {kind} was expected; {REMEDY}")
                yield found[2]

    def tree_of(self, commit: str) -> str:
        """The tree of a commit."""
        return self.commit(commit).tree

    def root_files(self, commit: str) -> dict[str, str]:
        """Names and blobs of the plain files at the top of a commit's tree."""
        data, found, at = self.object(self.tree_of(commit), "tree"), {}, 0
        while at < len(data):
            space, nul = data.index(b" ", at), data.index(b"\0", at)
            if data[at:space].startswith(b"100"):
                found[data[space + 1 : nul].decode("utf-8", "replace")] = data[nul + 1 : nul + 21].hex()
            at = nul + 21
        return found

    def sizes(self, blobs: Sequence[str]) -> list[int]:
        """The lengths of blobs in bytes, without reading them."""
        if self._sizes is None:
            self._sizes = Server(self.path, ("cat-file", "--batch-check"))
        found = []
        for chunk in _chunks(blobs):
            self._sizes.send(chunk)
            for _ in range(chunk.count(b"\n")):
                parts = self._sizes.stdout.readline().decode("ascii", "replace").split()
                if not parts:
                    raise self._sizes.failure()
                if len(parts) != 3 or not parts[2].isdigit():
                    raise GitError(f"{self.path}: object {' '.join(parts)}; {REMEDY}")
                found.append(int(parts[2]))
        return found

    def changes(self, before: str, after: str) -> list[Change]:
        """The files that differ between two trees, renames followed; blobs are named, not read into memory."""
        if self._raw is None:
            self._raw = Server(self.path, ("diff-tree", "--stdin", "--raw", "--no-abbrev", *_DIFF, *_RENAMES))
        found = []
        for line in self._between(self._raw, before, after):
            modes, *paths = line.rstrip(b"\n").split(b"\t")
            old_mode, new_mode, old, new, status = modes.decode("ascii").lstrip(":").split(" ")
            found.append(
                Change(
                    status=status[0],
                    old_mode=old_mode,
                    new_mode=new_mode,
                    old_blob=old,
                    new_blob=new,
                    old_path=unquoted(paths[0]),
                    new_path=unquoted(paths[-1]),
                )
            )
        return found

    def patch(self, before: str, after: str) -> bytes:
        """The unified diff between two trees, renames followed, every file taken for text."""
        if self._differ is None:
            form = ("-p", "-U3", "--text", "--src-prefix=a/", "--dst-prefix=b/", "--submodule=short")
            method = ("--diff-algorithm=myers", "--no-indent-heuristic")
            self._differ = Server(self.path, ("diff-tree", "--stdin", *_DIFF, *_RENAMES, *form, *method))
        return b"".join(self._between(self._differ, before, after))

    def patch_of(self, before: str, after: str, paths: Sequence[str]) -> bytes:
        """The unified diff between two commits of the named files alone, renames not followed."""
        arguments = ("diff-tree", "-p", "-U3", "--no-renames", *_DIFF, before, after, "--", *paths)
        return self.run("--literal-pathspecs", *arguments)

    def _between(self, server: Server, before: str, after: str) -> Iterator[bytes]:
        header = f"{before} {after}\n".encode()
        server.send(header + _MARK)
        first = server.stdout.readline()
        for line in server.stdout:
            # a line of a patch starts with a blank, +, -, \ or a word of git's own, so none of them can be the mark
            if line == _MARK:
                return
            yield line
        raise server.failure() if first in (header, b"") else GitError(f"{self.path}: no trees {before} {after}")

    def changed_files(self, commits: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
        """(commit, paths it changed against its first parent) for each commit that changed any, streamed."""
        given = "".join(f"{oid}\n" for oid in commits).encode()
        arguments = ("diff-tree", "--stdin", "-z", "--raw", "--no-renames", "-m", "--first-parent", *_DIFF)
        with stream(self.path, arguments, given) as process:
            commit, paths = "", []
            fields = _nul_terminated(process.stdout)
            for field in fields:
                if field.startswith(b":"):
                    paths.append(next(fields).decode("utf-8", "replace"))
                    continue
                if commit:
                    yield commit, paths
                commit, paths = field.decode("ascii"), []
            if commit:
                yield commit, paths

    def changed_lines(self, commits: Iterable[str]) -> Iterator[tuple[str, str, bytes]]:
        """(commit, path, line with its sign) for each line commits added or removed against their first parent.

        Streamed; a commit without changed lines of text does not appear. Renames are not followed.
        """
        given = "".join(f"{oid}\n" for oid in commits).encode()
        form = ("-p", "-U0", "--no-renames", "--src-prefix=a/", "--dst-prefix=b/", "-m", "--first-parent")
        with stream(self.path, ("diff-tree", "--stdin", *_DIFF, *form), given) as process:
            commit, old, new, left = "", "", "", 0
            for line in process.stdout:
                sign = line[:1]
                if left and sign in b"+-":
                    left -= 1
                    yield commit, new if sign == b"+" else old, line
                elif sign == b"@":
                    counts = re.match(rb"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@", line)
                    left = sum(int(count) if count is not None else 1 for count in counts.groups()) if counts else 0
                elif line.startswith(b"--- "):
                    old = unquoted(line[4:].rstrip(b"\n").removesuffix(b"\t"))[2:]
                elif line.startswith(b"+++ "):
                    new = unquoted(line[4:].rstrip(b"\n").removesuffix(b"\t"))[2:]
                elif _OID.match(line[:-1].decode("ascii", "replace")):
                    commit = line[:-1].decode("ascii")

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether `older` is reachable from `newer`."""
        arguments = ("merge-base", "--is-ancestor", "--", older, newer)
        done = subprocess.run(
            argv(self.path, arguments), env=environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if done.returncode not in (0, 1):
            raise failure_of(self.path, arguments, done.returncode, done.stderr)
        return done.returncode == 0


def local_clone(repo: str, cache: str | os.PathLike[str]) -> str:
    """The folder of a clone of `repo`: a path is used where it is, a URL is mirrored into the folder `cache`.

    A mirror that is there already is used as it is, so that a run can be repeated; delete it to fetch anew.
    """
    if not _URL.match(repo):
        return repo
    target = Path(cache) / (re.sub(r"[^A-Za-z0-9.]+", "-", repo.split("://")[-1]).strip("-") + ".git")
    if target.exists():
        return str(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = tempfile.mkdtemp(prefix="clone-", dir=target.parent)
    arguments = ("clone", "--mirror", "--quiet", "--end-of-options", repo, temporary)
    allowed = {**environment(), "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file"}
    done = subprocess.run(
        ["git", *OPTIONS, *arguments], env=allowed, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode:
        shutil.rmtree(temporary, ignore_errors=True)
        raise failure_of(repo, arguments, done.returncode, done.stderr)
    Path(temporary).rename(target)
    return str(target)


def _chunks(names: Sequence[str]) -> Iterator[bytes]:
    """Requests small enough for a pipe to take at once, so that neither side waits for the other to read."""
    for name in names:
        if not _OID.match(name):
            raise GitError(f"{name!r} is not an object name of 40 hex digits")
    for start in range(0, len(names), 256):
        yield "".join(f"{name}\n" for name in names[start : start + 256]).encode()


def _nul_terminated(stream: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while chunk := stream.read(1 << 16):
        parts = (rest + chunk).split(b"\0")
        rest = parts.pop()
        yield from parts
