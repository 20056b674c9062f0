"""Reading and writing below a folder whose content is hostile, from outside of it.

Every component of a path is opened relative to its parent and without following links, so that nothing planted in the
folder (a link to a host file, a pipe that never answers, a link swapped in between check and use) leads outside.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINK_ERRORS = (errno.ELOOP, errno.ENOTDIR)


class Folder:
    """A folder held open by descriptor `fd`; `owner` is the (uid, gid) that new files get, where it is not ours."""

    def __init__(self, fd: int, owner: tuple[int, int] | None = None) -> None:
        self._fd = fd
        self._owner = owner

    def read(self, path: str, max_bytes: int) -> bytes:
        """The bytes of a plain file.

        Raises `ValueError` for a path or link that leads outside, for anything but a plain file and for a file larger
        than `max_bytes`; `FileNotFoundError` where there is none.
        """
        *folders, name = _parts(path)
        with self._parent(path, folders, make=False) as parent:
            # Non-blocking, so that a named pipe in place of the file cannot hold us.
            fd = _open(path, name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, parent)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                raise ValueError(f"{path!r} is not a plain file; only plain files are read from a sandbox")
            with os.fdopen(fd, "rb") as file:
                data = file.read(max_bytes + 1)
                if len(data) > max_bytes:
                    raise ValueError(f"{path!r} is larger than {max_bytes} bytes; raise Limits.file_bytes to read it")
                return data

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a plain file, making its folders; an existing one is replaced, never written through.

        Raises `ValueError` for a path or link that leads outside.
        """
        *folders, name = _parts(path)
        with self._parent(path, folders, make=True) as parent:
            try:
                os.unlink(name, dir_fd=parent)
            except FileNotFoundError:
                pass
            except IsADirectoryError as error:
                raise ValueError(f"{path!r} is a folder; give the path of a file") from error
            fd = _open(path, name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, parent, mode)
            with os.fdopen(fd, "wb") as file:
                if self._owner is not None:
                    os.fchown(fd, *self._owner)
                file.write(data)

    @contextmanager
    def _parent(self, path: str, folders: list[str], *, make: bool) -> Iterator[int]:
        fd = os.dup(self._fd)
        try:
            for folder in folders:
                if make:
                    self._make(folder, fd)
                below = _open(path, folder, _FOLDER_FLAGS, fd)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    def _make(self, name: str, parent: int) -> None:
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            return
        if self._owner is not None:
            os.chown(name, *self._owner, dir_fd=parent, follow_symlinks=False)


def _parts(path: str) -> list[str]:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise ValueError(f"path {path!r} leads outside the work folder; give a relative path without '..'")
    return list(parts)


def _open(path: str, name: str, flags: int, parent: int, mode: int = 0o600) -> int:
    try:
        return os.open(name, flags, mode, dir_fd=parent)
    except OSError as error:
        if error.errno in _LINK_ERRORS:
            raise ValueError(
                f"path {path!r} goes through {name!r}, a link or no folder; it may lead outside"
            ) from error
        if error.errno == errno.ENXIO:
            raise ValueError(f"{path!r} is not a plain file; only plain files are read from a sandbox") from error
        raise
