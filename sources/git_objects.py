"""What git's objects and outputs hold: commits, changed files, quoted paths."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO

from sources.git_process import GitError

REMEDY = "the clone is damaged or partial: run `git fsck`, or clone again without --depth and --filter"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCommit:
    """A commit object as it stands in the store; `message` is decoded, times are seconds since 1970 (UTC)."""

    oid: str
    tree: str
    parents: tuple[str, ...]
    author: str
    authored_at: int
    committed_at: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One file that differs between two trees; `status` is git's letter, blobs of absent sides are all zeros.

    Paths that are not UTF-8 keep their odd bytes as lone surrogates.
    """

    status: str
    old_mode: str
    new_mode: str
    old_blob: str
    new_blob: str
    old_path: str
    new_path: str


_ESCAPES = {b"a": 7, b"b": 8, b"t": 9, b"n": 10, b"v": 11, b"f": 12, b"r": 13, b'"': 34, b"\\": 92}


def unquoted(path: bytes) -> str:
    """A path as git prints it, taken out of its C-style quotes if it has any; odd bytes become lone surrogates."""
    if path.startswith(b'"') and path.endswith(b'"') and len(path) > 1:

        def plain(found: re.Match[bytes]) -> bytes:
            code = found[1]
            return bytes([_ESCAPES[code] if code in _ESCAPES else int(code, 8)])

        path = re.sub(rb'\\([0-7]{3}|[abtnvfr"\\])', plain, path[1:-1])
    return path.decode("utf-8", "surrogateescape")


def parse_commit(oid: str, data: bytes) -> RawCommit:
    """A commit object's fields; text that is not in its declared encoding is decoded with U+FFFD for what is broken."""
    head, _, body = data.partition(b"\n\n")
    tree, parents, author, committer, encoding = "", [], b"", b"", "utf-8"
    for line in head.split(b"\n"):
        key, _, value = line.partition(b" ")
        if key == b"tree":
            tree = value.decode("ascii")
        elif key == b"parent":
            parents.append(value.decode("ascii"))
        elif key == b"author" and not author:
            author = value
        elif key == b"committer" and not committer:
            committer = value
        elif key == b"encoding":
            encoding = value.decode("ascii", "replace")
    name = author.rpartition(b" <")[0] or author
    return RawCommit(
        oid=oid,
        tree=tree,
        parents=tuple(parents),
        author=_decoded(name.strip(), encoding),
        authored_at=_seconds(author),
        committed_at=_seconds(committer),
        message=_decoded(body, encoding),
    )


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except (LookupError, UnicodeDecodeError):
        return data.decode("utf-8", "replace")


_LATEST = 4102444800  # 2100-01-01: a later time, or one before 1970, is a broken clock


def _seconds(identity: bytes) -> int:
    found = re.search(rb"> ?(\d+) ?[+-]?\d*\Z", identity.strip())
    value = int(found[1]) if found else 0
    return value if value < _LATEST else 0


def read_object(stream: IO[bytes], path: str) -> tuple[str, str, bytes] | None:
    """One answer of `cat-file --batch`, or None at the end of the stream."""
    header = stream.readline()
    if not header:
        return None
    parts = header.decode("ascii", "replace").split()
    if len(parts) != 3 or not parts[2].isdigit():
        raise GitError(f"{path}: object {' '.join(parts)}; {REMEDY}")
    size = int(parts[2])
    data = stream.read(size + 1)
    if len(data) != size + 1:
        raise GitError(f"{path}: object {parts[0]} ends after {len(data)} of {size} bytes; run `git fsck`, clone again")
    return parts[0], parts[1], data[:-1]
