"""The folder of a release: how to tell it from any other, and how one takes the place of another.

A release is made in a working folder beside it, `.<name>.packaging`, which a packager locks for as long as it lives.
The two change places in one system call where the file system can; where it cannot, the earlier one is set aside
first. Whatever kills the packager, the next one finds the earlier release there and puts it back.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.lake import sync_folder

MANIFEST_NAME = "manifest.json"
CARD_NAME = "README.md"

_EARLIER = "earlier"
_DISCARDED = "discarded"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
"""Both from Linux's `renameat2(2)`."""


class PackageError(ValueError):
    """A release that cannot be made; the message names the cause and the remedy."""


def read_manifest(release: str | os.PathLike[str]) -> Mapping[str, Any]:
    """The manifest of a release as JSON; raises `PackageError` where the folder is none."""
    path = Path(release) / MANIFEST_NAME
    if not path.is_file():
        raise PackageError(f"{release} is no release: it has no {MANIFEST_NAME}; run the packaging first")
    try:
        value: Any = json.loads(path.read_bytes())
    except ValueError as error:
        raise PackageError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict) or not isinstance(value.get("schema_version"), str) or not _paths(value):
        raise PackageError(f"{path} is not the manifest of a release: it lacks schema_version or files")
    return value


def check_replaceable(target: Path) -> None:
    """Raise `PackageError` unless `target` is missing, or a release and nothing beside it: it will be deleted."""
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise PackageError(f"{target} exists and is no folder; move it away or choose another target")
    if not (target / MANIFEST_NAME).is_file():
        raise PackageError(f"{target} exists and is no release (it has no {MANIFEST_NAME}); move it away")
    try:
        named = _paths(read_manifest(target))
    except PackageError as error:
        raise PackageError(f"{target} exists and is no release ({error}); move it away") from error
    files = {MANIFEST_NAME, CARD_NAME, *named}
    folders = {parent.as_posix() for name in named for parent in Path(name).parents}
    for at, inner, names in os.walk(target):
        for name in sorted([*inner, *names]):
            path = Path(at) / name
            place = path.relative_to(target).as_posix()
            known = folders if path.is_dir() and not path.is_symlink() else files
            if place not in known:
                raise PackageError(
                    f"{path} is not part of the release in {target}, which is to be replaced; "
                    "move it away or choose another target"
                )


def _paths(manifest: Mapping[str, Any]) -> list[str]:
    """The paths of a manifest's files; empty where it does not list files as a release does."""
    files = manifest.get("files")
    if not isinstance(files, list) or not all(isinstance(each, dict) for each in files):
        return []
    paths = [each.get("path") for each in files]
    return [path for path in paths if isinstance(path, str)] if all(isinstance(path, str) for path in paths) else []


@contextmanager
def working_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, ours alone, that is gone afterwards.

    What a killed packager left there is put back or removed first. Raises `PackageError` while another packager is at
    work on the same target, and where the target is no release.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}.packaging")
    descriptor = _locked(work, target)
    try:
        _put_back(work, target)
        check_replaceable(target)
        try:
            _clear(work, target)
            yield work
        finally:
            _clear(work, target)
    finally:
        with suppress(OSError):  # not empty: what stands in it could not be put back and waits for the next packager
            work.rmdir()
        os.close(descriptor)


def replace(release: Path, target: Path, work: Path) -> None:
    """Let `release`, a folder in `work`, take the place of `target`; at no time can both be lost."""
    if not (target.exists() and _exchange(release, target)):
        try:
            if target.exists():
                target.rename(work / _EARLIER)
            release.rename(target)
        except BaseException:
            _put_back(work, target)
            raise
    sync_folder(work)
    sync_folder(target.parent)


def _locked(work: Path, target: Path) -> int:
    """A descriptor that holds the lock on the working folder, made where it is missing."""
    while True:
        work.mkdir(exist_ok=True)
        try:
            descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # its owner was done in between
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(work)):
                return descriptor
        except FileNotFoundError:  # the same, after it was opened
            pass
        except BlockingIOError as error:
            os.close(descriptor)
            raise PackageError(f"another packager is at work on {target}; wait for it or choose another") from error
        os.close(descriptor)


def _put_back(work: Path, target: Path) -> None:
    earlier = work / _EARLIER
    if earlier.exists() and not os.path.lexists(target):
        earlier.rename(target)
        sync_folder(target.parent)


def _clear(work: Path, target: Path) -> None:
    _put_back(work, target)
    if (work / _EARLIER).exists():
        # under a name that no one puts back, for it is about to lose its files one by one
        shutil.rmtree(work / _DISCARDED, ignore_errors=True)
        (work / _EARLIER).rename(work / _DISCARDED)
    for child in sorted(work.iterdir()):
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change names in one step; False where the system or the file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    return bool(renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)
