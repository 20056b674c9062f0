"""What a sandboxed run sees of this machine, and where it may write: a mount namespace held open by a process of ours.

The view holds read-only system folders, the Python installation and one tmpfs of a fixed size. A process outside of it
cannot be reached from it; who enters it does so through the descriptors kept here, never through a process number,
which could name another process by then.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import IO

from scaffolds.protocols import InfrastructureError
from scaffolds.sandboxes.diagnosis import remedy, tool
from scaffolds.sandboxes.folder import Folder

SPACE = "/space"
"""Where the view keeps its tmpfs, with the folders `box`, `tmp` and `shm`."""

WORK_FOLDER = "/box"
"""Where commands run, as they see it: the same in every sandbox, so that paths in their output do not vary."""

RUN_UID = 65533
"""The user (and group) that runs become where we are root: unused by convention, and process limits bind it."""

START_SECONDS = 10
"""How long any part of a sandbox may take to start or to end."""

_MERGED_USR = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "mime.types")
_MADE_ETC: Mapping[str, str] = MappingProxyType(
    {
        "passwd": "sandbox:x:1000:1000:sandbox:/tmp:/bin/sh\n",
        "group": "sandbox:x:1000:\n",
        "hosts": "127.0.0.1 localhost\n::1 localhost\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }
)


class View:
    """A started view; `root` tells whether we are root, `folder` reads and writes the work folder from outside.

    `shown` are the host folders that can be read besides the system's, `namespaces` descriptors of what to enter by
    kind, `space` one of the tmpfs. Raises `InfrastructureError` where bubblewrap cannot build it.
    """

    def __init__(self, space_bytes: int, read_only: Sequence[str]) -> None:
        self.root = os.geteuid() == 0
        self.shown = tuple(dict.fromkeys((sys.prefix, sys.base_prefix, *map(os.path.abspath, read_only))))
        self.namespaces: dict[str, int] = {}
        self._descriptors: list[int] = []
        self.process = self._start(space_bytes)

    def close(self) -> None:
        """End the view; the memory of its files is freed with it. May be called twice."""
        self._let_go()
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _start(self, space_bytes: int) -> subprocess.Popen[bytes]:
        with contextlib.ExitStack() as inherited:
            made = {name: inherited.enter_context(holding(text.encode())) for name, text in _MADE_ETC.items()}
            etc: list[str] = []
            for name, file in made.items():
                etc += ["--perms", "0644", "--ro-bind-data", f"{file.fileno()}", f"/etc/{name}"]
            info_read, info_write = os.pipe()
            info = inherited.enter_context(os.fdopen(info_read, "rb"))
            process = subprocess.Popen(
                [
                    tool("bwrap"),
                    *(() if self.root else ("--unshare-user",)),
                    *_system(self.shown),
                    *etc,
                    *("--size", f"{space_bytes}", "--tmpfs", SPACE),
                    *("--chdir", "/", "--info-fd", f"{info_write}", "--", tool("cat")),
                ],
                stdin=subprocess.PIPE,  # `cat` holds the view open until this end is closed, by us or by our death
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[info_write, *(file.fileno() for file in made.values())],
                env={},
            )
            os.close(info_write)
            try:
                line = info.read() if select.select([info], [], [], START_SECONDS)[0] else b""
                self._enter(process, line)
            except (OSError, ValueError, KeyError) as error:
                process.kill()
                said = process.communicate()[0].decode("utf-8", "replace").strip()
                self._let_go()
                raise InfrastructureError(remedy(said or f"bwrap did not start: {error}")) from error
        return process

    def _enter(self, process: subprocess.Popen[bytes], info: bytes) -> None:
        pid = json.loads(info)["child-pid"]
        # Held from the start: a number could name another process, and so another file system, by the next run.
        namespaces = ["mnt"] if self.root else ["mnt", "user"]
        self.namespaces = {name: self._hold(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in namespaces}
        # `cat` echoes once bwrap has built the view and given way to it; only then is the tmpfs in its place.
        if process.stdin is None or process.stdout is None:
            raise ValueError("the view has no pipes")
        process.stdin.write(b"ready\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], START_SECONDS)[0] or process.stdout.readline() != b"ready\n":
            raise ValueError("the view did not answer")
        self.space = self._hold(f"/proc/{pid}/root{SPACE}", os.O_RDONLY | os.O_DIRECTORY)
        for name in ("box", "tmp", "shm"):
            os.mkdir(name, 0o755, dir_fd=self.space)
            if self.root:
                os.chown(name, RUN_UID, RUN_UID, dir_fd=self.space)
        box = os.open("box", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.space)
        self._descriptors.append(box)
        self.folder = Folder(box, (RUN_UID, RUN_UID) if self.root else None)

    def _hold(self, path: str, flags: int) -> int:
        fd = os.open(path, flags | os.O_CLOEXEC)
        self._descriptors.append(fd)
        return fd

    def _let_go(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())


@contextlib.contextmanager
def holding(data: bytes) -> Iterator[IO[bytes]]:
    """A file object whose descriptor yields `data` once, for the options of bwrap that read one."""
    fd = os.memfd_create("sandbox", os.MFD_CLOEXEC)
    with os.fdopen(fd, "w+b") as file:
        file.write(data)
        file.seek(0)
        yield file


def _system(shown: Sequence[str]) -> list[str]:
    """The part of bwrap's command line that builds a root of read-only system folders."""
    command = ["--tmpfs", "/", "--ro-bind", "/usr", "/usr"]
    for name in _MERGED_USR:
        path = f"/{name}"
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            command += ["--ro-bind", path, path]
    home = os.path.abspath(os.path.expanduser("~"))
    made = {"/", "/usr", "/tmp", "/dev", "/proc", "/etc"}
    for name in ("tmp", "proc", "dev", "etc", WORK_FOLDER[1:]):
        command += ["--perms", "0755", "--dir", f"/{name}"]
    for path in shown:
        if path == "/usr" or path.startswith("/usr/"):
            continue
        if os.path.commonpath([path, home]) == path:
            raise InfrastructureError(
                f"cannot isolate: {path} is to be shown to untrusted commands and holds the home folder {home}; "
                "use an interpreter in a folder of its own: python3 -m venv .venv"
            )
        # bwrap makes missing parents as 0700, through which a run that is not root could not pass.
        for parent in reversed([path[:at] for at, letter in enumerate(path) if letter == "/" and at]):
            command += ["--perms", "0755", "--dir", parent] if parent not in made else []
            made.add(parent)
        command += ["--ro-bind", path, path]
    for name in _ETC:
        command += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return [*command, "--bind", "/proc", "/proc", "--dev", "/dev"]
