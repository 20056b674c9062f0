"""The frame: filters in order over shards, every row accounted for, what is dropped kept to look at."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest

import filters.frame as frame
from filters.frame import KEEP, Decision, FilterConfig, drop, make, run
from pipeline.config import ConfigError
from pipeline.lake import Lake
from pipeline.ledger import Ledger
from pipeline.records import SCHEMA, Trial, content_hash, from_batch, seal, to_batch
from pipeline.splits import split_of
from pipeline.stage import ShardInput, Stage, StageError, run_stage
from tests.filters.trials import mined_trial, step, synthetic_trial, with_edit, with_steps


def emit(lake: Lake, shard: ShardInput, ledger: Ledger):  # type: ignore[no-untyped-def]
    ledger.take(len(shard.payload))
    ledger.keep(len(shard.payload))
    for start in range(0, len(shard.payload), 3):
        yield "part", to_batch(shard.payload[start : start + 3])


def write(lake: Lake, name: str, *shards: Sequence[Trial]) -> None:
    stage = Stage(name=name, unit="trials", tables={"part": SCHEMA}, transform=emit)
    inputs = [
        ShardInput(key=f"{n:03d}", fingerprint=",".join(row.trial_id for row in rows), payload=rows)
        for n, rows in enumerate(shards)
    ]
    run_stage(lake, stage, inputs)


def rows(lake: Lake, table: str = "part") -> list[Trial]:
    return [row for s in lake.shards("filtered", table) for batch in lake.batches(s.path) for row in from_batch(batch)]


def config(*names: str, **values: object) -> FilterConfig:
    return FilterConfig(sources=("verified", "synth"), filters=names or tuple(frame.FILTERS), **values)  # type: ignore[arg-type]


@dataclass(frozen=True)
class ShoutConfig:
    word: str = "left"


class Shout:
    """Writes one word of actions in capitals and drops trials that shout already."""

    config_type: ClassVar[type] = ShoutConfig
    version: ClassVar[int] = 1

    def __init__(self, config: ShoutConfig) -> None:
        self._word = config.word

    def decide(self, batch: pa.RecordBatch) -> list[Decision]:
        return [self._one(trial) for trial in from_batch(batch)]

    def _one(self, trial: Trial) -> Decision:
        text = trial.episodes[0].steps[0].text
        if text == self._word.upper():
            return drop("shouts", text)
        if text != self._word:
            return KEEP
        first = trial.episodes[0]
        louder = replace(first, steps=(replace(first.steps[0], text=text.upper()),))
        return Decision(action="change", reason="made_loud", trial=replace(trial, episodes=(louder,)))


class Forgetful(Shout):
    """Owes a decision."""

    def decide(self, batch: pa.RecordBatch) -> list[Decision]:
        return super().decide(batch)[1:]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    broken = with_edit(mined_trial(1), 1, "nonsense")
    bot = mined_trial(2)
    for index in (0, 1):
        bot = with_steps(bot, index, *(replace(each, actor="x[bot]") for each in bot.episodes[index].steps))
    write(lake, "verified", [mined_trial(0), broken, bot, mined_trial(3)], [mined_trial(0), mined_trial(4)])
    write(lake, "synth", [synthetic_trial(n, "left") for n in (0, 0, 1, 2)], [synthetic_trial(0, "left")])
    return lake


def test_every_row_is_kept_or_dropped_with_a_reason(lake: Lake) -> None:
    ledger = run(lake, config())
    assert (ledger.rows_in, ledger.rows_out) == (11, 8)
    assert ledger.dropped == {
        "replay.unparsable": 1,
        "bots.only_bots_acted": 1,
        "exact_duplicates.same_content": 1,
    }
    assert len(rows(lake)) == 8
    assert [row.task.prompt.split("\n")[0] for row in rows(lake) if row.task.environment == "repository"] == [
        f"Repository shop, change {n}." for n in (0, 3, 4)
    ]


def test_what_is_kept_is_not_touched(lake: Lake) -> None:
    run(lake, config())
    assert mined_trial(0) in [replace(row, split=None) for row in rows(lake)]
    assert all(row.notes == () for row in rows(lake))


def test_what_is_dropped_can_be_looked_at(lake: Lake) -> None:
    run(lake, config())
    notes = {row.notes[-1].filter: row.notes[-1] for row in rows(lake, "dropped")}
    assert sorted(notes) == ["bots", "exact_duplicates", "replay"]
    assert {note.action for note in notes.values()} == {"drop"}
    assert notes["replay"].reason == "unparsable"
    assert "episode 1: line 1 of the edit: 'nonsense' begins no file section" in str(notes["replay"].detail)
    assert notes["exact_duplicates"].detail == f"same content as trial {mined_trial(0).trial_id}"


def test_a_change_gets_a_note_and_the_id_of_its_new_content(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "FILTERS", {"shout": "tests.filters.test_frame:Shout"})
    ledger = run(lake, FilterConfig(sources=("synth",), filters=("shout",)))
    found = rows(lake)
    assert [row.episodes[0].steps[0].text for row in found] == ["LEFT"] * 5
    assert {(n.filter, n.action, n.reason) for row in found for n in row.notes} == {("shout", "change", "made_loud")}
    assert all(row.trial_id == content_hash(row) for row in found)
    assert found[0].trial_id != synthetic_trial(0, "left").trial_id
    assert ledger.counts == {"changed.shout.made_loud": 5}


def test_a_later_filter_sees_what_an_earlier_one_left(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    one = "tests.filters.test_frame:Shout"
    monkeypatch.setattr(frame, "FILTERS", {"shout": one, "again": one})
    ledger = run(lake, FilterConfig(sources=("synth",), filters=("shout", "again")))
    assert ledger.dropped == {"again.shouts": 5}
    assert [len(row.notes) for row in rows(lake, "dropped")] == [2] * 5


def test_options_reach_the_filter_and_make_it_run_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "FILTERS", {"shout": "tests.filters.test_frame:Shout"})
    run(lake, FilterConfig(sources=("synth",), filters=("shout",)))
    ledger = run(lake, FilterConfig(sources=("synth",), filters=("shout",), options={"shout": {"word": "right"}}))
    assert ledger.counts == {}


def test_a_filter_that_owes_a_decision_stops_the_stage(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "FILTERS", {"forgetful": "tests.filters.test_frame:Forgetful"})
    with pytest.raises(RuntimeError, match=r"gave \d decisions on \d trials"):
        run(lake, FilterConfig(sources=("synth",), filters=("forgetful",)))


def test_bad_names_options_and_sources_are_refused(lake: Lake) -> None:
    with pytest.raises(ValueError, match="'bot' is not known; known are exact_duplicates"):
        config("bot")
    with pytest.raises(ValueError, match="names something twice"):
        config("bots", "bots")
    with pytest.raises(ConfigError, match="no key 'mor'; did you mean 'more'"):
        make("bots", {"mor": []})
    with pytest.raises(ValueError, match="'mined' is not in lake"):
        run(lake, FilterConfig(sources=("mined",)))


def test_a_stage_that_stopped_half_way_is_refused(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with pytest.raises(StageError):
        write(lake, "verified", [mined_trial(0)], [replace(mined_trial(1), trial_id="")])
    assert len(lake.shards("verified")) == 1
    with pytest.raises(ValueError, match=r"'verified' in lake .* has not finished .*; run it again to finish it"):
        run(lake, FilterConfig(sources=("verified",)))
    write(lake, "verified", [mined_trial(0)], [mined_trial(1)])
    assert run(lake, FilterConfig(sources=("verified",))).rows_in == 2


class TestSplits:
    def test_every_trial_gets_the_split_of_its_group_and_keeps_one_that_it_has(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path)
        write(lake, "verified", [mined_trial(n) for n in range(60)], [mined_trial(n, tokens=1) for n in range(60)])
        write(lake, "synth", [replace(synthetic_trial(n), split="validation") for n in range(60)])
        settings = config("replay", test_fraction=0.3)
        ledger = run(lake, settings)
        splits: dict[str, set[str | None]] = {}
        for row in rows(lake):
            assert row.notes == ()
            splits.setdefault(row.group_id, set()).add(row.split)
        assert len(splits) == 120
        assert {name: splits[name] for name in splits if name.startswith("door")} == {
            f"door-{n}": {"validation"} for n in range(60)
        }
        for n in range(60):
            assert splits[f"family-{n}"] == {split_of(f"family-{n}", 0, 0.3)}
        assert 8 < sum(each == {"test"} for each in splits.values()) < 30
        assert ledger.counts == {}

    def test_fraction_and_seed_decide_the_groups(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path)
        write(lake, "verified", [mined_trial(n) for n in range(40)])
        found = []
        for fraction, seed in ((0.5, 0), (0.5, 1), (0.0, 0), (1.0, 0)):
            settings = {"test_fraction": fraction, "split_seed": seed}
            run(lake, FilterConfig(sources=("verified",), filters=("replay",), **settings))  # type: ignore[arg-type]
            found.append({row.group_id for row in rows(lake) if row.split == "test"})
        assert found[0] != found[1]
        assert [len(each) for each in found[2:]] == [0, 40]
        with pytest.raises(ValueError, match=r"test_fraction 1\.5 is outside"):
            FilterConfig(test_fraction=1.5)


def test_a_filter_that_compares_shards_goes_first(lake: Lake) -> None:
    with pytest.raises(ValueError, match="'exact_duplicates' judges the stages as they are; name it before 'bots'"):
        run(lake, config("bots", "exact_duplicates"))


def test_a_decision_says_why_or_nothing() -> None:
    for wrong in ({"action": "drop"}, {"action": "keep", "reason": "x"}, {"action": "change", "reason": "x"}):
        with pytest.raises(ValueError, match="decision"):
            Decision(**wrong)  # type: ignore[arg-type]


def digests(lake: Lake) -> dict[str, str]:
    folder = lake.local_path("filtered")
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_neither_workers_nor_a_second_run_change_a_byte(lake: Lake, tmp_path: Path) -> None:
    run(lake, config(), workers=1)
    once = digests(lake)
    run(lake, config(), workers=1)
    assert digests(lake) == once
    other = Lake(tmp_path / "other")
    for name in ("verified", "synth"):
        shards = [[r for b in lake.batches(s.path) for r in from_batch(b)] for s in lake.shards(name)]
        write(other, name, *shards)
    run(other, config(), workers=2)
    assert digests(other) == once


class TestExactDuplicates:
    def test_the_first_source_shard_and_row_wins(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path)
        write(lake, "verified", [mined_trial(1)], [mined_trial(0), mined_trial(0)])
        write(lake, "synth", [mined_trial(1), mined_trial(0), mined_trial(2)])
        ledger = run(lake, config("exact_duplicates"))
        assert ledger.dropped == {"exact_duplicates.same_content": 3}
        kept = {shard.key: shard.rows for shard in lake.shards("filtered")}
        assert kept == {"verified.000": 1, "verified.001": 1, "synth.000": 1}
        turned = FilterConfig(sources=("synth", "verified"), filters=("exact_duplicates",))
        run(lake, turned)
        kept = {shard.key: shard.rows for shard in lake.shards("filtered")}
        assert kept == {"verified.000": 0, "verified.001": 0, "synth.000": 3}

    def test_a_fork_repeats_its_origin_but_other_text_does_not(self, tmp_path: Path) -> None:
        trial = mined_trial()
        fork = seal(replace(trial, group_id="x", task=replace(trial.task, repo="other/shop", base_commit="1" * 40)))
        windows = with_edit(trial, 0, trial.episodes[0].steps[1].text.replace("\n", "  \r\n"))
        reworded = with_steps(trial, 1, step("feedback", "issue", "Other words.", 5), *trial.episodes[1].steps[1:])
        lake = Lake(tmp_path)
        write(lake, "verified", [trial, fork, windows, reworded])
        write(lake, "synth", [])
        assert run(lake, config("exact_duplicates")).dropped == {"exact_duplicates.same_content": 2}
        assert [row.trial_id for row in rows(lake)] == [trial.trial_id, reworded.trial_id]

    def test_of_copies_with_other_rewards_the_one_that_knows_best_stays(self, tmp_path: Path) -> None:
        def rewarded(group: str, *rewards: tuple[float | None, str | None]) -> Trial:
            trial = mined_trial()
            episodes = tuple(
                replace(each, reward=reward, reward_source=source)
                for each, (reward, source) in zip(trial.episodes, rewards, strict=True)
            )
            return seal(replace(trial, group_id=group, episodes=episodes))

        unknown = rewarded("a", (0.0, "history"), (None, None))
        reverted = rewarded("b", (0.0, "history"), (0.0, "history"))
        landed = rewarded("c", (0.0, "history"), (1.0, "history"))
        executed = rewarded("d", (None, None), (1.0, "tests"))
        again = rewarded("e", (None, None), (0.0, "tests"))
        unexecuted = rewarded("f", (None, "tests"), (None, "tests"))

        def kept(number: int, *shards: Sequence[Trial]) -> list[str]:
            lake = Lake(tmp_path / str(number))
            write(lake, "verified", *shards)
            assert run(lake, FilterConfig(sources=("verified",), filters=("exact_duplicates",))).rows_out == 1
            assert {row.notes[-1].detail for row in rows(lake, "dropped")} == {
                f"same content as trial {rows(lake)[0].trial_id}"
            }
            return [row.group_id for row in rows(lake)]

        assert kept(0, [unknown, reverted], [landed]) == ["b"]
        assert kept(1, [unknown], [landed, reverted]) == ["c"]
        assert kept(2, [unknown, landed, executed, reverted, again]) == ["d"]
        assert kept(3, [unknown, landed], [reverted], [again, unknown], [executed]) == ["e"]
        assert kept(4, [executed, executed], [executed]) == ["d"]
        assert kept(5, [unexecuted, unknown]) == ["a"]

    def test_synthetic_trials_are_samples_and_stay_unless_asked(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path)
        write(lake, "verified", [])
        write(lake, "synth", [synthetic_trial(0), synthetic_trial(0)], [synthetic_trial(0), synthetic_trial(1)])
        assert run(lake, config("exact_duplicates")).rows_out == 4
        asked = {"exact_duplicates": {"environments": ["hidden_door"]}}
        assert run(lake, config("exact_duplicates", options=asked)).rows_out == 2

    def test_a_shard_that_comes_later_is_judged_by_the_ones_before(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path)
        write(lake, "synth", [])
        write(lake, "verified", [mined_trial(0)])
        assert run(lake, config("exact_duplicates")).rows_out == 1
        write(lake, "verified", [mined_trial(0)], [mined_trial(0), mined_trial(1)])
        assert run(lake, config("exact_duplicates")).rows_out == 2

    def test_an_earlier_shard_that_comes_later_takes_the_place_of_the_first(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path)
        write(lake, "verified", [])
        write(lake, "synth", [mined_trial(0)])
        run(lake, config("exact_duplicates"))
        assert {shard.key: shard.rows for shard in lake.shards("filtered")} == {"verified.000": 0, "synth.000": 1}
        write(lake, "verified", [mined_trial(0)])
        run(lake, config("exact_duplicates"))
        assert {shard.key: shard.rows for shard in lake.shards("filtered")} == {"verified.000": 1, "synth.000": 0}

    def test_many_rows_are_joined_outside_memory(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path)
        write(lake, "synth", [synthetic_trial(n // 2) for n in range(3000)])
        write(lake, "verified", [synthetic_trial(n) for n in range(2000)])
        asked = {"exact_duplicates": {"environments": ["hidden_door"], "memory_bytes": 64 << 20}}
        assert run(lake, config("exact_duplicates", options=asked)).rows_out == 2000
