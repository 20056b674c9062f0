"""Writes the Parquet files of one shard so that they appear whole or not at all, and equal rows give equal bytes."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.lake import Lake, LakeError, sync_folder, temporary_name

ROW_GROUP_BYTES = 32 << 20
"""Rows are gathered until they fill this many bytes in memory, then written as one row group."""


class _HashingSink:
    """A write-only file that hashes and counts what passes, so that no file is read again for its digest."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.bytes = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self._digest.update(data)
        self._stream.write(data)
        size = memoryview(data).nbytes
        self.bytes += size
        return size

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        self._stream.flush()

    def sync(self) -> None:
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self.closed = True

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


class ParquetSink:
    """One Parquet file written as a stream of batches: zstd, row groups of about `row_group_bytes` in memory."""

    def __init__(self, stream: BinaryIO, schema: pa.Schema, row_group_bytes: int = ROW_GROUP_BYTES) -> None:
        self._sink = _HashingSink(stream)
        self._schema = schema
        self._row_group_bytes = row_group_bytes
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"),
            schema,
            compression="zstd",
            compression_level=3,
            use_dictionary=True,
            write_statistics=True,
        )
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; raises `LakeError` for another schema."""
        if not batch.schema.equals(self._schema):
            raise LakeError(f"batch has schema {batch.schema.names}, the table is declared as {self._schema.names}")
        self._pending.append(batch)
        self._pending_bytes += batch.nbytes
        self.rows += batch.num_rows
        if self._pending_bytes >= self._row_group_bytes:
            self._flush()

    @property
    def bytes(self) -> int:
        """Bytes written so far: the row groups that are complete."""
        return self._sink.bytes

    def close(self) -> tuple[int, str]:
        """Finish the file; its size in bytes and its SHA-256."""
        self.finish()
        self._sink.close()
        return self._sink.bytes, self._sink.sha256

    def finish(self, *, sync: bool = False) -> None:
        """Write what is pending and the footer; with `sync`, make it durable. The stream stays open."""
        self._flush()
        if self._writer.is_open:
            self._writer.close()
        if sync:
            self._sink.sync()

    def abort(self) -> None:
        """Let go of the file; what it holds is of no use."""
        with contextlib.suppress(OSError, ValueError):  # a full disk, or a file that is closed already
            self._writer.close()
        with contextlib.suppress(OSError):
            self._sink.close()

    def _flush(self) -> None:
        if self._pending:
            table = pa.Table.from_batches(self._pending, schema=self._schema)
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
            self._pending, self._pending_bytes = [], 0


@dataclass(slots=True)
class _OpenFile:
    path: str
    temporary: str
    sink: ParquetSink


class ShardWriter:
    """The tables of one shard. `write` batches, then `commit`; leave without committing and nothing appears."""

    def __init__(self, lake: Lake, stage: str, key: str, tables: Mapping[str, pa.Schema]) -> None:
        self._lake = lake
        self._files: dict[str, _OpenFile] = {}
        for table, schema in tables.items():
            path = f"{stage}/{table}-{key}.parquet"
            temporary = path if lake.local is None else temporary_name(path)
            self._files[table] = _OpenFile(path, temporary, ParquetSink(lake.open_output(temporary), schema))

    def write(self, table: str, batch: pa.RecordBatch) -> None:
        """Add rows to a table; raises `LakeError` for a table that the stage does not declare."""
        if table not in self._files:
            raise LakeError(f"table {table!r} is not declared; the stage has {', '.join(self._files)}")
        self._files[table].sink.write(batch)

    def rows(self, table: str) -> int:
        """Rows written to a table so far."""
        return self._files[table].sink.rows

    def commit(self) -> list[dict[str, Any]]:
        """Close, fsync and rename the files; what the manifest is to say of each."""
        if self._lake.local is not None:
            # renamed while still open and locked, so that no other run takes it for a leftover
            for file in self._files.values():
                file.sink.finish(sync=True)
                self._lake.local_path(file.temporary).rename(self._lake.local_path(file.path))
            sync_folder(self._lake.local_path(next(iter(self._files.values())).path).parent)
        entries = []
        for table, file in self._files.items():
            size, digest = file.sink.close()
            entries.append({"table": table, "path": file.path, "rows": file.sink.rows, "bytes": size, "sha256": digest})
        return entries

    def abandon(self) -> None:
        """Remove what was written so far."""
        for file in self._files.values():
            if self._lake.local is not None:
                self._lake.local_path(file.temporary).unlink(missing_ok=True)
            file.sink.abort()
