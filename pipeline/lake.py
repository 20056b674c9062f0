"""The lake: the folder or bucket that all stages read and write.

A stage's committed output is what its manifest entries name, nothing else. On a local disk a file appears by
tmp → fsync → rename; on an object store an upload appears whole when it is closed. Paths in a lake are relative,
with `/` between parts.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from pipeline.ledger import Ledger

MANIFEST = "_manifest"
"""Folder of a stage that holds an entry for each committed shard."""
RUNS = "_runs"
"""Folder of a stage that holds, for each run that feeds it, what that run set out to do and whether it got there."""
_BATCH_ROWS = 1024


class LakeError(RuntimeError):
    """Something in the lake is missing or broken; the message names the path and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFile:
    """One committed Parquet file: the shard's key, its path in the lake, and what the manifest says of it."""

    key: str
    path: str
    rows: int
    bytes: int
    sha256: str


class Lake:
    """A folder (`build/lake`) or a bucket (`s3://bucket/prefix`, through `pyarrow.fs`). Cheap to make, picklable."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.fspath(root)
        self._open()

    def _open(self) -> None:
        if "://" in self.root:
            self._fs, self._base = pafs.FileSystem.from_uri(self.root)
            self.local: Path | None = Path(self._base) if self._fs.type_name == "local" else None
        else:
            self.local = Path(self.root).absolute()
            self._fs, self._base = pafs.LocalFileSystem(), self.local.as_posix()

    def __reduce__(self) -> tuple[type[Lake], tuple[str]]:
        return (Lake, (self.root,))

    def _path(self, rel: str) -> str:
        if rel.startswith("/") or ".." in rel.split("/"):
            raise LakeError(f"path {rel!r} leads out of the lake; use a path relative to {self.root}")
        return f"{self._base}/{rel}" if rel else self._base

    def local_path(self, rel: str) -> Path:
        """The path of a file or folder on the local disk; raises `LakeError` for a lake in a bucket."""
        if self.local is None:
            raise LakeError(f"{self.root} is not a local folder; copy {rel!r} to a local disk first")
        return Path(self._path(rel))

    def exists(self, rel: str) -> bool:
        """Whether a file or folder is there."""
        return bool(self._fs.get_file_info(self._path(rel)).type != pafs.FileType.NotFound)

    def read_bytes(self, rel: str) -> bytes:
        """A whole small file; raises `LakeError` if it is missing."""
        try:
            with self._fs.open_input_stream(self._path(rel)) as stream:
                return bytes(stream.read())
        except FileNotFoundError as error:
            raise LakeError(f"{self.root}/{rel} is missing; run the stage that writes it") from error

    def write_bytes(self, rel: str, data: bytes) -> None:
        """Write a small file atomically: after a crash it is there whole or not at all."""
        if self.local is None:
            with self._fs.open_output_stream(self._path(rel)) as stream:
                stream.write(data)
            return
        target = self.local_path(rel)
        temporary = target.with_name(temporary_name(target.name))
        try:
            with open_temporary(temporary) as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
                temporary.rename(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)

    def read_json(self, rel: str) -> Any:
        """The value of a JSON file; raises `LakeError` if it is missing or broken."""
        try:
            return json.loads(self.read_bytes(rel))
        except json.JSONDecodeError as error:
            raise LakeError(f"{self.root}/{rel} is not JSON ({error}); delete it and run its stage again") from error

    def write_json(self, rel: str, value: Any) -> None:
        """Write JSON atomically, keys sorted, so that equal values are equal bytes."""
        self.write_bytes(rel, json.dumps(value, sort_keys=True, indent=1, allow_nan=False).encode() + b"\n")

    def names(self, rel: str) -> list[str]:
        """The names directly below a folder, sorted; empty where there is no such folder."""
        selector = pafs.FileSelector(self._path(rel), allow_not_found=True)
        return sorted(info.base_name for info in self._fs.get_file_info(selector))

    def delete(self, rel: str) -> None:
        """Remove a file for good; one that is not there is no error."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.delete_file(self._path(rel))
            if self.local is not None:
                sync_folder(self.local_path(rel).parent)

    def sweep(self, rel: str) -> list[str]:
        """Remove what dead processes left unfinished in a folder; the names removed. In a bucket nothing is left."""
        return [] if self.local is None else sweep_temporaries(self.local_path(rel))

    def size(self, rel: str) -> int | None:
        """The size of a file in bytes, None where there is none."""
        info = self._fs.get_file_info(self._path(rel))
        return int(info.size) if info.type == pafs.FileType.File else None

    def open_output(self, rel: str) -> BinaryIO:
        """An output stream; on a local disk give it a temporary name and rename, in a bucket it appears when closed."""
        if self.local is not None:
            return open_temporary(self.local_path(rel))
        return cast(BinaryIO, self._fs.open_output_stream(self._path(rel)))

    def batches(self, rel: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Stream one Parquet file in batches of at most 1,024 rows, whatever its size."""
        try:
            source = self._fs.open_input_file(self._path(rel))
        except FileNotFoundError as error:
            raise LakeError(f"{self.root}/{rel} is missing; run the stage that writes it") from error
        with source, pq.ParquetFile(source) as file:
            for group in range(file.num_row_groups):
                yield from file.iter_batches(
                    _BATCH_ROWS, row_groups=[group], columns=None if columns is None else list(columns)
                )

    def shards(self, stage: str, table: str = "part") -> list[ShardFile]:
        """The committed shards of a stage's table, in key order."""
        found = []
        for entry in self.manifest(stage):
            for file in entry["files"]:
                if file["table"] == table:
                    found.append(
                        ShardFile(
                            key=entry["key"],
                            path=file["path"],
                            rows=file["rows"],
                            bytes=file["bytes"],
                            sha256=file["sha256"],
                        )
                    )
        return found

    def manifest(self, stage: str) -> list[dict[str, Any]]:
        """The manifest entries of a stage, in key order: one JSON object per committed shard."""
        folder = f"{stage}/{MANIFEST}"
        return [self.read_json(f"{folder}/{name}") for name in self.names(folder) if name.endswith(".json")]

    def ledger(self, stage: str) -> Ledger | None:
        """The ledger of a finished stage, or None where a run that feeds it has not finished, or none has begun."""
        records = [f"{stage}/{RUNS}/{name}/run.json" for name in self.names(f"{stage}/{RUNS}")]
        runs = [self.read_json(record) for record in records if self.size(record) is not None]
        if not runs or not all(run["finished"] for run in runs):
            return None
        return Ledger.total(stage, runs[0]["unit"], (Ledger.from_json(e["ledger"]) for e in self.manifest(stage)))

    def stages(self) -> list[str]:
        """The stages that have committed at least one shard, by name."""
        return [
            name
            for name in self.names("")
            if any(entry.endswith(".json") for entry in self.names(f"{name}/{MANIFEST}"))
        ]


def temporary_name(name: str) -> str:
    """A name for an unfinished file that no other process uses."""
    return f"{name}.{socket.gethostname()}-{os.getpid()}.tmp"


def open_temporary(path: Path) -> BinaryIO:
    """A new unfinished file, locked for as long as its owner lives and has it open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        stream = path.open("wb")
        fcntl.flock(stream, fcntl.LOCK_EX)
        # between the opening and the locking, another run's sweep may have taken it for a leftover
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(stream.fileno()).st_ino:
                return stream
        stream.close()


def sweep_temporaries(folder: Path) -> list[str]:
    """Remove unfinished files that no living process has open; the names removed."""
    removed = []
    for path in sorted(folder.glob("*.tmp")) if folder.is_dir() else []:
        try:
            with path.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
        except (BlockingIOError, FileNotFoundError):
            continue
        removed.append(path.name)
    return removed


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
