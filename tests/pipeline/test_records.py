"""Records: nothing a trial can hold is lost between Python, Arrow, Parquet and `datasets`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.records import (
    CHANNELS,
    SCHEMA,
    SCHEMA_VERSION,
    SCHEMA_VERSION_KEY,
    AttemptRef,
    Chain,
    Episode,
    Link,
    Note,
    Provenance,
    RecordError,
    Step,
    Task,
    Trial,
    Version,
    check_schema,
    content_hash,
    from_batch,
    from_row,
    seal,
    to_batch,
    well_formed,
)

NOW = datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)


def adversarial_trials() -> list[Trial]:
    texts = [
        "a\x00b\x00",
        "\u202eright to left\u200f \u0627\u0644\u0639\u0631\u0628\u064a\u0629\u2069",
        "\r\n \r \x0b\x0c\u2028\u2029\x85",
        "e\u0301 is not \u00e9; \ufeff; \ufffe; \U0010ffff; \U0001f468\u200d\U0001f469",
        "",
        "x" * (5 << 20),
        "<|end_trial|>",
    ]
    return [full_trial(text, number) for number, text in enumerate(texts)]


def full_trial(text: str, number: int = 0) -> Trial:
    steps = (
        Step(kind="action", channel="edit", text=text, actor=text[:99], at=NOW, available_at=NOW),
        Step(kind="feedback", channel="review", text=text),
    )
    attempt = AttemptRef(attempt_id="pr-1", kind="pull_request", number=2**40, commits=("a" * 40, "b" * 40), at=NOW)
    link = Link(source="pr-1", target="pr-2", kind="revert", evidence=text, confidence=0.1 + 0.2, rule="r")
    return seal(
        Trial(
            task=Task(prompt=text, environment="repository", seed=-(2**62), repo="r", base_commit="c", language="c"),
            episodes=(
                Episode(index=0, steps=steps, reward=0.0, reward_source="tests", reward_evidence="e", verdict=1 / 3),
                Episode(index=1, steps=()),
            ),
            group_id=f"g{number}",
            provenance=Provenance(
                source="git",
                urls=("u",),
                commits=("d",),
                license="MIT",
                retrieved_at=NOW,
                model="m",
                sampling="{}",
                versions=(Version(name="n", version="1"),),
            ),
            chain=Chain(attempts=(attempt, replace(attempt, number=None, commits=(), at=None)), links=(link,)),
            tokens=7,
            split="train",
            notes=(Note(filter="f", action="change", reason="r", detail=text),),
        )
    )


def sparse_trial() -> Trial:
    episode = Episode(index=0, steps=())
    return seal(
        Trial(
            task=Task(prompt="", environment="e"), episodes=(episode,), group_id="g", provenance=Provenance(source="s")
        )
    )


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    return [*adversarial_trials(), sparse_trial()]


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory, trials: list[Trial]) -> Path:
    path = tmp_path_factory.mktemp("records") / "part.parquet"
    pq.write_table(pa.Table.from_batches([to_batch(trials)]), path)
    return path


def test_arrow_gives_back_equal_trials(trials: list[Trial]) -> None:
    assert list(from_batch(to_batch(trials))) == trials


def test_parquet_gives_back_equal_trials_and_the_schema_version(trials: list[Trial], parquet: Path) -> None:
    table = pq.read_table(parquet)
    assert list(from_batch(table)) == trials
    assert table.schema.metadata[SCHEMA_VERSION_KEY] == SCHEMA_VERSION.encode()


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_gives_back_equal_trials(trials: list[Trial], parquet: Path, tmp_path: Path, streaming: bool) -> None:
    loaded = load_dataset(
        "parquet", data_files=str(parquet), split="train", streaming=streaming, cache_dir=str(tmp_path)
    )
    assert [from_row(row) for row in loaded] == trials


def test_datasets_can_map_and_write_the_rows_again(trials: list[Trial], parquet: Path, tmp_path: Path) -> None:
    loaded = load_dataset("parquet", data_files=str(parquet), split="train", cache_dir=str(tmp_path))
    loaded.filter(lambda row: True).to_parquet(str(tmp_path / "again.parquet"))
    again = load_dataset(
        "parquet", data_files=str(tmp_path / "again.parquet"), split="train", cache_dir=str(tmp_path / "second")
    )
    assert [from_row(row) for row in again] == trials


TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)
SHARE = st.one_of(st.none(), st.floats(0, 1))
TIMES = st.one_of(st.none(), st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)))
STEPS = st.sampled_from([(kind, channel) for kind, names in CHANNELS.items() for channel in names]).flatmap(
    lambda names: st.builds(
        Step, kind=st.just(names[0]), channel=st.just(names[1]), text=TEXT, actor=TEXT, at=TIMES, available_at=TIMES
    )
)


@st.composite
def trials_of_any_kind(draw: st.DrawFn) -> Trial:
    episodes = tuple(
        Episode(
            index=index,
            steps=tuple(draw(st.lists(STEPS, max_size=4))),
            reward=(reward := draw(SHARE)),
            reward_source=None if reward is None else "verifier",
            verdict=draw(SHARE),
        )
        for index in range(draw(st.integers(0, 3)))
    )
    seed = draw(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)))
    return seal(
        Trial(
            task=Task(prompt=draw(TEXT), environment=draw(TEXT), seed=seed),
            episodes=episodes,
            group_id=draw(TEXT.filter(bool)),
            provenance=Provenance(source="s", retrieved_at=draw(TIMES)),
        )
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(trials_of_any_kind(), max_size=3))
def test_any_trial_goes_through_arrow_and_a_parquet_buffer(trials: list[Trial]) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_batches([to_batch(trials)], schema=SCHEMA), sink)
    again = list(from_batch(pq.read_table(pa.BufferReader(sink.getvalue()))))
    assert again == trials
    assert [content_hash(trial) for trial in again] == [trial.trial_id for trial in trials]


@pytest.mark.parametrize(
    ("trial", "where"),
    [
        (full_trial("x", 0), "task.prompt"),
        (full_trial("x", 1), "episodes[0].steps[1].text"),
        (full_trial("x", 2), "notes[0].detail"),
    ],
    ids=["prompt", "step", "note"],
)
def test_a_lone_surrogate_is_refused_with_the_name_of_its_field(trial: Trial, where: str) -> None:
    bad = "ab\ud800c"
    if where == "task.prompt":
        trial = replace(trial, task=replace(trial.task, prompt=bad))
    elif where == "notes[0].detail":
        trial = replace(trial, notes=(replace(trial.notes[0], detail=bad),))
    else:
        first = trial.episodes[0]
        steps = (first.steps[0], replace(first.steps[1], text=bad))
        trial = replace(trial, episodes=(replace(first, steps=steps), *trial.episodes[1:]))
    with pytest.raises(RecordError) as caught:
        to_batch([sparse_trial(), trial])
    assert f"lone surrogate in {where} at character 2" in str(caught.value)
    assert "well_formed" in str(caught.value)


def test_sealing_text_with_a_lone_surrogate_names_the_field_too() -> None:
    trial = replace(sparse_trial(), task=Task(prompt="\udfff", environment="e"))
    with pytest.raises(RecordError, match=r"task\.prompt at character 0"):
        to_batch([seal(trial)])


def test_well_formed_mends_lone_surrogates_and_nothing_else() -> None:
    assert well_formed("a\ud800b\udc00\ud83d\ude00") == "a\ufffdb\ufffd\U0001f600"
    for trial in adversarial_trials():
        assert well_formed(trial.task.prompt) is trial.task.prompt
    to_batch([full_trial(well_formed("\udc80"))])


def test_times_of_other_zones_are_the_same_moment() -> None:
    trial = sparse_trial()
    far = NOW.astimezone(timezone(timedelta(hours=9)))
    moved = seal(replace(trial, provenance=Provenance(source="s", retrieved_at=far)))
    (back,) = from_batch(to_batch([moved]))
    assert back.provenance.retrieved_at == NOW


def test_the_id_is_of_the_content_and_not_of_provenance_or_notes() -> None:
    trial = full_trial("x")
    same = replace(trial, provenance=Provenance(source="other"), notes=(), tokens=None, split="test")
    assert content_hash(same) == trial.trial_id
    flipped = replace(trial.episodes[0], reward=1.0)
    assert content_hash(replace(trial, episodes=(flipped, trial.episodes[1]))) != trial.trial_id


def test_the_id_does_not_hang_on_the_process(trials: list[Trial]) -> None:
    import subprocess
    import sys

    code = "from tests.pipeline.test_records import full_trial; print(full_trial('x').trial_id)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert done.stdout.strip() == full_trial("x").trial_id


@pytest.mark.parametrize("given", [1, True, np.float64(1), np.float32(1), np.int64(1)], ids=repr)
def test_a_share_of_any_number_type_has_the_hash_that_comes_back_from_parquet(given: float) -> None:
    trial = full_trial("x")
    first = replace(trial.episodes[0], reward=given, verdict=given)
    link = replace(trial.chain.links[0], confidence=given)
    trial = seal(
        replace(
            trial, episodes=(first, trial.episodes[1]), chain=replace(trial.chain, links=(link,)), tokens=np.int64(3)
        )
    )
    (back,) = from_batch(to_batch([trial]))
    assert back == trial
    assert content_hash(back) == trial.trial_id
    assert type(trial.episodes[0].reward) is type(trial.chain.links[0].confidence) is float


def test_equal_trials_have_equal_hashes_whatever_their_values_were_given_as() -> None:
    trial = full_trial("x")
    far = NOW.astimezone(timezone(timedelta(hours=-9)))
    first = trial.episodes[0]
    steps = (replace(first.steps[0], at=far, available_at=far), first.steps[1])
    attempts = (replace(trial.chain.attempts[0], number=np.int64(2**40), at=far), trial.chain.attempts[1])
    same = replace(
        trial,
        task=replace(trial.task, seed=np.int64(-(2**62))),
        episodes=(replace(first, index=False, reward=-0.0, steps=steps), trial.episodes[1]),
        chain=replace(trial.chain, attempts=attempts),
    )
    assert same == trial
    assert content_hash(same) == trial.trial_id


def bad_records() -> Iterator[tuple[str, object]]:
    step = Step(kind="action", channel="edit", text="x")
    yield "channel 'review'", lambda: Step(kind="action", channel="review", text="x")
    yield "step kind 'note'", lambda: Step(kind="note", channel="edit", text="x")
    yield "reward 1.5", lambda: Episode(index=0, steps=(step,), reward=1.5, reward_source="tests")
    yield "verdict -0.1", lambda: Episode(index=0, steps=(step,), verdict=-0.1)
    yield "without reward_source", lambda: Episode(index=0, steps=(), reward=1.0)
    yield "reward_source 'guess'", lambda: Episode(index=0, steps=(), reward=1.0, reward_source="guess")
    naive = datetime(2024, 1, 1)
    remedy = "has no time zone; give one"
    yield f"Step.at .* {remedy}", lambda: replace(step, at=naive)
    yield f"Step.available_at .* {remedy}", lambda: replace(step, available_at=naive)
    yield f"AttemptRef.at .* {remedy}", lambda: AttemptRef(attempt_id="a", kind="commit", at=naive)
    yield f"Provenance.retrieved_at .* {remedy}", lambda: Provenance(source="s", retrieved_at=naive)
    edge = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    yield "Step.at .* outside the years 1 to 9999", lambda: replace(step, at=edge)
    link = full_trial("x").chain.links[0]
    yield "Link.confidence nan is outside", lambda: replace(link, confidence=float("nan"))
    yield "Link.confidence inf is outside", lambda: replace(link, confidence=float("inf"))
    yield "Link.confidence 1.01 is outside", lambda: replace(link, confidence=1.01)
    yield "Link.confidence '1' is a str", lambda: replace(link, confidence="1")
    yield (
        "Episode.reward nan is outside",
        lambda: Episode(index=0, steps=(), reward=float("nan"), reward_source="tests"),
    )
    yield "Task.seed 9223372036854775808 does not fit", lambda: Task(prompt="", environment="e", seed=2**63)
    yield "Task.seed 0.5 is a float; give a whole number", lambda: Task(prompt="", environment="e", seed=0.5)  # type: ignore[arg-type]
    yield (
        "AttemptRef.number -9223372036854775809 does not fit",
        lambda: AttemptRef(attempt_id="a", kind="commit", number=-(2**63) - 1),
    )
    yield r"episode indices \[1\]", lambda: replace(sparse_trial(), episodes=(Episode(index=1, steps=()),))
    yield "group_id is empty", lambda: replace(sparse_trial(), group_id="")
    yield "has no trial_id", lambda: to_batch([replace(sparse_trial(), trial_id="")])


@pytest.mark.parametrize(("message", "make"), list(bad_records()), ids=[name for name, _ in bad_records()])
def test_a_record_that_breaks_the_schema_is_refused(message: str, make: object) -> None:
    with pytest.raises(RecordError, match=message):
        make()  # type: ignore[operator]


def test_another_schema_or_version_is_refused() -> None:
    with pytest.raises(RecordError, match=r"schema version 0\.9, this is"):
        check_schema(SCHEMA.with_metadata({SCHEMA_VERSION_KEY: b"0.9"}))
    with pytest.raises(RecordError, match="columns text differ"):
        check_schema(SCHEMA.append(pa.field("text", pa.string())))
    check_schema(SCHEMA.remove_metadata())
