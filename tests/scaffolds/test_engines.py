"""What every engine must do, run over each of them."""

import itertools
import math
from collections.abc import Callable

import pytest

from pipeline.tokens import ACTION, END_EPISODE, EPISODE, TASK
from scaffolds.engines import ENGINES, open_engine
from scaffolds.engines.scripted import ScriptedEngine
from scaffolds.engines.transformers import TransformersEngine
from scaffolds.protocols import Completion, Engine, Request
from tests.scaffolds.tiny import STOP, TOKENIZER, generate, request, tiny_model

MAKERS: dict[str, Callable[[], Engine]] = {
    "scripted": lambda: ScriptedEngine(TOKENIZER, informed=0.5),
    "transformers": lambda: TransformersEngine(tiny_model()),
    "transformers, few rows at once": lambda: TransformersEngine(tiny_model(), max_rows=3),
    "transformers, eager attention": lambda: TransformersEngine(tiny_model(attention="eager")),
}
each = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
SPECIAL = TOKENIZER.special_id


def prefix(doors: int) -> list[int]:
    return [SPECIAL(TASK), *TOKENIZER.encode(f"doors 1-{doors}"), SPECIAL(EPISODE), SPECIAL(ACTION)]


def requests(count: int, **settings: float) -> list[Request]:
    """Prefixes of different lengths."""
    return [request(prefix(10 ** (index % 4) + 1), seed=index, **settings) for index in range(count)]


@each
def test_no_requests_give_no_completions(make: Callable[[], Engine]) -> None:
    assert generate(make(), []) == []


@each
def test_completions_stand_in_the_order_of_their_requests(make: Callable[[], Engine]) -> None:
    asked = requests(12)
    forwards = generate(make(), asked)
    assert len(set(forwards)) > 6
    backwards = generate(make(), asked[::-1])[::-1]
    assert [c.tokens for c in forwards] == [c.tokens for c in backwards]


@each
def test_the_same_seed_gives_the_same_sample_in_whatever_company(make: Callable[[], Engine]) -> None:
    asked = requests(8)
    together, engine = generate(make(), asked), make()
    for one, expected in zip(asked, together, strict=True):
        (alone,) = generate(engine, [one])
        assert (alone.tokens, alone.finish_reason) == (expected.tokens, expected.finish_reason)
        assert alone.logprobs == pytest.approx(expected.logprobs, abs=1e-4)


@each
def test_other_seeds_give_other_samples(make: Callable[[], Engine]) -> None:
    asked = [request(prefix(1001), seed=seed) for seed in range(30)]
    assert len({completion.tokens for completion in generate(make(), asked)}) > 10


@each
def test_a_completion_ends_with_the_first_stop_id_or_at_max_tokens(make: Callable[[], Engine]) -> None:
    def check(completion: Completion, limit: int) -> None:
        stops = [token in STOP for token in completion.tokens]
        assert not any(stops[:-1])
        assert completion.finish_reason == ("stop" if stops[-1] else "length")
        assert len(completion.tokens) == limit or stops[-1]
        assert len(completion.logprobs) == len(completion.tokens) <= limit
        assert all(logprob <= 0.0 and math.isfinite(logprob) for logprob in completion.logprobs)

    reasons = set()
    for limit in (1, 2, 4, 40):
        for completion in generate(make(), [request(prefix(1001), seed, max_tokens=limit) for seed in range(20)]):
            check(completion, limit)
            reasons.add(completion.finish_reason)
    assert reasons == {"stop", "length"}


@each
def test_limits_and_stop_ids_are_each_requests_own(make: Callable[[], Engine]) -> None:
    asked = [
        Request(prefix=prefix(1001), max_tokens=limit, stop_ids=stops, seed=seed)
        for seed, (limit, stops) in enumerate(itertools.product((1, 3, 30), (STOP, STOP | frozenset(range(48, 53)))))
    ]
    for one, completion in zip(asked, generate(make(), asked), strict=True):
        assert not one.stop_ids & set(completion.tokens[:-1])
        assert len(completion.tokens) <= one.max_tokens
        assert (completion.tokens[-1] in one.stop_ids) == (completion.finish_reason == "stop")


@each
def test_temperature_zero_does_not_depend_on_the_seed(make: Callable[[], Engine]) -> None:
    asked = [request(prefix(6), seed, temperature=0.0) for seed in range(5)]
    completions = generate(make(), asked)
    assert len({completion.tokens for completion in completions}) == 1
    assert set(completions[0].logprobs) == {0.0}


@each
def test_a_trial_that_goes_on_is_answered_as_if_it_were_new(make: Callable[[], Engine]) -> None:
    going, asked = make(), requests(7)
    for turn in range(4):
        answered = generate(going, asked)
        fresh = generate(make(), asked)
        assert [c.tokens for c in answered] == [c.tokens for c in fresh]
        for mine, expected in zip(answered, fresh, strict=True):
            assert mine.logprobs == pytest.approx(expected.logprobs, abs=1e-4)
        shut = [*TOKENIZER.encode("shut" * (turn + 1)), SPECIAL(EPISODE), SPECIAL(ACTION)]
        asked = [
            request(
                [*one.prefix, *done.tokens[:-1], SPECIAL(END_EPISODE), SPECIAL("<|feedback|>"), *shut], one.seed + 7
            )
            for one, done in zip(asked, answered, strict=True)
        ]
        if turn == 1:
            del asked[::2]  # some trials are over before others


def test_engines_are_opened_by_name_and_errors_name_what_is_valid() -> None:
    engine, tokenizer = open_engine("scripted", {"informed": 1.0})
    assert engine.name == "scripted/informed=1" and tokenizer.encode("a") == [97]
    assert set(ENGINES) >= {"scripted"}
    with pytest.raises(ValueError, match="scripted"):
        open_engine("oracle")
    with pytest.raises(ValueError, match="skill"):
        open_engine("scripted", {"skill": 1.0})
