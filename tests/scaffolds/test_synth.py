import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.lake import Lake
from pipeline.records import Trial, content_hash, from_batch
from scaffolds.environments import ENVIRONMENTS
from scaffolds.environments.hidden_door import HiddenDoor
from scaffolds.protocols import Reward
from scaffolds.synth import INVALID, SynthConfig, run


def trials_of(lake: Lake) -> list[Trial]:
    return [
        trial for shard in lake.shards("synth") for batch in lake.batches(shard.path) for trial in from_batch(batch)
    ]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_row_is_a_trial_with_its_rewards_and_where_it_is_from(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    config = SynthConfig(environment="number_guess", trials=70, shard_trials=30, k=3, informed=0.7, seed=4)
    ledger = run(lake, config)
    trials = trials_of(lake)
    assert (ledger.rows_in, ledger.rows_out, len(trials)) == (70, 70, 70)
    assert len({trial.trial_id for trial in trials}) == 70
    for trial in trials:
        assert trial.trial_id == content_hash(trial)
        assert (trial.split, trial.provenance.source, trial.provenance.model) == (
            "train",
            "synth",
            "scripted/informed=0.7",
        )
        assert all(episode.reward in (0.0, 1.0) for episode in trial.episodes)
        said = json.loads(trial.provenance.sampling or "")
        assert (said["k"], said["strategy"], said["reward_in_context"]) == (3, "retry", True)
    for j in range(3):
        successes = sum(trial.episodes[j].reward == 1.0 for trial in trials)
        assert ledger.counts[f"success_in_episode_{j}"] == successes
    assert ledger.counts["episodes"] == 210


def test_informed_explorers_write_better_trials(tmp_path: Path) -> None:
    late = []
    for informed in (0.0, 0.5, 1.0):
        lake = Lake(str(tmp_path / str(informed)))
        late.append(run(lake, SynthConfig(trials=400, informed=informed)).counts["success_in_episode_3"] / 400)
    assert late[0] + 0.05 < late[1] < late[2] - 0.05
    assert abs(late[0] - 1 / 6) < 0.06 and abs(late[2] - 4 / 6) < 0.08


def test_workers_and_restarts_do_not_change_a_byte(tmp_path: Path) -> None:
    config = SynthConfig(environment="dark_bandit", environment_args={"risky": 2}, trials=90, shard_trials=20, k=3)
    for name, workers in (("one", 1), ("two", 2)):
        run(Lake(str(tmp_path / name)), config, workers=workers)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    shard = Lake(str(tmp_path / "two")).shards("synth")[2]
    (tmp_path / "two" / "synth" / "_manifest" / f"{shard.key}.json").unlink()
    (tmp_path / "two" / shard.path).unlink()
    run(Lake(str(tmp_path / "two")), config)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_a_longer_run_adds_shards_and_keeps_the_others(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    run(lake, SynthConfig(trials=40, shard_trials=20))
    before = {shard.key: (tmp_path / shard.path).stat().st_mtime_ns for shard in lake.shards("synth")}
    run(lake, SynthConfig(trials=80, shard_trials=20))
    after = {shard.key: (tmp_path / shard.path).stat().st_mtime_ns for shard in lake.shards("synth")}
    assert len(after) == 4 and {key: after[key] for key in before} == before


def test_another_seed_or_split_shares_no_instance(tmp_path: Path) -> None:
    groups = []
    for name, seed, split in (("a", 0, "train"), ("b", 1, "train"), ("c", 0, "test")):
        lake = Lake(str(tmp_path / name))
        run(lake, SynthConfig(trials=60, shard_trials=30, seed=seed, split=split))
        groups.append({trial.group_id for trial in trials_of(lake)})
    assert [len(found) for found in groups] == [60, 60, 60]
    assert len(set.union(*groups)) == 180


def test_no_two_shards_hold_the_same_samples(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    run(lake, SynthConfig(trials=60, shard_trials=20, informed=0.0))
    guesses = [[episode.steps[0].text for episode in trial.episodes] for trial in trials_of(lake)]
    assert guesses[:20] != guesses[20:40] != guesses[40:] != guesses[:20]


def test_two_families_stand_side_by_side_in_one_lake(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    run(lake, SynthConfig(trials=10))
    run(lake, SynthConfig(trials=8, environment="dark_bandit"))
    run(lake, SynthConfig(trials=6, environment="dark_bandit", label="few_arms", environment_args={"risky": 2}))
    ledger = run(lake, SynthConfig(trials=4))
    assert Counter(t.task.prompt for t in trials_of(lake)) == {"doors 1-6": 4, "arms 0-3": 8, "arms 0-2": 6}
    assert ledger.rows_out == 18


class BrokenDoor(HiddenDoor):
    """A verifier that cannot be trusted for every third task."""

    def verify(self) -> Reward:
        return Reward(value=1.0) if self._door % 3 == 0 else super().verify()


def test_a_task_whose_verifier_fails_validation_is_dropped_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENTS, "broken_door", f"{__name__}:BrokenDoor")
    lake = Lake(str(tmp_path))
    ledger = run(lake, SynthConfig(environment="broken_door", trials=60))
    ledger.check()
    assert 8 <= ledger.dropped[INVALID] <= 32
    assert len(trials_of(lake)) == 60 - ledger.dropped[INVALID]


def test_what_is_not_known_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for wrong in (
        {"environment": "door"},
        {"environment_args": {"walls": 3}},
        {"engine": "oracle"},
        {"strategy": "despair"},
        {"informed": 2.0},
        {"split": "dev"},
        {"label": "a.b"},
    ):
        with pytest.raises(ValueError):
            run(Lake(str(tmp_path)), SynthConfig(**wrong))  # type: ignore[arg-type]
    assert not list(tmp_path.rglob("*.parquet"))
    with pytest.raises(ValueError, match="shard_trials"):
        SynthConfig(shard_trials=0)


def test_the_shards_are_plain_parquet_of_the_trial_schema(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    run(lake, SynthConfig(trials=20))
    (shard,) = lake.shards("synth")
    table = pq.read_table(tmp_path / shard.path)
    assert table.num_rows == 20 and table["split"].unique().to_pylist() == ["train"]


def _model_folder(lake: Lake, seed: int) -> str:
    from pipeline.bpe import BpeTokenizer
    from training.model import ModelConfig, build_model, save_model

    tokenizer = BpeTokenizer.train(["doors 1-6", "open", "shut"])
    model = build_model(ModelConfig(hidden_size=16, layers=1, heads=2, intermediate_size=32), tokenizer, seed)
    save_model(lake, f"model-{seed}", model, tokenizer.to_bytes())
    return str(lake.local_path(f"model-{seed}"))


def test_a_trained_model_in_a_folder_plays_and_other_weights_play_anew(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    found = []
    for seed in (1, 2):
        config = SynthConfig(
            engine="transformers",
            engine_args={"folder": _model_folder(lake, seed)},
            trials=8,
            k=2,
            max_action_tokens=3,
            label="played",
        )
        assert run(lake, config).rows_out == 8
        (shard,) = lake.shards("synth")
        trials = [trial for batch in lake.batches(shard.path) for trial in from_batch(batch)]
        assert {trial.provenance.source for trial in trials} == {"synth"}
        found.append((shard.sha256, {trial.provenance.model for trial in trials}))
    assert found[0][1] != found[1][1]
    assert found[0][0] != found[1][0]


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not hold config"):
        run(Lake(tmp_path), SynthConfig(engine="transformers", engine_args={"folder": str(tmp_path)}))
