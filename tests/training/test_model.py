from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from pipeline.bpe import BpeTokenizer
from pipeline.lake import Lake
from tests.training.conftest import TINY
from training.model import ModelConfig, build_model, load_model, load_tokenizer, save_model

TOKENIZER = BpeTokenizer.train(["a door"])


def test_weights_depend_on_the_seed_alone_and_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (build_model(TINY, TOKENIZER, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.lm_head.weight, again.lm_head.weight)
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_a_saved_model_answers_the_same_here_and_in_plain_transformers(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    model = build_model(TINY, TOKENIZER, seed=3).eval()
    save_model(lake, "m", model, TOKENIZER.to_bytes())
    ids = torch.arange(20)[None]
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        assert torch.equal(load_model(lake, "m")(input_ids=ids).logits, expected)
        assert torch.equal(AutoModelForCausalLM.from_pretrained(tmp_path / "m")(input_ids=ids).logits, expected)
    assert load_tokenizer(lake, "m").encode("a door") == TOKENIZER.encode("a door")


def test_equal_weights_are_equal_bytes(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for name in ("a", "b"):
        save_model(lake, name, build_model(TINY, TOKENIZER, seed=3), TOKENIZER.to_bytes())
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        assert lake.read_bytes(f"a/{file}") == lake.read_bytes(f"b/{file}")


def test_weights_that_do_not_fit_their_config_are_refused(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    save_model(lake, "m", build_model(TINY, TOKENIZER, seed=3), TOKENIZER.to_bytes())
    save_model(lake, "deeper", build_model(replace(TINY, layers=2), TOKENIZER, seed=3), TOKENIZER.to_bytes())
    lake.write_bytes("m/model.safetensors", lake.read_bytes("deeper/model.safetensors"))
    with pytest.raises(ValueError, match="does not fit"):
        load_model(lake, "m")


def test_a_width_that_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="even width"):
        ModelConfig(hidden_size=30, heads=4)
