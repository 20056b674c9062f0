from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from filters.frame import FilterConfig
from filters.frame import run as filtered
from pipeline.lake import Lake
from pipeline.ledger import Ledger
from pipeline.package import PackageConfig, package
from pipeline.records import SCHEMA, Episode, Provenance, Step, Task, Trial, seal, to_batch
from pipeline.render import KINDS
from pipeline.stage import ShardInput, Stage, StageError, run_stage
from pipeline.tokens import EPISODE, TASK, ByteTokenizer
from scaffolds.synth import SynthConfig
from scaffolds.synth import run as synth
from tests.filters.trials import mined_trial
from training.data import Cursor, DataConfig, PackedTrials, read_trials, shards, single_episodes

TOKENIZER = ByteTokenizer()
DOORS = DataConfig(environments=("hidden_door",), sequence_tokens=160, batch_rows=4, window_shards=2, seed=5)


def emit(lake: Lake, shard: ShardInput, ledger: Ledger) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Two mined trials each of 20 groups, which all shards have; none has a split."""
    trials = [mined_trial(n // 2, tokens=int(shard.payload)) for n in range(40)]
    ledger.take(len(trials))
    ledger.keep(len(trials))
    yield "part", to_batch(trials)


def trials_of(lake: Lake, config: DataConfig) -> list[Trial]:
    return [trial for shard in shards(lake, config.stages) for trial in read_trials(lake, config, shard)]


def test_an_epoch_reads_every_trial_once_and_epochs_differ_in_order(lake: Lake) -> None:
    epochs: list[list[str]] = [[], []]
    for batch, cursor in PackedTrials(lake, TOKENIZER, replace(DOORS, batch_rows=1)).batches(Cursor()):
        if cursor.epoch > 1:
            break
        ids = batch.input_ids[0].tolist()
        starts = [*(place for place, token in enumerate(ids) if token == TOKENIZER.special_id(TASK)), len(ids)]
        epochs[cursor.epoch] += [TOKENIZER.decode(ids[a:b]) for a, b in pairwise(starts)]
    assert len(epochs[0]) == 240
    assert Counter(epochs[0]) == Counter(epochs[1])
    assert epochs[0] != epochs[1]


def test_a_cursor_continues_with_the_very_batch_that_would_have_come(lake: Lake) -> None:
    every = list(islice(PackedTrials(lake, TOKENIZER, DOORS).batches(Cursor()), 60))
    assert every[-1][1].epoch >= 1
    for stop in (1, 17, 40):
        resumed = islice(PackedTrials(lake, TOKENIZER, DOORS).batches(every[stop - 1][1]), 3)
        for (batch, cursor), (expected, expected_cursor) in zip(resumed, every[stop:], strict=False):
            assert cursor == expected_cursor
            assert torch.equal(batch.input_ids, expected.input_ids)


def test_environments_and_splits_are_kept_apart(lake: Lake) -> None:
    assert {trial.task.environment for trial in trials_of(lake, DOORS)} == {"hidden_door"}
    assert len(trials_of(lake, replace(DOORS, environments=()))) == 300
    with pytest.raises(ValueError, match="split 'test'"):
        next(PackedTrials(lake, TOKENIZER, replace(DOORS, split="test")).batches(Cursor()))
    with pytest.raises(ValueError, match="'absent' is not in lake"):
        PackedTrials(lake, TOKENIZER, replace(DOORS, stages=("absent",)))


def test_training_reads_no_group_that_the_release_holds_back(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    mined = Stage(name="verified", unit="trials", tables={"part": SCHEMA}, transform=emit)
    run_stage(lake, mined, [ShardInput(key=key, fingerprint=key, payload=key) for key in ("0", "1", "2")])
    with pytest.raises(ValueError, match=r"verified/part-0\.parquet has trials without a split; run the filters"):
        trials_of(lake, DataConfig(stages=("verified",)))
    synth(lake, SynthConfig(environment="hidden_door", environment_args={"doors": 3}, k=2, trials=30))
    filtered(lake, FilterConfig(filters=("replay",), test_fraction=0.3))
    manifest = package(lake, PackageConfig(target=str(tmp_path / "release")))
    released: dict[str, set[str]] = {"train": set(), "test": set()}
    for file in manifest.files:
        released[file.split] |= set(pq.read_table(tmp_path / "release" / file.path)["group_id"].to_pylist())
    read = {trial.group_id for trial in trials_of(lake, DataConfig(stages=("filtered",)))}
    assert read == released["train"]
    assert not read & released["test"]
    assert len(released["test"]) > 5
    assert {trial.group_id for trial in trials_of(lake, DataConfig(stages=("filtered",), split="test"))} == (
        released["test"]
    )


def test_a_stage_that_stopped_half_way_is_not_read(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    stage = Stage(name="synth", unit="trials", tables={"part": SCHEMA}, transform=emit)
    with pytest.raises(StageError):
        run_stage(lake, stage, [ShardInput(key=key, fingerprint=key, payload=key) for key in ("0", "broken")])
    assert len(lake.shards("synth")) == 1
    with pytest.raises(ValueError, match=r"'synth' in lake .* has not finished .*; run it again to finish it"):
        shards(lake, ("synth",))


def test_weights_fall_on_what_the_policy_writes(lake: Lake) -> None:
    batch, _ = next(PackedTrials(lake, TOKENIZER, DOORS).batches(Cursor()))
    learned = {KINDS[kind] for kind in batch.kinds[batch.weights > 0].tolist()}
    assert learned == {"action"}
    assert batch.episodes[batch.weights > 0].unique().tolist() == [0, 1]


def test_the_cut_corpus_has_all_episodes_and_no_trial(lake: Lake) -> None:
    cut = trials_of(lake, replace(DOORS, single_episodes=True))
    assert len(cut) == 480
    assert {len(trial.episodes) for trial in cut} == {1}
    assert {trial.episodes[0].index for trial in cut} == {0}
    batch, _ = next(PackedTrials(lake, TOKENIZER, replace(DOORS, single_episodes=True)).batches(Cursor()))
    ids = batch.input_ids.flatten().tolist()
    assert ids.count(TOKENIZER.special_id(EPISODE)) == ids.count(TOKENIZER.special_id(TASK)) == batch.documents


def test_feedback_on_the_episode_before_goes_when_a_trial_is_cut() -> None:
    def act(text: str) -> Step:
        return Step(kind="action", channel="message", text=text)

    def answer(text: str) -> Step:
        return Step(kind="feedback", channel="environment", text=text)

    def episode(index: int, *steps: Step) -> Episode:
        return Episode(index=index, steps=steps, reward=0.0, reward_source="verifier")

    trial = Trial(
        task=Task(prompt="p", environment="e", seed=1),
        episodes=(
            episode(0, answer("the task's own"), act("a"), answer("on a")),
            episode(1, answer("on episode 0"), act("b"), answer("on b")),
        ),
        group_id="g",
        provenance=Provenance(source="test"),
    )
    first, second = single_episodes(seal(trial))
    assert [step.text for step in first.episodes[0].steps] == ["the task's own", "a", "on a"]
    assert [step.text for step in second.episodes[0].steps] == ["b", "on b"]
    assert first.trial_id != second.trial_id


def test_a_trial_longer_than_a_row_loses_no_token(lake: Lake) -> None:
    def tokens(config: DataConfig) -> int:
        total = 0
        for batch, cursor in PackedTrials(lake, TOKENIZER, replace(config, batch_rows=1)).batches(Cursor()):
            if cursor.epoch:
                return total
            total += batch.tokens
        raise AssertionError

    assert tokens(replace(DOORS, sequence_tokens=16)) == tokens(DOORS)
