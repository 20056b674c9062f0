import math
from collections import Counter

import pytest
import torch

from scaffolds.engines.transformers import TransformersEngine
from tests.scaffolds.tiny import TOKENIZER, generate, plain_logprobs, request, tiny_model

PREFIXES = [TOKENIZER.encode("ab" * length) for length in (1, 9, 2, 30, 5)]


@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.7])
def test_log_probabilities_are_those_of_one_plain_pass_over_the_whole_prefix(temperature: float) -> None:
    model = tiny_model()
    engine = TransformersEngine(model)
    asked = [request(prefix, seed, 8, temperature) for seed, prefix in enumerate(PREFIXES)]
    for turn in range(3):
        completions = generate(engine, asked)
        for one, completion in zip(asked, completions, strict=True):
            plain = plain_logprobs(model, one.prefix, completion.tokens, temperature)
            assert completion.logprobs == pytest.approx(plain.tolist(), abs=1e-4)
        more = TOKENIZER.encode("x" * (turn + 1))
        asked = [
            request([*one.prefix, *done.tokens, *more], one.seed, 8, temperature)
            for one, done in zip(asked, completions, strict=True)
        ]


def test_tokens_come_as_often_as_their_probability_says() -> None:
    model, draws = tiny_model(), 4000
    engine = TransformersEngine(model, max_rows=1000)
    with torch.no_grad():
        expected = model(torch.tensor([PREFIXES[1]])).logits[0, -1].softmax(-1)
    found = Counter(c.tokens[0] for c in generate(engine, [request(PREFIXES[1], s, 1) for s in range(draws)]))
    likely = [int(token) for token in expected.topk(8).indices]
    for token in likely:
        probability = float(expected[token])
        assert abs(found[token] / draws - probability) < 4 * math.sqrt(probability * (1 - probability) / draws)


def test_temperature_zero_takes_the_likeliest_token_each_time() -> None:
    model = tiny_model()
    (completion,) = generate(TransformersEngine(model), [request(PREFIXES[3], 0, 5, 0.0)])
    ids = list(PREFIXES[3])
    for token in completion.tokens:
        with torch.no_grad():
            assert token == int(model(torch.tensor([ids])).logits[0, -1].argmax())
        ids.append(token)


def test_only_what_is_new_is_computed() -> None:
    model, widths = tiny_model(), []
    model.model.register_forward_pre_hook(
        lambda module, args, kwargs: widths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    engine = TransformersEngine(model)
    asked = [request(prefix, seed, 1) for seed, prefix in enumerate(PREFIXES)]
    completions = generate(engine, asked)
    generate(engine, [request([*a.prefix, *c.tokens, 65, 66], 0, 1) for a, c in zip(asked, completions, strict=True)])
    assert widths == [60, 3]
    generate(TransformersEngine(model, reuse=False), asked)
    engine.forget()
    generate(engine, asked)
    assert widths == [60, 3, 60, 60]


@pytest.mark.parametrize("settings", [{"foreach": False}, {"foreach": True}, {"fused": True}])
def test_a_step_of_the_optimizer_is_noticed(settings: dict[str, bool]) -> None:
    model = tiny_model()
    engine = TransformersEngine(model)
    (first,) = generate(engine, [request(PREFIXES[3], 0, 1)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, **settings)
    model(torch.tensor([PREFIXES[3]])).logits.square().mean().backward()
    optimizer.step()
    going_on = [request([*PREFIXES[3], *first.tokens, 65], 1, 4)]
    assert generate(engine, going_on) == generate(TransformersEngine(model), going_on)


def test_loaded_weights_are_noticed() -> None:
    model = tiny_model()
    engine = TransformersEngine(model)
    (first,) = generate(engine, [request(PREFIXES[3], 0, 1)])
    model.load_state_dict(tiny_model(seed=1).state_dict())
    going_on = [request([*PREFIXES[3], *first.tokens, 65], 1, 4)]
    assert generate(engine, going_on) == generate(TransformersEngine(tiny_model(seed=1)), going_on)


def test_a_model_in_training_mode_is_left_in_it_and_can_be_trained_on() -> None:
    model = tiny_model().train()
    generate(TransformersEngine(model), [request(PREFIXES[0])])
    assert model.training and model.model.layers[0].training
    model(torch.tensor([PREFIXES[0]])).logits.sum().backward()


def test_what_cannot_be_answered_is_refused_with_a_remedy() -> None:
    model = tiny_model()
    with pytest.raises(ValueError, match="at least 1"):
        generate(TransformersEngine(model), [request([])])
    with pytest.raises(ValueError, match="at least 1"):
        generate(TransformersEngine(model), [request([1], max_tokens=0)])
    with pytest.raises(ValueError, match="greedy"):
        generate(TransformersEngine(model), [request([1], temperature=-1.0)])
    with pytest.raises(ValueError, match="max_rows"):
        TransformersEngine(model, max_rows=0)
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ValueError, match="sdpa"):
        TransformersEngine(model)
