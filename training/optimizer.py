"""The optimizer and its learning rate: AdamW, linear warm-up, cosine decay, clipped gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """AdamW's settings and the schedule of its rate: linear warm-up, then a cosine."""

    learning_rate: float = 3e-3
    """The highest rate."""
    warmup_steps: int = 50
    """Steps of linear rise."""
    final_share: float = 0.1
    """What the cosine falls to, as a share of the highest rate."""
    weight_decay: float = 0.01
    """Decoupled, on matrices alone."""
    beta1: float = 0.9
    """Memory of the gradient."""
    beta2: float = 0.95
    """Memory of its square."""
    clip_norm: float = 1.0
    """Gradients are scaled down to this norm."""


def build_optimizer(parameters: Iterable[torch.nn.Parameter], config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over `parameters`; vectors (norms) are not decayed."""
    every = list(parameters)
    return torch.optim.AdamW(
        [
            {"params": [p for p in every if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in every if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
    )


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """The learning rate of `step` (0-based) of `steps`."""
    rise = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    fall = 0.5 * (1.0 + math.cos(math.pi * min(step / max(steps, 1), 1.0)))
    return config.learning_rate * rise * (config.final_share + (1.0 - config.final_share) * fall)


def update(optimizer: torch.optim.Optimizer, config: OptimizerConfig, step: int, steps: int) -> float:
    """One optimizer step at the rate of `step` with gradients clipped to `clip_norm`; the norm before clipping.

    Gradients are released. A norm that is not finite skips the step, so one bad batch cannot ruin the weights.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm))
    if math.isfinite(norm):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step, steps)
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm
