"""Runs without isolation, for who knows what they run: NOT a sandbox.

A command can read and change everything that this user can, reach the network and leave processes behind that changed
their session. Only the clear environment, the limits of a single process and the wall clock hold. Nothing falls back to
this; it has to be asked for by name.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from scaffolds.protocols import Execution, InfrastructureError, Limits
from scaffolds.sandboxes.bubblewrap import ENVIRONMENT
from scaffolds.sandboxes.diagnosis import tool
from scaffolds.sandboxes.folder import Folder
from scaffolds.sandboxes.supervise import cpu_limit, rlimits, watch


class UnsafeLocal:
    """A temporary folder on the host and plain runs in it. `read_only` is accepted and means nothing here."""

    def __init__(self, *, limits: Limits | None = None, read_only: Sequence[str] = ()) -> None:
        self._limits = limits or Limits()
        self._prlimit = tool("prlimit")
        self.folder = tempfile.mkdtemp(prefix="unsafe-local-")
        self._fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._folder = Folder(self._fd)
        self._closed = False

    def exec(self, argv: Sequence[str], *, limits: Limits | None = None) -> Execution:
        """Run `argv` in the work folder, in the same clear environment as in a sandbox."""
        if not argv or isinstance(argv, str):
            raise ValueError(f"argv is {argv!r}; give the command as a list of strings")
        limits = limits or self._limits
        process = subprocess.Popen(
            [*rlimits(self._prlimit, limits), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=dict(ENVIRONMENT),
            start_new_session=True,
        )
        try:
            watched = watch(process, limits, lambda: _kill(process.pid))
        finally:
            _kill(process.pid)
        if not watched.drained:
            raise InfrastructureError("a run of unsafe_local left a process behind that holds its output open; end it")
        exit_code = process.returncode
        return Execution(
            exit_code=exit_code,
            output=watched.output,
            seconds=watched.seconds,
            limit=watched.limit or cpu_limit(exit_code),
            truncated_bytes=watched.truncated_bytes,
        )

    def read(self, path: str) -> bytes:
        """The bytes of a plain file below the work folder; `ValueError` for a path or link that leads outside."""
        return self._folder.read(path, self._limits.file_bytes)

    def write(self, path: str, data: bytes) -> None:
        """Write a plain file below the work folder, making folders; `ValueError` for a path that leads outside."""
        self._folder.write(path, data)

    def close(self) -> None:
        """Remove the work folder. May be called twice."""
        if not self._closed:
            self._closed = True
            os.close(self._fd)
            shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
