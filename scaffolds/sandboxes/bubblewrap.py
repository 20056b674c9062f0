"""The sandbox that isolates: two layers of bubblewrap around every run.

The outer layer, the *view*, lives as long as the sandbox: a mount namespace that holds nothing of the host but
read-only system folders and the Python installation, and one tmpfs of a fixed size. Each run enters that view, gives up
root for a user of its own (a process limit does not bind root) and starts the inner layer: new user, process, network,
IPC, host name and cgroup namespaces, no capabilities, no way to make further user namespaces, a system-call filter. The
run ends with its process namespace, daemons included. Files go in and out through a descriptor on the tmpfs, so nothing
is ever written to the host's disk, and the end of this process ends the view.

What it does not do: a tree of processes may pass its memory limit for the moment until it is looked at next, and what
the kernel itself holds for it (socket buffers, pipes) is not counted. The kernel is shared: a hole in it is a way out.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import IO, Self

from scaffolds.protocols import Execution, InfrastructureError, Limits
from scaffolds.sandboxes import seccomp
from scaffolds.sandboxes.diagnosis import remedy, tool
from scaffolds.sandboxes.supervise import Watched, cpu_limit, rlimits, status_of, watch
from scaffolds.sandboxes.view import RUN_UID, SPACE, START_SECONDS, WORK_FOLDER, View, holding

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "USER": "sandbox",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
)
"""The whole environment of a run; nothing of ours gets in."""


class Bubblewrap:
    """A work folder in memory and isolated runs in it.

    `read_only` names host folders that runs may read besides the system and this Python installation. Raises
    `InfrastructureError` where the machine cannot isolate, with the command that mends it.
    """

    folder = WORK_FOLDER

    def __init__(self, *, limits: Limits | None = None, read_only: Sequence[str] = ()) -> None:
        self._limits = limits or Limits()
        self._tools = {name: tool(name) for name in ("bwrap", "nsenter", "setpriv", "prlimit")}
        self._filter = seccomp.program()
        self._view = View(self._limits.file_bytes, read_only)

    def exec(self, argv: Sequence[str], *, limits: Limits | None = None) -> Execution:
        """Run `argv` in the work folder and in `ENVIRONMENT` alone, stdout and stderr together.

        A command that cannot be found is its own failure (exit code 127); only a sandbox that fails to start or to end
        raises `InfrastructureError`.
        """
        if not argv or isinstance(argv, str):
            raise ValueError(f"argv is {argv!r}; give the command as a list of strings")
        limits = limits or self._limits
        status_read, status_write = os.pipe()
        with os.fdopen(status_read, "rb") as status:
            with contextlib.ExitStack() as inherited:
                inherited.callback(os.close, status_write)
                descriptors = [status_write]
                if self._filter is not None:
                    descriptors.append(inherited.enter_context(holding(self._filter)).fileno())
                process = subprocess.Popen(
                    self._command(argv, limits, descriptors),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=descriptors,
                    env={},  # what bwrap is started with can be read in /proc/1/environ
                )
            watched, lines = self._watch(process, status, limits)
        exit_code = _exit_code(lines)
        if watched.limit is not None:
            exit_code = -9
        elif exit_code is None:
            raise InfrastructureError(remedy(watched.output.strip() or "bwrap ended without a word"))
        if not watched.drained:
            raise InfrastructureError("the output of a sandboxed run stayed open after its end; close this sandbox")
        return Execution(
            exit_code=exit_code,
            output=watched.output,
            seconds=watched.seconds,
            limit=watched.limit or cpu_limit(exit_code),
            truncated_bytes=watched.truncated_bytes,
        )

    def read(self, path: str) -> bytes:
        """The bytes of a plain file below the work folder; `ValueError` for a path or link that leads outside."""
        return self._view.folder.read(path, self._limits.file_bytes)

    def write(self, path: str, data: bytes) -> None:
        """Write a plain file below the work folder, making folders; `ValueError` for a path that leads outside."""
        try:
            self._view.folder.write(path, data)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise InfrastructureError(
                f"{path!r} of {len(data)} bytes does not fit in a sandbox of {self._limits.file_bytes} bytes; "
                "raise Limits.file_bytes"
            ) from error

    def close(self) -> None:
        """End the view; its memory is freed with it. May be called twice."""
        self._view.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _watch(self, process: subprocess.Popen[bytes], status: IO[bytes], limits: Limits) -> tuple[Watched, bytes]:
        """Follow a run to the end of its process namespace; how it ended, and bwrap's status lines."""
        init: int | None = None
        try:
            if not select.select([status], [], [], START_SECONDS)[0]:
                raise InfrastructureError(remedy(f"bwrap did not start a run within {START_SECONDS} s"))
            init, first = _first_status(status)
            watched = watch(process, limits, process.kill, self._view.space)
            if init is not None and not _ended(init):
                raise InfrastructureError("the sandbox's process namespace outlived its run; close this sandbox")
            return watched, first + status.read()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            if init is not None:
                os.close(init)

    def _command(self, argv: Sequence[str], limits: Limits, descriptors: Sequence[int]) -> list[str]:
        status_fd, *filter_fd = descriptors
        held = {name: f"/proc/{os.getpid()}/fd/{fd}" for name, fd in self._view.namespaces.items()}
        command = [self._tools["nsenter"], f"--mount={held['mnt']}"]
        if self._view.root:
            user = f"{RUN_UID}"
            command += ["--", self._tools["setpriv"], "--reuid", user, "--regid", user, "--clear-groups", "--"]
        else:
            command += [f"--user={held['user']}", "--preserve-credentials", "--"]
        command += [self._tools["bwrap"], "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent"]
        command += ["--new-session", "--cap-drop", "ALL", "--uid", "1000", "--gid", "1000", "--hostname", "sandbox"]
        command += ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
        for name, place in (("box", WORK_FOLDER), ("tmp", "/tmp"), ("shm", "/dev/shm")):
            command += ["--bind", f"{SPACE}/{name}", place]
        for path in self._view.shown:
            if path.startswith("/tmp/"):  # the run's own /tmp lies over it
                command += ["--ro-bind", path, path]
        command += ["--tmpfs", SPACE, "--remount-ro", SPACE, "--remount-ro", "/dev", "--chdir", WORK_FOLDER]
        command.append("--clearenv")
        for name, value in ENVIRONMENT.items():
            command += ["--setenv", name, value]
        command += ["--json-status-fd", f"{status_fd}"]
        for fd in filter_fd:
            command += ["--seccomp", f"{fd}"]
        return [*command, "--", *rlimits(self._tools["prlimit"], limits), *argv]


def probe() -> None:
    """Raise `InfrastructureError`, with the command that mends it, unless a run here is isolated indeed."""
    with Bubblewrap() as sandbox:
        run = sandbox.exec([tool("cat"), "/proc/self/status", "/proc/net/dev"])
    if run.exit_code != 0:
        raise InfrastructureError(remedy(run.output.strip()))
    status = dict(line.split(":", 1) for line in run.output.splitlines() if ":" in line)
    if int(status["CapBnd"], 16) or status["NoNewPrivs"].strip() != "1":
        raise InfrastructureError(remedy("a sandboxed process keeps capabilities"))
    interfaces = [name.strip() for name in status if name.startswith(" ")]
    if interfaces and interfaces != ["lo"]:
        raise InfrastructureError(remedy(f"a sandboxed process sees the network interfaces {', '.join(interfaces)}"))


def _first_status(status: IO[bytes]) -> tuple[int | None, bytes]:
    """A descriptor on the first process of the run's namespace, and the status line that named it."""
    line = status.readline()  # bwrap writes it at once and whole
    if not line:
        return None, line
    try:
        return os.pidfd_open(json.loads(line)["child-pid"]), line
    except ProcessLookupError:  # the run is over already
        return None, line


def _ended(init: int) -> bool:
    """Whether the first process of a namespace ends soon: the kernel lets it go last, when all others are gone."""
    if not select.select([init], [], [], START_SECONDS)[0]:
        return False
    with contextlib.suppress(ChildProcessError):  # it is ours only where we are the first process of a container
        os.waitid(os.P_PIDFD, init, os.WEXITED | os.WNOHANG)
    return True


def _exit_code(status: bytes) -> int | None:
    """The command's exit code out of bwrap's status lines, null where it never came to run."""
    for line in status.splitlines():
        found = json.loads(line).get("exit-code")
        if found is not None:
            return status_of(int(found))
    return None
