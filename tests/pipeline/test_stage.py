import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.lake import Lake, LakeError
from pipeline.ledger import Ledger, LedgerError
from pipeline.stage import ShardInput, Stage, StageError, run_stage, shard_inputs
from tests.pipeline.numbers import NUMBERS, Evens, inputs, snapshot, stage


def test_rows_come_out_and_the_ledger_balances(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    ledger = run_stage(lake, stage(Evens()), inputs())
    assert (ledger.rows_in, ledger.rows_out, dict(ledger.dropped)) == (800, 400, {"odd": 400})
    assert lake.ledger("evens") == ledger
    kept = [n for s in lake.shards("evens") for b in lake.batches(s.path) for n in b["n"].to_pylist()]
    assert kept == list(range(0, 800, 2))
    dropped = [n for s in lake.shards("evens", "dropped") for b in lake.batches(s.path) for n in b["n"].to_pylist()]
    assert dropped == list(range(1, 800, 2))


def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    run_stage(Lake(tmp_path / "one"), stage(Evens()), inputs(), workers=1)
    run_stage(Lake(tmp_path / "three"), stage(Evens()), reversed(inputs()), workers=3)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "three")


def test_second_run_over_unchanged_input_runs_no_shard(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    lake = Lake(tmp_path / "lake")
    first = run_stage(lake, stage(Evens(trace=str(trace))), inputs())
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "lake").rglob("*") if p.is_file()}
    second = run_stage(lake, stage(Evens(trace=str(trace))), inputs())
    assert trace.read_text().split() == list("abcdefgh")
    assert first == second
    assert times == {p: p.stat().st_mtime_ns for p in (tmp_path / "lake").rglob("*") if p.is_file()}


def test_a_changed_input_reruns_its_shard_only_and_a_vanished_one_is_removed(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    lake = Lake(tmp_path / "lake")
    run_stage(lake, stage(Evens()), inputs())
    changed = [*inputs()[:3], ShardInput(key="d", fingerprint="new", payload=(0, 10))]
    ledger = run_stage(lake, stage(Evens(trace=str(trace))), changed)
    assert trace.read_text().split() == ["d"]
    assert ledger.rows_in == 310
    assert [s.key for s in lake.shards("evens")] == ["a", "b", "c", "d"]
    assert not (tmp_path / "lake/evens/part-e.parquet").exists()


def test_two_runs_may_feed_one_stage_and_leave_each_others_shards_alone(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    first = [ShardInput(key=f"flask-{i}", fingerprint="1", payload=(0, 10)) for i in range(2)]
    second = [ShardInput(key=f"pytest-{i}", fingerprint="1", payload=(0, 10)) for i in range(3)]
    run_stage(lake, stage(Evens()), first, owns="flask-")
    assert run_stage(lake, stage(Evens()), second, owns="pytest-").rows_in == 50
    run_stage(lake, stage(Evens()), second[:1], owns="pytest-")
    assert [s.key for s in lake.shards("evens")] == ["flask-0", "flask-1", "pytest-0"]
    with pytest.raises(ValueError, match="does not begin with 'flask-'"):
        run_stage(lake, stage(Evens()), second, owns="flask-")


def test_a_failed_shard_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    broken, trace = tmp_path / "broken", tmp_path / "trace"
    broken.touch()
    lake = Lake(tmp_path / "lake")
    transform = Evens(broken=str(broken), trace=str(trace))
    with pytest.raises(StageError, match="1 of 8 shards failed, first b: OSError: disk on fire"):
        run_stage(lake, stage(transform), inputs(), workers=2)
    assert len(lake.shards("evens")) == 7
    assert lake.ledger("evens") is None
    broken.unlink()
    trace.unlink()
    run_stage(lake, stage(transform), inputs())
    assert trace.read_text().split() == ["b"]
    run_stage(Lake(tmp_path / "calm"), stage(transform), inputs())
    assert snapshot(tmp_path / "lake") == snapshot(tmp_path / "calm")


def _loses_a_row(lake: Lake, shard: ShardInput, ledger: Ledger) -> Iterator[tuple[str, pa.RecordBatch]]:
    ledger.take(3)
    ledger.keep(2)
    yield "part", pa.RecordBatch.from_pydict({"n": [1, 2]}, schema=NUMBERS)


def test_a_lost_row_fails_the_shard(tmp_path: Path) -> None:
    losing = Stage(name="losing", unit="numbers", tables={"part": NUMBERS}, transform=_loses_a_row)
    with pytest.raises(StageError, match="3 numbers in, 2 accounted for") as caught:
        run_stage(Lake(tmp_path), losing, inputs(1))
    assert isinstance(caught.value.__cause__, LedgerError)
    assert list((tmp_path / "losing").glob("*.parquet*")) == []


def test_a_stage_that_writes_nothing_says_so_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run_stage(Lake(tmp_path), stage(Evens()), [ShardInput(key="a", fingerprint="x", payload=(0, 0))])
    assert "wrote no rows" in caplog.text


@pytest.mark.parametrize("key", ["../up", "a/b", "", ".hidden", "a b"])
def test_a_key_that_is_no_plain_file_name_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="not a plain file name"):
        run_stage(Lake(tmp_path), stage(Evens()), [ShardInput(key=key, fingerprint="x", payload=(0, 1))])


def test_paths_that_lead_out_of_the_lake_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="leads out of the lake"):
        Lake(tmp_path / "lake").write_bytes("../secret", b"x")


def test_a_stage_reads_what_the_last_one_committed_and_nothing_beside_it(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    run_stage(lake, stage(Evens()), inputs(2))
    pq.write_table(pa.table({"n": [666]}), tmp_path / "evens" / "part-zz.parquet")
    assert [item.key for item in shard_inputs(lake, "evens")] == ["a", "b"]


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_moments_and_restarted_the_lake_is_byte_identical(tmp_path: Path, workers: int) -> None:
    run_stage(Lake(tmp_path / "calm"), stage(Evens()), inputs())
    rng = random.Random(workers)
    kills = 0
    while True:
        # a whole run pauses for 1.6 s and more, so the first one is always hit
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.pipeline.numbers", str(tmp_path / "lake"), str(workers), "0.04"],
            start_new_session=True,
        )
        try:
            child.wait(timeout=rng.uniform(0.4, 1.5) if kills < 6 else None)
            break
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            kills += 1
    assert child.returncode == 0
    assert kills >= 1
    assert snapshot(tmp_path / "lake") == snapshot(tmp_path / "calm")


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.pipeline.numbers", str(tmp_path / "lake"), "2", "0.5"], start_new_session=True
    )
    deadline = time.monotonic() + 30
    while not list((tmp_path / "lake").rglob("*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.05)
    child.kill()
    child.wait()
    time.sleep(1.0)
    before = snapshot(tmp_path / "lake")
    time.sleep(1.2)
    assert snapshot(tmp_path / "lake") == before
