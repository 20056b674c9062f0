"""Runs git as a child process: hardened arguments and environment, streams, checked exit statuses.

Configuration of the machine and of the user is ignored; hooks, external diffs and every transport are off.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

OPTIONS = (
    "--no-replace-objects",
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "core.quotePath=false",
    "-c", "core.attributesFile=/dev/null",
    "-c", "diff.external=",
    "-c", "safe.directory=*",
    "-c", "gc.auto=0",
)  # fmt: skip


class GitError(RuntimeError):
    """Git failed, or the clone is damaged or not whole; the message says what to do about it."""


def environment() -> dict[str, str]:
    """The environment of every git process: nothing of the user's but the path, no prompts, no transports."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "LC_ALL": "C",
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
    }


def argv(path: str, arguments: Sequence[str]) -> list[str]:
    """The argument list of a git command on the clone at `path`."""
    return ["git", "-C", path, *OPTIONS, *arguments]


def failure_of(path: str, arguments: Sequence[str], status: int, stderr: bytes) -> GitError:
    """The error to raise for a command that ended with `status`, in git's own words."""
    words = stderr.decode("utf-8", "replace").strip()[-500:] or "no message"
    return GitError(
        f"git {arguments[0]} failed on {path} with exit status {status}: {words}; "
        "if objects are missing, run `git fsck` or clone again without --depth and --filter"
    )


@dataclass(slots=True)
class Streams:
    """The output of a running process."""

    stdout: IO[bytes]


@contextlib.contextmanager
def stream(path: str, arguments: Sequence[str], given: bytes | IO[bytes]) -> Iterator[Streams]:
    """A git command whose output is streamed; its exit status is checked once the output is read to the end."""
    with contextlib.ExitStack() as stack:
        if isinstance(given, bytes):
            source: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
            source.write(given)
            source.seek(0)
        else:
            source = given
        errors = stack.enter_context(tempfile.TemporaryFile())
        process = subprocess.Popen(
            argv(path, arguments), env=environment(), stdin=source, stdout=subprocess.PIPE, stderr=errors
        )
        if process.stdout is None:
            raise GitError(f"git {arguments[0]} gave no output stream")
        try:
            yield Streams(process.stdout)
        except BaseException:
            process.kill()
            raise
        finally:
            process.stdout.close()
            status = process.wait()
        if status:
            errors.seek(0)
            raise failure_of(path, arguments, status, errors.read())


class Server:
    """A long-lived git process that answers requests on its standard input."""

    def __init__(self, path: str, arguments: Sequence[str]) -> None:
        self._path, self._arguments = path, arguments
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(
            argv(path, arguments),
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise GitError(f"git {arguments[0]} gave no streams")
        self._stdin, self.stdout = self._process.stdin, self._process.stdout

    def send(self, request: bytes) -> None:
        """Write a request; raises `GitError` if the process is gone."""
        try:
            self._stdin.write(request)
            self._stdin.flush()
        except BrokenPipeError as error:
            raise self.failure() from error

    def failure(self) -> GitError:
        """The error to raise when the process ended before it answered."""
        status = self._process.wait()
        self._errors.seek(0)
        return failure_of(self._path, self._arguments, status, self._errors.read())

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        self.stdout.close()
        self._process.wait()
        self._errors.close()
