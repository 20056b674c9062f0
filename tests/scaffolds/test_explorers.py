import asyncio
import math
from collections import Counter

import pytest

from pipeline.records import Episode, Provenance, Step, Task, Trial
from pipeline.render import encode, render
from pipeline.tokens import ACTION, END_EPISODE, END_TURN, SPECIAL_TOKENS, ByteTokenizer
from scaffolds.engines.scripted import ScriptedEngine
from scaffolds.explorers import Reader, choose
from scaffolds.protocols import Request

TOKENIZER = ByteTokenizer()
STOP = frozenset(map(TOKENIZER.special_id, SPECIAL_TOKENS))


def context(prompt: str, *episodes: list[str]) -> list[int]:
    """The ids of a trial so far, from alternating actions and feedback, waiting for the next action.

    The last episode is the running one, all others are closed.
    """
    ids = TOKENIZER.special_id
    found = [ids("<|task|>"), *TOKENIZER.encode(prompt)]
    for number, texts in enumerate(episodes):
        found.append(ids("<|episode|>"))
        for place, text in enumerate(texts):
            closing = place == len(texts) - 2 and number < len(episodes) - 1
            opener = "<|feedback|>" if place % 2 else ACTION
            found += [ids(opener), *TOKENIZER.encode(text)]
            if place % 2 == 0:
                found.append(ids(END_EPISODE if closing else END_TURN))
    return [*found, ids(ACTION)]


def sample(ids: list[int], informed: float, seed: int, temperature: float = 1.0) -> tuple[str, float]:
    engine = ScriptedEngine(TOKENIZER, informed=informed)
    request = Request(prefix=ids, max_tokens=9, stop_ids=STOP, seed=seed, temperature=temperature)
    (completion,) = asyncio.run(engine.generate([request]))
    return TOKENIZER.decode(completion.tokens[:-1]), sum(completion.logprobs)


def test_a_context_is_read_back_into_what_was_said() -> None:
    trial = Trial(
        task=Task(prompt="doors 1-6", environment="hidden_door", seed=0),
        group_id="g",
        provenance=Provenance(source="test"),
        episodes=(
            Episode(
                index=0,
                steps=(
                    Step(kind="feedback", channel="environment", text="good luck"),
                    Step(kind="action", channel="message", text="2"),
                    Step(kind="feedback", channel="environment", text="shut"),
                    Step(kind="action", channel="reflection", text="not 2"),
                ),
                reward=0.0,
                reward_source="verifier",
                verdict=0.5,
            ),
        ),
    )
    ids = encode(render(trial), TOKENIZER).ids.tolist()[:-1]
    view = Reader(TOKENIZER).read([*ids, *map(TOKENIZER.special_id, ("<|episode|>", ACTION))])
    assert view.prompt == "doors 1-6"
    assert view.episodes[0] == (
        ("<|feedback|>", "good luck"),
        (ACTION, "2"),
        ("<|verdict|>", "0.50"),
        ("<|reward|>", "0"),
        ("<|feedback|>", "shut"),
        ("<|reflection|>", "not 2"),
    )
    assert view.episodes[1] == ()
    assert list(view.answers()) == [("2", "shut")]


def test_explorers_use_what_they_were_told() -> None:
    read = Reader(TOKENIZER).read
    assert choose(read(context("doors 1-4", ["2", "shut"], ["4", "shut"], []))).sensible == ["1", "3"]
    assert tuple(choose(read(context("doors 1-4", ["2", "open"], []))).sensible) == ("2",)
    assert tuple(choose(read(context("number 1-31 in 2", ["16", "higher"]))).sensible) == ("24",)
    assert tuple(choose(read(context("number 1-31 in 2", ["16", "higher", "24", "lower"], []))).sensible) == ("20",)
    assert tuple(choose(read(context("number 1-31 in 2", ["16", "right", "16", "right"], []))).sensible) == ("16",)
    assert choose(read(context("arms 0-3", ["0", "paid"], ["2", "nothing"], []))).sensible == ["1", "3"]
    assert tuple(choose(read(context("arms 0-3", ["2", "paid"], []))).sensible) == ("2",)


def test_explorers_end_the_episode_with_their_last_guess() -> None:
    read = Reader(TOKENIZER).read
    assert not choose(read(context("number 1-31 in 2", []))).ends_episode
    assert choose(read(context("number 1-31 in 2", ["16", "higher"]))).ends_episode
    assert not choose(read(context("number 1-31 in 2", ["16", "higher", "24", "lower"], []))).ends_episode
    assert choose(read(context("doors 1-4", []))).ends_episode


def test_log_probabilities_are_those_of_the_choices_made() -> None:
    ids = context("doors 1-4", ["2", "shut"], ["4", "shut"], [])
    draws = 4000
    told: dict[str, float] = {}
    found: Counter[str] = Counter()
    for seed in range(draws):
        action, logprob = sample(ids, 0.5, seed)
        told[action] = math.exp(logprob)
        found[action] += 1
    assert told == pytest.approx({"1": 0.375, "3": 0.375, "2": 0.125, "4": 0.125})
    for action, probability in told.items():
        assert abs(found[action] / draws - probability) < 3 * math.sqrt(probability * (1 - probability) / draws)


def test_temperature_zero_takes_the_sensible_action() -> None:
    ids = context("doors 1-4", ["2", "shut"], ["1", "open"], [])
    assert {sample(ids, 0.0, seed, temperature=0.0) for seed in range(20)} == {("1", 0.0)}


def test_a_context_that_does_not_wait_for_an_action_is_refused() -> None:
    whole = context("doors 1-4", [])
    for ids in ([], whole[:-1], [*whole, 49], [whole[-1]]):
        with pytest.raises(ValueError, match="action"):
            sample(ids, 0.5, 0)
    with pytest.raises(ValueError, match="doors"):
        sample(context("windows 1-4", []), 0.5, 0)
    with pytest.raises(ValueError, match="probability"):
        ScriptedEngine(TOKENIZER, informed=1.5)
