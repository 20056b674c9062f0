"""Builds real Git repositories fast: every commit goes through one `git fast-import`, with the dates a test wants."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from sources.git_process import environment

START = 1_600_000_000
DAY = 86_400
HARMLESS = {
    **environment(),
    "GIT_ALLOW_PROTOCOL": "file",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
}

Content = str | bytes | tuple[str, bytes | str] | None
"""Text or bytes of a plain file, (mode, content), or None to remove it."""


def git(path: Path, *arguments: str) -> str:
    """The output of a git command on a repository of a test."""
    argv = ["git", "-C", str(path), "-c", "safe.directory=*", *arguments]
    return subprocess.run(argv, env=HARMLESS, check=True, capture_output=True).stdout.decode()


class GitRepo:
    """A bare repository in the making. Days count from a fixed start; every commit is a little later than the last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        git(path, "init", "-q", "--bare", "-b", "main", ".")
        self._process = subprocess.Popen(
            ["git", "-C", str(path), "fast-import", "--quiet", "--force", "--date-format=raw"],
            env={**os.environ, **HARMLESS},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in: IO[bytes] = self._process.stdin
        self._out: IO[bytes] = self._process.stdout
        self._marks = 0
        self._mark: dict[str, str] = {}
        self.files: dict[str, dict[str, tuple[str, bytes]]] = {}
        self.tips: dict[str, str] = {}
        self.day = 0.0
        self.finished = False

    def commit(
        self,
        message: str,
        files: Mapping[str, Content] | None = None,
        *,
        on: str = "main",
        parent: str | None = None,
        merges: Sequence[str] = (),
        day: float | None = None,
        authored: float | None = None,
        author: str = "Ada",
    ) -> str:
        """Commit `files` (changes to the parent's tree) on a branch; its id. `parent` starts or moves the branch."""
        self.day = self.day + 0.01 if day is None else day
        parent = parent or self.tips.get(on)
        tree = dict(self.files.get(parent or "", {}))
        self._marks += 1
        made = int(START + (self.day if authored is None else authored) * DAY)
        when = int(START + self.day * DAY)
        person = f"{author} <{author.split()[0].lower()}@example.org>"
        self._send(f"commit refs/heads/{on}\nmark :{self._marks}\n")
        self._send(f"author {person} {made} +0000\ncommitter {person} {when} +0000\n")
        self._data(message.encode("utf-8", "surrogateescape"))
        if parent:
            self._send(f"from {self._mark[parent]}\n")
        for other in merges:
            self._send(f"merge {self._mark[other]}\n")
        for name, content in (files or {}).items():
            quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
            if content is None:
                tree.pop(name, None)
                self._send(f"D {quoted}\n")
                continue
            mode, data = content if isinstance(content, tuple) else ("100644", content)
            data = data.encode() if isinstance(data, str) else data
            tree[name] = (mode, data)
            if mode == "160000":
                self._send(f"M 160000 {data.decode()} {quoted}\n")
            else:
                self._send(f"M {mode} inline {quoted}\n")
                self._data(data)
        self._send(f"\nget-mark :{self._marks}\n")
        self._in.flush()
        oid = self._out.readline().decode().strip()
        assert len(oid) == 40, oid
        self.files[oid], self.tips[on], self._mark[oid] = tree, oid, f":{self._marks}"
        return oid

    def merge(
        self, message: str, tip: str, *, on: str = "main", day: float | None = None, base: str | None = None
    ) -> str:
        """Merge `tip` into a branch by a merge commit, taking over what changed since `base` (default: the branch)."""
        before, after = self.files[base or self.tips[on]], self.files[tip]
        changed: dict[str, Content] = {n: v for n, v in after.items() if before.get(n) != v}
        changed |= {n: None for n in before if n not in after}
        return self.commit(message, changed, on=on, merges=[tip], day=day, author="Merger")

    def pull(self, number: int, oid: str) -> str:
        """Point `refs/pull/N/head` at a commit, as GitHub does."""
        self._send(f"reset refs/pull/{number}/head\nfrom {self._mark[oid]}\n\n")
        return oid

    def merged(
        self, number: int, title: str, changes: Sequence[tuple[str, Mapping[str, Content]]], body: str = ""
    ) -> str:
        """A pull request with own commits, landed by GitHub's merge button; the merge commit's id."""
        base = self.tips["main"]
        tip = base
        for message, files in changes:
            tip = self.commit(message, files, on=f"pr-{number}", parent=tip)
        self.pull(number, tip)
        text = f"Merge pull request #{number} from ada/branch-{number}\n\n{title}" + (f"\n\n{body}" if body else "")
        oid = self.merge(text, tip, base=base)
        self._send(f"reset refs/heads/pr-{number}\nfrom {'0' * 40}\n\n")
        return oid

    def squashed(self, number: int, title: str, files: Mapping[str, Content], body: str = "", **options: float) -> str:
        """A pull request landed by the squash button; the commit's id."""
        base = self.tips["main"]
        tip = self.commit(title, files, on=f"pr-{number}", parent=base, **options)
        self.pull(number, tip)
        self._send(f"reset refs/heads/pr-{number}\nfrom {'0' * 40}\n\n")
        return self.commit(f"{title} (#{number})" + (f"\n\n{body}" if body else ""), files)

    def done(self) -> Path:
        """Finish writing; the repository's path."""
        self.finished = True
        self._in.close()
        self._out.close()
        assert self._process.wait() == 0
        return self.path

    def _send(self, text: str) -> None:
        self._in.write(text.encode("utf-8", "surrogateescape"))

    def _data(self, data: bytes) -> None:
        self._in.write(b"data %d\n" % len(data) + data + b"\n")


def text(*lines: str) -> str:
    """Lines as a file's content."""
    return "".join(f"{line}\n" for line in lines)


def body(size: int = 12, **changed: str) -> str:
    """A file of numbered lines, some of them changed (`line3="…"`)."""
    return text(*(changed.get(f"line{n}", f"line {n} of the file") for n in range(size)))
