"""Packaging: a release is complete, ordered, split by group, the same bytes each time, and `datasets` reads it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from pipeline import package as package_module
from pipeline.lake import Lake
from pipeline.package import Manifest, PackageConfig, PackageError, package, read_manifest
from pipeline.records import SCHEMA, Episode, Provenance, Step, Task, Trial, from_batch, from_row, seal, to_batch
from pipeline.splits import split_of
from pipeline.stage import ShardInput, Stage, StageError, run_stage


def trial(number: int, group: int, split: str | None = None, text: str = "left") -> Trial:
    steps = (
        Step(kind="feedback", channel="review", text="\u202eno\x00"),
        Step(kind="action", channel="message", text=f"{text} {number}"),
    )
    known = number % 3 != 0
    return seal(
        Trial(
            task=Task(prompt=f"Task {group}", environment="repository", repo="one/two", language="python"),
            episodes=(
                Episode(index=0, steps=steps, reward=0.0, reward_source="history"),
                Episode(
                    index=1,
                    steps=steps[1:],
                    reward=1.0 if known else None,
                    reward_source="tests" if known else None,
                ),
            ),
            group_id=f"group-{group}",
            split=split,
            provenance=Provenance(source="git", license=("MIT", "Apache-2.0", "GPL-2.0-only", None)[group % 4]),
        )
    )


def emit(lake: Lake, shard: ShardInput, ledger: object):  # type: ignore[no-untyped-def]
    rows: Sequence[Trial] = shard.payload
    ledger.take(len(rows) + 1)  # type: ignore[attr-defined]
    ledger.keep(len(rows))  # type: ignore[attr-defined]
    ledger.drop("bots.only_bots_acted")  # type: ignore[attr-defined]
    for start in range(0, len(rows), 50):
        yield "part", to_batch(rows[start : start + 50])


def make_lake(root: Path, shards: Sequence[Sequence[Trial]], test_fraction: float | None = 0.2) -> Lake:
    """A lake with a stage `filtered`, where rows without a split have that of their group unless told otherwise."""
    lake = Lake(root)
    if test_fraction is not None:
        shards = [
            [replace(row, split=row.split or split_of(row.group_id, 0, test_fraction)) for row in rows]
            for rows in shards
        ]
    stage = Stage(name="filtered", unit="trials", tables={"part": SCHEMA}, transform=emit)
    inputs = [
        ShardInput(key=f"{n:03d}", fingerprint=",".join(f"{row.trial_id} {row.split}" for row in rows), payload=rows)
        for n, rows in enumerate(shards)
    ]
    run_stage(lake, stage, inputs)
    return lake


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    return [trial(number, number // 3) for number in range(900)]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, trials: list[Trial]) -> Lake:
    return make_lake(tmp_path_factory.mktemp("lake"), [trials[n::4] for n in range(4)])


def release(lake: Lake, target: Path, **options: object) -> Manifest:
    return package(lake, PackageConfig(target=str(target), **options))  # type: ignore[arg-type]


def rows_of(folder: Path, manifest: Manifest, split: str) -> list[Trial]:
    return [
        row
        for file in manifest.files
        if file.split == split
        for row in from_batch(pq.read_table(folder / file.path, schema=SCHEMA))
    ]


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_trial_is_in_one_split_and_groups_never_straddle(lake: Lake, trials: list[Trial], tmp_path: Path) -> None:
    manifest = release(lake, tmp_path / "release")
    splits = {split: rows_of(tmp_path / "release", manifest, split) for split in ("train", "test")}
    assert {row.trial_id for rows in splits.values() for row in rows} == {row.trial_id for row in trials}
    assert manifest.rows == sum(map(len, splits.values())) == len(trials)
    groups = {split: {row.group_id for row in rows} for split, rows in splits.items()}
    assert not groups["train"] & groups["test"]
    assert 0.1 < len(groups["test"]) / 300 < 0.3
    assert all(row.split == split for split, rows in splits.items() for row in rows)
    by_id = {row.trial_id: row for row in trials}
    assert all(replace(row, split=None) == by_id[row.trial_id] for rows in splits.values() for row in rows)


def test_groups_stand_together_and_order_is_not_that_of_the_input(lake: Lake, tmp_path: Path) -> None:
    manifest = release(lake, tmp_path / "release")
    groups = [row.group_id for row in rows_of(tmp_path / "release", manifest, "train")]
    runs = [group for place, group in enumerate(groups) if place == 0 or groups[place - 1] != group]
    assert len(runs) == len(set(runs))
    assert runs != sorted(runs)


def test_two_builds_are_the_same_bytes_and_a_seed_gives_others(lake: Lake, tmp_path: Path) -> None:
    for name in ("one", "two"):
        release(lake, tmp_path / name)
    release(lake, tmp_path / "seeded", seed=1)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert digests(tmp_path / "one") != digests(tmp_path / "seeded")


def test_the_order_hangs_neither_on_the_shards_nor_on_the_number_of_buckets(
    lake: Lake, trials: list[Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = release(lake, tmp_path / "plain")
    other = make_lake(tmp_path / "lake", [list(reversed(trials[:700])), trials[700:]])
    monkeypatch.setattr(package_module, "BUCKET_BYTES", 20_000)
    bucketed = release(other, tmp_path / "bucketed")
    for split in ("train", "test"):
        assert rows_of(tmp_path / "plain", plain, split) == rows_of(tmp_path / "bucketed", bucketed, split)


def test_files_have_about_the_size_asked_for_and_are_numbered(tmp_path: Path) -> None:
    noise = [trial(n, n, text=hashlib.sha512(str(n).encode()).hexdigest() * 8) for n in range(600)]
    manifest = release(make_lake(tmp_path / "lake", [noise]), tmp_path / "release", shard_bytes=20_000)
    names = [file.path for file in manifest.files if file.split == "train"]
    assert len(names) > 2
    assert names == [f"data/train-{n:05d}-of-{len(names):05d}.parquet" for n in range(len(names))]
    assert sorted(p.name for p in (tmp_path / "release" / "data").iterdir()) == sorted(
        Path(file.path).name for file in manifest.files
    )
    assert all(file.bytes < 60_000 for file in manifest.files)
    metadata = pq.read_metadata(tmp_path / "release" / names[0])
    assert metadata.row_group(0).column(0).compression == "ZSTD"


def test_the_manifest_tells_the_truth(lake: Lake, trials: list[Trial], tmp_path: Path) -> None:
    release(lake, tmp_path / "release")
    manifest = read_manifest(tmp_path / "release")
    for file in manifest["files"]:
        data = (tmp_path / "release" / file["path"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
        assert pq.read_metadata(tmp_path / "release" / file["path"]).num_rows == file["rows"]
    assert manifest["schema_version"] == "1.0"
    ledger = manifest["ledgers"][0]
    assert (ledger["stage"], ledger["rows_out"], ledger["dropped"]) == ("filtered", 900, {"bots.only_bots_acted": 4})
    counts = manifest["statistics"]
    assert counts["rewards"] == {"0 0": 900, "1 1": 600, "1 unknown": 300}
    assert counts["reward_sources"] == {"history": 900, "none": 300, "tests": 600}
    assert counts["licenses"] == {"Apache-2.0": 225, "GPL-2.0-only": 225, "MIT": 225, "none": 225}
    assert (counts["trials"], counts["episodes"], counts["steps"]) == (900, 1800, 2700)
    text = [row.task.prompt for row in trials] + [s.text for row in trials for e in row.episodes for s in e.steps]
    assert counts["text_bytes"] == sum(len(each.encode()) for each in text)


def test_the_card_has_the_tables_and_the_licenses_found(lake: Lake, tmp_path: Path) -> None:
    release(lake, tmp_path / "release", name="my corpus")
    text = (tmp_path / "release" / "README.md").read_text()
    assert 'pretty_name: "my corpus"\nlicense:\n- apache-2.0\n- gpl-2.0\n- mit\n' in text
    assert "- n<1K\n" in text
    assert "| git | 900 |" in text
    assert "| 1 | 600 | 0 | 0 | 300 |" in text
    assert "| filtered | bots.only_bots_acted | 4 |" in text
    release(lake, tmp_path / "release", license="cc-by-4.0")
    assert "license:\n- cc-by-4.0\n" in (tmp_path / "release" / "README.md").read_text()


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_loads_the_folder_with_its_splits(
    lake: Lake, tmp_path: Path, streaming: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    manifest = release(lake, tmp_path / "release")
    loaded = load_dataset(str(tmp_path / "release"), streaming=streaming, cache_dir=str(tmp_path / "cache"))
    assert sorted(loaded) == ["test", "train"]
    for split in loaded:
        assert [from_row(row) for row in loaded[split]] == rows_of(tmp_path / "release", manifest, split)


def test_a_release_without_test_groups_has_one_split(trials: list[Trial], tmp_path: Path) -> None:
    release(make_lake(tmp_path / "lake", [trials[:30]], test_fraction=0.0), tmp_path / "release")
    loaded = load_dataset(str(tmp_path / "release"), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"]


def test_a_trial_without_a_split_is_refused(tmp_path: Path) -> None:
    rows = [trial(n, n, split=("test" if n % 2 else None)) for n in range(20)]
    with pytest.raises(PackageError, match=r"'group-\d+' has no split; release .*'filtered'.* run the filters again"):
        release(make_lake(tmp_path / "lake", [rows], test_fraction=None), tmp_path / "release")
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]


def test_a_group_with_two_splits_is_refused(tmp_path: Path) -> None:
    rows = [trial(n, 0, split=("test" if n % 2 else "train")) for n in range(2)]
    with pytest.raises(PackageError, match=r"'group-0' has trials in (train and in test|test and in train)"):
        release(make_lake(tmp_path / "lake", [rows]), tmp_path / "release")
    assert not (tmp_path / "release").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]


def test_an_unfinished_or_empty_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"'filtered' is not in lake .* run it first"):
        release(Lake(tmp_path / "none"), tmp_path / "release")
    half = tmp_path / "half"
    with pytest.raises(StageError):
        make_lake(half, [[trial(0, 0)], [replace(trial(1, 1), trial_id="")]])
    with pytest.raises(PackageError, match=r"'filtered' .* has not finished .* run it again to finish it"):
        release(Lake(half), tmp_path / "release")
    with pytest.raises(PackageError, match="holds no trials"):
        release(make_lake(tmp_path / "lake", [[]]), tmp_path / "release")


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Four times the rows may not cost twice the memory."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pipeline import package\n"
        "from pipeline.lake import Lake\n"
        "package.BUCKET_BYTES = 8 << 20\n"
        "package.ROW_GROUP_BYTES = 4 << 20\n"
        "package._SLICE_BYTES = 1 << 20\n"
        "package.package(Lake(sys.argv[1]), package.PackageConfig(target=sys.argv[2]))\n"
        # not getrusage: its peak begins with that of the process that forked this one
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    peaks = []
    for shards in (8, 32):
        rows = [
            [trial(n, n, text=hashlib.sha512(f"{n}".encode()).hexdigest() * 512) for n in range(s * 100, s * 100 + 100)]
            for s in range(shards)
        ]
        make_lake(tmp_path / f"lake{shards}", rows)
        size = sum(to_batch(part).nbytes for part in rows)
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / f"lake{shards}"), str(tmp_path / f"release{shards}")],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append((int(done.stdout) << 10, size))
    (small, small_size), (large, large_size) = peaks
    assert large - small < (large_size - small_size) / 4, json.dumps(peaks)
