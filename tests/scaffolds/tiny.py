"""A real Qwen3 of a few thousand parameters, and the plainest possible way to its log-probabilities."""

import asyncio
from collections.abc import Sequence

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from pipeline.tokens import SPECIAL_TOKENS, ByteTokenizer
from scaffolds.protocols import Completion, Engine, Request

TOKENIZER = ByteTokenizer()
STOP = frozenset(map(TOKENIZER.special_id, SPECIAL_TOKENS))


def tiny_model(seed: int = 0, attention: str = "sdpa") -> Qwen3ForCausalLM:
    """Two layers with uneven logits: weights are drawn wide, so that what is attended to matters."""
    torch.set_num_threads(1)
    config = Qwen3Config(
        vocab_size=TOKENIZER.vocab_size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        initializer_range=0.3,
        tie_word_embeddings=True,
        attn_implementation=attention,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(config).eval()


def request(prefix: Sequence[int], seed: int = 0, max_tokens: int = 6, temperature: float = 1.0) -> Request:
    return Request(prefix=prefix, max_tokens=max_tokens, stop_ids=STOP, seed=seed, temperature=temperature)


def generate(engine: Engine, requests: Sequence[Request]) -> list[Completion]:
    return asyncio.run(engine.generate(requests))


def plain_logprobs(model: Qwen3ForCausalLM, prefix: Sequence[int], tokens: Sequence[int], temperature: float = 1.0):
    """Log-probabilities [len(tokens)] of `tokens` behind `prefix`, from one forward pass over everything."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prefix, *tokens]])).logits[0, len(prefix) - 1 : -1]
    return (logits / temperature).log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0]
