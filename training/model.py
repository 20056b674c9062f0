"""The model: Qwen3 from a config with random weights, and its bytes as `transformers` and vLLM read them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from pipeline.bpe import BpeTokenizer
from pipeline.checks import at_least
from pipeline.lake import Lake
from pipeline.tokens import PAD, Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The shape of a Qwen3 model."""

    hidden_size: int = 64
    """Width of the residual stream."""
    layers: int = 2
    """Transformer blocks."""
    heads: int = 4
    """Attention heads, each with keys and values of its own."""
    intermediate_size: int = 128
    """Width inside the feed-forward blocks."""
    max_positions: int = 1024
    """Longest context."""
    rope_theta: float = 10_000.0
    """Base of the rotary position code."""
    initializer_range: float = 0.1
    """Standard deviation of fresh weights. For tiny models it decides everything: with the 0.02 of large models 2
    layers of width 64 do not leave the plateau of "the past does not matter"; with 0.1, near 1/sqrt(width), soon."""

    def __post_init__(self) -> None:
        at_least(1, self, "hidden_size", "layers", "heads", "intermediate_size", "max_positions")
        if self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size {self.hidden_size} over {self.heads} heads must be a whole, even width")


def build_model(config: ModelConfig, tokenizer: Tokenizer, seed: int) -> Qwen3ForCausalLM:
    """A model with random weights that depend on `seed` alone; the global generator is left as it was."""
    qwen = Qwen3Config(
        vocab_size=tokenizer.vocab_size,
        hidden_size=config.hidden_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        head_dim=config.hidden_size // config.heads,
        intermediate_size=config.intermediate_size,
        max_position_embeddings=config.max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        initializer_range=config.initializer_range,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.special_id(PAD),
    )
    qwen._attn_implementation = "sdpa"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _fresh(qwen)


def save_model(lake: Lake, folder: str, model: Qwen3ForCausalLM, tokenizer: bytes) -> None:
    """Write `config.json`, `model.safetensors` and `tokenizer.json` below `folder`; equal weights give equal bytes."""
    weights = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
        if not (name == "lm_head.weight" and model.config.tie_word_embeddings)
    }
    settings = {**model.config.to_diff_dict(), "architectures": ["Qwen3ForCausalLM"]}
    lake.write_bytes(f"{folder}/tokenizer.json", tokenizer)
    lake.write_bytes(f"{folder}/config.json", json.dumps(settings, sort_keys=True, indent=1).encode())
    lake.write_bytes(f"{folder}/model.safetensors", safetensors.torch.save(weights, metadata={"format": "pt"}))


def load_model(lake: Lake, folder: str) -> Qwen3ForCausalLM:
    """The model that `save_model` wrote, in evaluation mode."""
    settings = json.loads(lake.read_bytes(f"{folder}/config.json"))
    config = Qwen3Config.from_dict(settings)
    config._attn_implementation = "sdpa"
    with torch.random.fork_rng(devices=[]):
        model = _fresh(config)
    weights = safetensors.torch.load(lake.read_bytes(f"{folder}/model.safetensors"))
    missing, unexpected = model.load_state_dict(weights, strict=False)
    wrong = [name for name in missing if name != "lm_head.weight" or not config.tie_word_embeddings]
    if wrong or unexpected:
        raise ValueError(f"{folder}/model.safetensors does not fit its config.json: {wrong or unexpected}")
    model.tie_weights()
    model.train(False)
    return model


def _fresh(config: Qwen3Config) -> Qwen3ForCausalLM:
    make: Any = Qwen3ForCausalLM  # untyped in transformers
    model: Qwen3ForCausalLM = make(config)
    return model


def load_tokenizer(lake: Lake, folder: str) -> BpeTokenizer:
    """The tokenizer that lies with a model."""
    return BpeTokenizer.from_bytes(lake.read_bytes(f"{folder}/tokenizer.json"))
