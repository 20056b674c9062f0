"""Watching one run: its output streamed and cut in the middle, its limits enforced, its whole tree ended.

The kernel's own limits (address space, CPU, file size, processes) hold per process; this adds up what the tree uses, so
that a hundred small processes cannot take what one may not.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from scaffolds.protocols import Limits

MAX_FILES = 200_000
"""Files and folders in the writable space; each costs the kernel about 1 kB that no size of a tmpfs counts."""

_POLL_SECONDS = 0.05
_POLL_SHARE = 20  # one poll may take one part in this many of the time, so that watching a big tree stays cheap
_DRAIN_SECONDS = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """How a run ended: its output, the limit that ended it (or null) and whether its output ended with it."""

    output: str
    truncated_bytes: int
    limit: str | None
    seconds: float
    drained: bool


class Output:
    """Bytes as they come, of which the first and the last half of `max_bytes` are kept."""

    def __init__(self, max_bytes: int) -> None:
        self._half = max(1, max_bytes // 2)
        self._head = bytearray()
        self._tail = bytearray()
        self.truncated_bytes = 0

    def add(self, data: bytes) -> None:
        """Take more output; memory stays below three times `max_bytes` whatever comes."""
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > 2 * self._half:
            self._cut()

    def text(self) -> str:
        """What was kept, with a line in the place of what was cut; bytes that are not UTF-8 become U+FFFD."""
        self._cut()
        middle = f"\n[... {self.truncated_bytes} bytes cut ...]\n".encode() if self.truncated_bytes else b""
        return bytes(self._head + middle + self._tail).decode("utf-8", "replace")

    def _cut(self) -> None:
        excess = len(self._tail) - self._half
        if excess > 0:
            del self._tail[:excess]
            self.truncated_bytes += excess


def watch(
    process: subprocess.Popen[bytes], limits: Limits, kill: Callable[[], None], space_fd: int | None = None
) -> Watched:
    """Follow `process` until it ends, or end it with `kill` at the first limit it passes, and reap it.

    Its stdout must be a pipe that stderr shares. `space_fd` is a folder on the writable space, whose files are counted.
    """
    if process.stdout is None:
        raise ValueError("process.stdout is None; start it with stdout=PIPE, stderr=STDOUT")
    pipe = process.stdout.fileno()
    os.set_blocking(pipe, False)
    output = Output(limits.output_bytes)
    start = time.monotonic()
    deadline = start + limits.wall_seconds
    next_poll = start + _POLL_SECONDS
    limit: str | None = None
    seen: dict[tuple[int, bytes], int] = {}
    ended = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            selector.register(ended, selectors.EVENT_READ)
            while limit is None:
                now = time.monotonic()
                if now >= deadline:
                    limit = "wall"
                    break
                if now >= next_poll:
                    limit = _passed(process.pid, limits, space_fd, seen)
                    spent = time.monotonic() - now
                    next_poll = now + spent + max(_POLL_SECONDS, _POLL_SHARE * spent)
                    continue
                ready = {key.fd for key, _ in selector.select(max(0.0, min(deadline, next_poll) - now))}
                if pipe in ready and not _take(pipe, output):
                    selector.unregister(pipe)
                if ended in ready:
                    break
            if limit is not None:
                kill()
            process.wait()
        seconds = time.monotonic() - start
        drained = _drain(pipe, output)
    finally:
        os.close(ended)
        process.stdout.close()
    return Watched(
        output=output.text(),
        truncated_bytes=output.truncated_bytes,
        limit=limit,
        seconds=seconds,
        drained=drained,
    )


def status_of(returncode: int) -> int:
    """The exit code of a command from that of the wrapper around it: 128 + n means that signal n ended it."""
    return 128 - returncode if 128 < returncode <= 128 + signal.NSIG else returncode


def cpu_limit(exit_code: int) -> str | None:
    """`cpu` where the kernel ended the command for its CPU time."""
    return "cpu" if exit_code == -signal.SIGXCPU else None


def rlimits(prlimit: str, limits: Limits) -> list[str]:
    """The `prlimit` command line in front of a command that holds it to `limits`, process by process."""
    return [
        prlimit,
        f"--as={limits.memory_bytes}",
        f"--cpu={limits.cpu_seconds}:{limits.cpu_seconds + 1}",
        f"--fsize={limits.file_bytes}",
        f"--nproc={limits.processes}",
        "--nofile=1024",
        "--core=0",
        "--",
    ]


def _take(pipe: int, output: Output) -> bool:
    try:
        data = os.read(pipe, 1 << 16)
    except BlockingIOError:
        return True
    output.add(data)
    return bool(data)


def _drain(pipe: int, output: Output) -> bool:
    """Read to the end of the pipe: it comes only when the last process that could write is gone."""
    deadline = time.monotonic() + _DRAIN_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if selector.select(left) and not _take(pipe, output):
                return True
    return False


def _passed(root: int, limits: Limits, space_fd: int | None, seen: dict[tuple[int, bytes], int]) -> str | None:
    """The limit that the tree below `root` has passed as a whole.

    `seen` keeps the CPU ticks of every process found so far. Time of ended children stands with the parent that waited
    for them, but a parent can refuse to: so the larger of both sums counts.
    """
    if space_fd is not None:
        space = os.fstatvfs(space_fd)
        if space.f_files - space.f_ffree > MAX_FILES:
            return "files"
    tree = _tree(root)
    waited_ticks = resident_bytes = 0
    for pid in tree:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:  # it ended since we listed it
            continue
        own, of_children = (sum(map(int, fields[at : at + 2])) for at in (11, 13))
        seen[pid, fields[19]] = own  # with its start time, as numbers are used again
        waited_ticks += own + of_children
        resident_bytes += int(fields[21]) * _PAGE_BYTES
    if max(waited_ticks, sum(seen.values())) > limits.cpu_seconds * _TICKS:
        return "cpu"
    # Resident pages are counted once a process that shares them; only where that sum is too much is the true one read.
    if resident_bytes > limits.memory_bytes and sum(map(_proportional_bytes, tree)) > limits.memory_bytes:
        return "memory"
    return None


def _tree(root: int) -> list[int]:
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                    waiting += map(int, file.read().split())
        except OSError:  # it ended meanwhile
            continue
    return found


def _proportional_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return next((int(line.split()[1]) << 10 for line in file if line.startswith(b"Pss:")), 0)
    except OSError:
        return 0
