import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.lake import Lake
from pipeline.shard_writer import ShardWriter
from pipeline.stage import ShardInput, Stage, StageError, run_stage
from tests.pipeline.numbers import NUMBERS, Evens, inputs, snapshot, stage


def _configured(number: int, lake: Lake) -> None:
    configured = Stage(
        name="evens",
        unit="numbers",
        tables={"part": NUMBERS, "dropped": NUMBERS},
        transform=Evens(),
        config={"n": number},
    )
    run_stage(lake, configured, [ShardInput(key="a", fingerprint="1", payload=(number, number + 10))])


def test_killed_under_another_config_a_shard_is_never_taken_for_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path / "lake")
    _configured(1, lake)
    commit = ShardWriter.commit

    def killed(self: ShardWriter) -> list[dict[str, object]]:
        commit(self)
        raise KeyboardInterrupt  # between the renames and the manifest entry

    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            _configured(2, lake)
    assert lake.ledger("evens") is None
    _configured(1, lake)
    _configured(1, calm := Lake(tmp_path / "calm"))
    assert snapshot(Path(lake.root)) == snapshot(Path(calm.root))


def test_a_shard_that_was_deleted_or_damaged_is_made_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    run_stage(lake, stage(Evens()), inputs(3))
    before = snapshot(tmp_path)
    (tmp_path / "evens/part-a.parquet").unlink()
    (tmp_path / "evens/part-b.parquet").write_bytes(b"PAR1 but no more")
    run_stage(lake, stage(Evens()), inputs(3))
    assert snapshot(tmp_path) == before


def test_a_killed_worker_fails_its_own_shard_alone_and_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"1 of 6 shards failed, first c: .*killed; if memory ran out, give fewer"):
        run_stage(Lake(tmp_path), stage(Evens(deadly="c")), inputs(6), workers=2)
    assert [shard.key for shard in Lake(tmp_path).shards("evens")] == ["a", "b", "d", "e", "f"]


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_stops_at_once_and_leaves_nothing_unfinished(tmp_path: Path, workers: int) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.pipeline.numbers", str(tmp_path / "lake"), str(workers), "0.5"],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "lake").rglob("*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    began = time.monotonic()
    child.wait(timeout=30)
    assert time.monotonic() - began < 10  # all shards would take 20 s and more
    time.sleep(0.5)
    before = snapshot(tmp_path / "lake")
    time.sleep(1.0)
    assert snapshot(tmp_path / "lake") == before
    assert len(Lake(tmp_path / "lake").shards("evens")) < 8


def test_a_stage_is_not_finished_while_a_run_that_feeds_it_is_not(tmp_path: Path) -> None:
    lake, broken = Lake(tmp_path / "lake"), tmp_path / "broken"
    broken.touch()
    with pytest.raises(StageError):
        run_stage(lake, stage(Evens(broken=str(broken))), inputs(3)[1:2], owns="b")
    run_stage(lake, stage(Evens()), inputs(3)[2:], owns="c")
    assert lake.ledger("evens") is None
    broken.unlink()
    run_stage(lake, stage(Evens(broken=str(broken))), inputs(3)[1:2], owns="b")
    ledger = lake.ledger("evens")
    assert ledger is not None
    assert ledger.rows_in == 200


def test_a_second_run_of_a_stage_is_refused_while_the_first_is_alive(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-m", "tests.pipeline.numbers", str(tmp_path), "1", "0.3"])
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(StageError, match="is being run by another process; wait for it or stop it"):
        run_stage(Lake(tmp_path), stage(Evens()), inputs())
    child.kill()
    child.wait()
    assert run_stage(Lake(tmp_path), stage(Evens()), inputs()).rows_in == 800


def test_a_full_disk_fails_the_shard_and_leaves_nothing_behind(tmp_path: Path) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    done = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.numbers", str(tmp_path), "1", "0"],
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "shards failed" in done.stderr or "File too large" in done.stderr
    assert [name for name in snapshot(tmp_path) if name.endswith((".tmp", ".parquet"))] == []


def test_progress_counts_each_shard_once_after_a_change_of_config(tmp_path: Path) -> None:
    run_stage(Lake(tmp_path), stage(Evens()), inputs(3))
    changed = [ShardInput(key=item.key, fingerprint="new", payload=item.payload) for item in inputs(3)]
    seen: list[tuple[int, int]] = []
    run_stage(Lake(tmp_path), stage(Evens()), changed, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_ledger_that_counts_rows_which_were_not_written_fails_the_shard(tmp_path: Path) -> None:
    def counts_too_much(lake, shard, ledger):  # type: ignore[no-untyped-def]
        for table, batch in Evens()(lake, shard, ledger):
            if table == "dropped":
                yield table, batch

    counting = Stage(
        name="evens", unit="numbers", tables={"part": NUMBERS, "dropped": NUMBERS}, transform=counts_too_much
    )
    with pytest.raises(StageError, match="the table part has 0 rows"):
        run_stage(Lake(tmp_path), counting, inputs(1))
