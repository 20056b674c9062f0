"""Meta-RL's objective: what credit each episode of a trial gets, and the loss that turns credit into gradients.

An estimator maps the rewards of one group of trials on the same hidden instance, `rewards[group, k]`, and a mask of
the episodes that were played to `advantages[group, k]`. Unplayed episodes have advantage 0. Notation: trial i,
episode j, reward r_ij, discount γ. "Mean over the others" is the leave-one-out mean over the trials i' ≠ i of the
group that played episode j (0 where there is none); as it does not depend on trial i's actions it adds no bias
(Williams 1992; Kool et al. 2019, "Buy 4 REINFORCE Samples, Get a Baseline for Free!"). None divides by a standard
deviation, which would weigh tasks by their difficulty (Liu et al. 2025, "Understanding R1-Zero-Like Training").
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import torch


class Estimator(Protocol):
    """Advantages [group, k] from rewards [group, k] (float) and the mask [group, k] (bool) of played episodes."""

    def __call__(self, rewards: torch.Tensor, mask: torch.Tensor, *, gamma: float = 1.0) -> torch.Tensor:
        """See the formulas of `ESTIMATORS`."""


def reward_to_go_loo(rewards: torch.Tensor, mask: torch.Tensor, *, gamma: float = 1.0) -> torch.Tensor:
    """A_ij = G_ij − mean over the others of G_i'j, with G_ij = Σ_{l≥j} γ^{l−j} r_il.

    The default. Policy-gradient theorem over episodes (Sutton et al. 2000) with a position-wise leave-one-out
    baseline. With γ = 1 an unbiased gradient of E[Σ_j r_j].
    """
    _check(rewards, mask)
    return _less_others(reward_to_go(rewards, mask, gamma), mask)


def reward_to_go_loo_discounted(rewards: torch.Tensor, mask: torch.Tensor, *, gamma: float = 1.0) -> torch.Tensor:
    """A_ij = γ^j (G_ij − mean over the others of G_i'j): an unbiased gradient of E[Σ_j γ^j r_j] for every γ.

    `reward_to_go_loo` leaves out γ^j, as practice mostly does (Nota and Thomas 2020, "Is the Policy Gradient a
    Gradient?"), so that late episodes learn as fast as early ones.
    """
    return reward_to_go_loo(rewards, mask, gamma=gamma) * _powers(rewards, gamma)


def mean_reward_to_go(rewards: torch.Tensor, mask: torch.Tensor, *, gamma: float = 1.0) -> torch.Tensor:
    """A_ij = M_ij − mean over the others of M_i'j, with M_ij = Σ_{l≥j} γ^{l−j} r_il / Σ_{l≥j} γ^{l−j}.

    Reward-to-go as a weighted mean over the k − j episodes to come, so that every position has the scale of one
    reward. A positive reweighting of positions of `reward_to_go_loo`; the sum runs over all k episodes, played or not.
    """
    _check(rewards, mask)
    length = reward_to_go(torch.ones_like(rewards), torch.ones_like(mask), gamma)
    return _less_others(reward_to_go(rewards, mask, gamma) / length, mask)


def trial_grpo(rewards: torch.Tensor, mask: torch.Tensor, *, gamma: float = 1.0) -> torch.Tensor:
    """A_ij = R_i − mean of R over all other trials, with R_i = Σ_l γ^l r_il, the same for every episode of a trial.

    GRPO (Shao et al. 2024, "DeepSeekMath") with the trial as one response, scaled by group/(group − 1), which makes
    the group mean a leave-one-out mean, and without the standard deviation. Same expected gradient of E[Σ_j γ^j r_j]
    as `reward_to_go_loo_discounted`, more variance: earlier episodes' rewards are noise to later actions.
    """
    _check(rewards, mask)
    returns = (rewards * mask * _powers(rewards, gamma)).sum(1, keepdim=True).expand_as(rewards)
    return _less_others(returns, torch.ones_like(mask)) * mask


def differential(rewards: torch.Tensor, mask: torch.Tensor, *, gamma: float = 1.0) -> torch.Tensor:
    """A_ij = D_ij − mean over the others of D_i'j, with D_ij = Σ_{l≥j} γ^{l−j} (r_il − r_i,l−1), r_i,−1 = 0.

    Pays progress from episode to episode (after Qu et al. 2025, "Optimizing Test-Time Compute via Meta Reinforcement
    Fine-Tuning"). With γ = 1 the sum is r_i,k−1 − r_i,j−1: an unbiased gradient of the last episode's reward alone.
    """
    _check(rewards, mask)
    played = rewards * mask
    before = torch.cat([torch.zeros_like(played[:, :1]), played[:, :-1]], dim=1)
    return _less_others(reward_to_go(played - before, mask, gamma), mask)


def single_episode(rewards: torch.Tensor, mask: torch.Tensor, *, gamma: float = 1.0) -> torch.Tensor:
    """A_ij = r_ij − mean over the others of r_i'j: each episode is paid for itself alone; γ plays no part.

    What single-episode RL computes; it gives exploration no credit.
    """
    _check(rewards, mask)
    return _less_others(rewards * mask, mask)


ESTIMATORS: Mapping[str, Estimator] = MappingProxyType(
    {
        "reward_to_go_loo": reward_to_go_loo,
        "reward_to_go_loo_discounted": reward_to_go_loo_discounted,
        "mean_reward_to_go": mean_reward_to_go,
        "trial_grpo": trial_grpo,
        "differential": differential,
        "single_episode": single_episode,
    }
)
"""Estimators by the name a config carries; a new one is a function here and a line in this table."""


def reward_to_go(rewards: torch.Tensor, mask: torch.Tensor, gamma: float) -> torch.Tensor:
    """G_ij = Σ_{l≥j} γ^{l−j} r_il over played episodes, [group, k]."""
    total = torch.zeros_like(rewards[:, 0])
    columns = []
    for j in range(rewards.shape[1] - 1, -1, -1):
        total = rewards[:, j] * mask[:, j] + gamma * total
        columns.append(total)
    return torch.stack(columns[::-1], dim=1)


def policy_loss(
    logprobs: torch.Tensor,
    sampled_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    *,
    clip_low: float,
    clip_high: float,
    normalizer: float,
) -> torch.Tensor:
    """The clipped surrogate loss −Σ min(ρ A, clip(ρ, 1 − low, 1 + high) A) / normalizer over tokens of the policy.

    All tensors are [trials, tokens]; ρ = exp(logprob − sampled) is the importance ratio of one token (Schulman et al.
    2017, "Proximal Policy Optimization Algorithms", eq. 7). `normalizer` is a constant, so that neither long trials
    nor rare tokens weigh more than others. Masked tokens take no part, whatever they hold.
    """
    ratio = torch.exp(torch.where(mask, logprobs - sampled_logprobs, 0.0))
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    gain = torch.minimum(ratio * advantages, clipped * advantages)
    return -torch.where(mask, gain, 0.0).sum() / normalizer


def _less_others(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    others = mask.sum(0, keepdim=True) - mask.to(torch.int64)
    total = (values * mask).sum(0, keepdim=True) - values * mask
    baseline = torch.where(others > 0, total / others.clamp(min=1), torch.zeros_like(total))
    return (values - baseline) * mask


def _powers(rewards: torch.Tensor, gamma: float) -> torch.Tensor:
    return torch.tensor([gamma**j for j in range(rewards.shape[1])], dtype=rewards.dtype, device=rewards.device)


def _check(rewards: torch.Tensor, mask: torch.Tensor) -> None:
    if rewards.ndim != 2 or rewards.shape != mask.shape or mask.dtype != torch.bool:
        raise ValueError(
            f"rewards {tuple(rewards.shape)} and mask {tuple(mask.shape)} of {mask.dtype}; both must be [group, k], "
            "the mask bool"
        )
    if rewards.shape[0] < 2:
        raise ValueError("a group of one trial has no leave-one-out baseline; give at least 2 trials a group")
