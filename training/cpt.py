"""Continued pretraining (CPT): next-token loss on packed trials, weighted token by token as the renderer says."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from transformers import Qwen3ForCausalLM

from pipeline.bpe import BpeTokenizer, TokenizerConfig
from pipeline.checks import at_least
from pipeline.lake import Lake
from pipeline.render import KINDS
from pipeline.stage import Progress
from training.checkpoint import Position, fingerprint, load_checkpoint, save_checkpoint, write_result
from training.data import Cursor, DataConfig, PackedTrials, shards, texts
from training.model import ModelConfig, build_model, save_model
from training.optimizer import OptimizerConfig, build_optimizer, update
from training.packing import PackedBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class CptConfig:
    """A CPT run from random weights."""

    name: str = "base"
    """The output lies in `cpt/<name>/` of the lake."""
    data: DataConfig = field(default_factory=DataConfig)
    """What is read and how it is packed."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """How the tokenizer is trained, on the same trials."""
    tokenizer_trials: int = 2000
    """Trials the tokenizer is trained on, the first ones."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The model's shape."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """AdamW and its schedule."""
    steps: int = 500
    """Optimizer steps."""
    log_steps: int = 25
    """Steps between points of the loss curve."""
    checkpoint_steps: int = 100
    """Steps between checkpoints."""
    seed: int = 0
    """Decides the fresh weights."""

    def __post_init__(self) -> None:
        at_least(1, self, "steps", "log_steps", "checkpoint_steps", "tokenizer_trials")
        if self.model.max_positions < self.data.sequence_tokens:
            raise ValueError(
                f"rows of {self.data.sequence_tokens} tokens do not fit max_positions {self.model.max_positions}; "
                "raise the model's, or lower data.sequence_tokens"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LossPoint:
    """Loss in nats a token at `step`.

    `loss` is the weighted mean over learned tokens since the point before; `by_kind` and `by_episode` are plain means
    over the batch of that step, of every segment kind and every episode index in it, learned or not.
    """

    step: int
    loss: float
    by_kind: dict[str, float]
    by_episode: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class CptResult:
    """What a CPT run did.

    `model` is the folder of the trained model; `documents` and `tokens` count what was trained on, repeats included;
    `fill` is the share of packed places that held tokens; `skipped_steps` those whose gradient was not finite;
    `cpu_seconds` what this process spent, not those that were interrupted before it.
    """

    name: str
    model: str
    steps: int
    parameters: int
    vocabulary: int
    documents: int
    tokens: int
    fill: float
    skipped_steps: int
    curve: tuple[LossPoint, ...]
    cpu_seconds: float


def train_cpt(lake: Lake, config: CptConfig, progress: Progress | None = None) -> CptResult:
    """Train a model on the trials of `config.data.stages`, or finish a run that was interrupted.

    Writes `cpt/<name>/model/` (as `transformers` reads it), `metrics.json` and
    `checkpoint.safetensors`, all bitwise the same however often the run was stopped and started. `progress` is called
    with (steps done, steps in all).
    """
    begun = time.process_time()
    folder = f"cpt/{config.name}"
    run = fingerprint(config, *(shard.sha256 for shard in shards(lake, config.data.stages)))
    tokenizer = BpeTokenizer.train(texts(lake, config.data, config.tokenizer_trials), config.tokenizer)
    model = build_model(config.model, tokenizer, config.seed).train()
    optimizer = build_optimizer(model.parameters(), config.optimizer)
    # the generator's state is part of a checkpoint, and what this process did before must not be
    torch.manual_seed(config.seed)
    position = load_checkpoint(lake, f"{folder}/checkpoint.safetensors", run, model, optimizer)
    seen = _Seen(**position.history)
    cursor = Cursor(**position.cursor)
    batches = PackedTrials(lake, tokenizer, config.data).batches(cursor)
    for step in range(position.step, config.steps):
        batch, cursor = next(batches)
        loss = token_loss(model, batch)
        torch.autograd.backward(loss)
        seen.skipped += not math.isfinite(update(optimizer, config.optimizer, step, config.steps))
        seen.losses.append(float(loss.detach()))
        seen.documents += batch.documents
        seen.tokens += batch.tokens
        seen.places += batch.input_ids.numel()
        done = step + 1
        if done % config.log_steps == 0 or done == config.steps:
            seen.points.append({"step": done, **loss_by_group(model, batch)})
        if done % config.checkpoint_steps == 0 or done == config.steps:
            position = Position(step=done, cursor=asdict(cursor), history=asdict(seen))
            save_checkpoint(lake, f"{folder}/checkpoint.safetensors", run, model, optimizer, position)
        if progress is not None:
            progress(done, config.steps)
    save_model(lake, f"{folder}/model", model, tokenizer.to_bytes())
    result = CptResult(
        name=config.name,
        model=f"{folder}/model",
        steps=config.steps,
        parameters=sum(p.numel() for p in model.parameters()),
        vocabulary=tokenizer.vocab_size,
        documents=seen.documents,
        tokens=seen.tokens,
        fill=seen.tokens / max(seen.places, 1),
        skipped_steps=seen.skipped,
        curve=seen.curve(),
        cpu_seconds=time.process_time() - begun,
    )
    write_result(lake, folder, result)
    return result


def token_loss(model: Qwen3ForCausalLM, batch: PackedBatch) -> torch.Tensor:
    """Σ weight · cross-entropy / Σ weight over the batch. Logits are made only where a weight asks for them."""
    hidden = _hidden(model, batch)[:, :-1]
    weights = batch.weights[:, 1:]
    learned = weights > 0
    losses = F.cross_entropy(model.lm_head(hidden[learned]), batch.input_ids[:, 1:][learned], reduction="none")
    return (losses * weights[learned]).sum() / weights.sum().clamp(min=1e-9)


@torch.no_grad()
def loss_by_group(model: Qwen3ForCausalLM, batch: PackedBatch) -> dict[str, dict[str, float]]:
    """Mean loss of the batch's tokens `by_kind` of segment and `by_episode` index, learned or not."""
    hidden = _hidden(model, batch)[:, :-1]
    losses = F.cross_entropy(model.lm_head(hidden).transpose(1, 2), batch.input_ids[:, 1:], reduction="none")
    real = batch.position_ids[:, 1:] > 0
    real &= batch.input_ids[:, 1:] != model.config.pad_token_id
    episodes, kinds = batch.episodes[:, 1:], batch.kinds[:, 1:]
    by_kind = {name: losses[real & (kinds == place)] for place, name in enumerate(KINDS)}
    by_episode = {str(index): losses[real & (episodes == index)] for index in range(int(episodes.max()) + 1)}
    return {
        "by_kind": {name: float(group.mean()) for name, group in by_kind.items() if group.numel()},
        "by_episode": {name: float(group.mean()) for name, group in by_episode.items() if group.numel()},
    }


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What a run has measured so far; travels in its checkpoint."""

    losses: list[float] = field(default_factory=list)
    points: list[dict[str, Any]] = field(default_factory=list)
    documents: int = 0
    tokens: int = 0
    places: int = 0
    skipped: int = 0

    def curve(self) -> tuple[LossPoint, ...]:
        points, start = [], 0
        for point in self.points:
            since = self.losses[start : point["step"]]
            points.append(LossPoint(loss=sum(since) / len(since), **point))
            start = point["step"]
        return tuple(points)


def _hidden(model: Qwen3ForCausalLM, batch: PackedBatch) -> torch.Tensor:
    # Documents stay apart only this way: positions that restart, no cache, no attention mask.
    out = model.model(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False)
    hidden: torch.Tensor = out.last_hidden_state
    return hidden
