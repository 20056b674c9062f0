"""A conversation with `git fast-import`: trees and messages in, commit ids out, nothing of the user's configuration."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from sources.sample_history.people import Person
from sources.sample_history.tree import Tree

_HERMETIC = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def hermetic_environment(home: Path) -> dict[str, str]:
    """An environment in which Git sees neither system nor user configuration; `home` stands in for the user's."""
    fixed = {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "LC_ALL": "C", "TZ": "UTC", "GIT_TERMINAL_PROMPT": "0"}
    return {"PATH": os.environ.get("PATH", os.defpath), **fixed, **_HERMETIC}


class Importer:
    """Writes commits into a fresh bare repository. A context manager; leaving it ends the conversation."""

    def __init__(self, repository: Path) -> None:
        """Make the repository. Raises `FileExistsError` if something is there, `RuntimeError` if Git refuses."""
        if repository.exists() and (not repository.is_dir() or any(repository.iterdir())):
            raise FileExistsError(f"{repository} exists already; name a folder that is empty or not there yet")
        repository.mkdir(parents=True, exist_ok=True)
        self.repository = repository
        self._environment = hermetic_environment(repository)
        self._blobs: dict[bytes, int] = {}
        # Commits are named by mark: until the conversation ends their objects are not yet in the repository.
        self._commits: dict[str, int] = {}
        self._marks = 0
        init = ["git", "init", "--bare", "--quiet", "--template=", "--object-format=sha1", "--initial-branch=main", "."]
        made = subprocess.run(init, cwd=repository, env=self._environment, capture_output=True, check=False)
        if made.returncode:
            raise RuntimeError(f"git init in {repository} failed: {made.stderr.decode('utf-8', 'replace').strip()}")
        self._process = subprocess.Popen(
            ["git", "fast-import", "--quiet", "--date-format=raw"],
            cwd=repository,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def commit(self, ref: str, tree: Tree, message: str, parents: list[str], author: bytes, committer: bytes) -> str:
        """Write a commit of `tree` and let `ref` point at it; the commit's id. The first parent is `parents[0]`."""
        marks = {path: self._blob(content) for path, (content, _) in tree.items()}
        self._marks += 1
        mark = self._marks
        self._send(f"commit {ref}\nmark :{mark}\n".encode())
        self._send(b"author " + author + b"\ncommitter " + committer + b"\n")
        self._data(message.encode() + b"\n")
        for index, parent in enumerate(parents):
            self._send(f"{'merge' if index else 'from'} :{self._commits[parent]}\n".encode())
        self._send(b"deleteall\n")
        for path in sorted(tree):
            mode = "100755" if tree[path][1] else "100644"
            self._send(f"M {mode} :{marks[path]} {path}\n".encode())
        self._send(f"\nget-mark :{mark}\n".encode())
        stdin, stdout = self._pipes()
        stdin.flush()
        answer = stdout.readline().decode().strip()
        if len(answer) != 40:
            raise RuntimeError(f"git fast-import gave no id for the commit {message.splitlines()[0]!r}")
        self._commits[answer] = mark
        return answer

    def point(self, ref: str, commit: str) -> None:
        """Let `ref` point at a commit written before."""
        self._send(f"reset {ref}\nfrom :{self._commits[commit]}\n\n".encode())

    def tag(self, name: str, commit: str, message: str, tagger: Person, at: str) -> None:
        """Write an annotated tag."""
        self._send(f"tag {name}\nfrom :{self._commits[commit]}\ntagger ".encode() + tagger.signature(at) + b"\n")
        self._data(message.encode() + b"\n")

    def _blob(self, content: bytes) -> int:
        if content not in self._blobs:
            self._marks += 1
            self._blobs[content] = self._marks
            self._send(f"blob\nmark :{self._marks}\n".encode())
            self._data(content)
        return self._blobs[content]

    def _data(self, content: bytes) -> None:
        self._send(f"data {len(content)}\n".encode() + content + b"\n")

    def _send(self, line: bytes) -> None:
        self._pipes()[0].write(line)

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the conversation with git fast-import has no pipes")
        return self._process.stdin, self._process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stdin, stdout = self._pipes()
        with suppress(BrokenPipeError):
            stdin.close()
        stdout.close()
        code = self._process.wait()
        if code and (error is None or isinstance(error, BrokenPipeError)):
            raise RuntimeError(f"git fast-import failed with exit code {code} in {self.repository}") from error
