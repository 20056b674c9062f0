import fcntl
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from moto.server import ThreadedMotoServer

from pipeline.lake import Lake, LakeError, open_temporary, sweep_temporaries
from pipeline.stage import run_stage, shard_inputs
from tests.pipeline.numbers import Evens, inputs, snapshot, stage


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on a real S3 server on loopback."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    query = f"endpoint_override={host}%3A{port}&scheme=http&region=us-east-1&allow_bucket_creation=true"
    filesystem, _ = pafs.FileSystem.from_uri(f"s3://corpus?{query}")
    filesystem.create_dir("corpus")
    yield f"s3://corpus/lake?{query}"
    server.stop()


def test_a_lake_in_a_bucket_holds_the_same_bytes_as_one_on_disk(bucket: str, tmp_path: Path) -> None:
    far, near = pickle.loads(pickle.dumps(Lake(bucket))), Lake(tmp_path)
    first = run_stage(far, stage(Evens()), inputs(3), workers=2)
    run_stage(near, stage(Evens()), inputs(3))
    names = list(snapshot(tmp_path))
    assert len(names) == 3 * 3 + 1
    assert {name: far.read_bytes(name) for name in names} == snapshot(tmp_path)
    assert far.stages() == ["evens"]
    assert [n for s in far.shards("evens") for b in far.batches(s.path) for n in b["n"].to_pylist()] == list(
        range(0, 300, 2)
    )
    assert run_stage(far, stage(Evens(broken=__file__)), inputs(1)).rows_in == 100
    assert [item.key for item in shard_inputs(far, "evens")] == ["a"]
    assert first.rows_in == 300
    with pytest.raises(LakeError, match="not a local folder"):
        far.local_path("evens")


def test_a_missing_or_broken_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with pytest.raises(LakeError, match=r"evens/none\.json is missing; run the stage"):
        lake.read_json("evens/none.json")
    with pytest.raises(LakeError, match=r"part-a\.parquet is missing; run the stage"):
        list(lake.batches("evens/part-a.parquet"))
    lake.write_bytes("evens/bad.json", b"{")
    with pytest.raises(LakeError, match=r"is not JSON .* delete it and run its stage again"):
        lake.read_json("evens/bad.json")


def test_equal_json_is_equal_bytes(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write_json("a.json", {"x": 1, "y": [2]})
    lake.write_json("b.json", {"y": [2], "x": 1})
    assert lake.read_bytes("a.json") == lake.read_bytes("b.json")


def test_only_files_that_no_process_has_open_are_swept(tmp_path: Path) -> None:
    live = open_temporary(tmp_path / "live.parquet.host-1.tmp")
    (tmp_path / "dead.parquet.host-2.tmp").write_bytes(b"half a file")
    (tmp_path / "part-a.parquet").write_bytes(b"whole")
    assert sweep_temporaries(tmp_path) == ["dead.parquet.host-2.tmp"]
    assert sorted(os.listdir(tmp_path)) == ["live.parquet.host-1.tmp", "part-a.parquet"]
    fcntl.flock(live, fcntl.LOCK_UN)
    live.close()
    assert sweep_temporaries(tmp_path) == ["live.parquet.host-1.tmp"]
