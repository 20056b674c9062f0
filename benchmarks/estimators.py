"""Are the advantage estimators unbiased, and how noisy are they? Sampled groups against exact gradients.

A tabular policy with random preferences plays hidden doors (D = 4, k = 3) in groups of 4. All 256 trajectories are
enumerated, so the exact gradient is known; every estimator sees the same sampled groups. Its bias is the largest
deviation of its mean from its exact gradient over all entries of the table, in standard errors (about 3 to 4 is what
chance gives among 292 entries); its variance is summed over the entries and divided by that of `trial_grpo`.
What the exact gradient is of: Σ_j r_j, for `differential` the last reward, for `mean_reward_to_go` and
`single_episode` their own credit without a baseline.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import torch

from pipeline.results import write_results
from training.objective import ESTIMATORS

DOORS, EPISODES, GROUP, GROUPS, CHUNK = 4, 3, 4, 40_000, 4_000
ROWS = sum((2 * DOORS) ** j for j in range(EPISODES))


def rows_of(actions: torch.Tensor, rewards: torch.Tensor) -> torch.Tensor:
    """The table row of the history before each episode, [..., k]: histories of (action, reward) in base 2·D."""
    rows, code, first = [], torch.zeros_like(actions[..., 0]), 0
    for j in range(EPISODES):
        rows.append(first + code)
        first += (2 * DOORS) ** j
        code = code * 2 * DOORS + actions[..., j] * 2 + rewards[..., j].long()
    return torch.stack(rows, dim=-1)


def sample(logprobs: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Actions and rewards [groups, group, k] of groups that share a door."""
    door = torch.randint(DOORS, (CHUNK, 1), generator=generator).expand(CHUNK, GROUP)
    actions = torch.zeros(CHUNK, GROUP, EPISODES, dtype=torch.long)
    rewards = torch.zeros(CHUNK, GROUP, EPISODES, dtype=torch.float64)
    for j in range(EPISODES):
        row = rows_of(actions, rewards)[..., j]
        chosen = torch.multinomial(logprobs[row].exp().flatten(0, 1), 1, generator=generator).view(CHUNK, GROUP)
        actions[..., j] = chosen
        rewards[..., j] = (chosen == door).double()
    return actions, rewards


def estimates(name: str, logprobs: torch.Tensor, actions: torch.Tensor, rewards: torch.Tensor) -> torch.Tensor:
    """Gradient estimates [groups, rows · doors], one a group."""
    played = torch.ones(GROUP, EPISODES, dtype=torch.bool)
    advantages = torch.vmap(lambda group: ESTIMATORS[name](group, played))(rewards)
    rows = rows_of(actions, rewards)
    score = torch.nn.functional.one_hot(actions, DOORS) - logprobs[rows].exp()
    places = (rows[..., None] * DOORS + torch.arange(DOORS)).flatten(1)
    values = (advantages[..., None] * score / GROUP).flatten(1)
    return torch.zeros(CHUNK, ROWS * DOORS, dtype=torch.float64).scatter_add_(1, places, values)


def exact(table: torch.Tensor, credit: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """The gradient of E[Σ_j credit_j log π_j] at fixed trajectory probabilities, by enumeration."""
    actions = torch.tensor(list(itertools.product(range(DOORS), repeat=EPISODES)))
    total = torch.zeros((), dtype=torch.float64)
    for door in range(DOORS):
        rewards = (actions == door).double()
        rows = rows_of(actions, rewards)
        chosen = table.log_softmax(-1)[rows, actions]
        total = total + (chosen.sum(-1).exp().detach()[:, None] * credit(rewards) * chosen).sum() / DOORS
    return torch.autograd.grad(total, table)[0].flatten()


def _to_go(rewards: torch.Tensor) -> torch.Tensor:
    return rewards.flip(1).cumsum(1).flip(1)


def _whole(rewards: torch.Tensor) -> torch.Tensor:
    return rewards.sum(1, keepdim=True)


TARGETS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "reward_to_go_loo": _whole,
    "trial_grpo": _whole,
    "differential": lambda rewards: rewards[:, -1:],
    "mean_reward_to_go": lambda rewards: _to_go(rewards) / torch.arange(EPISODES, 0, -1),
    "single_episode": lambda rewards: rewards,
}
"""Credit whose exact expectation each estimator must meet; γ = 1, where discounting changes nothing."""


def main() -> None:
    """Run the benchmark and print its figures."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(ROWS, DOORS, generator=generator, dtype=torch.float64).requires_grad_()
    logprobs = table.detach().log_softmax(-1)
    sums = {name: torch.zeros(2, ROWS * DOORS, dtype=torch.float64) for name in TARGETS}
    for _ in range(GROUPS // CHUNK):
        actions, rewards = sample(logprobs, generator)
        for name, moments in sums.items():
            found = estimates(name, logprobs, actions, rewards)
            moments += torch.stack([found.sum(0), (found**2).sum(0)])
    figures: dict[str, float] = {"groups": GROUPS}
    variances = {}
    for name, (first, second) in sums.items():
        mean = first / GROUPS
        variance = second / GROUPS - mean**2
        error = (variance / GROUPS).sqrt()
        deviation = (mean - exact(table, TARGETS[name])).abs()
        # rows that no sampled group reached have no error to divide by
        figures[f"max_bias_in_standard_errors.{name}"] = round(float((deviation / error)[error > 0].max()), 3)
        variances[name] = float(variance.sum())
    for name, variance_sum in variances.items():
        figures[f"variance_ratio_to_trial.{name}"] = round(variance_sum / variances["trial_grpo"], 4)
    for name in TARGETS:
        bias, ratio = figures[f"max_bias_in_standard_errors.{name}"], figures[f"variance_ratio_to_trial.{name}"]
        print(f"{name:28s} largest bias {bias:5.2f} standard errors, variance {ratio:.3f} of trial_grpo")
    print(write_results(Path("benchmarks/results/estimators.json"), "estimators", figures, "make bench-estimators"))


if __name__ == "__main__":
    main()
